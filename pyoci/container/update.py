"""`update`: other limits for a container that exists."""

import posix

from pyoci.cgroups import tree
from pyoci.container.status import CREATED, RUNNING, status, while_alive
from pyoci.errors import ConfigError, Error, cause_of, not_running
from pyoci.jsontext import parse
from pyoci.paths import absolute
from pyoci.spec.bundle import drop_nulls, validate

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from pyoci.cgroups.journal import Journal
    from pyoci.container.store import Entry

    Resources = dict[str, Any]

BYTES, NUMBER, TEXT = "bytes", "number", "text"
# The flag, its section and property of linux.resources, and what its value is.
FLAGS = (
    ("blkio-weight", "blockIO", "weight", NUMBER),
    ("cpu-period", "cpu", "period", NUMBER),
    ("cpu-quota", "cpu", "quota", NUMBER),
    ("cpu-burst", "cpu", "burst", NUMBER),
    ("cpu-share", "cpu", "shares", NUMBER),
    ("cpu-rt-period", "cpu", "realtimePeriod", NUMBER),
    ("cpu-rt-runtime", "cpu", "realtimeRuntime", NUMBER),
    ("cpuset-cpus", "cpu", "cpus", TEXT),
    ("cpuset-mems", "cpu", "mems", TEXT),
    ("cpu-idle", "cpu", "idle", NUMBER),
    ("memory", "memory", "limit", BYTES),
    ("memory-reservation", "memory", "reservation", BYTES),
    ("memory-swap", "memory", "swap", BYTES),
    ("kernel-memory", "memory", "kernel", BYTES),
    ("kernel-memory-tcp", "memory", "kernelTCP", BYTES),
    ("pids-limit", "pids", "limit", NUMBER),
)
# The same for linux.intelRdt.
RDT_FLAGS = (("l3-cache-schema", "l3CacheSchema"), ("mem-bw-schema", "memBwSchema"))
UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40, "p": 1 << 50}


def from_flags(flags: "dict[str, str | None]") -> "Resources":
    """linux.resources as the flags say it. Raises Error for a value that is none."""
    found: "Resources" = {}
    for flag, section, name, kind in FLAGS:
        text = flags[flag]
        if text is not None:
            value = text if kind is TEXT else _number(flag, text, bytes_=kind is BYTES)
            found.setdefault(section, {})[name] = value
    return found


def _number(flag: str, text: str, *, bytes_: bool) -> int:
    """A whole number; of bytes also with a unit of 1024, such as 512m or 1.5GiB."""
    sign, digits = (-1, text[1:]) if text[:1] == "-" else (1, text)
    unit = ""
    if bytes_:
        lower = digits.lower()
        digits = lower.rstrip("kmgtpib")
        unit = lower[len(digits) :].removesuffix("b").removesuffix("i")
        digits = digits.strip()
    whole, dot, part = digits.partition(".")
    good = whole.isascii() and whole.isdigit() and (not dot or (bytes_ and part.isascii() and part.isdigit()))
    if not good or unit not in UNITS or len(digits) > 20:
        example = "a number of bytes, such as 536870912 or 512m" if bytes_ else "a whole number"
        raise Error(f'--{flag}: "{text}" is not {example}')
    if dot:
        scale: int = 10 ** len(part)
        return sign * (int(whole + part) * UNITS[unit] // scale)
    return sign * int(whole) * UNITS[unit]


def from_file(name: str) -> "Resources":
    """linux.resources from a file, or from standard input if its name is "-"; the case of names doesn't matter.

    Raises Error or ConfigError.
    """
    path = "standard input" if name == "-" else absolute(name)
    try:
        fd = 0 if name == "-" else posix.open(path, posix.O_RDONLY | posix.O_CLOEXEC)
        try:
            data = b"".join(iter(lambda: posix.read(fd, 1 << 16), b""))
        finally:
            if fd:
                posix.close(fd)
    except OSError as error:
        raise Error(f"{path}: {cause_of(error)}") from None
    value = parse(data, path)
    if not isinstance(value, dict):
        raise Error(f"{path}: must be an object, linux.resources")
    drop_nulls(value)
    from pyoci.spec.spelling import with_proper_names

    return with_proper_names(value)


def schemas_from_flags(flags: "dict[str, str | None]") -> "dict[str, str]":
    """The part of linux.intelRdt that the flags say."""
    return {name: text for flag, name in RDT_FLAGS if (text := flags[flag])}


def update(
    entry: "Entry",
    resources: "Resources",
    schemas: "dict[str, str] | None" = None,
    *,
    warn: "Callable[[str], None] | None" = None,
) -> None:
    """Set the limits that are given; all others stay.

    Arguments:
        entry: locked.
        resources: linux.resources.
        schemas: the l3CacheSchema and memBwSchema of linux.intelRdt.
        warn: where warnings go.

    Raises ConfigError for a value that can't be had; Error if the container isn't created or running. Then everything is as
    it was before.
    """
    check(resources, schemas)
    now = status(entry, ours=True)
    if now not in (CREATED, RUNNING):
        raise not_running("update", entry.id, f"it is {now}")
    from pyoci.cgroups.journal import Journal

    try:
        with while_alive(entry, "update"), Journal() as journal:
            if schemas:
                _update_resctrl(entry, schemas, journal)
            if resources:
                _update_cgroups(entry, resources, journal, warn)
    except ConfigError as error:
        raise ConfigError(error.problems, name="resources", hint=error.hint) from None


def _update_resctrl(entry: "Entry", schemas: "dict[str, str]", journal: "Journal") -> None:
    if "resctrl" not in entry.state:
        raise Error(f'cannot update container "{entry.id}": it has no group of resctrl (linux.intelRdt)')
    from pyoci.cgroups import resctrl

    resctrl.from_record(entry.state["resctrl"]).update(schemas, journal)


def _update_cgroups(
    entry: "Entry", resources: "Resources", journal: "Journal", warn: "Callable[[str], None] | None"
) -> None:
    groups = tree.from_record(entry.state["cgroups"])
    groups.warn = warn
    if not groups.groups:
        raise Error(f'cannot update container "{entry.id}": it has no cgroup')
    groups.update(resources, journal)


def check(resources: "Resources", schemas: "dict[str, str] | None" = None) -> None:
    """Whether it is a linux.resources (and intelRdt). Raises ConfigError; its pointers begin with /linux."""
    linux: "dict[str, Any]" = {"resources": resources}
    if schemas:
        linux["intelRdt"] = schemas
    try:
        validate({"ociVersion": "1.3.0", "root": {"path": "x"}, "linux": linux})
    except ConfigError as error:
        raise ConfigError(error.problems, name="resources") from None
