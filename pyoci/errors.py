"""The errors that pyoci reports to people.

Every failure that has a cause outside pyoci ends as an `Error`: one line that says what, where and why, and a
hint when one is known. Anything else that escapes is a bug.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable


class Error(Exception):
    """A failure with a cause that the user can act on.

    Arguments:
        message: what failed, where and why, in one line.
        hint: what to do about it, if we know.
        exit_code: the status that the command ends with.
    """

    def __init__(self, message: str, *, hint: str | None = None, exit_code: int = 1) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.exit_code = exit_code

    def lines(self) -> "Iterable[str]":
        """What is printed, a line at a time."""
        yield from self.message.split("\n")
        if self.hint:
            yield f"hint: {self.hint}"


class Problem:
    """One thing that is wrong with a config.json: where, and what it must be instead.

    Arguments:
        pointer: the JSON pointer (RFC 6901) of the offending value; "" is the whole document.
        message: what is wrong (what it must be).
        line: the line of the value in the file, from 1; None if it isn't known.
    """

    __slots__ = ("line", "message", "pointer")

    def __init__(self, pointer: str, message: str, line: int | None = None) -> None:
        self.pointer = pointer
        self.message = message
        self.line = line

    def __repr__(self) -> str:
        return f"Problem({self.pointer!r}, {self.message!r}, line={self.line})"


class ConfigError(Error):
    """A config.json that isn't valid; carries all of its problems.

    Arguments:
        problems: at least one, in the order of the file.
        name: how the file is called in the messages.
    """

    def __init__(
        self, problems: "list[Problem]", *, name: str = "config.json", hint: str | None = None
    ) -> None:
        self.problems = problems
        self.name = name
        super().__init__("\n".join(self._line(problem) for problem in problems), hint=hint)

    def _line(self, problem: Problem) -> str:
        line = f":{problem.line}" if problem.line is not None else ""
        where = f" {problem.pointer}:" if problem.pointer else ""
        return f"{self.name}{line}:{where} {problem.message}"
