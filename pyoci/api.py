"""pyoci for Python programs, and for its own commands: `import pyoci`, then `pyoci.Container` and the rest.

    container = pyoci.Container.create("demo", pyoci.Bundle.load("bundle"))
    container.start()
    print(container.wait())
    container.delete()

Failures are `pyoci.Error`, or its `ConfigError` with every problem of a config.json. A container's program is a child of the
program that created it, and has its standard streams. Whatever a method needs is imported when it is called.
"""

import posix

from pyoci.container import store
from pyoci.errors import Error
from pyoci.paths import absolute

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    from pyoci.container.notify import Proxy
    from pyoci.plan.plan import Plan
    from pyoci.spec.bundle import Bundle
    from pyoci.trace import Trace

CLD_EXITED = 1  # waitid(2)


def _warn(message: str) -> None:
    """Where warnings go that nobody else takes."""
    import warnings

    warnings.warn(message, stacklevel=3)


def compile_plan(
    bundle: "Bundle", *, warn: "Callable[[str], None] | None" = None, manager: str = "cgroupfs"
) -> "Plan":
    """The steps that would make a container of a bundle on this host. Makes nothing.

    Arguments:
        warn: what takes warnings; None: the module warnings.
        manager: what would make the cgroups, "cgroupfs" or "systemd".

    Raises ConfigError or Error if that can't work here.
    """
    from pyoci.container.request import Request, located, prepare

    name = bundle.path.rpartition("/")[2]
    container_id = "".join(char for char in name if char in store.ID_CHARACTERS).strip(".") or "container"
    with located(bundle):
        request = Request("/", container_id, bundle, warn or _warn, manager=manager)
        _, plan, _ = prepare(request, cache=False)
    return plan


class Process:
    """A process that was started by `Container.exec`.

    Attributes:
        pid: its, as this program counts. It is a child of this program's.
    """

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._status: int | None = None

    def wait(self) -> int:
        """Wait for its end: its exit status, or 128 and the number of the signal that ended it."""
        if self._status is None:
            code = posix.waitstatus_to_exitcode(posix.waitpid(self.pid, 0)[1])
            self._status = 128 - code if code < 0 else code
        return self._status


class Container:
    """A container, known by its id. Whether there is one shows when something is done with it.

    Arguments:
        container_id: its id.
        root: where states are kept; None: where the command `pyoci` keeps them.
        warn: what takes warnings; None: the module warnings.
    """

    def __init__(
        self,
        container_id: str,
        root: str | None = None,
        *,
        warn: "Callable[[str], None] | None" = None,
    ) -> None:
        self.id = store.check_id(container_id)
        self.root = absolute(root) if root else store.default_root()
        self._warn = warn or _warn
        self._child = 0
        self._status: int | None = None

    def __repr__(self) -> str:
        return f"Container({self.id!r}, root={self.root!r})"

    @classmethod
    def create(
        cls,
        container_id: str,
        bundle: "Bundle",
        root: str | None = None,
        *,
        warn: "Callable[[str], None] | None" = None,
        **options: "Any",
    ) -> "Container":
        """Create a container (runtime.md, "create"); it waits for `start`.

        Arguments:
            container_id: its id.
            bundle: from `Bundle.load`.
            root: as for `Container`.
            warn: as for `Container`.
            options: pid_file, console, pidfd, no_pivot, new_keyring, preserve_fds, rootless, environment, manager, as
                `pyoci.container.request.Request` describes them.

        Raises ConfigError or Error, with everything as it was before.
        """
        from pyoci.container.create import create
        from pyoci.container.request import Request

        container = cls(container_id, root, warn=warn)
        entry = create(Request(container.root, container.id, bundle, container._warn, **options))
        container._child = entry.state["pid"]
        entry.close()
        return container

    def start(self, *, wait: bool = True, trace: "Trace | None" = None) -> "Proxy | None":
        """Run its program (runtime.md, "start").

        Arguments:
            wait: if the program tells a service manager when it is ready (NOTIFY_SOCKET), wait for that.

        Returns what passes the program's messages on to the manager, None if there is none.

        Raises Error if it isn't created, or its program can't be executed.
        """
        from pyoci.container.start import start

        with self._locked() as entry:
            return start(entry, self._warn, wait=wait, trace=trace)

    def state(self) -> "dict[str, Any]":
        """What runtime.md, "state", says, and rootfs, created and owner. Raises Error if there is no such container."""
        from pyoci.container.status import describe

        with self._found() as entry:
            return describe(entry)

    @property
    def status(self) -> str:
        """creating, created, running, paused or stopped."""
        status: str = self.state()["status"]
        return status

    @property
    def pid(self) -> int:
        """The container's process, as this program counts; 0 if it is stopped."""
        pid: int = self.state()["pid"]
        return pid

    def kill(self, signal: "int | str" = "TERM", *, everything: bool = False) -> None:
        """Send a signal to its process (runtime.md, "kill").

        Arguments:
            signal: a number or a name, with or without SIG.
            everything: to all processes of its cgroup; SIGKILL always is where the container has no pid namespace of its own.

        Raises Error if it is neither created nor running; with `everything` a stopped one is fine.
        """
        from pyoci.container.kill import kill, parse_signal

        number = parse_signal(signal) if isinstance(signal, str) else signal
        with self._found() as entry:
            kill(entry, number, everything=everything)

    def delete(self, *, force: bool = False) -> None:
        """Delete it (runtime.md, "delete").

        Arguments:
            force: end it first, and clean up whatever is left of it; no container is no error then.

        Raises Error if it isn't stopped, or something can't be removed.
        """
        from pyoci.container.delete import delete, take

        entry = take(self.root, self.id, force=force)
        if entry is None:
            return
        try:
            delete(entry, force=force, warn=self._warn)
        finally:
            entry.close()
        if self._child and self._status is None:
            self._reap(posix.P_PID, self._child, posix.WNOHANG)

    def exec(
        self, process: "Sequence[str] | Mapping[str, Any]", *, name: str = "process", **options: "Any"
    ) -> Process:
        """Start another process in it.

        Arguments:
            process: a program and its arguments, run as the container's own; or a whole process object, as in config.json.
            name: what the process object is called in messages.
            options: pid_file, console, pidfd, preserve_fds, cgroups, ignore_paused, new_keyring, as
                `pyoci.container.exec.Request` describes them.

        Raises ConfigError or Error, with nothing left behind.
        """
        from pyoci.container.exec import Request, execute

        with self._locked(shared=True) as entry:
            whole = self._process(entry, process, name)
            before = posix.sched_getaffinity(0)
            try:
                pid = execute(entry, Request(whole, self._warn, name=name, **options))
            finally:
                if whole.get("execCPUAffinity"):
                    posix.sched_setaffinity(0, before)
        return Process(pid)

    def _process(
        self, entry: "store.Entry", process: "Sequence[str] | Mapping[str, Any]", name: str
    ) -> "dict[str, Any]":
        from pyoci.container import exec_process
        from pyoci.spec.bundle import validate_process

        if isinstance(process, str):
            raise TypeError("a program and its arguments are a list")
        if isinstance(process, (list, tuple)):
            whole = exec_process.like_the_containers(entry, list(process))
        else:
            whole = dict(process)  # type: ignore[arg-type]
        validate_process(whole, name=name, warn=self._warn)
        return whole

    def pause(self) -> None:
        """Stop all its processes until `resume`. Raises Error if it isn't created or running."""
        from pyoci.container.pause import pause

        with self._locked(shared=True) as entry:
            pause(entry)

    def resume(self) -> None:
        """Let its processes go on. Raises Error if it isn't paused."""
        from pyoci.container.pause import resume

        # Shared: an `exec --ignore-paused` keeps the container until it is resumed.
        with self._locked(shared=True) as entry:
            resume(entry)

    def update(self, resources: "dict[str, Any]", schemas: "dict[str, str] | None" = None) -> None:
        """Change its limits.

        Arguments:
            resources: as linux.resources in config.json; what isn't in it stays.
            schemas: the l3CacheSchema and memBwSchema of linux.intelRdt.

        Raises ConfigError or Error.
        """
        from pyoci.container import update

        with self._locked() as entry:
            update.update(entry, resources, schemas, warn=self._warn)

    def processes(self) -> "list[int]":
        """The pids of its processes, as this program counts; of a stopped container those that its first one has left. Raises
        Error if it is being created."""
        from pyoci.container import processes

        with self._found() as entry:
            return processes.pids(entry)

    def wait(self, timeout: float | None = None) -> int | None:
        """Wait until it is stopped.

        Arguments:
            timeout: how long, in seconds; None: as long as it takes.

        Returns its exit status, or 128 and the number of the signal that ended it; None if somebody else created it.

        Raises TimeoutError, or Error if there is no such container.
        """
        if self._status is not None:
            return self._status
        from pyoci.container.identity import start_time

        with self._found() as entry:
            pid, started = entry.state.get("pid"), entry.state.get("start_time")
        if not pid:
            raise Error(f'container "{self.id}" was never created')
        try:
            pidfd = posix.pidfd_open(pid)
        except ProcessLookupError:
            return None
        try:
            if start_time(pid) != started:
                return None
            _await(pidfd, timeout)
            return self._reap(posix.P_PIDFD, pidfd)
        except FileNotFoundError:
            return None
        finally:
            posix.close(pidfd)

    def _reap(self, kind: int, which: int, flags: int = 0) -> int | None:
        try:
            ended = posix.waitid(kind, which, posix.WEXITED | flags)
        except ChildProcessError:
            return None
        if ended is not None:
            self._status = ended.si_status + (0 if ended.si_code == CLD_EXITED else 128)
        return self._status

    def _found(self) -> "_Held":
        return _Held(store.find(self.root, self.id))

    def _locked(self, *, shared: bool = False) -> "_Held":
        entry = store.find(self.root, self.id)
        try:
            entry.lock(shared=shared)
            entry.load()
        except BaseException:
            entry.close()
            raise
        return _Held(entry)


class _Held:
    """Within it, the entry is open, and locked if it was; contextlib would have to be imported."""

    __slots__ = ("entry",)

    def __init__(self, entry: "store.Entry") -> None:
        self.entry = entry

    def __enter__(self) -> "store.Entry":
        return self.entry

    def __exit__(self, *error: object) -> None:
        self.entry.close()


def _await(pidfd: int, timeout: float | None) -> None:
    import select

    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    if not poll.poll(None if timeout is None else timeout * 1000):
        raise TimeoutError(f"the container did not stop within {timeout} s")
