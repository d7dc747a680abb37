"""Why the kernel refuses a limit, in words. Loaded when one is refused."""

import posix
from errno import EACCES, EBUSY, EINVAL, EIO, ENODEV, ENOENT, ENOTSUP, EPERM, ERANGE, EROFS, errorcode

from pyoci.errors import ConfigError, Problem, cause_of

# By the start of the file's name, "" is any; the first that fits is taken.
CAUSES = (
    (EBUSY, "memory.", "more than that is in use{usage}"),
    (EBUSY, "cpuset.", "it would take what a cgroup below, or an exclusive neighbour, needs"),
    (EINVAL, "memory.limit_in_bytes", "not a size, or above the limit of memory and swap together"),
    (EINVAL, "memory.memsw.", "not a size, or below the memory limit"),
    (EINVAL, "memory.use_hierarchy", "since Linux 5.11 it is always on"),
    (EINVAL, "cpu.cfs_burst_us", "the burst must not exceed the quota"),
    (EINVAL, "cpu.max.burst", "the burst must not exceed the quota"),
    (EINVAL, "cpu.cfs_", "outside of what the kernel and the parent cgroup allow (1 ms to 1 s a period)"),
    (EINVAL, "cpu.max", "outside of what the kernel allows (1 ms to 1 s a period)"),
    (EINVAL, "cpu.rt_", "more realtime than the parent cgroup has left"),
    (EINVAL, "cpu.shares", "a cgroup that is idle has no shares"),
    (EINVAL, "cpu.weight", "a cgroup that is idle has no weight"),
    (EINVAL, "cpuset.", "not a list of CPUs or memory nodes that this machine has"),
    (ERANGE, "cpuset.", "a CPU or memory node that this machine doesn't have"),
    (EACCES, "cpuset.", "the parent cgroup doesn't have all of them"),
    (ENOENT, "memory.memsw.", "the kernel doesn't account for swap (boot it with swapaccount=1)"),
    (ENOENT, "memory.swap.", "the kernel doesn't account for swap (boot it with swapaccount=1)"),
    (ENOENT, "hugetlb.", "no such page size{sizes}"),
    (ENOENT, "", "this kernel doesn't have the file"),
    (ENODEV, "blkio.", "no such block device"),
    (ENODEV, "io.", "no such block device"),
    (ENODEV, "", "no such device"),
    (ENOTSUP, "blkio.", "the device's I/O scheduler can't do it"),
    (ENOTSUP, "io.", "the device's I/O scheduler can't do it"),
    (ENOTSUP, "", "this kernel doesn't support it any more"),
    (EINVAL, "", "the kernel doesn't take that value"),
    (ERANGE, "", "out of range"),
    (EROFS, "", "the cgroup file system is mounted read-only"),
    (EPERM, "", "not permitted (a parent cgroup may forbid it)"),
    (EACCES, "", "not permitted"),
    (EIO, "", "input/output error"),
)


def refused(pointer: str, path: str, value: str, error: OSError) -> ConfigError:
    """The error for a control file that didn't take a value."""
    directory, _, file = path.rpartition("/")
    number = error.errno or 0
    cause = next(
        (words for code, start, words in CAUSES if code == number and file.startswith(start)), cause_of(error)
    )
    words = str(cause).format(usage=_usage(directory), sizes=_page_sizes(directory))
    code = errorcode.get(number, str(number))
    return ConfigError([Problem(pointer, f"can't be set: writing {value!r} to {path}: {words} ({code})")])


def unavailable(pointer: str, controller: str, mode: str) -> ConfigError:
    """The error for a controller that this host doesn't have."""
    if mode == "v2":
        message = f"the {controller} controller isn't available in the root cgroup of this host (cgroup v2)"
    else:
        message = f"the {controller} controller isn't mounted on this host (cgroup v1)"
    return ConfigError([Problem(pointer, message)], hint=_way_to(controller, mode))


def _way_to(controller: str, mode: str) -> str:
    """What could be done about a missing controller (cgroups(7), /proc/cgroups)."""
    known = _known().get("blkio" if controller == "io" else controller)
    if known is None:
        return "this kernel doesn't have the controller (/proc/cgroups): leave the property out"
    hierarchy, enabled = known
    if not enabled:
        return "the kernel was told not to have it: see cgroup_disable= in /proc/cmdline"
    if mode == "v2":
        return (
            "a cgroup v1 hierarchy has it: unmount that"
            if hierarchy
            else "the container or namespace that this runs in hasn't been given it"
        )
    place = f"/sys/fs/cgroup/{controller}"
    return f"`mkdir -p {place} && mount -t cgroup -o {controller} {controller} {place}`"


def _known() -> "dict[str, tuple[bool, bool]]":
    """Each controller of this kernel: whether a v1 hierarchy has it, and whether it is enabled."""
    try:
        with open("/proc/cgroups") as file:
            rows = [line.split() for line in file if not line.startswith("#")]
    except OSError:
        return {}
    return {row[0]: (row[1] != "0", row[3] == "1") for row in rows}


def not_enabled(pointer: str, controllers: "list[str]", directory: str, error: OSError) -> ConfigError:
    """The error for a cgroup whose children can't have a controller."""
    causes = {
        EBUSY: "it has processes of its own; a cgroup with processes can't share controllers out",
        ENOENT: "its own parent doesn't grant it the controller",
        ENOTSUP: "it is a threaded cgroup",
        EINVAL: "the kernel doesn't know the controller",
    }
    number = error.errno or 0
    cause = causes.get(number, cause_of(error))
    names = " ".join(controllers)
    code = errorcode.get(number, str(number))
    message = f"can't enable {names} in {directory}/cgroup.subtree_control: {cause} ({code})"
    return ConfigError([Problem(pointer, message)])


def _usage(directory: str) -> str:
    for file in ("memory.usage_in_bytes", "memory.current"):
        try:
            with open(f"{directory}/{file}") as usage:
                return f": {usage.read().strip()} bytes"
        except OSError:
            continue
    return ""


def _page_sizes(directory: str) -> str:
    try:
        sizes = sorted(
            {name.split(".")[1] for name in posix.listdir(directory) if name.startswith("hugetlb.")}
        )
    except OSError:
        sizes = []
    return "; this machine has " + ", ".join(sizes) if sizes else ""
