"""A container of the default configuration: every part of it, seen from the host through /proc/PID."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from . import host
from .bundles import CAPABILITIES, DEFAULT_CONFIG
from .fixtures import bundle_factory
from .runtime import Runtime

DEVICES = {"null": (1, 3), "zero": (1, 5), "full": (1, 7), "random": (1, 8), "urandom": (1, 9), "tty": (5, 0)}
LINKS = {
    "fd": "/proc/self/fd",
    "stdin": "/proc/self/fd/0",
    "stdout": "/proc/self/fd/1",
    "stderr": "/proc/self/fd/2",
}
CAPABILITY_BITS = {"CAP_KILL": 5, "CAP_NET_BIND_SERVICE": 10, "CAP_AUDIT_WRITE": 29}
# What mountinfo shows of the options in the default configuration; a size is shown in KiB, modes in octal.
FLAGS = {"nosuid", "nodev", "noexec", "ro", "relatime"}


@pytest.fixture(scope="module")
def pid(shared_runtime: Runtime, tmp_path_factory: pytest.TempPathFactory) -> int:
    """The running container's process."""
    here = bundle_factory(tmp_path_factory.mktemp("bundles"), shared_runtime.path)(
        process={"args": ["sleep", "1000"]}
    )
    return shared_runtime.pid(shared_runtime.launch(here))


@pytest.fixture(scope="module")
def mounted(pid: int) -> dict[str, dict[str, str]]:
    """The container's mounts by mount point; the last one at a point hides the others."""
    return {mount["point"]: mount for mount in host.mounts(pid)}


def inside(pid: int, path: str) -> Path:
    """A path of the container as the host reaches it."""
    return Path(f"/proc/{pid}/root{path}")


@pytest.mark.shows("linux.namespaces")
@pytest.mark.parametrize("kind", ["pid", "uts", "ipc", "net", "mnt", "cgroup"])
def test_namespaces_are_new(pid: int, kind: str) -> None:
    assert os.readlink(f"/proc/{pid}/ns/{kind}") != os.readlink(f"/proc/self/ns/{kind}")


@pytest.mark.shows("linux.namespaces.inherited")
@pytest.mark.parametrize("kind", ["user", "time"])
def test_namespaces_that_are_not_listed_are_the_hosts(pid: int, kind: str) -> None:
    assert os.readlink(f"/proc/{pid}/ns/{kind}") == os.readlink(f"/proc/self/ns/{kind}")


@pytest.mark.shows("mounts.type")
@pytest.mark.parametrize("mount", DEFAULT_CONFIG["mounts"], ids=lambda mount: mount["destination"])
def test_mounts_are_there_with_their_options(
    pid: int, mounted: dict[str, dict[str, str]], mount: dict[str, object]
) -> None:
    shown = mounted[str(mount["destination"])]
    options = shown["options"].split(",")
    wanted = mount.get("options", [])
    assert isinstance(wanted, list)
    if mount["type"] == "cgroup":  # its options: test_cgroups_are_mounted_read_only
        assert shown["kind"] in ("cgroup2", "tmpfs")  # of version 1 a directory of hierarchies
        return
    assert shown["kind"] == mount["type"]
    assert shown["source"] == mount["source"]
    for flag in FLAGS & set(wanted):
        assert flag in options
    for flag in {"nosuid", "nodev", "noexec"} - set(wanted):
        assert flag not in options
    if "strictatime" in wanted:
        assert not {"relatime", "noatime"} & set(options)
    shown_data = shown["super_options"].split(",")
    for option in wanted:
        name, _, value = option.partition("=")
        if name == "mode" and mount["type"] == "tmpfs":  # which doesn't show its default, 1777
            mode = inside(pid, str(mount["destination"])).stat().st_mode
            assert stat.S_IMODE(mode) == int(value, 8)
        elif value:
            assert f"{name}={value.lstrip('0') if name.endswith('mode') else value}" in shown_data


@pytest.mark.shows("mounts.order")
def test_mounts_are_made_in_the_order_of_the_config(pid: int) -> None:
    points = [mount["point"] for mount in host.mounts(pid)]
    destinations = [mount["destination"] for mount in DEFAULT_CONFIG["mounts"]]
    assert sorted(destinations, key=points.index) == destinations


@pytest.mark.shows("root.path")
def test_the_hosts_mounts_are_not_visible(mounted: dict[str, dict[str, str]]) -> None:
    below = ("/proc", "/dev", "/sys")
    assert [point for point in mounted if point != "/" and not point.startswith(below)] == []


@pytest.mark.shows("mounts.cgroup")
@pytest.mark.peers_differ(crun="the directory of hierarchies is writable", runc="the same")
def test_cgroups_are_mounted_read_only(mounted: dict[str, dict[str, str]]) -> None:
    shown = [mount for point, mount in mounted.items() if point.startswith("/sys/fs/cgroup")]
    assert shown
    for mount in shown:
        assert {"ro", "nosuid", "nodev", "noexec"} <= set(mount["options"].split(",")), mount


@pytest.mark.shows("linux.devices.default")
@pytest.mark.parametrize("name", DEVICES)
def test_default_devices_are_there(pid: int, name: str) -> None:
    found = inside(pid, f"/dev/{name}").lstat()
    assert stat.S_ISCHR(found.st_mode)
    assert (os.major(found.st_rdev), os.minor(found.st_rdev)) == DEVICES[name]
    assert (stat.S_IMODE(found.st_mode), found.st_uid) == (0o666, 0)


@pytest.mark.shows("linux.devices.links")
@pytest.mark.parametrize("name", LINKS)
def test_default_links_are_there(pid: int, name: str) -> None:
    assert os.readlink(inside(pid, f"/dev/{name}")) == LINKS[name]


@pytest.mark.shows("linux.devices.default")
def test_ptmx_is_the_containers_own(pid: int) -> None:
    path = inside(pid, "/dev/ptmx")
    assert path.is_symlink()
    assert os.readlink(path) == "pts/ptmx"


def test_there_is_no_console_without_a_terminal(pid: int) -> None:
    assert not inside(pid, "/dev/console").exists()


@pytest.mark.shows("linux.maskedPaths")
@pytest.mark.parametrize("path", DEFAULT_CONFIG["linux"]["maskedPaths"])
def test_masked_paths_have_nothing_to_read(pid: int, path: str) -> None:
    target = inside(pid, path)
    if not target.exists():
        pytest.skip(f"the host has no {path}")
    if target.is_dir():
        assert os.listdir(target) == []
    else:
        assert target.read_bytes() == b""


@pytest.mark.shows("linux.readonlyPaths")
@pytest.mark.parametrize("path", ["/", "/sys", *DEFAULT_CONFIG["linux"]["readonlyPaths"]])
def test_readonly_paths_refuse_writers(pid: int, path: str) -> None:
    if not inside(pid, path).exists():
        pytest.skip(f"the host has no {path}")
    assert os.statvfs(inside(pid, path)).f_flag & os.ST_RDONLY


@pytest.mark.shows("root.readonly")
def test_the_root_filesystem_refuses_a_new_file(pid: int) -> None:
    with pytest.raises(OSError, match="Read-only file system"):
        inside(pid, "/new").touch()


@pytest.mark.shows("process.capabilities")
@pytest.mark.parametrize(
    ("field", "names"),
    [
        ("CapBnd", CAPABILITIES),
        ("CapPrm", CAPABILITIES),
        ("CapEff", CAPABILITIES),
        ("CapInh", []),
        ("CapAmb", []),
    ],
)
def test_capability_sets_are_the_configs(pid: int, field: str, names: list[str]) -> None:
    assert int(host.status(pid)[field], 16) == sum(1 << CAPABILITY_BITS[name] for name in names)


def test_the_device_cgroup_refuses_other_devices(pid: int) -> None:
    cgroup = host.cgroup_of(pid, "devices")
    if not (cgroup / "devices.list").exists():
        pytest.skip("the host's device cgroup is version 2, which has no list to read")
    allowed = (cgroup / "devices.list").read_text().splitlines()
    assert "a *:* rwm" not in allowed
    assert {"c 1:3 rwm", "c 5:0 rwm", "c 136:* rwm"} <= set(allowed)


@pytest.mark.shows("process.cwd", "process.env")
def test_the_working_directory_and_the_environment_are_the_configs(pid: int) -> None:
    assert os.readlink(f"/proc/{pid}/cwd") == "/"
    environment = Path(f"/proc/{pid}/environ").read_text().rstrip("\0").split("\0")
    assert environment[: len(DEFAULT_CONFIG["process"]["env"])] == DEFAULT_CONFIG["process"]["env"]


def test_the_container_has_a_session_of_its_own(pid: int) -> None:
    assert os.getsid(pid) == pid


def test_nothing_of_the_runtime_stays_but_the_program(pid: int) -> None:
    assert Path(f"/proc/{pid}/comm").read_text() == "sleep\n"
    assert Path(f"/proc/{pid}/cmdline").read_bytes() == b"sleep\x001000\x00"
    assert host.status(pid)["Threads"] == "1"
