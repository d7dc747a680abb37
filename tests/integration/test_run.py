"""`run`: what people type."""

import signal
import subprocess
import termios
import time
from pathlib import Path

import pytest

from conformance.runtime import Runtime, new_id
from conformance.terminals import job

from .conftest import MakeBundle


def shell(script: str) -> dict[str, list[str]]:
    return {"args": ["sh", "-c", script]}


def test_run_by_absolute_path_from_the_root_directory(pyoci: Runtime, bundle: MakeBundle) -> None:
    here = bundle(hostname="a-name", process=shell("echo $$; hostname"))
    command = f"cd / && {' '.join(pyoci.command)} run -b {here} {new_id()}"
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stdout, done.stderr) == (0, "1\na-name\n", "")


def test_run_takes_the_current_directory_for_the_bundle(pyoci: Runtime, bundle: MakeBundle) -> None:
    done = pyoci("run", new_id(), cwd=bundle(process=shell("echo here")))
    assert done.stdout == "here\n"


def test_run_ends_with_the_programs_exit_status(pyoci: Runtime, bundle: MakeBundle) -> None:
    assert pyoci.run(bundle(process=shell("exit 7"))).code == 7


def test_run_ends_with_128_and_the_signal_that_ended_the_program(pyoci: Runtime, sleeper: Path) -> None:
    container = new_id()
    foreground = pyoci.popen("run", "--bundle", sleeper, container)
    await_running(pyoci, container)
    pyoci("kill", container, "KILL")
    assert foreground.wait(30) == 128 + signal.SIGKILL


def test_run_passes_signals_on_to_the_program(pyoci: Runtime, bundle: MakeBundle) -> None:
    script = "trap 'exit 42' TERM; echo ready; while :; do sleep 0.05; done"
    foreground = pyoci.popen(
        "run", "--bundle", bundle(process=shell(script)), new_id(), stdout=subprocess.PIPE
    )
    assert foreground.stdout is not None
    assert foreground.stdout.readline() == "ready\n"
    foreground.terminate()
    assert foreground.wait(30) == 42
    foreground.stdout.close()


def test_run_deletes_the_container_when_its_program_has_ended(pyoci: Runtime, bundle: MakeBundle) -> None:
    container = new_id()
    pyoci("run", "--bundle", bundle(process=shell("true")), container)
    pyoci.fails("state", container)


def test_run_detached_returns_while_the_program_runs(pyoci: Runtime, sleeper: Path) -> None:
    container = new_id()
    pyoci("run", "--detach", "--bundle", sleeper, container)
    assert pyoci.state(container)["status"] == "running"
    pyoci.finish(container)


def test_the_pid_file_holds_digits_and_nothing_else(pyoci: Runtime, sleeper: Path, tmp_path: Path) -> None:
    container = pyoci.create(sleeper, "--pid-file", str(tmp_path / "pid"))
    assert (tmp_path / "pid").read_text() == str(pyoci.pid(container))


@pytest.mark.peers_differ(crun="takes it for the bundle's")
def test_a_relative_pid_file_is_the_callers(pyoci: Runtime, sleeper: Path, tmp_path: Path) -> None:
    container = pyoci.create(sleeper, "--pid-file", "pid", cwd=tmp_path)
    assert (tmp_path / "pid").read_text() == str(pyoci.pid(container))


def test_run_ends_though_nobody_reads_the_terminal(
    pyoci: Runtime, bundle: MakeBundle, tmp_path: Path
) -> None:
    container = new_id()
    here = bundle(process={"args": ["sh", "-c", "while :; do echo yes; done"], "terminal": True})
    impatient = tmp_path / "impatient"
    impatient.write_text(
        pyoci.path.read_text().replace(
            "posix._exit(",
            "from pyoci.container import foreground\nforeground.PATIENCE_S = 0.2\nposix._exit(",
        )
    )
    impatient.chmod(0o755)
    with job([impatient, *pyoci.command[1:], "run", "--bundle", here, container]) as shown:
        await_running(pyoci, container)
        time.sleep(0.3)  # until all is full
        pyoci("kill", container, "KILL")
        assert shown.report() == "exited with 137"
        assert termios.tcgetattr(shown.terminal)[3] & termios.ICANON


def await_running(pyoci: Runtime, container: str) -> None:
    """Wait for a container that another process is about to make."""
    for _ in range(600):
        shown = pyoci.attempt("state", container)
        if shown.code == 0 and '"running"' in shown.stdout:
            return
    raise AssertionError(f"the container {container} never ran")
