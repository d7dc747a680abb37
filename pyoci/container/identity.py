"""Which process a pid means: pids are used again, so a process is known by its pid and start time, and by the host's boot."""

import posix


def start_time(pid: int) -> int:
    """When a process was started, in clock ticks since boot; with its pid that names it for ever (proc_pid_stat(5)).

    Raises OSError if there is none.
    """
    return _stat(pid)[1]


def boot_id() -> str:
    """What is another after each boot of the host, random(4); "" where it can't be told."""
    try:
        fd = posix.open("/proc/sys/kernel/random/boot_id", posix.O_RDONLY | posix.O_CLOEXEC)
    except OSError:
        return ""
    try:
        return posix.read(fd, 64).decode("ascii", "replace").strip()
    finally:
        posix.close(fd)


def is_alive(pid: int, started: int) -> bool:
    """Whether the process of that pid and start time is there, and not a zombie."""
    try:
        state, time = _stat(pid)
    except OSError:
        return False
    return time == started and state not in (b"Z", b"X", b"x")


def _stat(pid: int) -> "tuple[bytes, int]":
    fd = posix.open(f"/proc/{pid}/stat", posix.O_RDONLY | posix.O_CLOEXEC)
    try:
        data = posix.read(fd, 4096)
    finally:
        posix.close(fd)
    # The second field, the name, may hold anything, also blanks and parentheses.
    fields = data[data.rindex(b")") + 2 :].split()
    return fields[0], int(fields[19])
