"""How the kernel serves the program: scheduler, ioPriority, memoryPolicy, personality; config.md, "Linux Process",
config-linux.md, "Memory policy", "Personality". What is set is asked of the kernel, by the container's pid."""

from __future__ import annotations

import ctypes
import os
import platform
import struct
from pathlib import Path
from typing import Any

import pytest

from .fixtures import MakeBundle
from .runtime import Runtime, new_id

SLEEP = {"args": ["sleep", "1000"]}
NUMBERS = {
    "x86_64": {"sched_getattr": 315, "ioprio_get": 252},
    "aarch64": {"sched_getattr": 275, "ioprio_get": 31},
}
POLICIES = {
    "SCHED_OTHER": 0,
    "SCHED_FIFO": 1,
    "SCHED_RR": 2,
    "SCHED_BATCH": 3,
    "SCHED_IDLE": 5,
    "SCHED_DEADLINE": 6,
}
FLAGS = {"SCHED_FLAG_RESET_ON_FORK": 1, "SCHED_FLAG_RECLAIM": 2, "SCHED_FLAG_DL_OVERRUN": 4}
TOO_OLD = "is too old to know it"
BALANCES = Path("/proc/sys/kernel/numa_balancing").exists()
ONE_NODE = not Path("/sys/devices/system/node/node1").exists()

new_property = pytest.mark.peers_differ(crun=TOO_OLD, runc=TOO_OLD)


def system_call(name: str, *arguments: Any) -> int:
    """A system call that Python has no function for. Raises OSError."""
    numbers = NUMBERS.get(platform.machine())
    if numbers is None:
        pytest.skip(f"the tests don't know the number of {name} on {platform.machine()}")
    libc = ctypes.CDLL(None, use_errno=True)
    result: int = libc.syscall(ctypes.c_long(numbers[name]), *arguments)
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


def scheduling(pid: int) -> dict[str, int]:
    """What sched_getattr(2) says of a process."""
    buffer = ctypes.create_string_buffer(56)
    system_call("sched_getattr", pid, buffer, 56, 0)
    _, policy, flags, nice, priority, runtime, deadline, period = struct.unpack_from("=IIQiIQQQ", buffer)
    if policy != POLICIES["SCHED_DEADLINE"]:
        runtime = 0  # of others it is the length of their slice, since Linux 6.12
    return {
        "policy": policy,
        "flags": flags & 7,
        "nice": nice,
        "priority": priority,
        "runtime": runtime,
        "deadline": deadline,
        "period": period,
    }


def expected(scheduler: dict[str, Any]) -> dict[str, int]:
    flags = sum(FLAGS[name] for name in scheduler.get("flags", []))
    rest = {name: scheduler.get(name, 0) for name in ("nice", "priority", "runtime", "deadline", "period")}
    return {"policy": POLICIES[scheduler["policy"]], "flags": flags, **rest}


@pytest.mark.shows("process.scheduler")
@pytest.mark.parametrize(
    "scheduler",
    [
        {"policy": "SCHED_OTHER", "nice": 19},
        {"policy": "SCHED_OTHER", "nice": -20},
        {"policy": "SCHED_OTHER", "flags": ["SCHED_FLAG_RESET_ON_FORK"]},
        {"policy": "SCHED_BATCH", "nice": 5},
        {"policy": "SCHED_IDLE"},
    ],
)
@new_property
def test_the_policy_is_the_configs(runtime: Runtime, bundle: MakeBundle, scheduler: dict[str, Any]) -> None:
    pid = runtime.pid(runtime.launch(bundle(process=SLEEP | {"scheduler": scheduler})))
    assert scheduling(pid) == expected(scheduler)


@pytest.mark.shows("process.scheduler.realtime")
@pytest.mark.parametrize("policy", ["SCHED_FIFO", "SCHED_RR"])
@new_property
def test_a_realtime_policy_is_the_configs(runtime: Runtime, bundle: MakeBundle, policy: str) -> None:
    scheduler = {"policy": policy, "priority": 7}
    linux = {}
    # With CONFIG_RT_GROUP_SCHED a version 1 cgroup begins with no time at all for such a process.
    if Path("/sys/fs/cgroup/cpu/cpu.rt_runtime_us").exists():
        linux = {"resources": {"cpu": {"realtimePeriod": 1000000, "realtimeRuntime": 5000}}}
    here = bundle(process=SLEEP | {"scheduler": scheduler}, linux=linux)
    pid = runtime.pid(runtime.launch(here))
    assert scheduling(pid) == expected(scheduler)


@pytest.mark.shows("process.scheduler.deadline")
@new_property
@pytest.mark.parametrize("flags", [[], *([name] for name in FLAGS), list(FLAGS)])
def test_a_deadline_is_the_configs(runtime: Runtime, bundle: MakeBundle, flags: list[str]) -> None:
    scheduler = {
        "policy": "SCHED_DEADLINE",
        # A process that takes more (DL_OVERRUN) is killed, and an emulated machine takes its time to execute a program.
        "runtime": 30_000_000,
        "deadline": 100_000_000,
        "period": 200_000_000,
        "flags": flags,
    }
    pid = runtime.pid(runtime.launch(bundle(process=SLEEP | {"scheduler": scheduler})))
    assert scheduling(pid) == expected(scheduler)


@pytest.mark.shows("process.scheduler.flags")
@pytest.mark.parametrize(
    ("flag", "kept"),
    [
        ("SCHED_FLAG_KEEP_POLICY", {"policy": POLICIES["SCHED_OTHER"]}),
        ("SCHED_FLAG_KEEP_PARAMS", {"policy": POLICIES["SCHED_OTHER"], "nice": 0}),
    ],
)
@new_property
def test_what_a_flag_keeps_is_the_callers(
    runtime: Runtime, bundle: MakeBundle, flag: str, kept: dict[str, int]
) -> None:
    scheduler = {"policy": "SCHED_BATCH", "nice": 5}
    here = bundle(process=SLEEP | {"scheduler": scheduler | {"flags": [flag]}})
    assert scheduling(runtime.pid(runtime.launch(here))) == expected(scheduler) | kept


@pytest.mark.shows("process.scheduler.flags")
@pytest.mark.refuses("process.scheduler.flags")
@pytest.mark.parametrize("flag", ["SCHED_FLAG_UTIL_CLAMP_MIN", "SCHED_FLAG_UTIL_CLAMP_MAX"])
@new_property
def test_utilization_is_clamped_where_the_kernel_can(runtime: Runtime, bundle: MakeBundle, flag: str) -> None:
    here = bundle(process={"args": ["true"], "scheduler": {"policy": "SCHED_OTHER", "flags": [flag]}})
    if Path("/proc/sys/kernel/sched_util_clamp_min").exists():
        runtime.output(here)
    else:
        refused(runtime, here)


@pytest.mark.refuses("process.scheduler", "process.scheduler.realtime", "process.scheduler.deadline")
@pytest.mark.parametrize(
    "scheduler",
    [
        {"policy": "SCHED_NO_SUCH"},
        {"policy": "SCHED_ISO"},
        {},
        {"policy": "SCHED_OTHER", "nice": 20},
        {"policy": "SCHED_OTHER", "nice": -21},
        {"policy": "SCHED_OTHER", "priority": 1},
        {"policy": "SCHED_OTHER", "runtime": 1},
        {"policy": "SCHED_FIFO"},
        {"policy": "SCHED_RR", "priority": 100},
        {"policy": "SCHED_DEADLINE", "runtime": 5000, "deadline": 4000},
        {"policy": "SCHED_DEADLINE"},
        {"policy": "SCHED_OTHER", "flags": ["SCHED_FLAG_NO_SUCH"]},
    ],
)
@new_property
def test_a_scheduler_that_can_not_be_is_an_error(
    runtime: Runtime, bundle: MakeBundle, scheduler: dict[str, Any]
) -> None:
    refused(runtime, bundle(process={"scheduler": scheduler}))


@pytest.mark.shows("process.ioPriority")
@pytest.mark.parametrize(
    ("name", "number"), [("IOPRIO_CLASS_RT", 1), ("IOPRIO_CLASS_BE", 2), ("IOPRIO_CLASS_IDLE", 3)]
)
@pytest.mark.parametrize("priority", [0, 3, 7])
@new_property
def test_the_io_priority_is_the_configs(
    runtime: Runtime, bundle: MakeBundle, name: str, number: int, priority: int
) -> None:
    process = SLEEP | {"ioPriority": {"class": name, "priority": priority}}
    pid = runtime.pid(runtime.launch(bundle(process=process)))
    assert system_call("ioprio_get", 1, pid) == number << 13 | priority


@pytest.mark.shows("process.ioPriority")
@new_property
def test_an_io_priority_without_a_priority_is_0(runtime: Runtime, bundle: MakeBundle) -> None:
    process = SLEEP | {"ioPriority": {"class": "IOPRIO_CLASS_BE"}}
    assert system_call("ioprio_get", 1, runtime.pid(runtime.launch(bundle(process=process)))) == 2 << 13


@pytest.mark.refuses("process.ioPriority")
@pytest.mark.parametrize(
    "value",
    [
        {"class": "IOPRIO_CLASS_NONE", "priority": 0},
        {"class": "IOPRIO_CLASS_BE", "priority": 8},
        {"class": "IOPRIO_CLASS_BE", "priority": -1},
        {"priority": 3},
        "IOPRIO_CLASS_BE",
    ],
)
@new_property
def test_an_io_priority_that_can_not_be_is_an_error(runtime: Runtime, bundle: MakeBundle, value: Any) -> None:
    refused(runtime, bundle(process={"ioPriority": value}))


@pytest.mark.shows("linux.memoryPolicy")
@pytest.mark.parametrize(
    ("policy", "shown"),
    [
        ({"mode": "MPOL_BIND", "nodes": "0"}, "bind:0"),
        ({"mode": "MPOL_INTERLEAVE", "nodes": "0-0"}, "interleave:0"),
        ({"mode": "MPOL_PREFERRED", "nodes": "0"}, "prefer:0"),
        ({"mode": "MPOL_PREFERRED_MANY", "nodes": "0"}, "prefer (many):0"),
        pytest.param(
            {"mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_NUMA_BALANCING"]},
            "bind=balancing:0",
            marks=pytest.mark.skipif(not BALANCES, reason="the kernel doesn't balance memory over nodes"),
        ),
        ({"mode": "MPOL_LOCAL"}, "local"),
        ({"mode": "MPOL_DEFAULT"}, "default"),
        ({"mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_STATIC_NODES"]}, "bind=static:0"),
        ({"mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_RELATIVE_NODES"]}, "bind=relative:0"),
    ],
)
@new_property
def test_the_memory_policy_is_the_configs(
    runtime: Runtime, bundle: MakeBundle, policy: dict[str, Any], shown: str
) -> None:
    pid = runtime.pid(runtime.launch(bundle(process=SLEEP, linux={"memoryPolicy": policy})))
    maps = Path(f"/proc/{pid}/numa_maps")
    if not maps.exists():
        pytest.skip("the kernel shows no memory policies (CONFIG_NUMA)")
    stack = next(line for line in maps.read_text().splitlines() if "stack" in line)
    assert stack.split(" ", 1)[1].startswith(shown + " ")


@pytest.mark.refuses("linux.memoryPolicy")
@pytest.mark.parametrize(
    "policy",
    [
        {"mode": "MPOL_NO_SUCH"},
        {},
        {"mode": "MPOL_BIND"},
        {"mode": "MPOL_BIND", "nodes": ""},
        {"mode": "MPOL_BIND", "nodes": "x"},
        {"mode": "MPOL_BIND", "nodes": "3-1"},
        {"mode": "MPOL_LOCAL", "nodes": "0"},
        {"mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_NO_SUCH"]},
        {"mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_STATIC_NODES", "MPOL_F_RELATIVE_NODES"]},
        {"mode": "MPOL_BIND", "nodes": "1000"},
        pytest.param(
            {"mode": "MPOL_BIND", "nodes": "1"},
            marks=pytest.mark.skipif(not ONE_NODE, reason="the machine has a second NUMA node"),
        ),
    ],
)
@new_property
def test_a_memory_policy_that_can_not_be_is_an_error(
    runtime: Runtime, bundle: MakeBundle, policy: dict[str, Any]
) -> None:
    refused(runtime, bundle(linux={"memoryPolicy": policy}))


@pytest.mark.shows("linux.personality")
@pytest.mark.parametrize(("domain", "number"), [("LINUX", 0), ("LINUX32", 8)])
@pytest.mark.peers_differ(runc=TOO_OLD)
def test_the_personality_is_the_configs(
    runtime: Runtime, bundle: MakeBundle, domain: str, number: int
) -> None:
    pid = runtime.pid(runtime.launch(bundle(process=SLEEP, linux={"personality": {"domain": domain}})))
    assert int(Path(f"/proc/{pid}/personality").read_text(), 16) & 0xFF == number


@pytest.mark.refuses("linux.personality")
@pytest.mark.parametrize(
    "value",
    [{"domain": "PLAN9"}, {"domain": "LINUX", "flags": ["ADDR_NO_RANDOMIZE"]}, "LINUX"],
)
@pytest.mark.peers_differ(crun="takes flags", runc=TOO_OLD)
def test_a_personality_that_can_not_be_is_an_error(runtime: Runtime, bundle: MakeBundle, value: Any) -> None:
    refused(runtime, bundle(linux={"personality": value}))


def refused(runtime: Runtime, bundle: Path) -> None:
    """`create` fails, and nothing may be there after it."""
    runtime.fails("create", "--bundle", bundle, new_id())
    assert os.listdir(runtime.root) == []
