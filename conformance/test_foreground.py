"""A program in the foreground, by `run` and `exec`: its signals, its terminal, its end; what a caller does to these."""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import termios
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from .fixtures import MakeBundle
from .runtime import TIMEOUT_S, Runtime, ended, new_id
from .terminals import Job, job, read_to_end, read_until

EVERY_SIGNAL = sorted(signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP})
LINES = "".join(f"{number}\n" for number in range(1, 20_001)).encode()


def shell(script: str, *, terminal: bool = False) -> dict[str, Any]:
    return {"args": ["sh", "-c", script], "terminal": terminal}


def command(runtime: Runtime, *arguments: str | Path) -> list[str]:
    return [*runtime.command, *map(str, arguments)]


def is_gone(runtime: Runtime, container: str) -> bool:
    return runtime.attempt("state", container).code != 0


def await_gone(runtime: Runtime, container: str) -> None:
    deadline = time.monotonic() + TIMEOUT_S
    while not is_gone(runtime, container):
        assert time.monotonic() < deadline, "the container is not deleted"


@contextmanager
def running(words: list[str], **options: Any) -> Iterator[subprocess.Popen[bytes]]:
    """A command in the foreground, killed at the end if it is still there."""
    options = {"stdin": subprocess.DEVNULL} | options
    process = subprocess.Popen(words, **options)
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        for file in (process.stdin, process.stdout, process.stderr):
            if file:
                file.close()


def said(process: subprocess.Popen[bytes], wanted: bytes | None = None) -> bytes:
    """What it writes, until it has written this, or to the end."""
    assert process.stdout is not None
    fd = process.stdout.fileno()
    return read_to_end(fd) if wanted is None else read_until(fd, wanted)


@contextmanager
def feeding(process: subprocess.Popen[bytes], given: bytes) -> Iterator[None]:
    """Within it the process gets this on its standard input."""

    def feed() -> None:
        assert process.stdin is not None
        try:
            process.stdin.write(given)
            process.stdin.close()
        except OSError:  # killed meanwhile
            pass

    thread = threading.Thread(target=feed)
    thread.start()
    try:
        yield
    except BaseException:
        process.kill()
        raise
    finally:
        thread.join(TIMEOUT_S)


@pytest.fixture(params=["run", "exec"])
def foreground(
    request: pytest.FixtureRequest, runtime: Runtime, bundle: MakeBundle
) -> Callable[..., list[str]]:
    """The command line that runs a program, or a shell script, in the foreground, by either command."""

    def make(*words: str, terminal: bool = False) -> list[str]:
        args = ["sh", "-c", *words] if len(words) == 1 else list(words)
        if request.param == "run":
            here = bundle(process={"args": args, "terminal": terminal})
            return command(runtime, "run", "--bundle", here, new_id())
        container = runtime.launch(bundle(process={"args": ["sleep", "1000"]}))
        return command(runtime, "exec", *(["--tty"] if terminal else []), container, *args)

    return make


# --- Others work with the container meanwhile.


def test_other_commands_work_with_a_container_that_run_waits_for(
    runtime: Runtime, bundle: MakeBundle
) -> None:
    container = new_id()
    here = bundle(process=shell("trap 'exit 5' TERM; echo ready; while :; do sleep 0.05; done"))
    with running(command(runtime, "run", "--bundle", here, container), stdout=subprocess.PIPE) as run:
        said(run, b"ready")
        assert runtime("exec", container, "echo", "here").stdout == "here\n"
        runtime("update", "--pids-limit", "100", container)
        runtime("pause", container)
        runtime("resume", container)
        runtime("kill", container, "TERM")
        assert ended(run, TIMEOUT_S) == 5
    assert is_gone(runtime, container)


@pytest.mark.peers_differ(crun="says that it can't open its state")
def test_run_ends_with_the_programs_status_after_a_delete_by_force(runtime: Runtime, sleeper: Path) -> None:
    container = new_id()
    with running(command(runtime, "run", "--bundle", sleeper, container), stderr=subprocess.PIPE) as run:
        await_running(runtime, container)
        runtime("delete", "--force", container)
        assert ended(run, TIMEOUT_S) == 128 + signal.SIGKILL
        assert run.stderr is not None and read_to_end(run.stderr.fileno()) == b""


def await_running(runtime: Runtime, container: str) -> None:
    deadline = time.monotonic() + TIMEOUT_S
    while '"running"' not in runtime.attempt("state", container).stdout:
        assert time.monotonic() < deadline, "the container never ran"


# --- What the caller has done with signals.


def nothing() -> None:
    """An ordinary caller."""


def block() -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, EVERY_SIGNAL)


def ignore() -> None:
    for number in EVERY_SIGNAL:
        signal.signal(number, signal.SIG_IGN)


@pytest.mark.parametrize("prepare", [nothing, block, ignore])
@pytest.mark.peers_differ(runc="never sees the end with SIGCHLD blocked")
def test_signals_arrive_and_the_end_is_seen_whatever_the_caller_blocks_or_ignores(
    foreground: Callable[..., list[str]], prepare: Callable[[], None]
) -> None:
    traps = "trap 'exit 42' TERM; trap 'echo hup' HUP; trap 'echo ttou' TTOU"
    script = f"{traps}; echo ready; while :; do sleep 0.05; done"
    with running(foreground(script), stdout=subprocess.PIPE, preexec_fn=prepare) as process:
        said(process, b"ready\n")
        process.send_signal(signal.SIGHUP)
        said(process, b"hup\n")
        process.send_signal(signal.SIGTTOU)
        said(process, b"ttou\n")
        process.send_signal(signal.SIGTERM)
        assert ended(process, TIMEOUT_S) == 42


@pytest.mark.parametrize("prepare", [block, ignore])
@pytest.mark.peers_differ(runc="the program inherits them")
def test_the_program_inherits_neither_the_callers_mask_nor_what_it_ignores(
    foreground: Callable[..., list[str]], prepare: Callable[[], None]
) -> None:
    line = foreground("grep", "-E", "^Sig(Blk|Ign)", "/proc/self/status")
    with running(line, stdout=subprocess.PIPE, preexec_fn=prepare) as process:
        words = said(process).split()
    assert words == [b"SigBlk:", b"0" * 16, b"SigIgn:", b"0" * 16]


def test_hooks_are_waited_for_though_the_caller_ignores_the_end_of_children(
    runtime: Runtime, bundle: MakeBundle
) -> None:
    here = bundle(process={"args": ["true"]}, hooks={"prestart": [{"path": "/bin/true"}]})
    words = command(runtime, "create", "--bundle", here, new_id())
    with running(words, stdout=subprocess.DEVNULL, preexec_fn=ignore) as process:
        assert ended(process, TIMEOUT_S) == 0


# --- Bytes.


@contextmanager
def late_reader(fd: int) -> Iterator[bytearray]:
    """What is read from a descriptor by somebody who begins late."""
    said = bytearray()

    def read() -> None:
        time.sleep(0.2)
        while True:
            try:
                data = os.read(fd, 65536)
            except OSError:
                return
            if not data:
                return
            said.extend(data)

    thread = threading.Thread(target=read)
    thread.start()
    try:
        yield said
    finally:
        thread.join(TIMEOUT_S)


@pytest.mark.parametrize("blocking", [True, False])
@pytest.mark.peers_differ(
    crun="loses what a pipe doesn't take", runc="wants a terminal of its own (/dev/tty)"
)
def test_a_terminals_output_reaches_a_late_reader_of_a_pipe_whole(
    foreground: Callable[..., list[str]], blocking: bool
) -> None:
    reading, writing = os.pipe()
    os.set_blocking(writing, blocking)
    with (
        late_reader(reading) as said,
        running(foreground("seq 20000", terminal=True), stdout=writing) as process,
    ):
        os.close(writing)
        assert ended(process, TIMEOUT_S) == 0
    os.close(reading)
    assert bytes(said) == LINES


@pytest.mark.peers_differ(
    crun="loses what a socket doesn't take", runc="wants a terminal of its own (/dev/tty)"
)
def test_a_terminals_output_reaches_a_late_reader_of_a_socket_whole(
    foreground: Callable[..., list[str]],
) -> None:
    reading, writing = socket.socketpair()
    with (
        reading,
        late_reader(reading.fileno()) as said,
        running(foreground("seq 20000", terminal=True), stdout=writing.fileno()) as process,
    ):
        writing.close()
        assert ended(process, TIMEOUT_S) == 0
    assert bytes(said) == LINES


@pytest.mark.parametrize("blocking", [True, False])
@pytest.mark.peers_differ(crun="loses what a terminal doesn't take")
def test_a_terminals_output_reaches_a_late_reader_of_a_terminal_whole(
    foreground: Callable[..., list[str]], blocking: bool
) -> None:
    with (
        job(
            foreground("seq 20000; echo end", terminal=True), prepare=lambda: os.set_blocking(1, blocking)
        ) as shown,
        late_reader(shown.terminal) as said,
    ):
        assert shown.report() == "exited with 0"
        deadline = time.monotonic() + TIMEOUT_S
        while b"end\r\n" not in said and time.monotonic() < deadline:
            time.sleep(0.01)
        shown.release()
    assert bytes(said) == LINES.replace(b"\n", b"\r\n") + b"end\r\n"


@pytest.mark.parametrize("blocking", [True, False])
@pytest.mark.peers_differ(runc="wants a terminal of its own (/dev/tty)")
def test_the_callers_descriptors_stay_as_they_are(
    foreground: Callable[..., list[str]], blocking: bool
) -> None:
    """Whether they block is shared with everybody who has them."""
    read_in, write_in = os.pipe()
    reading, writing = os.pipe()
    for fd in (read_in, writing):
        os.set_blocking(fd, blocking)
    with running(foreground("echo ready; read x", terminal=True), stdin=read_in, stdout=writing) as process:
        read_until(reading, b"ready")
        assert (os.get_blocking(read_in), os.get_blocking(writing)) == (blocking, blocking)
        os.write(write_in, b"\n")
        assert ended(process, TIMEOUT_S) == 0
    assert (os.get_blocking(read_in), os.get_blocking(writing)) == (blocking, blocking)
    for fd in (read_in, write_in, reading, writing):
        os.close(fd)


@pytest.mark.parametrize("mode", ["raw -echo", "raw echo", "-echo"])
@pytest.mark.peers_differ(crun="hangs or loses", runc="hangs")
def test_a_big_input_by_a_pipe_arrives_whole_at_a_program_that_answers(
    foreground: Callable[..., list[str]], mode: str
) -> None:
    given = LINES * 4  # more than 400 kB
    script = f"stty {mode}; echo ready; head -c {len(given)}; echo end"
    words = foreground(script, terminal=True)
    with running(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        said(process, b"ready\n")
        with feeding(process, given):
            answer = said(process)
        assert ended(process, TIMEOUT_S) == 0
    if mode == "raw echo":
        # What is echoed stands between what is answered.
        assert len(answer) >= 2 * len(given)
    else:
        assert answer.removesuffix(b"end\n") == given


@pytest.mark.parametrize("given", [b"", b"line\n", b"line\npart"])
@pytest.mark.peers_differ(crun="hangs", runc="it hangs: the end of a pipe is none of the terminal's")
def test_the_end_of_a_pipe_is_the_end_of_the_terminals_input(
    foreground: Callable[..., list[str]], given: bytes
) -> None:
    words = foreground("stty -echo; echo ready; cat; echo end", terminal=True)
    with running(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        said(process, b"ready\n")
        with feeding(process, given):
            assert said(process) == given + b"end\n"
        assert ended(process, TIMEOUT_S) == 0


@pytest.mark.parametrize("to", ["pipe", "file"])
@pytest.mark.peers_differ(
    crun="the terminal's carriage returns are in it", runc="wants a terminal of its own (/dev/tty)"
)
def test_a_terminals_lines_end_with_a_line_feed_alone_in_a_pipe_and_a_file(
    foreground: Callable[..., list[str]], tmp_path: Path, to: str
) -> None:
    words = foreground("printf 'one\\ntwo\\n'; printf 'x\\r\\n'", terminal=True)
    if to == "pipe":
        with running(words, stdout=subprocess.PIPE) as process:
            got = said(process)
    else:
        with open(tmp_path / "out", "wb") as file, running(words, stdout=file) as process:
            assert ended(process, TIMEOUT_S) == 0
        got = (tmp_path / "out").read_bytes()
    assert got == b"one\ntwo\nx\r\n"


def test_a_terminals_lines_end_with_both_on_a_terminal(foreground: Callable[..., list[str]]) -> None:
    with job(foreground("printf 'one\\ntwo\\n'; read x", terminal=True)) as shown:
        assert read_until(shown.terminal, b"two\r\n").endswith(b"one\r\ntwo\r\n")
        os.write(shown.terminal, b"\n")
        assert shown.report() == "exited with 0"


# --- Nobody reads.


@contextmanager
def stuck(words: list[str]) -> Iterator[subprocess.Popen[bytes]]:
    """A command whose output nobody reads, when the pipe is full."""
    reading, writing = os.pipe()
    with running(words, stdout=writing) as process:
        poll = select.poll()
        poll.register(writing, select.POLLOUT)
        deadline = time.monotonic() + TIMEOUT_S
        while poll.poll(0):
            assert time.monotonic() < deadline, "the pipe is never full"
            time.sleep(0.01)
        yield process
    os.close(writing)
    os.close(reading)


@pytest.mark.peers_differ(crun="it hangs", runc="never ends")
def test_a_signal_reaches_a_program_whose_output_nobody_reads(runtime: Runtime, bundle: MakeBundle) -> None:
    container = new_id()
    script = "trap 'exit 3' TERM; (while :; do echo yes; done) & while :; do sleep 0.05; done"
    here = bundle(process=shell(script, terminal=True))
    with stuck(command(runtime, "run", "--bundle", here, container)) as process:
        process.send_signal(signal.SIGTERM)
        await_gone(runtime, container)
        # The program has ended, and so this is about the rest of what it said.
        process.send_signal(signal.SIGTERM)
        assert ended(process, TIMEOUT_S) == 3


@pytest.mark.peers_differ(crun="it hangs", runc="never ends")
def test_the_end_of_a_program_is_seen_when_nobody_reads_its_output(
    runtime: Runtime, bundle: MakeBundle
) -> None:
    container = new_id()
    here = bundle(process=shell("while :; do echo yes; done", terminal=True))
    with stuck(command(runtime, "run", "--bundle", here, container)) as process:
        runtime("kill", container, "KILL")
        await_gone(runtime, container)
        process.send_signal(signal.SIGTERM)
        assert ended(process, TIMEOUT_S) == 128 + signal.SIGKILL


@pytest.mark.peers_differ(runc="wants a terminal of its own (/dev/tty)")
def test_a_reader_that_goes_away_ends_a_program_that_writes(foreground: Callable[..., list[str]]) -> None:
    reading, writing = os.pipe()
    with running(foreground("while echo yes; do :; done; exit 4", terminal=True), stdout=writing) as process:
        os.close(writing)
        read_until(reading, b"yes")
        os.close(reading)
        assert ended(process, TIMEOUT_S) in (4, 128 + signal.SIGHUP)


# --- Jobs of a shell.


@pytest.mark.peers_differ(runc="the program never hears of it")
def test_a_terminal_that_vanishes_is_the_programs_end_of_input(runtime: Runtime, bundle: MakeBundle) -> None:
    container = new_id()
    here = bundle(process=shell("echo ready; cat", terminal=True))
    with job(command(runtime, "run", "--bundle", here, container)) as shown:
        read_until(shown.terminal, b"ready")
        shown.vanish()
        shown.report()
    assert is_gone(runtime, container)


@pytest.mark.peers_differ(runc="fails to put the terminal back")
def test_a_job_in_the_background_runs_and_leaves_the_terminal_alone(
    runtime: Runtime, bundle: MakeBundle
) -> None:
    container = new_id()
    here = bundle(process=shell("echo working; exit 3", terminal=True))
    line = command(runtime, "run", "--bundle", here, container)
    with job(line, background=True) as shown:
        before = termios.tcgetattr(shown.terminal)
        said = read_until(shown.terminal, b"working")
        assert shown.report() == "exited with 3"
        assert termios.tcgetattr(shown.terminal) == before
        assert b"Traceback" not in said
    assert is_gone(runtime, container)


def is_raw(fd: int) -> bool:
    return not termios.tcgetattr(fd)[3] & termios.ICANON


def await_mode(shown: Job, *, raw: bool) -> None:
    deadline = time.monotonic() + TIMEOUT_S
    while is_raw(shown.terminal) != raw:
        assert time.monotonic() < deadline, "the terminal's mode doesn't change"
        time.sleep(0.01)


@pytest.mark.peers_differ(crun="fails in the background")
def test_a_job_that_comes_to_the_foreground_gets_the_terminal(foreground: Callable[..., list[str]]) -> None:
    with job(foreground("echo working; read x; exit $x", terminal=True), background=True) as shown:
        read_until(shown.terminal, b"working")
        assert not is_raw(shown.terminal)
        shown.foreground()
        await_mode(shown, raw=True)
        os.write(shown.terminal, b"7\r")
        assert shown.report() == "exited with 7"
        assert not is_raw(shown.terminal)


@pytest.mark.parametrize("number", [signal.SIGTSTP, signal.SIGSTOP])
@pytest.mark.peers_differ(crun="stays raw", runc="stays raw")
def test_a_stopped_job_gives_the_terminal_back_until_it_is_continued(
    foreground: Callable[..., list[str]], number: signal.Signals
) -> None:
    with job(foreground("echo working; read x; exit $x", terminal=True)) as shown:
        before = termios.tcgetattr(shown.terminal)
        read_until(shown.terminal, b"working")
        await_mode(shown, raw=True)
        os.kill(shown.pid, number)
        assert shown.report() == f"stopped by {int(number)}"
        if number == signal.SIGSTOP:
            termios.tcsetattr(shown.terminal, termios.TCSANOW, before)  # as shells do
        assert termios.tcgetattr(shown.terminal) == before
        shown.foreground()
        assert shown.report() == "continued"
        await_mode(shown, raw=True)
        os.write(shown.terminal, b"7\r")
        assert shown.report() == "exited with 7"
        assert termios.tcgetattr(shown.terminal) == before


@pytest.mark.peers_differ(runc="forwards it and goes on")
def test_a_stop_is_a_stop_without_a_terminal_too(foreground: Callable[..., list[str]]) -> None:
    with job(foreground("echo working; read x; exit $x")) as shown:
        read_until(shown.terminal, b"working")
        os.kill(shown.pid, signal.SIGTSTP)
        assert shown.report() == f"stopped by {int(signal.SIGTSTP)}"
        shown.foreground()
        assert shown.report() == "continued"
        os.write(shown.terminal, b"7\n")
        assert shown.report() == "exited with 7"


def test_a_new_size_reaches_the_program(foreground: Callable[..., list[str]]) -> None:
    script = "trap 'stty size; exit' WINCH; echo ready; while :; do sleep 0.05; done"
    with job(foreground(script, terminal=True)) as shown:
        read_until(shown.terminal, b"ready")
        termios.tcsetwinsize(shown.terminal, (33, 111))
        read_until(shown.terminal, b"33 111")
        assert shown.report() == "exited with 0"
