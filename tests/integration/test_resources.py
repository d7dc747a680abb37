"""`linux.resources`: limits as the kernel's own files show them, on either version of cgroups."""

from pathlib import Path
from typing import Any

import pytest

from conformance import host
from conformance.runtime import SYSTEMD, Runtime

from .conftest import MakeBundle

MIB = 1 << 20
# resources, controller, the file and its content of version 1, and of version 2
LIMITS: dict[str, tuple[dict[str, Any], str, tuple[str, str], tuple[str, str]]] = {
    "memory.limit": (
        {"memory": {"limit": 64 * MIB}},
        "memory",
        ("memory.limit_in_bytes", str(64 * MIB)),
        ("memory.max", str(64 * MIB)),
    ),
    "memory.reservation": (
        {"memory": {"reservation": 32 * MIB}},
        "memory",
        ("memory.soft_limit_in_bytes", str(32 * MIB)),
        ("memory.low", str(32 * MIB)),
    ),
    "cpu.quota": (
        {"cpu": {"quota": 20_000, "period": 50_000}},
        "cpu",
        ("cpu.cfs_quota_us", "20000"),
        ("cpu.max", "20000 50000"),
    ),
    "cpu.period": (
        {"cpu": {"quota": 20_000, "period": 50_000}},
        "cpu",
        ("cpu.cfs_period_us", "50000"),
        ("cpu.max", "20000 50000"),
    ),
    "cpu.shares": ({"cpu": {"shares": 2048}}, "cpu", ("cpu.shares", "2048"), ("cpu.weight", "174")),
    "cpu.cpus": ({"cpu": {"cpus": "0"}}, "cpuset", ("cpuset.cpus", "0"), ("cpuset.cpus", "0")),
    "pids.limit": ({"pids": {"limit": 10}}, "pids", ("pids.max", "10"), ("pids.max", "10")),
    "pids.unlimited": ({"pids": {"limit": -1}}, "pids", ("pids.max", "max"), ("pids.max", "max")),
}


def launched(pyoci: Runtime, bundle: MakeBundle, **linux: Any) -> int:
    """The process of a container that sleeps, with these properties of `linux`."""
    return pyoci.pid(pyoci.launch(bundle(process={"args": ["sleep", "1000"]}, linux=linux)))


@pytest.mark.parametrize("name", LIMITS)
@pytest.mark.peers_differ(crun="writes -1 to pids.max")
def test_a_limit_is_in_the_kernels_file(pyoci: Runtime, bundle: MakeBundle, name: str) -> None:
    resources, controller, *versions = LIMITS[name]
    cgroup = host.cgroup_of(launched(pyoci, bundle, resources=resources), controller)
    present = [(file, content) for file, content in versions if (cgroup / file).exists()]
    if not present:
        pytest.skip(f"the host has no {controller} controller")
    file, content = present[0]
    assert (cgroup / file).read_text().strip() == content


def test_the_pids_limit_holds(pyoci: Runtime, bundle: MakeBundle) -> None:
    script = "for n in 1 2 3 4 5 6 7 8; do sleep 1 & done; wait"
    here = bundle(linux={"resources": {"pids": {"limit": 4}}}, process={"args": ["sh", "-c", script]})
    assert "can't fork" in pyoci.run(here).stderr


@pytest.mark.peers_differ(crun="its own start does not fit", runc="its own start does not fit")
def test_half_a_mebibyte_of_memory_starts_true(pyoci: Runtime, bundle: MakeBundle) -> None:
    here = bundle(linux={"resources": {"memory": {"limit": 512 << 10}}}, process={"args": ["/bin/true"]})
    done = pyoci.run(here)
    assert done.code == 0, done


# test_systemd.py has its own.
for_cgroupfs = pytest.mark.skipif(SYSTEMD, reason="a path names no unit of systemd")


@for_cgroupfs
@pytest.mark.parametrize("path", ["/{id}-absolute", "/{id}-parent/child"])
def test_the_cgroups_path_is_the_configs(pyoci: Runtime, bundle: MakeBundle, path: str) -> None:
    wanted = path.format(id=host.TAG)
    cgroup = host.cgroup_of(launched(pyoci, bundle, cgroupsPath=wanted), "memory")
    base = host.CGROUPS / "memory"
    assert cgroup == (base if base.is_dir() else host.CGROUPS) / wanted[1:]
    pyoci.remove_all()
    # A parent that `create` had to make goes as well; crun and runc leave it, so the leak check is pyoci's.
    if pyoci.path.name in ("crun", "runc"):
        host.sweep(host.Snapshot(processes=host.processes()))


@pytest.mark.parametrize("path", ["../../outside", "/../outside", "a\nb"])
@pytest.mark.peers_differ(crun="cleans the path instead", runc="cleans the path instead")
def test_a_cgroups_path_that_leads_out_is_an_error(pyoci: Runtime, bundle: MakeBundle, path: str) -> None:
    pyoci.fails("create", "--bundle", bundle(linux={"cgroupsPath": path}), host.TAG + "-path")


@for_cgroupfs
def test_a_cgroup_that_was_there_before_stays(pyoci: Runtime, bundle: MakeBundle) -> None:
    parent = f"{host.TAG}-kept"
    kept = Path(host.CGROUPS / "pids" / parent)
    if not (host.CGROUPS / "pids").is_dir():
        kept = host.CGROUPS / parent
    kept.mkdir()
    try:
        pid = launched(pyoci, bundle, cgroupsPath=f"/{parent}/{host.TAG}-inner")
        assert kept in host.cgroup_of(pid, "pids").parents
        pyoci.remove_all()
        assert kept.is_dir()
        assert [entry for entry in kept.iterdir() if entry.is_dir()] == []
    finally:
        host.sweep(host.Snapshot(processes=host.processes()))
