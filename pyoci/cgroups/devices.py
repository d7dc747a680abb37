"""Which devices a container may use: the rules of config.json made uniform, and as lines for v1."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    # Allowed or not, "a", "b" or "c", major and minor (None: any), some of "rwm". "a" is always for
    # everything.
    Rule = tuple[bool, str, int | None, int | None, str]

POINTER = "/linux/resources/devices"
# What every container may use, whatever its rules say (config-linux.md, Default Devices). After the rules:
# the specification wants those in their order, and a first rule is mostly "deny all". `m` alone lets it make
# nodes that it can't open. 5:1, the host's system console, isn't here: the container's /dev/console is a
# pseudoterminal (136).
DEFAULTS: "tuple[Rule, ...]" = (
    (True, "c", None, None, "m"),
    (True, "b", None, None, "m"),
    (True, "c", 1, 3, "rwm"),
    (True, "c", 1, 5, "rwm"),
    (True, "c", 1, 7, "rwm"),
    (True, "c", 1, 8, "rwm"),
    (True, "c", 1, 9, "rwm"),
    (True, "c", 5, 0, "rwm"),
    (True, "c", 5, 2, "rwm"),
    (True, "c", 136, None, "rwm"),
)


def uniform(rule: "dict[str, Any]") -> "list[Rule]":
    """An entry of linux.resources.devices as rules: what is unset, or -1, is any."""
    kind = rule.get("type") or "a"
    major, minor = rule.get("major", -1), rule.get("minor", -1)
    if major is not None and major < 0:
        major = None
    if minor is not None and minor < 0:
        minor = None
    access = rule.get("access") or "rwm"
    allow = rule["allow"]
    if kind == "a" and (major is not None or minor is not None or len(set(access)) < 3):
        # v1 reads no further than the "a": "a 1:3 r" would allow everything.
        return [(allow, "c", major, minor, access), (allow, "b", major, minor, access)]
    return [(allow, kind, major, minor, access)]


def v1_lines(rules: "list[dict[str, Any]]", *, replace: bool = False) -> "Iterator[tuple[str, str, str]]":
    """(JSON pointer, file, line) for every write to devices.allow and devices.deny, in order.

    Arguments:
        replace: the cgroup has rules already; a new one allows all that its parent does.
    """
    if replace:
        yield POINTER, "devices.allow", "a *:* rwm"
    for number, rule in enumerate(rules):
        for part in uniform(rule):
            yield f"{POINTER}/{number}", *_line(part)
    for part in DEFAULTS:
        yield POINTER, *_line(part)


def _line(rule: "Rule") -> "tuple[str, str]":
    allow, kind, major, minor, access = rule
    numbers = f"{'*' if major is None else major}:{'*' if minor is None else minor}"
    return "devices.allow" if allow else "devices.deny", f"{kind} {numbers} {access}"
