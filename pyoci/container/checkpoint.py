"""`checkpoint`: what runs in a container becomes files, by criu(8); `restore` makes it run again."""

import posix

from pyoci import files, jsontext
from pyoci.cgroups import tree
from pyoci.container import criu, notify, store
from pyoci.container.status import RUNNING, is_paused, status, while_alive
from pyoci.errors import Error, cause_of
from pyoci.plan.mounts import Mount

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyoci.container.store import Entry

# Beside criu's images: what `restore` must know that they don't say.
NOTES = "pyoci.json"
DEFAULT_IMAGES = "checkpoint"
# What a mount that isn't the container's own filesystem comes from.
BIND, NULL_DEVICE, CGROUP, NOTIFY = "bind", "null", "cgroup", "notify"


def checkpoint(entry: "Entry", flags: "dict[str, Any]") -> None:
    """Write the images. The container has ended then, unless it is to be left running.

    Arguments:
        entry: locked.
        flags: of the command line.

    Raises Error, with the container as it was.
    """
    criu.find()
    now = status(entry, ours=True)
    if now != RUNNING:
        raise Error(f'cannot checkpoint container "{entry.id}": it is {now}, not running')
    config = store.read_config(entry)
    if (config.get("process") or {}).get("terminal"):
        raise Error(f'cannot checkpoint container "{entry.id}": its terminal\'s other end is outside')
    # containerd pauses it first. criu thaws a frozen cgroup while it looks, and leaves it frozen.
    paused = is_paused(entry)
    images = criu.directory(flags["image-path"] or DEFAULT_IMAGES, make=True)
    work = criu.directory(flags["work-path"] or images, make=True)
    pid: int = entry.state["pid"]
    with while_alive(entry, "checkpoint"):
        with open(f"/proc/{pid}/mountinfo") as table:
            mounts = _external_mounts(table.read(), config, entry)
        stdio = _stdio(pid)
    words = ["pre-dump" if flags["pre-dump"] else "dump", "--tree", str(pid), "--images-dir", images]
    words += ["--root", entry.state["rootfs"]]
    if paused:
        words += ["--freeze-cgroup", entry.state["freezer"].rpartition("/")[0]]
    if flags["pre-dump"] or flags["parent-path"]:
        words.append("--track-mem")
    if flags["parent-path"]:
        words += ["--prev-images-dir", _parent(flags["parent-path"], images)]
    words += [word for point in mounts for word in ("--external", f"mnt[{point}]:{point}")]
    words += [word for key in stdio if key.startswith("file[") for word in ("--external", key)]
    words += criu.options(criu.DUMP, flags, entry.state["annotations"])
    _note(images, {"mounts": mounts, "stdio": stdio, "id": entry.id})
    status_fd = flags["status-fd"]
    criu.run(words, work, "dump.log", () if status_fd is None else (status_fd,))
    if paused and not (flags["leave-running"] or flags["pre-dump"]):
        # What criu has killed is dead only when it is thawed.
        tree.from_record(entry.state["cgroups"]).freeze(False)


def _parent(path: str, images: str) -> str:
    # criu makes a symlink of it, and the images may be moved together.
    if path.startswith("/"):
        raise Error("--parent-path must be relative to --image-path")
    if not posix.access(f"{images}/{path}", posix.R_OK):
        raise Error(f"--parent-path: {images}/{path} is not there")
    return path


def _note(images: str, notes: "dict[str, Any]") -> None:
    files.write_file(f"{images}/{NOTES}", jsontext.dump(notes).encode(), 0o600)


def read_notes(images: str) -> "dict[str, Any]":
    """What `checkpoint` wrote down. Raises Error if these aren't its images."""
    path = f"{images}/{NOTES}"
    try:
        with open(path, "rb") as file:
            notes: "dict[str, Any]" = jsontext.parse(file.read(), path, surrogates=True)
    except OSError as error:
        raise Error(f"{path}: {cause_of(error)}", hint="it is written by `pyoci checkpoint`") from None
    return notes


def _external_mounts(table: str, config: "dict[str, Any]", entry: "Entry") -> "dict[str, list[str]]":
    """Mount point -> [where it comes from, more of it], for the mounts that are no filesystem of the container's.

    Arguments:
        table: its process's mountinfo (proc_pid_mountinfo(5)).
    """
    binds = {}
    for i, each in enumerate(config.get("mounts") or ()):
        mount = Mount(each, f"/mounts/{i}", entry.state["bundle"])
        if mount.bind is not None and not mount.remount:
            binds[mount.destination] = mount.source
    found: "dict[str, list[str]]" = {}
    for line in table.splitlines():
        before, _, after = line.partition(" - ")
        root, point = before.split(" ")[3:5]
        kind = after.split(" ")[0]
        if point == notify.INSIDE and entry.state.get("notify"):
            found[point] = [NOTIFY, ""]
        elif point in binds:
            found[point] = [BIND, binds[point]]
        elif kind == "devtmpfs" and root == "/null":
            found[point] = [NULL_DEVICE, ""]
        elif kind == "cgroup":
            found[point] = [CGROUP, after.split(" ")[-1]]
    return found


def _stdio(pid: int) -> "list[str]":
    """How criu calls what descriptors 0, 1 and 2 are, if that is outside: "pipe:[1]", "file[mnt:inode]"; or ""."""
    with open(f"/proc/{pid}/mountinfo") as table:
        own = {line.split(" ")[0] for line in table}
    found = []
    for fd in range(3):
        try:
            target = posix.readlink(f"/proc/{pid}/fd/{fd}")
            inode = posix.stat(f"/proc/{pid}/fd/{fd}").st_ino
            with open(f"/proc/{pid}/fdinfo/{fd}") as info:
                mount = next(line.split()[1] for line in info if line.startswith("mnt_id:"))
        except OSError:
            found.append("")
            continue
        if target.startswith("pipe:"):
            found.append(target)
        elif target.startswith("/") and mount not in own:
            found.append(f"file[{int(mount):x}:{inode:x}]")
        else:
            found.append("")
    return found
