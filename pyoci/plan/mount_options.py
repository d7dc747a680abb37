"""The mount options (config.md, "Linux mount options"), and the kernel's bits that they stand for."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# linux/mount.h: the attributes of a mount, and the bits of mount(2) that name a propagation.
RDONLY, NOSUID, NODEV, NOEXEC, NODIRATIME, NOSYMFOLLOW = 0x1, 0x2, 0x4, 0x8, 0x80, 0x200000
ATIME, RELATIME, NOATIME, STRICTATIME = 0x70, 0x00, 0x10, 0x20
REC, UNBINDABLE, PRIVATE, SLAVE, SHARED = 0x4000, 1 << 17, 1 << 18, 1 << 19, 1 << 20

# csrc/mounts.h
BIND_RECURSIVE, ORDINARY_DIRECTORY, INHERIT_MODE, FROM_HOST = 1, 2, 4, 8
IDMAP, COPY_UP, NO_FOLLOW, IN_PROC = 16, 32, 64, 128
HAS_ATTRIBUTES, ON_SYMLINK, COPY_SYMLINK, INHERIT_UID, INHERIT_GID = 256, 512, 1024, 2048, 4096

# option: (kind, ...)
#   "attribute", set, clear     of this mount        "all", set, clear   of this mount and those below it
#   "propagation", bits         "filesystem", word   the superblock's flag, as fsconfig(2) calls it
#   "bind", recursive           "remount"            "nothing"           a default, or only about log messages
#   "idmap", recursive          "copy up"            "place", flag       about the source or the destination
OPTIONS: "dict[str, tuple[Any, ...]]" = {
    "defaults": ("nothing",),
    "rw": ("attribute", 0, RDONLY),
    "ro": ("attribute", RDONLY, 0),
    "suid": ("attribute", 0, NOSUID),
    "nosuid": ("attribute", NOSUID, 0),
    "dev": ("attribute", 0, NODEV),
    "nodev": ("attribute", NODEV, 0),
    "exec": ("attribute", 0, NOEXEC),
    "noexec": ("attribute", NOEXEC, 0),
    "diratime": ("attribute", 0, NODIRATIME),
    "nodiratime": ("attribute", NODIRATIME, 0),
    "symfollow": ("attribute", 0, NOSYMFOLLOW),
    "nosymfollow": ("attribute", NOSYMFOLLOW, 0),
    "atime": ("attribute", RELATIME, ATIME),
    "noatime": ("attribute", NOATIME, ATIME),
    "relatime": ("attribute", RELATIME, ATIME),
    "norelatime": ("attribute", STRICTATIME, ATIME),
    "strictatime": ("attribute", STRICTATIME, ATIME),
    "nostrictatime": ("attribute", RELATIME, ATIME),
    "rrw": ("all", 0, RDONLY),
    "rro": ("all", RDONLY, 0),
    "rsuid": ("all", 0, NOSUID),
    "rnosuid": ("all", NOSUID, 0),
    "rdev": ("all", 0, NODEV),
    "rnodev": ("all", NODEV, 0),
    "rexec": ("all", 0, NOEXEC),
    "rnoexec": ("all", NOEXEC, 0),
    "rdiratime": ("all", 0, NODIRATIME),
    "rnodiratime": ("all", NODIRATIME, 0),
    "rsymfollow": ("all", 0, NOSYMFOLLOW),
    "rnosymfollow": ("all", NOSYMFOLLOW, 0),
    "ratime": ("all", RELATIME, ATIME),
    "rnoatime": ("all", NOATIME, ATIME),
    "rrelatime": ("all", RELATIME, ATIME),
    "rnorelatime": ("all", STRICTATIME, ATIME),
    "rstrictatime": ("all", STRICTATIME, ATIME),
    "rnostrictatime": ("all", RELATIME, ATIME),
    "private": ("propagation", PRIVATE),
    "rprivate": ("propagation", PRIVATE | REC),
    "shared": ("propagation", SHARED),
    "rshared": ("propagation", SHARED | REC),
    "slave": ("propagation", SLAVE),
    "rslave": ("propagation", SLAVE | REC),
    "unbindable": ("propagation", UNBINDABLE),
    "runbindable": ("propagation", UNBINDABLE | REC),
    "bind": ("bind", 0),
    "rbind": ("bind", BIND_RECURSIVE),
    "remount": ("remount",),
    "sync": ("filesystem", "sync"),
    "async": ("filesystem", "async"),
    "dirsync": ("filesystem", "dirsync"),
    "lazytime": ("filesystem", "lazytime"),
    "nolazytime": ("filesystem", "nolazytime"),
    "mand": ("filesystem", "mand"),
    "nomand": ("filesystem", "nomand"),
    # Removed from the kernel as a general flag (5.10: a filesystem's own option); it never showed outside of NFS servers.
    "iversion": ("nothing",),
    "noiversion": ("nothing",),
    "silent": ("nothing",),
    "loud": ("nothing",),
    "idmap": ("idmap", False),
    "ridmap": ("idmap", True),
    "tmpcopyup": ("copy up",),
    # crun's: what is bound, or bound on, is a symlink itself; a symlink is made again instead.
    "src-nofollow": ("place", NO_FOLLOW),
    "dest-nofollow": ("place", ON_SYMLINK),
    "copy-symlink": ("place", COPY_SYMLINK),
}


def split(option: str) -> "list[str]":
    """The options that a string holds, by its commas outside of quotes (SELinux's categories have some inside)."""
    pieces = option.split('"')
    pieces[::2] = [piece.replace(",", "\0") for piece in pieces[::2]]
    return '"'.join(pieces).split("\0")
