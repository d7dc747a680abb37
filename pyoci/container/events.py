"""`events`: what a container uses, and when it is out of memory; a JSON object a line, as runc prints them."""

import posix
import select
import time

from pyoci import jsontext
from pyoci.cgroups import tree
from pyoci.cgroups.members import out_of_memory_kills
from pyoci.container.status import CREATED, RUNNING, status
from pyoci.errors import Error, not_running

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from pyoci.cgroups.tree import Cgroups
    from pyoci.container.store import Entry

UNITS_S = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "": 1.0}


def parse_interval(text: str) -> float:
    """Seconds of a time as Go writes it (1m30s, 500ms); a plain number is seconds, as youki has it.

    Raises Error if it isn't one, or not more than 0.
    """
    seconds, rest = 0.0, text
    while rest:
        digits = _leading(rest, "0123456789.")
        rest = rest[len(digits) :]
        unit = rest[: len(rest) - len(rest.lstrip("nuµmsh"))]
        rest = rest[len(unit) :]
        if (
            digits.count(".") > 1
            or not digits.strip(".")
            or unit not in UNITS_S
            or (not unit and digits != text)
        ):
            seconds = 0
            break
        seconds += float(digits) * UNITS_S[unit]
    if not 0 < seconds < 1e9:
        raise Error(f'--interval: "{text}" is not a time, such as 5s or 500ms')
    return seconds


def _leading(text: str, characters: str) -> str:
    return text[: len(text) - len(text.lstrip(characters))]


def stats_line(entry: "Entry") -> str:
    """One stats event. Raises Error if the container is neither created nor running, or has no cgroup."""
    return _line(entry, "stats", _groups(entry))


def _groups(entry: "Entry") -> "Cgroups":
    now = status(entry)
    if now not in (CREATED, RUNNING):
        raise not_running("tell the events of", entry.id, f"it is {now}")
    groups = tree.from_record(entry.state["cgroups"])
    if not groups.groups:
        raise Error(f'cannot tell the events of container "{entry.id}": it has no cgroup')
    return groups


def _line(entry: "Entry", kind: str, groups: "Cgroups | None" = None) -> str:
    event: "dict[str, object]" = {"type": kind, "id": entry.id}
    if groups:
        from pyoci.cgroups.stats import stats

        figures = stats(groups)
        if "resctrl" in entry.state:
            from pyoci.cgroups import resctrl, resctrl_stats

            figures["intel_rdt"] = resctrl_stats.stats(resctrl.from_record(entry.state["resctrl"]))
        event["data"] = figures
    return jsontext.dump(event) + "\n"


def watch(entry: "Entry", interval: float, output: "Callable[[str], None]") -> None:
    """Tell events until the container ends.

    Arguments:
        interval: seconds between two stats.
        output: takes each line.

    Raises Error.
    """
    groups = _groups(entry)
    try:
        process = posix.pidfd_open(entry.state["pid"])
    except ProcessLookupError:
        return
    killed = out_of_memory_kills(groups)
    poll = select.poll()
    poll.register(process, select.POLLIN)
    for descriptor, events in _notifiers(groups):
        poll.register(descriptor, events)
    due = time.monotonic()
    while True:
        if time.monotonic() >= due:
            output(_line(entry, "stats", groups))
            due += interval
        ready = poll.poll(max(0.0, due - time.monotonic()) * 1000)
        _drain(ready, process)
        now = out_of_memory_kills(groups)
        for _ in range(killed, now):
            output(_line(entry, "oom"))
        killed = max(killed, now)
        if any(descriptor == process for descriptor, _ in ready):
            return


def _notifiers(groups: "Cgroups") -> "list[tuple[int, int]]":
    """Descriptors, and what poll(2) reports on them, when the container may be out of memory."""
    directory = groups.directory("memory")
    if directory is None:
        return []
    flags = posix.O_RDONLY | posix.O_CLOEXEC
    try:
        if groups.in_v2("memory"):
            events = posix.open(directory + "/memory.events", flags)
            posix.read(events, 4096)
            return [(events, select.POLLPRI)]
        # cgroup v1, "memcg_test" and memory.rst: an eventfd and the control file, written to the event control.
        counter = posix.eventfd(0, posix.EFD_CLOEXEC)
        control = posix.open(directory + "/memory.oom_control", flags)
        tree.put(directory + "/cgroup.event_control", f"{counter} {control}")
    except OSError:
        return []  # found out at the next interval
    return [(counter, select.POLLIN)]


def _drain(ready: "list[tuple[int, int]]", process: int) -> None:
    for descriptor, events in ready:
        if descriptor == process:
            continue
        if events & select.POLLPRI:
            try:
                posix.lseek(descriptor, 0, 0)
                posix.read(descriptor, 4096)
            except OSError:  # ENODEV: systemd has taken the cgroup away with the container's end
                pass
        else:
            posix.read(descriptor, 8)
            # v1 tells of the shortage, a moment before it kills.
            time.sleep(0.05)
