"""sd_notify(3) for a container: what its program says of itself goes on to the service manager that started us.

Imported only if NOTIFY_SOCKET is set. The program gets a socket of the container's own, in a directory that is bound to
/run/notify: the manager's socket itself would show it the host's. The manager takes what we send as our own word, so we
pass on only what does no harm, and say ourselves which process the service's main one is.
"""

import _socket
import posix
import select
import time

from pyoci import files, sockets
from pyoci.container.identity import is_alive
from pyoci.errors import Error, cause_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from pyoci.container.store import Entry

VARIABLE = b"NOTIFY_SOCKET"
DIRECTORY, SOCKET = "notify", "notify.sock"
INSIDE = "/run/notify"
READY = b"READY=1"
BARRIER_S = 30.0
# When the program is gone the rest is not worth more.
LAST_BARRIER_S = 2.0
PATIENCE_S = 3
LONGEST = 4096  # systemd takes no longer message: PIPE_BUF
# A program that never stops must not keep us from anything else, nor keep the manager busy.
BATCH, PAUSE_S = 16, 0.005

ONE, NUMBER, TEXT, OURS, NEVER = "one", "number", "text", "ours", "never"
# What a field's value must be to be passed on. A field that isn't here is not: it may be a later systemd's.
FIELDS = {
    b"READY": ONE,
    b"STATUS": TEXT,
    b"WATCHDOG": ONE,  # a sign of life; "trigger" would have the manager end the service
    # These three are shown, and nothing follows from them.
    b"ERRNO": NUMBER,
    b"BUSERROR": TEXT,
    b"VARLINKERROR": TEXT,
    b"EXIT_STATUS": NEVER,  # the manager reads it from nobody but a virtual machine or container that it started as such
    b"MAINPID": OURS,  # the program's number is of its own pid namespace, or names a stranger
    b"MAINPIDFDID": NEVER,
    b"MAINPIDFD": NEVER,
    # From then on there is a time limit to the service's life; its end will show by itself.
    b"STOPPING": NEVER,
    # The same, until READY=1, and without MONOTONIC_USEC of this clock the service is ended at once.
    b"RELOADING": NEVER,
    b"MONOTONIC_USEC": NEVER,
    # The limits on time are the unit's, not the program's: it could ask for none, or for none left.
    b"WATCHDOG_USEC": NEVER,
    b"EXTEND_TIMEOUT_USEC": NEVER,
    b"RESTART_RESET": NEVER,  # it would undo the limit on restarts
    b"NOTIFYACCESS": NEVER,  # it says who else may speak for the service
    # Descriptors that the manager would hold, and pass to the next container.
    b"FDSTORE": NEVER,
    b"FDSTOREREMOVE": NEVER,
    b"FDNAME": NEVER,
    b"FDPOLL": NEVER,
    b"BARRIER": NEVER,  # answered: the descriptor that comes along is closed, since we don't take it
}


def passed_on(data: bytes, main_pid: int) -> bytes:
    """What the manager gets of a message; b"" for nothing.

    Arguments:
        main_pid: the container's process, as the host counts.
    """
    kept: "dict[bytes, bytes]" = {}
    ours = str(main_pid).encode()
    # systemd takes a zero at the very end too.
    for line in data.removesuffix(b"\0").split(b"\n") if len(data) <= LONGEST else ():
        name, _, value = line.partition(b"=")
        rule = FIELDS.get(name, NEVER)
        if rule is OURS:
            kept[name] = ours
        elif _fits(rule, value):
            kept[name] = value
    if b"READY" in kept:
        kept[b"MAINPID"] = ours
    return b"\n".join(name + b"=" + value for name, value in kept.items())


def _fits(rule: str, value: bytes) -> bool:
    if rule is TEXT:
        return all(char.isprintable() or char == "\t" for char in value.decode("utf-8", "surrogateescape"))
    return (rule is ONE and value == b"1") or (rule is NUMBER and len(value) < 10 and value.isdigit())


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
        files.make_directory(f"{entry.directory}/{DIRECTORY}", 0o755)
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
        """Until the program says READY=1, or has ended. Raises Error if the manager is gone, or takes nothing."""
        pid, started = self.entry.state["pid"], self.entry.state["start_time"]
        poll = select.poll()
        poll.register(self._socket.fileno(), select.POLLIN)
        while is_alive(pid, started):
            if poll.poll(100) and self._pump():
                return
        self._pump()

    def announce(self) -> None:
        """Say for a restored program that it is ready: it was before, and won't say so again. Raises Error."""
        self._send(passed_on(READY, self.entry.state["pid"]))
        self._barrier()

    def _pump(self) -> bool:
        """Pass on some of what has come. True if the program said that it is ready."""
        for message in self._next():
            self._send(message)
            if READY in message.split(b"\n"):
                self._barrier()
                return True
        return False

    def wanted(self) -> "dict[int, int]":
        """The descriptor to poll, and for what."""
        if self._waiting:
            return {self._waiting[0].fileno(): select.POLLOUT}
        return {self._socket.fileno(): select.POLLIN}

    def serve(self) -> None:
        """Pass on some of what has come, as far as the manager takes it now. Raises Error if it is gone."""
        if self._waiting and not self._retry():
            return
        for message in self._next():
            self._waiting = self._connection(), message
            if not self._retry():
                return

    def _retry(self) -> bool:
        """Whether the manager took what it didn't take before."""
        connection, message = self._waiting
        try:
            connection.send(message, _socket.MSG_DONTWAIT | _socket.MSG_NOSIGNAL)
        except BlockingIOError:
            return False
        except OSError as error:
            raise _gone(error) from None
        connection.close()
        self._waiting = ()
        return True

    def finish(self) -> None:
        """Pass on what was said last, before we are gone. Raises Error if the manager is gone, or takes nothing."""
        if self._waiting:
            self._send(self._waiting[1])
            self._waiting = ()
        for message in self._next():
            self._send(message)
        if self._said:
            self._barrier(LAST_BARRIER_S)

    def _next(self) -> "Iterator[bytes]":
        """What the manager is to be told of the next messages, up to BATCH."""
        for _ in range(BATCH):
            try:
                data = self._socket.recv(LONGEST + 1)
            except BlockingIOError:
                return
            message = passed_on(data, self.entry.state["pid"])
            if message:
                self._said = True
                yield message
        time.sleep(PAUSE_S)

    def _connection(self) -> "Any":
        try:
            return sockets.connect(self._manager, sockets.DATAGRAM, patience=PATIENCE_S)
        except OSError as error:
            raise _gone(error) from None

    def _send(self, message: bytes, descriptor: "int | None" = None) -> None:
        try:
            sockets.deliver(self._manager, message, descriptor, sockets.DATAGRAM, patience=PATIENCE_S)
        except OSError as error:
            raise _gone(error) from None

    def _barrier(self, seconds: float = BARRIER_S) -> None:
        """Wait until the manager has read what was sent: it closes the descriptor then. It looks up the sender by its pid,
        so we must not be gone before (sd_notify_barrier(3))."""
        reading, writing = posix.pipe2(posix.O_CLOEXEC)
        try:
            try:
                self._send(b"BARRIER=1", writing)
            finally:
                posix.close(writing)
            poll = select.poll()
            poll.register(reading, 0)
            deadline = time.monotonic() + seconds
            while time.monotonic() < deadline and not poll.poll(seconds * 1000):
                pass
        finally:
            posix.close(reading)


def _gone(error: OSError) -> Error:
    return Error(f"NOTIFY_SOCKET: the service manager is told nothing: {cause_of(error)}")
