"""`--trace`: where a command's time goes, on both sides, and nothing of it left in the container."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from conformance.bundles import namespaces
from conformance.runtime import Runtime, new_id

from .conftest import MakeBundle

P0, P1 = 0, 1
# A time in microseconds since 1970 is rounded to this when JSON is read.
ROUNDING = 0.5
MAPPINGS = [{"containerID": 0, "hostID": 100000, "size": 65536}]
Event = dict[str, Any]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "trace.json"


def read(file: Path) -> list[Event]:
    events: list[Event] = json.loads(file.read_text())
    return events


def row(events: list[Event], number: int) -> list[Event]:
    return [event for event in events if event["ph"] == "X" and event["tid"] == number]


def names(events: list[Event]) -> list[str]:
    return [event["name"] for event in events]


def end(event: Event) -> float:
    return float(event["ts"] + event["dur"])


def planned(pyoci: Runtime, bundle: Path) -> list[tuple[str, str]]:
    """The steps that `plan` prints, and their origins."""
    plan = json.loads(pyoci("plan", "--json", bundle).stdout)
    return [(step["step"], step["origin"]) for step in plan["steps"]]


BIRTHS: dict[str, dict[str, Any]] = {
    "ordinary": {},
    "in a user namespace": {
        "namespaces": [*namespaces(), {"type": "user"}],
        "uidMappings": MAPPINGS,
        "gidMappings": MAPPINGS,
    },
    "in a time namespace": {
        "namespaces": [*namespaces(), {"type": "time"}],
        "timeOffsets": {"monotonic": {"secs": 1000000}, "boottime": {"secs": 1000000}},
    },
}


@pytest.mark.parametrize("birth", BIRTHS)
def test_create_shows_each_step_of_the_plan_with_its_origin_one_after_the_other(
    pyoci: Runtime, reachable: MakeBundle, file: Path, birth: str
) -> None:
    bundle = reachable(process={"args": ["sleep", "1000"]}, linux=BIRTHS[birth])
    steps = planned(pyoci, bundle)
    before_the_wait = steps[: [name for name, _ in steps].index("wait-start")]
    pyoci("--trace", file, "create", "--bundle", bundle, new_id())
    events = read(file)
    done = row(events, P1)
    seen = [(event["name"], event["args"]["origin"]) for event in done]
    # `plan` writes the bundle's path as the container's id, so only names and origins are compared.
    assert seen == [("trace", ""), *before_the_wait]
    for this, following in pairwise(done):
        assert end(this) == pytest.approx(following["ts"], abs=ROUNDING)
    whole = row(events, P0)[0]
    assert whole["name"] == "create"
    assert whole["ts"] - ROUNDING <= done[0]["ts"] <= done[-1]["ts"] <= end(whole) + ROUNDING
    # `ready` ends by P0's word, with which `create` ends too; which of them is first nobody knows.
    assert end(done[-1]) <= end(whole) + 1_000_000
    assert all(0 <= event["dur"] < 30e6 for event in done)


def test_the_stages_of_the_host_side_lie_within_the_command_and_each_other(
    pyoci: Runtime, sleeper: Path, file: Path
) -> None:
    pyoci("--trace", file, "create", "--bundle", sleeper, new_id())
    stages = row(read(file), P0)
    wanted = ["read config.json", "validate", "compile", "make cgroups", "start pyoci-init"]
    found = [name for name in names(stages) if name in wanted]
    assert found == wanted
    around: list[Event] = []
    for stage in stages:
        while around and end(around[-1]) <= stage["ts"] + ROUNDING:
            around.pop()
        assert not around or end(stage) <= end(around[-1]) + ROUNDING
        around.append(stage)
    assert around[0]["name"] == "create"


def test_rows_and_commands_have_names(pyoci: Runtime, sleeper: Path, file: Path) -> None:
    container = new_id()
    pyoci("--trace", file, "create", "--bundle", sleeper, container)
    told = {(event["name"], event["args"]["name"]) for event in read(file) if event["ph"] == "M"}
    assert told == {
        ("process_name", f"pyoci create {container}"),
        ("thread_name", "P0 pyoci (host side)"),
        ("thread_name", "P1 pyoci-init"),
    }


def test_start_shows_the_steps_after_the_wait_even_of_a_container_that_was_created_without(
    pyoci: Runtime, bundle: MakeBundle, file: Path
) -> None:
    hook = {"path": "/bin/true"}
    container = pyoci.create(bundle(process={"args": ["sleep", "1000"]}, hooks={"startContainer": [hook]}))
    pyoci("--trace", file, "start", container)
    steps = row(read(file), P1)
    assert [(step["name"], step["args"]["origin"]) for step in steps] == [
        ("run-hook", "/hooks/startContainer/0"),
        ("execute", "/process/args"),
    ]
    talk = next(stage for stage in row(read(file), P0) if stage["name"] == "talk with pyoci-init")
    assert end(steps[-1]) == pytest.approx(end(talk), abs=ROUNDING)


def test_nothing_is_noted_once_a_filter_is_loaded(pyoci: Runtime, bundle: MakeBundle, file: Path) -> None:
    seccomp = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": ["clone"], "action": "SCMP_ACT_ERRNO"}],
    }
    quick = bundle(process={"args": ["true"]}, linux={"seccomp": seccomp})
    pyoci("--trace", file, "run", "--bundle", quick, new_id())
    steps = names(row(read(file), P1))
    assert steps[-1] == "load-seccomp"
    assert "execute" in [name for name, _ in planned(pyoci, quick)]


def test_run_shows_the_whole_life(pyoci: Runtime, bundle: MakeBundle, file: Path) -> None:
    pyoci("--trace", file, "run", "--bundle", bundle(process={"args": ["true"]}), new_id())
    events = read(file)
    steps = names(row(events, P1))
    assert steps[-2:] == ["ready", "execute"]
    assert "wait for the program's end" in names(row(events, P0))
    assert "remove cgroups" in names(row(events, P0))


def test_exec_shows_how_its_process_comes_into_the_container(
    pyoci: Runtime, sleeper: Path, file: Path
) -> None:
    container = pyoci.launch(sleeper)
    pyoci("--trace", file, "exec", container, "true")
    steps = names(row(read(file), P1))
    assert steps[0] == "trace"
    assert "enter-namespaces" in steps
    assert steps[-2:] == ["ready", "execute"]


def test_the_commands_of_a_life_are_added_to_one_file(pyoci: Runtime, sleeper: Path, file: Path) -> None:
    container = new_id()
    traced = ["--trace", str(file)]
    pyoci(*traced, "create", "--bundle", sleeper, container)
    pyoci(*traced, "start", container)
    pyoci(*traced, "state", container)
    pyoci(*traced, "kill", container, "KILL")
    pyoci.await_status(container, "stopped")
    pyoci(*traced, "delete", container)
    wholes = [
        event for event in read(file) if event["name"] in ("create", "start", "state", "kill", "delete")
    ]
    assert names(wholes) == ["create", "start", "state", "kill", "delete"]
    for this, following in pairwise(wholes):
        assert end(this) <= following["ts"]


@pytest.mark.parametrize("started", [False, True])
def test_the_memory_of_the_trace_is_not_in_a_container_that_waits_or_runs(
    pyoci: Runtime, sleeper: Path, file: Path, started: bool
) -> None:
    container = new_id()
    pyoci("--trace", file, "create", "--bundle", sleeper, container)
    if started:
        pyoci("--trace", file, "start", container)
    process = Path(f"/proc/{pyoci.pid(container)}")
    assert "memfd:trace" not in (process / "maps").read_text()
    assert not [fd for fd in (process / "fd").iterdir() if "trace" in str(fd.readlink())]


def test_a_command_that_fails_leaves_a_trace_of_where(pyoci: Runtime, bundle: MakeBundle, file: Path) -> None:
    broken = bundle(process={"args": ["true"]}, mounts=[{"destination": "/x", "type": "no-such-filesystem"}])
    pyoci.fails("--trace", file, "create", "--bundle", broken, new_id())
    events = read(file)
    assert row(events, P1)[-1]["args"]["origin"] == "/mounts/0"
    talk = next(stage for stage in row(events, P0) if stage["name"] == "talk with pyoci-init")
    assert talk["args"]["raised"] == "ConfigError"
    assert "undo" in names(row(events, P0))


@pytest.mark.parametrize("text", ["precious", "[]\n", "[\n", "\n]\n"])
def test_a_file_that_is_no_trace_is_left_alone_and_nothing_is_made(
    pyoci: Runtime, sleeper: Path, file: Path, text: str
) -> None:
    file.write_text(text)
    container = new_id()
    assert "is not a trace" in pyoci.fails("--trace", file, "create", "--bundle", sleeper, container)
    assert file.read_text() == text
    pyoci.fails("state", container)


def test_a_trace_that_cannot_be_opened_stops_the_command(
    pyoci: Runtime, sleeper: Path, tmp_path: Path
) -> None:
    said = pyoci.fails("--trace", tmp_path / "no/trace", "create", "--bundle", sleeper, new_id())
    assert f"can't open the trace {tmp_path}/no/trace: No such file or directory" in said
    assert "is not a trace" in pyoci.fails("--trace", "/dev/null", "list")


def test_without_it_the_plan_speaks_of_no_trace(pyoci: Runtime, sleeper: Path) -> None:
    assert "trace" not in [name for name, _ in planned(pyoci, sleeper)]
    assert "memfd:trace" not in pyoci("plan", sleeper).stdout


def test_trace_shows_a_line_for_each_event_with_a_bar(pyoci: Runtime, sleeper: Path, file: Path) -> None:
    container = new_id()
    pyoci("--trace", file, "create", "--bundle", sleeper, container)
    pyoci("--trace", file, "start", container)
    environment = {"PATH": "/usr/bin:/bin", "COLUMNS": "130"}
    lines = pyoci("trace", file, env=environment).stdout.splitlines()
    assert lines[0] == f"pyoci create {container}"
    assert f"pyoci start {container}" in lines
    events = [event for event in read(file) if event["ph"] == "X"]
    shown = [line for line in lines if "  P0 " in line or "  P1 " in line]
    assert len(shown) == len(events)
    assert all(set(line[line.index("  P") :]) & set("▏▎▍▌▋▊▉█") for line in shown)
    assert max(map(len, lines)) <= 130
    assert any("P1 pivot-root" in line and "/root/path" in line for line in shown)


@pytest.mark.parametrize("text", ["", "{}", "[]", "[1]", '[{"ph":"X"}]', '[{"ph":"M","name":"a","args":{}}]'])
def test_trace_refuses_what_is_no_trace(pyoci: Runtime, file: Path, text: str) -> None:
    file.write_text(text)
    assert str(file) in pyoci.fails("trace", file)


def test_trace_needs_a_file_that_is_there(pyoci: Runtime, file: Path) -> None:
    assert f"{file}: No such file or directory" in pyoci.fails("trace", file)
