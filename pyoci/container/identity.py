"""Which process a pid means: pids are used again, so a process is known by its pid and start time, and by the host's boot."""

from pyoci.paths import read_kernel_file


def start_time(pid: int) -> int:
    """When a process was started, in clock ticks since boot; with its pid that names it for ever (proc_pid_stat(5)).

    Raises GoneError if there is none.
    """
    return _stat(pid)[1]


def boot_id() -> str:
    """What is another after each boot of the host, random(4); "" where it can't be told."""
    try:
        return read_kernel_file("/proc/sys/kernel/random/boot_id").decode("ascii", "replace").strip()
    except OSError:
        return ""


def is_alive(pid: int, started: int) -> bool:
    """Whether the process of that pid and start time is there, and not a zombie."""
    try:
        state, time = _stat(pid)
    except OSError:
        return False
    return time == started and state not in (b"Z", b"X", b"x")


def _stat(pid: int) -> "tuple[bytes, int]":
    data = read_kernel_file(f"/proc/{pid}/stat")
    # The second field, the name, may hold anything, also blanks and parentheses.
    fields = data[data.rindex(b")") + 2 :].split()
    return fields[0], int(fields[19])
