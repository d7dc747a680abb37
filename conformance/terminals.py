"""The other end of a program's terminal, and of the caller's."""

from __future__ import annotations

import array
import os
import pty
import select
import signal
import socket
import termios
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from fcntl import ioctl
from pathlib import Path

TIMEOUT_S = 20.0


def read_until(fd: int, wanted: bytes) -> bytes:
    """What comes from a terminal until it has said this."""
    data, deadline = b"", time.monotonic() + TIMEOUT_S
    while wanted not in data:
        assert time.monotonic() < deadline, f"{wanted!r} did not come: {data!r}"
        if select.select([fd], [], [], 0.1)[0]:
            more = os.read(fd, 4096)
            assert more, f"{wanted!r} did not come: {data!r}"
            data += more
    return data


@contextmanager
def listening(path: Path) -> Iterator[socket.socket]:
    """A unix socket that listens at a path, which may be longer than its address can be (107 bytes, unix(7))."""
    directory = os.open(path.parent, os.O_PATH)
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
            listener.bind(f"/proc/self/fd/{directory}/new")
            listener.listen()
            os.rename("new", path.name, src_dir_fd=directory, dst_dir_fd=directory)
            yield listener
    finally:
        os.close(directory)


def read_to_end(fd: int) -> bytes:
    """What comes from a pipe until nobody can write to it any more."""
    data, deadline = b"", time.monotonic() + TIMEOUT_S
    while True:
        left = deadline - time.monotonic()
        assert left > 0 and select.select([fd], [], [], left)[0], f"it has no end: {data[-100:]!r}"
        more = os.read(fd, 65536)
        if not more:
            return data
        data += more


def taken(listener: socket.socket) -> int:
    """The descriptor (a terminal, say) that a runtime sends."""
    connection, _ = listener.accept()
    with connection:
        _, control, _, _ = connection.recvmsg(4096, socket.CMSG_SPACE(4))
    (terminal,) = array.array("i", control[0][2])
    return int(terminal)


class Job:
    """A command as a job of a shell, on a terminal of its own. The shell does nothing else than what this class has.

    Attributes:
        pid: the command's.
        terminal: the terminal's other end, which people see.
    """

    def __init__(
        self,
        command: Sequence[str | Path],
        *,
        background: bool = False,
        prepare: Callable[[], None] = lambda: None,
    ) -> None:
        self.terminal, slave = pty.openpty()
        self._reports, reports = os.pipe()
        self._shell = os.fork()
        if self._shell == 0:
            try:
                os.close(self.terminal)
                _be_shell([str(word) for word in command], slave, reports, background, prepare)
            finally:
                os._exit(99)
        os.close(reports)
        os.close(slave)
        self._text = b""
        self.pid = int(self.report())

    def report(self) -> str:
        """What has become of it: "stopped by N", "continued", "exited with N"."""
        deadline = time.monotonic() + TIMEOUT_S
        while b"\n" not in self._text:
            left = deadline - time.monotonic()
            assert left > 0 and select.select([self._reports], [], [], left)[0], "nothing is reported"
            data = os.read(self._reports, 4096)
            assert data, "the shell is gone"
            self._text += data
        line, _, self._text = self._text.partition(b"\n")
        return line.decode()

    def foreground(self) -> None:
        """As the shell's `fg`."""
        os.kill(self._shell, signal.SIGUSR1)

    def close(self) -> None:
        """End it, if it hasn't."""
        if self.terminal >= 0:
            os.close(self.terminal)
        self.terminal = -1
        os.kill(self._shell, signal.SIGTERM)
        os.waitpid(self._shell, 0)
        os.close(self._reports)

    def release(self) -> None:
        """Let the shell go, and with it the terminal: who reads the other end sees its end."""
        os.kill(self._shell, signal.SIGTERM)

    def vanish(self) -> None:
        """The terminal goes away, as when its window is closed."""
        os.close(self.terminal)
        self.terminal = -1


@contextmanager
def job(
    command: Sequence[str | Path], *, background: bool = False, prepare: Callable[[], None] = lambda: None
) -> Iterator[Job]:
    """A `Job`, ended when the context is left."""
    made = Job(command, background=background, prepare=prepare)
    try:
        yield made
    finally:
        made.close()


def _be_shell(
    command: list[str], terminal: int, reports: int, background: bool, prepare: Callable[[], None]
) -> None:
    os.setsid()
    ioctl(terminal, termios.TIOCSCTTY, 0)
    child = os.fork()
    if child == 0:
        os.setpgid(0, 0)
        if not background:
            signal.signal(signal.SIGTTOU, signal.SIG_IGN)
            os.tcsetpgrp(terminal, os.getpid())
            signal.signal(signal.SIGTTOU, signal.SIG_DFL)
        for fd in range(3):
            os.dup2(terminal, fd)
        prepare()
        os.execvp(command[0], command)

    def bring_to_foreground(number: int, frame: object) -> None:
        os.tcsetpgrp(terminal, child)
        os.killpg(child, signal.SIGCONT)

    def end(number: int, frame: object) -> None:
        try:
            os.kill(child, signal.SIGKILL)
        except ProcessLookupError:
            pass
        os._exit(0)

    for ignored in (signal.SIGTTOU, signal.SIGTTIN, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)
    signal.signal(signal.SIGUSR1, bring_to_foreground)
    signal.signal(signal.SIGTERM, end)
    os.write(reports, f"{child}\n".encode())
    while True:
        _, status = os.waitpid(child, os.WUNTRACED | os.WCONTINUED)
        if os.WIFSTOPPED(status):
            os.tcsetpgrp(terminal, os.getpid())
            text = f"stopped by {os.WSTOPSIG(status)}"
        elif os.WIFCONTINUED(status):
            text = "continued"
        else:
            text = f"exited with {os.waitstatus_to_exitcode(status)}"
        os.write(reports, f"{text}\n".encode())
        if not os.WIFSTOPPED(status) and not os.WIFCONTINUED(status):
            signal.pause()
