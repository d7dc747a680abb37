"""`ps`: the processes of a container."""

import posix
import subprocess

from pyoci import jsontext
from pyoci.cgroups import tree
from pyoci.container.status import CREATED, CREATING, RUNNING, status
from pyoci.errors import Error, not_running
from pyoci.paths import find_program

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyoci.container.store import Entry

DEFAULT_OPTIONS = ("-ef",)


def pids(entry: "Entry") -> "list[int]":
    """The pids of its processes, as the host counts; those of the cgroup, or the first one if it has none. Of a stopped container
    those that its first process has left.

    Raises Error if it is being created.
    """
    now = status(entry)
    if now == CREATING:
        raise not_running("list the processes of", entry.id, f"it is {now}")
    groups = tree.from_record(entry.state["cgroups"]) if "cgroups" in entry.state else None
    if now not in (CREATED, RUNNING):
        return sorted(groups.leftover()) if groups else []
    return sorted(groups.processes()) if groups and groups.groups else [entry.state["pid"]]


def show(entry: "Entry", form: str, options: "Sequence[str]") -> str:
    """The text that `ps` prints.

    Arguments:
        form: "json", a list of pids; or "table", those lines of ps(1) that are about them.
        options: ps(1)'s; none: -ef.

    Raises Error, also if ps(1) is missing, fails, or prints no column "PID".
    """
    listed = pids(entry)
    if form == "json":
        return jsontext.dump(listed) + "\n"
    return _lines_about(set(listed), _ps(options or DEFAULT_OPTIONS))


def _ps(options: "Sequence[str]") -> str:
    program = find_program("ps")
    if program is None:
        raise Error("ps(1) isn't installed on this host", hint="`ps --format json` does without")
    command = [program, *options]
    # Its columns depend on COLUMNS, TERM and the like: not cut, and the same everywhere.
    path = posix.environ.get(b"PATH", b"/usr/bin:/bin")
    done = subprocess.run(command, capture_output=True, env={b"PATH": path, b"COLUMNS": b"10000"})
    if done.returncode != 0:
        said = done.stderr.decode("utf-8", "replace").strip().split("\n")[0]
        raise Error(f"{' '.join(command)}: exit status {done.returncode}: {said}")
    return done.stdout.decode("utf-8", "surrogateescape")


def _lines_about(wanted: "set[int]", text: str) -> str:
    header, *lines = text.splitlines() or [""]
    titles = header.split()
    if "PID" not in titles:
        raise Error("ps(1) printed no column PID", hint="choose options that do, such as -o pid,cmd")
    column = titles.index("PID")
    kept = [header]
    for line in lines:
        fields = line.split()
        if len(fields) > column and fields[column].isdecimal() and int(fields[column]) in wanted:
            kept.append(line)
    return "".join(f"{line}\n" for line in kept)
