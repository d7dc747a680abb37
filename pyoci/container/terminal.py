"""The caller's terminal: raw while our job is in its foreground, and as it was before whenever it isn't ours."""

import posix
import termios

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

IFLAG, OFLAG, CFLAG, LFLAG, CC = 0, 1, 2, 3, 6


class CallersTerminal:
    """The terminal at descriptor 0, if there is one.

    Attributes:
        is_present: whether there is one.
        is_ours: whether we may read it, as far as we know; always, if it is no terminal.
    """

    def __init__(self) -> None:
        self.is_present = posix.isatty(0)
        self.is_ours = not self.is_present
        self._before: "list[Any] | None" = None
        self._raw: "list[Any] | None" = None

    def look(self) -> bool:
        """Whether it is ours at the moment."""
        self.is_ours = not self.is_present or _in_foreground()
        return self.is_ours

    def take(self) -> bool:
        """Make it raw, if our job is in its foreground; whether it is ours."""
        if not self.look() or not self.is_present:
            return self.is_ours
        try:
            now = termios.tcgetattr(0)
            if self._before is None:
                self._before = now
            termios.tcsetattr(0, termios.TCSANOW, raw(now))
            self._raw = termios.tcgetattr(0)
        except termios.error:  # it is gone
            pass
        return True

    def give_back(self) -> None:
        """As it was before. If it is another job's by now, only if nobody else has changed it meanwhile."""
        if self._before is None:
            return
        try:
            if _in_foreground() or termios.tcgetattr(0) == self._raw:
                termios.tcsetattr(0, termios.TCSANOW, self._before)
        except termios.error:
            pass
        self._before = self._raw = None


def raw(attributes: "list[Any]") -> "list[Any]":
    """A terminal's attributes with every key for the program (cfmakeraw(3)). What is written to it stays processed: "\\n" goes
    to the next line's start, also in our own messages."""
    made = [*attributes[:CC], list(attributes[CC])]
    made[IFLAG] &= ~(
        termios.IGNBRK
        | termios.BRKINT
        | termios.PARMRK
        | termios.INPCK
        | termios.ISTRIP
        | termios.INLCR
        | termios.IGNCR
        | termios.ICRNL
        | termios.IXON
    )
    made[LFLAG] &= ~(termios.ECHO | termios.ECHONL | termios.ICANON | termios.ISIG | termios.IEXTEN)
    made[CFLAG] = (made[CFLAG] & ~(termios.CSIZE | termios.PARENB)) | termios.CS8
    made[CC][termios.VMIN], made[CC][termios.VTIME] = 1, 0
    return made


def _in_foreground() -> bool:
    try:
        return posix.tcgetpgrp(0) == posix.getpgrp()
    except OSError:  # not our controlling terminal, so nobody stops us, or it is gone
        return True
