"""Who may manage a container's cgroup; config-linux.md, "Cgroup ownership"."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from . import host
from .bundles import DEFAULT_CONFIG, namespaces
from .fixtures import MakeBundle
from .runtime import Runtime

WHOLE = [{"containerID": 0, "hostID": 100000, "size": 65536}]
DELEGATED = Path("/sys/kernel/cgroup/delegate")
pure_v2 = pytest.mark.skipif(not host.V2, reason="the host has no pure cgroup v2")


def writable(readonly: bool = False) -> list[dict[str, Any]]:
    """The default mounts, the cgroups writable."""
    plain = [mount for mount in DEFAULT_CONFIG["mounts"] if mount["type"] != "cgroup"]
    options = ["nosuid", "noexec", "nodev"] + ["ro"] * readonly
    mount = {"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": options}
    return [*plain, mount]


def cgroup_of(runtime: Runtime, bundle: Path) -> Path:
    """The cgroup of a container that is left running."""
    pid = runtime.pid(runtime.launch(bundle))
    path = Path(f"/proc/{pid}/cgroup").read_text().split("::")[1].strip()
    return Path("/sys/fs/cgroup") / path.lstrip("/")


@pure_v2
@pytest.mark.shows("linux.cgroup.ownership")
@pytest.mark.parametrize(("user", "owner"), [(0, 100000), (5, 100005)])
def test_a_writable_cgroup_of_ones_own_belongs_to_the_programs_user(
    runtime: Runtime, reachable: MakeBundle, user: int, owner: int
) -> None:
    linux = {
        "namespaces": [*namespaces(), {"type": "user"}],
        "uidMappings": WHOLE,
        "gidMappings": WHOLE,
    }
    process = {"args": ["sleep", "1000"], "user": {"uid": user, "gid": user}}
    path = cgroup_of(runtime, reachable(process=process, linux=linux, mounts=writable()))
    assert path.stat().st_uid == owner
    for name in DELEGATED.read_text().split():
        if (path / name).exists():
            assert (path / name).stat().st_uid == owner, name
    assert (path / "memory.max").stat().st_uid == 0


@pure_v2
@pytest.mark.refuses("linux.cgroup.ownership")
@pytest.mark.parametrize("why", ["read-only", "no cgroup namespace"])
def test_otherwise_it_stays_the_runtimes(runtime: Runtime, reachable: MakeBundle, why: str) -> None:
    kinds = namespaces("cgroup") if why == "no cgroup namespace" else namespaces()
    linux = {"namespaces": [*kinds, {"type": "user"}], "uidMappings": WHOLE, "gidMappings": WHOLE}
    here = reachable(
        process={"args": ["sleep", "1000"]}, linux=linux, mounts=writable(readonly=why == "read-only")
    )
    assert cgroup_of(runtime, here).stat().st_uid == os.geteuid()
