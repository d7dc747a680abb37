"""A container's directories in the cgroup hierarchies: made, joined, killed, removed.

What has to be known for that is plain data (`Cgroups.record`), which is written to the container's state
before anything is made, so that whatever a crash leaves behind can be removed by it.
"""

import posix
import time
from errno import EBUSY, ENOENT, ENOTDIR, ENOTEMPTY, errorcode

from pyoci.cgroups.layout import OWN_PARENT
from pyoci.errors import Error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from pyoci.cgroups.journal import Journal
    from pyoci.cgroups.layout import Layout

    # Attaches a device filter: descriptor of a v2 cgroup, eBPF instructions.
    Attach = Callable[[int, bytes], None]

# What a v2 tree is called among the controllers.
UNIFIED = "unified"


class TakenError(Error):
    """Another container is in the cgroup, or on its way into it."""


class Group:
    """The container's directory in one hierarchy.

    Attributes:
        base: the hierarchy's mount point.
        controllers: ("cpu", "cpuacct"), ("name=systemd",), or ("unified",) for the v2 tree.
        path: the directory.
        existed: whether it was there before; then it isn't ours to remove.
        ancestors: the parents that we make, outermost first.
    """

    __slots__ = ("ancestors", "base", "controllers", "existed", "path")

    def __init__(
        self, base: str, controllers: "tuple[str, ...]", path: str, existed: bool, ancestors: "list[str]"
    ) -> None:
        self.base = base
        self.controllers = controllers
        self.path = path
        self.existed = existed
        self.ancestors = ancestors


def open_for(layout: "Layout", path: str) -> "Cgroups":
    """The cgroups of a container that is going to be created; makes nothing.

    Arguments:
        layout: what is mounted (`layout.read`).
        path: from `layout.resolve`.

    Raises Error if a cgroup that was there before is in use: limits would hit strangers. That is found
    out here, so that no state is ever written that has them killed by a `delete --force`.
    """
    groups = []
    for base, controllers in layout.hierarchies:
        groups.append(_look(base, controllers, path))
    # On a hybrid host the v2 tree is a convenience (cgroup.kill, CLONE_INTO_CGROUP): without write access, do
    # without.
    if layout.unified and (layout.mode == "v2" or posix.access(layout.unified, posix.W_OK)):
        groups.append(_look(layout.unified, (UNIFIED,), path))
    return Cgroups(layout.mode, path, groups)


def _look(base: str, controllers: "tuple[str, ...]", path: str) -> Group:
    """The group of one hierarchy, and which of its directories are missing."""
    wanted = base + path
    if _is_there(wanted):
        from pyoci.cgroups.members import check_unused

        group = Group(base, controllers, wanted, True, [])
        check_unused(group)
        return group
    return Group(base, controllers, wanted, False, missing_ancestors(base, wanted, []))


def from_record(record: "dict[str, Any]") -> "Cgroups":
    """The cgroups that `Cgroups.record` described."""
    if "systemd" in record:
        from pyoci.cgroups import systemd

        return systemd.from_record(record)
    groups = [group_from_record(record, row) for row in record["groups"]]
    return Cgroups(record["mode"], record["path"], groups)


def group_from_record(record: "dict[str, Any]", row: "list[Any]") -> Group:
    """A group that `Cgroups.record` described in one of its rows."""
    base, controllers, existed, ancestors = row
    return Group(base, tuple(controllers), base + record["path"], existed, ancestors)


class Cgroups:
    """A container's cgroups, one directory in each hierarchy.

    Attributes:
        mode: "v1", "v2" or "hybrid".
        path: the directories' path below each mount point, with a leading slash.
        groups: the v1 hierarchies' directories in the order of mounting, then that of the v2 tree.
        joins_late: they are made around the init when that is there already (`systemd`).
    """

    __slots__ = ("_reservation", "_unified_controllers", "groups", "mode", "path", "unified")

    joins_late = False

    def __init__(self, mode: str, path: str, groups: "list[Group]") -> None:
        self.mode = mode
        self.path = path
        self.groups = groups
        self._unified_controllers: "tuple[str, ...] | None" = None
        self._reservation = -1
        self.unified = groups[-1] if groups and groups[-1].controllers == (UNIFIED,) else None

    def record(self) -> "dict[str, Any]":
        """Everything that `from_record` needs, as JSON: to be written down before `create`."""
        return {
            "mode": self.mode,
            "path": self.path,
            "groups": [
                [group.base, list(group.controllers), group.existed, group.ancestors] for group in self.groups
            ],
        }

    def begin(self, pid: int, resources: "dict[str, Any]") -> None:
        """Nothing; see `systemd`, as for `settle`."""

    def settle(self, pid: int, resources: "dict[str, Any]") -> None:
        """Nothing."""

    def close(self) -> None:
        """Lets go of what `create` has reserved: by now the container's processes say that the cgroup is in use."""
        if self._reservation >= 0:
            posix.close(self._reservation)
            self._reservation = -1

    def create(self) -> None:
        """Makes the directories and what is missing above them.

        Raises Error if the kernel refuses. `remove` takes away what was made until then. Raises TakenError if somebody else
        was first; then nothing of it is ours any more, to be killed or removed.
        """
        try:
            self.make_directories(self.groups)
            if self.mode == "v2" and self.unified:
                _open_ancestors(self.unified)
            self._reserve()
        except TakenError:
            self.give_up()
            raise

    @staticmethod
    def make_directories(groups: "list[Group]") -> None:
        """Makes what is missing, in the same order for every container, so that of two the first is told apart by the first
        one; a v1 cpuset also fit for processes.

        Raises TakenError, without what was made until then; Error.
        """
        made: "list[Group]" = []
        try:
            for group in groups:
                if not group.existed:
                    _make(group)
                    made.append(group)
                if "cpuset" in group.controllers:
                    fill_cpuset(group)
        except TakenError:
            for group in reversed(made):
                _rmdir(group.path)
            raise

    def _reserve(self) -> None:
        """Keeps other containers out until `close`, which nothing shows before a process is inside."""
        if not self.groups:
            return
        import fcntl

        group = self.groups[-1]
        try:
            self._reservation = posix.open(group.path, posix.O_RDONLY | posix.O_DIRECTORY | posix.O_CLOEXEC)
            fcntl.flock(self._reservation, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise taken(group.path) from None
        except OSError as error:
            raise failed("reserve", group.path, error) from None
        if group.existed:
            from pyoci.cgroups.members import check_unused

            check_unused(group)

    def give_up(self) -> None:
        """Forgets the cgroups, which are another's."""
        self.close()
        self.groups, self.unified = [], None

    def apply(self, resources: "dict[str, Any]", journal: "Journal | None" = None) -> None:
        """Sets the limits of linux.resources, except for its devices (config-linux.md, Control groups).

        Arguments:
            journal: gets the values of before.

        Raises ConfigError that names the property, if this host can't do it or the kernel refuses the value.
        """
        from pyoci.cgroups import limits

        limits.apply(self, resources, journal)

    def update(self, resources: "dict[str, Any]", journal: "Journal") -> None:
        """Sets limits, and device rules if any are given, of a container that exists; others stay.

        Arguments:
            journal: gets what was before.

        Raises ConfigError.
        """
        rules = resources.get("devices")
        if rules:
            self.check_devices(rules)
        self.apply(resources, journal)
        if rules:
            self.apply_devices(rules, replace=True, journal=journal)

    def delegate(self, uid: int) -> None:
        """Gives the v2 cgroup to a user of the host, to manage. v1 isn't safe for that: does nothing.

        Raises Error. (config-linux.md, Cgroup ownership)
        """
        if self.mode == "v2" and self.unified:
            from pyoci.cgroups.v2 import delegate

            try:
                delegate(self.unified.path, uid)
            except OSError as error:
                raise failed(f"give user {uid} the", self.unified.path, error) from None

    def check_devices(self, rules: "list[dict[str, Any]]") -> None:
        """Finds out whether `apply_devices` could do that, and changes nothing.

        Raises ConfigError for rules that can't be had with this layout.
        """
        from pyoci.cgroups import limits

        limits.check_devices(self, rules)

    def apply_devices(
        self,
        rules: "list[dict[str, Any]]",
        attach: "Attach | None" = None,
        *,
        replace: bool = False,
        journal: "Journal | None" = None,
    ) -> None:
        """Sets which devices may be used: linux.resources.devices, then what every container needs.

        Arguments:
            rules: in the order of config.json; none leaves all devices allowed.
            attach: how to attach a filter to a v2 cgroup; None is bpf(2).
            replace: there are rules already, which these take the place of. If that fails they stay.
            journal: gets what a manager had been told before.

        Raises ConfigError.
        """
        from pyoci.cgroups import limits

        limits.apply_devices(self, rules, attach, replace=replace)

    def join_files(self) -> "list[str]":
        """The `tasks` file of each v1 hierarchy; a single-threaded task joins by writing "0" to it."""
        return [group.path + "/tasks" for group in self.groups if group is not self.unified]

    def join_fds(self) -> "list[int]":
        """`join_files`, opened for writing and close-on-exec; the caller closes them."""
        fds: "list[int]" = []
        try:
            for path in self.join_files():
                fds.append(posix.open(path, posix.O_WRONLY | posix.O_CLOEXEC))
        except OSError as error:
            for fd in fds:
                posix.close(fd)
            raise failed("join", path, error) from None
        return fds

    def clone_into_fd(self) -> "int | None":
        """A descriptor of the v2 directory for CLONE_INTO_CGROUP, None without v2; the caller closes it."""
        if self.unified is None:
            return None
        try:
            return posix.open(self.unified.path, posix.O_RDONLY | posix.O_DIRECTORY | posix.O_CLOEXEC)
        except OSError as error:
            raise failed("open", self.unified.path, error) from None

    def directory(self, controller: str) -> "str | None":
        """The container's directory that a controller (or "unified") is in; on pure v2 there is just one."""
        if self.mode == "v2" and self.unified:
            return None if controller == "devices" else self.unified.path
        for group in self.groups:
            if controller in group.controllers:
                return group.path
        # On a hybrid host the v2 tree may have controllers of its own.
        if self.unified and controller in self.unified_controllers():
            return self.unified.path
        return None

    def unified_controllers(self) -> "tuple[str, ...]":
        """The controllers of a hybrid host's v2 tree; none on other hosts."""
        if self._unified_controllers is None:
            self._unified_controllers = ()
            if self.mode == "hybrid" and self.unified:
                try:
                    self._unified_controllers = tuple(read(self.unified.base + "/cgroup.controllers").split())
                except OSError:
                    pass
        return self._unified_controllers

    def in_v2(self, controller: str) -> bool:
        """Whether its files are those of cgroup v2; of a hybrid host's v2 tree it may be a controller."""
        return self.mode == "v2" or controller in self.unified_controllers()

    def read(self, controller: str, file: str) -> "str | None":
        """The contents of a control file, or None if it isn't there."""
        directory = self.directory(controller)
        try:
            return read(f"{directory}/{file}") if directory else None
        except OSError:
            return None

    def processes(self) -> "list[int]":
        """The pids of all processes in the container's cgroup and below it."""
        from pyoci.cgroups import members

        group = members.main_group(self)
        try:
            return members.processes(group.path) if group else []
        except OSError as error:
            raise failed("list the processes of", self.path, error) from None

    def kill(self) -> None:
        """SIGKILL to every process in the cgroup and below it, frozen or not; doesn't wait for their end.

        Raises Error if the kernel refuses; that everything is gone already is fine.
        """
        from pyoci.cgroups import members

        members.kill(self)

    def signal(self, signal: int) -> None:
        """Sends a signal to every process in the cgroup and below it. Raises Error if they can't be listed."""
        from pyoci.cgroups import members

        group = members.main_group(self)
        try:
            if group:
                members.signal_all(group.path, signal)
        except OSError as error:
            raise failed("list the processes of", self.path, error) from None

    def freeze(self, frozen: bool, timeout: float = 2.0) -> None:
        """Stops all processes, or lets them run again.

        Arguments:
            timeout: seconds to wait until all of them stand still.

        Raises Error if the kernel refuses or needs longer, or if no freezer is mounted.
        """
        from pyoci.cgroups import members

        members.freeze(self, frozen, timeout)

    def freezer(self) -> "Group | None":
        """The group that can be frozen: v1's freezer, else the v2 tree."""
        for group in self.groups:
            if "freezer" in group.controllers:
                return group
        return self.unified

    def frozen(self) -> bool:
        """Whether the container's cgroup was frozen (paused); False if it is gone."""
        from pyoci.cgroups import members

        group = self.freezer()
        try:
            return bool(group and members.is_frozen(group))
        except OSError:
            return False

    def remove(self, timeout: float = 1.0) -> None:
        """Removes our directories, what is below them, and the parents that we made, if they are empty.

        Arguments:
            timeout: seconds to wait for processes that are about to end.

        Raises Error that names what stays. What is gone already is fine.
        """
        deadline = time.monotonic() + timeout
        left = []
        for group in self.groups:
            if not group.existed:
                error = _remove(group.path, deadline)
                if error:
                    left.append((group, error))
                    continue
            self._remove_ancestors(group)
        if left:
            group, error = left[0]
            from pyoci.cgroups.members import processes

            number = len(processes(group.path))
            names = ", ".join(stays.path for stays, _ in left)
            inside = f", {number} process(es) still in it" if number else ""
            raise Error(f"cgroup not removed: {names} ({errorcode.get(error.errno or 0, 'error')}{inside})")

    def _remove_ancestors(self, group: Group) -> None:
        """Best effort: whoever still uses one of them keeps it."""
        ancestors = group.ancestors
        if self.path.startswith(OWN_PARENT + "/") and group.base + OWN_PARENT not in ancestors:
            ancestors = [group.base + OWN_PARENT, *ancestors]
        try:
            for ancestor in reversed(ancestors):
                posix.rmdir(ancestor)
        except OSError:
            pass


def freezer_file(group: "Group | None") -> "str | None":
    """The file that begins with "1" if the group itself is frozen; None if it can't be."""
    if group and "freezer" in group.controllers:
        # freezer.state also says FROZEN when a parent is.
        return group.path + "/freezer.self_freezing"
    return group.path + "/cgroup.freeze" if group and UNIFIED in group.controllers else None


def _make(group: Group) -> None:
    """Makes a group's directory, and again what a `delete` elsewhere takes away from above it meanwhile."""
    try:
        for _ in range(100):
            try:
                for ancestor in group.ancestors:
                    _mkdir(ancestor)
                posix.mkdir(group.path, 0o755)
                return
            except FileNotFoundError:
                group.ancestors = missing_ancestors(group.base, group.path, group.ancestors)
    except FileExistsError:
        # Not ours, so it must not be removed with this container.
        group.existed = True
        raise taken(group.path) from None
    except OSError as error:
        raise failed("create", group.path, error) from None
    raise Error(f"cgroup {group.path}: what is above it disappears again and again")


def missing_ancestors(base: str, path: str, known: "list[str]") -> "list[str]":
    """The parents of a directory that aren't there, and those known to be ours, outermost first."""
    ancestors: "list[str]" = []
    parent = path.rpartition("/")[0]
    while len(parent) > len(base):
        if parent in known or not _is_there(parent):
            ancestors.insert(0, parent)
        elif not known:
            break
        parent = parent.rpartition("/")[0]
    return ancestors


def _mkdir(path: str) -> None:
    try:
        posix.mkdir(path, 0o755)
    except FileExistsError:
        pass


def fill_cpuset(group: Group) -> None:
    """v1: a new cpuset has neither CPUs nor memory nodes, and takes no task: copies the parent's down."""
    for file in ("cpuset.cpus", "cpuset.mems"):
        empty: "list[str]" = []
        directory = group.path
        made = {group.path: not group.existed, **dict.fromkeys(group.ancestors, True)}
        try:
            while made.get(directory) or not (value := read(f"{directory}/{file}").strip()):
                empty.insert(0, directory)
                directory = directory.rpartition("/")[0]
                if len(directory) < len(group.base):
                    return
            for below in empty:
                put(f"{below}/{file}", value)
        except OSError as error:
            raise failed(f"set {file} of", directory, error) from None


def _open_ancestors(group: Group) -> None:
    """v2: lets what is below our new directories have all controllers that they have.

    Nobody is in there yet, so this moves no process and costs little; later it would. If it doesn't work,
    then a limit that needs it says so.
    """
    try:
        for ancestor in group.ancestors:
            enable(ancestor, read(ancestor + "/cgroup.controllers").split())
    except OSError:
        pass


def enable(directory: str, controllers: "list[str]") -> None:
    """v2: lets the children of a cgroup have controllers. Raises OSError."""
    if controllers:
        put(directory + "/cgroup.subtree_control", " ".join("+" + controller for controller in controllers))


def _remove(path: str, deadline: float) -> "OSError | None":
    """Removes a cgroup and those below it; a dying process keeps it busy for a moment.

    Arguments:
        deadline: when to give up (time.monotonic).
    """
    pause = 0.0002
    while True:
        # Looked at before the try, so that there is always a last one after the deadline.
        late = time.monotonic() > deadline
        error = _rmdir(path)
        if error and error.errno in (EBUSY, ENOTEMPTY):
            for below in reversed(subtree(path)):
                error = _rmdir(below)
        if not error or late or error.errno not in (EBUSY, ENOTEMPTY):
            return error
        time.sleep(pause)
        pause = min(pause * 2, 0.02)


def _rmdir(path: str) -> "OSError | None":
    try:
        posix.rmdir(path)
    except OSError as error:
        return None if error.errno in (ENOENT, ENOTDIR) else error
    return None


def subtree(path: str) -> "list[str]":
    """A cgroup and all below it, parents first. Not recursive: a container may nest deeply."""
    found = [path]
    for directory in found:
        try:
            # The link count of a cgroup is 2 and one for each below it: mostly that spares listing 30 files.
            if posix.stat(directory).st_nlink == 2:
                continue
            with posix.scandir(directory) as entries:
                found += [entry.path for entry in entries if entry.is_dir(follow_symlinks=False)]
        except OSError:
            continue
    return found


def _is_there(path: str) -> bool:
    return posix.access(path, posix.F_OK)


def read(path: str) -> str:
    """The contents of a control file. Raises OSError."""
    fd = posix.open(path, posix.O_RDONLY | posix.O_CLOEXEC)
    try:
        parts = []
        while part := posix.read(fd, 65536):
            parts.append(part)
        return b"".join(parts).decode("ascii", "replace")
    finally:
        posix.close(fd)


def put(path: str, value: str) -> None:
    """Writes a control file, in one write as the kernel wants it. Raises OSError."""
    fd = posix.open(path, posix.O_WRONLY | posix.O_CLOEXEC)
    try:
        posix.write(fd, value.encode())
    finally:
        posix.close(fd)


def taken(path: str) -> TakenError:
    """The TakenError of a cgroup."""
    hint = "each container needs a linux.cgroupsPath of its own"
    return TakenError(
        f"cgroup {path}: somebody else is making it, or is about to use it, at the same time", hint=hint
    )


def failed(what: str, path: str, error: OSError) -> Error:
    """The Error for something that can't be done to a cgroup."""
    code = errorcode.get(error.errno or 0, "error")
    return Error(f"can't {what} cgroup {path}: {error.strerror} ({code})")
