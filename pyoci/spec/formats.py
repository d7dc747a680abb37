"""The `format` names of schemas/, each with the function that decides it: no regular expressions, no imports.

Both validators use these: the generated one by their names, jsonschema through `FORMATS`. All take a string.
"""

INTERFACE_NAME_LIMIT = 15  # IFNAMSIZ - 1
HOST_NAME_LIMIT = 64  # __NEW_UTS_LEN

_DIGITS = frozenset("0123456789")
_IDENTIFIER = _DIGITS | frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-")


def text(value: str) -> bool:
    """A string that C can hold: without NUL characters."""
    return "\0" not in value


def absolute_path(value: str) -> bool:
    """A path from the root."""
    return value[:1] == "/" and "\0" not in value


def optional_path(value: str) -> bool:
    """A path from the root, or empty, which is Go's unset one."""
    return value == "" or absolute_path(value)


def component(value: str) -> bool:
    """One component of a path, so that no value can lead out of the directory that it is looked up in."""
    return value not in ("", ".", "..") and "/" not in value and "\0" not in value and "\n" not in value


def semver(value: str) -> bool:
    """A version as Semantic Versioning 2.0.0 writes it."""
    version, plus, build = value.partition("+")
    core, minus, prerelease = version.partition("-")
    numbers = core.split(".")
    if len(numbers) != 3 or not all(_number(number) for number in numbers):
        return False
    if plus and not all(part and _IDENTIFIER.issuperset(part) for part in build.split(".")):
        return False
    return not minus or all(
        _number(part) if part and _DIGITS.issuperset(part) else part and _IDENTIFIER.issuperset(part)
        for part in prerelease.split(".")
    )


def oci_version(value: str) -> bool:
    """A version that a runtime of 1.x can run: 1.x or older; a later major version may mean anything."""
    return semver(value) and value[:2] in ("0.", "1.")


def cpu_list(value: str) -> bool:
    """The list format of cpuset(7), such as 0-3,7; the empty list too, which is Go's unset one."""
    for part in value.split(",") if value else ():
        first, dash, last = part.partition("-")
        if not (_small(first) and (not dash or (_small(last) and int(first) <= int(last)))):
            return False
    return True


def page_size(value: str) -> bool:
    """The size of a huge page as the names of control files have it, such as 64KB or 2MB."""
    return len(value) < 12 and value[-2:] in ("KB", "MB", "GB") and value[:1] != "0" and _digits(value[:-2])


def device_access(value: str) -> bool:
    """What may be done with a device: some of r, w and m, in any order; empty is Go's unset one."""
    return not value.strip("rwm")


def interface_name(value: str) -> bool:
    """A name that the kernel takes for a network interface (dev_valid_name)."""
    if value in ("", ".", "..") or len(value.encode(errors="replace")) > INTERFACE_NAME_LIMIT:
        return False
    return not any(char in "/:\0%" or char.isspace() for char in value)


def interface_template(value: str) -> bool:
    """The name of a network interface, or one that ends in %d, where the kernel puts a free number; empty is unset."""
    if value[-2:] == "%d":
        return len(value) <= INTERFACE_NAME_LIMIT and interface_name(value[:-2] + "0")
    return value == "" or interface_name(value)


def host_name(value: str) -> bool:
    """A name that sethostname(2) and setdomainname(2) take; empty is one."""
    return "\0" not in value and len(value.encode(errors="replace")) <= HOST_NAME_LIMIT


def line(value: str) -> bool:
    """Text of one line."""
    return "\n" not in value and "\0" not in value


def word(value: str) -> bool:
    """Text of one line, neither empty nor with blanks: a field of a control file."""
    return value != "" and "\0" not in value and not any(char.isspace() for char in value)


def memory_bandwidth_schema(value: str) -> bool:
    """A line of a resctrl schemata file that is about memory bandwidth; empty is unset."""
    return value == "" or (value[:3] == "MB:" and line(value))


def resctrl_group(value: str) -> bool:
    """A directory right below the mount of resctrl, or / for that mount itself; empty is unset."""
    return value in ("", "/") or component(value)


def _digits(value: str) -> bool:
    return value != "" and _DIGITS.issuperset(value)


def _small(value: str) -> bool:
    return len(value) < 10 and _digits(value)


def _number(value: str) -> bool:
    return _digits(value) and (value == "0" or value[0] != "0")


FORMATS = {
    "absolute-path": absolute_path,
    "component": component,
    "cpu-list": cpu_list,
    "device-access": device_access,
    "host-name": host_name,
    "interface-name": interface_name,
    "interface-template": interface_template,
    "line": line,
    "memory-bandwidth-schema": memory_bandwidth_schema,
    "oci-version": oci_version,
    "optional-path": optional_path,
    "page-size": page_size,
    "resctrl-group": resctrl_group,
    "semver": semver,
    "text": text,
    "word": word,
}
