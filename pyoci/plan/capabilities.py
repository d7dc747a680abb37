"""process.capabilities -> steps (config.md, "Linux Process"; capabilities(7))."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyoci.plan.compile import Compilation
    from pyoci.plan.plan import Plan

# linux/capability.h: the number is the place.
CAPABILITIES = (
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_LINUX_IMMUTABLE",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",
    "CAP_NET_ADMIN",
    "CAP_NET_RAW",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_SYS_MODULE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_PACCT",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_NICE",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_MKNOD",
    "CAP_LEASE",
    "CAP_AUDIT_WRITE",
    "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP",
    "CAP_MAC_OVERRIDE",
    "CAP_MAC_ADMIN",
    "CAP_SYSLOG",
    "CAP_WAKE_ALARM",
    "CAP_BLOCK_SUSPEND",
    "CAP_AUDIT_READ",
    "CAP_PERFMON",
    "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
)
EVERY = (1 << len(CAPABILITIES)) - 1
# What the kernel wants of a set: capset(2), and PR_CAP_AMBIENT_RAISE in prctl(2).
NEEDS = (
    ("effective", ("permitted",)),
    ("inheritable", ("bounding",)),
    ("ambient", ("permitted", "inheritable")),
)
SYS_ADMIN = 1 << CAPABILITIES.index("CAP_SYS_ADMIN")


class Sets:
    """The five sets as bit masks."""

    bounding = effective = permitted = inheritable = ambient = 0


def read(context: "Compilation", plan: "Plan") -> Sets:
    """The sets of a config. What the kernel doesn't know, or the runtime itself lacks, is left out with a warning:
    config.md says so since 1.1. An absent set is an empty one."""
    sets = Sets()
    listed = context.process.get("capabilities") or {} if context.process else {}
    missing: dict[str, None] = {}
    for name in ("bounding", "effective", "permitted", "inheritable", "ambient"):
        mask = 0
        for capability in listed.get(name) or ():
            bit = 1 << CAPABILITIES.index(capability) if capability in CAPABILITIES else 0
            if bit & context.capabilities:
                mask |= bit
            else:
                missing[capability] = None
        setattr(sets, name, mask)
    for capability in missing:
        why = (
            "is not available here" if capability in CAPABILITIES else "is not known to this version of pyoci"
        )
        plan.warnings.append(f"/process/capabilities: {capability} {why}, the container goes without it")
    for name, others in NEEDS:
        _limit(sets, name, others, plan)
    return sets


def _limit(sets: Sets, name: str, others: "tuple[str, ...]", plan: "Plan") -> None:
    """Leave out of a set what isn't in the others, with a warning too: the kernel refuses it."""
    allowed = EVERY
    for other in others:
        allowed &= getattr(sets, other)
    refused = getattr(sets, name) & ~allowed
    if refused:
        setattr(sets, name, getattr(sets, name) & allowed)
        listed = ", ".join(each for i, each in enumerate(CAPABILITIES) if refused >> i & 1)
        message = (
            f"{listed} can't be {name} without being {' and '.join(others)}, the container goes without it"
        )
        plan.warnings.append(f"/process/capabilities/{name}: {message}")


def compile_sets(context: "Compilation", plan: "Plan", sets: Sets) -> None:
    """Set them. A filter without noNewPrivileges can only be loaded with CAP_SYS_ADMIN, seccomp(2), so that stays
    until then; nothing of the user's runs before."""
    kept = SYS_ADMIN & context.capabilities if needs_late_drop(context) else 0
    _add(plan, sets, kept)


def compile_final_sets(context: "Compilation", plan: "Plan", sets: Sets) -> None:
    """After the filter is loaded: give back what was kept for it."""
    if needs_late_drop(context):
        _add(plan, sets, 0)


def needs_late_drop(context: "Compilation") -> bool:
    """Whether a seccomp filter has to be loaded by privilege, noNewPrivileges not being set."""
    process = context.process or {}
    return context.seccomp is not None and not process.get("noNewPrivileges")


def _add(plan: "Plan", sets: Sets, kept: int) -> None:
    plan.add(
        "set-capabilities",
        "/process/capabilities",
        sets.effective | kept,
        sets.permitted | kept,
        sets.inheritable,
        sets.ambient,
    )
