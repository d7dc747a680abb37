"""linux.resources -> what is written where, cgroup v1."""

from pyoci.errors import ConfigError, Problem

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from pyoci.cgroups.limits import Write

    Read = Callable[[str, str], str | None]

RESOURCES = "/linux/resources/"
# Section, then in the order of writing: property, controller, files of which the first that is there is meant
# (a last "" says that none has to be), and whether 0 means that nothing is wanted (the engines send
# `"shares": 0`).
PROPERTIES = {
    "memory": (
        ("limit", "memory", ("memory.limit_in_bytes",), True),
        ("swap", "memory", ("memory.memsw.limit_in_bytes",), True),
        ("reservation", "memory", ("memory.soft_limit_in_bytes",), True),
        ("kernel", "memory", ("memory.kmem.limit_in_bytes",), True),
        ("kernelTCP", "memory", ("memory.kmem.tcp.limit_in_bytes",), True),
        ("swappiness", "memory", ("memory.swappiness",), False),
        ("disableOOMKiller", "memory", ("memory.oom_control",), False),
        ("useHierarchy", "memory", ("memory.use_hierarchy",), False),
    ),
    "cpu": (
        ("shares", "cpu", ("cpu.shares",), True),
        ("idle", "cpu", ("cpu.idle",), False),
        ("period", "cpu", ("cpu.cfs_period_us",), True),
        ("quota", "cpu", ("cpu.cfs_quota_us",), True),
        ("burst", "cpu", ("cpu.cfs_burst_us",), False),
        ("realtimePeriod", "cpu", ("cpu.rt_period_us",), True),
        ("realtimeRuntime", "cpu", ("cpu.rt_runtime_us",), False),
        ("cpus", "cpuset", ("cpuset.cpus",), False),
        ("mems", "cpuset", ("cpuset.mems",), False),
    ),
    "pids": (("limit", "pids", ("pids.max",), False),),
    "blockIO": (
        ("weight", "blkio", ("blkio.weight", "blkio.bfq.weight"), True),
        ("leafWeight", "blkio", ("blkio.leaf_weight",), True),
    ),
    "network": (("classID", "net_cls", ("net_cls.classid",), False),),
}
DEVICE_WEIGHTS = (
    ("weight", ("blkio.weight_device", "blkio.bfq.weight_device")),
    ("leafWeight", ("blkio.leaf_weight_device",)),
)
THROTTLES = (
    ("throttleReadBpsDevice", ("blkio.throttle.read_bps_device",)),
    ("throttleWriteBpsDevice", ("blkio.throttle.write_bps_device",)),
    ("throttleReadIOPSDevice", ("blkio.throttle.read_iops_device",)),
    ("throttleWriteIOPSDevice", ("blkio.throttle.write_iops_device",)),
)


def limits(resources: "dict[str, Any]", read: "Read") -> "list[Write]":
    """What is to be written for linux.resources (without its devices), in order.

    Arguments:
        resources: the validated linux.resources.
        read: (controller, file) -> the file's contents now, None if it isn't there.

    Raises ConfigError for what v1 doesn't have, and for a page size that can't be one.
    """
    writes: "list[Write]" = []
    for section, properties in PROPERTIES.items():
        values = resources.get(section)
        if not values:
            continue
        for name, controller, files, zero_is_unset in properties:
            value = values.get(name)
            if value is not None and (value or not zero_is_unset):
                writes.append((f"{RESOURCES}{section}/{name}", controller, files, _text(section, value)))
    memory = resources.get("memory")
    if memory:
        _memory(memory, read, writes)
    if resources.get("blockIO"):
        _block_io(resources["blockIO"], writes)
    for number, limit in enumerate(resources.get("hugepageLimits") or ()):
        _hugepages(f"{RESOURCES}hugepageLimits/{number}", limit, writes)
    network = resources.get("network") or {}
    for number, priority in enumerate(network.get("priorities") or ()):
        pointer = f"{RESOURCES}network/priorities/{number}"
        line = f"{priority['name']} {priority['priority']}"
        writes.append((pointer, "net_prio", ("net_prio.ifpriomap",), line))
    for device, limit in (resources.get("rdma") or {}).items():
        writes.append((f"{RESOURCES}rdma/{device}", "rdma", ("rdma.max",), rdma_line(device, limit)))
    if resources.get("unified"):
        message = "needs cgroup v2, and this host has v1; use the other properties of linux.resources"
        raise ConfigError([Problem(RESOURCES + "unified", message)])
    return writes


def _text(section: str, value: "int | str | bool") -> str:
    if isinstance(value, bool):
        return "1" if value else "0"
    if section == "pids" and isinstance(value, int) and value < 0:
        return "max"
    return str(value)


def _memory(memory: "dict[str, Any]", read: "Read", writes: "list[Write]") -> None:
    limit = memory.get("limit")
    if limit and memory.get("checkBeforeUpdate"):
        check_usage(limit, read("memory", "memory.usage_in_bytes"))
    if limit == -1 and not memory.get("swap"):
        # memory+swap can't be below memory: unlimited memory takes both.
        pointer = RESOURCES + "memory/limit"
        writes.append((pointer, "memory", ("memory.memsw.limit_in_bytes", ""), "-1"))


def check_usage(limit: int, usage: "str | None") -> None:
    """memory.checkBeforeUpdate: raises ConfigError if a new limit (bytes) is below what is in use."""
    if usage and 0 <= limit < int(usage):
        message = f"{limit} is below the {int(usage)} bytes in use, and checkBeforeUpdate is set"
        raise ConfigError([Problem(RESOURCES + "memory/limit", message)])


def _block_io(block: "dict[str, Any]", writes: "list[Write]") -> None:
    for number, device in enumerate(block.get("weightDevice") or ()):
        for name, files in DEVICE_WEIGHTS:
            if device.get(name):
                pointer = f"{RESOURCES}blockIO/weightDevice/{number}/{name}"
                writes.append(
                    (pointer, "blkio", files, f"{device['major']}:{device['minor']} {device[name]}")
                )
    for name, files in THROTTLES:
        for number, device in enumerate(block.get(name) or ()):
            pointer = f"{RESOURCES}blockIO/{name}/{number}"
            writes.append((pointer, "blkio", files, f"{device['major']}:{device['minor']} {device['rate']}"))


def _hugepages(pointer: str, limit: "dict[str, Any]", writes: "list[Write]") -> None:
    size, value = page_size(pointer, limit), str(limit["limit"])
    # The limit on reservations is what the specification means (a page fault over the other one is a SIGBUS),
    # but not every kernel has it, and tools read the older file.
    writes.append((pointer, "hugetlb", (f"hugetlb.{size}.rsvd.limit_in_bytes", ""), value))
    writes.append((pointer, "hugetlb", (f"hugetlb.{size}.limit_in_bytes",), value))


def page_size(pointer: str, limit: "dict[str, Any]") -> str:
    """The page size of a hugepageLimits entry, a part of a file's name; ConfigError if it isn't one."""
    size: str = limit["pageSize"]
    if size[-2:] in ("KB", "MB", "GB") and size[:-2].isascii() and size[:-2].isdigit():
        return size
    raise ConfigError([Problem(pointer + "/pageSize", f'{size!r} is not a page size such as "2MB"')])


def rdma_line(device: str, limit: "dict[str, Any]") -> str:
    """A line of rdma.max, the same on v1 and v2."""
    names = (("hcaHandles", "hca_handle"), ("hcaObjects", "hca_object"))
    return " ".join([device, *(f"{key}={limit[name]}" for name, key in names if name in limit)])
