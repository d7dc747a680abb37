"""`update` and `events`: limits that change, and what is used of them."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from conformance import host
from conformance.runtime import Runtime

from .conftest import MakeBundle

MIB = 1 << 20
MEMORY_LIMIT = "memory.max" if host.in_v2("memory") else "memory.limit_in_bytes"

# The flag, its value, the controller, and the file and its content of version 1 and of version 2.
FLAGS = [
    ("--memory", "64m", "memory", ("memory.limit_in_bytes", str(64 * MIB)), ("memory.max", str(64 * MIB))),
    ("-m", "67108864", "memory", ("memory.limit_in_bytes", str(64 * MIB)), ("memory.max", str(64 * MIB))),
    ("--memory", "0.5g", "memory", ("memory.limit_in_bytes", str(512 * MIB)), ("memory.max", str(512 * MIB))),
    (
        "--memory-reservation",
        "32MiB",
        "memory",
        ("memory.soft_limit_in_bytes", str(32 * MIB)),
        ("memory.low", str(32 * MIB)),
    ),
    ("--memory-swap", "-1", "memory", None, ("memory.swap.max", "max")),
    ("--kernel-memory-tcp", "8m", "memory", ("memory.kmem.tcp.limit_in_bytes", str(8 * MIB)), None),
    ("--cpu-share", "512", "cpu", ("cpu.shares", "512"), ("cpu.weight", "59")),
    ("--cpu-quota", "20000", "cpu", ("cpu.cfs_quota_us", "20000"), ("cpu.max", "20000 100000")),
    ("--cpu-period", "50000", "cpu", ("cpu.cfs_period_us", "50000"), ("cpu.max", "max 50000")),
    ("--cpu-idle", "1", "cpu", ("cpu.idle", "1"), ("cpu.idle", "1")),
    ("--cpu-rt-runtime", "1000", "cpu", ("cpu.rt_runtime_us", "1000"), None),
    ("--cpu-rt-period", "500000", "cpu", ("cpu.rt_period_us", "500000"), None),
    ("--cpuset-cpus", "0", "cpuset", ("cpuset.cpus", "0"), ("cpuset.cpus", "0")),
    ("--cpuset-mems", "0", "cpuset", ("cpuset.mems", "0"), ("cpuset.mems", "0")),
    ("--pids-limit", "17", "pids", ("pids.max", "17"), ("pids.max", "17")),
    ("--pids-limit=-1", None, "pids", ("pids.max", "max"), ("pids.max", "max")),
    ("--blkio-weight", "500", "blkio", ("blkio.bfq.weight", "500"), ("io.weight", "default 4950")),
]


@pytest.mark.parametrize(("flag", "value", "controller", "v1", "v2"), FLAGS)
def test_a_flag_sets_the_limit(
    pyoci: Runtime, sleeper: Path, flag: str, value: str | None, controller: str, v1: Any, v2: Any
) -> None:
    in_v2 = host.in_v2(controller)
    expected = v2 if in_v2 else v1
    if expected is None:
        pytest.skip(f"cgroup v{2 if in_v2 else 1} doesn't have it")
    container = pyoci.launch(sleeper)
    file = host.cgroup_of(pyoci.pid(container), controller) / expected[0]
    given = [flag] if value is None else [flag, value]
    # A hybrid host's v2 tree gets its controllers when they are needed.
    if not file.exists() and not (in_v2 and not host.V2):
        assert "/linux/resources/" in pyoci.fails("update", *given, container)
        return
    pyoci("update", *given, container)
    assert file.read_text().splitlines()[0].strip() == expected[1]


def test_cpu_burst_is_set_beside_the_quota(pyoci: Runtime, sleeper: Path) -> None:
    container = pyoci.launch(sleeper)
    pyoci("update", "--cpu-quota", "20000", "--cpu-burst", "5000", container)
    file = "cpu.max.burst" if host.V2 else "cpu.cfs_burst_us"
    assert (host.cgroup_of(pyoci.pid(container), "cpu") / file).read_text() == "5000\n"


def test_resources_come_from_standard_input_in_any_case(
    pyoci: Runtime, sleeper: Path, tmp_path: Path
) -> None:
    container = pyoci.launch(sleeper)
    (tmp_path / "new").write_text('{"Memory": {"LIMIT": 67108864}, "pids": null, "unknown": 1}')
    with (tmp_path / "new").open() as given:
        pyoci("update", "--resources", "-", container, stdin=given)
    assert (host.cgroup_of(pyoci.pid(container), "memory") / MEMORY_LIMIT).read_text() == "67108864\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[]", "must be an object"),
        ("{", ":1:"),
        ('{"memory": {"limit": "x"}}', "/linux/resources/memory/limit"),
        ('{"memory": 5}', "/linux/resources/memory"),
        ("", "new"),
    ],
)
def test_bad_resources_are_told_and_change_nothing(
    pyoci: Runtime, sleeper: Path, tmp_path: Path, text: str, said: str
) -> None:
    container = pyoci.launch(sleeper)
    (tmp_path / "new").write_text(text)
    assert said in pyoci.fails("update", "-r", tmp_path / "new", container)


@pytest.mark.parametrize(
    ("flag", "value"),
    [
        ("--memory", "64x"),
        ("--memory", ""),
        ("--memory", "1_000"),
        ("--pids-limit", "0x10"),
        ("--pids-limit", " 1"),
        ("--cpu-share", "1.5"),
        ("--cpu-quota", "+1"),
    ],
)
def test_numbers_are_read_strictly(pyoci: Runtime, sleeper: Path, flag: str, value: str) -> None:
    assert f'{flag}: "{value}" is not' in pyoci.fails("update", flag, value, pyoci.launch(sleeper))


def test_an_update_that_fails_halfway_is_taken_back(pyoci: Runtime, sleeper: Path) -> None:
    container = pyoci.launch(sleeper)
    pyoci("update", "--memory", "64m", "--pids-limit", "10", container)
    flags = ["--memory", "96m", "--pids-limit", "20", "--cpuset-cpus", "4000"]
    said = pyoci.fails("update", *flags, container)
    assert "/linux/resources/cpu/cpus" in said
    pid = pyoci.pid(container)
    assert (host.cgroup_of(pid, "memory") / MEMORY_LIMIT).read_text() == f"{64 * MIB}\n"
    assert (host.cgroup_of(pid, "pids") / "pids.max").read_text() == "10\n"


def accounted(runtime: Runtime, bundle: MakeBundle) -> str:
    """A container whose memory is counted from its beginning, on a hybrid host too."""
    limits = {"memory": {"limit": 512 * MIB}}
    return runtime.launch(bundle(process={"args": ["sleep", "1000"]}, linux={"resources": limits}))


def test_a_limit_below_what_is_in_use_is_refused_when_that_is_to_be_checked(
    pyoci: Runtime, bundle: MakeBundle, tmp_path: Path
) -> None:
    container = accounted(pyoci, bundle)
    (tmp_path / "new").write_text('{"memory": {"limit": 4096, "checkBeforeUpdate": true}}')
    assert "checkBeforeUpdate" in pyoci.fails("update", "-r", tmp_path / "new", container)


# events


def test_the_stats_have_runcs_form(pyoci: Runtime, bundle: MakeBundle) -> None:
    container = accounted(pyoci, bundle)
    pyoci("update", "--memory", "64m", "--pids-limit", "10", container)
    event = json.loads(pyoci("events", "--stats", container).stdout)
    assert (event["type"], event["id"]) == ("stats", container)
    data = event["data"]
    assert set(data) == {
        *("cpu", "cpuset", "memory", "pids", "blkio", "hugetlb", "intel_rdt", "network_interfaces")
    }
    assert data["memory"]["usage"]["limit"] == 64 * MIB
    assert 0 < data["memory"]["usage"]["usage"] < 64 * MIB
    assert data["pids"] == {"current": 1, "limit": 10}
    assert data["cpu"]["usage"]["total"] > 0
    assert data["memory"]["raw"]


def test_events_come_at_every_interval_and_end_with_the_container(
    pyoci: Runtime, sleeper: Path, tmp_path: Path
) -> None:
    container = pyoci.launch(sleeper)
    with (tmp_path / "events").open("w") as output:
        watching = pyoci.popen("events", "--interval", "20ms", container, stdout=output)
        await_lines(tmp_path / "events", 4)
        pyoci("kill", container, "KILL")
        assert watching.wait(10) == 0
    assert {json.loads(line)["type"] for line in lines(tmp_path / "events")} == {"stats"}


@pytest.mark.parametrize("interval", ["0", "-1s", "x", "5", "1m30s", "1.5s", "5parsecs", ""])
def test_the_interval_is_a_time(pyoci: Runtime, sleeper: Path, interval: str) -> None:
    good = interval in ("5", "1m30s", "1.5s")
    done = pyoci.attempt("events", "--stats", "--interval", interval, pyoci.launch(sleeper))
    assert (done.code == 0) == good, done


def test_an_out_of_memory_kill_is_an_event(pyoci: Runtime, bundle: MakeBundle, tmp_path: Path) -> None:
    # The shell stays, what it starts is killed: a string that doubles until there is no memory left.
    script = "while [ ! -e /go ]; do sleep 0.01; done; sh -c 'x=xxxxxxxx; while :; do x=\"$x$x\"; done'; sleep 1000"
    path = bundle(
        process={"args": ["sh", "-c", script]},
        root={"readonly": False},
        linux={"resources": {"memory": {"limit": 16 * MIB, "swap": 16 * MIB}}},
    )
    container = pyoci.launch(path)
    with (tmp_path / "events").open("w") as output:
        watching = pyoci.popen("events", "--interval", "1h", container, stdout=output)
        await_lines(tmp_path / "events", 1)
        (path / "rootfs/go").touch()
        await_lines(tmp_path / "events", 2)
        pyoci("kill", container, "KILL")
        watching.wait(10)
    kinds = [json.loads(line) for line in lines(tmp_path / "events")]
    assert {"type": "oom", "id": container} in kinds


def lines(file: Path) -> list[str]:
    return file.read_text().splitlines()


def await_lines(file: Path, number: int) -> None:
    import time

    deadline = time.monotonic() + 20
    while len(lines(file)) < number:
        assert time.monotonic() < deadline, file.read_text()
        time.sleep(0.01)


def test_a_reader_that_goes_away_ends_events(pyoci: Runtime, sleeper: Path) -> None:
    container = pyoci.launch(sleeper)
    with pyoci.popen(
        "events", "--interval", "10ms", container, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as p:
        assert p.stdout
        p.stdout.readline()
        p.stdout.close()
        assert p.wait(10) != 0
