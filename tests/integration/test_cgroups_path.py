"""`linux.cgroupsPath`: where the container's cgroup is."""

from pathlib import Path
from typing import Any

import pytest

from conformance import host
from conformance.runtime import SYSTEMD, Runtime

from .conftest import MakeBundle


def launched(pyoci: Runtime, bundle: MakeBundle, **linux: Any) -> int:
    """The process of a container that sleeps, with these properties of `linux`."""
    return pyoci.pid(pyoci.launch(bundle(process={"args": ["sleep", "1000"]}, linux=linux)))


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


@for_cgroupfs
@pytest.mark.skipif(host.V2, reason="on cgroup v2 a hierarchy that is covered is none")
def test_a_hierarchy_that_another_mount_covers_is_told_as_that(pyoci: Runtime, sleeper: Path) -> None:
    hidden = Runtime(pyoci.path, pyoci.root)
    cover = f'mount -t tmpfs none {host.CGROUPS} && exec "$@"'
    hidden.command = ["unshare", "--mount", "sh", "-c", cover, "sh", *pyoci.command]
    error = hidden.fails("create", "--bundle", sleeper, host.TAG + "-covered")
    assert "is covered by another mount" in error
