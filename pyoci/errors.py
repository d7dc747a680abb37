"""The errors that pyoci reports to people.

Every failure that has a cause outside pyoci ends as an `Error`: one line that says what, where and why, and a
hint when one is known. Anything else that escapes is a bug.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

# Engines read messages: these words are an interface. They are looked for in standard error, or in the last error
# of the JSON log, and tests/contract/ has what each engine makes of them.
#
# An id that is unknown. containerd: "no such container", which is no failure of kill and delete; podman: the container
# has been removed behind its back.
DOES_NOT_EXIST = "does not exist"
# There is no process for the signal. containerd, CRI-O: it has ended by itself, which was what they wanted.
NOT_RUNNING = "container not running"
NO_SUCH_PROCESS = "no such process"
# podman, docker: the exit status is 127 for these, ...
NOT_IN_PATH = "executable file not found in $PATH"
NO_SUCH_FILE = "no such file or directory"
# ... and 126 for this.
PERMISSION_DENIED = "permission denied"
# docker: "Are you trying to mount a directory onto a file (or vice-versa)?"
NOT_A_DIRECTORY = "not a directory"
# podman's question whether `restore` has a flag: it leaves out the value.
NEEDS_ARGUMENT = "flag needs an argument"
LONGEST_MESSAGE = 2000  # characters


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


def cause_of(error: OSError) -> str:
    """The cause, in the system's words. An error that Python itself has thought of (a socket's path that is too long, a time that
    is up) has a text, or nothing but its kind, and no `strerror`: that is None."""
    return error.strerror or str(error) or type(error).__name__


def not_running(verb: str, container_id: str, why: str) -> Error:
    """The error for what takes a process of the container's, and there is none."""
    return Error(f'cannot {verb} container "{container_id}": {NOT_RUNNING} ({why})')


def missing_package(error: ImportError) -> Error:
    """The error for a Python package, or a library of one, that isn't installed or can't be used."""
    import sys

    cause = str(error).partition("\n")[0]
    module = (error.name or "").partition(".")[0]
    if module in ("", "pyoci"):
        hint = "install pyoci again; in a checkout, run make"
        if "libseccomp" in cause:
            hint = "install libseccomp 2.5 or later (Debian: libseccomp2)"
        return Error(f"a part of pyoci can't be loaded: {cause}", hint=hint)
    package = module.removeprefix("_").removesuffix("_backend")
    hint = f"`{sys.executable} -m pip install {package}` installs it, or Debian's python3-{module.strip('_').replace('_', '-')}"
    if not isinstance(error, ModuleNotFoundError):
        return Error(f"the Python package {package} can't be used: {cause}", hint=hint)
    return Error(f"the Python package {package} is not installed, which is needed for this", hint=hint)


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

    def shorten(self) -> None:
        """Leave out of the message what engines couldn't read: podman takes at most 4 KiB of JSON from conmon."""
        lines = self.message.split("\n")
        length, kept = 0, 0
        while kept < len(lines) and (not kept or length + len(lines[kept]) < LONGEST_MESSAGE):
            length += len(lines[kept])
            kept += 1
        if kept < len(lines):
            self.message = "\n".join([*lines[:kept], f"and {len(lines) - kept} more"])
            self.hint = "`pyoci check` tells all of them"

    def _line(self, problem: Problem) -> str:
        line = f":{problem.line}" if problem.line is not None else ""
        where = f" {problem.pointer}:" if problem.pointer else ""
        return f"{self.name}{line}:{where} {problem.message}"
