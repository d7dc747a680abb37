"""process.terminal: on a real terminal by `run`, and handed over by --console-socket."""

import array
import os
import pty
import select
import socket
import struct
import termios
import time
from fcntl import ioctl
from pathlib import Path

from conformance.runtime import Runtime, new_id

from .conftest import MakeBundle

TIMEOUT_S = 20.0


def read_until(fd: int, wanted: bytes) -> bytes:
    """What comes from a terminal until it has said this."""
    data, deadline = b"", time.monotonic() + TIMEOUT_S
    while wanted not in data:
        assert time.monotonic() < deadline, f"{wanted!r} did not come: {data!r}"
        if select.select([fd], [], [], 0.1)[0]:
            data += os.read(fd, 4096)
    return data


def test_run_on_a_terminal_lends_it_to_the_program(pyoci: Runtime, bundle: MakeBundle) -> None:
    here = bundle(
        process={"terminal": True, "args": ["sh", "-c", "tty; stty size; read x; echo got-$x; exit 7"]}
    )
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv(pyoci.path, [*pyoci.command, "run", "--bundle", str(here), new_id()])
    try:
        ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 33, 111, 0, 0))
        before = termios.tcgetattr(terminal)
        said = read_until(terminal, b"33 111")
        assert b"/dev/pts/0" in said
        os.write(terminal, b"word\r")
        read_until(terminal, b"got-word")
        _, status = os.waitpid(pid, 0)
        assert os.waitstatus_to_exitcode(status) == 7
        assert termios.tcgetattr(terminal) == before
    finally:
        os.close(terminal)


def test_the_console_socket_gets_the_terminal(pyoci: Runtime, bundle: MakeBundle, tmp_path: Path) -> None:
    size = {"height": 5, "width": 6}
    here = bundle(
        process={"terminal": True, "consoleSize": size, "args": ["sh", "-c", "stty size; test -t 0"]}
    )
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(tmp_path / "console"))
        listener.listen()
        container = pyoci.create(here, "--console-socket", str(tmp_path / "console"))
        connection, _ = listener.accept()
        with connection:
            _, control, _, _ = connection.recvmsg(4096, socket.CMSG_SPACE(4))
        (terminal,) = array.array("i", control[0][2])
        try:
            pyoci("start", container)
            read_until(terminal, b"5 6")
        finally:
            os.close(terminal)
        pyoci.await_status(container, "stopped")
        pyoci("delete", container)


def test_a_terminal_that_nobody_takes_is_an_error(pyoci: Runtime, bundle: MakeBundle) -> None:
    here = bundle(process={"terminal": True})
    assert "console-socket" in pyoci.fails("create", "--bundle", here, new_id())
    assert "console-socket" in pyoci.fails("run", "--detach", "--bundle", here, new_id())
