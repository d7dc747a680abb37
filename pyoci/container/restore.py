"""`restore`: a container from a checkpoint's images, by criu(8)."""

import posix

from pyoci import shim
from pyoci.container import checkpoint, conversation, criu, notify, store
from pyoci.container.create import SIGKILL, Birth
from pyoci.container.init import Init, open_tasks
from pyoci.container.request import prepare_new
from pyoci.errors import Error
from pyoci.paths import normalise
from pyoci.plan import devices, mounts
from pyoci.plan.namespaces import NAMESPACES
from pyoci.plan.plan import Plan

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from pyoci.container.request import Request
    from pyoci.container.store import Entry

ROOT, PID_FILE = "criu-root", "criu.pid"
OF_NAMESPACES = ("proc", "mqueue", "sysfs", "cgroup", "cgroup2")


def restore(request: "Request", flags: "dict[str, Any]") -> "Entry":
    """Make the container run again; our child if we are a subreaper.

    Arguments:
        request: as for `create`.
        flags: of the command line.

    Raises Error, with everything as it was before.
    """
    criu.find()
    images = criu.directory(flags["image-path"] or checkpoint.DEFAULT_IMAGES, make=False)
    work = criu.directory(flags["work-path"] or images, make=True)
    notes = checkpoint.read_notes(images)
    context, plan, groups = prepare_new(request)
    entry = store.reserve(request.root, request.id)
    rebirth = Rebirth(request, context, plan, groups, entry)
    try:
        rebirth.restore(flags, notes, images, work)
    except BaseException:
        rebirth.undo()
        raise
    finally:
        rebirth.close()
    return entry


class Rebirth(Birth):
    """A container being restored: what `create` makes around the processes, and criu's instead of an init."""

    pid = 0

    def restore(self, flags: "dict[str, Any]", notes: "dict[str, Any]", images: str, work: str) -> None:
        """Make everything, in order."""
        self.write_down()
        if not self.request.notify and any(kind == checkpoint.NOTIFY for kind, _ in notes["mounts"].values()):
            notify.make_directory(self.entry)
        self.make_surroundings()
        on_host = "mount" not in self.context.namespaces
        if on_host:
            self._mount_on_host()
        # criu wants the root filesystem to be a mount.
        root = f"{self.entry.path}/{ROOT}"
        posix.mkdir(root, 0o700)
        shim.bind(self.context.root_path, root)
        try:
            self._run(flags, notes, (images, work, root))
        finally:
            shim.unmount(root)
            posix.rmdir(root)
        with open(f"{work}/{PID_FILE}") as text:
            self.pid = int(text.read())
        resources = self.context.linux.get("resources") or {}
        if self.groups.groups:
            # Only now: criu works in the cgroups, too, and needs more than the container did.
            self.groups.apply(resources)
            self.delegate()
        self.admit(self.pid, resources)
        if on_host:
            self._mount_in_namespaces()

    def _mount_on_host(self) -> None:
        """What lies in the host's tree, and criu doesn't make, since it isn't the container's mount namespace."""
        plan = Plan()
        mounts.compile_root(self.context, plan)
        read_only = mounts.compile_mounts(self.context, plan, lambda entry: not _shows_namespace(entry))
        devices.compile_devices(self.context, plan)
        plan.steps += read_only
        self._execute(plan, {})

    def _mount_in_namespaces(self) -> None:
        """What shows the namespaces of the process that mounts it."""
        held = [
            posix.open(f"/proc/{self.pid}/{name}", posix.O_RDONLY | posix.O_CLOEXEC)
            for name in ("root", "ns/pid")
        ]
        held.append(posix.pidfd_open(self.pid))
        plan = Plan()
        target, root = plan.slot("container"), plan.slot("root")
        kinds = [kind for kind in ("ipc", "network", "cgroup") if kind in self.context.namespaces]
        plan.add("enter-namespaces", "", target, sum(NAMESPACES[kind][0] for kind in kinds))
        plan.add("enter-root", "", root)
        plan.add("hold-root", "")
        plan.steps += mounts.compile_mounts(self.context, plan, _shows_namespace)
        mounts.compile_root_attributes(self.context, plan)
        try:
            self._execute(plan, {"root": held[0], "container": held[2]}, held[1])
        finally:
            for fd in held:
                posix.close(fd)

    def _execute(self, plan: Plan, given: "dict[str, int]", pid_namespace: "int | None" = None) -> None:
        """Have an init do the steps of a plan that ends."""
        self.plan, self.init = plan, Init(plan, self.entry.id)
        self.init.start(self.init.prepare(given, open_tasks), pid_namespace)
        while message := conversation.receive(self.init.conversation):
            if message.kind == conversation.FAILED:
                raise self._failed(message)
            self._fetch(message.step)
        status = self.init.reap()
        self.init.close()
        if status != 0:
            from pyoci.container import failure

            raise failure.died(status)

    def _run(self, flags: "dict[str, Any]", notes: "dict[str, Any]", places: "tuple[str, str, str]") -> None:
        images, work, root = places
        words = ["restore", "--images-dir", images, "--root", root, "--restore-detached"]
        words += ["--pidfile", PID_FILE]
        try:
            posix.unlink(f"{work}/{PID_FILE}")
        except FileNotFoundError:
            pass
        for point, (kind, detail) in notes["mounts"].items():
            words += ["--external", f"mnt[{point}]:{self._source(kind, detail)}"]
        kept = []
        for fd, key in enumerate(notes["stdio"]):
            if key:
                # Its own 0, 1 and 2 are its own.
                kept.append(_above(fd))
                words += ["--inherit-fd", f"fd[{kept[-1]}]:{key}"]
        if self.groups.groups:
            words += ["--cgroup-root", self.groups.path]
        else:
            flags = flags | {"manage-cgroups-mode": "ignore"}
        words += criu.options(criu.RESTORE, flags, self.request.bundle.config.get("annotations") or {})
        try:
            criu.run(words, work, "restore.log", tuple(kept), self._admit_criu)
        finally:
            for fd in kept:
                posix.close(fd)

    def _admit_criu(self, pid: int) -> None:
        """The processes are born where criu is."""
        self.groups.begin(pid, {})
        self.groups.settle(pid, {})
        self.groups.join(pid)
        if self.resctrl:
            self.resctrl.join(pid)

    def _source(self, kind: str, detail: str) -> str:
        """Where a mount that isn't the container's own filesystem comes from now."""
        if kind == checkpoint.CGROUP:
            return self._hierarchy(detail)
        if kind == checkpoint.NOTIFY:
            return f"{self.entry.path}/{notify.DIRECTORY}"
        return "/dev/null" if kind == checkpoint.NULL_DEVICE else detail

    def _hierarchy(self, options: str) -> str:
        """The container's directory in the v1 hierarchy with these mount options; without any of its own its caller's."""
        for base, controllers in self.context.host.layout.hierarchies:
            if set(controllers) & set(options.split(",")):
                return self.context.shown_cgroups.get(base) or base + self.groups.path
        raise Error(f"this host has no cgroup hierarchy of {options}, which the checkpoint shows")

    def undo(self) -> None:
        """See `Birth.undo`; without cgroups only the first process is known."""
        if self.pid and not self.groups.groups:
            try:
                posix.kill(self.pid, SIGKILL)
            except ProcessLookupError:
                pass
        super().undo()


def _shows_namespace(entry: "dict[str, Any]") -> bool:
    """Whether a mount shows what the namespaces of its maker have, or lies below /proc."""
    shows = entry.get("type") in OF_NAMESPACES and not {"bind", "rbind"} & set(entry.get("options") or ())
    return shows or normalise(entry["destination"]).startswith("/proc/")


def _above(fd: int) -> int:
    import fcntl

    return fcntl.fcntl(fd, fcntl.F_DUPFD, 100)


def run(
    request: "Request",
    flags: "dict[str, Any]",
    warn: "Callable[[str], None]",
    begun: "Callable[[], None]",
) -> int:
    """Restore, and in the foreground wait for the end and delete it; the exit status. Raises Error."""
    if flags["detach"]:
        entry = restore(request, flags)
        _announce(entry, request)
        entry.close()
        return 0
    from pyoci.container.foreground import Signals, wait
    from pyoci.container.run import clean_up

    if flags["no-subreaper"]:
        raise Error(
            "restore: --no-subreaper takes --detach",
            hint="the restored process is criu's child, and so an orphan",
        )
    signals = Signals()
    shim.become_subreaper()
    entry = restore(request, flags)
    entry.unlock()
    try:
        proxy = _announce(entry, request)
        begun()
        return wait(entry.state["pid"], signals, None, proxy, warn)
    finally:
        clean_up(entry, warn)


def _announce(entry: "Entry", request: "Request") -> "notify.Proxy | None":
    """What passes the program's messages on to the service manager, which is told that it runs; None if there is none."""
    if not request.notify:
        return None
    proxy = notify.Proxy(entry)
    proxy.announce()
    return proxy
