"""What of a mount can't be as the config wants it in a user namespace, and what is said about it.

A mount's flags are locked for a user namespace that it comes into (mount_namespaces(7)): it gets no more there than it had
before. Imported only when a mount comes from the host side, or the init warns.
"""

import posix

from pyoci import shim
from pyoci.plan.mount_options import ATIME, NOATIME, NODEV, NODIRATIME, NOEXEC, NOSUID, RDONLY

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyoci.container.conversation import Message
    from pyoci.plan.plan import Fetch, Step

NAMES = {RDONLY: "ro", NOSUID: "nosuid", NODEV: "nodev", NOEXEC: "noexec", NODIRATIME: "nodiratime"}
# statvfs(3) has numbers of its own for some.
ST_NOATIME, ST_NODIRATIME = 1024, 2048


def warning(message: "Message") -> str:
    """What the init warns about (MESSAGE_WARNING)."""
    if message.call == "sysfs":
        return (
            f'{message.origin}: "{message.subject}" is the host\'s and read-only: '
            "a new sysfs takes a network namespace of the container's own"
        )
    return _keeps(message.origin, message.subject, message.value)


def set_attributes(tree: int, step: "Step", fetch: "Fetch") -> "str | None":
    """Give a tree of the host's the attributes of a bind, as if it were in the user namespace already: what it has stays.

    Returns a warning if anything was to be cleared. Raises OSError.
    """
    _, path, set_, clear, set_all, clear_all, _, _ = step.arguments
    present = _flags(tree)
    kept = 0
    if set_all | clear_all:
        below = present | _flags_below(fetch.source or "") if fetch.recursive else present
        set_all, clear_all, kept = _unlocked(set_all, clear_all, below)
        shim.set_tree_attributes(tree, set_all, clear_all, recursive=True)
    if set_ | clear:
        set_, clear, more = _unlocked(set_, clear, present)
        kept |= more
        shim.set_tree_attributes(tree, set_, clear, recursive=False)
    return _keeps(step.origin, path, kept) if kept else None


def _keeps(origin: str, path: str, bits: int) -> str:
    names = [name for bit, name in NAMES.items() if bits & bit] + ["noatime"] * bool(bits & ATIME)
    return f'{origin}: "{path}" keeps {", ".join(names)}: what the host\'s mount has is locked in a user namespace'


def _unlocked(set_: int, clear: int, present: int) -> "tuple[int, int, int]":
    """What may be set and cleared of a mount with these attributes, and what stays."""
    kept = clear & ~set_ & present & sum(NAMES)
    if clear & ATIME and present & NOATIME and set_ & ATIME != NOATIME:
        return set_ & ~ATIME, clear & ~ATIME & ~kept, kept | NOATIME
    return set_, clear & ~kept, kept


def _flags(tree: int) -> int:
    flags = posix.fstatvfs(tree).f_flag
    found = flags & (RDONLY | NOSUID | NODEV | NOEXEC)
    return found | NOATIME * bool(flags & ST_NOATIME) | NODIRATIME * bool(flags & ST_NODIRATIME)


def _flags_below(source: str) -> int:
    """What any of the mounts below a directory has: proc_pid_mountinfo(5)."""
    import os.path

    from pyoci.container.host_mounts import escaped

    start = escaped(os.path.realpath(source).rstrip("/")) + b"/"
    words = {name.encode(): bit for bit, name in NAMES.items()} | {b"noatime": NOATIME}
    found = 0
    with open("/proc/self/mountinfo", "rb") as table:
        for row in table:
            _, _, _, _, point, options, _ = row.split(b" ", 6)
            if point.startswith(start):
                for word in options.split(b","):
                    found |= words.get(word, 0)
    return found
