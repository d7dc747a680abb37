"""linux.resources -> what is written where, cgroup v2.

Its values are v1's: what v2 says otherwise is converted, and what v2 can't say is an error (runtime-spec,
config-linux.md, Unified).
"""

import posix

from pyoci.errors import ConfigError, Problem

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from pyoci.cgroups.limits import Write

    Read = Callable[[str, str], str | None]

RESOURCES = "/linux/resources/"
DELEGATE = "/sys/kernel/cgroup/delegate"
DELEGATED = "cgroup.procs\ncgroup.subtree_control\ncgroup.threads\n"


def _number(value: int) -> str:
    """-1 is unlimited."""
    return "max" if value < 0 else str(value)


def weight_of_shares(shares: int) -> int:
    """cpu.weight of cpu.shares: 2 -> 1, the default 1024 -> the default 100, 262144 -> 10000.

    A quadratic through the three in the logarithms, as crun 1.23 and runc 1.3.2 have it; the linear map of
    before made 39 of the default.
    """
    if shares <= 2:
        return 1
    if shares >= 262144:
        return 10000
    from math import ceil, log2

    exponent = log2(shares)
    return ceil(10 ** ((exponent * exponent + 125 * exponent) / 612 - 7 / 34))


def io_weight(weight: int) -> int:
    """io.weight (1 to 10000) of blkio.weight (10 to 1000)."""
    return 1 + (max(weight, 10) - 10) * 9999 // 990


# Section, then in the order of writing: property, controller, file, conversion, and whether 0 means that
# nothing is wanted (the engines send `"shares": 0`).
PROPERTIES: "dict[str, tuple[tuple[str, str, str, Callable[[Any], object], bool], ...]]" = {
    "memory": (
        ("limit", "memory", "memory.max", _number, True),
        ("reservation", "memory", "memory.low", _number, True),
        # No kernel has these files in v2; `limits` says so.
        ("kernel", "memory", "memory.kmem.limit_in_bytes", _number, True),
        ("kernelTCP", "memory", "memory.kmem.tcp.limit_in_bytes", _number, True),
    ),
    "cpu": (
        ("shares", "cpu", "cpu.weight", weight_of_shares, True),
        ("idle", "cpu", "cpu.idle", str, False),
        ("burst", "cpu", "cpu.max.burst", str, False),
        ("cpus", "cpuset", "cpuset.cpus", str, False),
        ("mems", "cpuset", "cpuset.mems", str, False),
    ),
    "pids": (("limit", "pids", "pids.max", _number, False),),
}
# Section, property, the values that ask for nothing, what to do instead.
MISSING: "tuple[tuple[str, str, tuple[Any, ...], str], ...]" = (
    ("memory", "swappiness", (), "v2 has it for the whole machine only: vm.swappiness"),
    ("memory", "disableOOMKiller", (False,), "v2 can slow down instead of kill: unified memory.high"),
    ("memory", "useHierarchy", (True,), "v2 is always hierarchical"),
    ("cpu", "realtimeRuntime", (0,), "v2 doesn't limit realtime tasks"),
    ("cpu", "realtimePeriod", (0,), "v2 doesn't limit realtime tasks"),
    ("blockIO", "leafWeight", (0,), "use blockIO.weight"),
    ("network", "classID", (0,), "match the cgroup's path in nftables or eBPF"),
    ("network", "priorities", ([],), "match the cgroup's path in nftables or eBPF"),
)
THROTTLES = (
    ("throttleReadBpsDevice", "rbps"),
    ("throttleWriteBpsDevice", "wbps"),
    ("throttleReadIOPSDevice", "riops"),
    ("throttleWriteIOPSDevice", "wiops"),
)


def limits(resources: "dict[str, Any]", read: "Read") -> "list[Write]":
    """What is to be written for linux.resources (without its devices), in order.

    Arguments:
        resources: the validated linux.resources.
        read: (controller, file) -> the file's contents now, None if it isn't there.

    Raises ConfigError for what v2 can't do, and for values that contradict each other.
    """
    writes: "list[Write]" = []
    for section, name, nothing, instead in MISSING:
        value = (resources.get(section) or {}).get(name)
        if value is not None and value not in nothing:
            message = f"cgroup v2, which this host has, can't do this: {instead}"
            raise ConfigError([Problem(f"{RESOURCES}{section}/{name}", message)])
    for section, properties in PROPERTIES.items():
        values = resources.get(section)
        if not values:
            continue
        for name, controller, file, convert, zero_is_unset in properties:
            value = values.get(name)
            if value is not None and (value or not zero_is_unset):
                writes.append((f"{RESOURCES}{section}/{name}", controller, (file,), str(convert(value))))
    if resources.get("memory"):
        _memory(resources["memory"], read, writes)
    if resources.get("cpu"):
        _bandwidth(resources["cpu"], read, writes)
    if resources.get("blockIO"):
        _block_io(resources["blockIO"], read, writes)
    if resources.get("hugepageLimits") or resources.get("rdma"):
        _hugepages_and_rdma(resources, writes)
    for file, text in (resources.get("unified") or {}).items():
        _unified(file, text, writes)
    return writes


def _memory(memory: "dict[str, Any]", read: "Read", writes: "list[Write]") -> None:
    limit, swap = memory.get("limit") or 0, memory.get("swap") or 0
    if limit and memory.get("checkBeforeUpdate"):
        from pyoci.cgroups.v1 import check_usage

        check_usage(limit, read("memory", "memory.current"))
    if limit < 0 and not swap:
        # v1's memory+swap can't be below memory: unlimited memory means unlimited swap.
        writes.append((RESOURCES + "memory/limit", "memory", ("memory.swap.max", ""), "max"))
    if not swap:
        return
    pointer = RESOURCES + "memory/swap"
    if swap < 0:
        writes.append((pointer, "memory", ("memory.swap.max",), "max"))
        return
    if not limit:
        # `update` of swap alone: the limit that is set counts.
        now = (read("memory", "memory.max") or "max").strip()
        limit = int(now) if now != "max" else -1
    if limit < 0:
        raise ConfigError(
            [Problem(pointer, "needs memory.limit: it is the limit of memory and swap together")]
        )
    if swap < limit:
        raise ConfigError([Problem(pointer, f"{swap} is below memory.limit ({limit}), which it includes")])
    # Without swap accounting there is no swap to be used: fine, if none is wanted.
    files = ("memory.swap.max",) if swap > limit else ("memory.swap.max", "")
    writes.append((pointer, "memory", files, str(swap - limit)))


def _bandwidth(cpu: "dict[str, Any]", read: "Read", writes: "list[Write]") -> None:
    """quota and period (microseconds) share a file."""
    quota, period = cpu.get("quota") or 0, cpu.get("period") or 0
    if not quota and not period:
        return
    pointer = RESOURCES + ("cpu/quota" if quota else "cpu/period")
    # A quota alone keeps the period, but a period alone needs the quota said again.
    value = _number(quota) if quota else (read("cpu", "cpu.max") or "max").split()[0]
    writes.append((pointer, "cpu", ("cpu.max",), f"{value} {period}" if period else value))


def _block_io(block: "dict[str, Any]", read: "Read", writes: "list[Write]") -> None:
    bfq = read("io", "io.bfq.weight") is not None
    file = "io.bfq.weight" if bfq else "io.weight"
    weight = block.get("weight")
    if weight:
        line = str(weight) if bfq else f"default {io_weight(weight)}"
        writes.append((RESOURCES + "blockIO/weight", "io", (file,), line))
    for number, device in enumerate(block.get("weightDevice") or ()):
        pointer = f"{RESOURCES}blockIO/weightDevice/{number}"
        if device.get("leafWeight"):
            message = "cgroup v2, which this host has, can't do this: use weight"
            raise ConfigError([Problem(pointer + "/leafWeight", message)])
        weight = device.get("weight")
        if weight:
            line = f"{device['major']}:{device['minor']} {weight if bfq else io_weight(weight)}"
            writes.append((pointer + "/weight", "io", (file,), line))
    for name, key in THROTTLES:
        for number, device in enumerate(block.get(name) or ()):
            # On v1 a rate of 0 takes the limit away.
            line = f"{device['major']}:{device['minor']} {key}={device['rate'] or 'max'}"
            writes.append((f"{RESOURCES}blockIO/{name}/{number}", "io", ("io.max",), line))


def _hugepages_and_rdma(resources: "dict[str, Any]", writes: "list[Write]") -> None:
    from pyoci.cgroups.v1 import page_size, rdma_line

    for number, limit in enumerate(resources.get("hugepageLimits") or ()):
        pointer = f"{RESOURCES}hugepageLimits/{number}"
        size, value = page_size(pointer, limit), str(limit["limit"])
        writes.append((pointer, "hugetlb", (f"hugetlb.{size}.rsvd.max", ""), value))
        writes.append((pointer, "hugetlb", (f"hugetlb.{size}.max",), value))
    for device, limit in (resources.get("rdma") or {}).items():
        writes.append((f"{RESOURCES}rdma/{device}", "rdma", ("rdma.max",), rdma_line(device, limit)))


def _unified(file: str, text: str, writes: "list[Write]") -> None:
    pointer = RESOURCES + "unified/" + file.replace("~", "~0").replace("/", "~1")
    controller, dot, name = file.partition(".")
    if not (controller and dot and name) or "/" in file or not file.isprintable():
        raise ConfigError(
            [Problem(pointer, f'{file!r} is not the name of a control file, such as "memory.high"')]
        )
    # io.max and its like take one line a write.
    for line in text.splitlines() or [""]:
        writes.append((pointer, controller, (file,), line))


def delegate(directory: str, uid: int) -> None:
    """Gives a cgroup to a user of the host: the directory, and the files that the kernel says are safe.

    Raises OSError. (config-linux.md, Cgroup ownership)
    """
    try:
        with open(DELEGATE) as names:
            files = names.read()
    except OSError:
        files = DELEGATED
    posix.chown(directory, uid, -1)
    for file in files.split():
        try:
            posix.chown(f"{directory}/{file}", uid, -1)
        except FileNotFoundError:
            pass
