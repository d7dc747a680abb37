"""The terminal of a program in the foreground, carried between us and the container byte by byte.

Nothing here blocks. Our descriptors 0 and 1 are the caller's: whether they block is a property that they share with every
program that has them too (fcntl(2), F_SETFL), so it isn't changed. They are opened once more instead.
"""

import _socket
import fcntl
import posix
import select
import termios

from pyoci.container.terminal import CallersTerminal
from pyoci.errors import cause_of

# Of each direction's bytes that are read and not written yet.
MOST = 65536
# Of what a terminal holds when its program has ended; more comes only from others who go on writing.
MOST_AT_END = 1 << 20
# A descriptor that couldn't be opened again takes so much without blocking when poll(2) says that it can be written.
PIPE_BUF, TERMINAL_ROOM = 4096, 256
FILE_TYPE, FIFO, SOCKET = 0o170000, 0o010000, 0o140000
PTMX = (5, 2)
# How often we look whether the job is in the foreground.
LOOK_S = 0.2
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


class Relay:
    """Our terminal, or whatever 0 and 1 are, stands in for the container's until the program ends."""

    def __init__(self, warn: "Callable[[str], None]") -> None:
        self._warn = warn
        self._container = -1
        self._caller = CallersTerminal()
        self._input = -1
        self._output: "Output | None" = None
        self._to_container = bytearray()
        self._to_caller = bytearray()
        self._end_of_input = False
        self._at_line_start = True
        self._silent = False
        self._ended = False

    def take(self, terminal: int) -> None:
        """The other end, from the init, which has closed it: nobody shares it."""
        self._container = terminal
        posix.set_blocking(terminal, False)

    def begin(self) -> None:
        """Stand in for it."""
        attributes = termios.tcgetattr(self._container)
        # Our own terminal makes "\r\n" of "\n" if it is one; a pipe and a file get what the program said.
        attributes[1] &= ~termios.ONLCR
        termios.tcsetattr(self._container, termios.TCSANOW, attributes)
        self._input = _opened_again(0, posix.O_RDONLY)[0]
        self._output = Output(1)
        self._caller.take()
        self.resize()

    def end(self) -> None:
        """Our terminal as it was before."""
        self._caller.give_back()
        self._hang_up()

    def take_terminal(self) -> None:
        """After a stop, or from the background."""
        self._caller.take()
        self.resize()

    def give_terminal_back(self) -> None:
        """Before a stop."""
        self._caller.give_back()

    def resize(self) -> None:
        """Give the container's terminal the size of ours."""
        for fd in (0, 1, 2):
            try:
                size = fcntl.ioctl(fd, termios.TIOCGWINSZ, bytes(8))
                fcntl.ioctl(self._container, termios.TIOCSWINSZ, size)
                return
            except (OSError, ValueError):
                continue

    def wanted(self) -> "dict[int, int]":
        """The descriptors to poll, and for what."""
        found = {}
        if self._to_caller and self._output:
            found[self._output.fd] = select.POLLOUT
        if self._ended or self._container < 0:
            return found
        events = select.POLLOUT if self._to_container else 0
        if not self._silent and len(self._to_caller) < MOST:
            events |= select.POLLIN
        if events:
            found[self._container] = events
        if not self._end_of_input and len(self._to_container) < MOST and self._caller.is_ours:
            found[self._input] = select.POLLIN
        return found

    def seconds(self) -> "float | None":
        """How long to poll at most. Nothing tells when the job comes to the foreground, or the container opens its terminal."""
        return LOOK_S if self._silent or not self._caller.is_ours else None

    def serve(self, ready: "dict[int, int]") -> None:
        """Carry what can be carried.

        Arguments:
            ready: what poll(2) says.
        """
        if not self._caller.is_ours and self._caller.take():
            self.resize()
        if self._input in ready:
            self._read_input()
        if self._to_container and self._container in ready:
            self._write_input()
        if self._silent or self._container in ready:
            self._read_output()
        if self._to_caller:
            self.write_output()

    def end_input(self) -> None:
        """The program has ended: what is left is what it said last, and the keys are the caller's."""
        self._ended = True
        self._caller.give_back()
        while self._read_output(MOST_AT_END):
            pass

    def has_output(self) -> bool:
        """Whether there is something left to write."""
        return bool(self._to_caller)

    def writes_to_terminal(self) -> bool:
        """Whether the output is for a terminal."""
        return self._output is not None and self._output.is_terminal

    def _read_input(self) -> None:
        if not self._caller.look():
            return
        try:
            data = posix.read(self._input, MOST)
        except BlockingIOError:
            return
        except OSError:
            # EIO: we are in the background since a moment ago, or the terminal is gone.
            if not self._caller.look():
                return
            data = b""
        if data:
            self._to_container += data
            self._at_line_start = data[-1:] == b"\n"
            return
        self._end_of_input = True
        if self._caller.is_present:
            self._hang_up()  # a raw terminal ends only by being gone
        else:
            self._to_container += self._end_of_file()

    def _end_of_file(self) -> bytes:
        """What a terminal turns into the end of its input: one at the start of a line, in the middle the first ends that."""
        try:
            character: bytes = termios.tcgetattr(self._container)[6][termios.VEOF]
        except termios.error:
            return b""
        return character if self._at_line_start else character * 2

    def _write_input(self) -> None:
        try:
            del self._to_container[: posix.write(self._container, self._to_container)]
        except BlockingIOError:
            pass
        except OSError:  # EIO: nobody has the other side open at the moment
            self._to_container.clear()

    def _read_output(self, most: int = MOST) -> bool:
        """Whether there was anything to read."""
        room = most - len(self._to_caller)
        if self._container < 0 or room <= 0:
            return False
        try:
            data = posix.read(self._container, room)
        except BlockingIOError:
            data, self._silent = b"", False
        except OSError:  # EIO: nobody has the other side open
            data, self._silent = b"", True
        self._to_caller += data
        return bool(data)

    def write_output(self) -> bool:
        """Whether the caller took anything."""
        assert self._output is not None
        try:
            count = self._output.write(self._to_caller)
        except BlockingIOError:
            return False
        except OSError as error:
            # Nobody will read what the program says. As with a terminal that is switched off it gets SIGHUP and EIO.
            if not isinstance(error, BrokenPipeError) and not self._output.is_terminal:
                self._warn(f"standard output: {cause_of(error)}")
            self._to_caller.clear()
            self._hang_up()
            return False
        del self._to_caller[:count]
        return True

    def _hang_up(self) -> None:
        if self._container >= 0:
            posix.close(self._container)
            self._container = -1


class Output:
    """A descriptor of the caller's, written without blocking.

    Attributes:
        fd: to poll.
        is_terminal: whether it is one.
    """

    def __init__(self, fd: int) -> None:
        self.is_terminal = posix.isatty(fd)
        kind = posix.fstat(fd).st_mode & FILE_TYPE
        self.fd, opened = _opened_again(fd, posix.O_WRONLY)
        self._most = MOST
        if not opened and (kind == FIFO or self.is_terminal):
            self._most = PIPE_BUF if kind == FIFO else TERMINAL_ROOM
        self._socket: "Any" = _socket.socket(fileno=self.fd) if kind == SOCKET else None

    def write(self, data: bytearray) -> int:
        """Write some of it; how much. Raises OSError, BlockingIOError if it takes none now."""
        part = data[: self._most]
        if self._socket:
            count: int = self._socket.send(part, _socket.MSG_DONTWAIT | _socket.MSG_NOSIGNAL)
            return count
        return posix.write(self.fd, part)


def _opened_again(fd: int, flags: int) -> "tuple[int, bool]":
    """A descriptor for the same pipe or terminal that doesn't block; and whether that could be had. Else a duplicate."""
    status = posix.fstat(fd)
    kind = status.st_mode & FILE_TYPE
    # To open a pty's master would make another pty, and of other devices nobody knows what it does.
    device = (posix.major(status.st_rdev), posix.minor(status.st_rdev))
    if kind == FIFO or (posix.isatty(fd) and device != PTMX):
        try:
            more = posix.O_NONBLOCK | posix.O_NOCTTY | posix.O_CLOEXEC
            return posix.open(f"/proc/self/fd/{fd}", flags | more), True
        except OSError:
            pass
    return fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 3), False
