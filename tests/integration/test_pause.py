"""`pause`, `resume` and `ps`."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from conformance.runtime import Runtime, new_id

from .conftest import MakeBundle


def counting(bundle: MakeBundle) -> Path:
    """A bundle whose program writes to /count again and again."""
    script = "while :; do echo x >> /count; sleep 0.01; done"
    return bundle(process={"args": ["sh", "-c", script]}, root={"readonly": False})


def grows(file: Path) -> bool:
    before = file.stat().st_size
    time.sleep(0.15)
    return file.stat().st_size > before


def test_a_paused_container_stands_still_until_it_is_resumed(pyoci: Runtime, bundle: MakeBundle) -> None:
    path = counting(bundle)
    count = path / "rootfs/count"
    container = pyoci.launch(path)
    deadline = time.monotonic() + 10
    while not count.exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    pyoci("pause", container)
    assert pyoci.state(container)["status"] == "paused"
    assert not grows(count)
    pyoci("resume", container)
    assert pyoci.state(container)["status"] == "running"
    assert grows(count)


def test_a_created_container_can_be_paused_too(pyoci: Runtime, sleeper: Path) -> None:
    container = pyoci.create(sleeper)
    pyoci("pause", container)
    assert pyoci.state(container)["status"] == "paused"
    pyoci("resume", container)
    assert pyoci.state(container)["status"] == "created"
    pyoci("start", container)


def test_a_paused_container_can_be_killed_and_deleted(pyoci: Runtime, sleeper: Path) -> None:
    for command in (["kill", "ID", "KILL"], ["kill", "--all", "ID", "KILL"], ["delete", "--force", "ID"]):
        container = pyoci.launch(sleeper)
        pyoci("pause", container)
        pyoci(*[container if word == "ID" else word for word in command])
        if command[0] == "kill":
            pyoci.await_status(container, "stopped")
            pyoci("delete", container)


@pytest.mark.parametrize("command", ["pause", "resume", "update", "events"])
def test_what_takes_a_running_container_says_so(pyoci: Runtime, bundle: MakeBundle, command: str) -> None:
    container = pyoci.launch(bundle(process={"args": ["true"]}))
    pyoci.await_status(container, "stopped")
    assert "container not running (it is stopped)" in pyoci.fails(command, container)
    assert "does not exist" in pyoci.fails(command, new_id())


def test_resuming_what_is_not_paused_is_an_error(pyoci: Runtime, sleeper: Path) -> None:
    assert "not paused" in pyoci.fails("resume", pyoci.launch(sleeper))


def test_ps_lists_the_processes_of_the_container_alone(pyoci: Runtime, bundle: MakeBundle) -> None:
    path = bundle(process={"args": ["sh", "-c", "sleep 1001 & exec sleep 1002"]})
    container = pyoci.launch(path)
    pid = pyoci.pid(container)
    deadline = time.monotonic() + 10
    while len(pids := json.loads(pyoci("ps", "--format", "json", container).stdout)) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert pid in pids
    header, *lines = pyoci("ps", container).stdout.splitlines()
    assert header.split()[:3] == ["UID", "PID", "PPID"]
    assert sorted(int(line.split()[1]) for line in lines) == pids
    header, *lines = pyoci("ps", "--format", "table", container, "-eo", "pid,args").stdout.splitlines()
    assert header.split() == ["PID", "COMMAND"]
    assert sorted(line.split(None, 1)[1] for line in lines) == ["sleep 1001", "sleep 1002"]


def test_ps_passes_on_what_ps_says_against_its_options(pyoci: Runtime, sleeper: Path) -> None:
    container = pyoci.launch(sleeper)
    assert "ps" in pyoci.fails("ps", container, "--no-such-option")
    assert "PID" in pyoci.fails("ps", container, "-o", "comm")
