"""Messages: to standard error for people, and to --log for engines.

The JSON form has runc's keys. containerd reads the log as a row of objects and shows the `msg` of the last
whose level is "error", and its `time` must be RFC 3339 or the whole message is lost. podman reads the whole log
as one object. So an error's object holds the warnings that came before it, and a command that succeeds writes
its warnings at its end.
"""

import _json
import posix
import time

from pyoci import files
from pyoci.errors import Error, cause_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

PATIENCE_S = 2.0
ENXIO = 6  # nobody reads the FIFO, open(2); importing errno takes longer than this is worth
LEVELS = ("debug", "info", "warning", "error")
# Go's strconv.Quote has names for these; the rest that can't be printed gets a number.
_ESCAPES = {
    '"': '\\"',
    "\\": "\\\\",
    "\a": "\\a",
    "\b": "\\b",
    "\f": "\\f",
    "\n": "\\n",
    "\r": "\\r",
    "\t": "\\t",
}
_ESCAPES["\v"] = "\\v"


class Log:
    """Where messages go.

    Arguments:
        path: the --log file, or None. It is opened for each message, so that no descriptor of it is ever open
            while a container is made.
        form: "text" or "json".
        level: of `LEVELS`; less important messages are dropped.
        debug: the same as level "debug".

    Attributes:
        debugs: whether messages of level "debug" are shown.
    """

    def __init__(
        self, path: str | None = None, form: str = "text", level: str = "warning", *, debug: bool = False
    ) -> None:
        self.path = path
        self.form = form
        self.lowest = 0 if debug else LEVELS.index(level)
        # The lines of the warnings that wait for the end. Who asks for more than warnings wants them when they come, and
        # no engine that reads one object does.
        self._held: "list[tuple[str, str]] | None" = (
            [] if path and form == "json" and self.lowest == LEVELS.index("warning") else None
        )
        self.debugs = self.lowest == 0

    def error(self, error: Error | str) -> None:
        """The cause of the command's failure: always to standard error, and to the log as one message."""
        if isinstance(error, str):
            error = Error(error)
        text = "".join(f"pyoci: {line}\n" for line in error.message.split("\n"))
        _print(text + (f"hint: {error.hint}\n" if error.hint else ""))
        if self.path:
            # An engine shows the last error's `msg` only: all lines belong in it.
            message = "; ".join(error.lines())
            before = [warning for warning, _ in self._held or ()]
            line = _as_json("error", message, before) if self.form == "json" else _as_text("error", message)
            if not self._append(line):
                for warning in before:
                    _print(f"pyoci: warning: {warning}\n")
            if self._held:
                self._held = []

    def warning(self, message: str) -> None:
        """Something that the user should know, and that changes nothing."""
        self.write("warning", message)

    warn = warning

    def info(self, message: str) -> None:
        """What was done."""
        self.write("info", message)

    def debug(self, message: str) -> None:
        """Something for whoever looks for a mistake."""
        self.write("debug", message)

    def write(self, level: str, message: str) -> None:
        """A message of a level of `LEVELS`: to the log, or to standard error if there is none."""
        if LEVELS.index(level) < self.lowest:
            return
        line = _as_json(level, message) if self.form == "json" else _as_text(level, message)
        if self._held is not None:
            self._held.append((message, line))
        else:
            self._write(level, message, line)

    def release(self) -> None:
        """Write the warnings that wait for the command's end, and from now on at once: nothing can fail any more, or it
        may be long until it does."""
        held, self._held = self._held or (), None
        for message, line in held:
            self._write("warning", message, line)

    def _write(self, level: str, message: str, line: str) -> None:
        if not (self.path and self._append(line)):
            _print(f"pyoci: {level}: {message}\n")

    def check(self) -> None:
        """Raises Error if the log can't be opened."""
        if self.path:
            posix.close(_open(self.path))

    def _append(self, line: str) -> bool:
        """Whether the log took it."""
        try:
            fd = _open(self.path or "")
        except Error:
            return False
        try:
            # One write(2) at the end, by O_APPEND: lines of several processes don't mix.
            _send(fd, line.encode())
        except OSError:
            return False
        finally:
            posix.close(fd)
        return True


def now() -> str:
    """The time as RFC 3339, in UTC with microseconds."""
    seconds, nanoseconds = divmod(time.time_ns(), 1_000_000_000)
    t = time.gmtime(seconds)
    date = f"{t.tm_year:04}-{t.tm_mon:02}-{t.tm_mday:02}T{t.tm_hour:02}:{t.tm_min:02}:{t.tm_sec:02}"
    return f"{date}.{nanoseconds // 1000:06}Z"


def _as_json(level: str, message: str, warnings: "Sequence[str]" = ()) -> str:
    more = f',"warnings":[{",".join(_quoted(each) for each in warnings)}]' if warnings else ""
    return f'{{"level":"{level}","msg":{_quoted(message)},"time":"{now()}"{more}}}\n'


def _quoted(message: str) -> str:
    """The message as JSON. Bytes that aren't UTF-8 have no form there, and Go's reader would make each the same."""
    text = "".join(char if not "\ud800" <= char <= "\udfff" else _escaped(char) for char in message)
    quoted: str = _json.encode_basestring_ascii(text)
    return quoted


def _as_text(level: str, message: str) -> str:
    text = "".join(char if _is_plain(char) else _escaped(char) for char in message)
    return f'time="{now()}" level={level} msg="{text}"\n'


def _is_plain(char: str) -> bool:
    return char.isprintable() and char not in '"\\'


def _escaped(char: str) -> str:
    """A character as strconv.Quote writes it; a byte of a path that isn't UTF-8 as its number."""
    code = ord(char)
    if char in _ESCAPES:
        return _ESCAPES[char]
    if 0xDC80 <= code <= 0xDCFF:
        return f"\\x{code - 0xDC00:02x}"
    if 0xD800 <= code <= 0xDFFF:
        # Half a character, from JSON; Go has no escape for that.
        return "\ufffd"
    if code < 0x80:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _open(path: str) -> int:
    """The log, open at its end. Somebody may be about to read a FIFO; that is not awaited for ever. Raises Error."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            return files.open_given(path, posix.O_WRONLY | posix.O_APPEND, 0o644)
        except OSError as error:
            if error.errno != ENXIO or not files.is_fifo(path) or time.monotonic() > deadline:
                raise Error(f"can't open the log {path}: {cause_of(error)}") from None
        time.sleep(0.01)


def _send(fd: int, data: bytes) -> None:
    """Raises OSError, also if a pipe stays full."""
    try:
        posix.write(fd, data)
    except BlockingIOError:
        import select

        poll = select.poll()
        poll.register(fd, select.POLLOUT)
        poll.poll(PATIENCE_S * 1000)
        posix.write(fd, data)


def _print(text: str) -> None:
    """Write to standard error, for a terminal: names from a config.json must not steer it."""
    shown = "".join(char if char.isprintable() or char in "\n\t" else _escaped(char) for char in text)
    try:
        posix.write(2, shown.encode())
    except OSError:
        # Closed, or a pipe that nobody reads: there is no one to tell.
        pass
