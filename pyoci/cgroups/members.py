"""The processes in a container's cgroup: listed, killed, frozen."""

import posix
import time
from errno import ENODEV, ENOENT, EOPNOTSUPP

from pyoci.cgroups.ownership import TakenError
from pyoci.cgroups.tree import failed, freezer_file, put, read, subtree
from pyoci.errors import Error
from pyoci.paths import GoneError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Set

    from pyoci.cgroups.tree import Cgroups, Group

SIGKILL = 9


def main_group(cgroups: "Cgroups") -> "Group | None":
    """The group that says which processes are the container's: the freezer's, where no manager moves them."""
    return cgroups.freezer() or (cgroups.groups[0] if cgroups.groups else None)


def processes(path: str) -> "list[int]":
    """The pids in a cgroup and below it; none if it is gone. Raises OSError."""
    pids = []
    for directory in subtree(path):
        try:
            listed = read(directory + "/cgroup.procs").split()
        except GoneError:
            continue
        except OSError as error:
            # A threaded v2 cgroup, whose processes are listed above it.
            if error.errno != EOPNOTSUPP:
                raise
            continue
        # A process of a pid namespace that we don't see is 0.
        pids += [int(pid) for pid in listed if pid != "0"]
    return pids


def kill(cgroups: "Cgroups") -> None:
    """See `Cgroups.kill`."""
    spared: "set[int]" = set()
    # Linux 6.18 kills whoever is born into a cgroup (CLONE_INTO_CGROUP) that cgroup.kill was ever written to. One that stays
    # for others is emptied without it.
    unified = cgroups.unified if cgroups.unified and not cgroups.unified.existed else None
    try:
        if unified and cgroups.is_ours(unified):
            try:
                put(unified.path + "/cgroup.kill", "1")
            except OSError as error:
                # Removed by now (under systemd an empty one goes of itself), before it was opened or after.
                if error.errno not in (ENOENT, ENODEV):
                    raise
            else:
                spared.update(processes(unified.path))
        if cgroups.mode != "v2" or unified is None:
            _kill_one_by_one(cgroups, spared)
    except OSError as error:
        raise failed("kill the processes in", cgroups.path, error) from None


def _kill_one_by_one(cgroups: "Cgroups", spared: "set[int]") -> None:
    """Kills without cgroup.kill: held still, so that none of them forks away, then by pidfd."""
    group = main_group(cgroups)
    if group is None or not cgroups.is_ours(group):
        return
    v2 = group is cgroups.unified
    file, still, moving = ("cgroup.freeze", "1", "0") if v2 else ("freezer.state", "FROZEN", "THAWED")
    for _ in range(100):
        if not set(processes(group.path)) - spared:
            break
        _put_quietly(f"{group.path}/{file}", still)
        try:
            signal_all(group.path, SIGKILL, spared)
        finally:
            _put_quietly(f"{group.path}/{file}", moving)
            thaw(cgroups)
        # What was signalled is gone in a moment; what forked just before the freeze is met in the next round.
        time.sleep(0.001)
    # A frozen v1 task dies only when it is thawed, whoever sent the signal.
    thaw(cgroups)


def thaw(cgroups: "Cgroups") -> None:
    """See `Cgroups.thaw`."""
    group = cgroups.freezer()
    if group is None or group is cgroups.unified:
        return
    for directory in subtree(group.path):
        _put_quietly(directory + "/freezer.state", "THAWED")


def signal_all(path: str, signal: int, spared: "Set[int]" = frozenset()) -> None:
    """Send it to those still in the cgroup after their pidfd was opened: a pid may be another process's by then."""
    from _signal import pidfd_send_signal  # type: ignore[import-not-found,unused-ignore]

    fds: "dict[int, int]" = {}
    try:
        for pid in set(processes(path)) - spared:
            try:
                fds[pid] = posix.pidfd_open(pid)
            except ProcessLookupError:
                pass
        for pid in fds.keys() & set(processes(path)):
            try:
                pidfd_send_signal(fds[pid], signal)
            except (ProcessLookupError, PermissionError):
                pass  # It has ended, or became another user's: the others get it all the same.
    finally:
        for fd in fds.values():
            posix.close(fd)


def freeze(cgroups: "Cgroups", frozen: bool, timeout: float) -> None:
    """See `Cgroups.freeze`."""
    group = cgroups.freezer()
    if group is None:
        raise Error("the container can't be paused: no freezer cgroup is mounted on this host")
    v2 = group is cgroups.unified
    file = group.path + ("/cgroup.freeze" if v2 else "/freezer.state")
    state, done = (group.path + "/cgroup.events", "frozen 1") if v2 else (file, "FROZEN")
    start, stop = ("1", "0") if v2 else ("FROZEN", "THAWED")
    deadline = time.monotonic() + timeout
    pause = 0.0002
    try:
        put(file, start if frozen else stop)
        while frozen and done not in read(state):
            if time.monotonic() > deadline:
                put(file, stop)
                raise Error(f"{group.path}: its processes didn't freeze within {timeout:g} s")
            time.sleep(pause)
            pause = min(pause * 2, 0.01)
            if not v2:
                # A v1 freezer that met a forking process stays FREEZING until it is told again.
                put(file, start)
    except OSError as error:
        raise failed("freeze" if frozen else "thaw", group.path, error) from None


def is_frozen(group: "Group") -> bool:
    """Whether a group itself was frozen, not one above it. Raises OSError."""
    file = freezer_file(group)
    return file is not None and read(file).startswith("1")


def check_unused(group: "Group") -> None:
    """A cgroup that was there before must hold nobody and not be frozen.

    Raises TakenError, Error (config-linux.md, Cgroups Path: "not fit for the container").
    """
    try:
        number = len(processes(group.path))
        frozen = is_frozen(group)
    except OSError as error:
        raise failed("use", group.path, error) from None
    if number:
        raise TakenError(f"container's cgroup is not empty: {number} process(es) found in {group.path}")
    if frozen:
        hint = "thaw it, or choose another cgroupsPath"
        raise Error(f"container's cgroup is unexpectedly frozen: {group.path}", hint=hint)


def _put_quietly(path: str, value: str) -> None:
    try:
        put(path, value)
    except OSError:
        pass


def out_of_memory_kills(cgroups: "Cgroups") -> int:
    """How many of its processes the kernel has killed for their memory's sake."""
    file = "memory.events" if cgroups.in_v2("memory") else "memory.oom_control"
    for line in (cgroups.read("memory", file) or "").splitlines():
        name, _, number = line.partition(" ")
        if name == "oom_kill":
            return int(number)
    return 0
