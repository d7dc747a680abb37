"""The state directory: `<root>/<id>/` with state.json and the start socket.

The directory is the id's reservation (mkdir decides races). A lock on it covers every command that changes a container.
state.json is written whole and renamed, and names what is going to be made before it is made, so that `delete --force`
can undo whatever a crash left.

What is there is believed, and its hooks are executed. So nobody else may be able to write it, which is looked at on what was
opened; everything below a directory is reached by its descriptor.
"""

import fcntl
import posix
import time

from pyoci import files, jsontext
from pyoci.container.identity import boot_id
from pyoci.errors import DOES_NOT_EXIST, Error, cause_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

ID_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_+.-")
LONGEST_ID = 255  # a file's name, NAME_MAX
STATE, START_SOCKET, CONFIG = "state.json", "start.sock", "config.json"
# What state.json says, as far as commands count on it without a look.
KINDS: "dict[str, type | tuple[type, ...]]" = {
    "pid": int,
    "start_time": int,
    "bundle": str,
    "rootfs": str,
    "created": str,
    "annotations": dict,
    "owner": int,
    "boot": str,
    "creator": list,
    "cgroups": dict,
    "freezer": (str, type(None)),
    "hooks": dict,
}
# Beside the containers' directories; no id looks like these.
SECCOMP_CACHE = "~seccomp"
SYSTEMD_MEMORY = "~systemd"
LOCK_PATIENCE_S = 10.0


def default_root() -> str:
    """Where states are kept without --root: /run/pyoci, or the runtime directory of a user without privileges.

    Raises Error if this user has none.
    """
    user = posix.geteuid()
    runtime = posix.environ.get(b"XDG_RUNTIME_DIR", b"").decode("utf-8", "surrogateescape")
    if user == 0 and not (runtime and _is_user_as_root()):
        return "/run/pyoci"
    runtime = runtime or f"/run/user/{user}"
    if not posix.access(runtime, posix.W_OK):
        raise Error(
            f"there is no place for the states of user {user}'s containers: {runtime} is not writable",
            hint="set XDG_RUNTIME_DIR to a directory of your own, or give --root",
        )
    return f"{runtime}/pyoci"


def _is_user_as_root() -> bool:
    """Whether this is a user who made himself root of a user namespace, as podman does without root; and not the root of
    a system container, whose USER says so: runc tells them apart like this."""
    if posix.environ.get(b"USER") == b"root":
        return False
    from pyoci.host import is_rootless

    return is_rootless()


def check_id(container_id: str) -> str:
    """The id, if it is one.

    Raises Error for what can't safely be a directory's name (runtime.md, "create").
    """
    if not container_id or container_id in (".", "..") or not ID_CHARACTERS.issuperset(container_id):
        raise Error(
            f'"{container_id}" is not a valid container id',
            hint="ids consist of letters, digits, and the characters _+.-",
        )
    if len(container_id) > LONGEST_ID:
        raise Error(
            f"the container id is too long: {len(container_id)} characters, {LONGEST_ID} are possible"
        )
    return container_id


def check_preserved(count: int) -> None:
    """Whether the descriptors from 3 up that a program is to get are there. Raises Error."""
    for fd in range(3, 3 + count):
        try:
            posix.fstat(fd)
        except OSError:
            raise Error(f"--preserve-fds {count}: descriptor {fd} is not open") from None


class NotFoundError(Error):
    """There is no such container."""


class BusyError(Error):
    """Another command holds the container's lock."""


class Entry:
    """A container's state directory.

    Attributes:
        id: the container's.
        path: the directory.
        state: what state.json says; {} if it was never written.
    """

    def __init__(self, root: str, container_id: str) -> None:
        self.id = container_id
        self.root = root
        self.path = f"{root}/{container_id}"
        self.state: "dict[str, Any]" = {}
        self._directory = -1

    @property
    def directory(self) -> str:
        """A short path of the directory, which holds as long as this entry is open."""
        return f"/proc/self/fd/{self._directory}"

    @property
    def start_socket(self) -> str:
        """The start socket's path, short enough for an address: sun_path has 108 bytes, unix(7)."""
        return f"{self.directory}/{START_SOCKET}"

    def load(self) -> None:
        """Read state.json again.

        Raises Error if it is damaged, or may be somebody else's.
        """
        raw = self.read(STATE)
        if raw is None:
            # A container whose create was ended very early.
            self.state = {}
            return
        path = f"{self.path}/{STATE}"
        state = jsontext.parse(raw, path, surrogates=True)
        if not isinstance(state, dict) or not _is_whole(state):
            raise Error(f"{path}: is damaged")
        if state.get("boot") not in (None, boot_id()):
            _forget_what_ran(state)
        self.state = state

    def save(self) -> None:
        """Write state.json, whole or not at all.

        Raises Error, naming the file (a full disk, say).
        """
        self.write(STATE, jsontext.dump(self.state).encode())

    def read(self, name: str) -> "bytes | None":
        """A file of the directory's; None if it isn't there. Raises Error, also if it may be somebody else's."""
        path = f"{self.path}/{name}"
        try:
            return files.read_own(f"{self.directory}/{name}", path)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise Error(f"{path}: {cause_of(error)}") from None

    def write(self, name: str, data: bytes) -> None:
        """Write a file of the directory's, whole or not at all. Raises Error."""
        files.write_file(f"{self.directory}/{name}", data, 0o600, shown=f"{self.path}/{name}")

    def open(self) -> None:
        """Hold the directory open.

        Raises Error if the container does not exist, or somebody else can write to its directory or to the root.
        """
        try:
            root = files.open_directory(self.root)
            try:
                self._directory = files.open_directory(self.id, at=root, shown=self.path)
            finally:
                posix.close(root)
        except (FileNotFoundError, NotADirectoryError):
            raise does_not_exist(self.id) from None
        except OSError as error:
            raise Error(f"{self.path}: {cause_of(error)}") from None

    def lock(self, patience: float = LOCK_PATIENCE_S, *, shared: bool = False) -> None:
        """Keep other commands from changing the container, until this process ends or `close`.

        Arguments:
            patience: seconds to wait for another command.
            shared: together with others who only keep it from being changed.

        Raises Error if it takes too long, or if the container is gone by then.
        """
        deadline = time.monotonic() + patience
        pause = 0.0005
        # Who removes a container holds its lock a little longer: for the poststop hooks.
        while not self.try_lock(shared=shared) and posix.fstat(self._directory).st_nlink:
            if time.monotonic() > deadline:
                raise BusyError(
                    f'container "{self.id}" is busy: another command has been changing it for {patience:.0f} s'
                )
            time.sleep(pause)
            pause = min(pause * 2, 0.05)
        if not self._is_current():
            raise does_not_exist(self.id)

    def _is_current(self) -> bool:
        """Whether the path still names what is open: it may have been deleted, and the id used again."""
        try:
            named = posix.lstat(self.path)
        except OSError:
            return False
        held = posix.fstat(self._directory)
        return (named.st_dev, named.st_ino) == (held.st_dev, held.st_ino)

    def try_lock(self, *, shared: bool = False) -> bool:
        """Lock it if nobody else has."""
        try:
            fcntl.flock(self._directory, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def unlock(self) -> None:
        """Let other commands change it again."""
        fcntl.flock(self._directory, fcntl.LOCK_UN)

    def is_locked_elsewhere(self) -> bool:
        """Whether another command is changing the container right now."""
        if self.try_lock():
            self.unlock()
            return False
        return True

    def remove(self) -> None:
        """Remove the directory and all in it. What is gone already is fine; raises Error for what stays."""
        if not self._is_current():
            return
        try:
            _remove_tree(self.path)
        except FileNotFoundError:
            pass
        except OSError as error:
            raise Error(f"{self.path}: can't be removed: {cause_of(error)}") from None

    def close(self) -> None:
        """Let go of the directory, and so of the lock."""
        if self._directory >= 0:
            posix.close(self._directory)
            self._directory = -1


def _remove_tree(path: str) -> None:
    with posix.scandir(path) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                _remove_tree(entry.path)
            else:
                posix.unlink(entry.path)
    posix.rmdir(path)


def reserve(root: str, container_id: str) -> Entry:
    """Make the directory of a new container, locked.

    Raises Error if the id is taken, or the directory can't be made.
    """
    entry = Entry(root, check_id(container_id))
    try:
        files.make_directories(root, 0o700)
        # Between making and locking a `delete --force` may come, and then another `create`.
        while not _reserved(entry):
            entry.close()
    except FileExistsError:
        entry.close()
        raise already_exists(entry) from None
    except OSError as error:
        entry.close()
        raise Error(f"can't make the state directory {entry.path}: {cause_of(error)}") from None
    return entry


def _reserved(entry: Entry) -> bool:
    """Whether the directory could be made and locked; False if it was taken away in between.

    Raises OSError, Error.
    """
    files.check(posix.stat(entry.root), entry.root, files.WRITABLE_BY_OTHERS)
    files.make_directory(entry.path, 0o700)
    try:
        entry.open()
        entry.lock()
    except NotFoundError:
        return False
    except BusyError:
        raise FileExistsError from None
    if posix.listdir(entry.directory):
        # The directory is that of the other `create`, which was faster.
        raise FileExistsError
    return True


def check_free(root: str, container_id: str) -> None:
    """Raises Error if the id is taken."""
    entry = Entry(root, check_id(container_id))
    if posix.access(entry.path, posix.F_OK):
        raise already_exists(entry)


def already_exists(entry: Entry) -> Error:
    """The error for an id that is taken."""
    return Error(f'container "{entry.id}" already exists ({entry.path})')


def find(root: str, container_id: str) -> Entry:
    """The entry of an existing container, its state read.

    Raises Error if there is none.
    """
    entry = Entry(root, check_id(container_id))
    entry.open()
    entry.load()
    return entry


def list_ids(root: str) -> "list[str]":
    """The ids that have a directory, sorted.

    Raises Error if the root can't be read, or others can write to it; a missing one is empty.
    """
    try:
        directory = files.open_directory(root)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise Error(f"{root}: {cause_of(error)}") from None
    try:
        with posix.scandir(directory) as entries:
            return sorted(
                entry.name
                for entry in entries
                if ID_CHARACTERS.issuperset(entry.name) and entry.is_dir(follow_symlinks=False)
            )
    finally:
        posix.close(directory)


def _is_whole(state: "dict[str, Any]") -> bool:
    """Whether it says what commands ask of every container."""
    if state.get("pid") and "start_time" not in state:
        return False
    return all(isinstance(state[name], kind) for name, kind in KINDS.items() if name in state)


def save_config(entry: Entry, raw: bytes) -> None:
    """Keep the text of the config that the container is made from: later edits of the bundle's don't count.

    Raises Error.
    """
    entry.write(CONFIG, raw)


def read_config(entry: Entry) -> "dict[str, Any]":
    """The config that the container was made from, which was valid then. Raises Error."""
    path = f"{entry.path}/{CONFIG}"
    raw = entry.read(CONFIG)
    if raw is None:
        raise Error(f"{path}: is missing")
    config: "dict[str, Any]" = jsontext.parse(raw, path)
    if b"null" in raw:
        from pyoci.spec.bundle import drop_nulls

        drop_nulls(config)
    return config


def _forget_what_ran(state: "dict[str, Any]") -> None:
    """The host has been booted since: pids are other processes', and the paths of cgroups, resctrl groups and mounts may be
    other containers'."""
    state["pid"] = 0
    for name in ("creator", "resctrl", "mounts", "freezer"):
        state.pop(name, None)
    if "cgroups" in state:
        state["cgroups"] = {"mode": state["cgroups"]["mode"], "path": state["cgroups"]["path"], "groups": []}


def does_not_exist(container_id: str) -> NotFoundError:
    """The error for an unknown id."""
    return NotFoundError(f'container "{container_id}" {DOES_NOT_EXIST}')
