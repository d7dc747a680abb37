"""pyoci.cgroups on this host's own hierarchies (v1, hybrid or v2), below a parent of its own."""

from __future__ import annotations

import ctypes
import errno
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pyoci.cgroups import layout, members, tree
from pyoci.errors import ConfigError, Error

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to make cgroups")

ROOT = f"/pyoci-test-{os.urandom(4).hex()}"
DENY_ALL = [{"allow": False, "access": "rwm"}]


@pytest.fixture(autouse=True)
def _nothing_stays() -> Iterator[None]:
    """Whatever a test leaves below ROOT is ended and removed."""
    yield
    found = layout.read()
    for base in [point for point, _ in found.hierarchies] + ([found.unified] if found.unified else []):
        for directory in reversed(tree.subtree(base + ROOT)):
            for freezer, thawed in (("freezer.state", "THAWED"), ("cgroup.freeze", "0")):
                if os.path.exists(f"{directory}/{freezer}"):
                    tree.put(f"{directory}/{freezer}", thawed)
            for _ in range(200):
                try:
                    os.rmdir(directory)
                    break
                except FileNotFoundError:
                    break
                except OSError:
                    for pid in Path(directory, "cgroup.procs").read_text().split():
                        os.kill(int(pid), signal.SIGKILL)
                    time.sleep(0.01)


@pytest.fixture
def cgroups() -> tree.Cgroups:
    """A container's cgroups, made."""
    made = tree.open_for(layout.read(), ROOT + "/web")
    made.create()
    return made


Spawn = Callable[..., "subprocess.Popen[bytes]"]


@pytest.fixture
def spawn(cgroups: tree.Cgroups) -> Iterator[Spawn]:
    """Runs a command inside of the container's cgroups."""
    started = []

    def join() -> None:
        for fd in cgroups.join_fds():
            os.write(fd, b"0")
        if cgroups.unified:
            tree.put(cgroups.unified.path + "/cgroup.procs", "0")

    def run(*command: str) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(command, preexec_fn=join)
        started.append(process)
        return process

    yield run
    for process in started:
        process.kill()
        process.wait()


def directories() -> list[str]:
    found = layout.read()
    bases = [point for point, _ in found.hierarchies] + ([found.unified] if found.unified else [])
    return [base + ROOT for base in bases if os.path.exists(base + ROOT)]


def needs(cgroups: tree.Cgroups, *controllers: str) -> None:
    for controller in controllers:
        if cgroups.mode == "v2":
            assert cgroups.unified
            available = controller in Path(cgroups.unified.base, "cgroup.controllers").read_text().split()
        else:
            available = cgroups.directory(controller) is not None
        if not available:
            pytest.skip(f"this host has no {controller} controller")


def test_what_is_made_is_removed_with_the_parents_that_were_made(cgroups: tree.Cgroups) -> None:
    assert len(directories()) == len(cgroups.groups)
    tree.from_record(cgroups.record()).remove()
    assert directories() == []


def test_a_new_v1_cpuset_can_take_tasks(cgroups: tree.Cgroups, spawn: Spawn) -> None:
    needs(cgroups, "cpuset")
    process = spawn("sleep", "60")
    assert cgroups.processes() == [process.pid]


def test_limits_read_back_as_they_were_asked_for(cgroups: tree.Cgroups) -> None:
    needs(cgroups, "memory", "pids", "cpu", "cpuset")
    cgroups.apply(
        {
            "memory": {"limit": 64 << 20, "reservation": 32 << 20},
            "pids": {"limit": 0},
            "cpu": {
                "shares": 1024,
                "quota": 50000,
                "period": 200000,
                "burst": 10000,
                "cpus": "0",
                "mems": "0",
            },
        }
    )
    expected = {
        "v2": {
            ("memory", "memory.max"): str(64 << 20),
            ("memory", "memory.low"): str(32 << 20),
            ("pids", "pids.max"): "0",
            ("cpu", "cpu.weight"): "100",
            ("cpu", "cpu.max"): "50000 200000",
            ("cpu", "cpu.max.burst"): "10000",
            ("cpuset", "cpuset.cpus"): "0",
        },
        "v1": {
            ("memory", "memory.limit_in_bytes"): str(64 << 20),
            ("memory", "memory.soft_limit_in_bytes"): str(32 << 20),
            ("pids", "pids.max"): "0",
            ("cpu", "cpu.shares"): "1024",
            ("cpu", "cpu.cfs_quota_us"): "50000",
            ("cpu", "cpu.cfs_period_us"): "200000",
            ("cpu", "cpu.cfs_burst_us"): "10000",
            ("cpuset", "cpuset.cpus"): "0",
        },
    }["v2" if cgroups.mode == "v2" else "v1"]
    assert {place: (cgroups.read(*place) or "").strip() for place in expected} == expected


def test_limits_that_bound_each_other_can_be_raised_lowered_and_lifted(cgroups: tree.Cgroups) -> None:
    needs(cgroups, "memory", "cpu")
    file = "memory.swap.max" if cgroups.mode == "v2" else "memory.memsw.limit_in_bytes"
    cgroups.apply({"memory": {"limit": 64 << 20}})
    if cgroups.read("memory", file) is None:
        pytest.skip("this kernel doesn't account for swap")
    for size in (64, 256, 16, 512):
        cgroups.apply({"memory": {"limit": size << 20, "swap": size << 20}})
        cgroups.apply({"cpu": {"quota": size * 1000, "burst": size * 1000}})
        limit = cgroups.read("memory", "memory.max") or cgroups.read("memory", "memory.limit_in_bytes")
        assert int(limit or 0) == size << 20
    cgroups.apply({"memory": {"limit": -1}, "cpu": {"quota": -1, "burst": 0}})
    cgroups.apply({"cpu": {"idle": 1}})
    cgroups.apply({"cpu": {"shares": 512, "idle": 0}})


def test_realtime_is_granted_to_our_parents_first(cgroups: tree.Cgroups) -> None:
    needs(cgroups, "cpu")
    if cgroups.read("cpu", "cpu.rt_runtime_us") is None:
        pytest.skip("this kernel has no realtime groups")
    cgroups.apply({"cpu": {"realtimeRuntime": 1000, "realtimePeriod": 500000}})
    assert cgroups.read("cpu", "cpu.rt_runtime_us") == "1000\n"
    neighbour = tree.open_for(layout.read(), ROOT + "/db")
    # As a container below the shared /pyoci would see it.
    neighbour.groups = [group for group in neighbour.groups if "cpu" in group.controllers]
    neighbour.groups[0].ancestors = [neighbour.groups[0].base + ROOT]
    neighbour.create()
    neighbour.apply({"cpu": {"realtimeRuntime": 1000, "realtimePeriod": 500000}})
    assert neighbour.read("cpu", "cpu.rt_runtime_us") == "1000\n"


def test_a_refused_limit_names_property_file_value_and_cause(cgroups: tree.Cgroups) -> None:
    needs(cgroups, "cpuset")
    with pytest.raises(ConfigError) as caught:
        cgroups.apply({"cpu": {"cpus": "4000"}})
    problem = caught.value.problems[0]
    assert problem.pointer == "/linux/resources/cpu/cpus"
    for part in ("'4000'", "/web/cpuset.cpus:", "CPU"):
        assert part in problem.message


def test_a_limit_below_the_usage_says_how_much_is_in_use(cgroups: tree.Cgroups, spawn: Spawn) -> None:
    needs(cgroups, "memory")
    if cgroups.mode == "v2":
        pytest.skip("cgroup v2 takes any limit, and reclaims or kills")
    process = spawn("python3", "-c", "x = b'x' * (20 << 20); import time; print(flush=True); time.sleep(60)")
    for _ in range(500):
        if int(cgroups.read("memory", "memory.usage_in_bytes") or 0) > 20 << 20:
            break
        time.sleep(0.01)
    tree.put(f"{cgroups.directory('memory')}/memory.swappiness", "0")
    with pytest.raises(ConfigError, match=r"more than that is in use: \d+ bytes \(EBUSY\)"):
        cgroups.apply({"memory": {"limit": 1 << 20}})
    assert process.poll() is None


@pytest.mark.parametrize("limit", [{"pids": {"limit": 5}}, {"memory": {"limit": 64 << 20}}])
def test_v2_says_that_a_parent_with_processes_can_not_share_out(limit: dict[str, dict[str, int]]) -> None:
    found = layout.read()
    if found.mode != "v2":
        pytest.skip("needs a host with pure cgroup v2")
    parent = f"{found.unified}{ROOT}"
    os.mkdir(parent)
    inside = subprocess.Popen(["sleep", "60"])
    try:
        tree.put(parent + "/cgroup.procs", str(inside.pid))
        cgroups = tree.open_for(found, ROOT + "/web")
        cgroups.create()
        with pytest.raises(ConfigError, match="it has processes of its own"):
            cgroups.apply(limit)
        assert Path(parent, "cgroup.subtree_control").read_text().strip() == ""
        cgroups.remove()
    finally:
        inside.kill()
        inside.wait()


def test_an_unknown_page_size_is_an_error(cgroups: tree.Cgroups) -> None:
    needs(cgroups, "hugetlb")
    with pytest.raises(ConfigError, match="this machine has"):
        cgroups.apply({"hugepageLimits": [{"pageSize": "3MB", "limit": 0}]})


def opens(cgroups: tree.Cgroups, spawn: Spawn, device: str) -> bool:
    return spawn("sh", "-c", f"exec 2>/dev/null; : < {device}").wait() == 0


def test_device_rules_hold_for_what_runs_inside(cgroups: tree.Cgroups, spawn: Spawn) -> None:
    needs(cgroups, *(() if cgroups.mode == "v2" else ("devices",)))
    assert opens(cgroups, spawn, "/dev/kmsg")
    cgroups.apply_devices(DENY_ALL)
    assert not opens(cgroups, spawn, "/dev/kmsg")
    for device in ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom"):
        assert opens(cgroups, spawn, device)


def bpf(command: int, attributes: bytes) -> int:
    """bpf(2); raises OSError."""
    libc = ctypes.CDLL(None, use_errno=True)
    buffer = ctypes.create_string_buffer(attributes.ljust(128, b"\0"), 128)
    number = {"x86_64": 321, "aarch64": 280}[os.uname().machine]
    result: int = libc.syscall(number, command, buffer, 128)
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


def attach_and_show_what_the_verifier_says(cgroup: int, program: bytes) -> None:
    instructions = ctypes.create_string_buffer(program, len(program))
    log = ctypes.create_string_buffer(1 << 24)
    licence = ctypes.create_string_buffer(b"Apache-2.0")

    def word(value: int, size: int) -> bytes:
        return value.to_bytes(size, "little")

    load = word(15, 4) + word(len(program) // 8, 4) + word(ctypes.addressof(instructions), 8)
    load += (
        word(ctypes.addressof(licence), 8) + word(1, 4) + word(1 << 24, 4) + word(ctypes.addressof(log), 8)
    )
    try:
        loaded = bpf(5, load)
    except OSError as error:
        if error.errno == 1:
            pytest.skip("bpf(2) isn't permitted here")
        raise AssertionError(log.value.decode()) from error
    bpf(8, word(cgroup, 4) + word(loaded, 4) + word(6, 4) + word(2, 4))
    os.close(loaded)


@pytest.mark.parametrize(
    "rules",
    [
        DENY_ALL,
        [*DENY_ALL, {"allow": True, "type": "c", "major": 1, "minor": 11, "access": "r"}],
        [
            {"allow": False, "type": "c", "access": "w"},
            {"allow": False, "type": "c", "major": 1, "minor": 11, "access": "w"},
        ],
        [*DENY_ALL, {"allow": True}],
        [*DENY_ALL, *({"allow": n % 3 == 0, "type": "b", "major": n, "access": "rm"} for n in range(300))],
    ],
)
def test_the_kernel_takes_the_device_filter_and_obeys_it(rules: list[dict[str, object]]) -> None:
    found = layout.read()
    if found.unified is None:
        pytest.skip("no cgroup v2 tree is mounted")
    cgroups = tree.open_for(layout.Layout("v2", [], found.unified), ROOT + "/filtered")
    cgroups.create()
    cgroups.apply_devices(rules, attach_and_show_what_the_verifier_says)
    assert cgroups.unified
    join = f"echo 0 > {cgroups.unified.path}/cgroup.procs; exec 2>/dev/null"
    script = f"{join}; : < /dev/zero || exit 9; : < /dev/kmsg"
    status = subprocess.run(["sh", "-c", script], check=False).returncode
    assert (status == 0) == (rules[0] != DENY_ALL[0] or len(rules) == 2)
    cgroups.remove()


def test_the_containers_cgroup_can_be_born_into(cgroups: tree.Cgroups) -> None:
    fd = cgroups.clone_into_fd()
    if fd is None:
        pytest.skip("no cgroup v2 tree is mounted")
    assert cgroups.unified
    assert os.path.samestat(os.fstat(fd), os.stat(cgroups.unified.path))
    assert not os.get_inheritable(fd)
    os.close(fd)


def test_kill_ends_everything_also_what_is_frozen_or_in_cgroups_below(
    cgroups: tree.Cgroups, spawn: Spawn
) -> None:
    processes = [spawn("sh", "-c", "while :; do sleep 0.01; done") for _ in range(3)]
    below = spawn("sleep", "60")
    for group in cgroups.groups:
        if "cpuset" not in group.controllers and group is not cgroups.unified:
            os.mkdir(group.path + "/below")
            tree.put(group.path + "/below/cgroup.procs", str(below.pid))
    assert below.pid in cgroups.processes()
    cgroups.freeze(True)
    assert cgroups.frozen()
    tree.from_record(cgroups.record()).kill()
    for process in [*processes, below]:
        assert process.wait(5) == -signal.SIGKILL
    cgroups.remove()
    assert directories() == []


def test_kill_without_a_v2_tree_ends_everything_too(spawn: Spawn, cgroups: tree.Cgroups) -> None:
    needs(cgroups, "freezer")
    if cgroups.mode == "v2":
        pytest.skip("this host has no v1 freezer")
    record = cgroups.record()
    record["mode"] = "v1"
    record["groups"] = [group for group in record["groups"] if group[1] != ["unified"]]
    bomb = spawn("sh", "-c", "while :; do sleep 0.1 & done")
    time.sleep(0.05)
    only_v1 = tree.from_record(record)
    only_v1.kill()
    assert bomb.wait(5) == -signal.SIGKILL
    deadline = time.monotonic() + 5
    while cgroups.processes() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert cgroups.processes() == []


def test_a_frozen_cgroup_stands_still_until_it_is_thawed(
    cgroups: tree.Cgroups, spawn: Spawn, tmp_path: Path
) -> None:
    beats = tmp_path / "beats"
    spawn("sh", "-c", f"while :; do echo >> {beats}; sleep 0.005; done")
    while not beats.exists():
        time.sleep(0.005)
    cgroups.freeze(True)
    before = beats.stat().st_size
    time.sleep(0.05)
    assert beats.stat().st_size == before
    cgroups.freeze(False)
    assert not cgroups.frozen()
    deadline = time.monotonic() + 5
    while beats.stat().st_size == before and time.monotonic() < deadline:
        time.sleep(0.005)
    assert beats.stat().st_size > before


def test_remove_waits_for_processes_that_are_about_to_end(cgroups: tree.Cgroups, spawn: Spawn) -> None:
    spawn("sleep", "0.1")
    cgroups.remove(timeout=5)
    assert directories() == []


def test_remove_names_what_stays_and_how_many_are_in_it(cgroups: tree.Cgroups, spawn: Spawn) -> None:
    spawn("sleep", "60")
    with pytest.raises(Error, match=r"/web.*EBUSY, 1 process\(es\)"):
        cgroups.remove(timeout=0.01)


def test_a_cgroup_in_use_is_refused_before_anything_is_written_down(
    cgroups: tree.Cgroups, spawn: Spawn
) -> None:
    spawn("sleep", "60")
    with pytest.raises(Error, match=r"container's cgroup is not empty: 1 process\(es\) found"):
        tree.open_for(layout.read(), ROOT + "/web")


def test_a_frozen_cgroup_is_refused_before_anything_is_written_down(cgroups: tree.Cgroups) -> None:
    cgroups.freeze(True)
    with pytest.raises(Error, match="unexpectedly frozen"):
        tree.open_for(layout.read(), ROOT + "/web")
    cgroups.freeze(False)


def test_containers_that_come_and_go_at_once_do_not_take_each_others_parent() -> None:
    found = layout.read()
    errors: list[BaseException] = []

    def life(number: int) -> None:
        try:
            for _ in range(20):
                cgroups = tree.open_for(found, f"{ROOT}/deep/web-{number}")
                cgroups.create()
                cgroups.remove()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=life, args=[number]) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []


@pytest.mark.parametrize("number", [errno.ENOENT, errno.ENODEV])
def test_a_cgroup_that_goes_while_its_processes_are_killed_is_fine(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, number: int
) -> None:
    """Under systemd an empty one goes of itself; a file that was opened before says ENODEV."""

    def gone(path: str, value: str) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(members, "put", gone)
    group = tree.Group(str(tmp_path), (tree.UNIFIED,), f"{tmp_path}/gone", False, [])
    tree.Cgroups("v2", "/gone", [group]).kill()
