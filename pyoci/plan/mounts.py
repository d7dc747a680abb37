"""mounts, root, maskedPaths and readonlyPaths -> steps (config.md, "Mounts" and "Root")."""

from pyoci.errors import ConfigError, Problem
from pyoci.paths import normalise
from pyoci.plan import cgroup_mounts, namespaces
from pyoci.plan.mount_options import (
    ATIME,
    BIND_RECURSIVE,
    COPY_SYMLINK,
    COPY_UP,
    FROM_HOST,
    HAS_ATTRIBUTES,
    IDMAP,
    IN_PROC,
    INHERIT_GID,
    INHERIT_MODE,
    INHERIT_UID,
    NO_FOLLOW,
    OPTIONS,
    ORDINARY_DIRECTORY,
    PRIVATE,
    RDONLY,
    REC,
    SHARED,
    SLAVE,
    split,
)
from pyoci.plan.plan import Fetch, Step

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from pyoci.plan.compile import Compilation
    from pyoci.plan.plan import Plan

# What may be mounted on inside /proc; lxcfs and checkpointing want these (peers.md 4.2).
PROC_ENTRIES = (
    "cpuinfo", "diskstats", "meminfo", "stat", "swaps", "uptime", "loadavg", "slabinfo",
    "sys/kernel/ns_last_pid", "sys/crypto/fips_enabled",
)  # fmt: skip


# csrc/mounts.c, open-root
ROOT_IS_HERE, ROOT_IS_PRIVATE = 1, 2


class Mount:
    """An entry of `mounts`, its options sorted out.

    Attributes:
        set, clear: attributes of the mount itself; set_all, clear_all: of all that comes along with a recursive bind, set
            before those.
        propagations: MS_* bits, one after the other.
        bind: None, or the flags of the bind.
        remount: change the mount that is there.
        data: the options that the filesystem gets.
        idmap: None, or whether the mounts below are mapped, too; idmap_text: crun's idmap=..., and its pointer.
        copy_up: what the destination holds is copied into the new filesystem.
        place: the flags that are about symlinks at the source or the destination.
    """

    def __init__(self, entry: "dict[str, Any]", origin: str, bundle: str) -> None:
        self.origin = origin
        self.destination = normalise(entry["destination"])
        self.type: str = entry.get("type") or ""
        self.set = self.clear = self.set_all = self.clear_all = 0
        self.propagations: list[int] = []
        self.bind: int | None = None
        self.remount = self.copy_up = False
        self.place = 0
        self.data: list[str] = []
        self.uid_mappings: "list[dict[str, int]]" = entry.get("uidMappings") or []
        self.gid_mappings: "list[dict[str, int]]" = entry.get("gidMappings") or []
        # Mappings that are given must be used, with the option or without it.
        self.idmap: bool | None = False if self.uid_mappings else None
        self.idmap_text: tuple[str, str] | None = None
        for i, option in enumerate(entry.get("options") or ()):
            self._apply(option, f"{origin}/options/{i}")
        self.source: str = entry.get("source") or ""
        if self.bind is not None and not self.source.startswith("/"):
            self.source = f"{bundle}/{self.source}"

    def _apply(self, option: str, origin: str) -> None:
        row = OPTIONS.get(option)
        if row is None:
            name, _, text = option.partition("=")
            if not option:
                pass
            elif name in ("idmap", "ridmap"):
                self.idmap, self.idmap_text = name == "ridmap", (text, origin)
            else:
                self.data.append(option)
            return
        kind, *values = row
        if kind == "attribute":
            self.set, self.clear = combine(self.set, self.clear, *values)
        elif kind == "all":
            self.set_all, self.clear_all = combine(self.set_all, self.clear_all, *values)
            # It is about this mount, too, and the later wins.
            self.set &= ~(values[0] | values[1])
            self.clear &= ~(values[0] | values[1])
        elif kind == "propagation":
            self.propagations.append(values[0])
        elif kind == "filesystem":
            self.data.append(values[0])
        elif kind == "bind":
            self.bind = (self.bind or 0) | values[0]
        elif kind == "idmap":
            self.idmap = values[0]
        elif kind == "remount":
            self.remount = True
        elif kind == "copy up":
            self.copy_up = True
        elif kind == "place":
            self.place |= values[0]

    def readonly_step(self) -> Step:
        """The step that makes it read-only, which its own step then doesn't."""
        step = Step(
            "remount", self.origin, (self.destination, self.set & RDONLY, 0, self.set_all & RDONLY, 0, [])
        )
        self.set &= ~RDONLY
        self.set_all &= ~RDONLY
        return step

    def attributes(self) -> int:
        """What a new filesystem is mounted with: all of them say something of the one mount."""
        return combine(self.set_all, self.clear_all, self.set, self.clear)[0]

    def gives(self, name: str) -> bool:
        """Whether the filesystem is given this option with a value."""
        return any(each.startswith(f"{name}=") for option in self.data for each in split(option))


def combine(set_bits: int, clear_bits: int, more_set: int, more_clear: int) -> "tuple[int, int]":
    """What is set and cleared after one more option: the later wins. In the atime field, clearing goes with setting."""
    set_bits = (set_bits & ~more_clear) | more_set
    clear_bits = (clear_bits | more_clear) & ~(more_set & ~ATIME)
    return set_bits, clear_bits


def compile_root(context: "Compilation", plan: "Plan") -> None:
    """The root filesystem becomes a mount of its own, in a tree that no longer sends mounts to the host's."""
    # Without a mount namespace the tree is the host's, and stays as it is.
    if "mount" in context.namespaces:
        plan.add("set-propagation", "/linux/rootfsPropagation", SLAVE)
    flags = ROOT_IS_HERE if any(step.name == "go-to-root" for step in plan.steps) else 0
    if "mount" not in context.namespaces:
        flags |= ROOT_IS_PRIVATE
    plan.add("open-root", "/root/path", context.root_path, flags)


def compile_change_of_root(context: "Compilation", plan: "Plan") -> None:
    """The root filesystem becomes the root."""
    if "mount" not in context.namespaces:
        plan.add("change-root", "/root/path")
    else:
        plan.add("move-root" if context.no_pivot else "pivot-root", "/root/path")


def compile_mounts(
    context: "Compilation", plan: "Plan", wanted: "Callable[[dict[str, Any]], bool] | None" = None
) -> "list[Step]":
    """Every entry of `mounts`, in the listed order; with `wanted` only those that it takes.

    Returns the steps that make those read-only that have to be filled before.
    """
    last: "list[Step]" = []
    for i, entry in enumerate(context.config.get("mounts") or ()):
        if wanted and not wanted(entry):
            continue
        mount = Mount(entry, f"/mounts/{i}", context.bundle)
        _check_proc(mount)
        if mount.copy_up and (mount.type != "tmpfs" or mount.bind is not None):
            raise ConfigError([Problem(mount.origin, "tmpcopyup is for a mount of type tmpfs only")])
        shows_cgroups = mount.type in ("cgroup", "cgroup2") and mount.bind is None and not mount.remount
        if shows_cgroups or mount.copy_up:
            # What is copied is memory that counts.
            namespaces.compile_late_cgroup(context, plan)
        if (mount.set | mount.set_all) & RDONLY and _is_filled(context, mount, i):
            last.append(mount.readonly_step())
        if shows_cgroups:
            cgroup_mounts.compile_cgroup(context, plan, mount)
        elif mount.remount:
            _compile_remount(plan, mount)
        elif mount.bind is not None:
            _compile_bind(context, plan, mount)
        else:
            _compile_filesystem(context, plan, mount)
        for propagation in mount.propagations[1:]:
            plan.add("propagate", mount.origin, mount.destination, propagation)
    return last


def _is_filled(context: "Compilation", mount: Mount, number: int) -> bool:
    """Whether it is a tmpfs in which we make something once it is there: devices, what a later one is mounted on, the working
    directory. Not what exists without us, a disk or a bind: nothing is written in there behind a "ro"."""
    entries = context.config.get("mounts") or ()
    places = [normalise(entry["destination"]) for entry in entries]
    here = [i for i, place in enumerate(places) if place == mount.destination and not _is_remount(entries[i])]
    made = [entry["path"] for entry in context.linux.get("devices") or ()] + places[number + 1 :]
    if context.process:
        made.append(context.process["cwd"])
    if not covers(context, "/dev"):
        made.append("/dev/null")
    inside = mount.destination.rstrip("/") + "/"
    return (
        bool(here)
        and here[-1] <= number
        and entries[here[-1]].get("type") == "tmpfs"
        and not _is_bind(entries[here[-1]])
        and any(
            f"{normalise(path)}/".startswith(inside) and normalise(path) != mount.destination for path in made
        )
    )


def _is_remount(entry: "dict[str, Any]") -> bool:
    return "remount" in (entry.get("options") or ())


def _is_bind(entry: "dict[str, Any]") -> bool:
    options = entry.get("options") or ()
    return ("bind" in options or "rbind" in options) and "remount" not in options


def _check_proc(mount: Mount) -> None:
    inside = mount.destination.removeprefix("/proc/")
    if inside != mount.destination and inside not in PROC_ENTRIES:
        raise ConfigError(
            [
                Problem(
                    f"{mount.origin}/destination",
                    f'nothing may be mounted on "{mount.destination}", inside /proc',
                )
            ]
        )
    if mount.destination == "/proc" and mount.bind is None and mount.type != "proc":
        raise ConfigError(
            [
                Problem(
                    f"{mount.origin}/type",
                    f'only a filesystem of type "proc" belongs on /proc (it is "{mount.type}")',
                )
            ]
        )


def _place_flags(mount: Mount) -> int:
    """What the init has to know of the place that it mounts on."""
    if mount.destination.removeprefix("/proc/") in PROC_ENTRIES:
        return mount.place | IN_PROC
    ordinary = mount.destination in ("/proc", "/sys") or (
        mount.bind is None and mount.type in ("proc", "sysfs")
    )
    return mount.place | ORDINARY_DIRECTORY * ordinary


def _compile_remount(plan: "Plan", mount: Mount) -> None:
    plan.add(
        "remount",
        mount.origin,
        mount.destination,
        mount.set,
        mount.clear,
        mount.set_all,
        mount.clear_all,
        # Of a bind only the mount's own attributes change: mount(2), MS_REMOUNT with MS_BIND.
        [] if mount.bind is not None else [each for option in mount.data for each in split(option) if each],
    )
    if mount.propagations:
        plan.add("propagate", mount.origin, mount.destination, mount.propagations[0])


def _compile_bind(context: "Compilation", plan: "Plan", mount: Mount) -> None:
    flags = (mount.bind or 0) | _place_flags(mount)
    if _needs_host(context, mount):
        flags |= FROM_HOST
        # In the user namespace the kernel wouldn't know what is the host's, and locked.
        if "user" in context.namespaces and not context.host.rootless:
            flags |= HAS_ATTRIBUTES
        plan.fetches[len(plan.steps)] = Fetch(
            mount.source,
            recursive=bool(flags & BIND_RECURSIVE),
            follow=not flags & (NO_FOLLOW | COPY_SYMLINK),
            peer=_is_peer(context, mount),
            maps_ids=mount.idmap is not None,
            maps=_maps(context, mount),
            idmap_recursive=bool(mount.idmap),
            sets_attributes=bool(flags & HAS_ATTRIBUTES),
        )
    # Filesystem options have no meaning on a bind: mount(2) ignores them, and so do we.
    plan.add(
        "bind",
        mount.origin,
        mount.source,
        mount.destination,
        mount.set,
        mount.clear,
        mount.set_all,
        mount.clear_all,
        mount.propagations[0] if mount.propagations else PRIVATE | REC,
        flags,
    )


def _needs_host(context: "Compilation", mount: Mount) -> bool:
    """Whether the host side has to open the source.

    It maps ids; root of a user namespace may not be able to reach it; a peer of the host's mount has to be made before
    the container's tree is cut off. Not what is in the root filesystem: that may be an earlier mount, which only the
    container sees. And a user without privileges can't make any tree outside of his container.
    """
    if mount.idmap is not None or _is_peer(context, mount) or context.inside:
        return True
    inside = f"{mount.source}/".startswith(f"{context.root_path}/")
    return "user" in context.namespaces and not inside and not context.host.rootless


def _is_peer(context: "Compilation", mount: Mount) -> bool:
    """Whether what is mounted below shows on the host and the other way round: a shared mount in a shared root, as
    Kubernetes asks for ("Bidirectional"). Not from a user namespace, whose mounts the host doesn't trust."""
    return (
        "user" not in context.namespaces
        and context.linux.get("rootfsPropagation") in ("shared", "rshared")
        and bool(mount.propagations)
        and bool(mount.propagations[-1] & SHARED)
    )


def _maps(context: "Compilation", mount: Mount) -> "tuple[str, str] | None":
    if mount.idmap is None:
        return None
    from pyoci.plan.idmaps import maps_of

    return maps_of(context, mount)


def _compile_filesystem(context: "Compilation", plan: "Plan", mount: Mount) -> None:
    flags = _place_flags(mount)
    if mount.type == "tmpfs":
        for name, flag in (("mode", INHERIT_MODE), ("uid", INHERIT_UID), ("gid", INHERIT_GID)):
            flags |= 0 if mount.gives(name) else flag
    data = mount.data
    # SELinux refuses two of them.
    if context.linux.get("mountLabel") and not mount.gives("context"):
        from pyoci.plan import labels

        data = data + labels.mount_options(context, mount.type)
    attributes = mount.attributes()
    if mount.copy_up:
        flags |= COPY_UP
    elif attributes & RDONLY:
        # mount(2) with MS_RDONLY makes the filesystem read-only, not only this mount of it.
        data = ["ro", *data]
    if mount.idmap is not None:
        flags |= IDMAP
        plan.fetches[len(plan.steps)] = Fetch(None, maps_ids=True, maps=_maps(context, mount))
    plan.add(
        "mount",
        mount.origin,
        mount.type,
        mount.source,
        mount.destination,
        attributes,
        mount.propagations[0] if mount.propagations else 0,
        flags,
        data,
    )


def compile_hidden(context: "Compilation", plan: "Plan") -> None:
    """maskedPaths and readonlyPaths."""
    for name, step in (("readonlyPaths", "make-readonly"), ("maskedPaths", "mask")):
        for i, path in enumerate(context.linux.get(name) or ()):
            if path:
                plan.add(step, f"/linux/{name}/{i}", path)


def compile_root_attributes(context: "Compilation", plan: "Plan") -> None:
    """root.readonly and linux.rootfsPropagation, when nothing more has to be written or mounted."""
    readonly = RDONLY if context.config["root"].get("readonly") else 0
    asked = context.linux.get("rootfsPropagation")
    propagation = OPTIONS[asked][1] if asked else 0
    if readonly:
        plan.add("root-attributes", "/root/readonly", readonly, 0)
    if propagation:
        plan.add("root-attributes", "/linux/rootfsPropagation", 0, propagation)


def covers(context: "Compilation", path: str) -> bool:
    """Whether a bind mount of the host's lies on this very path (a bound /dev brings its own devices)."""
    return any(
        normalise(entry["destination"]) == path and _is_bind(entry)
        for entry in context.config.get("mounts") or ()
    )
