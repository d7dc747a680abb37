"""Which cgroup hierarchies are mounted where, and where in them a container goes."""

import posix

from pyoci.errors import ConfigError, Problem

CONTROLLERS = frozenset(
    b"cpu cpuacct cpuset memory devices freezer blkio pids "
    b"hugetlb net_cls net_prio perf_event rdma misc".split()
)
CGROUP2 = "/sys/fs/cgroup"
OWN_PARENT = "/pyoci"


class Layout:
    """The mounted cgroup hierarchies.

    Attributes:
        hierarchies: (mount point, controllers) of each v1 hierarchy; ("name=systemd",) for a named one.
        unified: the mount point of the v2 hierarchy, or None.
        mode: "v1", "v2" or "hybrid" (limits in v1, and a v2 tree beside it).
    """

    __slots__ = ("hierarchies", "mode", "unified")

    def __init__(
        self, mode: str, hierarchies: "list[tuple[str, tuple[str, ...]]]", unified: "str | None"
    ) -> None:
        self.mode = mode
        self.hierarchies = hierarchies
        self.unified = unified


def read(mountinfo: "bytes | None" = None) -> Layout:
    """Finds the mounted hierarchies.

    Arguments:
        mountinfo: the contents of /proc/self/mountinfo (proc_pid_mountinfo(5)); None reads our own.

    Raises OSError if that can't be read. A host without any cgroup mount is mode "v1" without hierarchies.
    """
    if mountinfo is None:
        # The v2 hierarchy at its usual place makes the rest uninteresting, and a host with many containers
        # has a mount table that takes the kernel a millisecond to print.
        if posix.access(CGROUP2 + "/cgroup.controllers", posix.F_OK):
            return Layout("v2", [], CGROUP2)
        with open("/proc/self/mountinfo", "rb", buffering=0) as table:
            mountinfo = table.read()
    found: "dict[bytes, tuple[bool, str, tuple[str, ...]]]" = {}
    end = 0
    while (mark := mountinfo.find(b" - cgroup", end)) >= 0:
        start = mountinfo.rfind(b"\n", 0, mark) + 1
        end = mountinfo.find(b"\n", mark)
        if end < 0:
            end = len(mountinfo)
        _note(mountinfo[start:end], mark - start, found)
    unified = None
    hierarchies = []
    for _, point, controllers in found.values():
        if controllers:
            hierarchies.append((point, controllers))
        else:
            unified = point
    if unified and (unified == CGROUP2 or not hierarchies):
        # A v1 hierarchy beside it (some VPN programs mount net_cls) doesn't make the host a hybrid one.
        return Layout("v2", [], unified)
    return Layout("hybrid" if unified else "v1", hierarchies, unified)


def _note(line: bytes, dash: int, found: "dict[bytes, tuple[bool, str, tuple[str, ...]]]") -> None:
    """Adds the cgroup mount of a mountinfo line, unless a better mount of the same hierarchy is known."""
    mount = line[:dash].split(b" ")
    filesystem = line[dash + 3 :].split(b" ")
    if len(mount) < 6 or len(filesystem) < 3:
        return
    device, root, point = mount[2:5]
    # "/..": a mount from outside of our cgroup namespace; what we'd make there isn't below ourselves.
    if root.startswith(b"/.."):
        return
    controllers: "tuple[str, ...]" = ()
    if filesystem[0] == b"cgroup":
        options = filesystem[-1].split(b",")
        controllers = tuple(
            option.decode("utf-8", "surrogateescape")
            for option in options
            if option in CONTROLLERS or option.startswith(b"name=")
        )
        if not controllers:
            return
    elif filesystem[0] != b"cgroup2":
        return
    whole = root == b"/"
    if device not in found or (whole and not found[device][0]):
        found[device] = (whole, unescaped(point), controllers)


def unescaped(point: bytes) -> str:
    """A path of mountinfo, whose blanks, newlines and backslashes are written in octal."""
    if b"\\" in point:
        head, *rest = point.split(b"\\")
        point = head + b"".join(bytes([int(part[:3], 8) & 255]) + part[3:] for part in rest)
    return point.decode("utf-8", "surrogateescape")


def resolve(cgroups_path: "str | None", container_id: str) -> str:
    """Where a container goes below each hierarchy's mount point: "/pyoci/ID", with the leading slash.

    Arguments:
        cgroups_path: linux.cgroupsPath. Absolute: below the mount point; relative: below /pyoci; None or "":
            /pyoci/ID.

    Raises ConfigError for a path that could lead elsewhere (runtime-spec, config-linux.md, Cgroups Path).
    """
    if not cgroups_path:
        return f"{OWN_PARENT}/{container_id}"
    parts = cgroups_path.split("/")
    absolute = parts[0] == ""
    if absolute:
        del parts[0]
    wrong = None
    if not cgroups_path.isprintable():
        wrong = "it has a character that isn't printable"
    elif ".." in parts or "." in parts:
        wrong = "it has a part that is '.' or '..'"
    elif "" in parts:
        wrong = "it has an empty part" if parts != [""] else "the root cgroup can't be a container's"
    if wrong:
        message = f"{cgroups_path!r} isn't a usable cgroup path: {wrong}"
        raise ConfigError([Problem("/linux/cgroupsPath", message)])
    return ("/" if absolute else OWN_PARENT + "/") + "/".join(parts)
