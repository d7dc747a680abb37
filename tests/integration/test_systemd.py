"""The systemd driver: what systemd knows of a container, and that nothing of it stays.

For a host with systemd: `make test-vm`. The whole suite goes by this driver with RUNTIME_FLAGS=--systemd-cgroup.
"""

from __future__ import annotations

import json
import os
import random
import signal
import statistics
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from conformance import host
from conformance.bundles import namespaces
from conformance.fixtures import MakeBundle
from conformance.runtime import SYSTEMD, Runtime, new_id
from pyoci.cgroups import tree

from .test_leaks import timed_create

pytestmark = pytest.mark.skipif(
    not Path("/run/systemd/system").is_dir(), reason="this host is not run by systemd"
)
MIB = 1 << 20
LIMITS: dict[str, Any] = {
    "memory": {"limit": 64 * MIB, "reservation": 32 * MIB, "swap": 96 * MIB},
    "cpu": {"shares": 2048, "quota": 33_333, "period": 50_000, "cpus": "0", "mems": "0"},
    "pids": {"limit": 77},
    "blockIO": {"weight": 500},
    "unified": {"memory.high": str(48 * MIB)},
}
KNOWN = {
    "MemoryMax": str(64 * MIB),
    "MemoryLow": str(32 * MIB),
    "MemorySwapMax": str(32 * MIB),
    "MemoryHigh": str(48 * MIB),
    "CPUWeight": "174",
    "CPUQuotaPerSecUSec": "670ms",
    "CPUQuotaPeriodUSec": "50ms",
    "AllowedCPUs": "0",
    "AllowedMemoryNodes": "0",
    "TasksMax": "77",
    "IOWeight": "4950",
}
WRITTEN = {
    "memory.max": str(64 * MIB),
    "memory.low": str(32 * MIB),
    "memory.swap.max": str(32 * MIB),
    "memory.high": str(48 * MIB),
    "cpu.weight": "174",
    # systemd rounds; what was asked for is exact.
    "cpu.max": "33333 50000",
    "cpuset.cpus": "0",
    "pids.max": "77",
    "io.weight": "default 4950",
}


@pytest.fixture
def pyoci(pyoci: Runtime) -> Runtime:
    """pyoci with the systemd driver."""
    if not SYSTEMD:
        pyoci.command.append("--systemd-cgroup")
    return pyoci


def show(unit: str, *names: str) -> dict[str, str]:
    """Properties of a unit."""
    command = ["systemctl", "show", unit, "--property", ",".join(names or ("LoadState",))]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return dict(line.partition("=")[::2] for line in text.splitlines())


def cgroup(pid: int) -> str:
    return next(
        line[3:] for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines() if line[:3] == "0::"
    )


def await_no_unit(unit: str) -> None:
    """systemd forgets a unit a moment after its end."""
    deadline = time.monotonic() + 10
    while show(unit)["LoadState"] != "not-found":
        assert time.monotonic() < deadline, show(unit, "ActiveState", "SubState", "Result")
        time.sleep(0.05)


def test_a_container_is_a_scope(pyoci: Runtime, sleeper: Path) -> None:
    container = pyoci.launch(sleeper)
    unit, pid = f"pyoci-{container}.scope", pyoci.pid(container)
    assert cgroup(pid) == f"/system.slice/{unit}"
    shown = show(unit, "Description", "Slice", "ActiveState", "Delegate", "MemoryAccounting", "ControlGroup")
    assert shown == {
        "Description": f"pyoci container {container}",
        "Slice": "system.slice",
        "ActiveState": "active",
        "Delegate": "yes",
        "MemoryAccounting": "yes",
        "ControlGroup": f"/system.slice/{unit}",
    }
    pyoci.finish(container)
    await_no_unit(unit)


@pytest.mark.parametrize(
    ("path", "place"),
    [
        ("machine.slice:libpod:{0}", "/machine.slice/libpod-{0}.scope"),
        ("-.slice:x:{0}", "/x-{0}.scope"),
        ("pyocitest-a.slice::{0}", "/pyocitest.slice/pyocitest-a.slice/{0}.scope"),
    ],
)
def test_the_path_names_the_slice_and_the_scope(
    pyoci: Runtime, bundle: MakeBundle, path: str, place: str
) -> None:
    here = bundle(process={"args": ["sleep", "1000"]}, linux={"cgroupsPath": path.format(host.TAG)})
    try:
        container = pyoci.launch(here)
        assert cgroup(pyoci.pid(container)) == place.format(host.TAG)
        pyoci.finish(container)
    finally:
        # A slice outlives what was in it.
        subprocess.run(["systemctl", "stop", "pyocitest-a.slice", "pyocitest.slice"], capture_output=True)


def test_a_path_can_name_a_slice_of_its_own(pyoci: Runtime, bundle: MakeBundle) -> None:
    name = host.TAG.replace("-", "_") + ".slice"
    here = bundle(
        process={"args": ["sleep", "1000"]}, linux={"cgroupsPath": f"-.slice::{name}", "resources": LIMITS}
    )
    container = pyoci.launch(here)
    assert cgroup(pyoci.pid(container)) == f"/{name}"
    assert show(name, "TasksMax", "ActiveState") == {"TasksMax": "77", "ActiveState": "active"}
    pyoci.finish(container)
    # systemd says "loaded" of any slice that it is asked about; `finish` and the leak check look for its file.
    assert show(name, "TasksMax", "ActiveState")["ActiveState"] == "inactive"
    assert not (host.CGROUPS / name).exists()
    assert not (host.UNITS / name).exists()


def test_systemd_and_the_kernel_know_every_limit(pyoci: Runtime, bundle: MakeBundle) -> None:
    container = pyoci.launch(bundle(process={"args": ["sleep", "1000"]}, linux={"resources": LIMITS}))
    assert show(f"pyoci-{container}.scope", *KNOWN) == KNOWN
    directory = host.CGROUPS / cgroup(pyoci.pid(container))[1:]
    files = {name: value for name, value in WRITTEN.items() if (directory / name).exists()}
    assert {name: (directory / name).read_text().strip() for name in files} == files
    assert files.keys() >= {"memory.max", "cpu.max", "cpuset.cpus", "pids.max"}


def test_limits_can_be_changed_later_in_both(pyoci: Runtime, sleeper: Path) -> None:
    container = pyoci.launch(sleeper)
    record = json.loads((pyoci.root / container / "state.json").read_text())["cgroups"]
    groups = tree.from_record(record)
    groups.apply({"pids": {"limit": 55}, "cpu": {"quota": 33_333, "period": 50_000}})
    groups.close()
    unit = f"pyoci-{container}.scope"
    assert show(unit, "TasksMax", "CPUQuotaPerSecUSec") == {"TasksMax": "55", "CPUQuotaPerSecUSec": "670ms"}
    assert groups.read("pids", "pids.max") == "55\n"
    assert groups.read("cpu", "cpu.max") == "33333 50000\n"


def test_a_reload_of_systemd_keeps_the_limits(pyoci: Runtime, bundle: MakeBundle) -> None:
    resources = {"memory": {"limit": 64 * MIB}, "blockIO": {"weight": 500}}
    here = bundle(process={"args": ["sleep", "1000"]}, linux={"resources": resources})
    directory = host.CGROUPS / cgroup(pyoci.pid(pyoci.launch(here)))[1:]
    subprocess.run(["systemctl", "daemon-reload"], check=True)
    assert (directory / "memory.max").read_text().strip() == str(64 * MIB)
    if (directory / "io.weight").exists():
        assert (directory / "io.weight").read_text().strip() == "default 4950"


def test_annotations_set_properties(pyoci: Runtime, bundle: MakeBundle) -> None:
    annotations = {
        "org.systemd.property.TimeoutStopSec": "7",
        "org.systemd.property.Description": "'of the test'",
        "org.systemd.property.RequiresMountsFor": "['/tmp']",
    }
    container = pyoci.launch(bundle(process={"args": ["sleep", "1000"]}, annotations=annotations))
    shown = show(f"pyoci-{container}.scope", "TimeoutStopUSec", "Description", "RequiresMountsFor")
    assert shown["TimeoutStopUSec"] == "7s"
    assert shown["Description"] == "of the test"
    assert shown["RequiresMountsFor"].startswith("/tmp")


@pytest.mark.parametrize(("name", "value"), [("NoSuchThing", "1"), ("TimeoutStopUSec", "'soon'")])
def test_an_annotation_that_systemd_refuses_is_an_error_that_leaves_nothing(
    pyoci: Runtime, bundle: MakeBundle, name: str, value: str
) -> None:
    here = bundle(process={"args": ["sleep", "1000"]}, annotations={f"org.systemd.property.{name}": value})
    container = new_id()
    assert "systemd refuses" in pyoci.fails("create", "--bundle", here, container)
    pyoci.fails("state", container)
    await_no_unit(f"pyoci-{container}.scope")


def test_a_unit_that_is_there_already_is_an_error_and_stays(pyoci: Runtime, bundle: MakeBundle) -> None:
    linux = {"cgroupsPath": f"system.slice::{host.TAG}-taken"}
    unit = f"{host.TAG}-taken.scope"
    stranger = subprocess.Popen(["systemd-run", "--quiet", "--scope", f"--unit={unit}", "sleep", "1000"])
    try:
        deadline = time.monotonic() + 20
        while show(unit, "ActiveState")["ActiveState"] != "active":
            assert time.monotonic() < deadline
        container = new_id()
        here = bundle(process={"args": ["sleep", "1000"]}, linux=linux)
        assert unit in pyoci.fails("create", "--bundle", here, container)
        pyoci("delete", "--force", container)
        assert show(unit, "ActiveState") == {"ActiveState": "active"}
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()
        await_no_unit(unit)


def test_two_containers_with_one_path_do_not_end_each_other(pyoci: Runtime, bundle: MakeBundle) -> None:
    """However close to each other they begin."""
    here = bundle(process={"args": ["sleep", "1000"]}, linux={"cgroupsPath": f"system.slice::{host.TAG}-one"})
    for _ in range(5):
        names = [new_id() for _ in range(3)]
        racing = [pyoci.popen("create", "--bundle", here, name, stderr=subprocess.DEVNULL) for name in names]
        codes = [process.wait(60) for process in racing]
        assert codes.count(0) == 1
        winner = names[codes.index(0)]
        assert pyoci.state(winner)["status"] == "created"
        pyoci("start", winner)
        pyoci.finish(winner)


def test_a_create_that_fails_late_leaves_nothing(pyoci: Runtime, bundle: MakeBundle) -> None:
    hook = {"path": "/bin/false"}
    for changes in ({"hooks": {"createRuntime": [hook]}}, {"hooks": {"createContainer": [hook]}}):
        container = new_id()
        pyoci.fails("create", "--bundle", bundle(process={"args": ["sleep", "1"]}, **changes), container)
        await_no_unit(f"pyoci-{container}.scope")
        assert not (host.CGROUPS / f"system.slice/pyoci-{container}.scope").exists()


def test_a_create_that_fails_before_it_has_a_cgroup_leaves_nothing(
    pyoci: Runtime, bundle: MakeBundle
) -> None:
    mounts = [{"destination": "/x", "type": "bind", "source": "/no/such/source", "options": ["bind"]}]
    container = new_id()
    pyoci.fails("create", "--bundle", bundle(process={"args": ["true"]}, mounts=mounts), container)
    await_no_unit(f"pyoci-{container}.scope")


def test_a_hook_of_the_host_finds_the_container_in_its_scope(
    pyoci: Runtime, bundle: MakeBundle, tmp_path: Path
) -> None:
    script = f"""pid=$(sed 's/.*"pid": *\\([0-9]*\\).*/\\1/'); cat /proc/$pid/cgroup >{tmp_path}/seen"""
    hooks = {"createRuntime": [{"path": "/bin/sh", "args": ["sh", "-c", script]}]}
    container = pyoci.launch(bundle(process={"args": ["sleep", "1000"]}, hooks=hooks))
    assert f"/system.slice/pyoci-{container}.scope" in (tmp_path / "seen").read_text()


@pytest.mark.parametrize("user", [False, True])
def test_the_scope_is_the_root_of_the_containers_cgroup_namespace(
    pyoci: Runtime, reachable: MakeBundle, user: bool
) -> None:
    linux: dict[str, Any] = {}
    if user:
        mappings = [{"containerID": 0, "hostID": 100000, "size": 65536}]
        linux = {
            "namespaces": [*namespaces(), {"type": "user"}],
            "uidMappings": mappings,
            "gidMappings": mappings,
        }
    here = reachable(process={"args": ["cat", "/proc/self/cgroup"]}, linux=linux)
    assert pyoci.output(here) == "0::/\n"


def test_a_container_that_ran_out_of_memory_leaves_no_failed_unit(pyoci: Runtime, bundle: MakeBundle) -> None:
    resources = {"memory": {"limit": 8 * MIB, "swap": 8 * MIB}}
    here = bundle(process={"args": ["sh", "-c", "tail /dev/zero"]}, linux={"resources": resources})
    container = pyoci.launch(here)
    pyoci.await_status(container, "stopped")
    pyoci("delete", container)
    await_no_unit(f"pyoci-{container}.scope")


def test_even_if_failed_units_are_to_stay_delete_takes_it_away(pyoci: Runtime, bundle: MakeBundle) -> None:
    annotations = {"org.systemd.property.CollectMode": "'inactive'"}
    resources = {"memory": {"limit": 8 * MIB, "swap": 8 * MIB}}
    here = bundle(
        process={"args": ["sh", "-c", "tail /dev/zero"]},
        linux={"resources": resources},
        annotations=annotations,
    )
    container = pyoci.launch(here)
    pyoci.await_status(container, "stopped")
    pyoci("delete", container)
    await_no_unit(f"pyoci-{container}.scope")


def test_delete_by_force_takes_processes_below_the_scope_along(pyoci: Runtime, bundle: MakeBundle) -> None:
    container = pyoci.launch(
        bundle(
            process={"args": ["sh", "-c", "sleep 1000 & sleep 1000"]}, linux={"namespaces": namespaces("pid")}
        )
    )
    pid = pyoci.pid(container)
    directory = host.CGROUPS / cgroup(pid)[1:]
    (directory / "below").mkdir()
    (directory / "below/cgroup.procs").write_text(str(pid))
    pyoci("delete", "--force", container)
    assert not directory.exists()
    await_no_unit(f"pyoci-{container}.scope")


def test_a_hundred_at_once_leave_nothing(pyoci: Runtime, sleeper: Path) -> None:
    def live(container: str) -> None:
        pyoci("run", "--detach", "--bundle", sleeper, container, timeout=300)
        pyoci("delete", "--force", container, timeout=300)

    names = [new_id() for _ in range(100)]
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(live, names))
    for name in names:
        assert not (host.CGROUPS / f"system.slice/pyoci-{name}.scope").exists()
    listed = subprocess.run(
        ["systemctl", "list-units", "--all", "--plain", "--no-legend", f"pyoci-{host.TAG}*"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert listed == ""


def test_a_create_that_was_killed_leaves_nothing_after_delete_by_force(pyoci: Runtime, sleeper: Path) -> None:
    usual = statistics.median(timed_create(pyoci, sleeper) for _ in range(5))
    chance = random.Random(1)
    cycles = int(os.environ.get("PYOCI_TEST_CYCLES", "40"))
    for _ in range(cycles):
        container = new_id()
        victim = pyoci.popen("create", "--bundle", sleeper, container, stdout=subprocess.DEVNULL)
        time.sleep(chance.uniform(0.3, 1.2) * usual)
        victim.send_signal(signal.SIGKILL)
        victim.wait(30)
        pyoci("delete", "--force", container)
        await_no_unit(f"pyoci-{container}.scope")
        assert not (host.CGROUPS / f"system.slice/pyoci-{container}.scope").exists()


def test_on_a_host_without_systemd_the_driver_says_so(pyoci: Runtime, sleeper: Path) -> None:
    """As in a container that sees /run/systemd/system hidden."""
    command = ["unshare", "--mount", "sh", "-c", 'mount -t tmpfs none /run/systemd && exec "$@"', "sh"]
    done = subprocess.run(
        [*command, *pyoci.command, "create", "--bundle", str(sleeper), new_id()],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 1
    assert "not run by systemd" in done.stderr


def test_a_user_whose_shell_is_not_delegated_is_moved_by_systemd(
    runtime_file: Path, reachable: MakeBundle
) -> None:
    """As in a login's session: the init is born where the user may not write, and only systemd can move it from there."""
    user = 1000
    runtime_directory = Path(f"/run/user/{user}")
    if not (runtime_directory / "bus").exists():
        pytest.skip(f"user {user} has no systemd running")
    identity = {"containerID": 0, "hostID": user, "size": 1}
    linux = {
        "namespaces": [*namespaces(), {"type": "user"}],
        "uidMappings": [identity],
        "gidMappings": [identity],
        "resources": {"pids": {"limit": 33}},
    }
    # No more mounts than a user with one id can make.
    mounts = [{"destination": "/proc", "type": "proc", "source": "proc"}]
    here = reachable(process={"args": ["cat", "/proc/self/cgroup"]}, mounts=mounts, linux=linux)
    subprocess.run(["chown", "-R", f"{user}:{user}", here], check=True)
    command = [str(runtime_file), "--systemd-cgroup", "run", "--bundle", str(here), new_id()]
    done = subprocess.run(
        command, user=user, group=user, extra_groups=[], cwd="/", capture_output=True, text=True,
        env={"PATH": os.environ["PATH"], "XDG_RUNTIME_DIR": str(runtime_directory)}, timeout=60,
    )  # fmt: skip
    assert (done.stdout, done.stderr) == ("0::/\n", ""), done
