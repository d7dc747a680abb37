"""What a container uses, in the form of runc's `events`: what containerd's metrics and people's scripts read.

The names are runc's. A figure whose file isn't there is left out, or 0 where runc always prints it.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyoci.cgroups.tree import Cgroups

    Stats = dict[str, Any]

UNLIMITED = 2**64 - 1
TICK_NS = 10_000_000  # USER_HZ is 100 on every architecture that Linux shows to programs today.
# The name in the statistics, and the v1 files' beginning.
MEMORY = (
    ("usage", "memory."),
    ("swap", "memory.memsw."),
    ("kernel", "memory.kmem."),
    ("kernelTCP", "memory.kmem.tcp."),
)
BLOCK_IO = (
    (
        "ioServiceBytesRecursive",
        ("blkio.bfq.io_service_bytes_recursive", "blkio.throttle.io_service_bytes_recursive"),
    ),
    ("ioServicedRecursive", ("blkio.bfq.io_serviced_recursive", "blkio.throttle.io_serviced_recursive")),
    ("ioQueueRecursive", ("blkio.bfq.io_queued_recursive", "blkio.io_queued_recursive")),
    ("ioServiceTimeRecursive", ("blkio.bfq.io_service_time_recursive", "blkio.io_service_time_recursive")),
    ("ioWaitTimeRecursive", ("blkio.bfq.io_wait_time_recursive", "blkio.io_wait_time_recursive")),
    ("ioMergedRecursive", ("blkio.bfq.io_merged_recursive", "blkio.io_merged_recursive")),
    ("ioTimeRecursive", ("blkio.bfq.time_recursive", "blkio.time_recursive")),
    ("sectorsRecursive", ("blkio.bfq.sectors_recursive", "blkio.sectors_recursive")),
)
# The key in v2's io.stat, the list it goes to, and what runc calls the operation.
IO_STAT = (
    ("rbytes", "ioServiceBytesRecursive", "Read"),
    ("wbytes", "ioServiceBytesRecursive", "Write"),
    ("dbytes", "ioServiceBytesRecursive", "Discard"),
    ("rios", "ioServicedRecursive", "Read"),
    ("wios", "ioServicedRecursive", "Write"),
    ("dios", "ioServicedRecursive", "Discard"),
)
# Of any v2 cgroup, whatever its controllers are.
PRESSURE = (("cpu", "cpu.pressure"), ("memory", "memory.pressure"), ("blkio", "io.pressure"))
CPUSET_FLAGS = (
    ("cpu_exclusive", "cpuset.cpu_exclusive"),
    ("mem_hardwall", "cpuset.mem_hardwall"),
    ("mem_exclusive", "cpuset.mem_exclusive"),
    ("memory_migrate", "cpuset.memory_migrate"),
    ("memory_spread_page", "cpuset.memory_spread_page"),
    ("memory_spread_slab", "cpuset.memory_spread_slab"),
    ("memory_pressure", "cpuset.memory_pressure"),
    ("sched_load_balance", "cpuset.sched_load_balance"),
    ("sched_relax_domain_level", "cpuset.sched_relax_domain_level"),
)


def stats(groups: "Cgroups") -> "Stats":
    """The `data` of a stats event (runc's types.Stats)."""
    found: "Stats" = {
        "cpu": _cpu_v2(groups) if groups.in_v2("cpu") else _cpu_v1(groups),
        "cpuset": _cpuset(groups),
        "memory": _memory_v2(groups) if groups.in_v2("memory") else _memory_v1(groups),
        "pids": _pids(groups),
        "blkio": _io_v2(groups) if groups.in_v2("io") else _io_v1(groups),
        "hugetlb": _hugetlb(groups),
        "intel_rdt": {},
        "network_interfaces": None,
    }
    for name, file in PRESSURE:
        text = groups.read("unified", file)
        if text:
            found[name]["psi"] = _pressure(text)
    return found


def _number(groups: "Cgroups", controller: str, file: str) -> int:
    """A file's number; "max" is the largest that Go's uint64 has, and no file is 0."""
    text = (groups.read(controller, file) or "0").strip()
    if text == "max":
        return UNLIMITED
    return int(text) if text.lstrip("-").isdigit() else 0


def _keyed(text: "str | None") -> "dict[str, int]":
    """The numbers of a flat keyed file."""
    pairs = (line.split() for line in (text or "").splitlines())
    return {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2 and pair[1].isdigit()}


def _cpu_v1(groups: "Cgroups") -> "Stats":
    usage: "Stats" = {"total": _number(groups, "cpuacct", "cpuacct.usage")}
    per_cpu = (groups.read("cpuacct", "cpuacct.usage_percpu") or "").split()
    if per_cpu:
        usage["percpu"] = [int(each) for each in per_cpu]
    rows = [line.split() for line in (groups.read("cpuacct", "cpuacct.usage_all") or "").splitlines()[1:]]
    if rows:
        usage["percpu_kernel"] = [int(row[2]) for row in rows]
        usage["percpu_user"] = [int(row[1]) for row in rows]
    split = _keyed(groups.read("cpuacct", "cpuacct.stat"))
    usage["kernel"] = split.get("system", 0) * TICK_NS
    usage["user"] = split.get("user", 0) * TICK_NS
    return {
        "usage": usage,
        "throttling": _throttling(_keyed(groups.read("cpu", "cpu.stat")), "throttled_time", 1),
    }


def _cpu_v2(groups: "Cgroups") -> "Stats":
    read = _keyed(groups.read("cpu", "cpu.stat"))
    usage = {
        "total": read.get("usage_usec", 0) * 1000,
        "kernel": read.get("system_usec", 0) * 1000,
        "user": read.get("user_usec", 0) * 1000,
    }
    return {"usage": usage, "throttling": _throttling(read, "throttled_usec", 1000)}


def _throttling(read: "dict[str, int]", time_key: str, factor: int) -> "Stats":
    figures = {
        "periods": read.get("nr_periods", 0),
        "throttledPeriods": read.get("nr_throttled", 0),
        "throttledTime": read.get(time_key, 0) * factor,
    }
    return {name: value for name, value in figures.items() if value}


def _cpuset(groups: "Cgroups") -> "Stats":
    found: "Stats" = {}
    for name, file in (("cpus", "cpuset.cpus"), ("mems", "cpuset.mems")):
        # v2 lets its own list be empty: it has its parent's then.
        text = (groups.read("cpuset", file) or "").strip() or groups.read("cpuset", f"{file}.effective")
        listed = _listed(text or "")
        if listed:
            found[name] = listed
    for name, file in CPUSET_FLAGS:
        found[name] = _number(groups, "cpuset", file)
    return found


def _listed(text: str) -> "list[int]":
    """The numbers of a list such as 0-3,7 (cpuset(7))."""
    numbers: "list[int]" = []
    for part in text.strip().split(","):
        first, _, last = part.partition("-")
        if first:
            numbers += range(int(first), int(last or first) + 1)
    return numbers


def _memory_v1(groups: "Cgroups") -> "Stats":
    raw = _keyed(groups.read("memory", "memory.stat"))
    found: "Stats" = {"cache": raw.get("cache", 0), "raw": raw}
    for name, start in MEMORY:
        limit = groups.read("memory", start + "limit_in_bytes")
        found[name] = {"limit": int(limit) if limit else 0} | {
            figure: _number(groups, "memory", start + file)
            for figure, file in (
                ("usage", "usage_in_bytes"),
                ("max", "max_usage_in_bytes"),
                ("failcnt", "failcnt"),
            )
        }
    return found


def _memory_v2(groups: "Cgroups") -> "Stats":
    raw = _keyed(groups.read("memory", "memory.stat"))
    events = _keyed(groups.read("memory", "memory.events"))
    usage = {
        "limit": _number(groups, "memory", "memory.max"),
        "usage": _number(groups, "memory", "memory.current"),
        "max": _number(groups, "memory", "memory.peak"),
        "failcnt": events.get("max", 0),
    }
    swapped = _number(groups, "memory", "memory.swap.current")
    limit = _number(groups, "memory", "memory.swap.max")
    # v1's figures are those of memory and swap together, and so are runc's.
    swap = {
        "limit": UNLIMITED if UNLIMITED in (limit, usage["limit"]) else limit + usage["limit"],
        "usage": swapped + usage["usage"],
        "failcnt": _keyed(groups.read("memory", "memory.swap.events")).get("max", 0),
    }
    none = {"limit": 0, "failcnt": 0}
    return {
        "cache": raw.get("file", 0),
        "usage": usage,
        "swap": swap,
        "kernel": dict(none),
        "kernelTCP": dict(none),
        "raw": raw,
    }


def _pids(groups: "Cgroups") -> "Stats":
    figures = {"current": _number(groups, "pids", "pids.current")}
    limit = (groups.read("pids", "pids.max") or "max").strip()
    if limit != "max":
        figures["limit"] = int(limit)
    return figures


def _io_v1(groups: "Cgroups") -> "Stats":
    found = {}
    for name, files in BLOCK_IO:
        text = next((text for file in files if (text := groups.read("blkio", file))), None)
        rows = [line.replace(":", " ").split() for line in (text or "").splitlines()]
        entries = [
            _entry(row[0], row[1], row[2] if len(row) > 3 else "", row[-1]) for row in rows if len(row) > 2
        ]
        if entries:
            found[name] = entries
    return found


def _io_v2(groups: "Cgroups") -> "Stats":
    found: "Stats" = {}
    for line in (groups.read("io", "io.stat") or "").splitlines():
        device, *pairs = line.split()
        major, _, minor = device.partition(":")
        values = dict(pair.partition("=")[::2] for pair in pairs)
        for key, name, operation in IO_STAT:
            if key in values:
                found.setdefault(name, []).append(_entry(major, minor, operation, values[key]))
    return found


def _entry(major: str, minor: str, operation: str, value: str) -> "Stats":
    figures: "Stats" = {"major": int(major), "minor": int(minor), "value": int(value)}
    return {"op": operation} | figures if operation else figures


def _hugetlb(groups: "Cgroups") -> "Stats":
    import posix

    directory = groups.directory("hugetlb")
    found: "Stats" = {}
    try:
        names = posix.listdir(directory) if directory else []
    except OSError:
        names = []
    v2 = groups.in_v2("hugetlb")
    current, peak = ("current", "") if v2 else ("usage_in_bytes", "max_usage_in_bytes")
    for size in sorted({name.split(".")[1] for name in names if name.startswith("hugetlb.")}):
        start = f"hugetlb.{size}."
        # The limit is on reservations where the kernel has that.
        reserved = start + "rsvd."
        base = reserved if reserved + current in names else start
        failures = groups.read("hugetlb", start + "events") if v2 else None
        failed = _keyed(failures).get("max", 0) if failures else _number(groups, "hugetlb", base + "failcnt")
        found[size] = {"usage": _number(groups, "hugetlb", base + current), "failcnt": failed}
        if peak:
            found[size]["max"] = _number(groups, "hugetlb", base + peak)
    return found


def _pressure(text: str) -> "Stats":
    """Pressure stall information (Documentation/accounting/psi.rst)."""
    found: "Stats" = {}
    for line in text.splitlines():
        kind, *pairs = line.split()
        values = dict(pair.partition("=")[::2] for pair in pairs)
        found[kind] = {name: float(values[name]) for name in ("avg10", "avg60", "avg300")}
        found[kind]["total"] = int(values["total"])
    return found
