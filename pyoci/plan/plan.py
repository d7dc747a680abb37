"""A plan: the flat list of steps that make a container, and its encoding for pyoci-init.

The wire format is described in csrc/plan.h, the steps are csrc/steps.def. A plan also says what has to be true before its
first step: which namespaces the init is born in, and which descriptors it gets.
"""

from pyoci.plan.steps import STEPS, TABLE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

MAGIC = b"PYOC" + TABLE.to_bytes(4, "little")
HEADER_SIZE = 24
# The first two slots of every plan: csrc/init.h.
SLOT_PLAN, SLOT_CONVERSATION = "plan", "conversation"
# How far the init is when it asks the host side (ask-host): csrc/init.h.
HOOKS, ID_MAPS, NET_DEVICES, CGROUPS = 1, 2, 3, 4


class Step:
    """One step: its name in the table, its arguments, and where in config.json it comes from.

    Arguments:
        origin: a JSON pointer into config.json; "" for what the runtime does of itself.
    """

    __slots__ = ("arguments", "name", "origin")

    def __init__(self, name: str, origin: str, arguments: "tuple[Any, ...]") -> None:
        self.name = name
        self.origin = origin
        self.arguments = arguments


class Slot:
    """A descriptor that the init is given, known by its place in the list of slots.

    Arguments:
        name: what it is: "start", "cgroup", "namespace:network", ...
        path: the file to open for it; "" if the executor makes it.
        origin: the JSON pointer that asks for it.
    """

    __slots__ = ("name", "origin", "path")

    def __init__(self, name: str, path: str = "", origin: str = "") -> None:
        self.name = name
        self.path = path
        self.origin = origin


class Fetch:
    """A descriptor that the host side makes when a step asks for it.

    Attributes:
        source: the path whose tree it is; None for the user namespace that maps the ids, and for a device.
        device: the mode, major, minor, uid and gid, as the container has them, of the device that it is.
        recursive: with what is mounted below.
        follow: through a symlink at the path's end.
        peer: what is mounted in the tree later shows on the host, if the source is shared there.
        maps_ids: the tree's ids are mapped.
        maps: the uid and gid maps; None for the container's user namespace.
        idmap_recursive: also those of the mounts below.
        sets_attributes: the tree gets the attributes that the step has.
    """

    __slots__ = (
        "device",
        "follow",
        "idmap_recursive",
        "maps",
        "maps_ids",
        "peer",
        "recursive",
        "sets_attributes",
        "source",
    )

    def __init__(
        self,
        source: "str | None",
        *,
        recursive: bool = False,
        follow: bool = True,
        peer: bool = False,
        maps_ids: bool = False,
        maps: "tuple[str, str] | None" = None,
        idmap_recursive: bool = False,
        sets_attributes: bool = False,
        device: "tuple[int, int, int, int, int] | None" = None,
    ) -> None:
        self.source = source
        self.device = device
        self.recursive = recursive
        self.follow = follow
        self.peer = peer
        self.maps_ids = maps_ids
        self.maps = maps
        self.idmap_recursive = idmap_recursive
        self.sets_attributes = sets_attributes


class Plan:
    """What is to be done, in order.

    Attributes:
        steps: the steps.
        slots: the descriptors that the steps speak of, by number.
        new_namespaces: the CLONE_NEW* bits that the init is born with.
        pid_namespace: the pid namespace that the init is born in, if it isn't ours or a new one.
        id_maps: the user namespace's uid and gid maps ("container host size" lines), if one is made.
        fetches: what the host side makes for a step, by the step's number.
        preserved: how many descriptors from 3 up go to the user's program.
        warnings: what was asked for and can't be had, where the specification wants a warning.
    """

    def __init__(self, preserved: int = 0) -> None:
        self.steps: list[Step] = []
        self.slots: list[Slot] = [Slot(SLOT_PLAN), Slot(SLOT_CONVERSATION)]
        self.new_namespaces = 0
        self.pid_namespace: Slot | None = None
        self.id_maps: tuple[str, str] | None = None
        self.fetches: dict[int, Fetch] = {}
        self.preserved = preserved
        self.warnings: list[str] = []

    def add(self, name: str, origin: str, *arguments: "Any") -> None:
        """Append a step.

        Arguments:
            name: its name in csrc/steps.def.
            origin: a JSON pointer into config.json.
            arguments: int, str, bytes or a list of str, as the table's letters say.
        """
        self.steps.append(Step(name, origin, arguments))

    def slot(self, name: str, path: str = "", origin: str = "") -> int:
        """A new descriptor for the init; its number is what steps take."""
        self.slots.append(Slot(name, path, origin))
        return len(self.slots) - 1

    @property
    def first_descriptor(self) -> int:
        """The descriptor number of slot 0 in the init."""
        return 3 + self.preserved

    def encode(self, checksum: "Any") -> bytes:
        """The plan as pyoci-init reads it.

        Arguments:
            checksum: bytes -> their CRC-32.
        """
        parts = [len(self.steps).to_bytes(4, "little"), len(self.slots).to_bytes(4, "little")]
        for step in self.steps:
            number, letters, _ = STEPS[step.name]
            body = _string(step.origin) + b"".join(map(_encode_argument, letters, step.arguments))
            parts.append(number.to_bytes(4, "little") + len(body).to_bytes(4, "little") + body)
        covered = b"".join(parts)
        size = len(MAGIC) + 8 + len(covered)
        crc: int = checksum(covered)
        return MAGIC + size.to_bytes(4, "little") + crc.to_bytes(4, "little") + covered


def _string(text: str) -> bytes:
    data = text.encode("utf-8", "surrogateescape")
    return len(data).to_bytes(4, "little") + data + b"\0"


def _strings(texts: "Sequence[str]") -> bytes:
    return len(texts).to_bytes(4, "little") + b"".join(map(_string, texts))


_ENCODERS: "dict[str, Any]" = {
    "u": lambda value: value.to_bytes(4, "little"),
    "f": lambda value: value.to_bytes(4, "little"),
    "l": lambda value: value.to_bytes(8, "little"),
    "s": _string,
    "v": _strings,
    "b": lambda value: len(value).to_bytes(4, "little") + value,
}


def _encode_argument(letter: str, value: "Any") -> bytes:
    encoded: bytes = _ENCODERS[letter](value)
    return encoded
