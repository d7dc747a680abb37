"""How the kernel serves the program -> steps: process.scheduler, process.ioPriority, linux.memoryPolicy and
linux.personality (config.md, "Linux Process"; config-linux.md, "Memory policy", "Personality").

Imported only for a config that has one of them.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyoci.plan.compile import Compilation
    from pyoci.plan.plan import Plan

# linux/sched.h
POLICIES = {
    "SCHED_OTHER": 0,
    "SCHED_FIFO": 1,
    "SCHED_RR": 2,
    "SCHED_BATCH": 3,
    "SCHED_IDLE": 5,
    "SCHED_DEADLINE": 6,
}
SCHEDULER_FLAGS = {
    "SCHED_FLAG_RESET_ON_FORK": 0x01,
    "SCHED_FLAG_RECLAIM": 0x02,
    "SCHED_FLAG_DL_OVERRUN": 0x04,
    "SCHED_FLAG_KEEP_POLICY": 0x08,
    "SCHED_FLAG_KEEP_PARAMS": 0x10,
    "SCHED_FLAG_UTIL_CLAMP_MIN": 0x20,
    "SCHED_FLAG_UTIL_CLAMP_MAX": 0x40,
}
# linux/ioprio.h
IO_CLASSES = {"IOPRIO_CLASS_RT": 1, "IOPRIO_CLASS_BE": 2, "IOPRIO_CLASS_IDLE": 3}
IO_CLASS_SHIFT = 13
# linux/mempolicy.h; the last is Linux 6.9's.
MEMORY_MODES = {
    "MPOL_DEFAULT": 0,
    "MPOL_PREFERRED": 1,
    "MPOL_BIND": 2,
    "MPOL_INTERLEAVE": 3,
    "MPOL_LOCAL": 4,
    "MPOL_PREFERRED_MANY": 5,
    "MPOL_WEIGHTED_INTERLEAVE": 6,
}
MEMORY_FLAGS = {
    "MPOL_F_NUMA_BALANCING": 1 << 13,
    "MPOL_F_RELATIVE_NODES": 1 << 14,
    "MPOL_F_STATIC_NODES": 1 << 15,
}
# linux/personality.h
PERSONALITIES = {"LINUX": 0x0000, "LINUX32": 0x0008}


def compile_scheduling(context: "Compilation", plan: "Plan") -> None:
    """All of them, while the capability that they may take (CAP_SYS_NICE) is still there."""
    process = context.process or {}
    scheduler, io, memory = (
        process.get("scheduler"),
        process.get("ioPriority"),
        context.linux.get("memoryPolicy"),
    )
    if scheduler:
        plan.add(
            "set-scheduler",
            "/process/scheduler",
            POLICIES[scheduler["policy"]],
            _bits(SCHEDULER_FLAGS, scheduler.get("flags")),
            (scheduler.get("nice") or 0) & 0xFFFFFFFF,
            scheduler.get("priority") or 0,
            scheduler.get("runtime") or 0,
            scheduler.get("deadline") or 0,
            scheduler.get("period") or 0,
        )
    if io:
        value = IO_CLASSES[io["class"]] << IO_CLASS_SHIFT | (io.get("priority") or 0)
        plan.add("set-io-priority", "/process/ioPriority", value)
    if memory:
        mode = MEMORY_MODES[memory["mode"]] | _bits(MEMORY_FLAGS, memory.get("flags"))
        plan.add("set-memory-policy", "/linux/memoryPolicy", mode, node_mask(memory.get("nodes") or ""))
    domain = (context.linux.get("personality") or {}).get("domain")
    if domain:
        plan.add("set-personality", "/linux/personality", PERSONALITIES[domain])


def numbers(text: str) -> "set[int]":
    """The numbers of a list such as 0-3,7 (cpuset(7), "List format")."""
    found: "set[int]" = set()
    for part in text.split(",") if text else ():
        first, _, last = part.partition("-")
        found.update(range(int(first), int(last or first) + 1))
    return found


def node_mask(nodes: str) -> bytes:
    """The nodes of a list such as 0-3,7 as the kernel's bit mask, in whole longs of 8 bytes, the lowest first."""
    mask = 0
    for part in nodes.split(",") if nodes else ():
        first, _, last = part.partition("-")
        mask |= (1 << int(last or first) + 1) - (1 << int(first))
    return mask.to_bytes((mask.bit_length() + 63) // 64 * 8, "little")


def _bits(table: "dict[str, int]", names: "list[str] | None") -> int:
    bits = 0
    for name in names or ():
        bits |= table[name]
    return bits
