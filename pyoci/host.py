"""What this host offers: read once, given to the compiler as facts, so that compiling stays a pure function."""

import posix

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
        rootless: whether we aren't the host's root: another user, or root of a user namespace only.
        apparmor, selinux: whether that security module is active.
    """

    __slots__ = ("apparmor", "capabilities", "layout", "rootless", "selinux")

    def __init__(
        self,
        capabilities: int,
        layout: "Layout",
        *,
        rootless: bool = False,
        apparmor: bool = False,
        selinux: bool = False,
    ) -> None:
        self.capabilities = capabilities
        self.layout = layout
        self.rootless = rootless
        self.apparmor = apparmor
        self.selinux = selinux


def read() -> Host:
    """Look at this host.

    Raises Error if its kernel is too old for pyoci.
    """
    check_kernel(posix.uname().release)
    return Host(
        _permitted_capabilities(),
        layout.read(),
        rootless=is_rootless(),
        apparmor=_has_apparmor(),
        selinux=posix.access("/sys/fs/selinux/enforce", posix.F_OK),
    )


def check_kernel(release: str) -> None:
    """Raises Error if a kernel of this release is too old for pyoci."""
    major, _, rest = release.partition(".")
    minor = rest[: len(rest) - len(rest.lstrip("0123456789"))]
    if major.isdigit() and minor.isdigit() and (int(major), int(minor)) < MINIMUM_KERNEL:
        wanted = ".".join(map(str, MINIMUM_KERNEL))
        raise Error(f"Linux {release} is too old: pyoci needs {wanted} or later (mount_setattr, cgroup.kill)")


def is_rootless() -> bool:
    """Whether this process isn't the host's root."""
    if posix.geteuid() != 0:
        return True
    with open("/proc/self/uid_map", "rb", buffering=0) as uid_map:
        # The initial user namespace maps all 32 bits but the last, user_namespaces(7).
        return uid_map.read(256).split() != [b"0", b"0", b"4294967295"]


def _has_apparmor() -> bool:
    try:
        with open("/sys/module/apparmor/parameters/enabled", "rb", buffering=0) as enabled:
            return enabled.read(1) == b"Y"
    except OSError:
        return False


def _permitted_capabilities() -> int:
    with open("/proc/self/status", "rb", buffering=0) as status:
        _, _, rest = status.read(8192).partition(b"\nCapPrm:")
    return int(rest[: rest.index(b"\n")], 16)
