"""Connections to unix sockets of others: by a path of any length, and with a limit on the time that they take."""

import _socket
import _struct
import posix

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

STREAM, DATAGRAM = _socket.SOCK_STREAM, _socket.SOCK_DGRAM
PATIENCE_S = 10
_timeval = _struct.Struct("@ll")


def connect(path: "str | bytes", kind: int = STREAM, *, patience: int = PATIENCE_S) -> "Any":
    """A connected socket.

    Arguments:
        path: absolute; bytes that begin with a zero are an abstract name, unix(7).
        patience: seconds, for this and for whatever is sent: a queue that nobody takes from is full.

    Raises OSError.
    """
    connection = _socket.socket(_socket.AF_UNIX, kind | _socket.SOCK_CLOEXEC)
    # settimeout() would make it non-blocking, and connect(2) of a unix socket waits only when it blocks.
    for option in (_socket.SO_SNDTIMEO, _socket.SO_RCVTIMEO):
        connection.setsockopt(_socket.SOL_SOCKET, option, _timeval.pack(patience, 0))
    try:
        _connect(connection, path)
    except BlockingIOError:
        connection.close()
        raise _late(patience) from None
    except BaseException:
        connection.close()
        raise
    return connection


def _connect(connection: "Any", path: "str | bytes") -> None:
    if path[:1] == b"\0":
        connection.connect(path)
        return
    # An address has 108 bytes, sun_path of unix(7); a path may have 4095.
    fd = posix.open(path, posix.O_PATH | posix.O_CLOEXEC)
    try:
        connection.connect(f"/proc/self/fd/{fd}")
    finally:
        posix.close(fd)


def deliver(
    path: "str | bytes",
    data: bytes,
    descriptor: "int | None" = None,
    kind: int = STREAM,
    *,
    patience: int = PATIENCE_S,
) -> None:
    """Send something over a connection of its own, and a descriptor with it; see `connect`. Raises OSError."""
    rights = []
    if descriptor is not None:
        rights.append((_socket.SOL_SOCKET, _socket.SCM_RIGHTS, descriptor.to_bytes(4, "little")))
    connection = connect(path, kind, patience=patience)
    try:
        sent = connection.sendmsg([data], rights, _socket.MSG_NOSIGNAL)
        while sent < len(data):
            sent += connection.send(data[sent:], _socket.MSG_NOSIGNAL)
    except BlockingIOError:
        raise _late(patience) from None
    finally:
        connection.close()


def _late(patience: int) -> OSError:
    return TimeoutError(110, f"Nobody took it within {patience} s")  # ETIMEDOUT
