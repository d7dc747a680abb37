"""The operations in and out of order: the specification's runtime.md, "Operations" and "State"."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from . import host
from .bundles import bound, mounts, namespaces
from .fixtures import MakeBundle
from .namespace_holders import holder
from .runtime import SYSTEMD, Runtime, new_id

# What shows only when most of a container is made already.
LATE: dict[str, dict[str, Any]] = {
    "a kernel parameter": {"linux": {"sysctl": {"net.ipv4.ip_forward": "much"}}},
    "the last mount": {
        "mounts": mounts({"destination": "/tmp/x", "type": "tmpfs", "options": ["size=much"]})
    },
    "a device": {"linux": {"devices": [{"path": "/etc/passwd", "type": "c", "major": 1, "minor": 3}]}},
    "a hook": {"hooks": {"createContainer": [{"path": "/bin/false"}]}},
    "the working directory": {"process": {"cwd": "/etc/passwd"}},
}


@pytest.fixture
def stopped(runtime: Runtime, bundle: MakeBundle) -> str:
    """The id of a container whose program has ended."""
    container = runtime.launch(bundle(process={"args": ["true"]}))
    runtime.await_status(container, "stopped")
    return container


@pytest.mark.shows("state", "annotations")
def test_state_tells_what_the_specification_asks_for(runtime: Runtime, bundle: MakeBundle) -> None:
    annotations = {"org.example.key": "value", "org.example.empty": ""}
    here = bundle(annotations=annotations, process={"args": ["sleep", "1000"]})
    container = runtime.create(here)
    created = runtime.state(container)
    runtime("start", container)
    running = runtime.state(container)
    runtime("kill", container, "KILL")
    runtime.await_status(container, "stopped")
    stopped = runtime.state(container)
    for state in (created, running, stopped):
        assert state["ociVersion"].count(".") == 2
        assert state["id"] == container
        assert state["bundle"] == str(here)
        assert annotations.items() <= state["annotations"].items()
    assert running["pid"] == created["pid"] > 0
    assert [state["status"] for state in (created, running, stopped)] == ["created", "running", "stopped"]


@pytest.mark.shows("state")
def test_a_container_without_annotations_has_none_or_empty_ones(runtime: Runtime, sleeper: Path) -> None:
    state = runtime.state(runtime.create(sleeper))
    assert state.get("annotations", {}) == {}


@pytest.mark.shows("state.bundle")
def test_the_bundles_path_is_absolute_even_if_it_was_given_relative(runtime: Runtime, sleeper: Path) -> None:
    container = new_id()
    runtime("create", "--bundle", sleeper.name, container, cwd=sleeper.parent)
    assert runtime.state(container)["bundle"] == str(sleeper)


@pytest.mark.shows("create", "start")
def test_create_does_not_run_the_program(runtime: Runtime, bundle: MakeBundle, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    here = bundle(process={"args": ["touch", "/tmp/ran"]}, mounts=mounts(bound(out, "/tmp")))
    container = runtime.create(here)
    time.sleep(0.2)
    assert os.listdir(out) == []
    runtime("start", container)
    runtime.await_status(container, "stopped")
    assert os.listdir(out) == ["ran"]


@pytest.mark.shows("create.snapshot")
def test_changes_of_the_config_after_create_have_no_effect(runtime: Runtime, bundle: MakeBundle) -> None:
    here = bundle(process={"args": ["sleep", "1000"]})
    container = runtime.create(here)
    (here / "config.json").write_text("{")
    runtime("start", container)
    assert runtime.state(container)["status"] == "running"
    runtime.finish(container)


@pytest.mark.refuses("start")
def test_start_of_a_running_container_is_an_error_without_effect(runtime: Runtime, sleeper: Path) -> None:
    container = runtime.launch(sleeper)
    before = runtime.state(container)
    runtime.fails("start", container)
    assert runtime.state(container) == before


@pytest.mark.refuses("start")
def test_start_of_a_stopped_container_is_an_error(runtime: Runtime, stopped: str) -> None:
    runtime.fails("start", stopped)
    assert runtime.state(stopped)["status"] == "stopped"


@pytest.mark.shows("kill")
def test_kill_reaches_a_created_container(runtime: Runtime, sleeper: Path) -> None:
    container = runtime.create(sleeper)
    runtime("kill", container, "KILL")
    runtime.await_status(container, "stopped")
    runtime("delete", container)


@pytest.mark.shows("kill")
@pytest.mark.parametrize("signal", ["USR1", "SIGUSR1", "10"])
def test_kill_sends_the_signal_by_name_and_by_number(
    runtime: Runtime, bundle: MakeBundle, tmp_path: Path, signal: str
) -> None:
    script = "trap 'exit 0' USR1; touch /tmp/ready; while :; do sleep 0.05; done"
    here = bundle(process={"args": ["sh", "-c", script]}, mounts=mounts(bound(tmp_path, "/tmp")))
    container = runtime.launch(here)
    while not (tmp_path / "ready").exists():
        time.sleep(0.01)
    runtime("kill", container, signal)
    runtime.await_status(container, "stopped")


def test_kill_sends_term_if_no_signal_is_named(runtime: Runtime, bundle: MakeBundle, tmp_path: Path) -> None:
    script = "trap 'exit 0' TERM; touch /tmp/ready; while :; do sleep 0.05; done"
    here = bundle(process={"args": ["sh", "-c", script]}, mounts=mounts(bound(tmp_path, "/tmp")))
    container = runtime.launch(here)
    while not (tmp_path / "ready").exists():
        time.sleep(0.01)
    runtime("kill", container)
    runtime.await_status(container, "stopped")


@pytest.mark.refuses("kill")
@pytest.mark.peers_differ(crun="takes NOSUCH for 0")
@pytest.mark.parametrize("signal", ["NOSUCH", "-4711", "4711"])
def test_kill_refuses_what_is_no_signal(runtime: Runtime, sleeper: Path, signal: str) -> None:
    container = runtime.launch(sleeper)
    runtime.fails("kill", container, signal)
    assert runtime.state(container)["status"] == "running"


@pytest.mark.refuses("kill")
def test_kill_of_a_stopped_container_is_an_error_without_effect(runtime: Runtime, stopped: str) -> None:
    before = runtime.state(stopped)
    # containerd takes one of these texts for "it is gone already", and anything else for a failure.
    error = runtime.fails("kill", stopped, "KILL")
    texts = ("container not running", "no such process", "process already finished")
    if runtime.path.name not in ("crun", "runc"):
        assert any(text in error for text in texts), error
    assert runtime.state(stopped) == before


@pytest.mark.refuses("delete")
@pytest.mark.peers_differ(crun="kills and deletes it", runc="kills and deletes it")
def test_delete_of_a_created_container_is_an_error_without_effect(runtime: Runtime, sleeper: Path) -> None:
    container = runtime.create(sleeper)
    before = runtime.state(container)
    runtime.fails("delete", container)
    assert runtime.state(container) == before


@pytest.mark.refuses("delete")
def test_delete_of_a_running_container_is_an_error_without_effect(runtime: Runtime, sleeper: Path) -> None:
    container = runtime.launch(sleeper)
    before = runtime.state(container)
    runtime.fails("delete", container)
    assert runtime.state(container) == before


@pytest.mark.parametrize("operation", ["create", "launch"])
def test_delete_by_force_ends_a_container_that_lives(runtime: Runtime, sleeper: Path, operation: str) -> None:
    container = getattr(runtime, operation)(sleeper)
    runtime("delete", "--force", container)
    runtime.fails("state", container)


@pytest.mark.peers_differ(crun="an error there")
def test_delete_by_force_of_an_unknown_container_succeeds(runtime: Runtime) -> None:
    runtime("delete", "--force", new_id())


@pytest.mark.shows("delete", "id")
def test_an_id_is_free_again_after_delete(runtime: Runtime, sleeper: Path) -> None:
    container = runtime.launch(sleeper)
    runtime.finish(container)
    runtime("create", "--bundle", sleeper, container)
    assert runtime.state(container)["status"] == "created"


@pytest.mark.refuses("state", "start", "kill", "delete")
@pytest.mark.peers_differ(crun="says that a file is missing")
@pytest.mark.parametrize("operation", ["state", "start", "kill", "delete"])
def test_an_unknown_container_is_an_error(runtime: Runtime, operation: str) -> None:
    assert "does not exist" in runtime.fails(operation, new_id())


@pytest.mark.refuses("create", "start", "state", "kill", "delete")
@pytest.mark.parametrize("operation", ["create", "start", "state", "kill", "delete"])
def test_a_missing_container_id_is_an_error(runtime: Runtime, sleeper: Path, operation: str) -> None:
    runtime.fails(operation, cwd=sleeper)
    assert os.listdir(runtime.root) == []


@pytest.mark.shows("errors")
@pytest.mark.parametrize("what", LATE)
@pytest.mark.peers_differ(crun="takes any device", runc="takes any device")
def test_a_create_that_fails_late_leaves_everything_as_it_was(
    runtime: Runtime, bundle: MakeBundle, what: str
) -> None:
    here = bundle(**LATE[what])
    before = host.snapshot(runtime.root)
    files = sorted(here.rglob("*"))
    runtime.fails("create", "--bundle", here, new_id())
    assert host.leaks(before, runtime.root) == []
    if what != "the last mount":  # of which the earlier ones have made their mount points
        assert sorted(here.rglob("*")) == files


@pytest.mark.refuses("id")
def test_a_second_container_with_the_same_id_is_an_error(runtime: Runtime, sleeper: Path) -> None:
    container = runtime.create(sleeper)
    before = runtime.state(container)
    runtime.fails("create", "--bundle", sleeper, container)
    assert runtime.state(container) == before


@pytest.mark.refuses("id")
@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "../up", "/absolute", "a b", "a\nb", "é", "x" * 1025])
@pytest.mark.peers_differ(crun="takes some of them", runc="takes some of them")
def test_an_invalid_id_is_an_error_and_nothing_is_made(runtime: Runtime, sleeper: Path, name: str) -> None:
    runtime.fails("create", "--bundle", sleeper, name)
    assert os.listdir(runtime.root) == []


@pytest.mark.peers_differ(crun="refuses at create", runc="refuses at create")
def test_a_container_without_a_process_can_be_created_but_not_started(
    runtime: Runtime, bundle: MakeBundle
) -> None:
    container = runtime.create(bundle(process=None))
    runtime.fails("start", container)


def test_state_and_list_do_not_hang_on_a_pipe_that_the_container_holds(
    runtime: Runtime, sleeper: Path
) -> None:
    container = runtime.create(sleeper)
    for operation in (["state", container], ["start", container], ["list"], ["kill", container, "KILL"]):
        # capture_output waits for the last holder of the pipes, so nothing that stays may inherit them.
        subprocess.run(runtime.command + operation, capture_output=True, timeout=10, check=True)


def test_list_shows_every_container_as_json(runtime: Runtime, sleeper: Path) -> None:
    made = {runtime.create(sleeper): "created", runtime.launch(sleeper): "running"}
    shown = json.loads(runtime("list", "--format", "json").stdout)
    assert {entry["id"]: entry["status"] for entry in shown} == made


def test_a_container_outlives_a_killed_engine(runtime: Runtime, sleeper: Path) -> None:
    script = f"{' '.join(runtime.command)} run --detach --bundle {sleeper} $0; kill -9 $$"
    container = new_id()
    subprocess.run(["sh", "-c", script, container], timeout=30, check=False, stdout=subprocess.DEVNULL)
    assert runtime.state(container)["status"] == "running"
    assert runtime.pid(container) in host.processes()


def started_with_a_child(runtime: Runtime, bundle: MakeBundle, *lost: str, **linux: Any) -> tuple[str, int]:
    """A container without a pid namespace of its own; and the pid of what will outlive its first process."""
    script = "sleep 1000 & wait"
    linux = {"namespaces": namespaces("pid", *lost), "maskedPaths": None, "readonlyPaths": None} | linux
    container = runtime.launch(bundle(process={"args": ["sh", "-c", script]}, linux=linux))
    first = runtime.pid(container)
    return container, child_of(first)


def child_of(pid: int) -> int:
    """The first child that a process has, waited for."""
    while not (children := Path(f"/proc/{pid}/task/{pid}/children").read_text().split()):
        time.sleep(0.005)
    return int(children[0])


def end_the_first(runtime: Runtime, container: str) -> None:
    """What it has started goes on."""
    os.kill(runtime.pid(container), signal.SIGKILL)
    runtime.await_status(container, "stopped")


def has_ended(pid: int) -> bool:
    """Whether a process ends within a second; a zombie has, whoever should reap it."""
    for _ in range(200):
        host.reap()
        if host.processes().get(pid, "(Z)").endswith("(Z)"):
            return True
        time.sleep(0.005)
    return False


def test_delete_ends_what_has_outlived_the_first_process(runtime: Runtime, bundle: MakeBundle) -> None:
    container, child = started_with_a_child(runtime, bundle)
    end_the_first(runtime, container)
    assert child in host.processes()
    runtime("delete", container)
    assert has_ended(child)


def test_delete_ends_what_has_outlived_it_in_a_pid_namespace_that_was_joined(
    runtime: Runtime, bundle: MakeBundle
) -> None:
    with holder("pid") as pid:
        container, child = started_with_a_child(
            runtime, bundle, namespaces=namespaces(pid=f"/proc/{pid}/ns/pid_for_children")
        )
        end_the_first(runtime, container)
        runtime("delete", container)
        assert has_ended(child)


@pytest.mark.peers_differ(crun="the first process is all it knows", runc="the first process is all it knows")
@pytest.mark.parametrize("first", ["alive", "ended"])
def test_kill_ends_all_where_they_would_outlive_the_first(
    runtime: Runtime, bundle: MakeBundle, first: str
) -> None:
    container, child = started_with_a_child(runtime, bundle)
    if first == "ended":
        end_the_first(runtime, container)
    runtime("kill", container, "KILL")
    assert has_ended(child)
    runtime.await_status(container, "stopped")
    runtime("delete", container)


def test_another_signal_is_for_the_first_process_alone(runtime: Runtime, bundle: MakeBundle) -> None:
    container, child = started_with_a_child(runtime, bundle)
    runtime("kill", container, "USR1")
    runtime.await_status(container, "stopped")
    assert child in host.processes()
    runtime.fails("kill", container, "TERM")


@pytest.mark.parametrize("signal_name", ["KILL", "TERM"])
def test_kill_all_of_a_stopped_container_succeeds(runtime: Runtime, stopped: str, signal_name: str) -> None:
    runtime("kill", "--all", stopped, signal_name)
    assert runtime.state(stopped)["status"] == "stopped"


@pytest.mark.peers_differ(crun="an error there")
def test_kill_all_with_any_signal_reaches_what_has_outlived_the_first(
    runtime: Runtime, bundle: MakeBundle
) -> None:
    container, child = started_with_a_child(runtime, bundle)
    end_the_first(runtime, container)
    runtime("kill", "--all", container, "TERM")
    assert has_ended(child)


@pytest.mark.peers_differ(crun="an error there", runc="an error there")
def test_ps_of_a_stopped_container_lists_nobody(runtime: Runtime, stopped: str) -> None:
    assert json.loads(runtime("ps", "--format", "json", stopped).stdout) == []
    assert len(runtime("ps", stopped).stdout.splitlines()) == 1


@pytest.mark.peers_differ(crun="waits for the frozen one", runc="waits for the frozen one")
@pytest.mark.parametrize("operation", [("kill", "KILL"), ("kill", "--all", "KILL"), ("delete", "--force")])
def test_what_is_frozen_in_a_cgroup_below_the_containers_is_ended_too(
    runtime: Runtime, sleeper: Path, operation: tuple[str, ...]
) -> None:
    """As a container that manages cgroups itself would leave it."""
    container = runtime.launch(sleeper)
    first = runtime.pid(container)
    below = host.cgroup_of(first, "freezer") / "below"
    below.mkdir()
    (below / "cgroup.procs").write_text(str(first))
    v2 = host.in_v2("freezer")
    file, frozen, thawed = ("cgroup.freeze", "1", "0") if v2 else ("freezer.state", "FROZEN", "THAWED")
    (below / file).write_text(frozen)
    command, *words = operation
    flags = [word for word in words if word.startswith("--")]
    try:
        runtime(command, *flags, container, *(["KILL"] if command == "kill" else []))
        assert has_ended(first)
        if command == "kill":
            runtime("delete", container)
    finally:
        if below.exists():
            (below / file).write_text(thawed)


@pytest.mark.refuses("delete")
@pytest.mark.peers_differ(crun="says nothing of the kind", runc="deletes it")
def test_delete_of_what_is_not_stopped_names_the_way_out(runtime: Runtime, sleeper: Path) -> None:
    assert "--force" in runtime.fails("delete", runtime.create(sleeper))


@pytest.mark.refuses("id")
@pytest.mark.peers_differ(crun="complains of the cgroup")
def test_an_id_in_use_is_the_cause_that_is_told(runtime: Runtime, bundle: MakeBundle) -> None:
    """And not that its cgroup is in use, or that there is none to be had."""
    place = f"system.slice:pyoci:{host.TAG}-twice" if SYSTEMD else f"/{host.TAG}-twice"
    here = bundle(process={"args": ["sleep", "1000"]}, linux={"cgroupsPath": place})
    container = runtime.launch(here)
    error = runtime.fails("create", "--bundle", here, container)
    assert "already exists" in error
    assert "cgroup" not in error
