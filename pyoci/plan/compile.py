"""A config becomes a plan. `compile_plan` is the story of a container, from its birth to the user's program.

Compiling makes nothing and asks the system nothing: it is a function of the config, the host's facts and the options.
"""

from pyoci.paths import absolute
from pyoci.plan import devices, hooks, mounts, namespaces, process
from pyoci.plan.capabilities import EVERY
from pyoci.plan.plan import HOOKS, NET_DEVICES, Plan
from pyoci.plan.state import state

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyoci.host import Host
    from pyoci.plan.seccomp import Filter

# csrc/conversation.c: what `ready` does.
ONLY_CREATED, KEEP_REPORTING = 0, 1


class Compilation:
    """What the compiler's parts work from.

    Arguments:
        config: a valid config.json.
        host: the facts.
        bundle: the bundle's directory, absolute.
        container_id: the container's.
        cgroup_path: where it lies below each hierarchy.
        cgroup_files: the `tasks` files that it joins by.
        joins_late: the host side puts it into its cgroups instead, and may take its time until they are needed.
        shown_cgroups: its directory in the hierarchy with that mount point, where it isn't at cgroup_path.
        seccomp: the compiled filter, if the config has one.
        no_pivot: leave the host's root by chroot(2), not pivot_root(2).
        preserved: how many descriptors from 3 up the program gets.
        new_keyring: make a session keyring for the container.
        inside: the init is in the container already, so the host side has to open all that lies on the host.
        trace: the init notes when each step begins.
    """

    def __init__(
        self,
        config: "dict[str, Any]",
        host: "Host",
        *,
        bundle: str,
        container_id: str,
        cgroup_path: str = "/",
        cgroup_files: "list[str] | tuple[str, ...]" = (),
        joins_late: bool = False,
        shown_cgroups: "dict[str, str] | None" = None,
        seccomp: "Filter | None" = None,
        no_pivot: bool = False,
        preserved: int = 0,
        new_keyring: bool = True,
        inside: bool = False,
        trace: bool = False,
    ) -> None:
        self.config = config
        self.host = host
        self.bundle = bundle
        self.container_id = container_id
        self.cgroup_path = cgroup_path
        self.cgroup_files = cgroup_files
        self.joins_late = joins_late
        self.shown_cgroups = shown_cgroups or {}
        self.seccomp = seccomp
        self.no_pivot = no_pivot
        self.preserved = preserved
        self.new_keyring = new_keyring
        self.inside = inside
        self.trace = trace
        self.process: "dict[str, Any] | None" = config.get("process")
        # As everywhere else, who isn't named is root.
        self.user: "dict[str, Any]" = {"uid": 0, "gid": 0, **((self.process or {}).get("user") or {})}
        self.linux: "dict[str, Any]" = config.get("linux") or {}
        self.namespaces = namespaces.read(config)
        path: str = config["root"]["path"]
        self.root_path = path if path.startswith("/") else absolute(f"{bundle}/{path}")

    @property
    def capabilities(self) -> int:
        """The mask of those that the init has before it takes the program's identity."""
        # In a user namespace its processes begin with all of them: user_namespaces(7).
        return EVERY if "user" in self.namespaces else self.host.capabilities

    def state(self, status: str, pid: int) -> "dict[str, Any]":
        """The state as hooks read it (runtime.md, "State")."""
        return state(self.container_id, status, pid, self.bundle, self.config.get("annotations"))

    def has_hooks(self, *kinds: str) -> bool:
        """Whether the config has any hook of these kinds."""
        listed = self.config.get("hooks") or {}
        return any(listed.get(kind) for kind in kinds)


def compile_plan(context: Compilation) -> Plan:
    """The steps that make this container.

    Raises ConfigError for what this host can't do.
    """
    plan = new_plan(context)
    process.check_labels(context, plan)
    namespaces.compile_birth(context, plan)
    start = plan.slot("start")

    # Still among the host's mounts: its /proc and its cgroup files are trusted.
    process.compile_oom_score(context, plan)
    process.compile_limits(context, plan)
    _compile_cgroups(context, plan)
    namespaces.compile_entry(context, plan)
    if not context.joins_late:
        namespaces.compile_cgroup(context, plan)
    process.compile_keyring(context, plan)
    if context.linux.get("netDevices"):
        # Before the hooks and the sysctls, which may be about them.
        plan.add("ask-host", "/linux/netDevices", NET_DEVICES)
    namespaces.compile_loopback(context, plan)
    namespaces.compile_names(context, plan)

    mounts.compile_root(context, plan)
    read_only = mounts.compile_mounts(context, plan)
    namespaces.compile_late_cgroup(context, plan)
    devices.compile_devices(context, plan)
    devices.compile_console(context, plan)
    _compile_create_hooks(context, plan)
    process.compile_working_directory(context, plan)
    plan.steps += read_only
    mounts.compile_hidden(context, plan)
    mounts.compile_change_of_root(context, plan)
    mounts.compile_root_attributes(context, plan)

    process.compile_affinity(context, plan)
    process.compile_scheduling(context, plan)
    process.open_labels(context, plan)
    sets = process.compile_identity(context, plan)
    plan.add("close-descriptors", "", start)
    plan.add("ready", "", ONLY_CREATED)
    plan.add("wait-start", "", start)

    process.compile_labels(context, plan)
    process.compile_filter(context, plan, sets)
    # All that binds the program binds them.
    environment = (context.process or {}).get("env") or ()
    hooks.compile_hooks(context, plan, "startContainer", "created", environment)
    process.compile_program(context, plan)
    return plan


def _compile_create_hooks(context: Compilation, plan: Plan) -> None:
    """The hooks of `create`, and what has to wait for the first of them."""
    if context.has_hooks("prestart", "createRuntime"):
        # In a pid namespace that is joined somebody may be waiting for this (CVE-2016-9962).
        enterable = not context.namespaces.get("pid", ("",))[0]
        if enterable:
            plan.add("set-dumpable", "/hooks", 1)
        plan.add("ask-host", "/hooks", HOOKS)
        if enterable:
            plan.add("set-dumpable", "/hooks", 0)
    # They may be about a network device that a hook has brought.
    namespaces.compile_sysctls(context, plan)
    # Not the program's environment: what an image says is not for the host's programs (CVE-2025-23266).
    hooks.compile_hooks(context, plan, "createContainer", "creating", (), context.bundle)


def new_plan(context: Compilation) -> Plan:
    """A plan that does nothing yet, but tells when it does what if it is to be traced."""
    plan = Plan(context.preserved)
    if context.trace:
        plan.add("trace", "", plan.slot("trace"))
    return plan


def _compile_cgroups(context: Compilation, plan: Plan) -> None:
    for path in context.cgroup_files:
        plan.add("join-cgroup", "/linux/cgroupsPath", plan.slot("cgroup", path, "/linux/cgroupsPath"), path)
