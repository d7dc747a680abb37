"""What a host shows of containers: processes, mounts, cgroups, sockets. Nothing of pyoci's is asked."""

from __future__ import annotations

import ctypes
import os
import signal
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

# Every container id of this test run holds it, which tells what is left of one from the neighbours' doings.
TAG = f"pyoci-test-{os.getpid()}"
CGROUPS = Path("/sys/fs/cgroup")
V2 = (CGROUPS / "cgroup.controllers").exists()
UNITS = Path("/run/systemd/transient")
# The kernel ends namespaces, and removes cgroups, a little after the last process is gone.
GRACE_S = 2.0

PR_SET_CHILD_SUBREAPER = 36
CLONE_NEWNS = 0x20000
MS_REC, MS_PRIVATE, MS_SHARED = 0x4000, 1 << 18, 1 << 20


def adopt_orphans() -> None:
    """Become the parent of every orphan below us, so that a process that a runtime forgets is ours."""
    _checked(ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0))


def enter_own_mount_namespace() -> None:
    """Leave the neighbours' mounts behind; ours are shared, as systemd has them, so leaks reach us."""
    libc = ctypes.CDLL(None, use_errno=True)
    _checked(libc.unshare(CLONE_NEWNS))
    for propagation in (MS_PRIVATE, MS_SHARED):
        _checked(libc.mount(b"none", b"/", None, ctypes.c_ulong(MS_REC | propagation), None))


def _checked(result: int) -> None:
    if result != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def status(pid: int) -> dict[str, str]:
    """The fields of /proc/PID/status."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def processes(in_cgroups: set[str] | None = None) -> dict[int, str]:
    """The descendants of this process and the processes in our cgroups, each with its name and state.

    Arguments:
        in_cgroups: `cgroups()`, if that was asked for just now.

    Zombies that are our own children are left out: to reap those is our duty, not the runtime's.
    """
    parents: dict[int, int] = {}
    found: dict[int, str] = {}
    for entry in filter(str.isdigit, os.listdir("/proc")):
        text = _contents(f"/proc/{entry}/stat")
        if not text:
            continue
        name, _, rest = text.rpartition(")")
        state, parent = rest.split(None, 2)[:2]
        pid, parents[pid] = int(entry), int(parent)
        found[pid] = f"process {entry} {name.partition('(')[2]} ({state})"
    ours = {os.getpid()}
    for cgroup in cgroups() if in_cgroups is None else in_cgroups:
        ours.update(map(int, _contents(f"{cgroup}/cgroup.procs").split()))
    while more := {pid for pid, parent in parents.items() if parent in ours} - ours:
        ours |= more
    zombies = {pid for pid in ours if parents.get(pid) == os.getpid() and found[pid].endswith("(Z)")}
    return {pid: found[pid] for pid in ours - zombies - {os.getpid()} if pid in found}


def _contents(path: str) -> str:
    """A small file's, "" if it is gone; several times as fast as by pathlib, and there are hundreds of them."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return ""
    try:
        return os.read(fd, 65536).decode("utf-8", "replace")
    except OSError:  # the process has ended, or the cgroup is threaded
        return ""
    finally:
        os.close(fd)


def reap() -> None:
    """Reap the children that have ended. Call it only while nothing else waits for one."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass


def mounts(pid: int | str = "self") -> list[dict[str, str]]:
    """The mounts of a process: point, options, kind (the filesystem), source and the filesystem's options."""
    result = []
    for line in Path(f"/proc/{pid}/mountinfo").read_text().splitlines():
        fields = line.split(" ")
        kind, source, super_options = fields[fields.index("-") + 1 :]
        mount = {"point": fields[4], "options": fields[5], "kind": kind, "source": source}
        result.append(mount | {"super_options": super_options})
    return result


def cgroups() -> set[str]:
    """The cgroup directories of every hierarchy that carry our tag."""
    found = [str(CGROUPS)]
    for path in found:
        try:
            # 2 and one for each cgroup below it: a leaf needn't be listed, with its many files.
            if os.stat(path).st_nlink != 2:
                with os.scandir(path) as entries:
                    found += [entry.path for entry in entries if entry.is_dir(follow_symlinks=False)]
        except OSError:
            continue
    return {path for path in found if TAG in path}


def cgroup_of(pid: int, controller: str) -> Path:
    """The directory of a process's cgroup for `controller`: its version 1 hierarchy's, else version 2's."""
    unified = None
    for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if controller in controllers.split(","):
            return CGROUPS / controllers / path.lstrip("/")
        if controllers == "":
            unified = path
    if unified is None:
        raise LookupError(f"process {pid} is in no cgroup of {controller}")
    base = CGROUPS / "unified" if (CGROUPS / "unified").is_dir() else CGROUPS
    return base / unified.lstrip("/")


def v2_controllers() -> list[str]:
    """The controllers of the version 2 tree, the only one or that of a hybrid host."""
    try:
        return (CGROUPS / ("" if V2 else "unified") / "cgroup.controllers").read_text().split()
    except OSError:
        return []


def in_v2(controller: str) -> bool:
    """Whether a controller, called as version 1 does, would be in the version 2 tree of this host."""
    return V2 or {"blkio": "io"}.get(controller, controller) in v2_controllers()


def units() -> set[str]:
    """The files of systemd's transient units that carry our tag: there as long as systemd knows the unit, failed ones too."""
    return {str(path) for path in UNITS.glob(f"*{TAG}*")}


@contextmanager
def kept_controllers() -> Iterator[None]:
    """Afterwards a hybrid host's v2 tree shares out the controllers that it shared out before."""
    control = CGROUPS / "unified/cgroup.subtree_control"
    before = control.read_text().split() if control.exists() else []
    yield
    for controller in set(control.read_text().split() if control.exists() else []) - set(before):
        try:
            control.write_text(f"-{controller}")
        except OSError:  # somebody else's cgroup has it by now
            pass


def sockets(root: Path) -> set[str]:
    """The unix sockets bound below `root`, or to a relative path (a long one doesn't fit sun_path)."""
    paths = (line.split()[7:] for line in Path("/proc/net/unix").read_text().splitlines()[1:])
    return {path[0] for path in paths if path and (str(root) in path[0] or path[0][0] not in "/@")}


@dataclass
class Snapshot:
    """What there is of containers at one moment."""

    processes: dict[int, str] = field(default_factory=dict)
    mounts: Counter[str] = field(default_factory=Counter)
    cgroups: set[str] = field(default_factory=set)
    units: set[str] = field(default_factory=set)
    sockets: set[str] = field(default_factory=set)
    entries: set[str] = field(default_factory=set)

    def more_than(self, before: Snapshot) -> list[str]:
        """What is here that wasn't there before, a line each."""
        return [
            *(text for pid, text in self.processes.items() if pid not in before.processes),
            *(f"mount {point}" for point in (self.mounts - before.mounts).elements()),
            *(f"cgroup {path}" for path in sorted(self.cgroups - before.cgroups)),
            *(f"unit {path}" for path in sorted(self.units - before.units)),
            *(f"socket {path}" for path in sorted(self.sockets - before.sockets)),
            *(f"state entry {name}" for name in sorted(self.entries - before.entries)),
        ]


def snapshot(root: Path) -> Snapshot:
    """Everything that containers whose state is in `root` can have left on this host."""
    points = Counter(f"{mount['point']} ({mount['kind']})" for mount in mounts())
    # A "~" begins what is kept for all containers, bounded, and no id.
    entries = {name for name in os.listdir(root) if name[0] != "~"} if root.is_dir() else set()
    in_cgroups = cgroups()
    return Snapshot(processes(in_cgroups), points, in_cgroups, units(), sockets(root), entries)


def leaks(before: Snapshot, root: Path) -> list[str]:
    """What stays of containers since `before`, once the kernel had its time to clean up."""
    deadline = time.monotonic() + GRACE_S
    reap()  # the first process of a PID namespace does not end before everything else there is reaped
    while (more := snapshot(root).more_than(before)) and time.monotonic() < deadline:
        time.sleep(0.02)
        reap()
    return more


def sweep(before: Snapshot) -> None:
    """End and remove what a runtime left, so that one failure doesn't become the next test's."""
    for pid in processes().keys() - before.processes.keys():
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
    for _ in range(20):
        left = sorted(cgroups() - before.cgroups, reverse=True)
        if not left:
            return
        for path in left:
            try:
                os.rmdir(path)
            except OSError:
                pass
        time.sleep(0.02)
