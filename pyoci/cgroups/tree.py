"""A container's directories in the cgroup hierarchies: made, joined, killed, removed.

What has to be known for that is plain data (`Cgroups.record`), which is written to the container's state
before anything is made, so that whatever a crash leaves behind can be removed by it.
"""

import posix
import time
from errno import EBUSY, ENOENT, ENOTDIR, ENOTEMPTY, errorcode

from pyoci.cgroups import ownership
from pyoci.cgroups.layout import OWN_PARENT
from pyoci.cgroups.ownership import TakenError, taken
from pyoci.errors import Error, cause_of
from pyoci.paths import read_kernel_file

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from pyoci.cgroups.journal import Journal
    from pyoci.cgroups.layout import Layout
    from pyoci.cgroups.ownership import Owner

    # Attaches a device filter: descriptor of a v2 cgroup, eBPF instructions.
    Attach = Callable[[int, bytes], None]

# What a v2 tree is called among the controllers.
UNIFIED = "unified"


class Group:
    """The container's directory in one hierarchy.

    Attributes:
        base: the hierarchy's mount point.
        controllers: ("cpu", "cpuacct"), ("name=systemd",), or ("unified",) for the v2 tree.
        path: the directory.
        existed: whether it was there before; then it isn't ours to remove.
        ancestors: the parents that we make, outermost first.
        made: this process has made it, or the one may have that wrote the record.
    """

    __slots__ = ("ancestors", "base", "controllers", "existed", "made", "path")

    def __init__(
        self, base: str, controllers: "tuple[str, ...]", path: str, existed: bool, ancestors: "list[str]"
    ) -> None:
        self.base = base
        self.controllers = controllers
        self.path = path
        self.existed = existed
        self.ancestors = ancestors
        self.made = False


def open_for(layout: "Layout", path: str, owner: "Owner | None" = None) -> "Cgroups":
    """The cgroups of a container that is going to be created; makes nothing.

    Arguments:
        layout: what is mounted (`layout.read`).
        path: from `layout.resolve`.
        owner: the container's mark (`ownership.new`).

    Raises Error if a cgroup that was there before is in use, or is another container's: limits would hit strangers.
    """
    groups = []
    for base, controllers in layout.hierarchies:
        groups.append(_look(base, controllers, path, owner))
    # On a hybrid host the v2 tree is a convenience (cgroup.kill, CLONE_INTO_CGROUP): without write access, do
    # without.
    if layout.unified and (layout.mode == "v2" or posix.access(layout.unified, posix.W_OK)):
        groups.append(_look(layout.unified, (UNIFIED,), path, owner))
    return Cgroups(layout.mode, path, groups, owner)


def _look(base: str, controllers: "tuple[str, ...]", path: str, owner: "Owner | None") -> Group:
    """The group of one hierarchy, and which of its directories are missing."""
    wanted = base + path
    if _is_there(wanted):
        from pyoci.cgroups.members import check_unused

        group = Group(base, controllers, wanted, True, [])
        check_unused(group)
        if owner:
            ownership.check(wanted, owner)
        return group
    return Group(base, controllers, wanted, False, missing_ancestors(base, wanted, []))


def from_record(record: "dict[str, Any]") -> "Cgroups":
    """The cgroups that `Cgroups.record` described."""
    if "systemd" in record:
        from pyoci.cgroups import systemd

        return systemd.from_record(record)
    groups = [group_from_record(record, row) for row in record["groups"]]
    return Cgroups(record["mode"], record["path"], groups, record.get("owner"))


def group_from_record(record: "dict[str, Any]", row: "list[Any]") -> Group:
    """A group that `Cgroups.record` described in one of its rows."""
    base, controllers, existed, ancestors = row
    group = Group(base, tuple(controllers), base + record["path"], existed, ancestors)
    group.made = not existed
    return group


class Cgroups:
    """A container's cgroups, one directory in each hierarchy.

    Attributes:
        mode: "v1", "v2" or "hybrid".
        path: the directories' path below each mount point, with a leading slash.
        groups: the v1 hierarchies' directories in the order of mounting, then that of the v2 tree.
        owner: the container's mark (`ownership`), None where cgroups can't bear one. What hasn't got it is another's: it is
            neither killed nor removed.
        joins_late: they are made around the init when that is there already (`systemd`).
        warn: where warnings go, or None.
    """

    __slots__ = ("_reservation", "_unified_controllers", "groups", "mode", "owner", "path", "unified", "warn")

    joins_late = False

    def __init__(self, mode: str, path: str, groups: "list[Group]", owner: "Owner | None" = None) -> None:
        self.mode = mode
        self.owner = owner
        self.path = path
        self.groups = groups
        self._unified_controllers: "tuple[str, ...] | None" = None
        self._reservation = -1
        self.warn: "Callable[[str], None] | None" = None
        self.unified = groups[-1] if groups and groups[-1].controllers == (UNIFIED,) else None

    def record(self) -> "dict[str, Any]":
        """Everything that `from_record` needs, as JSON: to be written down before `create`."""
        return {
            "mode": self.mode,
            "path": self.path,
            "owner": self.owner,
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

    def make_directories(self, groups: "list[Group]") -> None:
        """Makes what is missing, in the same order for every container, so that of two the first is told apart by the first
        one; a v1 cpuset also fit for processes.

        Raises TakenError, Error.
        """
        for group in groups:
            if not group.existed:
                self._make(group)
            if "cpuset" in group.controllers:
                fill_cpuset(group)

    def _make(self, group: Group) -> None:
        """Makes a group's directory, and again what a `delete` elsewhere takes away from above it meanwhile."""
        try:
            for _ in range(100):
                try:
                    for ancestor in group.ancestors:
                        _mkdir(ancestor)
                    group.made = True
                    if not ownership.make(group.path, self.owner):
                        self.owner = None
                    return
                except FileNotFoundError:
                    group.ancestors = missing_ancestors(group.base, group.path, group.ancestors)
        except FileExistsError:
            # Not ours, so it must not be removed with this container.
            group.existed, group.made = True, False
            raise taken(group.path) from None
        except OSError as error:
            raise failed("create", group.path, error) from None
        if not _is_there(group.base):
            raise Error(
                f"{group.base}: the cgroup hierarchy that is mounted there is covered by another mount"
            )
        raise Error(f"cgroup {group.path}: what is above it disappears again and again")

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
        self.adopt()

    def adopt(self) -> None:
        """Takes what was there before, if it is nobody's. Raises TakenError, Error."""
        for group in self.groups:
            if not group.existed:
                continue
            from pyoci.cgroups.members import check_unused

            check_unused(group)
            try:
                if self.owner and not ownership.claim_left(group.path, self.owner):
                    self.owner = None
            except OSError as error:
                raise failed("take", group.path, error) from None
            self._forget_devices(group)

    def _forget_devices(self, group: Group) -> None:
        """v2: the device rules of the container that has had the cgroup are nobody's any more."""
        if group is self.unified:
            from pyoci.cgroups import device_filter

            device_filter.detach(group.path)

    def give_up(self) -> None:
        """Lets go of cgroups that are another's, and removes those that were made before that was known."""
        self.close()
        for group in reversed(self.groups):
            if group.made or (group.existed and self.owner):
                self._let_go(group, 0)
        self.groups, self.unified = [], None

    def is_ours(self, group: Group) -> bool:
        """Whether the container has this cgroup, and no other container has taken it since."""
        return self.owner is None or ownership.of(group.path, self.owner) == self.owner[1]

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

    def join(self, pid: int) -> None:
        """Writes a process into those of the cgroups that it isn't in. Raises Error."""
        lines = [line.split(":", 2) for line in read(f"/proc/{pid}/cgroup").splitlines()]
        joined = {tuple(controllers.split(",")) for _, controllers, path in lines if path == self.path}
        for group in self.groups:
            if (("",) if group is self.unified else group.controllers) not in joined:
                try:
                    put(group.path + "/cgroup.procs", str(pid))
                except OSError as error:
                    raise failed("join", group.path, error) from None

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

    def leftover(self) -> "list[int]":
        """`processes` of a container whose own process has ended: none if the cgroup is another's by now."""
        from pyoci.cgroups import members

        group = members.main_group(self)
        return self.processes() if group and self.is_ours(group) else []

    def kill(self) -> None:
        """SIGKILL to every process in the cgroup and below it, frozen or not; doesn't wait for their end.

        Raises Error if the kernel refuses; that everything is gone already is fine, and so is that it is another's by now.
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

    def thaw(self) -> None:
        """Lets everything run that stands still in the v1 freezer, also what the container itself has frozen in a cgroup below:
        a frozen task of v1 doesn't die. On v2 it does."""
        from pyoci.cgroups import members

        members.thaw(self)

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
            error = self._let_go(group, deadline)
            if error:
                left.append((group, error))
            else:
                self._remove_ancestors(group)
        if left:
            group, error = left[0]
            from pyoci.cgroups.members import processes

            number = len(processes(group.path))
            names = ", ".join(stays.path for stays, _ in left)
            inside = f", {number} process(es) still in it" if number else ""
            raise Error(f"cgroup not removed: {names} ({errorcode.get(error.errno or 0, 'error')}{inside})")

    def _let_go(self, group: Group, deadline: float) -> "OSError | None":
        """Removes a group that was made for the container. One that was there before stays, without what we gave it."""
        if self.is_ours(group):
            if not group.existed:
                return _remove(group.path, deadline)
            self._forget_devices(group)
            if self.owner:
                ownership.release(group.path, self.owner, self.owner[1])
        elif self.owner and group.made and ownership.of(group.path, self.owner) is None:
            # A `create` that was ended between making and marking it has left it empty.
            _rmdir(group.path)
        return None

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
    """The contents of a control file. Raises GoneError, OSError."""
    return read_kernel_file(path).decode("ascii", "replace")


def put(path: str, value: str) -> None:
    """Writes a control file, in one write as the kernel wants it. Raises OSError."""
    fd = posix.open(path, posix.O_WRONLY | posix.O_CLOEXEC)
    try:
        posix.write(fd, value.encode())
    finally:
        posix.close(fd)


def failed(what: str, path: str, error: OSError) -> Error:
    """The Error for something that can't be done to a cgroup."""
    code = errorcode.get(error.errno or 0, "error")
    return Error(f"can't {what} cgroup {path}: {cause_of(error)} ({code})")
