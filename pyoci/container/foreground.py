"""A program in the foreground: signals are forwarded to it, its terminal is ours, its end is waited for."""

import _signal  # type: ignore[import-not-found]  # the signal module imports enum
import posix
import select

from pyoci.errors import Error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from pyoci.container.console import Relay
    from pyoci.container.notify import Proxy

# Not forwarded: SIGCHLD is about our children, SIGURG nobody means, and the others can't be caught or are ours.
KEPT = (_signal.SIGCHLD, _signal.SIGURG, _signal.SIGKILL, _signal.SIGSTOP, _signal.SIGWINCH, _signal.SIGPIPE)


def catch_signals() -> int:
    """From now on signals are noted in a pipe; returns its reading end."""
    reading, writing = posix.pipe2(posix.O_CLOEXEC | posix.O_NONBLOCK)
    _signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    for number in range(1, _signal.NSIG):
        if number not in KEPT or number in (_signal.SIGCHLD, _signal.SIGWINCH):
            try:
                _signal.signal(number, lambda signal, frame: None)
            except (OSError, ValueError):
                continue
    return reading


def wait(
    pid: int,
    wakeup: int,
    relay: "Relay | None",
    proxy: "Proxy | None" = None,
    warn: "Callable[[str], None] | None" = None,
) -> int:
    """Forward signals, carry the terminal's bytes, reap, until the program has ended.

    Arguments:
        pid: the program's, a child of ours.
        wakeup: from `catch_signals`.
        proxy: what passes on the program's messages to a service manager.
        warn: where warnings go.

    Returns:
        Its exit status, or 128 and the number of the signal that ended it.
    """
    poll = select.poll()
    poll.register(wakeup, select.POLLIN)
    if relay:
        poll.register(relay.terminal, select.POLLIN)
        poll.register(0, select.POLLIN)
    while True:
        status = _reap(pid)
        if status is not None:
            if relay:
                relay.drain()
            if proxy:
                _works(proxy.finish, warn)
            code = posix.waitstatus_to_exitcode(status)
            return 128 - code if code < 0 else code
        wanted = proxy.wanted() if proxy else {}
        for fd, events in wanted.items():
            poll.register(fd, events)
        ready = poll.poll()
        for fd in wanted:
            poll.unregister(fd)
        if proxy and not _works(proxy.serve, warn):
            proxy = None
        for fd, _ in ready:
            if fd == wakeup:
                _forward(pid, posix.read(wakeup, 4096), relay)
            elif relay and fd == relay.terminal and not relay.pump_out():
                poll.unregister(relay.terminal)
            elif relay and fd == 0 and not relay.pump_in():
                poll.unregister(0)


def _works(pass_on: "Callable[[], None]", warn: "Callable[[str], None] | None") -> bool:
    """Pass on what the program told the manager. That the manager is gone is no reason to end the program."""
    try:
        pass_on()
    except Error as error:
        if warn:
            warn(error.message)
        return False
    return True


def _forward(pid: int, signals: bytes, relay: "Relay | None") -> None:
    for number in signals:
        if number == _signal.SIGWINCH and relay:
            relay.resize()
        elif number not in KEPT:
            try:
                posix.kill(pid, number)  # our own child, not reaped yet: the pid is its
            except ProcessLookupError:
                pass


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
