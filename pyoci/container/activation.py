"""Socket activation: the descriptors that a service manager gave us for the program (sd_listen_fds(3))."""

import posix

PID, COUNT, NAMES = b"LISTEN_PID", b"LISTEN_FDS", b"LISTEN_FDNAMES"
# What the container's first process is called in its pid namespace; runc says so in any case.
FIRST = "1"
LONGEST = 6


def inherited() -> "tuple[int, list[str]]":
    """How many descriptors from 3 up are the program's, and the variables that tell it.

    None if they were meant for another process: the variables may come from our caller's caller.
    """
    environment = posix.environ
    if COUNT not in environment or environment.get(PID) != str(posix.getpid()).encode():
        return 0, []
    count = environment[COUNT]
    # No leading zero: to sd_listen_fds(3), 010 is 8.
    if not count.isdigit() or count[:1] == b"0" or len(count) > LONGEST:
        return 0, []
    told = [f"LISTEN_FDS={int(count)}", f"LISTEN_PID={FIRST}"]
    if NAMES in environment:
        told.append(f"LISTEN_FDNAMES={environment[NAMES].decode('utf-8', 'surrogateescape')}")
    return int(count), told
