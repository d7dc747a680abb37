"""process -> steps: limits, identity, privileges, and the program (config.md, "Process")."""

from pyoci.annotations import KEEP_GROUPS
from pyoci.plan import capabilities

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyoci.plan.compile import Compilation
    from pyoci.plan.plan import Plan

# sys/resource.h, the generic numbers; x86, arm64 and riscv have these.
RLIMITS = {
    "RLIMIT_CPU": 0,
    "RLIMIT_FSIZE": 1,
    "RLIMIT_DATA": 2,
    "RLIMIT_STACK": 3,
    "RLIMIT_CORE": 4,
    "RLIMIT_RSS": 5,
    "RLIMIT_NPROC": 6,
    "RLIMIT_NOFILE": 7,
    "RLIMIT_MEMLOCK": 8,
    "RLIMIT_AS": 9,
    "RLIMIT_LOCKS": 10,
    "RLIMIT_SIGPENDING": 11,
    "RLIMIT_MSGQUEUE": 12,
    "RLIMIT_NICE": 13,
    "RLIMIT_RTPRIO": 14,
    "RLIMIT_RTTIME": 15,
}
# linux/seccomp.h
NEW_LISTENER = 1 << 3
# execvp(3): where a program is looked for without PATH.
DEFAULT_PATH = "/bin:/usr/bin"
# CPU numbers of a mask that leaves the choice to the cpuset.
ALL_CPUS = 1 << 13


def compile_affinity(context: "Compilation", plan: "Plan") -> None:
    """Once the cgroups are joined: the caller's own CPUs are none of the container's business."""
    plan.add("set-affinity", "", b"\xff" * (ALL_CPUS // 8))


def compile_oom_score(context: "Compilation", plan: "Plan") -> None:
    """process.oomScoreAdj; unset means unchanged."""
    value = (context.process or {}).get("oomScoreAdj")
    if value is not None:
        plan.add("set-oom-score-adj", "/process/oomScoreAdj", str(value))


def compile_working_directory(context: "Compilation", plan: "Plan") -> None:
    """process.cwd is made if it is missing, as runc and crun do, while the root can still be written."""
    if context.process:
        plan.add("make-directory", "/process/cwd", context.process["cwd"], 0o755)


def check_labels(context: "Compilation", plan: "Plan") -> None:
    """Whether this host has the security modules that are asked for. Raises ConfigError."""
    if _has_labels(context):
        from pyoci.plan import labels

        labels.check(context, plan)


def open_labels(context: "Compilation", plan: "Plan") -> None:
    """What process.apparmorProfile and process.selinuxLabel will be written to."""
    if _has_labels(context):
        from pyoci.plan import labels

        labels.compile_opening(context, plan)


def compile_labels(context: "Compilation", plan: "Plan") -> None:
    """process.apparmorProfile and process.selinuxLabel: as late as can be, they are for the program."""
    if _has_labels(context):
        from pyoci.plan import labels

        labels.compile_exec_labels(context, plan)


def _has_labels(context: "Compilation") -> bool:
    process = context.process or {}
    return bool(
        process.get("apparmorProfile") or process.get("selinuxLabel") or context.linux.get("mountLabel")
    )


def compile_keyring(context: "Compilation", plan: "Plan") -> None:
    """A session keyring of the container's own: by the caller's it could read the caller's keys (keyrings(7))."""
    if context.new_keyring:
        label = (context.process or {}).get("selinuxLabel") or ""
        plan.add("join-keyring", "", f"_ses.{context.container_id}", label)


def compile_scheduling(context: "Compilation", plan: "Plan") -> None:
    """process.scheduler, process.ioPriority, linux.memoryPolicy and linux.personality: the program inherits them."""
    process = context.process or {}
    if (
        process.get("scheduler")
        or process.get("ioPriority")
        or context.linux.get("memoryPolicy")
        or context.linux.get("personality")
    ):
        from pyoci.plan import scheduling

        scheduling.compile_scheduling(context, plan)


def compile_limits(context: "Compilation", plan: "Plan") -> None:
    """process.rlimits. Raising them takes a capability of the host's, so this is before a user namespace is entered."""
    for i, limit in enumerate((context.process or {}).get("rlimits") or ()):
        plan.add("set-rlimit", f"/process/rlimits/{i}", RLIMITS[limit["type"]], limit["soft"], limit["hard"])


def compile_identity(context: "Compilation", plan: "Plan") -> "capabilities.Sets":
    """process.user and process.capabilities; what seccomp still needs is kept until its filter is loaded."""
    process = context.process
    if not process:
        return capabilities.Sets()
    user = context.user
    groups = user.get("additionalGids") or ()
    sets = capabilities.read(context, plan)
    plan.add("limit-bounding", "/process/capabilities/bounding", sets.bounding)
    plan.add("change-directory", "/process/cwd", process["cwd"], 1)
    if not any(variable.startswith("HOME=") for variable in environment(context)):
        plan.add("find-home", "", user["uid"])
    if (context.config.get("annotations") or {}).get(KEEP_GROUPS) != "1":
        packed = b"".join(gid.to_bytes(4, "little") for gid in groups)
        plan.add("set-groups", "/process/user/additionalGids", packed)
    plan.add("set-user", "/process/user", user["uid"], user["gid"])
    if user.get("umask") is not None:
        plan.add("set-umask", "/process/user/umask", user["umask"])
    capabilities.compile_sets(context, plan, sets)
    plan.add("change-directory", "/process/cwd", process["cwd"], 0)
    if process.get("noNewPrivileges"):
        plan.add("no-new-privileges", "/process/noNewPrivileges")
    variables = environment(context)
    path = next((each[5:] for each in variables if each.startswith("PATH=")), DEFAULT_PATH)
    plan.add("prepare-program", "/process/args", process["args"], variables, path)
    return sets


def compile_filter(context: "Compilation", plan: "Plan", sets: "capabilities.Sets") -> None:
    """linux.seccomp, as the last thing but one: whatever comes after it must be allowed by it."""
    if context.process and context.seccomp:
        made = context.seccomp
        flags = made.flags | NEW_LISTENER if made.notify else made.flags
        plan.add("load-seccomp", "/linux/seccomp", made.program, flags)
        capabilities.compile_final_sets(context, plan, sets)


def compile_program(context: "Compilation", plan: "Plan") -> None:
    """process.args and process.env: what `start` is for."""
    if context.process:
        plan.add("execute", "/process/args")


def environment(context: "Compilation") -> "list[str]":
    """process.env, but for an empty HOME: the program gets one that says something."""
    return [each for each in (context.process or {}).get("env") or () if each != "HOME="]
