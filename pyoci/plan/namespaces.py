"""linux.namespaces, the mappings and the names that live in them -> steps (config-linux.md, "Namespaces")."""

from pyoci.errors import ConfigError, Problem
from pyoci.spec import rules

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyoci.plan.compile import Compilation
    from pyoci.plan.plan import Plan

# The type's CLONE_NEW* bit (linux/sched.h) and its name under /proc/PID/ns. The order is that of joining: the user
# namespace first, since it decides what we may do in the others; the mount namespace last, since paths change with it.
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
NOT_YET = ("user", "time")


def read(config: "dict[str, object]") -> "dict[str, tuple[str, str]]":
    """The namespaces of a config: type -> (path or "" for a new one, JSON pointer)."""
    linux: "dict[str, object]" = config.get("linux") or {}  # type: ignore[assignment]
    listed: "list[dict[str, str]]" = linux.get("namespaces") or []  # type: ignore[assignment]
    return {
        entry["type"]: (entry.get("path") or "", f"/linux/namespaces/{i}") for i, entry in enumerate(listed)
    }


def compile_birth(context: "Compilation", plan: "Plan") -> None:
    """Which namespaces the init is born in."""
    for kind, (path, origin) in context.namespaces.items():
        bit = NAMESPACES[kind][0]
        if kind in NOT_YET:
            raise ConfigError(
                [Problem(origin, f"a {kind} namespace is not supported yet by this version of pyoci")]
            )
        if kind == "pid" and path:
            plan.slot("namespace:pid", path, origin + "/path")
            plan.pid_namespace = plan.slots[-1]
        elif not path and kind != "cgroup":
            # The cgroup namespace's root is the cgroup that its maker is in: it is made after joining.
            plan.new_namespaces |= bit


def compile_entry(context: "Compilation", plan: "Plan") -> None:
    """Join what has a path, and make the cgroup namespace, now that the init is in its cgroup."""
    for kind, (bit, _) in NAMESPACES.items():
        path, origin = context.namespaces.get(kind, ("", ""))
        if path and kind != "pid":
            plan.add(
                "join-namespace",
                origin + "/path",
                plan.slot(f"namespace:{kind}", path, origin + "/path"),
                bit,
                path,
            )
    if "cgroup" in context.namespaces and not context.namespaces["cgroup"][0]:
        plan.add("unshare", context.namespaces["cgroup"][1], CGROUP)


def compile_sysctls(context: "Compilation", plan: "Plan") -> None:
    """linux.sysctl; the rules have made sure that each belongs to a namespace of the container's."""
    for name, value in (context.linux.get("sysctl") or {}).items():
        plan.add("set-sysctl", f"/linux/sysctl/{rules.escape(name)}", rules.sysctl_path(name), value)


def compile_names(context: "Compilation", plan: "Plan") -> None:
    """hostname and domainname."""
    for name in ("hostname", "domainname"):
        value = context.config.get(name)
        if value:
            plan.add(f"set-{name}", f"/{name}", value)
