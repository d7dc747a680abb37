"""The systemd driver for a user without root, by his own systemd: limits without privileges.

For such a user on a host with cgroup v2: `make test-vm` runs it as one who has all controllers delegated.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from conformance import host
from conformance.bundles import make_rootfs, merged
from conformance.fixtures import REPOSITORY
from conformance.runtime import Runtime, new_id

BUS = Path(os.environ.get("XDG_RUNTIME_DIR", "/nowhere")) / "bus"
pytestmark = pytest.mark.skipif(
    os.geteuid() == 0 or not BUS.exists(), reason="for a user other than root who has a systemd of his own"
)
MIB = 1 << 20
Make = Callable[..., Path]


@pytest.fixture
def pyoci(tmp_path: Path) -> Iterator[Runtime]:
    """pyoci in this user's hands; after the test nothing of its containers may be left."""
    root = tmp_path / "root"
    root.mkdir(mode=0o700)
    runtime = Runtime(REPOSITORY / ".venv/bin/pyoci", root)
    runtime.command += ["--systemd-cgroup"] * ("--systemd-cgroup" not in runtime.command)
    before = host.cgroups()
    try:
        yield runtime
    finally:
        runtime.remove_all()
    deadline = time.monotonic() + 5
    while left := [*(host.cgroups() - before), *units()]:
        assert time.monotonic() < deadline, f"left behind: {left}"
        time.sleep(0.05)


@pytest.fixture
def bundle(tmp_path: Path, pyoci: Runtime) -> Make:
    """`spec --rootless`, without its terminal, and changed."""

    def make(**changes: Any) -> Path:
        path = tmp_path / f"bundle-{len(list(tmp_path.iterdir()))}"
        path.mkdir()
        make_rootfs(path / "rootfs")
        pyoci("spec", "--rootless", "--bundle", path)
        document = json.loads((path / "config.json").read_text())
        wanted = {"process": {"terminal": False, "args": ["sleep", "1000"]}}
        (path / "config.json").write_text(json.dumps(merged(merged(document, wanted), changes)))
        return path

    return make


def systemctl(*arguments: str) -> str:
    return subprocess.run(
        ["systemctl", "--user", *arguments], capture_output=True, text=True, check=True
    ).stdout


def units() -> list[str]:
    """What this user's systemd knows of our containers, failed units too."""
    listed = systemctl("list-units", "--all", "--plain", "--no-legend", f"*{host.TAG}*")
    return [line.split()[0] for line in listed.splitlines()]


def own_cgroup(pid: int) -> Path:
    return host.cgroup_of(pid, "memory")


def test_a_limit_needs_no_privilege(pyoci: Runtime, bundle: Make) -> None:
    resources = {
        "memory": {"limit": 64 * MIB},
        "cpu": {"quota": 25_000, "period": 50_000, "cpus": "0"},
        "pids": {"limit": 33},
    }
    container = pyoci.launch(bundle(linux={"resources": resources}))
    directory = own_cgroup(pyoci.pid(container))
    assert directory.name == f"pyoci-{container}.scope"
    assert directory.parent.name == "user.slice"
    expected = {
        "memory.max": str(64 * MIB),
        "cpu.max": "25000 50000",
        "cpuset.cpus": "0",
        "pids.max": "33",
    }
    assert {name: (directory / name).read_text().strip() for name in expected} == expected
    assert systemctl("show", directory.name, "-p", "TasksMax", "--value").strip() == "33"
    pyoci.finish(container)


def test_the_limit_holds(pyoci: Runtime, bundle: Make) -> None:
    script = "for n in 1 2 3 4 5 6 7 8; do sleep 1 & done; wait"
    here = bundle(process={"args": ["sh", "-c", script]}, linux={"resources": {"pids": {"limit": 4}}})
    assert "can't fork" in pyoci.run(here).stderr


def test_the_slice_is_the_configs(pyoci: Runtime, bundle: Make) -> None:
    container = pyoci.launch(bundle(linux={"cgroupsPath": f"app.slice:x:{host.TAG}"}))
    directory = own_cgroup(pyoci.pid(container))
    assert (directory.parent.name, directory.name) == ("app.slice", f"x-{host.TAG}.scope")


def test_device_rules_are_no_obstacle(pyoci: Runtime, bundle: Make) -> None:
    """Engines always give some; a user can't load the filter, and can't make devices either."""
    resources = {"devices": [{"allow": False, "access": "rwm"}]}
    here = bundle(
        process={"args": ["sh", "-c", "echo fine >/dev/null && echo fine"]}, linux={"resources": resources}
    )
    assert pyoci.run(here).stdout == "fine\n"


def test_kill_all_reaches_the_whole_scope(pyoci: Runtime, bundle: Make) -> None:
    container = pyoci.launch(bundle(process={"args": ["sh", "-c", "sleep 1000 & sleep 1000"]}))
    pyoci("kill", "--all", container, "KILL")
    pyoci.await_status(container, "stopped")
    pyoci("delete", container)


def test_a_create_that_fails_leaves_nothing(pyoci: Runtime, bundle: Make) -> None:
    pyoci.fails(
        "create", "--bundle", bundle(hooks={"createContainer": [{"path": "/no/such/hook"}]}), new_id()
    )
    pyoci.fails("create", "--bundle", bundle(hooks={"createRuntime": [{"path": "/bin/false"}]}), new_id())


def test_root_of_a_user_namespace_is_still_this_user_to_systemd(pyoci: Runtime, bundle: Make) -> None:
    root = [{"containerID": 0, "hostID": 0, "size": 1}]
    here = bundle(linux={"uidMappings": root, "gidMappings": root, "resources": {"pids": {"limit": 33}}})
    plain = pyoci.command
    pyoci.command = ["unshare", "--user", "--map-root-user", *plain]
    try:
        container = pyoci.launch(here)
        pid = pyoci.pid(container)
        assert (own_cgroup(pid) / "pids.max").read_text() == "33\n"
        pyoci("delete", "--force", container)
    finally:
        pyoci.command = plain


def test_without_the_bus_the_error_says_what_to_do(pyoci: Runtime, bundle: Make) -> None:
    said = pyoci.fails("create", "--bundle", bundle(), new_id(), env={"PATH": os.environ["PATH"]})
    assert "DBUS_SESSION_BUS_ADDRESS" in said
    assert "enable-linger" in said


def test_twenty_at_once_leave_nothing(pyoci: Runtime, bundle: Make) -> None:
    here = bundle()
    names = [new_id() for _ in range(20)]
    racing = [
        pyoci.popen("run", "--detach", "--bundle", here, name, stdout=subprocess.DEVNULL) for name in names
    ]
    assert [process.wait(120) for process in racing] == [0] * 20
    racing = [pyoci.popen("delete", "--force", name) for name in names]
    assert [process.wait(120) for process in racing] == [0] * 20
    assert units() == []
