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
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from conformance import host
from conformance.bundles import namespaces
from conformance.fixtures import MakeBundle
from conformance.runtime import SYSTEMD, Runtime, new_id
from pyoci.cgroups import tree
from pyoci.cgroups.journal import Journal

from . import test_device_rules as device_rules
from .test_leaks import timed_create

pytestmark = pytest.mark.skipif(
    not Path("/run/systemd/system").is_dir(), reason="this host is not run by systemd"
)
MIB = 1 << 20
HIERARCHIES = (
    [host.CGROUPS] if host.V2 else [path for path in host.CGROUPS.iterdir() if not path.is_symlink()]
)
LIMITS: dict[str, Any] = {
    "memory": {"limit": 64 * MIB, "reservation": 32 * MIB, "swap": 96 * MIB},
    "cpu": {"shares": 2048, "quota": 33_333, "period": 50_000, "cpus": "0", "mems": "0"},
    "pids": {"limit": 77},
}
if host.V2:
    LIMITS["unified"] = {"memory.high": str(48 * MIB)}
if host.V2 or Path("/sys/module/bfq").is_dir():  # which v1 needs for weights
    LIMITS["blockIO"] = {"weight": 500}
# What systemd says of them, and what the kernel.
KNOWN = {"CPUQuotaPerSecUSec": "670ms", "CPUQuotaPeriodUSec": "50ms", "TasksMax": "77"} | (
    {
        "MemoryMax": str(64 * MIB),
        "MemoryLow": str(32 * MIB),
        "MemorySwapMax": str(32 * MIB),
        "MemoryHigh": str(48 * MIB),
        "CPUWeight": "174",
        "AllowedCPUs": "0",
        "AllowedMemoryNodes": "0",
        "IOWeight": "4950",
    }
    if host.V2
    else {"MemoryLimit": str(64 * MIB), "CPUShares": "2048"}
    | ({"BlockIOWeight": "500"} if "blockIO" in LIMITS else {})
)
WRITTEN = {("cpuset", "cpuset.cpus"): "0", ("pids", "pids.max"): "77"} | (
    {
        ("memory", "memory.max"): str(64 * MIB),
        ("memory", "memory.low"): str(32 * MIB),
        ("memory", "memory.swap.max"): str(32 * MIB),
        ("memory", "memory.high"): str(48 * MIB),
        ("cpu", "cpu.weight"): "174",
        ("cpu", "cpu.max"): "33333 50000",
        ("io", "io.weight"): "default 4950",
    }
    if host.V2
    else {
        ("memory", "memory.limit_in_bytes"): str(64 * MIB),
        ("memory", "memory.soft_limit_in_bytes"): str(32 * MIB),
        ("memory", "memory.memsw.limit_in_bytes"): str(96 * MIB),
        ("cpu", "cpu.shares"): "2048",
        ("cpu", "cpu.cfs_quota_us"): "33333",
        ("cpu", "cpu.cfs_period_us"): "50000",
        ("blkio", "blkio.bfq.weight"): "500",
    }
)
# What systemd writes again is a whole percent; and 181 at most of v1's weights, whatever its unit says. On v1 it does so
# whenever a neighbour comes or goes.
ROUNDED = {"cpu.max", "cpu.cfs_quota_us", "blkio.bfq.weight"}
KEPT = {key: value for key, value in WRITTEN.items() if key[1] not in ROUNDED}
# The kernel may lack these: swap accounting, the I/O controllers of weights.
OPTIONAL = {"memory.swap.max", "memory.memsw.limit_in_bytes", "io.weight", "blkio.bfq.weight"}


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
    """Where systemd has put a process."""
    lines = [line.split(":", 2) for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines()]
    return next(path for _, controllers, path in lines if controllers in ("", "name=systemd"))


def anywhere(path: str) -> list[Path]:
    """A cgroup's directories, in whichever hierarchies."""
    return [base / path for base in HIERARCHIES if (base / path).exists()]


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
    assert not anywhere(name)
    assert not (host.UNITS / name).exists()


def test_systemd_and_the_kernel_know_every_limit(pyoci: Runtime, bundle: MakeBundle) -> None:
    container = pyoci.launch(bundle(process={"args": ["sleep", "1000"]}, linux={"resources": LIMITS}))
    assert show(f"pyoci-{container}.scope", *KNOWN) == KNOWN
    files = WRITTEN if host.V2 else KEPT
    assert written(pyoci.pid(container), files) == files


def written(pid: int, files: dict[tuple[str, str], str]) -> dict[tuple[str, str], str]:
    """What the files of a process's cgroups say; what this kernel may lack is as it should be."""
    found = {}
    for (controller, name), wanted in files.items():
        file = host.cgroup_of(pid, controller) / name
        lacking = name in OPTIONAL and not file.exists()
        found[controller, name] = wanted if lacking else file.read_text().strip()
    return found


def test_limits_can_be_changed_later_in_both(pyoci: Runtime, sleeper: Path) -> None:
    container = pyoci.launch(sleeper)
    flags = ["--pids-limit", "77", "--cpu-quota", "33333", "--cpu-period", "50000", "--memory", "64m"]
    pyoci("update", *flags, container)
    names = ("TasksMax", "CPUQuotaPerSecUSec", "MemoryMax" if host.V2 else "MemoryLimit")
    assert show(f"pyoci-{container}.scope", *names) == {name: KNOWN[name] for name in names}
    files = {
        (controller, name): value
        for (controller, name), value in (WRITTEN if host.V2 else KEPT).items()
        if name in ("pids.max", "cpu.max", "memory.max", "memory.limit_in_bytes")
    }
    assert written(pyoci.pid(container), files) == files


def test_an_update_that_fails_later_is_taken_back_in_both(pyoci: Runtime, bundle: MakeBundle) -> None:
    """systemd would write what it has been told at its next reload."""
    container = pyoci.launch(bundle(process={"args": ["sleep", "1000"]}, linux={"resources": LIMITS}))
    unit, pid = f"pyoci-{container}.scope", pyoci.pid(container)
    groups = tree.from_record(json.loads((pyoci.root / container / "state.json").read_text())["cgroups"])
    files = WRITTEN if host.V2 else KEPT
    change = {"pids": {"limit": 50}, "cpu": {"quota": 20000, "period": 100000, "shares": 300}}
    with suppress(ZeroDivisionError), Journal() as journal:
        groups.update(change, journal)
        assert show(unit, "TasksMax") == {"TasksMax": "50"}
        assert written(pid, files) != files
        raise ZeroDivisionError
    groups.close()
    assert show(unit, *KNOWN) == KNOWN
    assert written(pid, files) == files


@pytest.mark.parametrize("what", ["a reload of systemd", "an update", "a neighbour's change"])
def test_limits_and_device_rules_survive(pyoci: Runtime, bundle: MakeBundle, what: str) -> None:
    """systemd writes whatever it knows again, and of what it doesn't know the default."""
    rules = device_rules.RULES["one"]
    here = device_rules.container(bundle, rules, LIMITS)
    container = pyoci.launch(here)
    device_rules.await_permitted(here, device_rules.said(rules))
    if what == "a reload of systemd":
        subprocess.run(["systemctl", "daemon-reload"], check=True)
    elif what == "an update":
        pyoci("update", "--cpu-share", "2048", container)
    else:
        pyoci.finish(pyoci.launch(bundle(process={"args": ["sleep", "1000"]}, linux={"resources": LIMITS})))
    assert written(pyoci.pid(container), KEPT) == KEPT
    time.sleep(0.5)  # what the program has found before
    device_rules.await_permitted(here, device_rules.said(rules))


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


def test_a_create_that_fails_late_leaves_nothing(pyoci: Runtime, bundle: MakeBundle) -> None:
    hook = {"path": "/bin/false"}
    for changes in ({"hooks": {"createRuntime": [hook]}}, {"hooks": {"createContainer": [hook]}}):
        container = new_id()
        pyoci.fails("create", "--bundle", bundle(process={"args": ["sleep", "1"]}, **changes), container)
        await_no_unit(f"pyoci-{container}.scope")
        assert not anywhere(f"system.slice/pyoci-{container}.scope")


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
    paths = {line.split(":", 2)[2] for line in pyoci.output(here).splitlines()}
    assert paths == {"/"}


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
    directory = host.cgroup_of(pid, "freezer")  # on v2 the only one
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
        assert not anywhere(f"system.slice/pyoci-{name}.scope")
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
        assert not anywhere(f"system.slice/pyoci-{container}.scope")


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


@pytest.mark.skipif(not host.V2, reason="cgroup v1 can't be given to a user")
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
