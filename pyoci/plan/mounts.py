"""mounts, root, maskedPaths and readonlyPaths -> steps (config.md, "Mounts" and "Root")."""

from pyoci.errors import ConfigError, Problem
from pyoci.plan import cgroup_mounts
from pyoci.plan.mount_options import (
    ATIME,
    INHERIT_MODE,
    NOT_YET,
    OPTIONS,
    ORDINARY_DIRECTORY,
    PRIVATE,
    RDONLY,
    REC,
    SLAVE,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
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
        set, clear: attributes of the mount itself; set_all, clear_all: of all that comes along with a recursive bind.
        propagation: MS_* bits, 0 if none is asked for.
        bind: None, or the flags of the bind.
        remount: change the mount that is there.
        data: the options that the filesystem gets.
    """

    def __init__(self, entry: "dict[str, Any]", origin: str, bundle: str) -> None:
        self.origin = origin
        self.destination = normalise(entry["destination"])
        self.type: str = entry.get("type") or ""
        self.set = self.clear = self.set_all = self.clear_all = self.propagation = 0
        self.bind: int | None = None
        self.remount = False
        self.data: list[str] = []
        for i, option in enumerate(entry.get("options") or ()):
            self._apply(option, f"{origin}/options/{i}")
        self.source: str = entry.get("source") or ""
        if self.bind is not None and not self.source.startswith("/"):
            self.source = f"{bundle}/{self.source}"

    def _apply(self, option: str, origin: str) -> None:
        row = OPTIONS.get(option)
        if row is None:
            if option in NOT_YET:
                raise ConfigError(
                    [Problem(origin, f'the option "{option}" is not supported yet by this version of pyoci')]
                )
            self.data.append(option)
        elif row[0] == "attribute":
            self.set, self.clear = combine(self.set, self.clear, row[1], row[2])
        elif row[0] == "all":
            self.set_all, self.clear_all = combine(self.set_all, self.clear_all, row[1], row[2])
        elif row[0] == "propagation":
            self.propagation = row[1]
        elif row[0] == "filesystem":
            self.data.append(row[1])
        elif row[0] == "bind":
            self.bind = (self.bind or 0) | row[1]
        elif row[0] == "remount":
            self.remount = True


def combine(set_bits: int, clear_bits: int, more_set: int, more_clear: int) -> "tuple[int, int]":
    """What is set and cleared after one more option: the later wins. In the atime field, clearing goes with setting."""
    set_bits = (set_bits & ~more_clear) | more_set
    clear_bits = (clear_bits | more_clear) & ~(more_set & ~ATIME)
    return set_bits, clear_bits


def normalise(path: str) -> str:
    """A path in the container, absolute, without "." and empty parts. ".." stays: only the kernel knows the symlinks."""
    return "/" + "/".join(part for part in path.split("/") if part not in ("", "."))


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


def compile_mounts(context: "Compilation", plan: "Plan") -> None:
    """Every entry of `mounts`, in the listed order."""
    for i, entry in enumerate(context.config.get("mounts") or ()):
        mount = Mount(entry, f"/mounts/{i}", context.bundle)
        _check_proc(mount)
        if mount.type == "cgroup" and mount.bind is None:
            cgroup_mounts.compile_cgroup(context, plan, mount)
        elif mount.remount:
            plan.add(
                "remount",
                mount.origin,
                mount.destination,
                mount.set | mount.set_all,
                mount.clear | mount.clear_all,
            )
        elif mount.bind is not None:
            _compile_bind(plan, mount)
        else:
            _compile_filesystem(context, plan, mount)


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


def _compile_bind(plan: "Plan", mount: Mount) -> None:
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
        mount.propagation or PRIVATE | REC,
        mount.bind,
    )


def _compile_filesystem(context: "Compilation", plan: "Plan", mount: Mount) -> None:
    flags = ORDINARY_DIRECTORY if mount.type in ("proc", "sysfs") else 0
    if mount.type == "tmpfs" and not any(option.startswith("mode=") for option in mount.data):
        flags |= INHERIT_MODE
    data = mount.data
    if context.linux.get("mountLabel"):
        from pyoci.plan import labels

        data = data + labels.mount_options(context, mount.type)
    # mount(2) with MS_RDONLY makes the filesystem read-only, not only this mount of it.
    attributes = (mount.set | mount.set_all) & ~(mount.clear_all & ~mount.set_all)
    if attributes & RDONLY:
        data = ["ro", *data]
    plan.add(
        "mount",
        mount.origin,
        mount.type,
        mount.source,
        mount.destination,
        attributes,
        mount.propagation,
        flags,
        data,
    )


def compile_hidden(context: "Compilation", plan: "Plan") -> None:
    """maskedPaths and readonlyPaths."""
    for i, path in enumerate(context.linux.get("readonlyPaths") or ()):
        plan.add("make-readonly", f"/linux/readonlyPaths/{i}", path)
    for i, path in enumerate(context.linux.get("maskedPaths") or ()):
        plan.add("mask", f"/linux/maskedPaths/{i}", path)


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
        normalise(entry["destination"]) == path and ("bind" in options or "rbind" in options)
        for entry in context.config.get("mounts") or ()
        for options in [entry.get("options") or ()]
    )
