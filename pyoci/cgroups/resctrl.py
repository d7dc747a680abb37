"""linux.intelRdt: a group of the resctrl filesystem for the container (config-linux.md, "Intel RDT"; the kernel's resctrl.rst).

Imported only for containers that have it. Nothing is touched for all others.
"""

import posix

from pyoci.errors import ConfigError, Error, Problem, cause_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyoci.cgroups.journal import Journal

POINTER = "/linux/intelRdt"
# In the order of writing: the property, and what its line begins with.
SCHEMAS = (("l3CacheSchema", "L3"), ("memBwSchema", "MB"))
# Directories of the filesystem's own, beside the groups.
NO_GROUPS = ("info", "mon_groups", "mon_data")


class Resctrl:
    """The container's group.

    Attributes:
        path: its directory; the filesystem's own for the default group.
        made: whether it was missing and is made for this container.
        ours: whether it goes with the container: it was made, and the config names none.
        monitor: the directory of the container's monitoring group, or None.
        lines: what is written to `schemata`, each with the pointer that asks for it.
    """

    __slots__ = ("lines", "made", "monitor", "ours", "path")

    def __init__(self, path: str, *, made: bool, ours: bool, monitor: "str | None") -> None:
        self.path = path
        self.made = made
        self.ours = ours
        self.monitor = monitor
        self.lines: "list[tuple[str, str]]" = []

    def record(self) -> "list[object]":
        """What `from_record` needs, as JSON: to be written down before anything is made."""
        return [self.path, self.made, self.ours, self.monitor]

    def create(self) -> None:
        """Make what is missing and write the schemata. Raises ConfigError."""
        if self.made:
            try:
                self._make(self.path, f"{POINTER}/closID")
            except FileExistsError:
                self._give_up()
                raise _taken(self.path) from None
        for pointer, line in self.lines:
            self._write(f"{self.path}/schemata", f"{line}\n", pointer)
        if self.monitor:
            try:
                self._make(self.monitor, f"{POINTER}/enableMonitoring")
            except FileExistsError:
                taken = _monitor_taken(self.monitor)
                self.monitor = None
                raise taken from None

    def _give_up(self) -> None:
        """Forget the group, which is another's: it must not be removed with this container."""
        self.made = self.ours = False
        self.monitor = None

    def join(self, pid: int) -> None:
        """Put a process of one thread into it. Raises ConfigError."""
        self._write(f"{self.path}/tasks", str(pid), POINTER)
        if self.monitor:
            self._write(f"{self.monitor}/tasks", str(pid), f"{POINTER}/enableMonitoring")

    def update(self, schemas: "dict[str, str]", journal: "Journal") -> None:
        """Write other lines, of the properties of SCHEMAS.

        Arguments:
            journal: gets those of before.

        Raises ConfigError.
        """
        for pointer, line in _lines(schemas):
            journal.note(f"{self.path}/schemata", line)
            self._write(f"{self.path}/schemata", f"{line}\n", pointer)

    def remove(self, *, failed: bool = False) -> None:
        """Take away what goes with the container; what is gone already is fine.

        Arguments:
            failed: the container could not be made, so whatever was made for it goes.

        Raises Error.
        """
        leaving = [self.monitor] if self.monitor else []
        if self.ours or (failed and self.made):
            leaving.append(self.path)
        for directory in leaving:
            try:
                posix.rmdir(directory)
            except FileNotFoundError:
                pass
            except OSError as error:
                raise Error(f"resctrl group not removed: {directory}: {cause_of(error)}") from None

    def _make(self, directory: str, pointer: str) -> None:
        """Raises FileExistsError, ConfigError."""
        try:
            posix.mkdir(directory, 0o755)
        except FileExistsError:
            raise
        except OSError as error:
            hint = "the processor has no more classes of service" if error.errno == 28 else None  # ENOSPC
            raise _problem(pointer, f"can't make {directory}: {cause_of(error).lower()}", hint) from None

    def _write(self, path: str, text: str, pointer: str) -> None:
        try:
            fd = posix.open(path, posix.O_WRONLY | posix.O_CLOEXEC)
            try:
                posix.write(fd, text.encode())
            finally:
                posix.close(fd)
        except OSError as error:
            why = _last_status(path) or cause_of(error).lower()
            raise _problem(pointer, f"can't write {text.strip()!r} to {path}: {why}") from None


def open_for(rdt: "dict[str, Any]", container_id: str, root: "str | None" = None) -> Resctrl:
    """The group of a container that is going to be created; makes nothing.

    Arguments:
        rdt: linux.intelRdt, of valid shape.
        root: where the filesystem is mounted; None looks for it.

    Raises ConfigError.
    """
    root = root or mount_point()
    if root is None:
        hint = "`mount -t resctrl resctrl /sys/fs/resctrl` does it, on a processor that can"
        raise _problem(POINTER, "no resctrl filesystem is mounted on this host", hint)
    name: "str | None" = rdt.get("closID")
    lines = _lines(rdt)
    path = root if name == "/" else f"{root}/{name or container_id}"
    there = posix.access(path, posix.F_OK)
    if (name or container_id) in NO_GROUPS or (there and not posix.access(f"{path}/schemata", posix.F_OK)):
        message = f"{path} is resctrl's own, and can be no group"
        raise _problem(f"{POINTER}/closID", message, None if name else "give linux.intelRdt.closID")
    if there and not name:
        raise _taken(path)
    if name and not there and not lines:
        raise _problem(f"{POINTER}/closID", f"{path} does not exist, and no schema says what it should be")
    if name and there:
        _compare(path, rdt)
        # They are as asked for already; the lines of `schemata` are written all the same.
        lines = [(pointer, line) for pointer, line in lines if "/schemata/" in pointer]
    monitor = f"{path}/mon_groups/{container_id}" if rdt.get("enableMonitoring") else None
    if monitor and posix.access(monitor, posix.F_OK):
        raise _monitor_taken(monitor)
    found = Resctrl(path, made=not there, ours=not name, monitor=monitor)
    found.lines = lines
    return found


def from_record(record: "list[Any]") -> Resctrl:
    """The group that `Resctrl.record` described."""
    path, made, ours, monitor = record
    return Resctrl(path, made=made, ours=ours, monitor=monitor)


def mount_point(mountinfo: "bytes | None" = None) -> "str | None":
    """Where the resctrl filesystem is mounted, None if it isn't.

    Arguments:
        mountinfo: the contents of /proc/self/mountinfo; None reads it.
    """
    if mountinfo is None:
        with open("/proc/self/mountinfo", "rb", buffering=0) as table:
            mountinfo = table.read()
    for line in mountinfo.splitlines():
        before, _, after = line.partition(b" - ")
        if after.split(b" ")[0] == b"resctrl":
            from pyoci.cgroups.layout import unescaped

            return unescaped(before.split(b" ")[4])
    return None


def _lines(rdt: "dict[str, Any]") -> "list[tuple[str, str]]":
    """What is written to `schemata`, in the specification's order."""
    lines = [(f"{POINTER}/{name}", rdt[name]) for name, _ in SCHEMAS if rdt.get(name)]
    return lines + [(f"{POINTER}/schemata/{i}", line) for i, line in enumerate(rdt.get("schemata") or ())]


def _compare(path: str, rdt: "dict[str, Any]") -> None:
    """A group that was there must be what the config says: others may be in it. Raises ConfigError."""
    try:
        with open(f"{path}/schemata") as file:
            now = dict(_parsed(line) for line in file)
    except OSError as error:
        raise _problem(f"{POINTER}/closID", f"{path}/schemata: {cause_of(error).lower()}") from None
    for name, kind in SCHEMAS:
        if rdt.get(name):
            _, wanted = _parsed(rdt[name])
            have = now.get(kind, {})
            if any(have.get(domain) != value for domain, value in wanted.items()):
                said = ";".join(f"{domain}={value}" for domain, value in have.items())
                message = f"{path} exists and is another: {kind}:{said}"
                raise _problem(f"{POINTER}/{name}", message)


def _parsed(line: str) -> "tuple[str, dict[str, str]]":
    """A line such as L3:0=ff;1=ff, without what the kernel pads it with."""
    kind, _, text = line.strip().partition(":")
    domains = (part.partition("=") for part in text.split(";") if part)
    return kind.strip(), {
        domain.strip().lstrip("0") or "0": value.strip().lower().lstrip("0") or "0"
        for domain, _, value in domains
    }


def _taken(path: str) -> ConfigError:
    message = f"{path} is there already: it is not this container's"
    hint = "linux.intelRdt.closID names a group that is to be shared"
    return _problem(f"{POINTER}/closID", message, hint)


def _monitor_taken(path: str) -> ConfigError:
    return _problem(f"{POINTER}/enableMonitoring", f"{path} is there already: it is not this container's")


def _last_status(path: str) -> str:
    """What the kernel says of the last refusal, in words."""
    base = path.rpartition("/")[0]
    while base:
        try:
            with open(f"{base}/info/last_cmd_status") as file:
                said = file.read().strip()
            return "" if said == "ok" else said
        except OSError:
            base = base.rpartition("/")[0]
    return ""


def _problem(pointer: str, message: str, hint: "str | None" = None) -> ConfigError:
    return ConfigError([Problem(pointer, message)], hint=hint)
