"""CRI-O calls a runtime by conmon, for create and exec, and itself for the rest."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from conformance import host
from conformance.runtime import Runtime, new_id

from . import go


@pytest.fixture
def running(cri_o: Runtime, sleeper: Path, tmp_path: Path) -> str:
    """A container as conmon creates it and CRI-O starts it."""
    container = new_id()
    cri_o("create", "--bundle", sleeper, "--pid-file", tmp_path / "pidfile", "--no-new-keyring", container)
    go.atoi((tmp_path / "pidfile").read_bytes())
    cri_o("start", container)
    return container


@pytest.mark.peers_differ(runc="1.1.5 knows no mapped mounts", crun="1.8.1 has no features")
def test_features_say_nothing_but_json(cri_o: Runtime) -> None:
    """CRI-O reads standard output and standard error together."""
    for command in ([cri_o.path, "features"], [*cri_o.command, "features"]):
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=30)
        assert done.returncode == 0
        features = json.loads(done.stdout)
        assert features["ociVersionMin"]
        # What CRI-O looks for: whether mounts can be recursively read-only, and mapped.
        assert "rro" in features["mountOptions"]
        assert "enabled" in features["linux"]["mountExtensions"]["idmap"]


@pytest.mark.parametrize(
    "line", [["kill", "ID", "KILL"], ["kill", "ID", "9"], ["kill", "-a", "ID", "9"]], ids=" ".join
)
def test_a_container_ends_however_the_signal_is_written(
    cri_o: Runtime, running: str, line: list[str]
) -> None:
    words = [running if word == "ID" else word for word in line]
    cri_o(*words)
    cri_o.await_status(running, "stopped")
    if "-a" not in words:
        # CRI-O takes these words for done.
        error = cri_o.fails(*words)
        assert any(each in error for each in ("no such process", "container not running")), error
    cri_o("delete", "--force", running)


def test_the_state_of_a_container_that_has_ended_is_stopped(cri_o: Runtime, running: str) -> None:
    cri_o("kill", running, "KILL")
    cri_o.await_status(running, "stopped")
    state = go.container(json.loads(cri_o("state", running).stdout))
    assert (state["id"], state["pid"]) == (running, 0)


def test_a_probe_is_an_exec_in_the_foreground(cri_o: Runtime, running: str, tmp_path: Path) -> None:
    file = tmp_path / "process.json"
    process = {"user": {"uid": 0, "gid": 0}, "cwd": "/", "env": ["PATH=/bin"]}
    for script, code in (("echo probed", 0), ("exit 3", 3), ("kill -9 $$", 137)):
        file.write_text(json.dumps(process | {"args": ["sh", "-c", script]}))
        done = cri_o.attempt("exec", "--process", file, running)
        assert (done.code, done.stdout) == (code, "probed\n" if code == 0 else "")


def test_update_pause_and_resume(cri_o: Runtime, running: str, tmp_path: Path) -> None:
    (tmp_path / "resources").write_text('{"cpu": {"shares": 512}, "memory": {"limit": 67108864}}')
    with (tmp_path / "resources").open() as stdin:
        cri_o("update", "--resources", "-", running, stdin=stdin)
    directory = host.cgroup_of(cri_o.pid(running), "memory")
    limits = [directory / name for name in ("memory.max", "memory.limit_in_bytes")]
    assert [file.read_text().strip() for file in limits if file.exists()] == ["67108864"]
    cri_o("pause", running)
    assert json.loads(cri_o("state", running).stdout)["status"] == "paused"
    cri_o("resume", running)
