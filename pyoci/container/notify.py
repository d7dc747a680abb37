"""sd_notify(3) for a container: what its program says of itself goes on to the service manager that started us.

Imported only if NOTIFY_SOCKET is set. The program gets a socket of the container's own, in a directory that is bound to
/run/notify: the manager's socket itself would show it the host's. We pass on what comes there, and say which process the
service's main one is.
"""

import _socket
import posix
import select
import time

from pyoci.container.identity import is_alive
from pyoci.errors import Error, cause_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyoci.container.store import Entry

VARIABLE = b"NOTIFY_SOCKET"
DIRECTORY, SOCKET = "notify", "notify.sock"
INSIDE = "/run/notify"
BARRIER_S = 30.0
LONGEST = 65536


def additions(state_directory: str) -> "tuple[dict[str, Any], str]":
    """The mount and the variable that a container with a notify socket has beside those of its config."""
    mount = {
        "destination": INSIDE,
        "type": "bind",
        "source": f"{state_directory}/{DIRECTORY}",
        "options": ["bind", "ro", "nosuid", "noexec", "nodev"],
    }
    return mount, f"NOTIFY_SOCKET={INSIDE}/{SOCKET}"


def make_directory(entry: "Entry") -> None:
    """What is bound into the container; `start` makes the socket in it."""
    try:
        posix.mkdir(f"{entry.path}/{DIRECTORY}", 0o755)
        posix.chmod(f"{entry.path}/{DIRECTORY}", 0o755)
    except OSError as error:
        raise Error(f"{entry.path}/{DIRECTORY}: {cause_of(error)}") from None


class Proxy:
    """The container's end and the manager's."""

    def __init__(self, entry: "Entry") -> None:
        self.entry = entry
        manager = posix.environ[VARIABLE]
        self._manager: "str | bytes" = b"\0" + manager[1:] if manager[:1] == b"@" else manager
        path = f"{entry.directory}/{DIRECTORY}/{SOCKET}"
        self._socket = _socket.socket(
            _socket.AF_UNIX, _socket.SOCK_DGRAM | _socket.SOCK_CLOEXEC | _socket.SOCK_NONBLOCK
        )
        try:
            self._socket.bind(path)
            posix.chmod(path, 0o777)
        except OSError as error:
            raise Error(f"{entry.path}/{DIRECTORY}/{SOCKET}: {cause_of(error)}") from None

    def fileno(self) -> int:
        """To poll."""
        return self._socket.fileno()

    def wait_until_ready(self) -> None:
        """Until the program says READY=1, or has ended."""
        pid, started = self.entry.state["pid"], self.entry.state["start_time"]
        poll = select.poll()
        poll.register(self.fileno(), select.POLLIN)
        while is_alive(pid, started):
            if poll.poll(100) and self.pump():
                return
        self.pump()

    def announce(self) -> None:
        """Say for a restored program that it is ready: it was before, and won't say so again."""
        self._send([f"READY=1\nMAINPID={self.entry.state['pid']}".encode()])
        self._barrier()

    def pump(self) -> bool:
        """Pass on what has come. True if the program said that it is ready."""
        ready = False
        while True:
            try:
                data = self._socket.recv(LONGEST)
            except BlockingIOError:
                return ready
            says_ready = b"READY=1" in data.split(b"\n")
            if says_ready:
                data += f"\nMAINPID={self.entry.state['pid']}".encode()
            self._send([data])
            if says_ready:
                self._barrier()
                ready = True

    def _send(self, data: "list[bytes]", rights: "tuple[Any, ...]" = ()) -> None:
        with _socket_to_manager() as socket:
            try:
                socket.sendmsg(data, rights, 0, self._manager)
            except OSError as error:
                raise Error(f"NOTIFY_SOCKET: {cause_of(error)}") from None

    def _barrier(self) -> None:
        """Wait until the manager has read what was sent: it closes the descriptor then. It looks up the sender by its pid,
        so we must not be gone before (sd_notify_barrier(3))."""
        reading, writing = posix.pipe2(posix.O_CLOEXEC)
        try:
            self._send(
                [b"BARRIER=1"],
                ((_socket.SOL_SOCKET, _socket.SCM_RIGHTS, writing.to_bytes(4, "little")),),
            )
            posix.close(writing)
            poll = select.poll()
            poll.register(reading, 0)
            deadline = time.monotonic() + BARRIER_S
            while time.monotonic() < deadline and not poll.poll(BARRIER_S * 1000):
                pass
        finally:
            posix.close(reading)


class _socket_to_manager:
    def __enter__(self) -> "Any":
        self.socket = _socket.socket(_socket.AF_UNIX, _socket.SOCK_DGRAM | _socket.SOCK_CLOEXEC)
        return self.socket

    def __exit__(self, *_: object) -> None:
        self.socket.close()
