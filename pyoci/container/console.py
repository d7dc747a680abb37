"""The host side of a container's terminal: hand its other end to somebody, or be the one who takes it."""

import fcntl
import posix
import select

from pyoci import sockets
from pyoci.errors import Error, cause_of
from pyoci.paths import absolute

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


def sender(path: str, *, what: str = "terminal", closes: bool = True) -> "Callable[[int], None]":
    """What hands a descriptor to whoever listens at a unix socket, as --console-socket and --pidfd-socket ask for.

    Arguments:
        path: the socket's.
        what: it is, for messages.
        closes: it is closed here afterwards.
    """
    path = absolute(path)

    def send(terminal: int) -> None:
        try:
            # The text is a name that nobody reads; runc sends one, so receivers expect bytes.
            sockets.deliver(path, b"/dev/ptmx", terminal)
        except OSError as error:
            raise Error(f"can't send the {what} to {path}: {cause_of(error)}") from None
        finally:
            if closes:
                posix.close(terminal)

    return send


class Relay:
    """Our own terminal stands in for the container's: raw, the same size, until the program ends."""

    def __init__(self) -> None:
        self.terminal = -1
        self._saved: "list[object] | None" = None

    def take(self, terminal: int) -> None:
        """The other end, from the init."""
        self.terminal = terminal

    def begin(self) -> None:
        """Make our terminal raw, if we have one."""
        import termios
        import tty

        if posix.isatty(0):
            self._saved = termios.tcgetattr(0)
            # Not TCSAFLUSH: what was typed ahead is for the program.
            tty.setraw(0, termios.TCSADRAIN)
        self.resize()

    def resize(self) -> None:
        """Give the container's terminal the size of ours."""
        import termios

        for fd in (0, 1, 2):
            try:
                size = fcntl.ioctl(fd, termios.TIOCGWINSZ, bytes(8))
                fcntl.ioctl(self.terminal, termios.TIOCSWINSZ, size)
                return
            except OSError:
                continue

    def end(self) -> None:
        """Our terminal as it was before."""
        if self._saved is not None:
            import termios

            termios.tcsetattr(0, termios.TCSADRAIN, self._saved)  # type: ignore[arg-type]
        if self.terminal >= 0:
            posix.close(self.terminal)
            self.terminal = -1

    def drain(self) -> None:
        """What the program said last, after its end."""
        poll = select.poll()
        poll.register(self.terminal, select.POLLIN)
        while poll.poll(0) and self.pump_out():
            pass

    def pump_out(self) -> bool:
        """From the container to us. False at the end."""
        try:
            data = posix.read(self.terminal, 65536)
        except OSError:  # EIO: nobody has the other side open any more
            return False
        _write(1, data)
        return bool(data)

    def pump_in(self) -> bool:
        """From us to the container. False at the end."""
        try:
            data = posix.read(0, 65536)
        except OSError:
            return False
        # What a terminal sends at the end of its input; the pty turns it into one.
        _write(self.terminal, data or b"\x04")
        return bool(data)


def _write(fd: int, data: bytes) -> None:
    try:
        while data:
            data = data[posix.write(fd, data) :]
    except OSError:
        pass
