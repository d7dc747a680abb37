"""Which devices a container may use: the rules of config.json made uniform, and those that every container has."""

from pyoci.errors import ConfigError, Problem

TYPE_CHECKING = False
if TYPE_CHECKING:
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
    asked = rule.get("access") or "rwm"
    access = "".join(letter for letter in "rwm" if letter in asked)
    allow = rule["allow"]
    if kind == "a" and (major is not None or minor is not None or access != "rwm"):
        # v1 reads no further than the "a": "a 1:3 r" would allow everything.
        return [(allow, "c", major, minor, access), (allow, "b", major, minor, access)]
    return [(allow, kind, major, minor, access)]


def in_order(entries: "list[dict[str, Any]]") -> "list[tuple[Rule, str]]":
    """All rules of a container, each with the JSON pointer of what asks for it: its own, then what every container may use.

    Arguments:
        entries: linux.resources.devices.

    Raises ConfigError for a device number that doesn't fit into 32 bits.
    """
    rules: "list[tuple[Rule, str]]" = []
    for number, entry in enumerate(entries):
        pointer = f"{POINTER}/{number}"
        for rule in uniform(entry):
            for name, value in (("major", rule[2]), ("minor", rule[3])):
                if value is not None and value > 0xFFFFFFFF:
                    raise ConfigError([Problem(f"{pointer}/{name}", f"{value} is not a device number")])
            rules.append((rule, pointer))
    return rules + [(rule, POINTER) for rule in DEFAULTS]
