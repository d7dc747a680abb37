"""Published attacks on a runtime by way of /proc and /sys: something else is there, or something lies on it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from conformance import host
from conformance.bundles import bound, mounts, namespaces
from conformance.namespace_holders import holder
from conformance.runtime import Runtime, new_id

from .conftest import MakeBundle
from .test_errors import create_that_fails

MAPPING = [{"containerID": 0, "hostID": 100000, "size": 65536}]
USER = {"namespaces": [*namespaces(), {"type": "user"}], "uidMappings": MAPPING, "gidMappings": MAPPING}
PARAMETER = "net.ipv4.ip_forward"


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    """What an image wants to have in the place of /proc: directories and files of the same names."""
    fake = tmp_path / "volume"
    for name in ("sys/net/ipv4", "self/attr", "self/fd", "1"):
        (fake / name).mkdir(parents=True)
    for name in ("sys/net/ipv4/ip_forward", "self/attr/exec", "self/oom_score_adj", "self/mountinfo", "kcore"):
        (fake / name).write_text("")
    return fake


def link_to_proc(bundle: Path) -> None:
    """The image has a symlink where the config names an innocent directory."""
    (bundle / "rootfs/link").symlink_to("/proc")


@pytest.mark.parametrize("destination", ["/proc", "/tmp/../proc", "/link", "/proc/sys", "/tmp/../proc/sys", "/link/sys"])
@pytest.mark.parametrize("kind", ["bind", "tmpfs"])
@pytest.mark.peers_differ(crun="lets it")
def test_cve_2019_16884_no_volume_covers_proc(
    pyoci: Runtime, bundle: MakeBundle, volume: Path, destination: str, kind: str
) -> None:
    """An image's VOLUME over /proc made runc write the AppArmor profile to a file of the image's."""
    tmpfs = {"destination": destination, "type": "tmpfs", "source": "tmpfs"}
    entry = bound(volume, destination) if kind == "bind" else tmpfs
    here = bundle(mounts=mounts(entry))
    link_to_proc(here)
    assert "/mounts/7" in create_that_fails(pyoci, here)
    assert (volume / "self/attr/exec").read_text() == ""


@pytest.mark.parametrize("first", [True, False])
def test_what_lies_on_proc_may_be_another_procfs(pyoci: Runtime, bundle: MakeBundle, first: bool) -> None:
    """The control of the one above: podman binds the host's for a container in the host's pid namespace."""
    proc = {"destination": "/proc", "type": "proc", "source": "proc"}
    entries = [bound(Path("/proc"), "/proc"), proc] if first else [proc, bound(Path("/proc"), "/proc")]
    linux = {"maskedPaths": None, "readonlyPaths": None}
    done = pyoci.run(bundle(mounts=entries, linux=linux, process={"args": ["grep", "-c", " /proc ", "/proc/self/mountinfo"]}))
    assert done.stdout in ("1\n", "2\n"), done


@pytest.mark.parametrize("name", ["uptime", "sys/kernel/ns_last_pid"])
def test_what_lxcfs_puts_into_proc_is_let_through(
    pyoci: Runtime, bundle: MakeBundle, volume: Path, name: str
) -> None:
    (volume / "kcore").write_text("told\n")
    if not Path("/proc", name).exists():
        pytest.skip(f"this kernel has no /proc/{name}")
    here = bundle(process={"args": ["cat", f"/proc/{name}"]}, mounts=mounts(bound(volume / "kcore", f"/proc/{name}")))
    assert pyoci.run(here).stdout == "told\n"
