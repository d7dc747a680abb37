"""Just enough of rtnetlink(7) to find, move and set up network interfaces. Imported only for linux.netDevices."""

import _socket
import _struct
import posix

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    Attributes = dict[int, bytes]

# linux/netlink.h, linux/rtnetlink.h
ERROR, DONE = 2, 3
REQUEST, ACK, DUMP, EXCLUSIVE, CREATE = 0x1, 0x4, 0x300, 0x200, 0x400
NEW_LINK, GET_LINK, NEW_ADDRESS, GET_ADDRESS = 16, 18, 20, 22
KERNEL = 0
# A flag of NLMSG_DONE and the like: the table changed while it was told.
INTERRUPTED = 0x10

_header = _struct.Struct("=IHHII")
_attribute = _struct.Struct("=HH")
_error = _struct.Struct("=i")
_LONGEST = 1 << 18


class Netlink:
    """A routing socket.

    Arguments:
        descriptor: a netlink socket, which belongs to the network namespace that it was made in; None: make one here.
    """

    def __init__(self, descriptor: "int | None" = None) -> None:
        if descriptor is None:
            kind = _socket.SOCK_RAW | _socket.SOCK_CLOEXEC
            self._socket = _socket.socket(_socket.AF_NETLINK, kind, _socket.NETLINK_ROUTE)
        else:
            self._socket = _socket.socket(fileno=descriptor)
        self._number = 0

    def close(self) -> None:
        """Close it."""
        self._socket.close()

    def change(self, kind: int, flags: int, body: bytes) -> None:
        """Make a change. Raises OSError with the kernel's reason."""
        for _ in self._ask(kind, flags | ACK, body):
            pass

    def dump(self, kind: int, body: bytes) -> "list[bytes]":
        """All entries of a table, each message without its header. Raises OSError."""
        while True:
            try:
                return list(self._ask(kind, DUMP, body))
            except InterruptedError:
                continue

    def _ask(self, kind: int, flags: int, body: bytes) -> "Iterator[bytes]":
        self._number += 1
        self._socket.send(
            _header.pack(_header.size + len(body), kind, flags | REQUEST, self._number, 0) + body
        )
        interrupted = False
        while True:
            data, sender = self._socket.recvfrom(_LONGEST)
            # Who is 0 is the kernel; any process of the network namespace may send something here, netlink(7).
            while data and sender[0] == KERNEL:
                length, kind, flags, number, _ = _header.unpack_from(data)
                body, data = data[_header.size : length], data[(length + 3) & ~3 :]
                if number != self._number:
                    continue
                interrupted = interrupted or bool(flags & INTERRUPTED)
                if kind in (ERROR, DONE):
                    _raise(_error.unpack_from(body)[0] if body else 0)
                    if interrupted:
                        raise InterruptedError
                    return
                yield body


def _raise(code: int) -> None:
    if code < 0:
        raise OSError(-code, posix.strerror(-code))


def attribute(kind: int, value: bytes) -> bytes:
    """An attribute of a message."""
    length = _attribute.size + len(value)
    return _attribute.pack(length, kind) + value + bytes(-length % 4)


def text(value: str) -> bytes:
    """A name as an attribute's value."""
    return value.encode("utf-8", "surrogateescape") + b"\0"


def number(value: int) -> bytes:
    """A number as an attribute's value."""
    return value.to_bytes(4, "little" if _LITTLE else "big")


def attributes(data: bytes) -> "Attributes":
    """The attributes that follow a message's fixed part."""
    found: "Attributes" = {}
    while len(data) >= _attribute.size:
        length, kind = _attribute.unpack_from(data)
        if length < _attribute.size:
            break
        found[kind & 0x3FFF] = data[_attribute.size : length]  # without NLA_F_NESTED and NLA_F_NET_BYTEORDER
        data = data[(length + 3) & ~3 :]
    return found


_LITTLE = _struct.pack("=H", 1)[0] == 1
