"""The lock belongs to what a command changes, never to what it waits for."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from conformance.runtime import Runtime, ended, new_id
from pyoci.cli.options import COMMANDS

from .conftest import MakeBundle
from .test_run import await_running

ID, FILE, BUNDLE = "ID", "FILE", "BUNDLE"
# How each command is given with a container that a `run` waits for; and words of its error, where that is right.
COMMAND_LINES = {
    "create": (["create", "--bundle", BUNDLE, ID], "already exists"),
    "run": (["run", "--bundle", BUNDLE, ID], "already exists"),
    "start": (["start", ID], "running, not created"),
    "state": (["state", ID], None),
    "kill": (["kill", ID, "0"], None),
    "exec": (["exec", ID, "true"], None),
    "mounts": (["mounts", "add", ID, FILE], None),
    "checkpoint": (["checkpoint", "--image-path", FILE, ID], ""),  # no directory
    "restore": (["restore", "--bundle", BUNDLE, ID], ""),  # no images
    "pause": (["pause", ID], None),
    "resume": (["resume", ID], None),
    "ps": (["ps", ID], None),
    "events": (["events", "--stats", ID], None),
    "update": (["update", "--pids-limit", "100", ID], None),
    "list": (["list"], None),
    "delete": (["delete", ID], "not stopped"),
}
# These are about no container.
OTHERS = {"spec", "check", "plan", "trace", "features", "help", "doctor", "setup"}


def hook(script: str) -> dict[str, Any]:
    return {"path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/usr/bin:/bin"]}


@pytest.fixture
def waited_for(pyoci: Runtime, sleeper: Path) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """A container, and the `run` that waits for it."""
    container = new_id()
    foreground = pyoci.popen("run", "--bundle", sleeper, container)
    try:
        await_running(pyoci, container)
        yield container, foreground
    finally:
        pyoci("delete", "--force", container)
        assert ended(foreground, 20) == 128 + signal.SIGKILL


def test_every_command_works_against_a_run_in_the_foreground(
    pyoci: Runtime, waited_for: tuple[str, subprocess.Popen[str]], sleeper: Path, tmp_path: Path
) -> None:
    assert set(COMMAND_LINES) | OTHERS == {command.name for command in COMMANDS}
    container, foreground = waited_for
    mounts = tmp_path / "mounts"
    mounts.write_text(json.dumps([{"destination": "/dev/shm/more", "type": "tmpfs", "source": "tmpfs"}]))
    places = {ID: container, FILE: str(mounts), BUNDLE: str(sleeper)}
    for words, expected in COMMAND_LINES.values():
        before = time.monotonic()
        result = pyoci.attempt(*(places.get(word, word) for word in words))
        assert time.monotonic() - before < 8, f"it waited for the lock: {result}"
        assert "busy" not in result.stderr
        assert (result.code == 0) == (expected is None), result
        assert expected is None or expected in result.stderr
    assert foreground.poll() is None


def test_update_works_while_an_exec_is_in_the_foreground(pyoci: Runtime, sleeper: Path) -> None:
    container = pyoci.launch(sleeper)
    foreground = pyoci.popen("exec", container, "sh", "-c", "echo ready; sleep 1000", stdout=subprocess.PIPE)
    assert foreground.stdout is not None and foreground.stdout.readline() == "ready\n"
    pyoci("update", "--pids-limit", "100", container)
    pyoci("delete", "--force", container)
    assert ended(foreground, 20) == 128 + signal.SIGKILL
    foreground.stdout.close()


def test_an_exec_that_waits_for_resume_keeps_nobody_waiting(pyoci: Runtime, sleeper: Path) -> None:
    container = pyoci.launch(sleeper)
    pyoci("pause", container)
    waiting = pyoci.popen("exec", "--ignore-paused", container, "true", stderr=subprocess.DEVNULL)
    time.sleep(0.3)
    before = time.monotonic()
    pyoci("update", "--pids-limit", "100", container)
    assert waiting.poll() is None
    pyoci("delete", "--force", container)
    assert time.monotonic() - before < 8
    assert ended(waiting, 20) > 0


def test_the_lock_is_free_while_a_poststart_hook_runs(
    pyoci: Runtime, bundle: MakeBundle, tmp_path: Path
) -> None:
    container = new_id()
    line = " ".join([*pyoci.command, "exec", container, "echo", "from a hook"])
    hooks = {"poststart": [hook(f"{line} >{tmp_path}/out 2>&1")]}
    here = bundle(process={"args": ["sleep", "1000"]}, hooks=hooks)
    pyoci("run", "--detach", "--bundle", here, container)
    assert (tmp_path / "out").read_text() == "from a hook\n"


def test_a_failing_poststart_hook_that_deletes_the_container_itself(
    pyoci: Runtime, bundle: MakeBundle
) -> None:
    container = new_id()
    line = " ".join([*pyoci.command, "delete", "--force", container])
    here = bundle(process={"args": ["sleep", "1000"]}, hooks={"poststart": [hook(f"{line}; exit 3")]})
    assert "exit status 3" in pyoci.fails("run", "--bundle", here, container)


def test_the_lock_is_free_while_start_waits_for_the_programs_word(
    pyoci: Runtime, sleeper: Path, tmp_path: Path
) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "manager"))
        env = {**os.environ, "NOTIFY_SOCKET": str(tmp_path / "manager")}
        container = pyoci.create(sleeper, env=env)
        starting = pyoci.popen("start", container, env=env)
        await_running(pyoci, container)
        pyoci("update", "--pids-limit", "100", container)
        assert starting.poll() is None
        pyoci("delete", "--force", container)
        assert ended(starting, 20) == 0


def test_a_start_that_hangs_in_a_hook_is_ended_by_a_forced_delete(pyoci: Runtime, bundle: MakeBundle) -> None:
    container = new_id()
    here = bundle(
        process={"args": ["sleep", "1000"]},
        hooks={"startContainer": [{"path": "/bin/sleep", "args": ["sleep", "1000"]}]},
    )
    starting = pyoci.popen("run", "--bundle", here, container, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 20
    while pyoci.attempt("ps", "--format", "json", container).stdout.count(",") != 1:
        assert time.monotonic() < deadline, "the hook does not run"
    pyoci("delete", "--force", container)
    assert ended(starting, 20) == 1


def test_a_program_of_a_detached_run_that_ends_at_once_leaves_its_container_to_delete(
    pyoci: Runtime, bundle: MakeBundle
) -> None:
    here = bundle(process={"args": ["true"]}, hooks={"poststart": [hook("sleep 0.3")]})
    container = new_id()
    pyoci("run", "--detach", "--bundle", here, container)
    assert pyoci.state(container)["status"] == "stopped"
    pyoci("delete", container)


@pytest.mark.parametrize("words", [["start"], ["events"]])
def test_an_interrupt_of_what_waits_is_no_traceback_and_harms_no_container(
    pyoci: Runtime, sleeper: Path, tmp_path: Path, words: list[str]
) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "manager"))
        env = {**os.environ, "NOTIFY_SOCKET": str(tmp_path / "manager")}
        container = pyoci.create(sleeper, env=env)
        if words != ["start"]:
            pyoci("start", container)
        waiting = pyoci.popen(*words, container, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        await_running(pyoci, container)
        if words != ["start"]:
            assert waiting.stdout is not None and waiting.stdout.readline()
        waiting.send_signal(signal.SIGINT)
        _, said = waiting.communicate(timeout=20)
    assert (waiting.returncode, said) == (-signal.SIGINT, "")
    assert pyoci.state(container)["status"] == "running"


def test_run_cleans_up_what_a_delete_that_was_cut_off_has_left(pyoci: Runtime, sleeper: Path) -> None:
    container = new_id()
    foreground = pyoci.popen("run", "--bundle", sleeper, container)
    await_running(pyoci, container)
    pid = pyoci.pid(container)
    (pyoci.root / container / "state.json").unlink()
    os.kill(pid, signal.SIGKILL)
    assert ended(foreground, 20) == 128 + signal.SIGKILL
    assert not (pyoci.root / container).exists()
