"""A JSON reader that knows where everything is, for the mistakes in a text and the lines of problems.

It is slow, and imported only when there is something to explain.
"""

from __future__ import annotations

import _json
import re
from json import JSONDecodeError
from typing import Any, NoReturn

from pyoci.errors import Error
from pyoci.spec.rules import escape

DEPTH_LIMIT = 500
"""Deeper texts are refused once the C scanner has met its own limit (about 1000, on Python 3.11)."""

_c: Any = _json  # typeshed has its functions or not, depending on its age

_BLANKS = re.compile(r"[ \t\n\r]*")
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?")
_WORD = re.compile(r"-?\w+")
_LITERALS = {"true": True, "false": False, "null": None}
_STRING_MISTAKES = {
    "Unterminated string": "this string has no end",
    "Invalid control character": "a string can't have a control character in it (a new line is written \\n)",
    "Invalid \\uXXXX": "\\u must be followed by four hexadecimal digits",
    "Invalid \\": "there is no such escape (a backslash in a string is written \\\\)",
}


class Mistake(Exception):
    """Why a text isn't JSON, and the offset of the character where that shows."""

    def __init__(self, message: str, offset: int) -> None:
        super().__init__(message)
        self.message = message
        self.offset = offset


class _Open:
    """An object or array whose end wasn't read yet, and the name of the member that is being read."""

    def __init__(self, container: dict[str, Any] | list[Any], pointer: str) -> None:
        self.container = container
        self.pointer = pointer
        self.name = ""

    @property
    def end(self) -> str:
        return "}" if isinstance(self.container, dict) else "]"

    def add(self, value: Any) -> None:
        if isinstance(self.container, dict):
            self.container[self.name] = value
        else:
            self.container.append(value)


class Reader:
    """Reads one text, without recursion.

    Attributes:
        offsets: where each value begins, by its JSON pointer, in the order of the text.
    """

    def __init__(self, text: str, depth_limit: int = DEPTH_LIMIT) -> None:
        self.text = text
        self.depth_limit = depth_limit
        self.at = 0
        self.offsets: dict[str, int] = {}

    def document(self) -> Any:
        """The value of the whole text.

        Raises:
            Mistake: it isn't JSON.
        """
        self._skip_blanks()
        if not self._next():
            raise Mistake("there is nothing in this file (an object is needed)", 0)
        value = self._value()
        self._skip_blanks()
        if self._next():
            self._fail(f"the text goes on after its end: {self._found()}")
        return value

    def _value(self) -> Any:
        waiting: list[_Open] = []
        pointer = ""
        while True:
            self.offsets[pointer] = self.at
            if self._next() and self._next() in "{[":
                if len(waiting) >= self.depth_limit:
                    self._fail(f"this is nested more than {self.depth_limit} levels deep")
                inner = _Open({} if self._next() == "{" else [], pointer)
                self.at += 1
                self._skip_blanks()
                if self._next() != inner.end:
                    waiting.append(inner)
                    pointer = self._member(inner)
                    continue
                self.at += 1
                value: Any = inner.container
            else:
                value = self._scalar()
            while waiting:
                outer = waiting[-1]
                outer.add(value)
                if self._goes_on(outer):
                    pointer = self._member(outer)
                    break
                value = waiting.pop().container
            else:
                return value

    def _member(self, container: _Open) -> str:
        """Read what stands before a member's value; returns the value's pointer."""
        if isinstance(container.container, list):
            return f"{container.pointer}/{len(container.container)}"
        if self._next() != '"':
            self._fail(f"a name in double quotes must be here: {self._found()}")
        start = self.at
        container.name = self._string()
        if container.name in container.container:
            raise Mistake(f'the name "{shorten(container.name)}" is given twice', start)
        self._skip_blanks()
        if self._next() != ":":
            self._fail(f"a colon must be here: {self._found()}")
        self.at += 1
        self._skip_blanks()
        return f"{container.pointer}/{escape(container.name)}"

    def _goes_on(self, container: _Open) -> bool:
        """Read what stands after a member; returns whether another one follows."""
        self._skip_blanks()
        found = self._next()
        if found and found not in "," + container.end:
            if found in '"{[' or found.isalnum():
                self._fail(f"a comma is missing: {self._found()}")
            self._fail(f"a comma or {container.end} must be here: {self._found()}")
        if not found:
            line, _ = line_and_column(self.text, self.offsets[container.pointer])
            kind = "object" if container.end == "}" else "array"
            self._fail(f"the text ends inside the {kind} of line {line} ({container.end} is missing)")
        comma = self.at
        self.at += 1
        if found != ",":
            return False
        self._skip_blanks()
        if self._next() == container.end:
            raise Mistake(f"there must be no comma before {container.end}", comma)
        return True

    def _scalar(self) -> Any:
        if self._next() == '"':
            return self._string()
        number = _NUMBER.match(self.text, self.at)
        if number:
            return self._number(number)
        word = _WORD.match(self.text, self.at)
        if word and word[0] in _LITERALS:
            self.at = word.end()
            return _LITERALS[word[0]]
        return self._fail(f"a value must be here: {self._found()}")

    def _string(self) -> str:
        start = self.at
        try:
            value, self.at = _c.scanstring(self.text, start + 1, True)
        except JSONDecodeError as error:
            message = next(ours for theirs, ours in _STRING_MISTAKES.items() if theirs in error.msg)
            raise Mistake(message, start if "end" in message else error.pos) from None
        if any("\ud800" <= char <= "\udfff" for char in value):
            raise Mistake("this string has half of a surrogate pair (it can't be written in UTF-8)", start)
        return str(value)

    def _number(self, match: re.Match[str]) -> int | float:
        if match[1] or match[2]:
            value = float(match[0])
            if value - value != 0:
                self._fail(f"the number {shorten(match[0])} is too large")
            self.at = match.end()
            return value
        try:
            number = int(match[0])
        except ValueError:  # CVE-2020-10735: Python refuses more than 4300 digits
            self._fail(f"this number has too many digits ({len(match[0])})")
        self.at = match.end()
        return number

    def _next(self) -> str:
        return self.text[self.at : self.at + 1]

    def _skip_blanks(self) -> None:
        match = _BLANKS.match(self.text, self.at)
        assert match is not None
        self.at = match.end()

    def _found(self) -> str:
        """What stands here in its place, for a message."""
        rest = self.text[self.at : self.at + 2]
        if not rest:
            return "the text ends"
        if rest[0] == "'":
            return "it is ' (JSON has double quotes only)"
        if rest in ("//", "/*") or rest[0] == "#":
            return "it is a comment (JSON has none)"
        if rest[0] == "\ufeff":
            return "it is a byte order mark (JSON has none)"
        word = _WORD.match(self.text, self.at)
        return f"it is {shorten(word[0] if word else rest[0])}"

    def _fail(self, message: str) -> NoReturn:
        raise Mistake(message, self.at)


def shorten(text: str, limit: int = 60) -> str:
    """The text, or its beginning, in printable characters, so that a message stays one line."""
    shown = printable(text[:limit])
    return shown if len(text) <= limit else shown + "..."


def printable(text: str) -> str:
    """The text with escapes if it isn't printable."""
    return text if text.isprintable() else text.encode("unicode_escape").decode()


def line_and_column(text: str, offset: int) -> tuple[int, int]:
    """The place of a character, both from 1; columns are characters."""
    return text.count("\n", 0, offset) + 1, offset - text.rfind("\n", 0, offset)


def check(raw: bytes, name: str) -> Any:
    """The value of a JSON text, like `jsontext.parse`, but with the reason if it isn't one.

    Raises:
        Error: "name:line:column: what is wrong".
    """
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        before = raw[: error.start].decode()
        line, column = line_and_column(before, len(before))
        raise Error(f"{name}:{line}:{column}: this isn't UTF-8 (byte 0x{raw[error.start]:02x})") from None
    try:
        return Reader(text).document()
    except Mistake as mistake:
        line, column = line_and_column(text, mistake.offset)
        raise Error(f"{name}:{line}:{column}: {mistake.message}") from None


class Positions:
    """Where the values of a JSON text are.

    Arguments:
        raw: a text that `jsontext.parse` takes.
    """

    def __init__(self, raw: bytes) -> None:
        self._text = raw.decode()
        # The C scanner took it, however deep it is.
        reader = Reader(self._text, depth_limit=len(raw))
        reader.document()
        self._offsets = reader.offsets

    def offset(self, pointer: str) -> int:
        """Where the value begins that a JSON pointer leads to; if there is none, where the pointer's nearest
        existing parent begins."""
        while pointer not in self._offsets:
            pointer = pointer.rpartition("/")[0]
        return self._offsets[pointer]

    def locate(self, pointer: str) -> tuple[int, int]:
        """The line and the column of `offset`, both from 1."""
        return line_and_column(self._text, self.offset(pointer))


def locate(raw: bytes, pointer: str) -> tuple[int, int]:
    """The line and the column, both from 1, of what a JSON pointer leads to in a text.

    The place of something that isn't there (a missing member) is that of its nearest existing parent.

    Arguments:
        raw: a text that `jsontext.parse` takes.
        pointer: RFC 6901; "" is the whole text.
    """
    return Positions(raw).locate(pointer)
