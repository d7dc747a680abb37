"""Every field of `linux.resources`: set, read back from the kernel's own file, updated, and read again."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from conformance import host
from conformance.runtime import Runtime, new_id

from .conftest import MakeBundle

MIB = 1 << 20
CPU = 1 if (os.cpu_count() or 1) > 1 else 0


def _device() -> str:
    """The number of a disk that is there."""
    names = sorted(
        os.listdir("/sys/block"), key=lambda name: (name.startswith(("loop", "ram", "zram")), name)
    )
    return Path(f"/sys/block/{names[0]}/dev").read_text().strip() if names else ""


DISK = _device()
MAJOR, _, MINOR = DISK.partition(":")
NUMBERS = {"major": int(MAJOR or 0), "minor": int(MINOR or 0)}


class Field:
    """A field of linux.resources.

    Arguments:
        values: linux.resources that set it first, and then otherwise.
        v1, v2: (controller, file, what the file says, what it says then), or why that version can't.
        unless: what the error says on a host whose kernel or disk has the file but can't do it.
        optional: where the kernel can't, that is a warning.
    """

    def __init__(
        self,
        values: tuple[dict[str, Any], dict[str, Any]],
        v1: tuple[str, str, str, str] | str,
        v2: tuple[str, str, str, str] | str,
        unless: str | None = None,
        optional: bool = False,
    ) -> None:
        self.values = values
        self.optional = optional
        self.unless = unless
        self.here = v2 if host.V2 or (not isinstance(v1, str) and host.in_v2(v1[0])) else v1


def memory(first: dict[str, Any], second: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    return {"memory": first}, {"memory": second}


def cpu(name: str, first: Any, second: Any, **more: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    return {"cpu": {name: first} | more}, {"cpu": {name: second} | more}


def throttle(name: str, file: str, key: str) -> Field:
    values = tuple({"blockIO": {name: [NUMBERS | {"rate": rate}]}} for rate in (MIB, 2 * MIB))
    keys = ("rbps", "wbps", "riops", "wiops")
    line = [" ".join(f"{each}={rate if each == key else 'max'}" for each in keys) for rate in (MIB, 2 * MIB)]
    return Field(
        (values[0], values[1]),
        ("blkio", f"blkio.throttle.{file}", f"{DISK} {MIB}", f"{DISK} {2 * MIB}"),
        ("io", "io.max", f"{DISK} {line[0]}", f"{DISK} {line[1]}"),
    )


V2_ONLY = "needs cgroup v2"
FIELDS = {
    "memory.limit": Field(
        memory({"limit": 64 * MIB}, {"limit": 96 * MIB}),
        ("memory", "memory.limit_in_bytes", str(64 * MIB), str(96 * MIB)),
        ("memory", "memory.max", str(64 * MIB), str(96 * MIB)),
    ),
    "memory.reservation": Field(
        memory({"reservation": 32 * MIB}, {"reservation": 16 * MIB}),
        ("memory", "memory.soft_limit_in_bytes", str(32 * MIB), str(16 * MIB)),
        ("memory", "memory.low", str(32 * MIB), str(16 * MIB)),
    ),
    "memory.swap": Field(
        memory({"limit": 64 * MIB, "swap": 96 * MIB}, {"limit": 128 * MIB, "swap": 256 * MIB}),
        ("memory", "memory.memsw.limit_in_bytes", str(96 * MIB), str(256 * MIB)),
        ("memory", "memory.swap.max", str(32 * MIB), str(128 * MIB)),
    ),
    "memory.kernel": Field(
        memory({"kernel": 64 * MIB}, {"kernel": 96 * MIB}),
        ("memory", "memory.kmem.limit_in_bytes", str(64 * MIB), str(96 * MIB)),
        "memory/kernel: not set",
        unless="memory/kernel: not set",  # since Linux 5.16
        optional=True,
    ),
    "memory.kernelTCP": Field(
        memory({"kernelTCP": 4 * MIB}, {"kernelTCP": 8 * MIB}),
        ("memory", "memory.kmem.tcp.limit_in_bytes", str(4 * MIB), str(8 * MIB)),
        "memory/kernelTCP: not set",
        optional=True,
    ),
    "memory.swappiness": Field(
        memory({"swappiness": 10}, {"swappiness": 0}),
        ("memory", "memory.swappiness", "10", "0"),
        "vm.swappiness",
    ),
    "memory.disableOOMKiller": Field(
        memory({"disableOOMKiller": True}, {"disableOOMKiller": False}),
        ("memory", "memory.oom_control", "oom_kill_disable 1", "oom_kill_disable 0"),
        "memory.high",
    ),
    "memory.useHierarchy": Field(
        memory({"limit": 64 * MIB, "useHierarchy": True}, {"limit": 96 * MIB, "useHierarchy": True}),
        ("memory", "memory.use_hierarchy", "1", "1"),
        # Always so on v2: nothing more to be written.
        ("memory", "memory.max", str(64 * MIB), str(96 * MIB)),
    ),
    "cpu.shares": Field(
        cpu("shares", 2048, 512),
        ("cpu", "cpu.shares", "2048", "512"),
        ("cpu", "cpu.weight", "174", "59"),
    ),
    "cpu.quota": Field(
        cpu("quota", 20_000, 40_000, period=50_000),
        ("cpu", "cpu.cfs_quota_us", "20000", "40000"),
        ("cpu", "cpu.max", "20000 50000", "40000 50000"),
    ),
    "cpu.period": Field(
        cpu("period", 50_000, 80_000, quota=20_000),
        ("cpu", "cpu.cfs_period_us", "50000", "80000"),
        ("cpu", "cpu.max", "20000 50000", "20000 80000"),
    ),
    "cpu.burst": Field(
        cpu("burst", 5_000, 9_000, quota=20_000, period=50_000),
        ("cpu", "cpu.cfs_burst_us", "5000", "9000"),
        ("cpu", "cpu.max.burst", "5000", "9000"),
    ),
    "cpu.idle": Field(cpu("idle", 1, 0), ("cpu", "cpu.idle", "1", "0"), ("cpu", "cpu.idle", "1", "0")),
    "cpu.realtimeRuntime": Field(
        cpu("realtimeRuntime", 1_000, 500, realtimePeriod=1_000_000),
        ("cpu", "cpu.rt_runtime_us", "1000", "500"),
        "v2 doesn't limit realtime tasks",
    ),
    "cpu.realtimePeriod": Field(
        cpu("realtimePeriod", 500_000, 1_000_000, realtimeRuntime=1_000),
        ("cpu", "cpu.rt_period_us", "500000", "1000000"),
        "v2 doesn't limit realtime tasks",
    ),
    "cpu.cpus": Field(
        cpu("cpus", "0", f"0-{CPU}" if CPU else "0"),
        ("cpuset", "cpuset.cpus", "0", f"0-{CPU}" if CPU else "0"),
        ("cpuset", "cpuset.cpus", "0", f"0-{CPU}" if CPU else "0"),
    ),
    "cpu.mems": Field(
        cpu("mems", "0", "0"), ("cpuset", "cpuset.mems", "0", "0"), ("cpuset", "cpuset.mems", "0", "0")
    ),
    "pids.limit": Field(
        ({"pids": {"limit": 10}}, {"pids": {"limit": 20}}),
        ("pids", "pids.max", "10", "20"),
        ("pids", "pids.max", "10", "20"),
    ),
    "pids.limit, lifted": Field(
        ({"pids": {"limit": 10}}, {"pids": {"limit": -1}}),
        ("pids", "pids.max", "10", "max"),
        ("pids", "pids.max", "10", "max"),
    ),
    "pids.limit, none at all": Field(
        ({"pids": {"limit": -1}}, {"pids": {"limit": 0}}),
        ("pids", "pids.max", "max", "0"),
        ("pids", "pids.max", "max", "0"),
    ),
    "blockIO.weight": Field(
        ({"blockIO": {"weight": 500}}, {"blockIO": {"weight": 100}}),
        ("blkio", "blkio.bfq.weight", "500", "100"),
        ("io", "io.weight", "default 4950", "default 910"),
    ),
    "blockIO.leafWeight": Field(
        ({"blockIO": {"leafWeight": 500}}, {"blockIO": {"leafWeight": 100}}),
        ("blkio", "blkio.leaf_weight", "500", "100"),
        "leafWeight",
    ),
    "blockIO.weightDevice": Field(
        tuple({"blockIO": {"weightDevice": [NUMBERS | {"weight": n}]}} for n in (500, 100)),  # type: ignore[arg-type]
        ("blkio", "blkio.bfq.weight_device", f"{DISK} 500", f"{DISK} 100"),
        ("io", "io.weight", f"{DISK} 4950", f"{DISK} 910"),
        unless="the device's I/O scheduler can't do it",
    ),
    "blockIO.throttleReadBpsDevice": throttle("throttleReadBpsDevice", "read_bps_device", "rbps"),
    "blockIO.throttleWriteBpsDevice": throttle("throttleWriteBpsDevice", "write_bps_device", "wbps"),
    "blockIO.throttleReadIOPSDevice": throttle("throttleReadIOPSDevice", "read_iops_device", "riops"),
    "blockIO.throttleWriteIOPSDevice": throttle("throttleWriteIOPSDevice", "write_iops_device", "wiops"),
    "hugepageLimits": Field(
        tuple({"hugepageLimits": [{"pageSize": "2MB", "limit": n * MIB}]} for n in (4, 8)),  # type: ignore[arg-type]
        ("hugetlb", "hugetlb.2MB.limit_in_bytes", str(4 * MIB), str(8 * MIB)),
        ("hugetlb", "hugetlb.2MB.max", str(4 * MIB), str(8 * MIB)),
    ),
    "hugepageLimits, reservations": Field(
        tuple({"hugepageLimits": [{"pageSize": "2MB", "limit": n * MIB}]} for n in (4, 8)),  # type: ignore[arg-type]
        ("hugetlb", "hugetlb.2MB.rsvd.limit_in_bytes", str(4 * MIB), str(8 * MIB)),
        ("hugetlb", "hugetlb.2MB.rsvd.max", str(4 * MIB), str(8 * MIB)),
    ),
    "network.classID": Field(
        ({"network": {"classID": 0x100001}}, {"network": {"classID": 0x100002}}),
        ("net_cls", "net_cls.classid", str(0x100001), str(0x100002)),
        "network",
    ),
    "network.priorities": Field(
        tuple({"network": {"priorities": [{"name": "lo", "priority": n}]}} for n in (3, 4)),  # type: ignore[arg-type]
        ("net_prio", "net_prio.ifpriomap", "lo 3", "lo 4"),
        "network",
    ),
    "rdma": Field(
        tuple({"rdma": {"mlx5_0": {"hcaHandles": n}}} for n in (3, 4)),  # type: ignore[arg-type]
        ("rdma", "rdma.max", "mlx5_0 hca_handle=3 hca_object=max", "mlx5_0 hca_handle=4 hca_object=max"),
        ("rdma", "rdma.max", "mlx5_0 hca_handle=3 hca_object=max", "mlx5_0 hca_handle=4 hca_object=max"),
    ),
    **{
        f"unified, {controller}": Field(
            ({"unified": {file: value}}, {"unified": {file: "max"}}),
            # Of a hybrid host's v2 tree it may be a controller.
            (controller, file, value, "max") if host.in_v2(controller) else V2_ONLY,
            (controller, file, value, "max"),
        )
        for controller, file, value in (
            ("memory", "memory.high", str(64 * MIB)),
            ("hugetlb", "hugetlb.2MB.max", str(4 * MIB)),
        )
    },
}


def why_not(controller: str, files: str) -> str | None:
    """What the error says if this host's kernel doesn't have it; None if it does."""
    if controller in host.v2_controllers():
        return None
    if host.V2:
        return "controller isn't available"
    mounted = host.CGROUPS / controller
    if not mounted.is_dir():
        return "controller isn't mounted"
    # A new cgroup has what the root lacks, and the other way round; one is made to see.
    probe = mounted / f"{host.TAG}-probe"
    probe.mkdir()
    try:
        there = any((probe / file).exists() for file in files.split())
    finally:
        probe.rmdir()
    return None if there else "this kernel"


def text_of(cgroup: Path, files: str, wanted: str) -> str:
    """The file's text; of one with a line for each device, that line."""
    file = next(cgroup / name for name in files.split() if (cgroup / name).exists())
    lines = file.read_text().splitlines()
    key = wanted.split(" ")[0]
    return next((line for line in lines if line.split(" ")[0] == key), lines[0] if lines else "").strip()


@pytest.mark.parametrize("name", FIELDS)
@pytest.mark.peers_differ(crun="other conversions and refusals", runc="other conversions and refusals")
def test_a_field_is_in_the_kernels_file_and_can_be_updated(
    pyoci: Runtime, bundle: MakeBundle, name: str
) -> None:
    field = FIELDS[name]
    first, second = field.values
    path = bundle(process={"args": ["sleep", "1000"]}, linux={"resources": first})
    refused = field.here if isinstance(field.here, str) else why_not(*field.here[:2])
    if name.startswith("rdma") and refused is None:
        refused = "no such device"
    if field.optional and (refused or warns_of(pyoci, path, field.unless)):
        path = bundle(process={"args": ["sleep", "1000"]}, linux={"resources": first})
        container = pyoci.launch(path)
        (path / "new.json").write_text(json.dumps(second))
        said = pyoci("update", "--resources", path / "new.json", container).stderr
        assert said.count("not set, since this kernel has no such limit") == 1
        return
    if refused:
        said = pyoci.fails("create", "--bundle", path, new_id())
        section = name.split(".")[0].split(",")[0]
        assert f"/linux/resources/{section}" in said
        assert refused in said
        return
    assert not isinstance(field.here, str)
    controller, files, before, after = field.here
    if field.unless:
        tried = pyoci.attempt("create", "--bundle", path, "probe")
        if tried.code:
            assert field.unless in tried.stderr
            return
        pyoci("delete", "--force", "probe")
    container = pyoci.launch(path)
    cgroup = host.cgroup_of(pyoci.pid(container), controller)
    assert text_of(cgroup, files, before) == before
    (path / "new.json").write_text(json.dumps(second))
    pyoci("update", "--resources", path / "new.json", container)
    assert text_of(cgroup, files, after) == after


def warns_of(pyoci: Runtime, path: Path, words: str | None) -> bool:
    """Whether making that container warns so."""
    container = new_id()
    said = pyoci("create", "--bundle", path, container).stderr
    pyoci("delete", "--force", container)
    return bool(words and f"warning: /linux/resources/{words}" in said)


def test_every_field_of_the_specification_is_here() -> None:
    schema = json.loads((Path(__file__).parents[2] / "schemas/config-linux.json").read_text())["$defs"]
    wanted = set()
    for section, described in schema["resources"]["properties"].items():
        while "$ref" in described:
            described = schema.get(described["$ref"].rpartition("/")[2], {})
        members = described.get("properties", {})
        wanted |= {f"{section}.{member}" for member in members} or {section}
    shown = {name.split(",")[0] for name in FIELDS}
    # devices: tests/integration/test_device_rules.py; checkBeforeUpdate: test_update.py.
    assert wanted - shown == {"devices", "memory.checkBeforeUpdate"}


def test_the_pids_limit_holds(pyoci: Runtime, bundle: MakeBundle) -> None:
    script = "for n in 1 2 3 4 5 6 7 8; do sleep 1 & done; wait"
    here = bundle(linux={"resources": {"pids": {"limit": 4}}}, process={"args": ["sh", "-c", script]})
    assert "can't fork" in pyoci.run(here).stderr


@pytest.mark.peers_differ(crun="its own start does not fit", runc="its own start does not fit")
def test_half_a_mebibyte_of_memory_starts_true(pyoci: Runtime, bundle: MakeBundle) -> None:
    here = bundle(linux={"resources": {"memory": {"limit": 512 << 10}}}, process={"args": ["/bin/true"]})
    done = pyoci.run(here)
    assert done.code == 0, done


@pytest.mark.peers_differ(crun="another message", runc="another message")
def test_a_memory_limit_that_is_too_low_is_named(pyoci: Runtime, bundle: MakeBundle) -> None:
    here = bundle(linux={"resources": {"memory": {"limit": 4096}}})
    said = pyoci.fails("create", "--bundle", here, new_id())
    assert "/linux/resources/memory/limit: the memory limit of 4096 is too low" in said
