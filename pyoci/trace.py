"""`--trace FILE`: how long everything in a command takes, as a trace for chrome://tracing, Perfetto and `pyoci trace`.

Imported only for that. The host side's stages are those of stages.py. The init notes in shared memory when each of its steps
begins (csrc/trace.c).

All times are of the realtime clock, in nanoseconds: the monotonic one is another in a container's time namespace.
"""

import builtins
import fcntl
import posix
import sys
import time

from pyoci import files
from pyoci.errors import Error, cause_of
from pyoci.jsontext import dump
from pyoci.paths import absolute
from pyoci.stages import TALK, Wrapping

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from pyoci.log import Log
    from pyoci.plan.plan import Plan

# The rows of the trace, which its readers call threads.
P0, P1 = 0, 1
ROWS = {P0: "P0 pyoci (host side)", P1: "P1 pyoci-init"}


class Event:
    """Something that took time.

    Attributes:
        began, ended: in nanoseconds.
        row: `P0` or `P1`.
        details: what else is known of it.
    """

    __slots__ = ("began", "details", "ended", "name", "row")

    def __init__(self, row: int, name: str, began: int, details: "dict[str, str] | None" = None) -> None:
        self.row = row
        self.name = name
        self.began = began
        self.ended = began
        self.details = details or {}


class Memory:
    """What one init notes its steps in. csrc/trace.c has the form of a record.

    Arguments:
        plan: the init's, or None if it isn't known; then there is room for `UNKNOWN` steps.
    """

    RECORD, UNKNOWN = 128, 1024

    def __init__(self, plan: "Plan | None") -> None:
        self.plan = plan
        self.fd = posix.memfd_create("trace", posix.MFD_CLOEXEC)
        # Written, so that the memory is ours, and not charged to the container's cgroup when it is first touched.
        posix.write(self.fd, bytes(self.RECORD * (len(plan.steps) if plan else self.UNKNOWN)))

    def events(self, talks: "list[Event]") -> "list[Event]":
        """The steps that were done.

        Arguments:
            talks: the stages during which inits worked.
        """
        from pyoci.plan.steps import STEPS

        names = list(STEPS)
        found: "list[Event]" = []
        number = 0
        while record := posix.pread(self.fd, self.RECORD, number * self.RECORD):
            began = int.from_bytes(record[:8], "little")
            step, kind = int.from_bytes(record[8:12], "little"), int.from_bytes(record[12:16], "little")
            if not began:
                break
            if found:
                found[-1].ended = began
            if names[kind] != "wait-start":  # maybe noted, maybe not yet
                found.append(Event(P1, names[kind], began, self._details(step, record[16:])))
            number += 1
        if found and found[-1].ended == found[-1].began:
            found[-1].ended = max([found[-1].began, *_ends(talks, found[-1].began)])
        return found

    def _details(self, step: int, origin: bytes) -> "dict[str, str]":
        details = {"origin": origin.rstrip(b"\0").decode("utf-8", "replace"), "step": str(step + 1)}
        if self.plan:
            from pyoci.plan.show import describe

            details["origin"] = self.plan.steps[step].origin
            details["what"] = describe(self.plan, self.plan.steps[step])
        return details


def _ends(talks: "list[Event]", moment: int) -> "list[int]":
    """The end of what was going on at the moment."""
    return [talk.ended for talk in talks if talk.began <= moment <= talk.ended]


class Trace:
    """The trace of one command.

    Arguments:
        path: the file; the events are added if it is a trace already.
        title: what is traced: the command, and the container's id.

    Raises Error if the file can't be written or isn't a trace.
    """

    def __init__(self, path: str, title: str) -> None:
        self.path = absolute(path)
        self.title = title
        self.events: "list[Event]" = []
        self.memories: "list[Memory]" = []
        self.importing = False
        posix.close(_open(self.path)[0])
        self.whole = Event(P0, title.split(" ")[0], time.time_ns())
        self.events.append(self.whole)
        self.wrapping = Wrapping(self._wrapped)
        self.ordinary_import = builtins.__import__
        builtins.__import__ = self._import  # type: ignore[assignment]

    def memory(self, plan: "Plan | None" = None) -> int:
        """A descriptor for an init that notes its steps; stays ours."""
        memory = Memory(plan)
        self.memories.append(memory)
        return memory.fd

    def end(self, log: "Log") -> None:
        """Write it. That this fails doesn't make the command fail, which has done its work."""
        builtins.__import__ = self.ordinary_import
        self.whole.ended = time.time_ns()
        talks = [event for event in self.events if event.name == TALK]
        for memory in self.memories:
            self.events += memory.events(talks)
        try:
            _append(self.path, _as_json(self.title, self.events))
        except Error as error:
            log.warn(error.message)

    def _import(
        self,
        name: str,
        globals: "Any" = None,
        locals: "Any" = None,
        fromlist: "tuple[str, ...] | None" = (),
        level: int = 0,
    ) -> "Any":
        """`__import__`, timed where something is imported that wasn't."""
        before = len(sys.modules)
        outermost, self.importing = not self.importing, True
        event = Event(P0, "import", time.time_ns())
        try:
            return self.ordinary_import(name, globals, locals, fromlist, level)
        finally:
            new = len(sys.modules) - before
            if new:
                self.wrapping.go_on()
            if outermost:
                self.importing = False
                if new:
                    event.ended = time.time_ns()
                    event.name = "import " + " ".join(_modules(name, fromlist or ()))
                    event.details["modules"] = str(new)
                    self.events.append(event)

    def _wrapped(self, function: "Callable[..., Any]", label: str) -> "Callable[..., Any]":
        def timed(*arguments: "Any", **named: "Any") -> "Any":
            event = Event(P0, label, time.time_ns())
            self.events.append(event)
            try:
                return function(*arguments, **named)
            except BaseException as error:
                event.details["raised"] = type(error).__name__
                raise
            finally:
                event.ended = time.time_ns()

        return timed


def _modules(name: str, fromlist: "tuple[str, ...]") -> "list[str]":
    """The modules that an import statement names."""
    return [f"{name}.{part}" for part in fromlist if f"{name}.{part}" in sys.modules] or [name]


def _as_json(title: str, events: "list[Event]") -> str:
    """Events of the trace event format, one a line, with commas between them."""
    pid = posix.getpid()
    lines = [_name(pid, P0, "process_name", f"pyoci {title}")]
    lines += [_name(pid, row, "thread_name", name) for row, name in ROWS.items()]
    for event in sorted(events, key=lambda event: (event.began, -event.ended)):
        lines.append(
            f'{{"name":{dump(event.name)},"ph":"X","ts":{_microseconds(event.began)},'
            f'"dur":{_microseconds(event.ended - event.began)},"pid":{pid},"tid":{event.row},'
            f'"args":{dump(event.details)}}}'
        )
    return ",\n".join(lines)


def _name(pid: int, row: int, kind: str, name: str) -> str:
    return dump({"name": kind, "ph": "M", "pid": pid, "tid": row, "args": {"name": name}})


def _microseconds(nanoseconds: int) -> str:
    return f"{nanoseconds // 1000}.{nanoseconds % 1000:03}"


START, END = b"[\n", b"\n]\n"


def _open(path: str) -> "tuple[int, int]":
    """The trace file, locked, and its size. Raises Error if it holds something else."""
    try:
        fd = files.open_given(path, posix.O_RDWR, 0o644)
        fcntl.flock(fd, fcntl.LOCK_EX)
    except OSError as error:
        raise Error(f"can't open the trace {path}: {cause_of(error)}") from None
    status = posix.fstat(fd)
    size = status.st_size
    if status.st_mode & 0o170000 == 0o100000:  # S_IFMT, S_IFREG
        if not size:
            return fd, 0
        if posix.pread(fd, 2, 0) == START and posix.pread(fd, 3, max(size - 3, 0)) == END:
            return fd, size
    posix.close(fd)
    raise Error(
        f"{path} is not a trace", hint="--trace adds to the traces that it wrote, and makes new files"
    )


def _append(path: str, events: str) -> None:
    fd, size = _open(path)
    data = START if not size else b",\n"
    data += events.encode() + END
    try:
        posix.pwrite(fd, data, max(0, size - len(END)))
    except OSError as error:
        raise Error(f"can't write the trace {path}: {cause_of(error)}") from None
    finally:
        posix.close(fd)
