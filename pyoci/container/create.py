"""`create`: a bundle becomes a container that waits for `start` (runtime.md, "Create").

The order is: compile, reserve the id, write down what will be made, make it. Whatever fails is undone.
"""

import posix
import time

from pyoci import host, jsontext, shim
from pyoci.cgroups.tree import freezer_file
from pyoci.container import conversation, store
from pyoci.container.identity import start_time
from pyoci.errors import ConfigError, Error
from pyoci.paths import absolute
from pyoci.plan.compile import Compilation, compile_plan
from pyoci.plan.plan import CGROUPS, ID_MAPS, NAMESPACES_READY, NET_DEVICES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from pyoci.cgroups.resctrl import Resctrl
    from pyoci.cgroups.tree import Cgroups
    from pyoci.container.net_devices import NetDevices
    from pyoci.container.trees import Trees
    from pyoci.plan.plan import Plan, Slot
    from pyoci.spec.bundle import Bundle
    from pyoci.trace import Trace

SIGKILL = 9  # the signal module imports enum
INIT = absolute(__file__ + "/../..") + "/pyoci-init"


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
    if request.manager != "systemd":
        groups = _open_cgroups(facts, linux, request.id)
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
        cgroup_files=() if groups.joins_late else groups.join_files(),
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


def _open_cgroups(facts: host.Host, linux: "dict[str, Any]", container_id: str) -> "Cgroups":
    from pyoci.cgroups import layout, tree

    path = layout.resolve(linux.get("cgroupsPath"), container_id)
    if not facts.rootless:
        return tree.open_for(facts.layout, path)
    from pyoci.cgroups import unprivileged

    if not linux.get("cgroupsPath"):
        path = unprivileged.default_path(facts.layout, container_id) or path
    return unprivileged.open_for(facts.layout, path, linux)


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
    )


def _shown_without_own(facts: host.Host) -> "dict[str, str]":
    from pyoci.cgroups.unprivileged import callers_directories

    return callers_directories(facts.layout)


def create(request: Request) -> "store.Entry":
    """Create the container; its state says "created" when this returns.

    Raises Error, with everything as it was before.
    """
    with located(request.bundle):
        return _create(request)


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


def _create(request: Request) -> "store.Entry":
    store.check_preserved(request.preserve_fds)
    context, plan, groups = prepare(request)
    _check_console(request)
    for warning in plan.warnings:
        request.warn(warning)
    entry = store.reserve(request.root, request.id)
    birth = Birth(request, context, plan, groups, entry)
    try:
        birth.run()
    except BaseException:
        birth.undo()
        raise
    finally:
        birth.close()
    return entry


def _check_console(request: Request) -> None:
    process = request.bundle.config.get("process") or {}
    if process.get("terminal") and request.console is None:
        raise Error(
            "process.terminal is true, but there is nobody to take the terminal",
            hint="give --console-socket, or use `run` without --detach",
        )


def first_state(request: Request, context: Compilation, groups: "Cgroups") -> "dict[str, Any]":
    """What state.json says of a container before there is any of it."""
    config = context.config
    hooks = config.get("hooks") or {}
    return {
        "id": request.id,
        "pid": 0,
        "bundle": request.bundle.path,
        "rootfs": context.root_path,
        "created": _now(),
        "annotations": config.get("annotations") or {},
        "owner": posix.geteuid(),
        "creator": [posix.getpid(), start_time(posix.getpid())],
        "cgroups": groups.record(),
        "freezer": freezer_file(groups.freezer()),
        "process": config.get("process") is not None,
        "hooks": {kind: hooks[kind] for kind in ("poststart", "poststop") if hooks.get(kind)},
        "pid_file": request.pid_file,
    }


class Birth:
    """A container being created."""

    def __init__(
        self, request: Request, context: Compilation, plan: "Plan", groups: "Cgroups", entry: "store.Entry"
    ) -> None:
        self.request = request
        self.context = context
        self.plan = plan
        self.groups = groups
        self.entry = entry
        self.pid = 0
        self.hooks_ran = False
        self.descriptors: list[int] = []
        self.conversation: "Any" = None
        self.resctrl: "Resctrl | None" = None
        self.trees: "Trees | None" = None
        self.net_devices: "NetDevices | None" = None

    def run(self) -> None:
        """Make everything, in order."""
        self.entry.state = first_state(self.request, self.context, self.groups)
        seccomp = self.context.seccomp
        if seccomp and seccomp.notify:
            from pyoci.container import listener

            self.entry.state["listener"] = listener.record(seccomp)
        if self.request.notify:
            from pyoci.container import notify

            notify.make_directory(self.entry)
            self.entry.state["notify"] = True
        if self.context.linux.get("intelRdt"):
            from pyoci.cgroups import resctrl

            rdt = self.context.linux["intelRdt"]
            self.resctrl = resctrl.open_for(rdt, self.request.id, self.request.resctrl)
            self.entry.state["resctrl"] = self.resctrl.record()
        if "mount" not in self.context.namespaces:
            from pyoci.container import host_mounts

            self.entry.state["mounts"] = host_mounts.record(self.context.root_path)
        store.save_config(self.entry, self.request.bundle.raw)
        self.entry.save()
        self.groups.create()
        if self.groups.record() != self.entry.state["cgroups"]:
            self.entry.state["cgroups"] = self.groups.record()
            self.entry.save()
        if self.resctrl:
            self.resctrl.create()
        resources = self.context.linux.get("resources") or {}
        if self.groups.groups and not self.groups.joins_late:
            self.groups.apply(resources)
            self._delegate()
        self._spawn()
        if not any(step.name == "fork" for step in self.plan.steps):
            self.groups.begin(self.pid, resources)
        self._converse(resources)

    def _delegate(self) -> None:
        if self.groups.mode == "v2":
            from pyoci.container.delegation import owner

            uid = owner(self.context)
            # Another user than root can give nothing away, and has it already.
            if uid is not None and not self.context.host.rootless:
                self.groups.delegate(uid)

    def _spawn(self) -> None:
        self.conversation, theirs = conversation.pair()
        listener = conversation.listen(self.entry.start_socket)
        made = {"plan": self._plan_file(), "conversation": theirs.fileno(), "start": listener.fileno()}
        if self.request.trace:
            made["trace"] = self.request.trace.memory(self.plan)
        slots = [made[slot.name] if slot.name in made else self._open(slot) for slot in self.plan.slots]
        config = self.context.config
        changes = config.get("hostname") or config.get("domainname") or self.context.linux.get("sysctl")
        if changes and any(slot.name.startswith("namespace:") for slot in self.plan.slots):
            from pyoci.container import own_namespaces

            own_namespaces.check(self.plan, slots)
        pid_namespace = (
            slots[self.plan.slots.index(self.plan.pid_namespace)] if self.plan.pid_namespace else None
        )
        cgroup = None if self.groups.joins_late else self.groups.clone_into_fd()
        if cgroup is not None:
            self.descriptors.append(cgroup)
        try:
            program = shim.seal(INIT)
            self.descriptors.append(program)
            self.pid, pidfd = shim.spawn(
                program,
                slots,
                name=self.request.id,
                new_namespaces=self.plan.new_namespaces,
                first_descriptor=self.plan.first_descriptor,
                pid_namespace=pid_namespace,
                cgroup=cgroup,
            )
            self.descriptors.append(pidfd)
        except shim.SpawnError as error:
            raise self._spawn_failed(error) from None
        except OSError as error:
            raise Error(f"can't prepare {INIT}: {error.strerror}") from None
        finally:
            theirs.close()
            listener.close()

    def _plan_file(self) -> int:
        data = self.plan.encode(shim.checksum)
        fd = posix.memfd_create("plan", posix.MFD_CLOEXEC)
        self.descriptors.append(fd)
        posix.write(fd, data)
        return fd

    def _open(self, slot: "Slot") -> int:
        flags = posix.O_WRONLY if slot.name == "cgroup" else posix.O_RDONLY
        try:
            fd = posix.open(slot.path, flags | posix.O_CLOEXEC)
        except OSError as error:
            raise _problem(slot.origin, f'"{slot.path}": {(error.strerror or "").lower()}') from None
        self.descriptors.append(fd)
        return fd

    def _spawn_failed(self, error: "shim.SpawnError") -> Error:
        reason = f"{(error.strerror or '').lower()} ({error.call})"
        if error.call == "setns" and self.plan.pid_namespace:
            slot = self.plan.pid_namespace
            return _problem(slot.origin, f'"{slot.path}" is not a pid namespace that can be joined: {reason}')
        return Error(f"can't start the container's init: {reason}")

    def _converse(self, resources: "dict[str, Any]") -> None:
        """Answer the init until it is ready."""
        while True:
            message = conversation.receive(self.conversation)
            if message is None:
                raise self._died()
            if message.kind == conversation.FAILED:
                raise self._failed(message)
            if message.kind == conversation.ASK:
                self._answer(message.value, resources)
            elif message.kind == conversation.BORN:
                self._follow(message.value)
                self.groups.begin(self.pid, resources)
            elif message.kind == conversation.FETCH:
                self._fetch(message.step)
                continue
            elif message.kind == conversation.CONSOLE and self.request.console:
                self.request.console(message.descriptor)
            elif message.kind == conversation.READY:
                break
            conversation.go_ahead(self.conversation)
        if self.resctrl:
            self.resctrl.join(self.pid)
        # Only now: the device nodes are made, which the rules may forbid. A user without root can neither load a filter
        # nor make a device.
        if self.groups.groups and not (self.context.host.rootless and host.is_rootless()):
            self.groups.apply_devices(resources.get("devices") or [])
        self.entry.state["pid"] = self.pid
        self.entry.state["start_time"] = start_time(self.pid)
        self.entry.save()
        if self.request.pid_file:
            store.write_file(self.request.pid_file, str(self.pid).encode(), 0o644)
        if self.request.pidfd:
            # Our own child, not reaped: the pid is still its.
            pidfd = posix.pidfd_open(self.pid)
            self.descriptors.append(pidfd)
            self.request.pidfd(pidfd)
        conversation.go_ahead(self.conversation)

    def _answer(self, stage: int, resources: "dict[str, Any]") -> None:
        """What the init asks for."""
        if stage == ID_MAPS:
            from pyoci.container import id_maps

            assert self.plan.id_maps is not None
            id_maps.write(self.pid, self.plan.id_maps)
        elif stage == NET_DEVICES:
            from pyoci.container.net_devices import NetDevices

            self.net_devices = NetDevices(self.pid)
            self.net_devices.move(self.context.linux["netDevices"])
        elif stage == CGROUPS:
            self.groups.settle(self.pid, resources)
            self._delegate()
        elif stage == NAMESPACES_READY:
            self._run_hooks("prestart", "created")
            self._run_hooks("createRuntime", "creating")

    def _fetch(self, number: int) -> None:
        if self.trees is None:
            from pyoci.container.trees import Trees

            self.trees = Trees(self.pid)
        descriptor = self.trees.make(self.plan.steps[number], self.plan.fetches[number])
        try:
            conversation.go_ahead(self.conversation, descriptor)
        finally:
            posix.close(descriptor)

    def _follow(self, pid: int) -> None:
        """A child of ours goes on in the init's place, which ends."""
        self._reap()
        self.pid = pid

    def _run_hooks(self, kind: str, status: str) -> None:
        hooks = (self.context.config.get("hooks") or {}).get(kind) or ()
        state = jsontext.dump(self.context.state(status, self.pid))
        self.hooks_ran = True
        for i, hook in enumerate(hooks):
            try:
                shim.run_hook(hook, state, self.context.host.environment)
            except Error as error:
                raise _problem(f"/hooks/{kind}/{i}", error.message) from None

    def _failed(self, message: "conversation.Message") -> Error:
        from pyoci.container import failure

        steps = self.plan.steps
        name = steps[message.step].name if message.step < len(steps) else "spawn"
        if name == "run-hook":
            self.hooks_ran = True
        return ConfigError([failure.problem(message, name)], hint=failure.hint(message, name))

    def _died(self) -> Error:
        from pyoci.container import failure

        status = self._reap()
        limit = ((self.context.linux.get("resources") or {}).get("memory") or {}).get("limit")
        return failure.died(status, limit if limit and failure.ran_out_of_memory(self.groups) else None)

    def _reap(self) -> "int | None":
        pid, self.pid = self.pid, 0
        try:
            return posix.waitpid(pid, 0)[1]
        except ChildProcessError:
            return None

    def undo(self) -> None:
        """Everything as it was before: the first error is the one that counts, so these say nothing."""
        if self.pid:
            # Our own child, not reaped: the pid is still its.
            posix.kill(self.pid, SIGKILL)
            self._reap()
        failed: "list[str]" = []
        for step in (
            self._move_back,
            self.groups.kill,
            self.groups.remove,
            self._remove_resctrl,
            self._unmount,
        ):
            try:
                step()
            except Error as error:
                failed.append(error.message)
        if self.request.pid_file and self.entry.state.get("start_time"):
            try:
                posix.unlink(self.request.pid_file)
            except OSError:
                pass
        if failed:
            # What can't be removed now stays known, for `delete --force`.
            self.request.warn("; ".join(failed))
        else:
            self.entry.remove()
        if self.hooks_ran:
            from pyoci.container.delete import run_poststop

            run_poststop(self.entry, self.request.warn)

    def _move_back(self) -> None:
        if self.net_devices:
            self.net_devices.move_back()

    def _remove_resctrl(self) -> None:
        if self.resctrl:
            self.resctrl.remove(failed=True)

    def _unmount(self) -> None:
        if "mounts" in self.entry.state:
            from pyoci.container import host_mounts

            host_mounts.remove(self.entry.state["mounts"])

    def close(self) -> None:
        """Close what only the birth needed."""
        for fd in self.descriptors:
            posix.close(fd)
        for made in (self.trees, self.net_devices, self.conversation, self.groups):
            if made is not None:
                made.close()


def _problem(pointer: str, message: str) -> ConfigError:
    from pyoci.errors import Problem

    return ConfigError([Problem(pointer, message)])


def _now() -> str:
    """RFC 3339, UTC, with nanoseconds."""
    now = time.time_ns()
    t = time.gmtime(now // 1_000_000_000)
    date = f"{t.tm_year:04}-{t.tm_mon:02}-{t.tm_mday:02}T{t.tm_hour:02}:{t.tm_min:02}:{t.tm_sec:02}"
    return f"{date}.{now % 1_000_000_000:09}Z"
