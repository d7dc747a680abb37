"""Devices; config-linux.md, "Devices", "Default Devices", runtime-linux.md, "Dev symbolic links"."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

import pytest

from .bundles import namespaces
from .fixtures import MakeBundle
from .runtime import Runtime
from .test_mounts import refused, shell

NULL = {"path": "/dev/mine", "type": "c", "major": 1, "minor": 3}
MAPPING = [{"containerID": 0, "hostID": 100000, "size": 65536}]
SLEEP = {"args": ["sleep", "1000"]}


def found(runtime: Runtime, bundle: Path, path: str) -> os.stat_result:
    """What is at a path of a container that is left running."""
    pid = runtime.pid(runtime.launch(bundle))
    return Path(f"/proc/{pid}/root{path}").lstat()


@pytest.mark.shows("linux.devices")
@pytest.mark.parametrize(
    ("device", "kind", "number"),
    [
        ({"type": "c", "major": 10, "minor": 229}, stat.S_IFCHR, (10, 229)),
        ({"type": "u", "major": 1, "minor": 3}, stat.S_IFCHR, (1, 3)),
        ({"type": "b", "major": 8, "minor": 200}, stat.S_IFBLK, (8, 200)),
        ({"type": "c", "major": 511, "minor": 70000}, stat.S_IFCHR, (511, 70000)),
        ({"type": "p"}, stat.S_IFIFO, (0, 0)),
    ],
)
@pytest.mark.parametrize("path", ["/dev/mine", "/dev/deep/er/mine", "/mine"])
def test_a_device_is_where_it_shall_be(
    runtime: Runtime,
    bundle: MakeBundle,
    device: dict[str, Any],
    kind: int,
    number: tuple[int, int],
    path: str,
) -> None:
    entry = device | {"path": path, "fileMode": 0o640, "uid": 5, "gid": 6}
    there = found(runtime, bundle(process=SLEEP, linux={"devices": [entry]}), path)
    assert stat.S_IFMT(there.st_mode) == kind
    assert (os.major(there.st_rdev), os.minor(there.st_rdev)) == number
    assert (stat.S_IMODE(there.st_mode), there.st_uid, there.st_gid) == (0o640, 5, 6)


@pytest.mark.shows("linux.devices.fileMode")
@pytest.mark.parametrize("mode", [0o000, 0o600, 0o666, 0o777])
@pytest.mark.parametrize("umask", [0o000, 0o077, 0o777])
def test_the_mode_is_exact_whatever_the_umask(
    runtime: Runtime, bundle: MakeBundle, mode: int, umask: int
) -> None:
    here = bundle(process=SLEEP, linux={"devices": [NULL | {"fileMode": mode}]})
    before = os.umask(umask)
    try:
        there = found(runtime, here, "/dev/mine")
    finally:
        os.umask(before)
    assert stat.S_IMODE(there.st_mode) == mode


@pytest.mark.shows("linux.devices.fileMode")
@pytest.mark.parametrize("kind", ["c", "b", "p", "u"])
def test_the_mode_may_hold_the_type_too(runtime: Runtime, bundle: MakeBundle, kind: str) -> None:
    """As stat(2) has it, which podman passes on for `--device` and `--privileged`."""
    types = {"c": stat.S_IFCHR, "b": stat.S_IFBLK, "p": stat.S_IFIFO, "u": stat.S_IFCHR}
    device = NULL | {"type": kind, "fileMode": types[kind] | 0o640}
    there = found(runtime, bundle(process=SLEEP, linux={"devices": [device]}), "/dev/mine")
    assert there.st_mode == types[kind] | 0o640


@pytest.mark.shows("linux.devices.existing")
def test_a_device_that_is_there_already_is_no_error(runtime: Runtime, bundle: MakeBundle) -> None:
    here = bundle(process=SLEEP, linux={"devices": [NULL | {"path": "/null"}]})
    os.mknod(here / "rootfs/null", 0o020666, os.makedev(1, 3))
    assert stat.S_ISCHR(found(runtime, here, "/null").st_mode)


@pytest.mark.refuses("linux.devices.existing")
@pytest.mark.parametrize("kind", ["file", "directory", "other device", "symlink", "fifo"])
@pytest.mark.peers_differ(crun="takes some of them", runc="takes some of them")
def test_another_file_there_is_an_error(runtime: Runtime, bundle: MakeBundle, kind: str) -> None:
    here = bundle(linux={"devices": [NULL | {"path": "/mine"}]})
    path = here / "rootfs/mine"
    {
        "file": path.touch,
        "directory": path.mkdir,
        "other device": lambda: os.mknod(path, 0o020666, os.makedev(1, 5)),
        "symlink": lambda: path.symlink_to("/dev/null"),
        "fifo": lambda: os.mkfifo(path),
    }[kind]()
    refused(runtime, here)


@pytest.mark.refuses("linux.devices", "linux.devices.fileMode")
@pytest.mark.parametrize(
    "device",
    [
        {"path": "/dev/mine", "type": "c"},
        {"path": "/dev/mine", "type": "c", "major": 1},
        {"path": "/dev/mine", "type": "x", "major": 1, "minor": 3},
        {"path": "/dev/mine"},
        {"type": "c", "major": 1, "minor": 3},
        {"path": "dev/mine", "type": "p"},
        NULL | {"major": -5},
        NULL | {"fileMode": -1},
        NULL | {"fileMode": "0666"},
        NULL | {"uid": -1},
        NULL | {"gid": "root"},
    ],
)
@pytest.mark.peers_differ(crun="takes some of them", runc="takes some of them")
def test_a_device_that_can_not_be_is_an_error(
    runtime: Runtime, bundle: MakeBundle, device: dict[str, Any]
) -> None:
    refused(runtime, bundle(linux={"devices": [device]}))


@pytest.mark.shows("linux.devices.userns")
def test_in_a_user_namespace_the_hosts_devices_are_lent(runtime: Runtime, reachable: MakeBundle) -> None:
    linux = {
        "namespaces": [*namespaces(), {"type": "user"}],
        "uidMappings": MAPPING,
        "gidMappings": MAPPING,
        "devices": [
            {"path": "/dev/full", "type": "c", "major": 1, "minor": 7},
            {"path": "/dev/fifo", "type": "p"},
        ],
    }
    here = reachable(process=shell("echo x >/dev/full 2>&1; test -p /dev/fifo && echo there"), linux=linux)
    assert "there" in runtime.output(here)


@pytest.mark.shows("linux.devices.userns")
@pytest.mark.peers_differ(runc="can't make a FIFO there")
def test_in_a_user_namespace_owners_are_the_containers(runtime: Runtime, reachable: MakeBundle) -> None:
    linux = {
        "namespaces": [*namespaces(), {"type": "user"}],
        "uidMappings": MAPPING,
        "gidMappings": MAPPING,
        "devices": [{"path": "/dev/fifo", "type": "p", "uid": 5, "gid": 6, "fileMode": 0o640}],
    }
    here = reachable(process=shell("stat -c '%F %u %g %a' /dev/fifo"), linux=linux)
    assert runtime.output(here) == "fifo 5 6 640\n"


@pytest.mark.refuses("linux.devices.userns")
@pytest.mark.peers_differ(crun="makes an empty file", runc="makes an empty file")
def test_in_a_user_namespace_a_device_that_the_host_has_not_is_an_error(
    runtime: Runtime, reachable: MakeBundle
) -> None:
    linux = {
        "namespaces": [*namespaces(), {"type": "user"}],
        "uidMappings": MAPPING,
        "gidMappings": MAPPING,
        "devices": [{"path": "/dev/no-such-device", "type": "c", "major": 10, "minor": 222}],
    }
    refused(runtime, reachable(linux=linux))


@pytest.mark.shows("linux.devices.default")
def test_default_devices_work(runtime: Runtime, bundle: MakeBundle) -> None:
    script = (
        "head -c 4 /dev/zero | wc -c; head -c 4 /dev/urandom | wc -c; head -c 4 /dev/random | wc -c; "
        "echo x >/dev/null && echo null; echo x 2>/dev/null >/dev/full || echo full"
    )
    assert runtime.output(bundle(process=shell(script))).split() == ["4", "4", "4", "null", "full"]


@pytest.mark.shows("linux.devices.links")
def test_links_are_made_only_if_what_they_name_is_there(runtime: Runtime, bundle: MakeBundle) -> None:
    dev = {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["mode=755"]}
    here = bundle(process=SLEEP, mounts=[dev], linux={"maskedPaths": None, "readonlyPaths": None})
    pid = runtime.pid(runtime.launch(here))
    names = os.listdir(f"/proc/{pid}/root/dev")
    assert not {"fd", "stdin", "stdout", "stderr"} & set(names)


@pytest.mark.shows("filesystems.default")
def test_the_default_filesystems_are_there(runtime: Runtime, bundle: MakeBundle) -> None:
    here = bundle(process={"args": ["cat", "/proc/self/mountinfo"]})
    rows = [row.split(" - ") for row in runtime.output(here).splitlines()]
    kinds = {row[0].split(" ")[4]: row[1].split(" ")[0] for row in rows}
    assert kinds["/proc"] == "proc"
    assert kinds["/sys"] == "sysfs"
    assert kinds["/dev/pts"] == "devpts"
    assert kinds["/dev/shm"] == "tmpfs"


@pytest.mark.shows("linux.devices")
def test_the_hosts_own_dev_is_left_alone(runtime: Runtime, bundle: MakeBundle, tmp_path: Path) -> None:
    """A bound /dev brings its devices along; nothing is made in it."""
    host_dev = tmp_path / "dev"
    host_dev.mkdir()
    (host_dev / "marker").touch()
    dev = {"destination": "/dev", "type": "none", "source": str(host_dev), "options": ["bind"]}
    here = bundle(
        process={"args": ["ls", "/dev"]}, mounts=[dev], linux={"maskedPaths": None, "readonlyPaths": None}
    )
    assert runtime.output(here) == "marker\n"
    assert os.listdir(host_dev) == ["marker"]
