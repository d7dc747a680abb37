"""What `exec` runs: a process object from a file, or the container's own with what the flags say."""

import posix

from pyoci.container import store
from pyoci.errors import Error, cause_of
from pyoci.jsontext import parse
from pyoci.paths import absolute
from pyoci.spec.bundle import drop_nulls, validate_process

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyoci.container.store import Entry

    Process = dict[str, Any]

LARGEST_ID = 2**32 - 2  # (uid_t)-1 means "unchanged"
# --cap adds to these, and to the ambient one what is inheritable. Not to the inheritable set, with which any file with such a
# capability would raise it (CVE-2022-29162).
SETS = ("bounding", "effective", "permitted")


def from_file(name: str) -> "Process":
    """The process object of a file; "-" is standard input.

    Raises Error or ConfigError.
    """
    path = "standard input" if name == "-" else absolute(name)
    try:
        fd = 0 if name == "-" else posix.open(path, posix.O_RDONLY | posix.O_CLOEXEC)
        try:
            raw = b"".join(iter(lambda: posix.read(fd, 1 << 16), b""))
        finally:
            if fd:
                posix.close(fd)
    except OSError as error:
        raise Error(f"{path}: {cause_of(error)}") from None
    process: "Process" = parse(raw, name)
    validate_process(process, raw, name)
    drop_nulls(process)
    if not process.get("args"):
        raise Error(f"{path}: the process has no args")
    return process


def like_the_containers(entry: "Entry", args: "list[str]") -> "Process":
    """The container's process with other args, and without a terminal. Raises Error."""
    config = store.read_config(entry)
    # A container without a process of its own has no defaults.
    process: "Process" = dict(config.get("process") or {"cwd": "/"})
    for leftover in ("terminal", "consoleSize"):
        process.pop(leftover, None)
    process["args"] = args
    return process


def from_flags(entry: "Entry", flags: "dict[str, Any]", args: "list[str]") -> "Process":
    """The container's process with other args, and what else the flags change. Raises Error or ConfigError."""
    process = like_the_containers(entry, args)
    for flag, name in (("cwd", "cwd"), ("process-label", "selinuxLabel"), ("apparmor", "apparmorProfile")):
        if flags[flag] is not None:
            process[name] = flags[flag]
    process["env"] = with_variables(process.get("env") or [], flags["env"])
    process["user"] = _user(process.get("user") or {}, flags["user"], flags["additional-gids"])
    if flags["no-new-privs"]:
        process["noNewPrivileges"] = True
    if flags["tty"]:
        process["terminal"] = True
    if flags["cap"]:
        process["capabilities"] = _capabilities(process.get("capabilities") or {}, flags["cap"])
    validate_process(process, name="exec")
    return process


def with_variables(environment: "list[str]", more: "tuple[str, ...]") -> "list[str]":
    """An environment with other values: a variable that is given again takes the place of the first."""
    found = {variable.partition("=")[0]: variable for variable in environment}
    for variable in more:
        name, equals, _ = variable.partition("=")
        if not name or not equals:
            raise Error(f'--env: "{variable}" is not NAME=VALUE')
        found[name] = variable
    return list(found.values())


def _user(user: "dict[str, Any]", text: "str | None", groups: "tuple[str, ...]") -> "dict[str, Any]":
    changed = dict(user)
    if text is not None:
        uid, colon, gid = text.partition(":")
        changed["uid"] = _id("--user", uid)
        if colon:
            changed["gid"] = _id("--user", gid)
    if groups:
        listed = [part for text in groups for part in text.split(",")]
        changed["additionalGids"] = [
            *(user.get("additionalGids") or []),
            *(_id("--additional-gids", p) for p in listed),
        ]
    return changed


def _id(flag: str, text: str) -> int:
    # Digits and nothing else: int() takes "+0", " 0" and "0_0" too (CVE-2026-30892 was about numbers read carelessly).
    if not (text.isascii() and text.isdigit()) or len(text) > 10 or int(text) > LARGEST_ID:
        raise Error(f'{flag}: "{text}" is not the number of a user or group')
    return int(text)


def _capabilities(sets: "dict[str, list[str]]", names: "tuple[str, ...]") -> "dict[str, list[str]]":
    changed = dict(sets)
    added = [name.upper() for name in names]
    for name in SETS:
        changed[name] = list(dict.fromkeys([*(sets.get(name) or []), *added]))
    inheritable = sets.get("inheritable") or ()
    more = [name for name in added if name in inheritable]
    if more:
        changed["ambient"] = list(dict.fromkeys([*(sets.get("ambient") or []), *more]))
    return changed
