"""linux.netDevices: interfaces of the runtime's network namespace move to the container's (config-linux.md, "Network Devices").

Imported only for a container that has any.
"""

import posix

from pyoci import shim
from pyoci.container import links
from pyoci.container.links import Address, Link
from pyoci.container.netlink import Netlink
from pyoci.errors import ConfigError, Problem, cause_of
from pyoci.spec.rules import escape

POINTER = "/linux/netDevices"


class _Moved:
    """An interface in the container, and what it was on the host."""

    __slots__ = ("addresses", "inside", "link")

    def __init__(self, link: Link, inside: Link, addresses: "list[Address]") -> None:
        self.link = link
        self.inside = inside
        self.addresses = addresses


class NetDevices:
    """The interfaces of one container that is being created.

    Arguments:
        pid: a process in its network namespace.
    """

    def __init__(self, pid: int) -> None:
        self._moved: "list[_Moved]" = []
        self._descriptors: "list[int]" = []
        self._connections: "list[Netlink]" = []
        try:
            self._host, self._container = self._open("self"), self._open(str(pid))
        except OSError as error:
            self.close()
            raise _refusal("", "the network namespace can't be looked into", error) from None

    def _open(self, process: str) -> "tuple[int, Netlink]":
        descriptor = posix.open(f"/proc/{process}/ns/net", posix.O_RDONLY | posix.O_CLOEXEC)
        self._descriptors.append(descriptor)
        connection = Netlink(shim.netlink(descriptor))
        self._connections.append(connection)
        return descriptor, connection

    def move(self, devices: "dict[str, dict[str, str]]") -> None:
        """Move them all.

        Arguments:
            devices: linux.netDevices.

        Raises ConfigError: one isn't there, its name is taken, or the kernel refuses; `move_back` undoes what was done.
        """
        if _same(self._host[0], self._container[0]):
            raise _problem(
                "", "the container's network namespace is the runtime's own, where the interfaces are"
            )
        there = links.links(self._host[1])
        taken = links.links(self._container[1])
        wanted = {name: (device or {}).get("name") or name for name, device in devices.items()}
        for name, inside in wanted.items():
            if name not in there:
                raise _problem(name, f'there is no network interface "{name}"')
            if inside in taken:
                raise _problem(
                    name, f'the container\'s network namespace has an interface "{inside}" already'
                )
        for name, inside in wanted.items():
            try:
                self._move(there[name], inside)
            except OSError as error:
                raise _refusal(name, "can't be moved to the container", error) from None

    def _move(self, link: Link, name: str) -> None:
        namespace, inside = self._container
        before = links.links(inside)
        # The kernel drops them when the interface leaves.
        kept = links.addresses(self._host[1], link.index)
        links.move(self._host[1], link.index, namespace, name)
        arrived = _arrived(before, links.links(inside), name)
        self._moved.append(_Moved(link, arrived, kept))
        _restore(inside, arrived, kept, link.name)
        links.set_up(inside, arrived.index)

    def move_back(self) -> None:
        """As it was before. Raises Error with what could not be."""
        while self._moved:
            moved = self._moved.pop()
            try:
                before = links.links(self._host[1])
                links.move(self._container[1], moved.inside.index, self._host[0], moved.link.name)
                back = _arrived(before, links.links(self._host[1]), moved.link.name)
                _restore(self._host[1], back, moved.addresses, back.name)
                if moved.link.up:
                    links.set_up(self._host[1], back.index)
            except OSError as error:
                raise _refusal(moved.link.name, "can't be moved back to the host", error) from None

    def close(self) -> None:
        """Close what was open for it. What was moved stays where it is."""
        for connection in self._connections:
            connection.close()
        for descriptor in self._descriptors:
            posix.close(descriptor)
        self._connections, self._descriptors = [], []


def _same(one: int, other: int) -> bool:
    first, second = posix.fstat(one), posix.fstat(other)
    return (first.st_dev, first.st_ino) == (second.st_dev, second.st_ino)


def _arrived(before: "dict[str, Link]", after: "dict[str, Link]", name: str) -> Link:
    """The interface that has come under this name, or one that the kernel made of it ("%d" is a number)."""
    if name in after:
        return after[name]
    start, _, end = name.partition("%d")
    for each in after:
        if each not in before and each.startswith(start) and each.endswith(end):
            return after[each]
    raise FileNotFoundError(2, posix.strerror(2))


def _restore(connection: Netlink, link: Link, addresses: "list[Address]", was: str) -> None:
    for address in addresses:
        links.add_address(connection, link, address, was)


def _refusal(name: str, what: str, error: OSError) -> ConfigError:
    found = _problem(name, f"{what}: {cause_of(error).lower()}")
    if isinstance(error, PermissionError):
        found.hint = "it takes CAP_NET_ADMIN and CAP_SYS_ADMIN on the host"
    return found


def _problem(name: str, message: str) -> ConfigError:
    return ConfigError([Problem(f"{POINTER}/{escape(name)}" if name else POINTER, message)])
