"""`create`: a bundle becomes a container that waits for `start` (runtime.md, "Create").

The order is: compile, reserve the id, write down what will be made, make it. Whatever fails is undone.
"""

import posix
import time
from errno import ENOMEM

from pyoci import files, host, jsontext, shim
from pyoci.cgroups.tree import freezer_file
from pyoci.container import conversation, store
from pyoci.container.identity import boot_id, start_time
from pyoci.container.init import Init
from pyoci.container.request import Request, check_console, located, prepare_new
from pyoci.errors import ConfigError, Error, cause_of
from pyoci.plan import namespaces
from pyoci.plan.plan import CGROUPS, HOOKS, ID_MAPS, NET_DEVICES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyoci.cgroups.resctrl import Resctrl
    from pyoci.cgroups.tree import Cgroups
    from pyoci.container.net_devices import NetDevices
    from pyoci.container.nodes import Nodes
    from pyoci.container.trees import Trees
    from pyoci.plan.compile import Compilation
    from pyoci.plan.plan import Plan, Slot

SIGKILL = 9  # the signal module imports enum


def create(request: Request) -> "store.Entry":
    """Create the container; its state says "created" when this returns.

    Raises Error, with everything as it was before.
    """
    with located(request.bundle):
        return _create(request)


def _create(request: Request) -> "store.Entry":
    store.check_preserved(request.preserve_fds)
    context, plan, groups = prepare_new(request)
    check_console(request)
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


def first_state(request: Request, context: "Compilation", groups: "Cgroups") -> "dict[str, Any]":
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
        "boot": boot_id(),
        "creator": [posix.getpid(), start_time(posix.getpid())],
        "cgroups": groups.record(),
        "freezer": freezer_file(groups.freezer()),
        # Then the others don't end with the first process.
        "shares_pids": not namespaces.is_new(context, "pid"),
        "process": config.get("process") is not None,
        "hooks": {kind: hooks[kind] for kind in ("poststart", "poststop") if hooks.get(kind)},
        "pid_file": request.pid_file,
    }


class Birth:
    """A container being created."""

    def __init__(
        self, request: Request, context: "Compilation", plan: "Plan", groups: "Cgroups", entry: "store.Entry"
    ) -> None:
        self.request = request
        self.context = context
        self.plan = plan
        self.groups = groups
        self.entry = entry
        self.init = Init(plan, request.id)
        self.hooks_ran = False
        self.wrote_pid_file = False
        self.devices_applied = False
        self.resctrl: "Resctrl | None" = None
        self.trees: "Trees | None" = None
        self.nodes: "Nodes | None" = None
        self.net_devices: "NetDevices | None" = None

    def run(self) -> None:
        """Make everything, in order."""
        self.write_down()
        self.make_surroundings()
        resources = self.context.linux.get("resources") or {}
        if self.groups.groups and not self.groups.joins_late:
            self.groups.apply(_without_pids(resources))
            self.delegate()
        self._spawn()
        if not any(step.name == "fork" for step in self.plan.steps):
            self.groups.begin(self.init.pid, resources)
        self._converse(resources)

    def write_down(self) -> None:
        """What is going to be made: the state and the config."""
        self.entry.state = first_state(self.request, self.context, self.groups)
        seccomp = self.context.seccomp
        if seccomp and seccomp.notify:
            from pyoci.container import listener

            self.entry.state["listener"] = listener.record(seccomp)
        if self.request.notify:
            from pyoci.container import notify

            notify.make_directory(self.entry)
            self.entry.state["notify"] = True
        rdt = self.context.linux.get("intelRdt")
        if rdt and any(rdt.values()):
            from pyoci.cgroups import resctrl

            self.resctrl = resctrl.open_for(rdt, self.request.id, self.request.resctrl)
            self.entry.state["resctrl"] = self.resctrl.record()
        if "mount" not in self.context.namespaces:
            from pyoci.container import host_mounts

            self.entry.state["mounts"] = host_mounts.record(self.context.root_path)
        store.save_config(self.entry, self.request.bundle.raw)
        self.entry.save()

    def make_surroundings(self) -> None:
        """The cgroups and the group of resctrl, without limits."""
        self.groups.create()
        if self.groups.record() != self.entry.state["cgroups"]:
            self.entry.state["cgroups"] = self.groups.record()
            self.entry.save()
        if self.resctrl:
            self.resctrl.create()

    def delegate(self) -> None:
        """Give the cgroup away, if the container may manage it."""
        if self.groups.mode == "v2":
            from pyoci.container.delegation import owner

            uid = owner(self.context)
            # Another user than root can give nothing away, and has it already.
            if uid is not None and not self.context.host.rootless:
                self.groups.delegate(uid)

    def _spawn(self) -> None:
        listener = conversation.listen(self.entry.start_socket)
        made = {"start": listener.fileno()}
        if self.request.trace:
            made["trace"] = self.request.trace.memory(self.plan)
        try:
            slots = self.init.prepare(made, self._open)
            self._check_own_namespaces(slots)
            joined = self.plan.pid_namespace
            cgroup = None if self.groups.joins_late else self.groups.clone_into_fd()
            if cgroup is not None:
                self.init.keep(cgroup)
            self.init.start(slots, slots[self.plan.slots.index(joined)] if joined else None, cgroup)
        except shim.SpawnError as error:
            raise self._spawn_failed(error) from None
        finally:
            listener.close()

    def _check_own_namespaces(self, slots: "list[int]") -> None:
        config = self.context.config
        changes = config.get("hostname") or config.get("domainname") or self.context.linux.get("sysctl")
        if changes and any(slot.name.startswith("namespace:") for slot in self.plan.slots):
            from pyoci.container import own_namespaces

            own_namespaces.check(self.plan, slots)

    def _open(self, slot: "Slot") -> int:
        flags = posix.O_WRONLY if slot.name == "cgroup" else posix.O_RDONLY
        try:
            return posix.open(slot.path, flags | posix.O_CLOEXEC)
        except OSError as error:
            raise _problem(slot.origin, f'"{slot.path}": {cause_of(error).lower()}') from None

    def _spawn_failed(self, error: "shim.SpawnError") -> Error:
        reason = f"{cause_of(error).lower()} ({error.call})"
        if error.call == "setns" and self.plan.pid_namespace:
            slot = self.plan.pid_namespace
            return _problem(slot.origin, f'"{slot.path}" is not a pid namespace that can be joined: {reason}')
        limit = self._memory_limit()
        if error.errno == ENOMEM and limit:
            # On cgroup v2 it is born inside, and what it executes is charged to the container.
            from pyoci.container import failure

            return failure.died(None, limit)
        return Error(f"can't start the container's init: {reason}")

    def _converse(self, resources: "dict[str, Any]") -> None:
        """Answer the init until it is ready."""
        while True:
            message = conversation.receive(self.init.conversation)
            if message is None:
                raise self._died()
            if message.kind == conversation.FAILED:
                raise self._failed(message)
            if message.kind == conversation.ASK:
                self._answer(message.value, resources)
            elif message.kind == conversation.BORN:
                self.init.follow(message.value)
                self.groups.begin(self.init.pid, resources)
            elif message.kind == conversation.FETCH:
                self._fetch(message.step)
                continue
            elif message.kind == conversation.WARNING:
                from pyoci.container import locked

                self.request.warn(locked.warning(message))
                continue
            elif message.kind == conversation.CONSOLE and self.request.console:
                self.request.console(message.descriptor)
            elif message.kind == conversation.READY:
                break
            conversation.go_ahead(self.init.conversation)
        if self.resctrl:
            self.resctrl.join(self.init.pid)
        last = _pids(resources)
        if last and self.groups.groups and not self.groups.joins_late:
            self.groups.apply(last)
        self.admit(self.init.pid, resources)
        if self.request.pidfd:
            # Our own child, not reaped: the pid is still its.
            pidfd = posix.pidfd_open(self.init.pid)
            self.init.keep(pidfd)
            self.request.pidfd(pidfd)
        conversation.go_ahead(self.init.conversation)

    def admit(self, pid: int, resources: "dict[str, Any]") -> None:
        """The process is there: its devices, and its pid in state.json and the pid file."""
        self._apply_devices(resources)
        self.entry.state["pid"] = pid
        self.entry.state["start_time"] = start_time(pid)
        self.entry.save()
        if self.request.pid_file:
            files.write_file(self.request.pid_file, str(pid).encode(), 0o644)
            self.wrote_pid_file = True

    def _apply_devices(self, resources: "dict[str, Any]") -> None:
        """The device rules, once, and not before the device nodes are made, which they may forbid."""
        if self.devices_applied:
            return
        self.devices_applied = True
        # A user without root can neither load a filter nor make a device.
        if self.groups.groups and not (self.context.host.rootless and host.is_rootless()):
            self.groups.apply_devices(resources.get("devices") or [])

    def _answer(self, stage: int, resources: "dict[str, Any]") -> None:
        """What the init asks for."""
        if stage == ID_MAPS:
            from pyoci.container import id_maps

            assert self.plan.id_maps is not None
            id_maps.write(self.init.pid, self.plan.id_maps)
        elif stage == NET_DEVICES:
            from pyoci.container.net_devices import NetDevices

            self.net_devices = NetDevices(self.init.pid)
            self.net_devices.move(self.context.linux["netDevices"])
        elif stage == CGROUPS:
            self.groups.settle(self.init.pid, resources)
            self.delegate()
        elif stage == HOOKS:
            # A hook may allow more (a GPU), which must stay.
            self._apply_devices(resources)
            self._run_hooks("prestart", "created")
            self._run_hooks("createRuntime", "creating")

    def _fetch(self, number: int) -> None:
        if self.plan.fetches[number].device:
            if self.nodes is None:
                from pyoci.container.nodes import Nodes

                self.nodes = Nodes(self.init.pid, self.plan)
            descriptor = self.nodes.take(number)
        else:
            if self.trees is None:
                from pyoci.container.trees import Trees

                self.trees = Trees(self.init.pid, self.request.warn)
            descriptor = self.trees.make(self.plan.steps[number], self.plan.fetches[number])
        try:
            conversation.go_ahead(self.init.conversation, descriptor)
        finally:
            if descriptor is not None:
                posix.close(descriptor)

    def _run_hooks(self, kind: str, status: str) -> None:
        hooks = (self.context.config.get("hooks") or {}).get(kind) or ()
        state = jsontext.dump(self.context.state(status, self.init.pid))
        self.hooks_ran = True
        for i, hook in enumerate(hooks):
            try:
                shim.run_hook(hook, state, self.context.bundle)
            except Error as error:
                raise _problem(f"/hooks/{kind}/{i}", error.message) from None

    def _failed(self, message: "conversation.Message") -> Error:
        from pyoci.container import failure

        steps = self.plan.steps
        name = steps[message.step].name if message.step < len(steps) else "spawn"
        if name == "run-hook":
            self.hooks_ran = True
        return ConfigError([failure.problem(message, name)], hint=failure.hint(message, name))

    def _memory_limit(self) -> "int | None":
        return ((self.context.linux.get("resources") or {}).get("memory") or {}).get("limit")

    def _died(self) -> Error:
        from pyoci.container import failure

        status = self.init.reap()
        limit = self._memory_limit()
        # systemd takes an empty cgroup away, and with it the count of kills.
        gone = self.groups.joins_late and status == SIGKILL
        ran_out = limit and (gone or failure.ran_out_of_memory(self.groups))
        return failure.died(status, limit if ran_out else None)

    def undo(self) -> None:
        """Everything as it was before: the first error is the one that counts, so these say nothing."""
        if self.init.pid:
            # Our own child, not reaped: the pid is still its.
            posix.kill(self.init.pid, SIGKILL)
            self.init.reap()
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
        if self.wrote_pid_file and self.request.pid_file:
            files.unlink_quietly(self.request.pid_file)
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
        for made in (self.trees, self.nodes, self.net_devices, self.init, self.groups):
            if made is not None:
                made.close()


def _pids(resources: "dict[str, Any]") -> "dict[str, Any]":
    """How many processes there may be. That is set last: what we start in the container to make it isn't the program's."""
    maximum = (resources.get("unified") or {}).get("pids.max")
    found: "dict[str, Any]" = {} if maximum is None else {"unified": {"pids.max": maximum}}
    if "pids" in resources:
        found["pids"] = resources["pids"]
    return found


def _without_pids(resources: "dict[str, Any]") -> "dict[str, Any]":
    rest = {name: value for name, value in resources.items() if name != "pids"}
    if "unified" in rest:
        rest["unified"] = {file: value for file, value in rest["unified"].items() if file != "pids.max"}
    return rest


def _problem(pointer: str, message: str) -> ConfigError:
    from pyoci.errors import Problem

    return ConfigError([Problem(pointer, message)])


def _now() -> str:
    """RFC 3339, UTC, with nanoseconds."""
    now = time.time_ns()
    t = time.gmtime(now // 1_000_000_000)
    date = f"{t.tm_year:04}-{t.tm_mon:02}-{t.tm_mday:02}T{t.tm_hour:02}:{t.tm_min:02}:{t.tm_sec:02}"
    return f"{date}.{now % 1_000_000_000:09}Z"
