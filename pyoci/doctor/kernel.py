"""The kernel: its version, the system calls that pyoci makes, filesystems, namespaces."""

import ctypes
import errno
import os
import platform
from collections.abc import Iterator
from pathlib import Path

from pyoci import host
from pyoci.doctor.finding import BROKEN, LACKING, Finding, of
from pyoci.errors import Error
from pyoci.plan.namespaces import NAMESPACES

AREA = "kernel"
NOWHERE = -1
# Calls since Linux 5.1 have the same number on every architecture. With these arguments a kernel that knows the call says
# EBADF, EINVAL or EFAULT, and does nothing.
CALLS = {
    "clone3": (435, (0, 0), "starting a container"),
    "close_range": (436, (1, 0, 0), "starting a container"),
    "openat2": (437, (NOWHERE, 0, 0, 0), "safe paths in the root filesystem"),
    "pidfd_open": (434, (NOWHERE, 0), "signals for the right process"),
    "open_tree": (428, (NOWHERE, 0, 0), "bind mounts"),
    "move_mount": (429, (NOWHERE, 0, NOWHERE, 0, 0), "mounts"),
    "fsopen": (430, (0, 0xFFFF), "mounts"),
    "mount_setattr": (442, (NOWHERE, 0, 0xFFFF, 0, 0), "read-only mounts, mapped ids"),
}
# Of these EPERM is what any caller without CAP_SYS_ADMIN hears.
FOR_ROOT = ("open_tree", "move_mount", "fsopen", "mount_setattr")
FILESYSTEMS = {
    "proc": "/proc",
    "sysfs": "/sys",
    "tmpfs": "/dev, /dev/shm and --tmpfs",
    "devpts": "terminals",
    "mqueue": "/dev/mqueue",
    "overlay": "images in layers, as engines mount them",
}


def look() -> Iterator[Finding]:
    """Everything about the kernel."""
    yield _version()
    yield from _calls()
    known = _filesystems()
    for name, purpose in FILESYSTEMS.items():
        mend = f"load the module (`modprobe {name}`), or a kernel that has it"
        level = LACKING if name in ("overlay", "mqueue") else BROKEN
        yield of(AREA, name, name in known, "there" if name in known else "missing", purpose, mend, level)
    yield from _namespaces()


def _version() -> Finding:
    wanted = ".".join(map(str, host.MINIMUM_KERNEL))
    release = platform.release()
    try:
        host.check_kernel(release)
    except Error:
        return Finding(AREA, "version", BROKEN, release, "everything", f"pyoci needs Linux {wanted} or later")
    return of(AREA, "version", True, f"{release} ({platform.machine()})", f"everything: {wanted} or later")


def _calls() -> Iterator[Finding]:
    for name, (number, arguments, purpose) in CALLS.items():
        code = _refusal(number, arguments)
        found, mend = "there", ""
        if code == errno.ENOSYS:
            found, mend = (
                "missing",
                "a newer kernel, or an outer container whose seccomp profile knows the call",
            )
        elif code == errno.EPERM and name not in FOR_ROOT:
            found, mend = "forbidden", "an outer container's seccomp profile forbids it: allow it there"
        yield of(AREA, name, found == "there", found, purpose, mend, BROKEN)


def _refusal(number: int, arguments: "tuple[int, ...]") -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall(ctypes.c_long(number), *(ctypes.c_long(argument) for argument in arguments))
    return ctypes.get_errno()


def _filesystems() -> "set[str]":
    return {line.split()[-1] for line in Path("/proc/filesystems").read_text().splitlines()}


def _namespaces() -> Iterator[Finding]:
    for kind, (_, file) in NAMESPACES.items():
        limit = Path(f"/proc/sys/user/max_{file}_namespaces")
        there = os.path.exists(f"/proc/self/ns/{file}")
        number = limit.read_text().strip() if limit.exists() else "?"
        found = f"up to {number}" if there else "missing"
        mend = f"`sysctl user.max_{file}_namespaces=10000`" if there else "a kernel that has it"
        level = LACKING if kind in ("user", "time", "cgroup") else BROKEN
        yield of(
            AREA,
            f"{kind} namespace",
            there and number != "0",
            found,
            "containers that ask for one",
            mend,
            level,
        )
