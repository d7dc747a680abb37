"""Files of ours: made so that neither the umask nor other users matter, and read only if nobody else can have written them."""

import posix

from pyoci.errors import Error, cause_of

# stat.S_IFMT and its values; the stat module takes longer to import than all of this.
KIND, DIRECTORY, REGULAR, LINK, FIFO = 0o170000, 0o040000, 0o100000, 0o120000, 0o010000
WRITABLE_BY_OTHERS, OPEN_TO_OTHERS = 0o022, 0o077
_HERE = posix.O_CLOEXEC | posix.O_NOCTTY | posix.O_NONBLOCK


class UntrustedError(Error):
    """Somebody else may have written what we are about to believe."""


def is_ours(status: "posix.stat_result") -> bool:
    """Whether it belongs to us, or to root, who may do anything anyway."""
    return status.st_uid in (posix.geteuid(), 0)


def check(status: "posix.stat_result", path: str, forbidden: int) -> None:
    """Refuse what somebody else may have written.

    Arguments:
        status: of what was opened, not of a name.
        forbidden: the mode's bits that it must not have.

    Raises UntrustedError.
    """
    if not is_ours(status):
        why = f"it belongs to user {status.st_uid}"
    elif status.st_mode & forbidden:
        why = f"its mode is {status.st_mode & 0o7777:04o}"
    else:
        return
    bits = "go-w" if forbidden == WRITABLE_BY_OTHERS else "go="
    hint = f"`chmod {bits} {path}`, if you are sure that nobody else has changed what is there"
    raise UntrustedError(
        f"{path} is not trusted: {why}", hint=hint if is_ours(status) else "use another --root"
    )


def open_directory(path: str, *, at: "int | None" = None, shown: "str | None" = None) -> int:
    """A directory that only we and root can write to, opened.

    Arguments:
        at: a directory that it is in; then its name must not be a symlink.
        shown: its path, for messages.

    Raises UntrustedError, OSError.
    """
    flags = posix.O_RDONLY | posix.O_DIRECTORY | posix.O_CLOEXEC
    fd = posix.open(path, flags if at is None else flags | posix.O_NOFOLLOW, dir_fd=at)
    try:
        check(posix.fstat(fd), shown or path, WRITABLE_BY_OTHERS)
    except BaseException:
        posix.close(fd)
        raise
    return fd


def read_own(path: str, shown: "str | None" = None) -> bytes:
    """The contents of a file that only we can read and write.

    Arguments:
        shown: its path, for messages.

    Raises UntrustedError, OSError.
    """
    fd = posix.open(path, posix.O_RDONLY | posix.O_NOFOLLOW | _HERE)
    try:
        status = posix.fstat(fd)
        if status.st_mode & KIND != REGULAR:
            raise UntrustedError(f"{shown or path} is not trusted: it is no file")
        check(status, shown or path, OPEN_TO_OTHERS)
        return b"".join(iter(lambda: posix.read(fd, 1 << 20), b""))
    finally:
        posix.close(fd)


def make_directory(path: str, mode: int) -> None:
    """Make a directory with this mode, whatever the umask. Raises OSError."""
    posix.mkdir(path, mode)
    # By descriptor, and one that takes no permission: the umask may have left us none.
    fd = posix.open(path, posix.O_PATH | posix.O_DIRECTORY | posix.O_NOFOLLOW | posix.O_CLOEXEC)
    try:
        posix.chmod(f"/proc/self/fd/{fd}", mode)
    finally:
        posix.close(fd)


def make_directories(path: str, mode: int) -> None:
    """Make a directory and what is missing above it (os.makedirs); one that is there already is fine.

    Raises OSError.
    """
    try:
        make_directory(path, mode)
    except FileExistsError:
        if posix.stat(path).st_mode & KIND != DIRECTORY:
            raise NotADirectoryError(20, posix.strerror(20), path) from None
    except FileNotFoundError:
        above = path.rstrip("/").rpartition("/")[0]
        if not above:
            raise
        make_directories(above, 0o755)
        try:
            make_directory(path, mode)
        except FileExistsError:
            pass  # another command was faster


def write_file(path: str, data: bytes, mode: int, *, shown: "str | None" = None) -> None:
    """Write a file so that nobody ever sees half of it: under another name, then renamed.

    Arguments:
        mode: its, whatever the umask.
        shown: its path, for messages.

    Raises Error that names the file.
    """
    directory = path.rpartition("/")[0] if "/" in path else "."
    temporary = ""
    try:
        fd, temporary = _temporary(directory)
        try:
            posix.fchmod(fd, mode)
            while data:
                data = data[posix.write(fd, data) :]
        finally:
            posix.close(fd)
        posix.rename(temporary, path)
    except OSError as error:
        if temporary:
            unlink_quietly(temporary)
        raise Error(f"can't write {shown or path}: {cause_of(error)}") from None


def _temporary(directory: str) -> "tuple[int, str]":
    """A new file of ours, open for writing, and its path: others may put any number of files in the way."""
    for _ in range(100):
        path = f"{directory}/.pyoci-{posix.urandom(8).hex()}"
        try:
            flags = posix.O_WRONLY | posix.O_CREAT | posix.O_EXCL | posix.O_NOFOLLOW | posix.O_CLOEXEC
            return posix.open(path, flags, 0o600), path
        except FileExistsError:
            continue
    raise FileExistsError(17, posix.strerror(17), directory)


def unlink_quietly(path: str) -> None:
    """Remove a file that was written; that it is gone, or can't be removed, is not told."""
    try:
        posix.unlink(path)
    except OSError:
        pass


def open_given(path: str, flags: int, mode: int) -> int:
    """Open a file whose place the caller names, and make it if it isn't there; it is never somebody else's.

    In a directory that others may write to, they may have put there a link to a file of ours, or one of their own. A link of
    ours or of root's is followed (/dev/stderr is one), wherever that leads. It doesn't wait for whoever reads a FIFO.

    Arguments:
        mode: a new file's, whatever the umask.

    Raises OSError.
    """
    flags |= _HERE
    try:
        fd = posix.open(path, flags | posix.O_CREAT | posix.O_EXCL, mode)
    except FileExistsError:
        return _open_existing(path, flags, mode)
    posix.fchmod(fd, mode)
    return fd


def is_fifo(path: str) -> bool:
    """Whether there is a FIFO of that name."""
    try:
        return posix.stat(path).st_mode & KIND == FIFO
    except OSError:
        return False


def _open_existing(path: str, flags: int, mode: int) -> int:
    found = posix.lstat(path)
    if found.st_mode & KIND == LINK:
        if not is_ours(found):
            raise _foreign("is a link of", found)
        return posix.open(path, flags | posix.O_CREAT, mode)
    fd = posix.open(path, flags | posix.O_NOFOLLOW)
    found = posix.fstat(fd)
    if found.st_mode & KIND == REGULAR and not is_ours(found):
        posix.close(fd)
        raise _foreign("belongs to", found)
    return fd


def _foreign(what: str, status: "posix.stat_result") -> OSError:
    return OSError(1, f"it {what} user {status.st_uid}")  # EPERM
