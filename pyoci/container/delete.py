"""`delete`: undo what `create` made (runtime.md, "Delete"). With force, whatever state a crash left it in."""

import _signal  # type: ignore[import-not-found]  # the signal module imports enum
import posix
import select
import time

from pyoci.container import store
from pyoci.container.identity import is_alive
from pyoci.container.status import STOPPED, is_paused, status
from pyoci.errors import Error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from pyoci.container.store import Entry

PATIENCE_S = 10.0
FORCE_PATIENCE_S = 2.0


def take(root: str, container_id: str, *, force: bool) -> "Entry | None":
    """The container, locked, to be deleted. None if it doesn't exist and that is no error: with force.

    With force a `create` that hangs (in a hook, on a dead disk) is ended; the init dies with it. And so are the container's
    processes if a command waits for them: `exec --ignore-paused` for a `resume`, which won't come.
    """
    try:
        entry = store.find(root, container_id)
        try:
            entry.lock(_patience(entry) if force else store.LOCK_PATIENCE_S)
        except store.BusyError:
            if not force:
                raise
            _end_creator(entry)
            _end_processes(entry)
            entry.lock()
        entry.load()
    except store.NotFoundError:
        if force:
            return None
        raise
    return entry


def _patience(entry: "Entry") -> float:
    """How long to wait for another command before it is hurried, in seconds: what waits for a paused container waits for ever."""
    return 0.0 if is_paused(entry) else FORCE_PATIENCE_S


def _end_processes(entry: "Entry") -> None:
    if entry.state.get("pid"):
        from pyoci.container.kill import kill

        try:
            kill(entry, _signal.SIGKILL, everything=True)
        except Error:
            pass  # It has ended meanwhile.


def _end_creator(entry: "Entry") -> None:
    entry.load()
    pid, started = entry.state.get("creator", (0, 0))
    if entry.state.get("pid") or not pid or pid == posix.getpid():
        return
    try:
        pidfd = posix.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        if is_alive(pid, started):
            _signal.pidfd_send_signal(pidfd, _signal.SIGKILL)
    finally:
        posix.close(pidfd)


def delete(entry: "Entry", *, force: bool, warn: "Callable[[str], None]") -> None:
    """Delete it.

    Arguments:
        entry: locked, its state loaded after that.
        force: end it first if it isn't stopped.
        warn: where warnings go (a failing poststop hook is one).

    Raises Error: it isn't stopped, or something can't be removed; then it can be deleted again.
    """
    now = status(entry, ours=True)
    if now != STOPPED:
        if not force:
            raise Error(
                f'cannot delete container "{entry.id}" that is not stopped: {now}',
                hint="`delete --force` ends it first",
            )
        _end(entry)
    if "cgroups" in entry.state:
        from pyoci.cgroups import tree

        groups = tree.from_record(entry.state["cgroups"])
        # Whatever the program left running (without a pid namespace of its own), or a create that was cut off.
        kills = force or entry.state.get("shares_pids")
        if kills:
            groups.kill()
        groups.remove(PATIENCE_S if kills else 1.0)
    if "resctrl" in entry.state:
        from pyoci.cgroups import resctrl

        resctrl.from_record(entry.state["resctrl"]).remove(failed=not entry.state.get("pid"))
    if "mounts" in entry.state:
        from pyoci.container import host_mounts

        host_mounts.remove(entry.state["mounts"])
    entry.remove()
    run_poststop(entry, warn)


def _end(entry: "Entry") -> None:
    """SIGKILL, and wait until it is gone."""
    pid, started = entry.state["pid"], entry.state["start_time"]
    try:
        pidfd = posix.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        if not is_alive(pid, started):
            return
        _thaw(entry)
        _signal.pidfd_send_signal(pidfd, _signal.SIGKILL)
        _wait(pidfd, pid, started)
    except ProcessLookupError:
        pass
    finally:
        posix.close(pidfd)


def _thaw(entry: "Entry") -> None:
    """A frozen process of a v1 cgroup doesn't die before it is thawed."""
    from pyoci.cgroups import tree

    tree.from_record(entry.state["cgroups"]).thaw()


def _wait(pidfd: int, pid: int, started: int) -> None:
    # A pidfd of somebody else's child becomes readable when the process is a zombie; that is dead enough.
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    deadline = time.monotonic() + PATIENCE_S
    while is_alive(pid, started):
        if time.monotonic() > deadline:
            raise Error(f"process {pid} is still there {PATIENCE_S:.0f} s after SIGKILL")
        poll.poll(100)


def run_poststop(entry: "Entry", warn: "Callable[[str], None]") -> None:
    """The poststop hooks, all of them: one that fails is a warning (config.md, "Poststop")."""
    hooks = entry.state.get("hooks", {}).get("poststop")
    if not hooks:
        return
    from pyoci import shim
    from pyoci.container.hooks import state_text

    for hook in hooks:
        try:
            shim.run_hook(hook, state_text(entry, STOPPED, 0), entry.state["bundle"])
        except Error as error:
            warn(f"poststop: {error.message}")
