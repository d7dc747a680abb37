"""Mounts of type cgroup: what a container sees of its control groups; config-linux.md, "Control groups"."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from . import host
from .bundles import DEFAULT_CONFIG, namespaces
from .fixtures import MakeBundle
from .runtime import Runtime

MAPPING = [{"containerID": 0, "hostID": 100000, "size": 65536}]
PLAIN = [mount for mount in DEFAULT_CONFIG["mounts"] if mount["type"] != "cgroup"]


def container(
    runtime: Runtime, reachable: MakeBundle, *options: str, namespace: bool = True, mapped: bool = False
) -> int:
    """The process of a container with its cgroups mounted so."""
    entry = {"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": list(options)}
    linux: dict[str, Any] = {"namespaces": namespaces() if namespace else namespaces("cgroup")}
    if mapped:
        linux["namespaces"].append({"type": "user"})
        linux |= {"uidMappings": MAPPING, "gidMappings": MAPPING}
    here = reachable(process={"args": ["sleep", "1000"]}, mounts=[*PLAIN, entry], linux=linux)
    return runtime.pid(runtime.launch(here))


def shown(pid: int) -> dict[str, dict[str, str]]:
    return {m["point"]: m for m in host.mounts(pid) if m["point"].startswith("/sys/fs/cgroup")}


@pytest.mark.shows("mounts.cgroup")
@pytest.mark.parametrize("mapped", [False, True])
@pytest.mark.parametrize("namespace", [False, True])
def test_every_hierarchy_shows_the_containers_own_cgroup(
    runtime: Runtime, reachable: MakeBundle, namespace: bool, mapped: bool
) -> None:
    pid = container(runtime, reachable, "ro", namespace=namespace, mapped=mapped)
    root = Path(f"/proc/{pid}/root/sys/fs/cgroup")
    for mount in shown(pid).values():
        if not mount["kind"].startswith("cgroup"):
            continue
        listed = Path(f"/proc/{pid}/root{mount['point']}/cgroup.procs").read_text().split()
        assert str(pid) in listed, mount
    legacy = [line.split(":")[1] for line in Path("/proc/self/cgroup").read_text().splitlines()]
    for controllers in filter(None, legacy):
        for name in controllers.removeprefix("name=").split(","):
            if (host.CGROUPS / name).is_dir():
                assert (root / name).exists(), name


@pytest.mark.shows("mounts.cgroup.readonly")
@pytest.mark.parametrize("mapped", [False, True])
@pytest.mark.parametrize("namespace", [False, True])
@pytest.mark.parametrize("option", ["ro", "rro", "rw", "relatime"])
@pytest.mark.peers_differ(
    crun="leaves the directory of hierarchies writable", runc="the same, and doesn't know rro"
)
def test_the_option_counts_with_a_cgroup_namespace_and_without(
    runtime: Runtime, reachable: MakeBundle, option: str, namespace: bool, mapped: bool
) -> None:
    pid = container(runtime, reachable, option, namespace=namespace, mapped=mapped)
    trees = shown(pid).values()
    assert [mount for mount in trees if mount["kind"].startswith("cgroup")]
    for mount in trees:
        assert ("ro" if option.endswith("ro") else "rw") in mount["options"].split(","), mount


@pytest.mark.shows("mounts.cgroup.readonly")
@pytest.mark.parametrize("namespace", [False, True])
def test_the_container_makes_cgroups_below_its_own(
    runtime: Runtime, reachable: MakeBundle, namespace: bool
) -> None:
    """As Docker's and podman's privileged containers do: another container manager in there needs them."""
    pid = container(runtime, reachable, "rw", namespace=namespace)
    for mount in shown(pid).values():
        if mount["kind"].startswith("cgroup"):
            made = Path(f"/proc/{pid}/root{mount['point']}/below")
            made.mkdir()
            made.rmdir()
