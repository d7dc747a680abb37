"""Whose a cgroup is: an extended attribute of its directory names the container that has it.

The kernel keeps such attributes in memory, on v1 as on v2, and they go with the directory. Only the host's root may see or
set those of the class "trusted"; other users have the class "user" (since Linux 5.7). Of several who want one cgroup the
one has it whose attribute is there: XATTR_CREATE succeeds once.
"""

import posix
from errno import EACCES, EOPNOTSUPP, EPERM

from pyoci.errors import Error
from pyoci.paths import read_kernel_file

TYPE_CHECKING = False
if TYPE_CHECKING:
    # The attribute's name, and its value: a random word, and the file that holds that word as long as there is the container.
    Owner = list[str]

# The modes of a cgroup's directory until it is marked, and then. A directory of nobody's is not to be taken for one that is being
# made; nothing else on a cgroup has the sticky bit.
UNMARKED, MARKED = 0o1755, 0o755
STICKY = 0o1000
PRIVILEGED, UNPRIVILEGED = "trusted.pyoci", "user.pyoci"


class TakenError(Error):
    """The cgroup is another container's, or is about to be."""


def new(state_file: str, *, privileged: bool) -> "Owner":
    """A container's mark.

    Arguments:
        state_file: its state.json, which the mark has to be written to before any cgroup gets it.
        privileged: whether this is the host's root.
    """
    return [PRIVILEGED if privileged else UNPRIVILEGED, f"{posix.urandom(8).hex()} {state_file}"]


def of(path: str, owner: "Owner") -> "str | None":
    """The value of the mark that a cgroup bears, None without one and without the cgroup."""
    try:
        return posix.getxattr(path, owner[0]).decode("utf-8", "surrogateescape")
    except OSError:
        return None


def claim(path: str, owner: "Owner") -> bool:
    """Puts the mark on a cgroup that has none. False if it can't have one here.

    Raises TakenError if it has another's, OSError.
    """
    name, value = owner
    try:
        posix.setxattr(path, name, value.encode("utf-8", "surrogateescape"), posix.XATTR_CREATE)
    except FileExistsError:
        if of(path, owner) != value:
            raise taken(path) from None
    except OSError as error:
        if error.errno not in (EPERM, EACCES, EOPNOTSUPP):
            raise
        return False
    return True


def claim_left(path: str, owner: "Owner") -> bool:
    """The same for a cgroup that was there before, which may have the mark of a container that is gone."""
    check(path, owner)
    release(path, owner, of(path, owner))
    return claim(path, owner)


def check(path: str, owner: "Owner") -> None:
    """Raises TakenError if a cgroup is being made, or that of a container which isn't deleted yet. One that is gone is fine."""
    word, _, state_file = (of(path, owner) or "").partition(" ")
    if not word and _is_being_made(path):
        raise taken(path)
    if not word or state_file == owner[1].partition(" ")[2]:
        return
    try:
        kept = word.encode() in read_kernel_file(state_file)
    except OSError:
        kept = False
    if kept:
        directory = state_file.rpartition("/")[0]
        raise TakenError(
            f"cgroup {path} is that of another container, which isn't deleted yet: {directory}",
            hint="delete that first, or choose another linux.cgroupsPath",
        )


def _is_being_made(path: str) -> bool:
    try:
        return bool(posix.stat(path).st_mode & STICKY)
    except OSError:
        return False


def make(path: str, owner: "Owner | None") -> bool:
    """Makes a cgroup and puts the mark on it. False if it can't have one here.

    Raises TakenError, OSError; FileNotFoundError also if somebody has removed it before it was marked.
    """
    posix.mkdir(path, UNMARKED)
    marked = owner is not None and claim(path, owner)
    # Also for the sake of a caller's umask.
    posix.chmod(path, MARKED)
    return marked


def release(path: str, owner: "Owner", value: "str | None") -> None:
    """Takes a mark off; that of anybody else stays."""
    if value is not None and of(path, owner) == value:
        try:
            posix.removexattr(path, owner[0])
        except OSError:
            pass


def taken(path: str) -> TakenError:
    """The TakenError of a cgroup that several want at once."""
    hint = "each container needs a linux.cgroupsPath of its own"
    return TakenError(
        f"cgroup {path}: somebody else is making it, or is about to use it, at the same time", hint=hint
    )
