"""Paths, files of the kernel's, and the environment without the os module.

os is Python over posix; importing it (it pulls in collections.abc) takes 1.1 ms, a fifth of an interpreter's start. Hot modules
use posix itself, and these few functions for what posix lacks.
"""

import posix

# ENOENT, ESRCH, ENODEV; the errno module isn't on every command's way.
GONE = (2, 3, 19)
# Before the commands set one of their own, see pyoci/__main__.py; -1: they haven't.
callers_umask = -1


class GoneError(FileNotFoundError):
    """The process or the cgroup that a file of the kernel's tells about has ended."""


def absolute(path: str) -> str:
    """The path made absolute and normal, by text alone: symbolic links stay (os.path.abspath)."""
    if not path.startswith("/"):
        path = f"{posix.getcwd()}/{path}"
    parts: "list[str]" = []
    for part in path.split("/"):
        if part == "..":
            del parts[-1:]
        elif part not in ("", "."):
            parts.append(part)
    return "/" + "/".join(parts)


def normalise(path: str) -> str:
    """A path in the container, absolute, without "." and empty parts. ".." stays: only the kernel knows the symlinks."""
    return "/" + "/".join(part for part in path.split("/") if part not in ("", "."))


def is_directory(path: str) -> bool:
    """Whether there is a directory of that name."""
    try:
        return posix.stat(path).st_mode & 0o170000 == 0o040000
    except OSError:
        return False


def read_kernel_file(path: str) -> bytes:
    """The contents of a file in /proc or of a cgroup. This is the one way to read a file whose subject may end meanwhile.

    Raises GoneError if that has ended, before the file was opened (ENOENT, ESRCH) or after that (ENODEV of a cgroup, ESRCH of a
    process); OSError.
    """
    try:
        fd = posix.open(path, posix.O_RDONLY | posix.O_CLOEXEC)
        try:
            parts = []
            while part := posix.read(fd, 65536):
                parts.append(part)
        finally:
            posix.close(fd)
    except OSError as error:
        if error.errno in GONE:
            raise GoneError(error.errno, posix.strerror(error.errno), path) from None
        raise
    return b"".join(parts)


def open_null() -> int:
    """The null device, close-on-exec; an empty file that can't be written where the host has none, or something else there."""
    try:
        there = posix.stat("/dev/null")
        if there.st_mode & 0o170000 == 0o020000 and there.st_rdev == posix.makedev(1, 3):
            return posix.open("/dev/null", posix.O_RDWR | posix.O_CLOEXEC)
    except OSError:
        pass
    import fcntl

    file = posix.memfd_create("null", posix.MFD_CLOEXEC | posix.MFD_ALLOW_SEALING)
    seals = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE
    fcntl.fcntl(file, fcntl.F_ADD_SEALS, seals)
    return file


def find_program(name: str) -> "str | None":
    """Where PATH has a program of that name."""
    path = posix.environ.get(b"PATH", b"/usr/local/bin:/usr/bin:/bin").decode("utf-8", "surrogateescape")
    for directory in path.split(":"):
        candidate = f"{directory}/{name}"
        if directory.startswith("/") and posix.access(candidate, posix.X_OK):
            return candidate
    return None


def encode(text: str) -> bytes:
    """A path or argument as the kernel has it (os.fsencode)."""
    return text.encode("utf-8", "surrogateescape")


def environment() -> "list[str]":
    """The environment that we were executed with, as execve(2) takes it: NAME=value.

    Not posix.environ: where no locale is set, Python sets LC_CTYPE for itself there (PEP 538).
    """
    with open("/proc/self/environ", "rb") as file:
        return file.read().decode("utf-8", "surrogateescape").split("\0")[:-1]
