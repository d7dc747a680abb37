"""Messages: to standard error for people, and to --log for engines.

The JSON form has runc's keys: containerd reads the log as a row of objects and shows the `msg` of the last whose level is
"error", and its `time` must be RFC 3339 or the whole message is lost.
"""

import _json
import os
import time

from pyoci.errors import Error

LEVELS = ("debug", "info", "warning", "error")


class Log:
    """Where messages go.

    Arguments:
        path: the --log file, or None.
        form: "text" or "json".
        debug: keep messages of level "debug" and "info".
    """

    def __init__(self, path: "str | None" = None, form: str = "text", *, debug: bool = False) -> None:
        self.path = path
        self.form = form
        self.lowest = 0 if debug else LEVELS.index("warning")

    def warn(self, message: str) -> None:
        """Something that the user should know, and that changes nothing."""
        self.write("warning", message)

    def debug(self, message: str) -> None:
        """Something for whoever looks for a mistake."""
        self.write("debug", message)

    def error(self, error: Error) -> None:
        """The cause of the command's failure: always to standard error, and to the log."""
        lines = list(error.lines())
        _print("".join(f"pyoci: {line}\n" if not line.startswith("hint: ") else f"{line}\n" for line in lines))
        if self.path:
            self._append("error", "; ".join(lines))

    def write(self, level: str, message: str) -> None:
        """A message of a level of `LEVELS`."""
        if LEVELS.index(level) < self.lowest:
            return
        if self.path:
            self._append(level, message)
        else:
            _print(f"pyoci: {level}: {message}\n")

    def check(self) -> None:
        """Raises Error if the log can't be written."""
        if self.path:
            os.close(self._open(self.path))

    def _append(self, level: str, message: str) -> None:
        line = _as_json(level, message) if self.form == "json" else _as_text(level, message)
        try:
            fd = self._open(self.path or "")
        except Error:
            return
        try:
            # One write(2): lines of several processes don't mix.
            os.write(fd, line.encode("utf-8", "surrogateescape"))
        except OSError:
            pass
        finally:
            os.close(fd)

    @staticmethod
    def _open(path: str) -> int:
        try:
            return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise Error(f"can't open the log {path}: {error.strerror}") from None


def _as_json(level: str, message: str) -> str:
    text = _json.encode_basestring_ascii(message)  # type: ignore[attr-defined]
    return f'{{"level":"{level}","msg":{text},"time":"{now()}"}}\n'


def _as_text(level: str, message: str) -> str:
    text = _json.encode_basestring(message)  # type: ignore[attr-defined]
    return f'time="{now()}" level={level} msg={text}\n'


def now() -> str:
    """The time as RFC 3339, in UTC with nanoseconds."""
    seconds, nanoseconds = divmod(time.time_ns(), 1_000_000_000)
    t = time.gmtime(seconds)
    date = f"{t.tm_year:04}-{t.tm_mon:02}-{t.tm_mday:02}T{t.tm_hour:02}:{t.tm_min:02}:{t.tm_sec:02}"
    return f"{date}.{nanoseconds:09}Z"


def _print(text: str) -> None:
    try:
        os.write(2, text.encode("utf-8", "surrogateescape"))
    except OSError:
        pass
