"""`linux.resources.pids`: the limit is for the container's processes, not for how it is made; config-linux.md, "PIDs"."""

from __future__ import annotations

from typing import Any

import pytest

from . import host
from .bundles import config
from .fixtures import MakeBundle
from .runtime import Runtime

MAPPINGS = [{"containerID": 0, "hostID": 100000, "size": 65536}]


def limit_of(runtime: Runtime, container: str) -> str:
    return (host.cgroup_of(runtime.pid(container), "pids") / "pids.max").read_text().strip()


@pytest.mark.shows("linux.resources.pids")
@pytest.mark.parametrize("limit", [0, 1])
@pytest.mark.parametrize("user", [False, True], ids=["", "user namespace"])
@pytest.mark.parametrize("hooks", [False, True], ids=["", "hooks"])
@pytest.mark.peers_differ(
    crun="takes 0 for no limit, and counts hooks", runc="takes 0 for no limit, and counts hooks"
)
def test_a_container_may_be_a_single_process(
    runtime: Runtime, reachable: MakeBundle, limit: int, user: bool, hooks: bool
) -> None:
    linux: dict[str, Any] = {"resources": {"pids": {"limit": limit}}}
    if user:
        linux |= {"uidMappings": MAPPINGS, "gidMappings": MAPPINGS}
        linux["namespaces"] = [*config()["linux"]["namespaces"], {"type": "user"}]
    changes: dict[str, Any] = {"process": {"args": ["sleep", "1000"]}, "linux": linux}
    if hooks:
        entry = {"path": "/bin/sh", "args": ["sh", "-c", "(true)"]}
        changes["hooks"] = {kind: [entry] for kind in ("prestart", "createRuntime", "createContainer")}
    container = runtime.launch(reachable(**changes))
    assert limit_of(runtime, container) == str(limit)
    runtime.finish(container)


@pytest.mark.shows("linux.resources.pids")
def test_the_program_can_not_have_more(runtime: Runtime, bundle: MakeBundle) -> None:
    script = "for i in 1 2 3 4 5 6; do sleep 1000 & done; sleep 1000"
    here = bundle(process={"args": ["sh", "-c", script]}, linux={"resources": {"pids": {"limit": 3}}})
    done = runtime.run(here)
    assert "fork" in done.stderr
