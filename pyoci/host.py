"""What this host offers: read once, given to the compiler as facts, so that compiling stays a pure function."""

import os

from pyoci.cgroups import layout
from pyoci.errors import Error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyoci.cgroups.layout import Layout

MINIMUM_KERNEL = (5, 14)


class Host:
    """The facts that a plan depends on.

    Attributes:
        capabilities: the mask of those that this process has, and so can give.
        layout: the cgroup hierarchies.
        environment: what hooks without an `env` of their own inherit.
    """

    __slots__ = ("capabilities", "environment", "layout")

    def __init__(self, capabilities: int, layout: "Layout", environment: "list[str]") -> None:
        self.capabilities = capabilities
        self.layout = layout
        self.environment = environment


def read() -> Host:
    """Look at this host.

    Raises Error if its kernel is too old for pyoci.
    """
    _check_kernel(os.uname().release)
    environment = [f"{name}={value}" for name, value in os.environ.items()]
    return Host(_permitted_capabilities(), layout.read(), environment)


def _check_kernel(release: str) -> None:
    major, _, rest = release.partition(".")
    minor = rest[: len(rest) - len(rest.lstrip("0123456789"))]
    if major.isdigit() and minor.isdigit() and (int(major), int(minor)) < MINIMUM_KERNEL:
        wanted = ".".join(map(str, MINIMUM_KERNEL))
        raise Error(f"Linux {release} is too old: pyoci needs {wanted} or later (mount_setattr, cgroup.kill)")


def _permitted_capabilities() -> int:
    with open("/proc/self/status", "rb", buffering=0) as status:
        _, _, rest = status.read(8192).partition(b"\nCapPrm:")
    return int(rest[: rest.index(b"\n")], 16)


def start_time(pid: int) -> int:
    """When a process was started, in clock ticks since boot; with its pid that names it for ever (proc_pid_stat(5)).

    Raises OSError if there is none.
    """
    return _stat(pid)[1]


def is_alive(pid: int, started: int) -> bool:
    """Whether the process of that pid and start time is there, and not a zombie."""
    try:
        state, time = _stat(pid)
    except OSError:
        return False
    return time == started and state not in (b"Z", b"X", b"x")


def _stat(pid: int) -> "tuple[bytes, int]":
    fd = os.open(f"/proc/{pid}/stat", os.O_RDONLY | os.O_CLOEXEC)
    try:
        data = os.read(fd, 4096)
    finally:
        os.close(fd)
    # The second field, the name, may hold anything, also blanks and parentheses.
    fields = data[data.rindex(b")") + 2 :].split()
    return fields[0], int(fields[19])
