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
from pyoci.errors import Error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from pyoci.container.store import Entry

VARIABLE = b"NOTIFY_SOCKET"
DIRECTORY, SOCKET = "notify", "notify.sock"
INSIDE = "/run/notify"
BARRIER_S = 30.0
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
        raise Error(f"{entry.path}/{DIRECTORY}: {error.strerror}") from None


class Proxy:
    """The container's end and the manager's."""

    def __init__(self, entry: "Entry", warn: "Callable[[str], None]") -> None:
        self.entry = entry
        self.warn = warn
        self._failed = False
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
            raise Error(f"{entry.path}/{DIRECTORY}/{SOCKET}: {error.strerror}") from None

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
                self._barrier()
                return
        if self.pump():
            self._barrier()

    def pump(self) -> bool:
        """Pass on what has come, but not more than some of it. True if the program said that it is ready."""
        ready = False
        for _ in range(BATCH):
            try:
                data = passed_on(self._socket.recv(LONGEST + 1), self.entry.state["pid"])
            except BlockingIOError:
                return ready
            if data and not self._failed:
                self._pass_on(data)
            ready = ready or b"READY=1" in data.split(b"\n")
        time.sleep(PAUSE_S)
        return ready

    def _pass_on(self, data: bytes) -> None:
        try:
            self._send(data)
        except OSError as error:
            self._failed = True
            self.warn(f"NOTIFY_SOCKET: the service manager is told nothing: {error.strerror}")

    def _send(self, data: bytes, descriptor: "int | None" = None) -> None:
        sockets.deliver(self._manager, data, descriptor, sockets.DATAGRAM, patience=PATIENCE_S)

    def _barrier(self) -> None:
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
            deadline = time.monotonic() + BARRIER_S
            while time.monotonic() < deadline and not poll.poll(BARRIER_S * 1000):
                pass
        except OSError:
            pass  # What mattered was sent.
        finally:
            posix.close(reading)
