"""containerd, docker and buildkit call runtimes by the Go package go-runc: its command lines, and what it reads."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from conformance import host
from conformance.runtime import Runtime, new_id
from conformance.terminals import read_until, taken

from . import go
from .conftest import MakeBundle

PROCESS: dict[str, Any] = {
    "user": {"uid": 0, "gid": 0},
    "cwd": "/",
    "args": ["sleep", "1000"],
    "env": ["PATH=/bin"],
}


@pytest.fixture
def running(go_runc: Runtime, sleeper: Path, tmp_path: Path) -> str:
    """A container that was created and started."""
    container = new_id()
    go_runc("create", "--bundle", sleeper, "--pid-file", tmp_path / "init.pid", container)
    go_runc("start", container)
    return container


def end(pid: int) -> None:
    """Kill a process of `exec --detach`, and reap it as the shim does: this process adopts orphans, too."""
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


def process_file(path: Path, **changes: Any) -> Path:
    """The file that --process names."""
    file = path / "runc-process123"
    file.write_text(json.dumps(PROCESS | changes))
    return file


def test_a_life_as_the_shim_leads_it(go_runc: Runtime, sleeper: Path, tmp_path: Path, log: Path) -> None:
    container, pid_file = new_id(), tmp_path / "init.pid"
    created = go_runc("create", "--bundle", sleeper, "--pid-file", pid_file, container)
    assert (created.stdout, created.stderr) == ("", "")
    pid = go.atoi(pid_file.read_bytes())
    state = go.container(json.loads(go_runc("state", container).stdout))
    assert (state["id"], state["pid"], state["status"]) == (container, pid, "created")
    assert (state["bundle"], state["rootfs"]) == (str(sleeper), str(sleeper / "rootfs"))
    go_runc("start", container)
    assert go.container(json.loads(go_runc("state", container).stdout))["status"] == "running"
    go_runc("kill", container, "9")
    go_runc.await_status(container, "stopped")
    go_runc("delete", container)
    # The shim's own clean-up comes after that.
    go_runc("delete", "--force", container)
    assert not log.exists() or log.read_text() == ""


def test_an_unknown_container_does_not_exist(go_runc: Runtime, log: Path) -> None:
    """containerd turns these words into NotFound."""
    for line in (["state"], ["start"], ["delete"], ["kill"], ["pause"], ["ps", "--format", "json"]):
        error = go_runc.fails(*line, "no-such-container", *(["15"] if line == ["kill"] else []))
        assert "does not exist" in error
        assert "does not exist" in go.last_error(log)


def test_a_signal_for_a_container_that_has_ended_finds_none(go_runc: Runtime, running: str) -> None:
    """containerd's checkKillError: any other words are a failure of the task's deletion. --all finds nobody, which is none."""
    go_runc("kill", running, "9")
    go_runc.await_status(running, "stopped")
    error = go_runc.fails("kill", running, "15")
    words = ("os: process already finished", "container not running", "no such process")
    assert any(each in error for each in words), error
    go_runc("kill", "--all", running, "15")


def test_kill_all_ends_what_exec_has_started(go_runc: Runtime, running: str, tmp_path: Path) -> None:
    file = tmp_path / "exec.pid"
    go_runc("exec", "--process", process_file(tmp_path), "--detach", "--pid-file", file, running)
    go_runc("kill", "--all", running, "9")
    pid = go.atoi(file.read_bytes())
    assert os.waitpid(pid, 0)[1] == 9


def test_exec_writes_its_pid_and_returns(go_runc: Runtime, running: str, tmp_path: Path) -> None:
    file = tmp_path / "exec.pid"
    go_runc("exec", "--process", process_file(tmp_path), "--detach", "--pid-file", file, running)
    pid = go.atoi(file.read_bytes())
    assert host.status(pid)["Name"] == "sleep"
    listed = json.loads(go_runc("ps", "--format", "json", running).stdout)
    assert sorted(listed) == sorted([go_runc.pid(running), pid])
    assert all(type(each) is int for each in listed)
    end(pid)


def test_ps_as_a_table_has_the_columns_that_were_asked_for(go_runc: Runtime, running: str) -> None:
    table = go_runc("ps", "--format", "table", running, "-o", "pid,cmd").stdout.splitlines()
    assert table[0].split() == ["PID", "CMD"]
    assert [line.split() for line in table[1:]] == [[str(go_runc.pid(running)), "sleep", "1000"]]


@pytest.mark.parametrize("command", ["create", "exec"])
def test_the_terminal_comes_by_the_console_socket(
    go_runc: Runtime, bundle: MakeBundle, tmp_path: Path, command: str
) -> None:
    container, path = new_id(), tmp_path / "pty.sock"
    terminal_of = {"args": ["sh", "-c", "tty; exec sleep 1000"], "terminal": True}
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        console = ("--console-socket", path)
        here = bundle(process=terminal_of if command == "create" else {"args": ["sleep", "1000"]})
        flags = console if command == "create" else ()
        go_runc("create", "--bundle", here, "--pid-file", tmp_path / "pid", *flags, container)
        go_runc("start", container)
        if command == "exec":
            file = process_file(tmp_path, **terminal_of)
            exec_pid = ("--detach", "--pid-file", tmp_path / "exec.pid")
            go_runc("exec", "--process", file, *console, *exec_pid, container)
        terminal = taken(listener)
    try:
        read_until(terminal, b"/dev/pts/0")
    finally:
        os.close(terminal)
        if command == "exec":
            end(go.atoi((tmp_path / "exec.pid").read_bytes()))


def test_pause_and_resume_are_seen_in_the_state(go_runc: Runtime, running: str) -> None:
    for command, status in (("pause", "paused"), ("resume", "running")):
        go_runc(command, running)
        assert json.loads(go_runc("state", running).stdout)["status"] == status


@pytest.mark.parametrize("flags", [["--resources=-"], ["--resources", "-"]], ids=" ".join)
def test_update_reads_resources_from_standard_input(
    go_runc: Runtime, running: str, tmp_path: Path, flags: list[str]
) -> None:
    resources = {"memory": {"limit": 1 << 26}, "cpu": {"shares": 300}, "pids": {"limit": 50}}
    (tmp_path / "resources").write_text(json.dumps(resources))
    with (tmp_path / "resources").open() as stdin:
        go_runc("update", *flags, running, stdin=stdin)
    directory = host.cgroup_of(go_runc.pid(running), "memory")
    limits = [directory / name for name in ("memory.max", "memory.limit_in_bytes")]
    assert [file.read_text().strip() for file in limits if file.exists()] == [str(1 << 26)]


def test_events_are_unsigned_numbers(go_runc: Runtime, running: str) -> None:
    (event,) = go.objects(go_runc("events", "--stats", running).stdout)
    assert (event["type"], event["id"]) == ("stats", running)
    for part in (event["data"][name] for name in ("cpu", "memory", "blkio")):
        part.pop("psi", None)  # which go-runc doesn't read; its averages are runc's, fractions
    go.unsigned(event["data"])
    assert event["data"]["pids"]["current"] == 1
    assert event["data"]["memory"]["usage"]["usage"] > 0
    assert event["data"]["cpu"]["usage"]["total"] > 0


@pytest.mark.peers_differ(runc="doesn't end on cgroup v1", crun="has no events")
def test_events_come_one_by_one_until_the_container_ends(go_runc: Runtime, running: str) -> None:
    with go_runc.popen("events", "--interval=1s", running, stdout=subprocess.PIPE) as watching:
        assert watching.stdout
        (event,) = go.objects(watching.stdout.readline())
        assert event["type"] == "stats"
        go_runc("kill", running, "9")
        assert watching.wait(10) == 0


def test_list_is_an_array_of_states(go_runc: Runtime, running: str) -> None:
    (state,) = json.loads(go_runc("list", "--format=json").stdout)
    assert go.container(state)["id"] == running


def test_the_version_is_read_as_ours_and_not_as_runcs(go_runc: Runtime) -> None:
    """go-runc looks for "runc version " at the beginning, and takes no other for an error."""
    done = go_runc("--version")
    first, *rest = done.stdout.strip().split("\n")
    name, _, version = first.partition(" version ")
    assert name == go_runc.path.name
    assert re.match(r"\d+\.\d+\.\d+", version)
    assert [line.partition(": ")[0] for line in rest][:2] == ["commit", "spec"]
    assert done.stderr == ""


@pytest.mark.peers_differ(crun="another first line", runc="the program is looked up at create")
def test_the_last_error_of_the_log_is_what_the_user_is_shown(
    go_runc: Runtime, bundle: MakeBundle, sleeper: Path, tmp_path: Path, log: Path
) -> None:
    go_runc.fails("create", "--bundle", tmp_path, "--pid-file", tmp_path / "pid", new_id())
    first = go.last_error(log)
    here = bundle(process={"args": ["no-such-program"]})
    said = go_runc.fails("create", "--bundle", here, "--pid-file", tmp_path / "pid", new_id())
    assert go.last_error(log) != first
    assert go.last_error(log) in said
    assert [entry["level"] for entry in go.objects(log.read_text())] == ["error", "error"]


def test_the_failure_of_exec_has_another_status_than_its_program(
    go_runc: Runtime, running: str, tmp_path: Path, log: Path
) -> None:
    file = process_file(tmp_path, args=["no-such-program"])
    pid_file = tmp_path / "exec.pid"
    failed = go_runc.attempt("exec", "--process", file, "--detach", "--pid-file", pid_file, running)
    assert failed.code == 255
    assert not pid_file.exists()
    assert 'exec: "no-such-program": executable file not found in $PATH' in go.last_error(log)


@pytest.mark.peers_differ(runc="leaves cgroups", crun="leaves cgroups")
def test_a_runtime_whose_caller_dies_leaves_a_whole_container_or_none(
    go_runc: Runtime, sleeper: Path, tmp_path: Path
) -> None:
    """go-runc's children get SIGKILL when the thread that started them ends (PR_SET_PDEATHSIG)."""
    for delay in (0.0, 0.01, 0.02, 0.04, 0.08):
        container = new_id()
        arguments = ("--bundle", str(sleeper), "--pid-file", str(tmp_path / "pid"), container)
        creating = go_runc.popen("create", *arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(delay)
        creating.kill()
        creating.wait()
        go_runc("delete", "--force", container)
        assert "does not exist" in go_runc.fails("state", container)


RESTORE = "restore --image-path P --work-path W --detach --pid-file F -no-subreaper --bundle B ID"
CHECKPOINT = (
    "checkpoint --image-path P --work-path W --tcp-established --ext-unix-sk --shell-job --file-locks "
    "--manage-cgroups-mode soft --empty-ns network --leave-running ID"
)


@pytest.mark.peers_differ(crun="has other flags")
@pytest.mark.parametrize("line", [RESTORE, CHECKPOINT], ids=lambda line: line.split()[0])
def test_the_flags_of_checkpoint_and_restore_are_known(
    go_runc: Runtime, tmp_path: Path, line: str, log: Path
) -> None:
    words = [str(tmp_path / word) if len(word) == 1 else word for word in line.split()]
    words[-1] = new_id()
    error = go_runc.fails(*words)
    # The directory has this test's name.
    assert "flag" not in error.replace(str(tmp_path), "").lower()
    assert go.last_error(log)
