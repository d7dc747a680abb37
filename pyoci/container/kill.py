"""`kill`: a signal for the container's process (runtime.md, "Kill")."""

import _signal  # type: ignore[import-not-found]  # the signal module imports enum
import posix

from pyoci.container.status import CREATED, CREATING, RUNNING, STOPPED, is_paused, status
from pyoci.errors import NO_SUCH_PROCESS, Error, cause_of, not_running

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyoci.cgroups.tree import Cgroups
    from pyoci.container.store import Entry

V1_FREEZER = "/freezer.self_freezing"
SIGNALS: "dict[str, int]" = {
    name[3:]: number
    for name, number in vars(_signal).items()
    if name.startswith("SIG") and name[3] != "_" and isinstance(number, int)
}


def parse_signal(text: str) -> int:
    """A signal's number from its name, with or without SIG, or its number.

    Raises Error if there is no such signal.
    """
    name = text.upper().removeprefix("SIG")
    if _is_small(text):
        number = int(text)
    elif name.startswith(("RTMIN+", "RTMAX-")) and _is_small(name[6:]):
        number = SIGNALS[name[:5]] + (int(name[6:]) if name[5] == "+" else -int(name[6:]))
    else:
        number = SIGNALS.get(name, -1)
    # 0 is no signal, but asks whether one could be sent, kill(2).
    if not 0 <= number < _signal.NSIG:
        raise Error(f'unknown signal "{text}"')
    return number


def _is_small(text: str) -> bool:
    """Digits only, and not more than any signal's number has: int() takes other things, and raises at a few thousand."""
    return len(text) <= 3 and text.isascii() and text.isdigit()


def kill(entry: "Entry", signal: int, *, everything: bool = False) -> None:
    """Send a signal.

    Arguments:
        signal: its number.
        everything: to every process of the container's cgroup.

    A container without a pid namespace of its own has processes that outlive its first one, so there SIGKILL is for all of them,
    and also when the first has ended.

    Raises Error if the container is neither created nor running; with `everything` only if it is being created.
    """
    now = status(entry)
    alive = now in (CREATED, RUNNING)
    everyone = everything or (signal == _signal.SIGKILL and bool(entry.state.get("shares_pids")))
    # Without cgroups (rootless) only the first process is known.
    if everyone and now != CREATING and _kill_all(entry, signal, alive=alive):
        return
    if everything and now == STOPPED:
        return
    if not alive:
        raise not_running("kill", entry.id, f"it is {now}")
    _send(entry, entry.state["pid"], signal)
    if signal == _signal.SIGKILL:
        _thaw(entry)


def _kill_all(entry: "Entry", signal: int, *, alive: bool) -> bool:
    """Send it to all processes of the cgroup. False if there are none that are known to be the container's."""
    if "cgroups" not in entry.state:
        return False
    groups = _cgroups(entry)
    pids = groups.processes() if alive else groups.leftover()
    if pids and signal == _signal.SIGKILL:
        groups.kill()
    elif pids:
        groups.signal(signal)
    return bool(pids)


def _thaw(entry: "Entry") -> None:
    """A frozen process of cgroup v1 dies only when it is thawed; the container may have frozen one in a cgroup of its own."""
    freezer = entry.state.get("freezer") or ""
    if not freezer.endswith(V1_FREEZER):
        return
    try:
        # A cgroup's link count is 2 and one for each below it.
        divided = posix.stat(freezer.removesuffix(V1_FREEZER)).st_nlink > 2
    except OSError:
        return
    if divided or is_paused(entry):
        _cgroups(entry).thaw()


def _cgroups(entry: "Entry") -> "Cgroups":
    from pyoci.cgroups import tree

    return tree.from_record(entry.state["cgroups"])


def _send(entry: "Entry", pid: int, signal: int) -> None:
    from pyoci.container.identity import start_time

    try:
        pidfd = posix.pidfd_open(pid)
    except ProcessLookupError:
        raise _gone(entry) from None
    try:
        # The pid is the container's still, now that it is held.
        if start_time(pid) != entry.state["start_time"]:
            raise _gone(entry)
        _signal.pidfd_send_signal(pidfd, signal)
    except (ProcessLookupError, FileNotFoundError):
        raise _gone(entry) from None
    except OSError as error:
        raise Error(f'cannot kill container "{entry.id}": {cause_of(error)}') from None
    finally:
        posix.close(pidfd)


def _gone(entry: "Entry") -> Error:
    return not_running("kill", entry.id, NO_SUCH_PROCESS)
