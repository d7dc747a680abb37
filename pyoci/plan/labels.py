"""Security labels -> steps: process.apparmorProfile, process.selinuxLabel, linux.mountLabel
(config.md, "Linux Process"; config-linux.md, "Mount Label"). Imported only for a config that has one."""

from pyoci.errors import ConfigError, Problem

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyoci.plan.compile import Compilation
    from pyoci.plan.plan import Plan

UNCONFINED = "unconfined"
# Filesystems that take no context, or have one by the policy.
UNLABELED = ("proc", "sysfs", "mqueue", "cgroup", "cgroup2")


def check(context: "Compilation", plan: "Plan") -> None:
    """Whether this host has what the labels are for.

    Raises ConfigError if it hasn't. A mountLabel is left out with a warning: what it protects from, another label's
    processes, isn't there either, and the specification's own validation programs run so.
    """
    process = context.process or {}
    problems = []
    # Without AppArmor everything is unconfined, as asked.
    if process.get("apparmorProfile") not in (None, "", UNCONFINED) and not context.host.apparmor:
        problems.append(Problem("/process/apparmorProfile", "needs AppArmor, which this host doesn't have"))
    if process.get("selinuxLabel") and not context.host.selinux:
        problems.append(Problem("/process/selinuxLabel", "needs SELinux, which is off on this host"))
    if problems:
        raise ConfigError(problems)
    if context.linux.get("mountLabel") and not context.host.selinux:
        plan.warnings.append("/linux/mountLabel: is left out, SELinux is off on this host")


def _listed(context: "Compilation") -> "list[tuple[str, str, str]]":
    """Each label: its pointer, the file below /proc, the text."""
    process = context.process or {}
    profile, label = process.get("apparmorProfile"), process.get("selinuxLabel")
    listed = []
    if profile and context.host.apparmor:
        listed.append(("/process/apparmorProfile", "self/attr/apparmor/exec", f"exec {profile}"))
    if label:
        listed.append(("/process/selinuxLabel", "self/attr/exec", label))
    return listed


def compile_opening(context: "Compilation", plan: "Plan") -> None:
    """The files for them are opened while the host's procfs is at hand."""
    for number, (origin, path, _) in enumerate(_listed(context)):
        plan.add("open-label", origin, number, path)


def compile_exec_labels(context: "Compilation", plan: "Plan") -> None:
    """What the program is confined by, from its execve(2) on."""
    for number, (origin, _, text) in enumerate(_listed(context)):
        plan.add("set-label", origin, number, text)


def mount_options(context: "Compilation", kind: str) -> "list[str]":
    """The option that labels a new filesystem of this type."""
    label = context.linux.get("mountLabel")
    if not label or not context.host.selinux or kind in UNLABELED:
        return []
    # Categories in a label are separated by commas (s0:c1,c2): quoted they are one option.
    return [f'context="{label}"']
