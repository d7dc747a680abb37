"""A process that joins a container -> a plan: the same story as a container's, without what is there already."""

from pyoci.plan import devices, namespaces, process
from pyoci.plan.compile import KEEP_REPORTING, new_plan

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyoci.plan.compile import Compilation
    from pyoci.plan.plan import Plan

# csrc/init.h
CONVERSATION = 1


def compile_exec(context: "Compilation", entered: int) -> "Plan":
    """The steps from the host side into the container, and to the program.

    Arguments:
        context: its config is the container's with the process that is to run; its cgroup_files are those to join.
        entered: the namespaces that the init enters (CLONE_NEW*).

    Raises ConfigError for what this host can't do.
    """
    plan = new_plan(context)
    process.check_labels(context, plan)
    target, root = plan.slot("container"), plan.slot("root")
    for path in context.cgroup_files:
        plan.add("join-cgroup", "", plan.slot("cgroup", path), path)
    _compile_affinity(context, plan)
    process.compile_oom_score(context, plan)
    process.compile_limits(context, plan)
    if entered:
        plan.add("enter-namespaces", "", target, entered)
    if entered & namespaces.NAMESPACES["user"][0]:
        plan.add("assume-root", "", context.user["uid"], context.user["gid"])
    plan.add("enter-root", "", root)
    # From its birth in the pid namespace the container's processes see it, and may be allowed to trace it: by then it is in
    # the container's root, and holds nothing of the host's (CVE-2016-9962).
    plan.add("close-descriptors", "", CONVERSATION)
    if entered & namespaces.NAMESPACES["pid"][0]:
        plan.add("fork", "", 0)
    process.compile_keyring(context, plan)
    devices.compile_console(context, plan, device=False)
    process.compile_scheduling(context, plan)
    process.open_labels(context, plan)
    sets = process.compile_identity(context, plan)
    plan.add("close-descriptors", "", CONVERSATION)
    plan.add("ready", "", KEEP_REPORTING)
    process.compile_labels(context, plan)
    process.compile_filter(context, plan, sets)
    process.compile_program(context, plan)
    return plan


def _compile_affinity(context: "Compilation", plan: "Plan") -> None:
    """process.execCPUAffinity.final."""
    final = ((context.process or {}).get("execCPUAffinity") or {}).get("final")
    if not final:
        process.compile_affinity(context, plan)
        return
    from pyoci.plan.scheduling import node_mask

    plan.add("set-affinity", "/process/execCPUAffinity/final", node_mask(final))
