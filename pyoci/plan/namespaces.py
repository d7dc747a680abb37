"""linux.namespaces, the mappings and the names that live in them -> steps (config-linux.md, "Namespaces")."""

from pyoci.plan.plan import CGROUPS
from pyoci.spec import rules

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyoci.plan.compile import Compilation
    from pyoci.plan.plan import Plan

# The type's CLONE_NEW* bit (linux/sched.h) and its name under /proc/PID/ns. The order is that of joining; the mount
# namespace last, since paths change with it.
NAMESPACES = {
    "user": (0x10000000, "user"),
    "cgroup": (0x02000000, "cgroup"),
    "ipc": (0x08000000, "ipc"),
    "uts": (0x04000000, "uts"),
    "network": (0x40000000, "net"),
    "pid": (0x20000000, "pid"),
    "time": (0x00000080, "time"),
    "mount": (0x00020000, "mnt"),
}
CGROUP = NAMESPACES["cgroup"][0]
# csrc/namespaces.c
IF_ALLOWED = 1
# What clone3(2) makes; the cgroup namespace's root is the cgroup that its maker is in, so that is made after joining, and a
# time namespace has to get its offsets before anybody is in it.
AT_BIRTH = ("ipc", "uts", "network", "pid", "mount")
CLOCKS = ("monotonic", "boottime")


def read(config: "dict[str, object]") -> "dict[str, tuple[str, str]]":
    """The namespaces of a config: type -> (path or "" for a new one, JSON pointer)."""
    linux: "dict[str, object]" = config.get("linux") or {}  # type: ignore[assignment]
    listed: "list[dict[str, str]]" = linux.get("namespaces") or []  # type: ignore[assignment]
    return {
        entry["type"]: (entry.get("path") or "", f"/linux/namespaces/{i}") for i, entry in enumerate(listed)
    }


def compile_birth(context: "Compilation", plan: "Plan") -> None:
    """Which namespaces the init is born in. With a user namespace in none: they have to belong to that."""
    if "user" in context.namespaces:
        return
    plan.new_namespaces = _new_bits(context)
    path, origin = context.namespaces.get("pid", ("", ""))
    if path:
        plan.slot("namespace:pid", path, origin + "/path")
        plan.pid_namespace = plan.slots[-1]


def compile_entry(context: "Compilation", plan: "Plan") -> None:
    """Join what has a path, and make what couldn't be made at birth."""
    if "user" in context.namespaces:
        _compile_user_entry(context, plan)
    else:
        for kind in _joined(context):
            if kind != "pid":
                _compile_join(context, plan, kind, _slot(context, plan, kind), 0)
        _compile_time(context, plan)


def compile_cgroup(context: "Compilation", plan: "Plan") -> None:
    """A new cgroup namespace, whose root is the cgroup that we are in now."""
    if is_new(context, "cgroup"):
        plan.add("unshare", context.namespaces["cgroup"][1], CGROUP)


def compile_late_cgroup(context: "Compilation", plan: "Plan") -> None:
    """From here on the init has to be in its cgroups: called before each step that could be the first to show it."""
    if context.joins_late and not any(
        step.name == "ask-host" and step.arguments == (CGROUPS,) for step in plan.steps
    ):
        plan.add("ask-host", "/linux/cgroupsPath", CGROUPS)
        compile_cgroup(context, plan)


def _compile_user_entry(context: "Compilation", plan: "Plan") -> None:
    """The user namespace first, since everything new must belong to it. What belongs to the host's can only be joined
    before it, what belongs to it only after it, so each is tried twice."""
    path, origin = context.namespaces["user"]
    if is_new(context, "mount"):
        plan.add("go-to-root", "/root/path", context.root_path)
    others = {kind: _slot(context, plan, kind) for kind in _joined(context) if kind != "user"}
    for kind, slot in others.items():
        _compile_join(context, plan, kind, slot, IF_ALLOWED)
    if path:
        _compile_join(context, plan, "user", _slot(context, plan, "user"), 0)
    else:
        plan.id_maps = (
            map_lines(context.linux.get("uidMappings") or ()),
            map_lines(context.linux.get("gidMappings") or ()),
        )
        plan.add("make-user-namespace", origin)
    plan.add("assume-root", origin, context.user["uid"], context.user["gid"])
    for kind, slot in others.items():
        _compile_join(context, plan, kind, slot, 0)
    _compile_time(context, plan)
    if "pid" in context.namespaces or _new_bits(context):
        plan.add("fork", "/linux/namespaces", _new_bits(context))


def _compile_join(context: "Compilation", plan: "Plan", kind: str, slot: int, flags: int) -> None:
    path, origin = context.namespaces[kind]
    plan.add("join-namespace", origin + "/path", slot, NAMESPACES[kind][0], path, flags)


def _compile_time(context: "Compilation", plan: "Plan") -> None:
    if is_new(context, "time"):
        offsets = context.linux.get("timeOffsets") or {}
        lines = "".join(
            f"{clock} {offsets[clock].get('secs') or 0} {offsets[clock].get('nanosecs') or 0}\n"
            for clock in CLOCKS
            if offsets.get(clock)
        )
        origin = "/linux/timeOffsets" if lines else context.namespaces["time"][1]
        plan.add("make-time-namespace", origin, lines)


def is_new(context: "Compilation", kind: str) -> bool:
    """Whether the container has a namespace of its own, made for it."""
    return kind in context.namespaces and not context.namespaces[kind][0]


def _new_bits(context: "Compilation") -> int:
    return sum(NAMESPACES[kind][0] for kind in AT_BIRTH if is_new(context, kind))


def _joined(context: "Compilation") -> "list[str]":
    return [kind for kind in NAMESPACES if context.namespaces.get(kind, ("",))[0]]


def _slot(context: "Compilation", plan: "Plan", kind: str) -> int:
    path, origin = context.namespaces[kind]
    return plan.slot(f"namespace:{kind}", path, origin + "/path")


def map_lines(mappings: "Sequence[dict[str, int]]") -> str:
    """The lines of /proc/PID/uid_map, user_namespaces(7)."""
    return "".join(f"{each['containerID']} {each['hostID']} {each['size']}\n" for each in mappings)


def compile_sysctls(context: "Compilation", plan: "Plan") -> None:
    """linux.sysctl; the rules have made sure that each belongs to a namespace of the container's."""
    for name, value in (context.linux.get("sysctl") or {}).items():
        plan.add("set-sysctl", f"/linux/sysctl/{rules.escape(name)}", rules.sysctl_path(name), value)


def compile_loopback(context: "Compilation", plan: "Plan") -> None:
    """In a new network namespace the loopback device is down; every program expects it to be up."""
    if is_new(context, "network"):
        plan.add("bring-up-loopback", context.namespaces["network"][1])


def compile_names(context: "Compilation", plan: "Plan") -> None:
    """hostname and domainname."""
    for name in ("hostname", "domainname"):
        value = context.config.get(name)
        if value:
            plan.add(f"set-{name}", f"/{name}", value)
