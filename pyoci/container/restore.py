"""`restore`: a container from a checkpoint's images, by criu(8)."""

import posix

from pyoci import shim
from pyoci.container import checkpoint, criu, store
from pyoci.container.create import first_state
from pyoci.container.identity import start_time
from pyoci.container.request import prepare_new
from pyoci.errors import Error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from pyoci.cgroups.tree import Cgroups
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
    context, _, groups = prepare_new(request)
    entry = store.reserve(request.root, request.id)
    root = f"{entry.path}/{ROOT}"
    try:
        _write_state(entry, request, context, groups)
        groups.create()
        groups.apply(context.linux.get("resources") or {})
        # criu wants the root filesystem to be a mount.
        posix.mkdir(root, 0o700)
        shim.bind(context.root_path, root)
        try:
            _run(request, flags, notes, groups, (images, work, root))
        finally:
            shim.unmount(root)
            posix.rmdir(root)
        _note_process(entry, request, f"{work}/{PID_FILE}")
        groups.apply_devices((context.linux.get("resources") or {}).get("devices") or [])
    except BaseException:
        groups.kill()
        groups.remove()
        entry.remove()
        raise
    finally:
        groups.close()
    return entry


def _write_state(entry: "Entry", request: "Request", context: "Any", groups: "Cgroups") -> None:
    entry.state = first_state(request, context, groups)
    store.save_config(entry, request.bundle.raw)
    entry.save()


def _run(
    request: "Request",
    flags: "dict[str, Any]",
    notes: "dict[str, Any]",
    groups: "Cgroups",
    places: "tuple[str, str, str]",
) -> None:
    images, work, root = places
    words = ["restore", "--images-dir", images, "--root", root, "--restore-detached", "--pidfile", PID_FILE]
    try:
        posix.unlink(f"{work}/{PID_FILE}")
    except FileNotFoundError:
        pass
    for point, (kind, detail) in notes["mounts"].items():
        source = _source(kind, detail, groups)
        words += ["--external", f"mnt[{point}]:{source}"]
    kept = []
    for fd, key in enumerate(notes["stdio"]):
        if key:
            # Its own 0, 1 and 2 are its own.
            kept.append(_above(fd))
            words += ["--inherit-fd", f"fd[{kept[-1]}]:{key}"]
    words += ["--cgroup-root", groups.path]
    words += criu.options(criu.RESTORE, flags, request.bundle.config.get("annotations") or {})
    try:
        criu.run(words, work, "restore.log", tuple(kept))
    finally:
        for fd in kept:
            posix.close(fd)


def _source(kind: str, detail: str, groups: "Cgroups") -> str:
    """Where a mount that isn't the container's own filesystem comes from now."""
    if kind == checkpoint.CGROUP:
        return _hierarchy(groups, detail)
    return "/dev/null" if kind == checkpoint.NULL_DEVICE else detail


def _hierarchy(groups: "Cgroups", options: str) -> str:
    """The container's directory in the v1 hierarchy with these mount options."""
    for group in groups.groups:
        if set(group.controllers) & set(options.split(",")):
            return group.path
    raise Error(f"this host has no cgroup hierarchy of {options}, which the checkpoint shows")


def _above(fd: int) -> int:
    import fcntl

    return fcntl.fcntl(fd, fcntl.F_DUPFD, 100)


def _note_process(entry: "Entry", request: "Request", file: str) -> None:
    with open(file) as text:
        pid = int(text.read())
    entry.state["pid"] = pid
    entry.state["start_time"] = start_time(pid)
    entry.save()
    if request.pid_file:
        store.write_file(request.pid_file, str(pid).encode(), 0o644)


def run(
    request: "Request",
    flags: "dict[str, Any]",
    warn: "Callable[[str], None]",
    begun: "Callable[[], None]",
) -> int:
    """Restore, and in the foreground wait for the end and delete it; the exit status. Raises Error."""
    if flags["detach"]:
        restore(request, flags).close()
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
        begun()
        return wait(entry.state["pid"], wakeup, None)
    finally:
        delete(entry, force=True, warn=warn)
