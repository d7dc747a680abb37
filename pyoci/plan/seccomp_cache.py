"""Compiled seccomp filters, kept by content, so that most containers start without loading libseccomp."""

import os

from pyoci import __version__

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
    kernel = os.uname()
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
        status = os.stat(path)
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
            os.close(directory)
        return _entry_program(key, entry)

    def put(self, key: str, program: bytes, identity: bytes) -> None:
        """Keep a program that the libseccomp of this identity (see library_identity) made."""
        if not identity:
            return
        directory = self._open(create=True)
        if directory < 0:
            return
        try:
            self._write(directory, key, _entry(key, program, identity))
            self._evict(directory)
        except OSError as error:
            self.warn(f"seccomp: {self.directory}: the compiled filter isn't kept: {error.strerror}")
        finally:
            os.close(directory)

    def _open(self, create: bool) -> int:
        """The directory's descriptor, -1 if it is missing or others could have written to it."""
        try:
            if create:
                os.makedirs(self.directory, 0o700, exist_ok=True)
            descriptor = os.open(self.directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError as error:
            if create or not isinstance(error, FileNotFoundError):
                self.warn(f"seccomp: the cache {self.directory} isn't used: {error.strerror}")
            return -1
        if _private(os.fstat(descriptor)):
            return descriptor
        os.close(descriptor)
        self.warn(f"seccomp: the cache {self.directory} isn't used: it must be ours, mode 0700")
        return -1

    def _read(self, directory: int, key: str) -> bytes:
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        descriptor = os.open(key, flags, dir_fd=directory)
        try:
            if not _private(os.fstat(descriptor)):
                return b""
            os.utime(descriptor)  # eviction goes by last use
            return os.read(descriptor, 1 << 16)
        finally:
            os.close(descriptor)

    def _write(self, directory: int, key: str, entry: bytes) -> None:
        partial = f"{key}.{os.getpid()}"
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(partial, flags, 0o600, dir_fd=directory)
        try:
            os.write(descriptor, entry)
        finally:
            os.close(descriptor)
        os.rename(partial, key, src_dir_fd=directory, dst_dir_fd=directory)

    def _evict(self, directory: int) -> None:
        names = os.listdir(directory)
        if len(names) <= self.most_entries:
            return
        used = []
        for name in names:
            try:
                used.append((os.stat(name, dir_fd=directory, follow_symlinks=False).st_mtime_ns, name))
            except FileNotFoundError:  # another pyoci was faster
                continue
        for _, name in sorted(used)[: max(0, len(used) - self.most_entries)]:
            try:
                os.unlink(name, dir_fd=directory)
            except FileNotFoundError:
                continue


def _private(status: os.stat_result) -> bool:
    return status.st_uid == os.geteuid() and not status.st_mode & 0o077


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
