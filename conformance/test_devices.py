"""Devices; config-linux.md, "Devices", "Default Devices", runtime-linux.md, "Dev symbolic links"."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

import pytest

from .bundles import DEFAULT_CONFIG, mounts, namespaces
from .fixtures import MakeBundle
from .runtime import Runtime
from .test_mounts import bind, refused, shell, tmpfs

NULL = {"path": "/dev/mine", "type": "c", "major": 1, "minor": 3}
MAPPING = [{"containerID": 0, "hostID": 100000, "size": 65536}]
SLEEP = {"args": ["sleep", "1000"]}


def mapped(*devices: dict[str, Any]) -> dict[str, Any]:
    """The `linux` of a container with a user namespace."""
    spaces = [*namespaces(), {"type": "user"}]
    return {"namespaces": spaces, "uidMappings": MAPPING, "gidMappings": MAPPING, "devices": list(devices)}


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


@pytest.mark.shows("linux.devices")
@pytest.mark.parametrize("kind", ["c", "p"])
@pytest.mark.peers_differ(crun="refuses it, or makes a directory", runc="makes a device of a FIFO")
def test_a_path_may_be_written_in_any_way(runtime: Runtime, bundle: MakeBundle, kind: str) -> None:
    paths = ["/dev/a/", "/dev/b/.", "/dev/./c", "/dev//d///", "/e/", "/dev/./null/."]
    devices = [NULL | {"path": path, "type": kind} for path in paths]
    pid = runtime.pid(runtime.launch(bundle(process=SLEEP, linux={"devices": devices})))
    for path in paths:
        there = Path(f"/proc/{pid}/root{path}".rstrip("/.")).lstat()
        assert stat.S_IFMT(there.st_mode) == {"c": stat.S_IFCHR, "p": stat.S_IFIFO}[kind]


@pytest.mark.refuses("linux.devices")
@pytest.mark.peers_differ(crun="takes the first", runc="takes the first")
def test_two_devices_at_one_path_are_an_error_however_it_is_written(
    runtime: Runtime, bundle: MakeBundle
) -> None:
    refused(runtime, bundle(linux={"devices": [NULL, NULL | {"path": "/dev//mine/", "minor": 5}]}))


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
def test_in_a_user_namespace_there_are_devices_and_fifos(runtime: Runtime, reachable: MakeBundle) -> None:
    full = {"path": "/dev/full", "type": "c", "major": 1, "minor": 7}
    script = "echo x >/dev/full 2>&1; test -p /dev/fifo && echo there"
    here = reachable(process=shell(script), linux=mapped(full, {"path": "/dev/fifo", "type": "p"}))
    assert "there" in runtime.output(here)


@pytest.mark.shows("linux.devices.userns")
@pytest.mark.peers_differ(runc="can't make a FIFO there")
def test_in_a_user_namespace_owners_are_the_containers(runtime: Runtime, reachable: MakeBundle) -> None:
    fifo = {"path": "/dev/fifo", "type": "p", "uid": 5, "gid": 6, "fileMode": 0o640}
    here = reachable(process=shell("stat -c '%F %u %g %a' /dev/fifo"), linux=mapped(fifo))
    assert runtime.output(here) == "fifo 5 6 640\n"


RENAMED = [
    NULL | {"path": "/dev/renamed", "uid": 5, "gid": 6, "fileMode": 0o640},
    NULL | {"path": "/dev/deep/er/renamed/"},
    NULL | {"path": "/elsewhere"},
    {"path": "/dev/random", "type": "c", "major": 1, "minor": 9},
    {"path": "/dev/no-such-device", "type": "c", "major": 10, "minor": 222},
    {"path": "/dev/no-such-disk", "type": "b", "major": 200, "minor": 70000},
]


@pytest.mark.shows("linux.devices.userns")
@pytest.mark.peers_differ(
    crun="binds what the host has at the path", runc="binds what the host has at the path"
)
def test_in_a_user_namespace_a_device_is_what_its_numbers_say(
    runtime: Runtime, reachable: MakeBundle
) -> None:
    here = reachable(process=SLEEP, linux=mapped(*RENAMED))
    os.chown(here / "rootfs", 100000, 100000)
    pid = runtime.pid(runtime.launch(here))
    for device in RENAMED:
        there = Path(f"/proc/{pid}/root{device['path']}".rstrip("/")).lstat()
        assert stat.S_IFMT(there.st_mode) == (stat.S_IFBLK if device["type"] == "b" else stat.S_IFCHR)
        assert (os.major(there.st_rdev), os.minor(there.st_rdev)) == (device["major"], device["minor"])
        assert stat.S_IMODE(there.st_mode) == device.get("fileMode", 0o666)
        assert (there.st_uid, there.st_gid) == (100000 + device.get("uid", 0), 100000 + device.get("gid", 0))


@pytest.mark.shows("linux.devices.userns", "linux.devices.default")
def test_in_a_user_namespace_devices_work(runtime: Runtime, reachable: MakeBundle) -> None:
    script = "head -c 4 /dev/zero | wc -c; head -c 4 /dev/urandom | wc -c; echo x >/dev/null && echo null"
    assert runtime.output(reachable(process=shell(script), linux=mapped())).split() == ["4", "4", "null"]


@pytest.mark.shows("linux.devices.userns")
@pytest.mark.peers_differ(
    crun="binds what the host has at the path", runc="binds what the host has at the path"
)
def test_in_a_user_namespace_there_may_be_many_devices(runtime: Runtime, reachable: MakeBundle) -> None:
    """As with podman's --privileged, and with more of them than may be open at once."""
    devices = [{"path": f"/dev/many{i}", "type": "b", "major": 200, "minor": i} for i in range(1500)]
    here = reachable(process=shell("ls /dev/many* | wc -l"), linux=mapped(*devices))
    assert runtime.output(here) == "1500\n"


@pytest.mark.shows("linux.devices.default")
def test_default_devices_work(runtime: Runtime, bundle: MakeBundle) -> None:
    script = (
        "head -c 4 /dev/zero | wc -c; head -c 4 /dev/urandom | wc -c; head -c 4 /dev/random | wc -c; "
        "echo x >/dev/null && echo null; echo x 2>/dev/null >/dev/full || echo full"
    )
    assert runtime.output(bundle(process=shell(script))).split() == ["4", "4", "4", "null", "full"]


BARE = [mount for mount in DEFAULT_CONFIG["mounts"] if not mount["destination"].startswith("/dev")]


@pytest.mark.shows("linux.devices.default")
def test_a_default_device_that_a_mount_covers_is_left(runtime: Runtime, bundle: MakeBundle) -> None:
    covered = {"/dev/random": "/dev/urandom", "/dev/tty": "/dev/null", "/dev/full": "/etc/passwd"}
    more = mounts(*(bind(source, path) for path, source in covered.items()))
    pid = runtime.pid(runtime.launch(bundle(process=SLEEP, mounts=more)))
    for path, source in covered.items():
        there, lent = os.lstat(f"/proc/{pid}/root{path}"), os.stat(source)
        assert (there.st_ino, there.st_rdev) == (lent.st_ino, lent.st_rdev)


@pytest.mark.shows("linux.devices.default", "linux.devices.links")
@pytest.mark.parametrize("kind", ["bind", "tmpfs"])
@pytest.mark.peers_differ(runc="wants to remove ptmx", crun="wants to remove a directory")
def test_a_link_that_a_mount_covers_is_left(runtime: Runtime, bundle: MakeBundle, kind: str) -> None:
    paths = ["/dev/ptmx", "/dev/fd", "/dev/stdin"]
    covering = [bind("/dev/null", path) if kind == "bind" else tmpfs(path) for path in paths]
    pid = runtime.pid(runtime.launch(bundle(process=SLEEP, mounts=mounts(*covering))))
    for path in paths:
        there = os.lstat(f"/proc/{pid}/root{path}")
        assert stat.S_IFMT(there.st_mode) == (stat.S_IFCHR if kind == "bind" else stat.S_IFDIR)


@pytest.mark.shows("linux.devices.default", "linux.devices.links")
@pytest.mark.parametrize("kind", ["file", "empty directory", "directory", "symlink", "fifo"])
@pytest.mark.parametrize("with_users", [False, True])
@pytest.mark.peers_differ(runc="refuses some of them", crun="refuses a directory at ptmx")
def test_what_an_image_ships_in_their_place_is_no_error(
    runtime: Runtime, reachable: MakeBundle, kind: str, with_users: bool
) -> None:
    here = reachable(process=SLEEP, mounts=BARE, linux=mapped() if with_users else {})
    dev = here / "rootfs/dev"
    before = {}
    for name in ("random", "tty", "ptmx", "fd", "stdout"):
        {
            "file": (dev / name).touch,
            "empty directory": (dev / name).mkdir,
            "directory": lambda name=name: (dev / name / "more").mkdir(parents=True),
            "symlink": lambda name=name: (dev / name).symlink_to("nowhere"),
            "fifo": lambda name=name: os.mkfifo(dev / name),
        }[kind]()
        before[name] = (dev / name).lstat().st_ino
    if with_users:
        for path in [dev, *dev.rglob("*")]:
            os.chown(path, 100000, 100000, follow_symlinks=False)
    runtime.launch(here)
    after = {name: (dev / name).lstat() for name in before}
    if kind != "directory":
        del before["ptmx"]
        assert stat.S_ISLNK(after["ptmx"].st_mode)
    assert {name: after[name].st_ino for name in before} == before


def read_only(*options: str) -> list[dict[str, Any]]:
    """The default mounts with a read-only /dev."""
    dev = {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["mode=755", *options]}
    return [dev if mount["destination"] == "/dev" else mount for mount in DEFAULT_CONFIG["mounts"]]


@pytest.mark.shows("linux.devices.default", "mounts.options")
@pytest.mark.parametrize("options", [["ro"], ["ro", "tmpcopyup"], ["rro"]], ids=" ".join)
@pytest.mark.parametrize("with_users", [False, True])
@pytest.mark.peers_differ(crun="knows fewer options", runc="knows fewer options")
def test_a_read_only_dev_is_filled_first(
    runtime: Runtime, reachable: MakeBundle, options: list[str], with_users: bool
) -> None:
    device = NULL | {"path": "/dev/deep/mine"}
    linux = mapped(device) if with_users else {"devices": [device]}
    script = "ls /dev /dev/deep; touch /dev/new 2>/dev/null || echo refused; grep -c ' /dev ro' /proc/self/mountinfo"
    here = reachable(process=shell(script), mounts=read_only(*options), linux=linux)
    said = runtime.output(here).split()
    assert {"null", "tty", "ptmx", "fd", "pts", "shm", "mine"} <= set(said)
    assert said[-2:] == ["refused", "1"]


@pytest.mark.shows("linux.devices.default", "mounts.options")
@pytest.mark.peers_differ(crun="makes devices later", runc="makes devices later")
def test_a_remount_of_dev_to_read_only_waits_too(runtime: Runtime, bundle: MakeBundle) -> None:
    again = {"destination": "/dev", "type": "none", "source": "none", "options": ["remount", "bind", "ro"]}
    script = "echo x >/dev/null; touch /dev/new 2>/dev/null || echo refused"
    assert runtime.output(bundle(process=shell(script), mounts=mounts(again))) == "refused\n"


@pytest.mark.shows("linux.devices", "mounts.options")
@pytest.mark.peers_differ(crun="has it only for /dev", runc="has it only for /dev")
def test_any_read_only_tmpfs_is_filled_first(runtime: Runtime, bundle: MakeBundle) -> None:
    """With a device, with what a later mount is mounted on, with the working directory."""
    script = (
        "pwd; ls /tmp /tmp/deep; for d in /tmp /tmp/deep; do touch $d/new 2>/dev/null || echo refused; done"
    )
    here = bundle(
        process=shell(script) | {"cwd": "/tmp/work"},
        mounts=mounts(tmpfs("/tmp", "ro"), tmpfs("/tmp/deep/mounted"), tmpfs("/dev/shm", "ro")),
        linux={"devices": [NULL | {"path": "/tmp/mine"}]},
    )
    listed = ["/tmp:", "deep", "mine", "work", "/tmp/deep:", "mounted"]
    assert runtime.output(here).split() == ["/tmp/work", *listed, "refused", "refused"]


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
