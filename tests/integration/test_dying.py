"""Containers that end while they are looked at, and states that can't be read."""

from __future__ import annotations

import json
import os
import posix
import signal
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from conformance import host
from conformance.runtime import Runtime
from pyoci.container.identity import is_alive, start_time
from pyoci.container.status import is_paused
from pyoci.container.store import Entry
from pyoci.paths import GoneError, read_kernel_file

from .conftest import MakeBundle, suffering


def gone_after_opening(monkeypatch: pytest.MonkeyPatch, end: Callable[[], object]) -> None:
    """What the next file is about ends between the opening and the reading of it."""
    opens = posix.open
    left = [end]

    def opened(path: str, flags: int, mode: int = 0o777) -> int:
        fd = opens(path, flags, mode)
        if left:
            left.pop()()
        return fd

    monkeypatch.setattr(posix, "open", opened)


@pytest.fixture
def cgroup() -> Path:
    path = host.CGROUPS / ("" if host.V2 else "unified") / f"{host.TAG}-dying"
    if os.geteuid() != 0 or not path.parent.is_dir():
        pytest.skip("takes root and a cgroup v2 tree")
    path.mkdir()
    return path


def ended_child() -> tuple["subprocess.Popen[bytes]", Callable[[], object]]:
    child = subprocess.Popen(["sleep", "1000"])

    def end() -> None:
        child.kill()
        child.wait()

    return child, end


def test_a_cgroup_that_goes_while_it_is_read_is_gone(cgroup: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel says ENODEV then, which nobody expects of a file."""
    gone_after_opening(monkeypatch, cgroup.rmdir)
    with pytest.raises(GoneError):
        read_kernel_file(f"{cgroup}/cgroup.events")


def test_a_container_whose_cgroup_goes_is_not_paused(cgroup: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = Entry("/", "x")
    entry.state = {"freezer": f"{cgroup}/cgroup.freeze"}
    gone_after_opening(monkeypatch, cgroup.rmdir)
    assert not is_paused(entry)


def test_a_process_that_goes_while_it_is_read_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    child, end = ended_child()
    started = start_time(child.pid)
    gone_after_opening(monkeypatch, end)
    with pytest.raises(GoneError):
        start_time(child.pid)
    assert not is_alive(child.pid, started)


def test_no_command_fails_oddly_while_the_container_ends(pyoci: Runtime, bundle: MakeBundle) -> None:
    """Whatever they find it to be: they succeed, or say that it isn't running, or is no more."""
    here = bundle(process={"args": ["sleep", "1000"]})
    commands = (
        ("state",), ("kill",), ("pause",), ("resume",), ("update", "--pids-limit", "50"), ("exec", "true"), ("ps",),
    )  # fmt: skip
    said: list[str] = []

    def ask(container: str, command: str, *words: str) -> None:
        flags = [word for word in words if word.startswith("--") or word.isdigit()]
        rest = [word for word in words if word not in flags]
        result = pyoci.attempt(command, *flags, container, *rest)
        if result.code != 0:
            said.append(result.stderr)
        listed = pyoci("list", "--format", "json")
        if listed.stderr:
            said.append(listed.stderr)

    for _ in range(3):
        container = pyoci.launch(here)
        asking = [threading.Thread(target=ask, args=(container, *command)) for command in commands]
        for thread in asking:
            thread.start()
        pyoci("delete", "--force", container)
        for thread in asking:
            thread.join()
    expected = (
        "container not running",
        "does not exist",
        "it is not paused",
        "cannot exec in a paused",
        "is busy",
    )
    odd = [text for text in said if not any(words in text for words in expected)]
    assert odd == []


def test_exec_into_a_container_that_ends_says_so(pyoci: Runtime, sleeper: Path, faults: Path) -> None:
    """It ends when it is known to be alive already, before the command reads the rest of the config."""
    container = pyoci.launch(sleeper)
    pid = pyoci.pid(container)
    env = suffering(faults, "config")
    with pyoci.popen("exec", container, "true", stderr=subprocess.PIPE, env=env) as asking:
        os.waitid(os.P_PID, asking.pid, os.WSTOPPED)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        asking.send_signal(signal.SIGCONT)
        assert asking.stderr
        assert "container not running" in asking.stderr.read()
    assert asking.returncode == 255


def test_delete_by_force_does_not_wait_for_who_waits_for_resume(pyoci: Runtime, sleeper: Path) -> None:
    container = pyoci.launch(sleeper)
    pyoci("pause", container)
    with pyoci.popen("exec", "--ignore-paused", container, "true", stderr=subprocess.PIPE) as waiting:
        while len(json.loads(pyoci("ps", "-f", "json", container).stdout)) < 2:
            assert waiting.poll() is None
        pyoci("delete", "--force", container, timeout=8)
        assert waiting.wait() != 0


DAMAGED: dict[str, Callable[[Path], object]] = {
    "cut": lambda file: file.write_text(file.read_text()[:40]),
    "empty": lambda file: file.write_text(""),
    "no object": lambda file: file.write_text("[]"),
    "not UTF-8": lambda file: file.write_bytes(b"\xff\xfe"),
    "a directory": lambda file: (file.unlink(), file.mkdir()),
    "no start time": lambda file: file.write_text(json.dumps({"pid": 1})),
    "a pid that is a text": lambda file: file.write_text(json.dumps({"pid": "x", "start_time": 1})),
    "annotations that are none": lambda file: file.write_text(json.dumps({"annotations": 5})),
    "a freezer that is a number": lambda file: file.write_text(json.dumps({"freezer": 5})),
}


@pytest.mark.parametrize("how", DAMAGED)
def test_list_tells_a_damaged_state_and_shows_the_others(pyoci: Runtime, sleeper: Path, how: str) -> None:
    good, bad = pyoci.create(sleeper), pyoci.create(sleeper)
    file = pyoci.root / bad / "state.json"
    saved = file.read_bytes()
    DAMAGED[how](file)
    for form in (["--format", "json"], [], ["--quiet"]):
        shown = pyoci("list", *form)
        assert good in shown.stdout
        assert f'container "{bad}" is left out' in shown.stderr
        assert "state.json" in shown.stderr
    for command in (["state"], ["kill"], ["delete"]):
        assert "state.json" in pyoci.fails(*command, bad)
    if file.is_dir():
        file.rmdir()
    file.write_bytes(saved)
    file.chmod(0o600)


def test_a_failed_exec_leaves_a_pid_file_that_it_did_not_write(
    pyoci: Runtime, sleeper: Path, tmp_path: Path
) -> None:
    container = pyoci.launch(sleeper)
    file = tmp_path / "pid"
    file.write_text("4711")
    pyoci.fails("exec", "--detach", "--pid-file", file, "--cwd", "/etc/passwd", container, "true")
    assert file.read_text() == "4711"
    directory = tmp_path / "directory"
    directory.mkdir()
    pyoci.fails("exec", "--detach", "--pid-file", directory, container, "true")
    assert directory.is_dir()
    pyoci.fails("exec", "--detach", "--pid-file", file, container, "no-such-program")
    assert file.read_text() == "4711"


def test_a_failed_create_leaves_a_pid_file_that_it_did_not_write(
    pyoci: Runtime, bundle: MakeBundle, tmp_path: Path
) -> None:
    file = tmp_path / "pid"
    file.write_text("4711")
    hooks = {"createContainer": [{"path": "/bin/false"}]}
    pyoci.fails("create", "--pid-file", file, "--bundle", bundle(hooks=hooks), f"{host.TAG}-pid-file")
    assert file.read_text() == "4711"
