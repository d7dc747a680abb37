"""`exec`: another process in a container that exists."""

import posix
from errno import EAGAIN

from pyoci import files, host, shim
from pyoci.cgroups import tree
from pyoci.container import conversation, store
from pyoci.container.identity import is_alive
from pyoci.container.init import Init, open_tasks
from pyoci.container.status import CREATED, RUNNING, is_paused, status, while_alive
from pyoci.errors import NO_SUCH_PROCESS, ConfigError, Error, cause_of, not_running
from pyoci.paths import absolute
from pyoci.plan.compile import Compilation
from pyoci.plan.exec import compile_exec
from pyoci.plan.namespaces import NAMESPACES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from pyoci.container.store import Entry
    from pyoci.plan.plan import Plan
    from pyoci.trace import Trace

SIGKILL = 9


class Request:
    """What `exec` was asked for.

    Attributes:
        process: the process object, checked.
        name: what the process object is called in messages.
        warn: where warnings go.
        pid_file: where to write the pid, or None.
        console: what to do with the terminal's other end, a descriptor; None if there is nobody to take it.
        pidfd: what to do with the process's pidfd, or None.
        preserve_fds: how many descriptors from 3 up go to the program.
        cgroups: sub-cgroups, "PATH" or "CONTROLLER:PATH", below the container's.
        ignore_paused: wait for `resume` instead of refusing.
        new_keyring: join the container's session keyring.
        trace: takes down how long everything takes, or None.
    """

    def __init__(
        self,
        process: "dict[str, Any]",
        warn: "Callable[[str], None]",
        *,
        name: str = "process",
        pid_file: str | None = None,
        console: "Callable[[int], None] | None" = None,
        pidfd: "Callable[[int], None] | None" = None,
        preserve_fds: int = 0,
        cgroups: "Sequence[str]" = (),
        ignore_paused: bool = False,
        new_keyring: bool = True,
        trace: "Trace | None" = None,
    ) -> None:
        self.process = process
        self.name = name
        self.warn = warn
        self.pid_file = absolute(pid_file) if pid_file else None
        self.console = console
        self.pidfd = pidfd
        self.preserve_fds = preserve_fds
        self.cgroups = cgroups
        self.ignore_paused = ignore_paused
        self.new_keyring = new_keyring
        self.trace = trace


def execute(entry: "Entry", request: Request) -> int:
    """Start the process; its pid, a child of ours.

    Arguments:
        entry: locked, so that nobody deletes the container meanwhile; others may execute in it too. While it is paused it
            isn't locked any more.

    Raises Error, with nothing left behind.
    """
    _check(entry, request)
    with while_alive(entry, "exec in"):
        try:
            return _join(entry, request, moved=False)
        except FullError:
            return _join(entry, request, moved=True)


class FullError(Error):
    """The container has as many processes as it may have."""


def _join(entry: "Entry", request: Request, *, moved: bool) -> int:
    joining = Joining(entry, request, moved=moved)
    if request.ignore_paused and is_paused(entry):
        # It joins when the container is resumed, and nobody has to wait for that.
        entry.unlock()
    try:
        try:
            joining.run()
        except ConfigError as error:
            raise _about_process(error, request.name) from None
    except BaseException:
        joining.undo()
        raise
    finally:
        joining.close()
    return joining.init.pid


def _check(entry: "Entry", request: Request) -> None:
    now = status(entry, ours=True)
    if now not in (CREATED, RUNNING):
        raise not_running("exec in", entry.id, f"it is {now}")
    if is_paused(entry) and not request.ignore_paused:
        raise Error(
            f'cannot exec in container "{entry.id}": cannot exec in a paused container',
            hint="`resume` first, or give --ignore-paused to wait for that",
        )
    if request.process.get("terminal") and request.console is None:
        raise Error(
            "the process wants a terminal, but there is nobody to take it",
            hint="give --console-socket, or leave --detach out",
        )
    store.check_preserved(request.preserve_fds)


def _about_process(error: ConfigError, name: str) -> ConfigError:
    """The error with pointers into the process object, which is all that was given."""
    for problem in error.problems:
        problem.pointer = problem.pointer.removeprefix("/process")
    return ConfigError(error.problems, name=name, hint=error.hint)


class Joining:
    """A process on its way into a container.

    Attributes:
        moved: to the cgroup that counts processes we move it, which no limit keeps us from. That takes some 10 ms, so otherwise
            it gets there by its birth; but for that there has to be room, also for the one who gives birth.
    """

    def __init__(self, entry: "Entry", request: Request, *, moved: bool = False) -> None:
        self.entry = entry
        self.request = request
        self.target: int = entry.state["pid"]
        self.descriptors: "list[int]" = []
        self.wrote_pid_file = False
        self.config = _config_with(entry, request.process)
        self.groups = tree.from_record(entry.state["cgroups"])
        facts = host.read()
        self.counting = self._counting_directory()
        self.moved = moved or not _has_room(self.counting)
        entered = _differing_namespaces(self.target)
        self.context = self._compilation(facts)
        self.plan: "Plan" = compile_exec(self.context, entered)
        self.init = Init(self.plan, entry.id)

    def _compilation(self, facts: host.Host) -> Compilation:
        linux = self.config.get("linux") or {}
        seccomp = None
        if linux.get("seccomp"):
            from pyoci.plan.seccomp import compile_profile

            directory = f"{self.entry.path.rpartition('/')[0]}/{store.SECCOMP_CACHE}"
            seccomp = compile_profile(linux["seccomp"], self.request.warn, cache_directory=directory)
        directories = self._cgroup_directories()
        return Compilation(
            self.config,
            facts,
            bundle=self.entry.state["bundle"],
            container_id=self.entry.id,
            cgroup_files=[
                f"{path}/tasks"
                for group, path in directories
                if group is not self.groups.unified and not (self.moved and path == self.counting)
            ],
            seccomp=seccomp,
            preserved=self.request.preserve_fds,
            new_keyring=self.request.new_keyring,
            trace=self.request.trace is not None,
        )

    def _cgroup_directories(self) -> "list[tuple[tree.Group, str]]":
        """Each group, and the directory that the process goes to. Raises Error for a sub-cgroup that isn't there."""
        below = _sub_cgroups(self.request.cgroups)
        found = []
        known = {""}
        for group in self.groups.groups:
            known.update(group.controllers)
            named = next((name for name in group.controllers if name in below), "")
            path = group.path + below.get(named, "")
            if path != group.path and not posix.access(path, posix.F_OK):
                raise Error(f"--cgroup: {path} does not exist")
            found.append((group, path))
        for name in below.keys() - known:
            raise Error(f'--cgroup: the container has no cgroup of a controller "{name}"')
        return found

    def _counting_directory(self) -> "str | None":
        """The cgroup in which the process is counted, the pids controller's."""
        counting = self.groups.directory("pids")
        return next((path for group, path in self._cgroup_directories() if group.path == counting), None)

    def run(self) -> None:
        """Start the init, and talk to it until the program has taken its place."""
        for warning in self.plan.warnings:
            self.request.warn(warning)
        affinity = (self.request.process.get("execCPUAffinity") or {}).get("initial")
        if affinity:
            from pyoci.plan.scheduling import numbers

            posix.sched_setaffinity(0, numbers(affinity))
        self._spawn()
        self._converse()

    def _spawn(self) -> None:
        target = self._keep(posix.pidfd_open(self.target))
        made = {"container": target, "root": self._open(f"/proc/{self.target}/root")}
        if self.request.trace:
            made["trace"] = self.request.trace.memory(self.plan)
        # Only now is it sure that all of these are the container's: its pid was not another's meanwhile.
        if not is_alive(self.target, self.entry.state["start_time"]):
            raise not_running("exec in", self.entry.id, NO_SUCH_PROCESS)
        try:
            self._start(self.init.prepare(made, open_tasks))
        except shim.SpawnError as error:
            if error.errno == EAGAIN and not self.moved:
                raise FullError("the container has as many processes as it may have") from None
            reason = f"{cause_of(error).lower()} ({error.call})"
            raise Error(f"can't start a process in the container: {reason}") from None
        if self.moved and not any(step.name == "fork" for step in self.plan.steps):
            self._move()

    def _start(self, slots: "list[int]") -> None:
        paths = [path for group, path in self._cgroup_directories() if group is self.groups.unified]
        if self.moved and paths == [self.counting]:
            paths = []
        if not paths:
            self.init.start(slots)
            return
        try:
            self.init.start(slots, cgroup=self._open(paths[0]))
        except shim.SpawnError as error:
            own = _own_cgroup(self.target, self.groups)
            if error.errno not in (16, 95) or own is None or self.request.cgroups:  # EBUSY, EOPNOTSUPP
                raise
            # A container that has divided its cgroup has no process in it itself: go where its first process is.
            self.init.start(slots, cgroup=self._open(own))

    def _move(self) -> None:
        if self.counting is None:
            return
        path = f"{self.counting}/cgroup.procs"
        try:
            tree.put(path, str(self.init.pid))
        except OSError as error:
            own = _own_cgroup(self.target, self.groups)
            if error.errno not in (16, 95) or own is None or self.request.cgroups:  # EBUSY, EOPNOTSUPP
                raise Error(f"{path}: {cause_of(error)}") from None
            tree.put(f"{own}/cgroup.procs", str(self.init.pid))

    def _open(self, path: str) -> int:
        return self._keep(posix.open(path, posix.O_RDONLY | posix.O_CLOEXEC))

    def _keep(self, descriptor: int) -> int:
        self.descriptors.append(descriptor)
        return descriptor

    def _converse(self) -> None:
        ready = False
        while True:
            message = conversation.receive(self.init.conversation)
            if message is None:
                if ready:
                    return
                raise self._died()
            if message.kind == conversation.FAILED:
                raise self._failed(message)
            if message.kind == conversation.BORN:
                self.init.follow(message.value)
                if self.moved:
                    self._move()
            elif message.kind == conversation.CONSOLE and self.request.console:
                self.request.console(message.descriptor)
            elif message.kind == conversation.LISTENER:
                from pyoci.container import listener

                listener.hand_over(self.entry, message.descriptor, self.init.pid)
            elif message.kind == conversation.READY:
                ready = True
                self._announce()
            conversation.go_ahead(self.init.conversation)

    def _announce(self) -> None:
        pid = self.init.pid
        if self.request.pid_file:
            files.write_file(self.request.pid_file, str(pid).encode(), 0o644)
            self.wrote_pid_file = True
        if self.request.pidfd:
            pidfd = posix.pidfd_open(pid)
            try:
                self.request.pidfd(pidfd)
            finally:
                posix.close(pidfd)

    def _failed(self, message: "conversation.Message") -> Error:
        from pyoci.container import failure

        steps = self.plan.steps
        name = steps[message.step].name if message.step < len(steps) else "spawn"
        if name == "fork" and message.error == EAGAIN and not self.moved:
            return FullError("the container has as many processes as it may have")
        return ConfigError([failure.problem(message, name)], hint=failure.hint(message, name))

    def _died(self) -> Error:
        from pyoci.container import failure

        return failure.died(self.init.reap())

    def undo(self) -> None:
        """End what was started."""
        if self.init.pid:
            posix.kill(self.init.pid, SIGKILL)  # our own child, not reaped: the pid is still its
            self.init.reap()
        if self.wrote_pid_file and self.request.pid_file:
            files.unlink_quietly(self.request.pid_file)

    def close(self) -> None:
        """Close what only the start needed."""
        for fd in self.descriptors:
            posix.close(fd)
        self.init.close()


def _config_with(entry: "Entry", process: "dict[str, Any]") -> "dict[str, Any]":
    """The container's config, as it was created with, and this process in it."""
    return {**store.read_config(entry), "process": process}


def _sub_cgroups(texts: "Sequence[str]") -> "dict[str, str]":
    """Controller ("" for all) -> path with a leading slash, of --cgroup. Raises Error for one that leads out."""
    found = {}
    for text in texts:
        controllers, _, path = text.rpartition(":")
        parts = [part for part in path.split("/") if part]
        if ".." in parts or "." in parts or not path.isprintable():
            raise Error(f'--cgroup: "{text}" is not a path below the container\'s cgroup')
        for controller in controllers.split(","):
            found[controller] = "".join(f"/{part}" for part in parts)
    return found


def _has_room(directory: "str | None") -> bool:
    """Whether two more processes may be in a cgroup."""
    try:
        limit = tree.read(f"{directory}/pids.max").strip() if directory else "max"
        return limit == "max" or int(tree.read(f"{directory}/pids.current")) + 2 <= int(limit)
    except OSError:
        return True


def _own_cgroup(pid: int, groups: tree.Cgroups) -> "str | None":
    """The directory of the v2 cgroup that a process is in."""
    if groups.unified is None:
        return None
    for line in tree.read(f"/proc/{pid}/cgroup").splitlines():
        if line[:3] == "0::":
            return groups.unified.base + line[3:]
    return None


def _differing_namespaces(pid: int) -> int:
    """The namespaces of a process that aren't ours, CLONE_NEW*."""
    return sum(bit for kind, (bit, _) in NAMESPACES.items() if _differs(pid, kind))


def _differs(pid: int, kind: str) -> bool:
    file = NAMESPACES[kind][1]
    try:
        theirs = posix.readlink(f"/proc/{pid}/ns/{file}")
        return theirs != posix.readlink(f"/proc/self/ns/{file}")
    except OSError as error:
        raise Error(f"can't see the {kind} namespace of process {pid}: {cause_of(error)}") from None
