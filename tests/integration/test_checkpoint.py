"""`checkpoint` and `restore`, where criu(8) works on this kernel."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

import pyoci as api
from conformance import host
from conformance.agents import agent
from conformance.runtime import SYSTEMD, Runtime, new_id
from pyoci.cli import parser
from pyoci.container.request import Request
from pyoci.container.restore import restore

from .conftest import MakeBundle
from .test_resctrl import resctrl  # noqa: F401
from .test_services import Manager, manager  # noqa: F401

HAS_CRIU = shutil.which("criu") is not None
WORKS = HAS_CRIU and subprocess.run(["criu", "check"], capture_output=True).returncode == 0
with_criu = pytest.mark.skipif(not WORKS, reason="the host has no criu that works on its kernel")
without_criu = pytest.mark.skipif(HAS_CRIU, reason="the host has criu")

COUNT = "exec </dev/null >/dev/null 2>&1; n=0; while :; do n=$((n+1)); echo $n > /tmp/count; sleep 0.05; done"


def counting(bundle: MakeBundle) -> tuple[Path, Path]:
    """A bundle whose program counts, and where it says how far it is."""
    path = bundle(process={"args": ["sh", "-c", COUNT]}, root={"readonly": False})
    return path, path / "rootfs/tmp/count"


def number(file: Path) -> int:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        text = file.read_text().strip() if file.exists() else ""
        if text:
            return int(text)
        time.sleep(0.01)
    raise TimeoutError(file)


def await_more(file: Path, than: int) -> None:
    deadline = time.monotonic() + 30
    while number(file) <= than:
        assert time.monotonic() < deadline, f"it stays at {than}"
        time.sleep(0.02)


@with_criu
@pytest.mark.parametrize("predumped", [False, True])
def test_a_counter_survives_checkpoint_delete_and_restore(
    pyoci: Runtime, bundle: MakeBundle, tmp_path: Path, predumped: bool
) -> None:
    path, count = counting(bundle)
    container = pyoci.launch(path)
    await_more(count, 10)
    flags = ["--image-path", tmp_path / "images"]
    if predumped:
        pyoci("checkpoint", "--pre-dump", "--image-path", tmp_path / "before", container, timeout=120)
        assert pyoci.state(container)["status"] == "running"
        flags += ["--parent-path", "../before"]
    pyoci("checkpoint", *flags, "--work-path", tmp_path / "work", container, timeout=120)
    pyoci.await_status(container, "stopped")
    stopped_at = number(count)
    assert stopped_at > 10
    pyoci("delete", container)
    count.unlink()
    other = new_id()
    pyoci(
        *("restore", "--detach", "--bundle", path, "--image-path", tmp_path / "images"),
        *("--pid-file", tmp_path / "pid", other),
        timeout=120,
    )
    assert pyoci.state(other)["status"] == "running"
    assert pyoci.pid(other) == int((tmp_path / "pid").read_text())
    assert number(count) >= stopped_at
    await_more(count, stopped_at + 5)
    assert "sh -c" in pyoci("exec", other, "ps", "-o", "args").stdout
    pyoci.finish(other)


@with_criu
def test_it_can_be_left_running(pyoci: Runtime, bundle: MakeBundle, tmp_path: Path) -> None:
    path, count = counting(bundle)
    container = pyoci.launch(path)
    await_more(count, 3)
    pyoci("checkpoint", "--leave-running", "--image-path", tmp_path / "images", container, timeout=120)
    await_more(count, number(count))


@with_criu
def test_a_paused_container_can_be_written_down_and_stays_paused(
    pyoci: Runtime, bundle: MakeBundle, tmp_path: Path
) -> None:
    """As containerd does it: `ctr tasks checkpoint`, `docker checkpoint create --leave-running`."""
    path, count = counting(bundle)
    container = pyoci.launch(path)
    await_more(count, 3)
    pyoci("pause", container)
    before = number(count)
    pyoci("checkpoint", "--leave-running", "--image-path", tmp_path / "images", container, timeout=120)
    assert pyoci.state(container)["status"] == "paused"
    assert number(count) == before
    pyoci("resume", container)
    await_more(count, before + 3)


@with_criu
def test_a_paused_container_ends_with_its_checkpoint(
    pyoci: Runtime, bundle: MakeBundle, tmp_path: Path
) -> None:
    """`docker checkpoint create`; what is restored is not paused."""
    path, count = counting(bundle)
    container = pyoci.launch(path)
    await_more(count, 3)
    pyoci("pause", container)
    pyoci("checkpoint", "--image-path", tmp_path / "images", container, timeout=120)
    pyoci.await_status(container, "stopped")
    pyoci("delete", container)
    stopped_at = number(count)
    other = restored(pyoci, path, tmp_path)
    assert pyoci.state(other)["status"] == "running"
    await_more(count, stopped_at + 3)


def restored(pyoci: Runtime, path: Path, place: Path, *flags: str, **options: Any) -> str:
    """A container made of the images in a directory."""
    container = new_id()
    words = ["restore", "--detach", "--bundle", path, "--image-path", place / "images", *flags]
    pyoci(*words, container, timeout=120, **options)
    return container


def written_down(pyoci: Runtime, path: Path, count: Path, place: Path, **options: Any) -> None:
    """Images of a container that has ended, and is gone."""
    container = new_id()
    pyoci("create", "--bundle", path, container, **options)
    pyoci("start", container)
    await_more(count, 3)
    pyoci("checkpoint", "--image-path", place / "images", container, timeout=120)
    pyoci.await_status(container, "stopped")
    pyoci("delete", container)


@with_criu
@pytest.mark.parametrize("mode", ["soft", "ignore"])
def test_what_is_restored_is_in_its_cgroups_with_its_limits(
    pyoci: Runtime, bundle: MakeBundle, tmp_path: Path, mode: str
) -> None:
    path = bundle(
        process={"args": ["sh", "-c", COUNT]},
        root={"readonly": False},
        linux={"resources": {"pids": {"limit": 77}, "memory": {"limit": 64 << 20}}},
    )
    count = path / "rootfs/tmp/count"
    written_down(pyoci, path, count, tmp_path)
    other = restored(pyoci, path, tmp_path, "--manage-cgroups-mode", mode)
    cgroup = host.cgroup_of(pyoci.pid(other), "pids")
    assert (cgroup / "pids.max").read_text() == "77\n"
    assert other in str(cgroup)
    assert len(json.loads(pyoci("ps", "--format", "json", other).stdout)) >= 1
    pyoci("pause", other)
    pyoci("resume", other)
    await_more(count, number(count))
    pyoci("delete", "--force", other)
    assert not cgroup.exists()


@with_criu
@pytest.mark.skipif(not os.path.isdir("/run/systemd/system"), reason="this host is not run by systemd")
@pytest.mark.parametrize("broken", [False, True])
def test_restore_asks_systemd_for_the_unit(
    pyoci: Runtime, bundle: MakeBundle, tmp_path: Path, broken: bool
) -> None:
    """podman's default driver."""
    systemd = pyoci if SYSTEMD else Systemd(pyoci.path, pyoci.root)
    limits = {"memory": {"limit": 64 << 20}, "pids": {"limit": 77}}
    path = bundle(
        process={"args": ["sh", "-c", COUNT]}, root={"readonly": False}, linux={"resources": limits}
    )
    count = path / "rootfs/tmp/count"
    written_down(systemd, path, count, tmp_path)
    other = new_id()
    unit = f"pyoci-{other}.scope"
    if broken:
        for image in (tmp_path / "images").glob("core-*.img"):
            image.write_bytes(b"damaged")
        systemd.fails("restore", "--bundle", path, "--image-path", tmp_path / "images", other, timeout=120)
    else:
        words = ("restore", "--detach", "--bundle", path, "--image-path", tmp_path / "images")
        systemd(*words, other, timeout=120)
        pid = systemd.pid(other)
        assert f"/{unit}" in Path(f"/proc/{pid}/cgroup").read_text()
        shown = properties(unit, "ActiveState", "MemoryMax" if host.V2 else "MemoryLimit", "TasksMax")
        assert list(shown.values()) == ["active", str(64 << 20), "77"]
        systemd("exec", other, "true")
        systemd("delete", "--force", other)
    assert properties(unit, "ActiveState")["ActiveState"] == "inactive"
    assert os.listdir(pyoci.root) in ([], ["~systemd"])


class Systemd(Runtime):
    """The same runtime, whose cgroups systemd makes."""

    def __init__(self, path: Path, root: Path) -> None:
        super().__init__(path, root)
        self.command.append("--systemd-cgroup")


def properties(unit: str, *names: str) -> dict[str, str]:
    """What systemd knows of a unit."""
    command = ["systemctl", "show", unit, "--property", ",".join(names)]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found = dict(line.split("=", 1) for line in said.splitlines())
    return {name: found[name] for name in names}


@with_criu
def test_a_restored_service_is_ready(
    pyoci: Runtime,
    bundle: MakeBundle,
    tmp_path: Path,
    manager: Manager,  # noqa: F811
) -> None:
    env = {**os.environ, "NOTIFY_SOCKET": manager.address}
    path, count = counting(bundle)
    written_down(pyoci, path, count, tmp_path, env=env)
    other = restored(pyoci, path, tmp_path, env=env)
    assert manager.said == ["READY=1", f"MAINPID={pyoci.pid(other)}"]
    assert "notify.sock" in pyoci("exec", other, "ls", "/run/notify").stdout
    pyoci("delete", "--force", other)
    again = restored(pyoci, path, tmp_path)
    await_more(count, number(count))
    pyoci("delete", "--force", again)


@with_criu
def test_a_restored_container_is_in_its_group_of_resctrl(
    pyoci: Runtime,
    bundle: MakeBundle,
    tmp_path: Path,
    resctrl: Path,  # noqa: F811
) -> None:
    path, count = counting(bundle)
    written_down(pyoci, path, count, tmp_path)
    config = json.loads((path / "config.json").read_text())
    config["linux"]["intelRdt"] = {"closID": "gold"}
    (path / "config.json").write_text(json.dumps(config))
    invocation = parser.Invocation()
    parser.parse(["restore", "--image-path", str(tmp_path / "images"), "x"], invocation)
    request = Request(str(pyoci.root), new_id(), api.Bundle.load(str(path)), print, resctrl=str(resctrl))
    entry = restore(request, invocation.flags)
    # criu was in it, so everything that it has made is.
    assert int((resctrl / "gold/tasks").read_text()) > 0
    assert entry.state["resctrl"][0] == str(resctrl / "gold")
    entry.close()
    pyoci("delete", "--force", entry.id)


@with_criu
def test_a_process_that_joins_a_restored_container_has_the_seccomp_agent(
    pyoci: Runtime, bundle: MakeBundle, tmp_path: Path
) -> None:
    path, count = counting(bundle)
    written_down(pyoci, path, count, tmp_path)
    config = json.loads((path / "config.json").read_text())
    rule = {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_NOTIFY"}
    profile = {"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": str(tmp_path / "agent"), "syscalls": [rule]}
    config["linux"]["seccomp"] = profile
    (path / "config.json").write_text(json.dumps(config))
    with agent(tmp_path / "agent", lambda number: errno.EDQUOT):
        other = restored(pyoci, path, tmp_path)
        assert "Disk quota exceeded" in pyoci.fails("exec", other, "mkdir", "/tmp/new")
        pyoci("delete", "--force", other)


@with_criu
def test_without_a_mount_namespace_the_hosts_mounts_are_made_again(
    pyoci: Runtime, bundle: MakeBundle, tmp_path: Path
) -> None:
    path, count = counting(bundle)
    config = json.loads((path / "config.json").read_text())
    config["linux"] |= {"namespaces": [{"type": "pid"}, {"type": "ipc"}]}
    config["linux"] |= {"maskedPaths": [], "readonlyPaths": []}
    config["mounts"] = [
        each for each in config["mounts"] if each["type"] in ("proc", "tmpfs", "devpts", "mqueue")
    ]
    del config["hostname"]
    (path / "config.json").write_text(json.dumps(config))
    written_down(pyoci, path, count, tmp_path)
    assert str(path) not in Path("/proc/self/mountinfo").read_text()
    other = restored(pyoci, path, tmp_path)
    await_more(count, number(count))
    script = "ls /dev/null /dev/shm -d && cat /proc/1/comm"
    assert pyoci("exec", other, "sh", "-c", script).stdout == "/dev/null\n/dev/shm\nsh\n"
    pyoci("delete", "--force", other)
    assert str(path) not in Path("/proc/self/mountinfo").read_text()


@with_criu
def test_without_a_cgroup_manager_it_is_restored_too(
    pyoci: Runtime, bundle: MakeBundle, tmp_path: Path
) -> None:
    path, count = counting(bundle)
    written_down(pyoci, path, count, tmp_path)
    other = new_id()
    words = ("--cgroup-manager", "disabled", "restore", "--detach", "--bundle", path)
    pyoci(*words, "--image-path", tmp_path / "images", other, timeout=120)
    await_more(count, number(count))
    assert Path(f"/proc/{pyoci.pid(other)}/cgroup").read_text() == Path("/proc/self/cgroup").read_text()
    pyoci("delete", "--force", other)


@with_criu
def test_a_failed_restore_leaves_nothing(pyoci: Runtime, bundle: MakeBundle, tmp_path: Path) -> None:
    path, count = counting(bundle)
    container = pyoci.launch(path)
    await_more(count, 3)
    pyoci("checkpoint", "--image-path", tmp_path / "images", container, timeout=120)
    pyoci.await_status(container, "stopped")
    pyoci("delete", container)
    for image in (tmp_path / "images").glob("core-*.img"):
        image.write_bytes(b"damaged")
    said = pyoci.fails(
        "restore", "--bundle", path, "--image-path", tmp_path / "images", new_id(), timeout=120
    )
    assert "criu restore failed" in said
    assert os.listdir(pyoci.root) == []


@with_criu
def test_only_what_runs_can_be_written_down(pyoci: Runtime, sleeper: Path, tmp_path: Path) -> None:
    container = pyoci.create(sleeper)
    said = pyoci.fails("checkpoint", "--image-path", tmp_path / "images", container)
    assert "it is created, not running" in said


@with_criu
def test_images_of_others_are_refused(pyoci: Runtime, sleeper: Path, tmp_path: Path) -> None:
    assert "pyoci.json" in pyoci.fails("restore", "--bundle", sleeper, "--image-path", tmp_path, new_id())


@without_criu
@pytest.mark.parametrize("command", ["checkpoint", "restore"])
def test_without_criu_it_is_an_error(pyoci: Runtime, sleeper: Path, command: str) -> None:
    container = pyoci.launch(sleeper)
    target = container if command == "checkpoint" else new_id()
    flags = [] if command == "checkpoint" else ["--bundle", str(sleeper)]
    assert "criu isn't installed" in pyoci.fails(command, *flags, target)


@without_criu
def test_without_criu_its_help_fails(pyoci: Runtime) -> None:
    """That is how podman finds out."""
    for command in ("checkpoint", "restore"):
        done = pyoci.attempt(command, "--help")
        assert (done.code != 0, "usage" in done.stdout.lower()) == (True, True)
