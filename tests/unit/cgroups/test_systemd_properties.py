"""linux.resources and annotations as properties of a unit."""

from typing import Any

import pytest

from pyoci.cgroups import devices_v1
from pyoci.cgroups.systemd_properties import (
    INFINITY,
    of_annotations,
    of_devices,
    of_resources,
    of_unit,
    supported,
)
from pyoci.errors import ConfigError

MIB = 1 << 20
PLENTY = {"CPUQuotaPerSecUSec": 500_000, "CPUQuotaPeriodUSec": 50_000}
# linux.resources, the properties on v2, those on v1
TABLE: list[tuple[dict[str, Any], dict[str, Any], dict[str, Any]]] = [
    ({}, {}, {}),
    ({"memory": {"limit": 64 * MIB}}, {"MemoryMax": 64 * MIB}, {"MemoryLimit": 64 * MIB}),
    (
        {"memory": {"limit": -1}},
        {"MemoryMax": INFINITY, "MemorySwapMax": INFINITY},
        {"MemoryLimit": INFINITY},
    ),
    ({"memory": {"reservation": MIB}}, {"MemoryLow": MIB}, {}),
    (
        {"memory": {"limit": 4 * MIB, "swap": 6 * MIB}},
        {"MemoryMax": 4 * MIB, "MemorySwapMax": 2 * MIB},
        {"MemoryLimit": 4 * MIB},
    ),
    (
        {"memory": {"limit": MIB, "swap": -1}},
        {"MemoryMax": MIB, "MemorySwapMax": INFINITY},
        {"MemoryLimit": MIB},
    ),
    ({"memory": {"swap": 10 * MIB}}, {"MemorySwapMax": 2 * MIB}, {}),
    ({"cpu": {"shares": 1024}}, {"CPUWeight": 100}, {"CPUShares": 1024}),
    ({"cpu": {"shares": 0}}, {}, {}),
    ({"cpu": {"shares": 1024, "idle": 1}}, {"CPUWeight": 0}, {"CPUShares": 1024}),
    ({"cpu": {"quota": 25_000, "period": 50_000}}, PLENTY, PLENTY),
    ({"cpu": {"quota": 33_333}}, {"CPUQuotaPerSecUSec": 340_000}, {"CPUQuotaPerSecUSec": 340_000}),
    ({"cpu": {"quota": -1}}, {"CPUQuotaPerSecUSec": INFINITY}, {"CPUQuotaPerSecUSec": INFINITY}),
    ({"cpu": {"period": 50_000}}, {}, {}),
    ({"cpu": {"cpus": "0-2,9", "mems": "0"}}, {"AllowedCPUs": b"\x07\x02", "AllowedMemoryNodes": b"\1"}, {}),
    ({"cpu": {"cpus": ""}}, {}, {}),
    ({"cpu": {"cpus": "what"}}, {}, {}),
    ({"pids": {"limit": 10}}, {"TasksMax": 10}, {"TasksMax": 10}),
    ({"pids": {"limit": 0}}, {"TasksMax": 1}, {"TasksMax": 1}),
    ({"pids": {"limit": -1}}, {"TasksMax": INFINITY}, {"TasksMax": INFINITY}),
    ({"blockIO": {"weight": 500}}, {"IOWeight": 4950}, {"BlockIOWeight": 500}),
    (
        {"unified": {"memory.high": "1048576", "memory.min": "max"}},
        {"MemoryHigh": MIB, "MemoryMin": INFINITY},
        {},
    ),
    ({"unified": {"cpu.max": "25000 50000"}}, PLENTY, {}),
    (
        {"unified": {"cpu.max": "max 100000"}},
        {"CPUQuotaPerSecUSec": INFINITY, "CPUQuotaPeriodUSec": 100_000},
        {},
    ),
    ({"unified": {"cpu.weight": "7"}}, {"CPUWeight": 7}, {}),
    ({"unified": {"io.weight": "default 7"}}, {"IOWeight": 7}, {}),
    ({"unified": {"io.weight": "8"}}, {"IOWeight": 8}, {}),
    ({"unified": {"io.weight": "8:0 7"}}, {}, {}),
    ({"unified": {"memory.zswap.max": "max"}}, {"MemoryZSwapMax": INFINITY}, {}),
    ({"unified": {"cpu.idle": "1"}}, {"CPUWeight": 0}, {}),
    ({"unified": {"cpuset.cpus": "1"}}, {"AllowedCPUs": b"\2"}, {}),
    ({"unified": {"cpuset.mems": "0-1"}}, {"AllowedMemoryNodes": b"\3"}, {}),
    ({"unified": {"memory.oom.group": "1", "io.max": "8:0 rbps=1"}}, {}, {}),
]


def eight_mebibytes(controller: str, file: str) -> "str | None":
    return f"{8 * MIB}\n" if (controller, file) == ("memory", "memory.max") else None


def values(properties: "dict[str, tuple[str, Any]]") -> dict[str, Any]:
    return {name: value for name, (_, value) in properties.items()}


@pytest.mark.parametrize(("resources", "v2", "v1"), TABLE)
def test_limits_become_properties(resources: dict[str, Any], v2: dict[str, Any], v1: dict[str, Any]) -> None:
    assert values(of_resources(resources, eight_mebibytes, v2=True)) == v2
    assert values(of_resources(resources, eight_mebibytes, v2=False)) == v1


def test_a_scope_is_delegated_and_never_left_failed() -> None:
    properties = values(of_unit("x.scope", "a.slice", "c1", v2=True))
    assert properties["Description"] == "pyoci container c1"
    assert (properties["Slice"], properties["Delegate"]) == ("a.slice", True)
    assert properties["CollectMode"] == "inactive-or-failed"
    assert properties["DefaultDependencies"] is False
    accounted = {name for name, value in properties.items() if name.endswith("Accounting") and value}
    assert accounted == {"MemoryAccounting", "CPUAccounting", "IOAccounting", "TasksAccounting"}


def test_a_slice_can_not_be_delegated_and_wants_its_parent() -> None:
    properties = values(of_unit("a-b.slice", "a.slice", "c1", v2=True))
    assert properties["Wants"] == ["a.slice"]
    assert not properties.keys() & {"Slice", "Delegate", "PIDs"}


@pytest.mark.parametrize(
    ("version", "missing"),
    [
        (235, {"CollectMode", "MemoryMin", "CPUQuotaPeriodUSec", "AllowedCPUs", "OOMPolicy", "CPUWeight"}),
        (241, {"CPUQuotaPeriodUSec", "AllowedCPUs", "OOMPolicy", "CPUWeight"}),
        (243, {"AllowedCPUs", "OOMPolicy", "CPUWeight"}),
        (251, {"OOMPolicy", "CPUWeight"}),
        (252, {"OOMPolicy"}),
        (253, set()),
    ],
)
def test_an_older_systemd_is_not_asked_for_what_it_does_not_have(version: int, missing: set[str]) -> None:
    resources = {
        "cpu": {"idle": 1, "quota": 1000, "period": 1000, "cpus": "0"},
        "unified": {"memory.min": "1"},
    }
    wanted = of_unit("x.scope", "a.slice", "c1", v2=True) | of_resources(resources, eight_mebibytes, v2=True)
    assert wanted.keys() - supported(wanted, version).keys() == missing


def test_an_ordinary_weight_is_older_than_the_idle_one() -> None:
    assert supported({"CPUWeight": ("t", 5)}, 240) == {"CPUWeight": ("t", 5)}


def test_annotations_are_properties() -> None:
    annotations = {
        "org.systemd.property.TimeoutStopUSec": "uint64 123",
        "org.systemd.property.CollectMode": "'inactive'",
        "org.systemd.property.After": "['a.service', 'b.service']",
        "org.example": "nothing of ours",
    }
    assert of_annotations(annotations) == {
        "TimeoutStopUSec": ("t", 123),
        "CollectMode": ("s", "inactive"),
        "After": ("as", ["a.service", "b.service"]),
    }


@pytest.mark.parametrize(
    ("text", "microseconds"), [("7", 7_000_000), ("uint64 7", 7_000_000), ("1.5", 1_500_000)]
)
def test_seconds_become_microseconds(text: str, microseconds: int) -> None:
    given = of_annotations({"org.systemd.property.TimeoutStopSec": text})
    assert given == {"TimeoutStopUSec": ("t", microseconds)}


@pytest.mark.parametrize(
    ("name", "text", "why"),
    [
        ("timeout", "1", "name of a property"),
        ("Time-out", "1", "name of a property"),
        ("", "1", "name of a property"),
        ("PIDs", "[uint32 1]", "own to set"),
        ("Slice", "'a.slice'", "own to set"),
        ("Delegate", "false", "own to set"),
        ("CollectMode", "inactive", "GVariant"),
        ("TimeoutStopSec", "'1'", "seconds"),
        ("TimeoutStopSec", "-1", "seconds"),
        ("TimeoutStopSec", "1e300", "seconds"),
    ],
)
def test_an_annotation_that_means_nothing_is_an_error_at_its_place(name: str, text: str, why: str) -> None:
    with pytest.raises(ConfigError) as caught:
        of_annotations({f"org.systemd.property.{name}": text})
    (problem,) = caught.value.problems
    assert problem.pointer == f"/annotations/org.systemd.property.{name}"
    assert why in problem.message


DENY_ALL = {"allow": False, "access": "rwm"}


def devices_of(*rules: dict[str, Any]) -> list[Any]:
    return of_devices(devices_v1.wanted(list(rules), devices_v1.Memory()))


def test_device_rules_of_v1_are_an_allow_list() -> None:
    fuse = {"allow": True, "type": "c", "major": 10, "minor": 229, "access": "rw"}
    disks = {"allow": True, "type": "b", "major": 8, "access": "r"}
    policy, forgotten, (name, (signature, allowed)) = devices_of(DENY_ALL, fuse, disks)
    assert policy == ("DevicePolicy", ("s", "strict"))
    assert forgotten == ("DeviceAllow", ("a(ss)", []))
    assert (name, signature) == ("DeviceAllow", "a(ss)")
    assert allowed[:4] == [
        ("/dev/char/10:229", "rw"),
        ("block-8", "r"),
        ("char-*", "m"),
        ("block-*", "m"),
    ]


def test_all_devices_are_no_list() -> None:
    assert devices_of(DENY_ALL, {"allow": True}) == [
        ("DevicePolicy", ("s", "auto")),
        ("DeviceAllow", ("a(ss)", [])),
    ]


@pytest.mark.parametrize(
    "rules",
    [
        [{"allow": False, "type": "b", "major": 8}],
        [DENY_ALL, {"allow": True, "type": "c", "minor": 3}],
    ],
)
def test_device_rules_that_systemd_has_not_are_an_error(rules: list[dict[str, Any]]) -> None:
    with pytest.raises(ConfigError) as caught:
        devices_of(*rules)
    assert caught.value.problems[0].pointer == f"/linux/resources/devices/{len(rules) - 1}"
