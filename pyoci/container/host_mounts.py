"""The mounts of a container that has no mount namespace: they lie in the host's tree, and `delete` takes them away.

All are below the root filesystem, which is bound on itself for that; so one lazy umount takes them all. Imported only for
such a container.
"""

import os.path

from pyoci import shim
from pyoci.errors import Error, cause_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# More than anybody stacks there; a guard against never ending.
MOST = 64


def record(rootfs: str) -> "dict[str, Any]":
    """What has to be known to undo them, as JSON: to be written down before anything is mounted."""
    path = os.path.realpath(rootfs)
    return {"path": path, "before": _mounts_at(path)}


def remove(recorded: "dict[str, Any]") -> None:
    """Unmount what was mounted since `record`. Nothing there is fine.

    Raises Error if it can't be.
    """
    path: str = recorded["path"]
    for _ in range(MOST):
        if not set(_mounts_at(path)) - set(recorded["before"]):
            return
        try:
            shim.unmount(path)
        except OSError as error:
            raise Error(f"{path}: can't be unmounted: {cause_of(error)}") from None


def _mounts_at(path: str) -> "list[str]":
    """The ids of the mounts on a directory: proc_pid_mountinfo(5)."""
    point = escaped(path)
    with open("/proc/self/mountinfo", "rb") as table:
        rows = (line.split(b" ", 5) for line in table)
        return [row[0].decode() for row in rows if row[4] == point]


def escaped(path: str) -> bytes:
    """A path as mountinfo has it."""
    data = path.encode("utf-8", "surrogateescape")
    for character in b"\\ \t\n#":
        data = data.replace(bytes([character]), f"\\{character:03o}".encode())
    return data
