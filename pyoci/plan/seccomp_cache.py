"""Compiled seccomp filters, kept by content, so that most containers start without loading libseccomp."""

import posix

from pyoci import __version__, files
from pyoci.errors import Error, cause_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_MAGIC = b"pyocibpf"
_DIGEST_SIZE = 32


def cache_key(profile: "dict[str, Any]") -> str:
    """The name of the profile's entry: everything that the program depends on but libseccomp itself.

    The kernel is part of it: libseccomp and we ask it which actions and flags it has.
    """
    from _blake2 import blake2b

    rules = tuple(
        (
            tuple(rule["names"]),
            rule["action"],
            rule.get("errnoRet"),
            tuple(
                (arg["index"], arg["op"], arg["value"], arg.get("valueTwo", 0))
                for arg in rule.get("args") or ()
            ),
        )
        for rule in profile.get("syscalls") or ()
    )
    kernel = posix.uname()
    content = (
        __version__,
        kernel.release,
        kernel.machine,
        profile["defaultAction"],
        profile.get("defaultErrnoRet"),
        tuple(profile.get("architectures") or ()),
        tuple(profile.get("flags") or ()),
        rules,
    )
    return str(blake2b(repr(content).encode("utf-8", "surrogatepass"), digest_size=_DIGEST_SIZE).hexdigest())


def library_identity(path: bytes) -> bytes:
    """The file of libseccomp as "device inode size mtime path", b"" if it can't be told.

    It stands for the version: it is checked with one stat, without loading the library, and a distribution's
    patch release changes it too.
    """
    try:
        status = posix.stat(path)
    except OSError:
        return b""
    return b"%d %d %d %d %s" % (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, path)


class Cache:
    """Programs by key in a directory of ours; nothing in it is believed unchecked.

    An entry is: magic, blake2b over all that follows and the key, length of the library's identity (2 bytes,
    little-endian), the identity, the program. Trouble with the cache never fails a container.

    Arguments:
        directory: an absolute path; its parents are made too.
        warn: called with a line if the directory can't be used.
        most_entries: older ones (by their last use) are removed.
    """

    def __init__(self, directory: str, warn: "Callable[[str], None]", most_entries: int = 64) -> None:
        self.directory = directory
        self.warn = warn
        self.most_entries = most_entries

    def get(self, key: str) -> "bytes | None":
        """The program, or None if there is no entry or it isn't as we left it."""
        directory = self._open(create=False)
        if directory < 0:
            return None
        try:
            entry = self._read(directory, key)
        except OSError:
            return None
        finally:
            posix.close(directory)
        return _entry_program(key, entry)

    def put(self, key: str, program: bytes, identity: bytes) -> None:
        """Keep a program that the libseccomp of this identity (see library_identity) made."""
        if not identity:
            return
        directory = self._open(create=True)
        if directory < 0:
            return
        try:
            entry, shown = _entry(key, program, identity), f"{self.directory}/{key}"
            files.write_file(f"/proc/self/fd/{directory}/{key}", entry, 0o600, shown=shown)
            self._evict(directory)
        except Error as error:
            self.warn(f"seccomp: the compiled filter isn't kept: {error.message}")
        except OSError as error:
            self.warn(f"seccomp: {self.directory}: {cause_of(error)}")
        finally:
            posix.close(directory)

    def _open(self, create: bool) -> int:
        """The directory's descriptor, -1 if it is missing or others could have written to it."""
        try:
            if create:
                # The state directory's root may be missing too.
                files.make_directories(self.directory.rpartition("/")[0], 0o700)
                files.make_directories(self.directory, 0o700)
            descriptor = posix.open(
                self.directory, posix.O_RDONLY | posix.O_DIRECTORY | posix.O_NOFOLLOW | posix.O_CLOEXEC
            )
        except OSError as error:
            if create or not isinstance(error, FileNotFoundError):
                self.warn(f"seccomp: the cache {self.directory} isn't used: {cause_of(error)}")
            return -1
        if _private(posix.fstat(descriptor)):
            return descriptor
        posix.close(descriptor)
        self.warn(f"seccomp: the cache {self.directory} isn't used: it must be ours, mode 0700")
        return -1

    def _read(self, directory: int, key: str) -> bytes:
        flags = posix.O_RDONLY | posix.O_NOFOLLOW | posix.O_NONBLOCK | posix.O_CLOEXEC
        descriptor = posix.open(key, flags, dir_fd=directory)
        try:
            if not _private(posix.fstat(descriptor)):
                return b""
            posix.utime(descriptor)  # eviction goes by last use
            return posix.read(descriptor, 1 << 16)
        finally:
            posix.close(descriptor)

    def _evict(self, directory: int) -> None:
        names = posix.listdir(directory)
        if len(names) <= self.most_entries:
            return
        used = []
        for name in names:
            try:
                used.append((posix.stat(name, dir_fd=directory, follow_symlinks=False).st_mtime_ns, name))
            except FileNotFoundError:  # another pyoci was faster
                continue
        for _, name in sorted(used)[: max(0, len(used) - self.most_entries)]:
            try:
                posix.unlink(name, dir_fd=directory)
            except FileNotFoundError:
                continue


def _private(status: posix.stat_result) -> bool:
    return status.st_uid == posix.geteuid() and not status.st_mode & 0o077


def _entry(key: str, program: bytes, identity: bytes) -> bytes:
    content = len(identity).to_bytes(2, "little") + identity + program
    return _MAGIC + _digest(key, content) + content


def _entry_program(key: str, entry: bytes) -> "bytes | None":
    start = len(_MAGIC) + _DIGEST_SIZE
    content = entry[start:]
    if entry[: len(_MAGIC)] != _MAGIC or entry[len(_MAGIC) : start] != _digest(key, content):
        return None
    length = int.from_bytes(content[:2], "little")
    identity, program = content[2 : 2 + length], content[2 + length :]
    path = identity.split(b" ", 4)[-1]
    if not identity or library_identity(path) != identity:
        return None
    return program if program and len(program) % 8 == 0 else None


def _digest(key: str, content: bytes) -> bytes:
    from _blake2 import blake2b

    return bytes(blake2b(key.encode() + content, digest_size=_DIGEST_SIZE).digest())
