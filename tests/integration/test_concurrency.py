"""Several commands at the same time: one is first, and nobody is left with half a container."""

import os
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from conformance import host
from conformance.runtime import SYSTEMD, Runtime, new_id

from .conftest import MakeBundle


@pytest.mark.peers_differ(runc="a loser may take the winner's entry away")
def test_of_ten_creates_of_one_id_exactly_one_wins(pyoci: Runtime, sleeper: Path, tmp_path: Path) -> None:
    for _ in range(5):
        container = new_id()
        with (tmp_path / "errors").open("w+") as errors:
            racing = [
                pyoci.popen("create", "--bundle", sleeper, container, stdout=errors, stderr=errors)
                for _ in range(10)
            ]
            codes = [process.wait(60) for process in racing]
            errors.seek(0)
            assert "Traceback" not in errors.read()
        assert sum(code == 0 for code in codes) == 1
        assert pyoci.state(container)["status"] == "created"
        pyoci("start", container)
        pyoci.finish(container)


@pytest.mark.peers_differ(crun="cgroups and processes stay", runc="cgroups and processes stay")
def test_a_create_that_races_with_deletes_leaves_nothing(pyoci: Runtime, sleeper: Path) -> None:
    for _ in range(20):
        container = new_id()
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        racing = [pyoci.popen("create", "--bundle", sleeper, container, **quiet)]
        racing += [pyoci.popen("delete", "--force", container, **quiet) for _ in range(3)]
        for process in racing:
            process.wait(60)
        pyoci.attempt("delete", "--force", container)
        assert container not in os.listdir(pyoci.root)


@pytest.mark.peers_differ(runc="a loser hangs for ever")
def test_of_many_starts_exactly_one_wins(pyoci: Runtime, sleeper: Path) -> None:
    for _ in range(5):
        container = pyoci.create(sleeper)
        racing = [pyoci.popen("start", container, stderr=subprocess.DEVNULL) for _ in range(5)]
        assert sum(process.wait(10) == 0 for process in racing) == 1
        assert pyoci.state(container)["status"] == "running"
        pyoci.finish(container)


def test_of_many_deletes_of_a_stopped_container_at_least_one_wins(pyoci: Runtime, sleeper: Path) -> None:
    for _ in range(5):
        container = pyoci.launch(sleeper)
        pyoci("kill", container, "KILL")
        pyoci.await_status(container, "stopped")
        racing = [pyoci.popen("delete", container, stderr=subprocess.DEVNULL) for _ in range(5)]
        assert 0 in [process.wait(60) for process in racing]
        pyoci.fails("state", container)


def test_containers_live_side_by_side(pyoci: Runtime, sleeper: Path) -> None:
    def live(_: int) -> None:
        for _ in range(3):
            pyoci.finish(pyoci.launch(sleeper))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(live, range(8)))


def test_state_is_whole_at_every_moment(pyoci: Runtime, sleeper: Path) -> None:
    container = new_id()
    creating = pyoci.popen("create", "--bundle", sleeper, container)
    while creating.poll() is None:
        shown = pyoci.attempt("state", container)
        if shown.code == 0:
            assert f'"{container}"' in shown.stdout
    assert creating.returncode == 0
    assert pyoci.state(container)["status"] == "created"


def test_a_hundred_lives_at_once_leave_nothing(pyoci: Runtime, sleeper: Path) -> None:
    """The fixture looks for what stays: processes, mounts, cgroups, states."""

    def live(container: str) -> None:
        pyoci("run", "--detach", "--bundle", sleeper, container, timeout=300)
        pyoci("delete", "--force", container, timeout=300)

    with ThreadPoolExecutor(100) as pool:
        list(pool.map(live, [new_id() for _ in range(100)]))
    assert os.listdir(pyoci.root) == []


@pytest.mark.peers_differ(crun="they share it", runc="they share it")
def test_of_many_creates_with_one_cgroup_exactly_one_wins(pyoci: Runtime, bundle: MakeBundle) -> None:
    """And the others' failure doesn't harm it."""
    place = f"system.slice::{host.TAG}-one" if SYSTEMD else f"/{host.TAG}-one"
    here = bundle(process={"args": ["sleep", "1000"]}, linux={"cgroupsPath": place})
    for _ in range(10):
        names = [new_id() for _ in range(4)]
        racing = [pyoci.popen("create", "--bundle", here, name, stderr=subprocess.DEVNULL) for name in names]
        codes = [process.wait(60) for process in racing]
        assert codes.count(0) == 1
        winner = names[codes.index(0)]
        for name in names:
            if name != winner:
                pyoci("delete", "--force", name)
        pyoci("start", winner)
        assert pyoci.state(winner)["status"] == "running"
        pyoci.finish(winner)
