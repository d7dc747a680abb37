"""A program in the foreground: signals are forwarded to it, its terminal is ours, its end is waited for.

Everything happens in one loop, in which nothing blocks: a terminal that nobody reads keeps no signal from the program, and no
end from us.
"""

import _signal  # type: ignore[import-not-found]  # the signal module imports enum
import posix
import select
import time

from pyoci.errors import Error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from pyoci.container.notify import Proxy
    from pyoci.container.relay import Relay

# Not forwarded: SIGCHLD is about our children, SIGURG nobody means, and the others can't be caught or are ours.
KEPT = (_signal.SIGCHLD, _signal.SIGURG, _signal.SIGKILL, _signal.SIGSTOP, _signal.SIGWINCH, _signal.SIGPIPE)
# A job in the background gets these for using its terminal; blocked, they don't disturb that (tcsetattr(3)).
OF_JOBS = (_signal.SIGTTIN, _signal.SIGTTOU)
# When the program has ended, these are for us.
ENDING = (_signal.SIGHUP, _signal.SIGINT, _signal.SIGQUIT, _signal.SIGTERM)
# How long a terminal may take nothing of what the program said last.
PATIENCE_S = 5.0


class Signals:
    """From now on signals are noted in a pipe, whatever the caller has blocked or ignored.

    Attributes:
        descriptor: the pipe's reading end, to poll.
    """

    def __init__(self) -> None:
        self.descriptor, writing = posix.pipe2(posix.O_CLOEXEC | posix.O_NONBLOCK)
        _signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
        for number in range(1, _signal.NSIG):
            if number not in KEPT or number in (_signal.SIGCHLD, _signal.SIGWINCH):
                try:
                    _signal.signal(number, _noted)
                except (OSError, ValueError):
                    continue
        _signal.pthread_sigmask(_signal.SIG_SETMASK, OF_JOBS)

    def take(self) -> bytes:
        """The numbers of those that have come."""
        try:
            return posix.read(self.descriptor, 4096)
        except BlockingIOError:
            return b""

    def poll(self, wanted: "dict[int, int]", seconds: "float | None" = None) -> "dict[int, int]":
        """Wait until a signal comes or a descriptor is ready; which ones are.

        Arguments:
            wanted: descriptors, and what poll(2) shall look for.
            seconds: at most so long.
        """
        poll = select.poll()
        poll.register(self.descriptor, select.POLLIN)
        for fd, events in wanted.items():
            poll.register(fd, events)
        _signal.pthread_sigmask(_signal.SIG_UNBLOCK, OF_JOBS)
        try:
            return dict(poll.poll(None if seconds is None else seconds * 1000))
        finally:
            _signal.pthread_sigmask(_signal.SIG_BLOCK, OF_JOBS)


def _noted(number: int, frame: "Any") -> None:
    """The number is in the pipe by now."""


def wait(
    pid: int,
    signals: Signals,
    relay: "Relay | None" = None,
    proxy: "Proxy | None" = None,
    warn: "Callable[[str], None] | None" = None,
) -> int:
    """Forward signals, carry the terminal's bytes, reap, until the program has ended.

    Arguments:
        pid: the program's, a child of ours.
        proxy: what passes on the program's messages to a service manager.
        warn: where warnings go.

    Returns:
        Its exit status, or 128 and the number of the signal that ended it. `write_out` what it said last.
    """
    # Our own child, not reaped: the pid is still its.
    pidfd = posix.pidfd_open(pid)
    try:
        while True:
            wanted = {pidfd: select.POLLIN}
            if relay:
                wanted.update(relay.wanted())
            if proxy:
                wanted.update(proxy.wanted())
            ready = signals.poll(wanted, relay.seconds() if relay else None)
            _handle(signals.take(), pid, relay)
            status = _reap(pid)
            if status is not None:
                code = posix.waitstatus_to_exitcode(status)
                return 128 - code if code < 0 else code
            if relay:
                relay.serve(ready)
            if proxy and not _works(proxy.serve, warn):
                proxy = None
    finally:
        if proxy:
            _works(proxy.finish, warn)
        posix.close(pidfd)


def _works(pass_on: "Callable[[], None]", warn: "Callable[[str], None] | None") -> bool:
    """Pass on what the program told the manager. That the manager is gone is no reason to end the program."""
    try:
        pass_on()
    except Error as error:
        if warn:
            warn(error.message)
        return False
    return True


def write_out(relay: "Relay", signals: Signals) -> None:
    """Write what the program said last.

    Who reads a pipe may take his time, as a pager does. A terminal that nobody reads would keep us for ever, so that is given
    up; and a signal that means us ends it.
    """
    relay.end_input()
    deadline = time.monotonic() + PATIENCE_S
    while relay.has_output():
        left = deadline - time.monotonic() if relay.writes_to_terminal() else None
        if left is not None and left <= 0:
            return
        signals.poll(relay.wanted(), left)
        if any(number in ENDING for number in signals.take()):
            return
        if relay.write_output():
            deadline = time.monotonic() + PATIENCE_S


def _handle(signals: bytes, pid: int, relay: "Relay | None") -> None:
    for number in signals:
        if number == _signal.SIGWINCH and relay:
            relay.resize()
        if number in KEPT:
            continue
        try:
            posix.kill(pid, number)  # our own child, not reaped yet: the pid is its
        except ProcessLookupError:
            pass
        if number == _signal.SIGTSTP:
            _stop(relay)
        elif number == _signal.SIGCONT and relay:
            relay.take_terminal()


def _stop(relay: "Relay | None") -> None:
    """Stop as a job of a shell does, with the terminal as it was before. In a process group that nobody could continue
    the kernel ignores SIGTSTP."""
    if relay:
        relay.give_terminal_back()
    _signal.signal(_signal.SIGTSTP, _signal.SIG_DFL)
    posix.kill(posix.getpid(), _signal.SIGTSTP)
    _signal.signal(_signal.SIGTSTP, _noted)
    if relay:
        relay.take_terminal()


def _reap(pid: int) -> "int | None":
    """The program's status if it has ended; other children are reaped on the way."""
    found = None
    while True:
        try:
            child, status = posix.waitpid(-1, posix.WNOHANG)
        except ChildProcessError:
            if found is None:
                raise Error("the container's process is not our child any more") from None
            return found
        if child == pid:
            found = status
        if child == 0:
            return found
