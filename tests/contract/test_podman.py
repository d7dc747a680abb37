"""podman calls a runtime by conmon, for what starts a process, and itself for the rest."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
from pathlib import Path
from typing import Any

import pytest

from conformance import host
from conformance.runtime import Runtime, new_id
from conformance.terminals import read_until, taken

from . import go
from .conftest import MakeBundle

# conmon's buffer for what a failing runtime says, and what podman reads of conmon's report.
BUFFER, REPORT = 8192, 4096
# libpod's getOCIRuntimeError.
PERMISSION = re.compile(r"(?i).*permission denied.*|.*operation not permitted.*")
NOT_FOUND = re.compile(
    r"(?i).*executable file not found in.*|.*no such file or directory.*|.*open executable.*"
)
PROCESS: dict[str, Any] = {
    "user": {"uid": 0, "gid": 0},
    "cwd": "/",
    "args": ["sleep", "1000"],
    "env": ["PATH=/bin"],
}


def status_of_exec(message: str) -> int:
    """The status of `podman exec` for what the runtime says."""
    return 126 if PERMISSION.match(message) else 127 if NOT_FOUND.match(message) else 255


@pytest.fixture
def running(podman: Runtime, sleeper: Path, tmp_path: Path) -> str:
    """A container as conmon creates it and podman starts it."""
    container = new_id()
    podman("create", "--bundle", sleeper, "--pid-file", tmp_path / "pidfile", container)
    podman("start", container)
    return container


def process_file(path: Path, **changes: Any) -> Path:
    """The file that --process names."""
    file = path / "exec-process-1"
    file.write_text(json.dumps(PROCESS | changes))
    return file


def end(pid: int) -> None:
    """Kill a process of `exec --detach`, and reap it as conmon does: this process adopts orphans, too."""
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


def test_a_life_as_podman_leads_it(podman: Runtime, sleeper: Path, tmp_path: Path) -> None:
    container = new_id()
    created = podman("create", "--bundle", sleeper, "--pid-file", tmp_path / "pidfile", container)
    assert (created.stdout, created.stderr) == ("", "")
    pid = go.atoi((tmp_path / "pidfile").read_bytes())
    assert json.loads(podman("state", container).stdout)["pid"] == pid
    for command, status in (("start", "running"), ("pause", "paused"), ("resume", "running")):
        podman(command, container)
        assert json.loads(podman("state", container).stdout)["status"] == status
    podman("kill", container, "15")
    podman("kill", "--all", container, "9")
    podman.await_status(container, "stopped")
    podman("delete", "--force", container)
    podman("delete", "--force", container)


def test_a_container_that_is_gone_does_not_exist(podman: Runtime) -> None:
    """UpdateContainerStatus takes it for removed, and for nothing else."""
    assert "does not exist" in podman.fails("state", new_id())


@pytest.mark.parametrize("name", ["runtime_supports_json", "not among them"])
def test_a_failing_create_is_told_in_one_piece(
    podman: Runtime, go_runc: Runtime, sleeper: Path, tmp_path: Path, log: Path, name: str
) -> None:
    """conmon reads standard error once. With a runtime that is known for it podman reads the log instead."""
    caller = go_runc if name == "runtime_supports_json" else podman
    (sleeper / "config.json").unlink()
    read_end, write_end = os.pipe()
    with open(read_end, "rb", buffering=0) as said, open(write_end, "wb") as stderr:
        flags = ("--bundle", str(sleeper), "--pid-file", str(tmp_path / "pidfile"), new_id())
        with caller.popen("create", *flags, stderr=stderr) as creating:
            assert creating.wait(30) == 1
        stderr.close()
        message = said.read(BUFFER - 1)
        assert said.read(1) == b""
    assert b"config.json" in message
    assert len(json.dumps({"data": -1, "message": message.decode()})) < REPORT
    assert not (tmp_path / "pidfile").exists()
    if caller is go_runc:
        assert "config.json" in go.last_error(log)


@pytest.mark.peers_differ(runc="writes a row of objects", crun="writes a row of objects")
def test_with_warnings_before_it_both_ways_to_read_the_log_find_the_error(
    go_runc: Runtime, bundle: MakeBundle, tmp_path: Path, log: Path
) -> None:
    """libpod's readConmonPipeData takes the whole file for one object; containerd looks for the last error."""
    capabilities = {"bounding": ["CAP_MADE_UP"]}
    mount = {"destination": "/x", "source": "/no/such", "options": ["bind"]}
    path = bundle(process={"capabilities": capabilities}, mounts=[mount])
    go_runc.fails("create", "--bundle", path, new_id())
    whole = json.loads(log.read_text())
    assert whole["level"] == "error"
    assert NOT_FOUND.match(whole["msg"]) or "/no/such" in whole["msg"]
    assert whole["msg"] == go.last_error(log)
    assert any("CAP_MADE_UP" in warning for warning in whole["warnings"])


def test_warnings_alone_are_in_the_log_and_nowhere_else(
    go_runc: Runtime, bundle: MakeBundle, log: Path
) -> None:
    """containerd gives the runtime the container's own standard error."""
    container = new_id()
    path = bundle(process={"args": ["true"], "capabilities": {"bounding": ["CAP_MADE_UP"]}})
    assert go_runc("create", "--bundle", path, container).stderr == ""
    (entry,) = go.objects(log.read_text())
    assert (entry["level"], "CAP_MADE_UP" in entry["msg"]) == ("warning", True)
    go_runc("delete", "--force", container)


@pytest.mark.peers_differ(runc="stops at the first", crun="stops at the first")
def test_however_much_is_wrong_podman_can_read_it(
    podman: Runtime, bundle: MakeBundle, tmp_path: Path
) -> None:
    here = bundle(linux={"maskedPaths": ['relative "path"'] * 500})
    message = podman.fails("create", "--bundle", here, "--pid-file", tmp_path / "pidfile", new_id())
    assert len(json.dumps({"data": -1, "message": message})) < REPORT


@pytest.mark.parametrize(
    ("args", "status"), [(["no-such-program"], 127), (["/no/such"], 127), ([""], 127), (["/etc/passwd"], 126)]
)
@pytest.mark.peers_differ(crun="says of a file that it isn't found")
def test_the_status_of_podman_run_comes_from_the_message_of_create(
    podman: Runtime, bundle: MakeBundle, tmp_path: Path, args: list[str], status: int
) -> None:
    here = bundle(process={"args": args})
    message = podman.fails("create", "--bundle", here, "--pid-file", tmp_path / "pidfile", new_id())
    assert status_of_exec(message) == status


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"args": ["no-such-program"]}, 127),
        ({"args": ["/no/such/program"]}, 127),
        ({"args": ["/etc/passwd"]}, 126),
        ({"cwd": "/no/such/directory"}, 127),
    ],
    ids=["name", "path", "file", "directory"],
)
@pytest.mark.peers_differ(crun="says of a file that it isn't found")
def test_the_status_of_podman_exec_comes_from_the_message(
    podman: Runtime, running: str, tmp_path: Path, changes: dict[str, Any], status: int
) -> None:
    flags = ("--pid-file", tmp_path / "exec_pid", "--process", process_file(tmp_path, **changes))
    assert status_of_exec(podman.fails("exec", *flags, "--detach", running)) == status


def test_exec_with_a_terminal_is_given_tty_too(podman: Runtime, running: str, tmp_path: Path) -> None:
    file = process_file(tmp_path, terminal=True, args=["sh", "-c", "tty; exec sleep 1000"])
    console, pid_file = tmp_path / "console", tmp_path / "exec_pid"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(console))
        listener.listen()
        flags = ("--pid-file", pid_file, "--process", file, "--detach", "--tty", "--console-socket", console)
        podman("exec", *flags, running)
        terminal = taken(listener)
    try:
        read_until(terminal, b"/dev/pts/0")
    finally:
        os.close(terminal)
        end(go.atoi(pid_file.read_bytes()))


def test_update_reads_resources_from_a_file(podman: Runtime, running: str, tmp_path: Path) -> None:
    (tmp_path / "podman1").write_text(json.dumps({"memory": {"limit": 1 << 26}}))
    podman("update", f"--resources={tmp_path / 'podman1'}", running)
    directory = host.cgroup_of(podman.pid(running), "memory")
    limits = [directory / name for name in ("memory.max", "memory.limit_in_bytes")]
    assert [file.read_text().strip() for file in limits if file.exists()] == [str(1 << 26)]


def test_restore_has_lsm_mount_context(podman: Runtime) -> None:
    """podman asks by leaving out the value."""
    done = subprocess.run([podman.path, "restore", "--lsm-mount-context"], capture_output=True, text=True)
    assert done.returncode != 0
    said = done.stdout + done.stderr
    assert "flag needs an argument" in said or "requires an argument" in said


@pytest.mark.peers_differ(runc="looks for CRIU later")
def test_checkpoint_says_no_where_there_is_no_criu(podman: Runtime, tmp_path: Path) -> None:
    """podman takes status 0 of `checkpoint --help` for a runtime that can checkpoint."""
    assert podman.attempt("checkpoint", "--help", env={"PATH": str(tmp_path)}).code != 0
