"""process.terminal: on a real terminal by `run`, and handed over by --console-socket."""

import os
import pty
import socket
import struct
import termios
from fcntl import ioctl
from pathlib import Path
from typing import Any

import pytest

from .fixtures import MakeBundle
from .runtime import Runtime, new_id
from .terminals import listening, read_until, taken


@pytest.mark.shows("process.terminal")
def test_run_on_a_terminal_lends_it_to_the_program(runtime: Runtime, bundle: MakeBundle) -> None:
    here = bundle(
        process={"terminal": True, "args": ["sh", "-c", "tty; stty size; read x; echo got-$x; exit 7"]}
    )
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv(runtime.path, [*runtime.command, "run", "--bundle", str(here), new_id()])
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


@pytest.mark.shows("process.terminal", "process.consoleSize")
def test_the_console_socket_gets_the_terminal(runtime: Runtime, bundle: MakeBundle, tmp_path: Path) -> None:
    size = {"height": 5, "width": 6}
    here = bundle(
        process={"terminal": True, "consoleSize": size, "args": ["sh", "-c", "stty size; test -t 0"]}
    )
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(tmp_path / "console"))
        listener.listen()
        container = runtime.create(here, "--console-socket", str(tmp_path / "console"))
        terminal = taken(listener)
        try:
            runtime("start", container)
            read_until(terminal, b"5 6")
        finally:
            os.close(terminal)
        runtime.await_status(container, "stopped")
        runtime("delete", container)


@pytest.mark.shows("process.terminal")
@pytest.mark.parametrize("length", [1, 250])
@pytest.mark.peers_differ(runc="a path of more than 107 bytes is an invalid argument")
def test_the_console_sockets_path_may_be_as_long_as_any(
    runtime: Runtime, bundle: MakeBundle, tmp_path: Path, length: int
) -> None:
    path = tmp_path / ("x" * 100) / ("y" * length)
    path.parent.mkdir()
    here = bundle(process={"terminal": True, "args": ["echo", "hello"]})
    with listening(path) as listener:
        container = runtime.create(here, "--console-socket", str(path))
        terminal = taken(listener)
        try:
            runtime("start", container)
            read_until(terminal, b"hello")
        finally:
            os.close(terminal)


@pytest.mark.refuses("process.terminal")
def test_a_terminal_that_nobody_takes_is_an_error(runtime: Runtime, bundle: MakeBundle) -> None:
    here = bundle(process={"terminal": True})
    assert "console-socket" in runtime.fails("create", "--bundle", here, new_id())
    assert "console-socket" in runtime.fails("run", "--detach", "--bundle", here, new_id())


@pytest.mark.shows("process.consoleSize")
def test_the_size_is_ignored_without_a_terminal(runtime: Runtime, bundle: MakeBundle) -> None:
    size = {"height": 5, "width": 6}
    assert (
        runtime.output(bundle(process={"consoleSize": size, "args": ["sh", "-c", "test -t 0 || echo none"]}))
        == "none\n"
    )


@pytest.mark.refuses("process.consoleSize")
@pytest.mark.parametrize(
    "size", [{"height": 5}, {"width": 5}, {"height": -1, "width": 5}, {"height": 65536, "width": 5}, [5, 6]]
)
@pytest.mark.peers_differ(crun="takes some of them", runc="takes some of them")
def test_a_size_that_can_not_be_is_an_error(
    runtime: Runtime, bundle: MakeBundle, size: Any, tmp_path: Path
) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(tmp_path / "console"))
        listener.listen()
        here = bundle(process={"terminal": True, "consoleSize": size})
        runtime.fails("create", "--console-socket", tmp_path / "console", "--bundle", here, new_id())


@pytest.mark.refuses("process.terminal")
@pytest.mark.parametrize("value", [1, "true", {}])
def test_a_terminal_that_is_neither_true_nor_false_is_an_error(
    runtime: Runtime, bundle: MakeBundle, value: Any
) -> None:
    runtime.fails("create", "--bundle", bundle(process={"terminal": value}), new_id())


@pytest.mark.shows("process.terminal")
def test_the_terminal_is_at_dev_console_and_a_file_of_the_container(
    runtime: Runtime, bundle: MakeBundle, tmp_path: Path
) -> None:
    script = "tty; test /dev/console -ef $(tty) && test -t 1 && test -t 2 && echo same; ls /dev/pts"
    here = bundle(process={"terminal": True, "args": ["sh", "-c", script]})
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(tmp_path / "console"))
        listener.listen()
        container = runtime.create(here, "--console-socket", str(tmp_path / "console"))
        terminal = taken(listener)
        try:
            runtime("start", container)
            said = read_until(terminal, b"ptmx")
        finally:
            os.close(terminal)
    assert said.split()[:2] == [b"/dev/pts/0", b"same"]
