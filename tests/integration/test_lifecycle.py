"""The operations in and out of order: the specification's runtime.md, "Operations" and "State"."""

import json
import os
import subprocess
import time
from pathlib import Path

import pytest

from conformance import host
from conformance.bundles import bound, mounts
from conformance.runtime import Runtime, new_id

from .conftest import MakeBundle


@pytest.fixture
def stopped(pyoci: Runtime, bundle: MakeBundle) -> str:
    """The id of a container whose program has ended."""
    container = pyoci.launch(bundle(process={"args": ["true"]}))
    pyoci.await_status(container, "stopped")
    return container


def test_state_tells_what_the_specification_asks_for(pyoci: Runtime, bundle: MakeBundle) -> None:
    annotations = {"org.example.key": "value", "org.example.empty": ""}
    here = bundle(annotations=annotations, process={"args": ["sleep", "1000"]})
    container = pyoci.create(here)
    created = pyoci.state(container)
    pyoci("start", container)
    running = pyoci.state(container)
    pyoci("kill", container, "KILL")
    pyoci.await_status(container, "stopped")
    for state in (created, running):
        assert state["ociVersion"].count(".") == 2
        assert state["id"] == container
        assert state["bundle"] == str(here)
        assert annotations.items() <= state["annotations"].items()
        assert state["pid"] == created["pid"]
    assert (created["status"], running["status"]) == ("created", "running")


def test_a_container_without_annotations_has_none_or_empty_ones(pyoci: Runtime, sleeper: Path) -> None:
    state = pyoci.state(pyoci.create(sleeper))
    assert state.get("annotations", {}) == {}


def test_the_bundles_path_is_absolute_even_if_it_was_given_relative(pyoci: Runtime, sleeper: Path) -> None:
    container = new_id()
    pyoci("create", "--bundle", sleeper.name, container, cwd=sleeper.parent)
    assert pyoci.state(container)["bundle"] == str(sleeper)


def test_create_does_not_run_the_program(pyoci: Runtime, bundle: MakeBundle, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    here = bundle(process={"args": ["touch", "/tmp/ran"]}, mounts=mounts(bound(out, "/tmp")))
    container = pyoci.create(here)
    time.sleep(0.2)
    assert os.listdir(out) == []
    pyoci("start", container)
    pyoci.await_status(container, "stopped")
    assert os.listdir(out) == ["ran"]


def test_changes_of_the_config_after_create_have_no_effect(pyoci: Runtime, bundle: MakeBundle) -> None:
    here = bundle(process={"args": ["sleep", "1000"]})
    container = pyoci.create(here)
    (here / "config.json").write_text("{")
    pyoci("start", container)
    assert pyoci.state(container)["status"] == "running"
    pyoci.finish(container)


def test_start_of_a_running_container_is_an_error_without_effect(pyoci: Runtime, sleeper: Path) -> None:
    container = pyoci.launch(sleeper)
    before = pyoci.state(container)
    pyoci.fails("start", container)
    assert pyoci.state(container) == before


def test_start_of_a_stopped_container_is_an_error(pyoci: Runtime, stopped: str) -> None:
    pyoci.fails("start", stopped)
    assert pyoci.state(stopped)["status"] == "stopped"


def test_kill_reaches_a_created_container(pyoci: Runtime, sleeper: Path) -> None:
    container = pyoci.create(sleeper)
    pyoci("kill", container, "KILL")
    pyoci.await_status(container, "stopped")
    pyoci("delete", container)


@pytest.mark.parametrize("signal", ["USR1", "SIGUSR1", "10"])
def test_kill_sends_the_signal_by_name_and_by_number(
    pyoci: Runtime, bundle: MakeBundle, tmp_path: Path, signal: str
) -> None:
    script = "trap 'exit 0' USR1; touch /tmp/ready; while :; do sleep 0.05; done"
    here = bundle(process={"args": ["sh", "-c", script]}, mounts=mounts(bound(tmp_path, "/tmp")))
    container = pyoci.launch(here)
    while not (tmp_path / "ready").exists():
        time.sleep(0.01)
    pyoci("kill", container, signal)
    pyoci.await_status(container, "stopped")


def test_kill_sends_term_if_no_signal_is_named(pyoci: Runtime, bundle: MakeBundle, tmp_path: Path) -> None:
    script = "trap 'exit 0' TERM; touch /tmp/ready; while :; do sleep 0.05; done"
    here = bundle(process={"args": ["sh", "-c", script]}, mounts=mounts(bound(tmp_path, "/tmp")))
    container = pyoci.launch(here)
    while not (tmp_path / "ready").exists():
        time.sleep(0.01)
    pyoci("kill", container)
    pyoci.await_status(container, "stopped")


@pytest.mark.peers_differ(crun="takes NOSUCH for 0")
@pytest.mark.parametrize("signal", ["NOSUCH", "-4711", "4711"])
def test_kill_refuses_what_is_no_signal(pyoci: Runtime, sleeper: Path, signal: str) -> None:
    container = pyoci.launch(sleeper)
    pyoci.fails("kill", container, signal)
    assert pyoci.state(container)["status"] == "running"


def test_kill_of_a_stopped_container_is_an_error_without_effect(pyoci: Runtime, stopped: str) -> None:
    before = pyoci.state(stopped)
    # containerd takes one of these texts for "it is gone already", and anything else for a failure.
    error = pyoci.fails("kill", stopped, "KILL")
    texts = ("container not running", "no such process", "process already finished")
    if pyoci.path.name not in ("crun", "runc"):
        assert any(text in error for text in texts), error
    assert pyoci.state(stopped) == before


@pytest.mark.peers_differ(crun="kills and deletes it", runc="kills and deletes it")
def test_delete_of_a_created_container_is_an_error_without_effect(pyoci: Runtime, sleeper: Path) -> None:
    container = pyoci.create(sleeper)
    before = pyoci.state(container)
    pyoci.fails("delete", container)
    assert pyoci.state(container) == before


def test_delete_of_a_running_container_is_an_error_without_effect(pyoci: Runtime, sleeper: Path) -> None:
    container = pyoci.launch(sleeper)
    before = pyoci.state(container)
    pyoci.fails("delete", container)
    assert pyoci.state(container) == before


@pytest.mark.parametrize("operation", ["create", "launch"])
def test_delete_by_force_ends_a_container_that_lives(pyoci: Runtime, sleeper: Path, operation: str) -> None:
    container = getattr(pyoci, operation)(sleeper)
    pyoci("delete", "--force", container)
    pyoci.fails("state", container)


@pytest.mark.peers_differ(crun="an error there")
def test_delete_by_force_of_an_unknown_container_succeeds(pyoci: Runtime) -> None:
    pyoci("delete", "--force", new_id())


def test_an_id_is_free_again_after_delete(pyoci: Runtime, sleeper: Path) -> None:
    container = pyoci.launch(sleeper)
    pyoci.finish(container)
    pyoci("create", "--bundle", sleeper, container)
    assert pyoci.state(container)["status"] == "created"


@pytest.mark.peers_differ(crun="says that a file is missing")
@pytest.mark.parametrize("operation", ["state", "start", "kill", "delete"])
def test_an_unknown_container_is_an_error(pyoci: Runtime, operation: str) -> None:
    assert "does not exist" in pyoci.fails(operation, new_id())


@pytest.mark.parametrize("operation", ["create", "start", "state", "kill", "delete"])
def test_a_missing_container_id_is_an_error(pyoci: Runtime, sleeper: Path, operation: str) -> None:
    pyoci.fails(operation, cwd=sleeper)
    assert os.listdir(pyoci.root) == []


def test_a_second_container_with_the_same_id_is_an_error(pyoci: Runtime, sleeper: Path) -> None:
    container = pyoci.create(sleeper)
    before = pyoci.state(container)
    pyoci.fails("create", "--bundle", sleeper, container)
    assert pyoci.state(container) == before


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "../up", "/absolute", "a b", "a\nb", "é", "x" * 1025])
@pytest.mark.peers_differ(crun="takes some of them", runc="takes some of them")
def test_an_invalid_id_is_an_error_and_nothing_is_made(pyoci: Runtime, sleeper: Path, name: str) -> None:
    pyoci.fails("create", "--bundle", sleeper, name)
    assert os.listdir(pyoci.root) == []


@pytest.mark.peers_differ(crun="refuses at create", runc="refuses at create")
def test_a_container_without_a_process_can_be_created_but_not_started(
    pyoci: Runtime, bundle: MakeBundle
) -> None:
    container = pyoci.create(bundle(process=None))
    pyoci.fails("start", container)


def test_state_and_list_do_not_hang_on_a_pipe_that_the_container_holds(pyoci: Runtime, sleeper: Path) -> None:
    container = pyoci.create(sleeper)
    for operation in (["state", container], ["start", container], ["list"], ["kill", container, "KILL"]):
        # capture_output waits for the last holder of the pipes, so nothing that stays may inherit them.
        subprocess.run(pyoci.command + operation, capture_output=True, timeout=10, check=True)


def test_list_shows_every_container_as_json(pyoci: Runtime, sleeper: Path) -> None:
    made = {pyoci.create(sleeper): "created", pyoci.launch(sleeper): "running"}
    shown = json.loads(pyoci("list", "--format", "json").stdout)
    assert {entry["id"]: entry["status"] for entry in shown} == made


def test_a_container_outlives_a_killed_engine(pyoci: Runtime, sleeper: Path) -> None:
    script = f"{' '.join(pyoci.command)} run --detach --bundle {sleeper} $0; kill -9 $$"
    container = new_id()
    subprocess.run(["sh", "-c", script, container], timeout=30, check=False, stdout=subprocess.DEVNULL)
    assert pyoci.state(container)["status"] == "running"
    assert pyoci.pid(container) in host.processes()
