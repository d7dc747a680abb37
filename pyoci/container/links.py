"""Network interfaces of one network namespace, by rtnetlink(7)."""

import _struct

from pyoci.container import netlink

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyoci.container.netlink import Netlink

# linux/if_link.h, linux/if.h
NAME, NAMESPACE = 3, 28
UP = 1
# linux/if_addr.h
LABEL, FLAGS = 3, 8
KEPT = (1, 2, 4, 6, 8, 9)  # address, local, broadcast, lifetimes, flags, priority of its route
PERMANENT, TENTATIVE, DEPRECATED, DAD_FAILED = 0x80, 0x40, 0x20, 0x08
UNIVERSE = 0

_link = _struct.Struct("=BxHiII")
_address = _struct.Struct("=BBBBI")


class Link:
    """An interface.

    Attributes:
        index: its number.
        name: its name.
        up: whether it is (administratively) up.
    """

    __slots__ = ("index", "name", "up")

    def __init__(self, index: int, name: str, up: bool) -> None:
        self.index = index
        self.name = name
        self.up = up


class Address:
    """An address of an interface.

    Attributes:
        family, prefix: AF_INET or AF_INET6; its length in bits.
        kept: the attributes that make it the same again, by kind.
        label: IPv4's, "" without.
    """

    __slots__ = ("family", "kept", "label", "prefix")

    def __init__(self, family: int, prefix: int, kept: "dict[int, bytes]", label: str) -> None:
        self.family = family
        self.prefix = prefix
        self.kept = kept
        self.label = label


def links(connection: "Netlink") -> "dict[str, Link]":
    """All interfaces by name. Raises OSError."""
    found = {}
    for message in connection.dump(netlink.GET_LINK, _link.pack(0, 0, 0, 0, 0)):
        _, _, index, flags, _ = _link.unpack_from(message)
        name = _text(netlink.attributes(message[_link.size :])[NAME])
        found[name] = Link(index, name, bool(flags & UP))
    return found


def addresses(connection: "Netlink", index: int) -> "list[Address]":
    """The permanent addresses of global scope of an interface, of any family. Raises OSError."""
    found = []
    for message in connection.dump(netlink.GET_ADDRESS, _address.pack(0, 0, 0, 0, 0)):
        family, prefix, flags, scope, owner = _address.unpack_from(message)
        read = netlink.attributes(message[_address.size :])
        if FLAGS in read:
            flags = int.from_bytes(read[FLAGS], "little" if netlink.number(1)[0] else "big")
        if owner != index or scope != UNIVERSE or not flags & PERMANENT:
            continue
        # What is the kernel's own news about an address isn't for it to be told.
        read[FLAGS] = netlink.number(flags & ~(PERMANENT | TENTATIVE | DEPRECATED | DAD_FAILED))
        kept = {kind: read[kind] for kind in KEPT if kind in read}
        found.append(Address(family, prefix, kept, _text(read.get(LABEL, b""))))
    return found


def move(connection: "Netlink", index: int, namespace: int, name: str) -> None:
    """Move an interface to a namespace, where it has this name; the kernel picks a number for a "%d" in it.

    Arguments:
        namespace: a descriptor.

    Raises OSError.
    """
    body = netlink.attribute(NAMESPACE, netlink.number(namespace)) + netlink.attribute(
        NAME, netlink.text(name)
    )
    connection.change(netlink.NEW_LINK, 0, _link.pack(0, 0, index, 0, 0) + body)


def set_up(connection: "Netlink", index: int) -> None:
    """Set an interface up. Raises OSError."""
    connection.change(netlink.NEW_LINK, 0, _link.pack(0, 0, index, UP, UP))


def add_address(connection: "Netlink", link: Link, address: Address, was: str) -> None:
    """Give an interface an address that it had under the name `was`. Raises OSError; not if it has it already."""
    body = b"".join(netlink.attribute(kind, value) for kind, value in address.kept.items())
    if address.label[: len(was)] == was:
        # The kernel wants a label to begin with the interface's name.
        body += netlink.attribute(LABEL, netlink.text(link.name + address.label[len(was) :]))
    fixed = _address.pack(address.family, address.prefix, 0, UNIVERSE, link.index)
    try:
        connection.change(netlink.NEW_ADDRESS, netlink.CREATE | netlink.EXCLUSIVE, fixed + body)
    except FileExistsError:
        pass


def _text(value: bytes) -> str:
    return value.rstrip(b"\0").decode("utf-8", "surrogateescape")
