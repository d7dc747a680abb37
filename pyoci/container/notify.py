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
READY = b"READY=1"
BARRIER_S = 30.0
# When the program is gone the rest is not worth more.
LAST_BARRIER_S = 2.0
LONGEST = 65536
MOST_AT_ONCE = 100


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
        self._said = False
        # What the manager didn't take yet, and the connection for it: its queue is full.
        self._waiting: "tuple[Any, ...]" = ()
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

    def wait_until_ready(self) -> None:
        """Until the program says READY=1, or has ended."""
        pid, started = self.entry.state["pid"], self.entry.state["start_time"]
        poll = select.poll()
        poll.register(self._socket.fileno(), select.POLLIN)
        while is_alive(pid, started):
            if poll.poll(100) and self._pump():
                return
        self._pump()

    def announce(self) -> None:
        """Say for a restored program that it is ready: it was before, and won't say so again."""
        self._send(f"READY=1\nMAINPID={self.entry.state['pid']}".encode())
        self._barrier()

    def _pump(self) -> bool:
        """Pass on what has come, however long the manager takes. True if the program said that it is ready."""
        ready = False
        while (message := self._next()) is not None:
            self._send(message)
            if READY in message.split(b"\n"):
                self._barrier()
                ready = True
        return ready

    def wanted(self) -> "dict[int, int]":
        """The descriptor to poll, and for what."""
        if self._waiting:
            return {self._waiting[0].fileno(): select.POLLOUT}
        return {self._socket.fileno(): select.POLLIN}

    def serve(self) -> None:
        """Pass on what the manager takes now; not more at once than leaves time for the rest. Raises Error if it is gone."""
        for _ in range(MOST_AT_ONCE):
            if self._waiting:
                connection, message = self._waiting
            elif (message := self._next()) is not None:
                connection = self._to_manager()
                self._waiting = connection, message
            else:
                return
            try:
                connection.send(message, _socket.MSG_DONTWAIT)
            except BlockingIOError:
                return
            except OSError as error:
                raise Error(f"NOTIFY_SOCKET: {cause_of(error)}") from None
            connection.close()
            self._waiting = ()

    def finish(self) -> None:
        """Pass on what was said last, before we are gone. Raises Error if the manager is gone."""
        self.serve()
        if self._said and not self._waiting:
            self._barrier(LAST_BARRIER_S)

    def _next(self) -> "bytes | None":
        """The next message for the manager, None if there is none."""
        try:
            data: bytes = self._socket.recv(LONGEST)
        except BlockingIOError:
            return None
        if READY in data.split(b"\n"):
            data += f"\nMAINPID={self.entry.state['pid']}".encode()
        self._said = True
        return data

    def _to_manager(self) -> "Any":
        """A socket to the manager. Raises Error."""
        connection = _socket.socket(_socket.AF_UNIX, _socket.SOCK_DGRAM | _socket.SOCK_CLOEXEC)
        try:
            connection.connect(self._manager)
        except OSError as error:
            connection.close()
            raise Error(f"NOTIFY_SOCKET: {cause_of(error)}") from None
        return connection

    def _send(self, message: bytes, rights: "tuple[Any, ...]" = (), seconds: "float | None" = None) -> None:
        connection = self._to_manager()
        connection.settimeout(seconds)
        try:
            connection.sendmsg([message], rights)
        except OSError as error:
            raise Error(f"NOTIFY_SOCKET: {cause_of(error)}") from None
        finally:
            connection.close()

    def _barrier(self, seconds: float = BARRIER_S) -> None:
        """Wait until the manager has read what was sent: it closes the descriptor then. It looks up the sender by its pid,
        so we must not be gone before (sd_notify_barrier(3))."""
        reading, writing = posix.pipe2(posix.O_CLOEXEC)
        try:
            try:
                rights = (_socket.SOL_SOCKET, _socket.SCM_RIGHTS, writing.to_bytes(4, "little"))
                self._send(b"BARRIER=1", (rights,), seconds)
            finally:
                posix.close(writing)
            poll = select.poll()
            poll.register(reading, 0)
            deadline = time.monotonic() + seconds
            while time.monotonic() < deadline and not poll.poll(seconds * 1000):
                pass
        finally:
            posix.close(reading)
