"""`restore`: a container from a checkpoint's images, by criu(8)."""

import posix

from pyoci import shim
from pyoci.container import checkpoint, criu, notify, store
from pyoci.container.create import SIGKILL, Birth
from pyoci.container.request import prepare_new
from pyoci.errors import Error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from pyoci.container.request import Request
    from pyoci.container.store import Entry

ROOT, PID_FILE = "criu-root", "criu.pid"


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
    from pyoci.container.delete import delete
    from pyoci.container.foreground import catch_signals, wait

    if flags["no-subreaper"]:
        raise Error(
            "restore: --no-subreaper takes --detach",
            hint="the restored process is criu's child, and so an orphan",
        )
    shim.become_subreaper()
    wakeup = catch_signals()
    entry = restore(request, flags)
    try:
        proxy = _announce(entry, request)
        begun()
        return wait(entry.state["pid"], wakeup, None, proxy)
    finally:
        delete(entry, force=True, warn=warn)


def _announce(entry: "Entry", request: "Request") -> "notify.Proxy | None":
    """What passes the program's messages on to the service manager, which is told that it runs; None if there is none."""
    if not request.notify:
        return None
    proxy = notify.Proxy(entry)
    proxy.announce()
    return proxy
