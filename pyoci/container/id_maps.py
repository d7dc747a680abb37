"""Writes the uid and gid maps of a new user namespace: user_namespaces(7), newuidmap(1).

Imported only for a container that has one.
"""

import posix

from pyoci.errors import ConfigError, Problem, cause_of
from pyoci.paths import find_program

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    Maps = tuple[str, str]

POINTERS = ("/linux/uidMappings", "/linux/gidMappings")
FILES = ("uid_map", "gid_map")
PROGRAMS = ("newuidmap", "newgidmap")
LISTS = ("/etc/subuid", "/etc/subgid")


def write(pid: int, maps: "Maps") -> None:
    """Write both.

    Arguments:
        pid: the process that made the namespace, and waits.
        maps: the uid map and the gid map, lines of "inside outside count".

    Raises ConfigError, with what the user has to be given.
    """
    if posix.geteuid() == 0 or _maps_only_ourselves(maps):
        _write_files(pid, maps)
        return
    for pointer, program, listed, text in zip(POINTERS, PROGRAMS, LISTS, maps, strict=True):
        _run(pid, pointer, program, listed, text)


def _maps_only_ourselves(maps: "Maps") -> bool:
    """Whether anybody may write these: one id each, the caller's own."""
    return all(
        text.count("\n") == 1 and text.split()[1:] == [str(own), "1"]
        for text, own in zip(maps, (posix.geteuid(), posix.getegid()), strict=True)
    )


def _write_files(pid: int, maps: "Maps") -> None:
    for pointer, path, text in _files(pid, maps):
        try:
            fd = posix.open(path, posix.O_WRONLY | posix.O_CLOEXEC)
            try:
                posix.write(fd, text.encode())
            finally:
                posix.close(fd)
        except OSError as error:
            message = f"the user namespace's map can't be written: {cause_of(error).lower()} ({path})"
            raise ConfigError([Problem(pointer, message)], hint=_hint(error)) from None


def _files(pid: int, maps: "Maps") -> "Iterator[tuple[str, str, str]]":
    yield POINTERS[0], f"/proc/{pid}/uid_map", maps[0]
    # Who may not drop groups could get at what is forbidden to a group of his: the kernel wants this first (CVE-2014-8989).
    if posix.geteuid() != 0:
        yield POINTERS[1], f"/proc/{pid}/setgroups", "deny"
    yield POINTERS[1], f"/proc/{pid}/gid_map", maps[1]


def _hint(error: OSError) -> "str | None":
    if error.errno == 1:  # EPERM
        return "to map ids of the host takes CAP_SETUID and CAP_SETGID there (and CAP_SETFCAP for id 0)"
    return None


def _run(pid: int, pointer: str, program: str, listed: str, text: str) -> None:
    """A user without privileges may map what root has listed for him; these set-user-ID programs know."""
    path = find_program(program)
    if path is None:
        message = f"{program} isn't there, which a user without privileges needs for such mappings"
        raise ConfigError([Problem(pointer, message)], hint="Debian's package uidmap has it")
    said = posix.memfd_create(program)
    try:
        actions = [
            (posix.POSIX_SPAWN_DUP2, said, 1),
            (posix.POSIX_SPAWN_DUP2, said, 2),
        ]
        child = posix.posix_spawn(
            path, [program, str(pid), *text.split()], dict(posix.environ), file_actions=actions
        )
        status = posix.waitpid(child, 0)[1]
        words = posix.pread(said, 1000, 0).decode("utf-8", "replace").strip().replace("\n", " | ")
    finally:
        posix.close(said)
    if status != 0:
        raise ConfigError(
            [Problem(pointer, f"{program} refused the mappings: {words}")],
            hint=f"{listed} lists what ids user {posix.geteuid()} may map; `usermod --add-subuids` adds some",
        )
