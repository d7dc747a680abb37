"""What `create` is asked for, and what that means on this host: compiled, but nothing made yet."""

from pyoci import host
from pyoci.container import store
from pyoci.errors import ConfigError, Error
from pyoci.paths import absolute
from pyoci.plan.compile import Compilation, compile_plan

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from pyoci.cgroups.ownership import Owner
    from pyoci.cgroups.tree import Cgroups
    from pyoci.plan.plan import Plan
    from pyoci.spec.bundle import Bundle
    from pyoci.trace import Trace


class Request:
    """What `create` was asked for.

    Attributes:
        root: where states are kept.
        id: the new container's.
        bundle: read and checked.
        warn: where warnings go.
        pid_file: where to write the pid, or None.
        pidfd: what to do with a descriptor of the container's process, or None.
        console: what to do with the terminal's other end, a descriptor; None if there is nobody to take it.
        no_pivot, new_keyring: see `Compilation`.
        preserve_fds: how many descriptors from 3 up go to the program.
        rootless: go on without cgroups that may not be made; None: if we aren't the host's root.
        environment: variables that the program gets beside those of its config, "NAME=value".
        notify: the program gets a socket for sd_notify(3).
        resctrl: where the resctrl filesystem is mounted; None looks for it.
        manager: what makes the cgroups, of `cgroups.MANAGERS`.
        trace: takes down how long everything takes, or None.
    """

    def __init__(
        self,
        root: str,
        container_id: str,
        bundle: "Bundle",
        warn: "Callable[[str], None]",
        *,
        pid_file: str | None = None,
        console: "Callable[[int], None] | None" = None,
        pidfd: "Callable[[int], None] | None" = None,
        no_pivot: bool = False,
        new_keyring: bool = True,
        preserve_fds: int = 0,
        rootless: bool | None = None,
        environment: "Sequence[str]" = (),
        notify: bool = False,
        resctrl: str | None = None,
        manager: str = "cgroupfs",
        trace: "Trace | None" = None,
    ) -> None:
        self.root = root
        self.id = store.check_id(container_id)
        self.bundle = bundle
        self.warn = warn
        self.pid_file = absolute(pid_file) if pid_file else None
        self.console = console
        self.pidfd = pidfd
        self.no_pivot = no_pivot
        self.new_keyring = new_keyring
        self.preserve_fds = preserve_fds
        self.rootless = rootless
        self.environment = list(environment)
        self.notify = notify
        self.resctrl = resctrl
        self.manager = manager
        self.trace = trace


def check_console(request: Request) -> None:
    process = request.bundle.config.get("process") or {}
    if process.get("terminal") and request.console is None:
        raise Error(
            "process.terminal is true, but there is nobody to take the terminal",
            hint="give --console-socket, or use `run` without --detach",
        )


def prepare_new(request: Request) -> "tuple[Compilation, Plan, Cgroups]":
    """`prepare` for an id that must be free. What else is in the way of a second container, its cgroup say, isn't the cause.

    Raises ConfigError, Error.
    """
    store.check_free(request.root, request.id)
    try:
        return prepare(request)
    except Error:
        # Somebody else may have taken the id meanwhile.
        store.check_free(request.root, request.id)
        raise


def prepare(request: Request, *, cache: bool = True) -> "tuple[Compilation, Plan, Cgroups]":
    """Compile a bundle for this host, without making anything.

    Arguments:
        cache: keep compiled filters below the root.

    Raises ConfigError or Error if that can't work here.
    """
    facts = host.read()
    config = request.bundle.config
    _add(request, config)
    linux = config.get("linux") or {}
    if request.manager == "systemd":
        groups = _open_unit(facts, request)
    if request.rootless is not None:
        facts.rootless = request.rootless
    if request.manager == "disabled":
        groups = _without_cgroups(facts, linux, request)
    elif request.manager != "systemd":
        groups = _open_cgroups(facts, linux, request)
    groups.warn = request.warn
    rules = (linux.get("resources") or {}).get("devices")
    if rules and groups.groups and not facts.rootless:
        groups.check_devices(rules)
    seccomp = None
    if linux.get("seccomp"):
        from pyoci.plan.seccomp import compile_profile

        directory = f"{request.root}/{store.SECCOMP_CACHE}" if cache else None
        seccomp = compile_profile(linux["seccomp"], request.warn, cache_directory=directory)
    context = Compilation(
        config,
        facts,
        bundle=request.bundle.path,
        container_id=request.id,
        cgroup_path=groups.path,
        cgroup_files=groups.join_files(),
        joins_late=groups.joins_late,
        shown_cgroups=None if groups.groups else _shown_without_own(facts),
        seccomp=seccomp,
        no_pivot=request.no_pivot,
        preserved=request.preserve_fds,
        new_keyring=request.new_keyring,
        trace=request.trace is not None,
    )
    return context, compile_plan(context), groups


def _add(request: Request, config: "dict[str, Any]") -> None:
    """What the program gets that isn't in its config."""
    environment = list(request.environment)
    if request.notify:
        from pyoci.container import notify

        mount, variable = notify.additions(f"{request.root}/{request.id}")
        config["mounts"] = [*(config.get("mounts") or []), mount]
        environment.append(variable)
    if environment and config.get("process"):
        config["process"]["env"] = [*(config["process"].get("env") or []), *environment]


def _owner(facts: host.Host, request: Request) -> "Owner":
    from pyoci.cgroups import ownership

    return ownership.new(f"{request.root}/{request.id}/{store.STATE}", privileged=not facts.rootless)


def _open_cgroups(facts: host.Host, linux: "dict[str, Any]", request: Request) -> "Cgroups":
    from pyoci.cgroups import layout, tree

    path = layout.resolve(linux.get("cgroupsPath"), request.id)
    owner = _owner(facts, request)
    if not facts.rootless:
        return tree.open_for(facts.layout, path, owner)
    from pyoci.cgroups import unprivileged

    if not linux.get("cgroupsPath"):
        path = unprivileged.default_path(facts.layout, request.id) or path
    return unprivileged.open_for(facts.layout, path, linux, owner)


def _open_unit(facts: host.Host, request: Request) -> "Cgroups":
    from pyoci.cgroups import systemd

    config = request.bundle.config
    return systemd.open_for(
        facts.layout,
        (config.get("linux") or {}).get("cgroupsPath"),
        request.id,
        annotations=config.get("annotations") or {},
        user=facts.rootless,
        memory=f"{request.root}/{store.SYSTEMD_MEMORY}",
        owner=_owner(facts, request),
    )


def _without_cgroups(facts: host.Host, linux: "dict[str, Any]", request: Request) -> "Cgroups":
    """None: the container stays in its caller's, and nothing is limited."""
    from pyoci.cgroups.tree import Cgroups

    asked = [name for name, value in (linux.get("resources") or {}).items() if value]
    if asked:
        request.warn(f"linux.resources: not applied, since --cgroup-manager is disabled: {', '.join(asked)}")
    return Cgroups(facts.layout.mode, "", [])


def _shown_without_own(facts: host.Host) -> "dict[str, str]":
    from pyoci.cgroups.unprivileged import callers_directories

    return callers_directories(facts.layout)


class located:
    """Within it, a ConfigError gets the line of each of its problems in the bundle's config.json."""

    def __init__(self, bundle: "Bundle") -> None:
        self.bundle = bundle

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: object, traceback: object) -> None:
        if isinstance(error, ConfigError):
            raise _located(error, self.bundle) from None


def _located(error: ConfigError, bundle: "Bundle") -> ConfigError:
    """The error with the line of each problem."""
    from pyoci.spec.positions import locate

    for problem in error.problems:
        if problem.line is None:
            problem.line = locate(bundle.raw, problem.pointer)[0]
    return ConfigError(error.problems, name=bundle.name, hint=error.hint)
