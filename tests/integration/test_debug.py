"""--debug: what a command does, stage by stage."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from conformance.runtime import Runtime, new_id

from .conftest import MakeBundle


def lines(text: str) -> list[str]:
    """The messages, without what they are prefixed with."""
    found = text.splitlines()
    assert all(line.startswith("pyoci: debug: ") for line in found), text
    return [line.removeprefix("pyoci: debug: ") for line in found]


def test_the_stages_of_a_containers_life_are_told_in_their_order(pyoci: Runtime, bundle: MakeBundle) -> None:
    container = new_id()
    here = bundle(process={"args": ["sleep", "1000"]})
    told = {
        name: lines(pyoci("--debug", *words).stderr)
        for name, words in {
            "create": ["create", "--bundle", str(here), container],
            "start": ["start", container],
            "exec": ["exec", container, "true"],
            "pause": ["pause", container],
            "resume": ["resume", container],
            "update": ["update", "--pids-limit", "50", container],
            "kill": ["kill", container, "KILL"],
            "delete": ["delete", "--force", container],
        }.items()
    }
    for name, said in told.items():
        assert re.fullmatch(rf"pyoci \S+, process \d+: {name} {container}", said[0])
        assert said[-1] == "status 0"
        assert len(said) >= 4, said
    stages = ["read config.json", "compile", "write state.json", "set limits", "talk with pyoci-init"]
    positions = [told["create"].index(stage) for stage in stages]
    assert positions == sorted(positions)
    assert "pyoci-init says: ready" in told["create"]
    assert "look at its status: created" in told["start"]
    assert any(line.startswith("send the signal: 9 to process ") for line in told["kill"])
    assert "remove the state directory" in told["delete"]


def test_log_level_debug_is_the_same_and_json_lines_are_whole(
    pyoci: Runtime, bundle: MakeBundle, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    flags = ["--log", str(log), "--log-format", "json", "--log-level", "debug"]
    here = bundle(process={"args": ["sh", "-c", "exit 3"]})
    result = pyoci.attempt(*flags, "run", "--bundle", here, new_id())
    assert (result.code, result.stderr) == (3, "")
    read = [json.loads(line) for line in log.read_text().splitlines()]
    assert {entry["level"] for entry in read} == {"debug"}
    assert read[-1]["msg"] == "status 3"


def test_a_stage_that_fails_says_so(pyoci: Runtime) -> None:
    said = pyoci.attempt("--debug", "state", "nobody").stderr
    assert 'find the container: container "nobody" does not exist\n' in said
    assert "status 1\n" in said


def test_a_hook_is_named(pyoci: Runtime, bundle: MakeBundle) -> None:
    here = bundle(process={"args": ["true"]}, hooks={"prestart": [{"path": "/bin/true"}]})
    assert "hook: /bin/true" in lines(pyoci("--debug", "run", "--bundle", here, new_id()).stderr)


@pytest.mark.parametrize("flags", [[], ["--log-level", "info"]])
def test_without_it_nothing_is_told(pyoci: Runtime, bundle: MakeBundle, flags: list[str]) -> None:
    assert pyoci(*flags, "run", "--bundle", bundle(process={"args": ["true"]}), new_id()).stderr == ""


def test_debug_and_trace_go_together(pyoci: Runtime, bundle: MakeBundle, tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    here = bundle(process={"args": ["true"]})
    result = pyoci("--debug", "--trace", trace, "run", "--bundle", here, new_id())
    assert "compile" in lines(result.stderr)
    assert "compile" in {event["name"] for event in json.loads(trace.read_text())}
