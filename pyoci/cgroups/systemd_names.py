"""linux.cgroupsPath for systemd: "slice:prefix:name" -> a unit, and where systemd puts it (systemd.unit(5), systemd.slice(5))."""

from pyoci.errors import ConfigError, Problem

POINTER = "/linux/cgroupsPath"
ROOT_SLICE = "-.slice"
LONGEST = 255  # UNIT_NAME_MAX counts the NUL
_LETTERS = "abcdefghijklmnopqrstuvwxyz"
CHARACTERS = frozenset(_LETTERS + _LETTERS.upper() + "0123456789:_.-\\@")


class Unit:
    """A container's unit.

    Attributes:
        name: "PREFIX-NAME.scope", or what ends with .slice.
        slice: the slice that it lies in.
        path: its cgroup below the one of its manager, with a leading slash.
    """

    __slots__ = ("name", "path", "slice")

    def __init__(self, name: str, slice_name: str) -> None:
        self.name = name
        self.slice = slice_name
        self.path = f"{expand(slice_name)}/{name}"

    @property
    def is_slice(self) -> bool:
        return self.name.endswith(".slice")


def unit_of(cgroups_path: "str | None", container_id: str, *, user: bool) -> Unit:
    """The unit of a container.

    Arguments:
        cgroups_path: linux.cgroupsPath; None or "" is the manager's usual slice, "pyoci", the id.
        user: a user's manager makes it.

    Raises ConfigError.
    """
    usual = "user.slice" if user else "system.slice"
    if not cgroups_path:
        return Unit(_checked(f"pyoci-{_escaped(container_id)}.scope"), usual)
    parts = cgroups_path.split(":")
    if len(parts) != 3:
        raise _refused(
            f'{cgroups_path!r} is not of the form "slice:prefix:name", which the systemd driver wants'
        )
    slice_name, prefix, name = parts
    slice_name = slice_name or usual
    _check_slice(slice_name)
    if not name:
        raise _refused("the name after the last colon is missing")
    if not name.endswith(".slice"):
        return Unit(_checked(f"{prefix}-{name}.scope" if prefix else f"{name}.scope"), slice_name)
    _check_slice(name)
    unit = Unit(name, parent(name))
    if name == ROOT_SLICE or slice_name != unit.slice:
        raise _refused(f'a slice "{name}" lies in "{unit.slice}", not in "{slice_name}"')
    return unit


def parent(slice_name: str) -> str:
    """The slice that a slice lies in: a-b.slice in a.slice, that in -.slice."""
    above = slice_name.removesuffix(".slice").rpartition("-")[0]
    return f"{above}.slice" if above else ROOT_SLICE


def expand(slice_name: str) -> str:
    """A slice's path: "a-b.slice" is "/a.slice/a-b.slice", "-.slice" is ""."""
    if slice_name == ROOT_SLICE:
        return ""
    return f"{expand(parent(slice_name))}/{slice_name}"


def _check_slice(name: str) -> None:
    if name == ROOT_SLICE:
        return
    stem = name.removesuffix(".slice")
    if stem == name or not stem or "" in stem.split("-") or "@" in name:
        raise _refused(f'{name!r} is not the name of a slice, such as "system.slice" or "a-b.slice"')
    _checked(name)


def _checked(name: str) -> str:
    if not CHARACTERS.issuperset(name) or name[0] in ".@":
        raise _refused(f"{name!r} is not the name of a unit: letters, digits and :-_.\\@ are possible")
    if len(name) > LONGEST:
        raise _refused(f"the unit's name is too long: {len(name)} characters, {LONGEST} are possible")
    return name


def _escaped(container_id: str) -> str:
    """As systemd-escape(1) does it: of an id's characters only + can't be in a unit's name."""
    return container_id.replace("+", "\\x2b")


def _refused(message: str) -> ConfigError:
    return ConfigError([Problem(POINTER, message)])
