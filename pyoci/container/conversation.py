"""The host side's end of the conversation with pyoci-init; the messages are described in csrc/init.h."""

import _socket
import _struct
import posix

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

ASK, READY, FAILED, CONSOLE, STARTING, BORN = 1, 2, 3, 4, 5, 6
LISTENER, FETCH, WARNING = 7, 8, 9
NO_STEP = 0xFFFFFFFF
GO_AHEAD = b"g"

_header = _struct.Struct("<IIiI")
_LONGEST = 65536


class Message:
    """What the init said.

    Attributes:
        kind: ASK, READY, FAILED, CONSOLE, STARTING, BORN, LISTENER, FETCH or WARNING.
        step: the number of the step; NO_STEP before the first.
        error: an errno.
        value: depends on the kind: how far the init is, how a hook ended, a pid, attributes of a mount.
        call, subject: the system call that failed (or what is warned about), and what it was about.
        origin: the step's JSON pointer.
        descriptor: one that came along, or -1.
    """

    __slots__ = ("call", "descriptor", "error", "kind", "origin", "step", "subject", "value")

    def __init__(self, data: bytes, descriptor: int = -1) -> None:
        self.kind, self.step, self.error, self.value = _header.unpack_from(data)
        texts = data[_header.size :].decode("utf-8", "surrogateescape").split("\0")
        self.call, self.subject, self.origin = (texts + ["", "", ""])[:3]
        self.descriptor = descriptor


def pair() -> "tuple[Any, Any]":
    """The two ends: ours and the init's."""
    kind = _socket.SOCK_SEQPACKET | _socket.SOCK_CLOEXEC
    return _socket.socketpair(_socket.AF_UNIX, kind)


def listen(path: str) -> "Any":
    """The start socket, listening."""
    listener = _socket.socket(_socket.AF_UNIX, _socket.SOCK_SEQPACKET | _socket.SOCK_CLOEXEC)
    listener.bind(path)
    # Whatever the umask: connecting takes the permission to write.
    posix.chmod(path, 0o600)
    listener.listen(128)
    return listener


def connect(path: str) -> "Any":
    """Connect to a start socket.

    Raises OSError: ConnectionRefusedError if nobody listens any more, FileNotFoundError if nobody ever did.
    """
    connection = _socket.socket(
        _socket.AF_UNIX, _socket.SOCK_SEQPACKET | _socket.SOCK_CLOEXEC | _socket.SOCK_NONBLOCK
    )
    connection.connect(path)
    connection.setblocking(True)
    return connection


def receive(connection: "Any") -> "Message | None":
    """The next message; None when the other side is gone."""
    space = _socket.CMSG_SPACE(4)
    try:
        data, control, _, _ = connection.recvmsg(_LONGEST, space, _socket.MSG_CMSG_CLOEXEC)
    except ConnectionResetError:
        return None
    if len(data) < _header.size:
        return None
    descriptor = -1
    for level, kind, payload in control:
        if level == _socket.SOL_SOCKET and kind == _socket.SCM_RIGHTS:
            descriptor = int.from_bytes(payload[:4], "little")
    return Message(data, descriptor)


def go_ahead(connection: "Any", descriptor: "int | None" = None) -> None:
    """Let the init go on, with a descriptor if it asked for one. That it is gone shows at the next `receive`."""
    try:
        if descriptor is None:
            connection.send(GO_AHEAD, _socket.MSG_NOSIGNAL)
        else:
            rights = (_socket.SOL_SOCKET, _socket.SCM_RIGHTS, descriptor.to_bytes(4, "little"))
            connection.sendmsg([GO_AHEAD], [rights], _socket.MSG_NOSIGNAL)
    except BrokenPipeError:
        pass
    except ConnectionResetError:
        pass
