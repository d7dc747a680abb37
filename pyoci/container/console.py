"""The other end of a container's terminal, handed to somebody else. relay.py is for when we take it ourselves."""

import posix

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
