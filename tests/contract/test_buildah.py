"""buildah calls a runtime itself, and asks for the state until the program has ended."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from conformance.runtime import Runtime, new_id

from . import go
from .conftest import MakeBundle


@pytest.mark.parametrize(
    "flags", [[], ["--no-new-keyring"], ["--no-new-keyring", "--no-pivot"]], ids=" ".join
)
def test_a_life_as_buildah_leads_it(
    podman: Runtime, bundle: MakeBundle, tmp_path: Path, flags: list[str]
) -> None:
    container = new_id()
    here = bundle(process={"args": ["sh", "-c", "sleep 0.3; exit 7"]})
    podman("create", "--bundle", here, "--pid-file", tmp_path / "pid", *flags, container)
    pid = go.atoi((tmp_path / "pid").read_bytes())
    state = json.loads(podman("state", container).stdout)
    assert (state["status"], state["pid"]) == ("created", pid)
    podman("start", container)
    seen = []
    while "stopped" not in seen:
        seen.append(json.loads(podman("state", container).stdout)["status"])
        time.sleep(0.1)
    assert set(seen[:-1]) <= {"running"}
    podman("delete", container)


def test_an_interrupted_build_kills_and_deletes(podman: Runtime, sleeper: Path, tmp_path: Path) -> None:
    container = new_id()
    podman("create", "--bundle", sleeper, "--pid-file", tmp_path / "pid", container)
    podman("start", container)
    assert "not stopped" in podman.fails("delete", container)
    podman("kill", container)
    podman("kill", container, "SIGKILL")
    podman.await_status(container, "stopped")
    podman("delete", container)
