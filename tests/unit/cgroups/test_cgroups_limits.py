"""linux.resources -> writes on both versions, and their execution in a stand-in for a tree."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyoci.cgroups import refusal, tree, v1, v2
from pyoci.cgroups.layout import Layout
from pyoci.cgroups.ownership import TakenError
from pyoci.errors import ConfigError, Error


def nothing(controller: str, file: str) -> str | None:
    return None


def files(limits: Any, resources: dict[str, Any], now: dict[str, str] | None = None) -> list[tuple[str, str]]:
    """(first file, value) of each write."""
    contents = now or {}
    return [(write[2][0], write[3]) for write in limits(resources, lambda _, file: contents.get(file))]


def pointer_of_refusal(limits: Any, resources: dict[str, Any]) -> str:
    with pytest.raises(ConfigError) as caught:
        limits(resources, nothing)
    return caught.value.problems[0].pointer


EVERYTHING_V1 = [
    ({"memory": {"limit": 64}}, [("memory.limit_in_bytes", "64")]),
    ({"memory": {"swap": -1}}, [("memory.memsw.limit_in_bytes", "-1")]),
    ({"memory": {"reservation": 5}}, [("memory.soft_limit_in_bytes", "5")]),
    ({"memory": {"kernel": 7}}, [("memory.kmem.limit_in_bytes", "7")]),
    ({"memory": {"kernelTCP": 7}}, [("memory.kmem.tcp.limit_in_bytes", "7")]),
    ({"memory": {"swappiness": 0}}, [("memory.swappiness", "0")]),
    ({"memory": {"disableOOMKiller": False}}, [("memory.oom_control", "0")]),
    ({"memory": {"useHierarchy": True}}, [("memory.use_hierarchy", "1")]),
    (
        {"memory": {"limit": -1}},
        [("memory.limit_in_bytes", "-1"), ("memory.memsw.limit_in_bytes", "-1")],
    ),
    ({"memory": {"limit": 0, "swap": 0}, "cpu": {"shares": 0, "quota": 0}, "blockIO": {"weight": 0}}, []),
    (
        {"cpu": {"shares": 2, "idle": 1, "period": 9, "quota": -1, "burst": 0}},
        [
            ("cpu.shares", "2"),
            ("cpu.idle", "1"),
            ("cpu.cfs_period_us", "9"),
            ("cpu.cfs_quota_us", "-1"),
            ("cpu.cfs_burst_us", "0"),
        ],
    ),
    (
        {"cpu": {"realtimeRuntime": 0, "realtimePeriod": 8}},
        [("cpu.rt_period_us", "8"), ("cpu.rt_runtime_us", "0")],
    ),
    ({"cpu": {"cpus": "0-1", "mems": "0"}}, [("cpuset.cpus", "0-1"), ("cpuset.mems", "0")]),
    ({"pids": {"limit": 0}}, [("pids.max", "0")]),
    ({"pids": {"limit": -1}}, [("pids.max", "max")]),
    (
        {
            "blockIO": {
                "weight": 10,
                "leafWeight": 11,
                "weightDevice": [{"major": 8, "minor": 0, "weight": 20, "leafWeight": 30}],
                "throttleReadBpsDevice": [{"major": 8, "minor": 0, "rate": 1}],
                "throttleWriteBpsDevice": [{"major": 8, "minor": 0, "rate": 2}],
                "throttleReadIOPSDevice": [{"major": 8, "minor": 0, "rate": 3}],
                "throttleWriteIOPSDevice": [{"major": 8, "minor": 0, "rate": 4}],
            }
        },
        [
            ("blkio.weight", "10"),
            ("blkio.leaf_weight", "11"),
            ("blkio.weight_device", "8:0 20"),
            ("blkio.leaf_weight_device", "8:0 30"),
            ("blkio.throttle.read_bps_device", "8:0 1"),
            ("blkio.throttle.write_bps_device", "8:0 2"),
            ("blkio.throttle.read_iops_device", "8:0 3"),
            ("blkio.throttle.write_iops_device", "8:0 4"),
        ],
    ),
    (
        {"hugepageLimits": [{"pageSize": "2MB", "limit": 9}]},
        [("hugetlb.2MB.rsvd.limit_in_bytes", "9"), ("hugetlb.2MB.limit_in_bytes", "9")],
    ),
    (
        {"network": {"classID": 0x100001, "priorities": [{"name": "eth0", "priority": 5}]}},
        [("net_cls.classid", "1048577"), ("net_prio.ifpriomap", "eth0 5")],
    ),
    (
        {"rdma": {"mlx5_1": {"hcaHandles": 3, "hcaObjects": 9}}},
        [("rdma.max", "mlx5_1 hca_handle=3 hca_object=9")],
    ),
    ({"unified": {}, "devices": [], "memory": {}}, []),
]


@pytest.mark.parametrize(("resources", "expected"), EVERYTHING_V1)
def test_v1_has_a_file_for_each_property(resources: dict[str, Any], expected: list[tuple[str, str]]) -> None:
    assert files(v1.limits, resources) == expected


def test_v1_refuses_unified() -> None:
    assert pointer_of_refusal(v1.limits, {"unified": {"memory.high": "1"}}) == "/linux/resources/unified"


EVERYTHING_V2 = [
    ({"memory": {"limit": 64, "reservation": -1}}, [("memory.max", "64"), ("memory.low", "max")]),
    ({"memory": {"limit": 64, "swap": 100}}, [("memory.max", "64"), ("memory.swap.max", "36")]),
    ({"memory": {"limit": 64, "swap": 64}}, [("memory.max", "64"), ("memory.swap.max", "0")]),
    ({"memory": {"limit": 64, "swap": -1}}, [("memory.max", "64"), ("memory.swap.max", "max")]),
    ({"memory": {"limit": -1}}, [("memory.max", "max"), ("memory.swap.max", "max")]),
    ({"memory": {"disableOOMKiller": False, "useHierarchy": True, "kernelTCP": 0}}, []),
    # No kernel has these files: `limits` warns.
    ({"memory": {"kernel": 7}}, [("memory.kmem.limit_in_bytes", "7")]),
    ({"memory": {"kernelTCP": -1}}, [("memory.kmem.tcp.limit_in_bytes", "max")]),
    ({"cpu": {"shares": 1024}}, [("cpu.weight", "100")]),
    ({"cpu": {"shares": 0, "quota": 0, "period": 0}}, []),
    ({"cpu": {"quota": 5000}}, [("cpu.max", "5000")]),
    ({"cpu": {"quota": -1, "period": 9000}}, [("cpu.max", "max 9000")]),
    ({"cpu": {"period": 9000}}, [("cpu.max", "max 9000")]),
    ({"cpu": {"idle": 1, "burst": 10}}, [("cpu.idle", "1"), ("cpu.max.burst", "10")]),
    ({"cpu": {"cpus": "0", "mems": "0"}}, [("cpuset.cpus", "0"), ("cpuset.mems", "0")]),
    ({"pids": {"limit": 0}}, [("pids.max", "0")]),
    ({"pids": {"limit": -1}}, [("pids.max", "max")]),
    ({"blockIO": {"weight": 1000}}, [("io.weight", "default 10000")]),
    (
        {
            "blockIO": {
                "weightDevice": [{"major": 8, "minor": 0, "weight": 10}],
                "throttleReadBpsDevice": [{"major": 8, "minor": 0, "rate": 1}],
                "throttleWriteBpsDevice": [{"major": 8, "minor": 0, "rate": 2}],
                "throttleReadIOPSDevice": [{"major": 8, "minor": 0, "rate": 3}],
                "throttleWriteIOPSDevice": [{"major": 8, "minor": 0, "rate": 0}],
            }
        },
        [
            ("io.weight", "8:0 1"),
            ("io.max", "8:0 rbps=1"),
            ("io.max", "8:0 wbps=2"),
            ("io.max", "8:0 riops=3"),
            ("io.max", "8:0 wiops=max"),
        ],
    ),
    (
        {"hugepageLimits": [{"pageSize": "1GB", "limit": 0}]},
        [("hugetlb.1GB.rsvd.max", "0"), ("hugetlb.1GB.max", "0")],
    ),
    ({"rdma": {"mlx5_1": {"hcaHandles": 3}}}, [("rdma.max", "mlx5_1 hca_handle=3")]),
    (
        {"pids": {"limit": 5}, "unified": {"io.max": "8:0 rbps=1\n8:16 wbps=2", "pids.max": "7"}},
        [("pids.max", "5"), ("io.max", "8:0 rbps=1"), ("io.max", "8:16 wbps=2"), ("pids.max", "7")],
    ),
]


@pytest.mark.parametrize(("resources", "expected"), EVERYTHING_V2)
def test_v2_has_a_file_for_each_property(resources: dict[str, Any], expected: list[tuple[str, str]]) -> None:
    assert files(v2.limits, resources) == expected


def test_v2_gives_bfq_the_weight_as_it_is() -> None:
    assert files(v2.limits, {"blockIO": {"weight": 500}}, {"io.bfq.weight": "default 100"}) == [
        ("io.bfq.weight", "500")
    ]


def test_v2_keeps_the_quota_when_just_the_period_changes() -> None:
    assert files(v2.limits, {"cpu": {"period": 50000}}, {"cpu.max": "20000 100000\n"}) == [
        ("cpu.max", "20000 50000")
    ]


def test_v2_takes_the_limit_that_is_set_when_just_swap_changes() -> None:
    assert files(v2.limits, {"memory": {"swap": 100}}, {"memory.max": "64\n"}) == [("memory.swap.max", "36")]


@pytest.mark.parametrize(
    ("resources", "pointer"),
    [
        ({"memory": {"swappiness": 0}}, "memory/swappiness"),
        ({"memory": {"disableOOMKiller": True}}, "memory/disableOOMKiller"),
        ({"memory": {"useHierarchy": False}}, "memory/useHierarchy"),
        ({"memory": {"swap": 5}}, "memory/swap"),
        ({"memory": {"limit": 10, "swap": 5}}, "memory/swap"),
        ({"memory": {"limit": -1, "swap": 5}}, "memory/swap"),
        ({"cpu": {"realtimeRuntime": 5}}, "cpu/realtimeRuntime"),
        ({"cpu": {"realtimePeriod": 5}}, "cpu/realtimePeriod"),
        ({"blockIO": {"leafWeight": 5}}, "blockIO/leafWeight"),
        (
            {"blockIO": {"weightDevice": [{"major": 1, "minor": 1, "leafWeight": 5}]}},
            "blockIO/weightDevice/0/leafWeight",
        ),
        ({"network": {"classID": 5}}, "network/classID"),
        ({"network": {"priorities": [{"name": "lo", "priority": 1}]}}, "network/priorities"),
        ({"unified": {"../pids.max": "1"}}, "unified/..~1pids.max"),
        ({"unified": {"memory": "1"}}, "unified/memory"),
    ],
)
def test_v2_refuses_what_it_can_not_do_and_names_it(resources: dict[str, Any], pointer: str) -> None:
    assert pointer_of_refusal(v2.limits, resources) == "/linux/resources/" + pointer


@pytest.mark.parametrize("size", ["MB", "2M", "2mb", "../MB", "", "2 MB", "²MB"])
@pytest.mark.parametrize("limits", [v1.limits, v2.limits])
def test_a_page_size_that_is_none_is_refused(limits: Any, size: str) -> None:
    resources = {"hugepageLimits": [{"pageSize": size, "limit": 1}]}
    assert pointer_of_refusal(limits, resources) == "/linux/resources/hugepageLimits/0/pageSize"


@pytest.mark.parametrize("limits", [v1.limits, v2.limits])
def test_check_before_update_refuses_a_limit_below_the_usage(limits: Any) -> None:
    usage = {"memory.usage_in_bytes": "100\n", "memory.current": "100\n"}
    assert files(limits, {"memory": {"limit": 100, "checkBeforeUpdate": True}}, usage)
    assert files(limits, {"memory": {"limit": 99}}, usage)
    with pytest.raises(ConfigError, match="below the 100 bytes in use"):
        files(limits, {"memory": {"limit": 99, "checkBeforeUpdate": True}}, usage)


@pytest.mark.parametrize(
    ("shares", "weight"), [(1, 1), (2, 1), (1024, 100), (262144, 10000), (999999, 10000)]
)
def test_shares_and_weight_have_the_same_least_default_and_most(shares: int, weight: int) -> None:
    assert v2.weight_of_shares(shares) == weight


@given(st.integers(2, 262143))
def test_more_shares_are_never_less_weight(shares: int) -> None:
    assert 1 <= v2.weight_of_shares(shares) <= v2.weight_of_shares(shares + 1) <= 10000


@pytest.fixture
def v2_tree(tmp_path: Path) -> Path:
    """A stand-in for a v2 tree whose root has pids and memory, not yet given to its children."""
    (tmp_path / "cgroup.controllers").write_text("memory pids\n")
    (tmp_path / "cgroup.subtree_control").write_text("")
    return tmp_path


def container_in(base: Path, *present: str) -> tree.Cgroups:
    cgroups = tree.open_for(Layout("v2", [], str(base)), "/pyoci/web")
    cgroups.create()
    (base / "pyoci/cgroup.subtree_control").write_text("")
    for file in ("cgroup.controllers", *present):
        (base / "pyoci/web" / file).write_text("")
    return cgroups


def test_the_needed_controllers_are_enabled_in_every_directory_above(v2_tree: Path) -> None:
    cgroups = container_in(v2_tree, "pids.max", "memory.max")
    cgroups.apply({"pids": {"limit": 7}, "memory": {"limit": 64}})
    for directory in (v2_tree, v2_tree / "pyoci"):
        assert (directory / "cgroup.subtree_control").read_text() == "+memory +pids"
    assert (v2_tree / "pyoci/web/pids.max").read_text() == "7"
    assert (v2_tree / "pyoci/web/memory.max").read_text() == "64"


def test_without_limits_no_controller_is_enabled(v2_tree: Path) -> None:
    container_in(v2_tree).apply({"devices": [], "cpu": {}})
    assert (v2_tree / "cgroup.subtree_control").read_text() == ""


def test_a_controller_that_the_root_does_not_have_is_an_error_that_names_it(v2_tree: Path) -> None:
    with pytest.raises(ConfigError, match="the cpu controller isn't available") as caught:
        container_in(v2_tree).apply({"cpu": {"shares": 5}})
    assert caught.value.problems[0].pointer == "/linux/resources/cpu/shares"


def test_unlimited_needs_no_controller(v2_tree: Path) -> None:
    container_in(v2_tree).apply({"pids": {"limit": -1}})


def test_unified_needs_its_controller_whatever_the_value(v2_tree: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        container_in(v2_tree).apply({"unified": {"cpu.max": "max"}})
    assert caught.value.problems[0].pointer == "/linux/resources/unified/cpu.max"


def test_an_optional_file_may_be_missing(v2_tree: Path) -> None:
    (v2_tree / "cgroup.controllers").write_text("hugetlb")
    cgroups = container_in(v2_tree, "hugetlb.2MB.max")
    cgroups.apply({"hugepageLimits": [{"pageSize": "2MB", "limit": 4}]})
    assert (v2_tree / "pyoci/web/hugetlb.2MB.max").read_text() == "4"


def test_devices_on_v2_are_attached_to_the_containers_directory(v2_tree: Path) -> None:
    cgroups = container_in(v2_tree)
    attached = []

    def attach(cgroup: int, program: bytes) -> None:
        attached.append((Path(f"/proc/self/fd/{cgroup}").resolve(), len(program) % 8))

    cgroups.apply_devices([{"allow": False}], attach)
    assert attached == [(v2_tree / "pyoci/web", 0)]


def test_a_device_filter_that_can_not_be_attached_is_an_error_at_devices(v2_tree: Path) -> None:
    def attach(cgroup: int, program: bytes) -> None:
        raise PermissionError(1, "Operation not permitted")

    with pytest.raises(ConfigError, match="Operation not permitted") as caught:
        container_in(v2_tree).apply_devices([{"allow": False}], attach)
    assert caught.value.problems[0].pointer == "/linux/resources/devices"


def test_a_controller_that_is_not_mounted_is_an_error_only_if_it_is_asked_for(tmp_path: Path) -> None:
    (tmp_path / "freezer").mkdir()
    cgroups = tree.open_for(Layout("v1", [(str(tmp_path / "freezer"), ("freezer",))], None), "/pyoci/web")
    cgroups.create()
    cgroups.apply({"pids": {"limit": -1}, "memory": {"limit": -1}})
    with pytest.raises(ConfigError, match="pids controller isn't mounted") as caught:
        cgroups.apply({"pids": {"limit": 5}})
    assert caught.value.problems[0].pointer == "/linux/resources/pids/limit"
    with pytest.raises(ConfigError, match="devices controller isn't mounted"):
        cgroups.apply_devices([{"allow": False}])


@pytest.mark.parametrize(
    ("controller", "mode", "hint"),
    [
        ("net_cls", "v1", "mount -t cgroup -o net_cls"),
        ("rdma", "v1", "doesn't have the controller"),
        ("pids", "v1", "cgroup_disable="),
        ("io", "v2", "a cgroup v1 hierarchy has it"),
        ("net_cls", "v2", "hasn't been given it"),
    ],
)
def test_what_could_be_done_about_a_missing_controller(
    monkeypatch: pytest.MonkeyPatch, controller: str, mode: str, hint: str
) -> None:
    table = {"net_cls": (False, True), "pids": (False, False), "blkio": (True, True)}
    monkeypatch.setattr(refusal, "_known", lambda: table)
    assert hint in str(refusal.unavailable("/x", controller, mode).hint)


def test_what_is_recorded_is_what_comes_back(v2_tree: Path) -> None:
    cgroups = tree.open_for(Layout("v2", [], str(v2_tree)), "/team/a/web")
    record = cgroups.record()
    assert record["groups"][0][3] == [str(v2_tree / "team"), str(v2_tree / "team/a")]
    assert not (v2_tree / "team").exists(), "it is written down before anything is made"
    cgroups.create()
    again = tree.from_record(record)
    assert again.record() == record
    again.remove()
    assert not (v2_tree / "team").exists()


def test_a_directory_that_was_there_before_stays(v2_tree: Path) -> None:
    (v2_tree / "team/web").mkdir(parents=True)
    (v2_tree / "team/web/cgroup.procs").write_text("")
    (v2_tree / "team/web/cgroup.freeze").write_text("0\n")
    cgroups = tree.open_for(Layout("v2", [], str(v2_tree)), "/team/web")
    cgroups.create()
    cgroups.remove()
    assert (v2_tree / "team/web").is_dir()


def test_a_cgroup_with_processes_is_not_fit(v2_tree: Path) -> None:
    (v2_tree / "web/below").mkdir(parents=True)
    (v2_tree / "web/cgroup.procs").write_text("10\n11\n")
    (v2_tree / "web/below/cgroup.procs").write_text("12\n")
    (v2_tree / "web/cgroup.freeze").write_text("0\n")
    with pytest.raises(Error, match=r"not empty: 3 process\(es\) found"):
        tree.open_for(Layout("v2", [], str(v2_tree)), "/web")


def test_a_frozen_cgroup_is_not_fit(v2_tree: Path) -> None:
    (v2_tree / "web").mkdir()
    (v2_tree / "web/cgroup.procs").write_text("")
    (v2_tree / "web/cgroup.freeze").write_text("1\n")
    with pytest.raises(Error, match="unexpectedly frozen"):
        tree.open_for(Layout("v2", [], str(v2_tree)), "/web")


def test_a_parent_that_a_delete_takes_away_meanwhile_is_made_again(v2_tree: Path) -> None:
    (v2_tree / "pyoci").mkdir()
    cgroups = tree.open_for(Layout("v2", [], str(v2_tree)), "/pyoci/web")
    (v2_tree / "pyoci").rmdir()
    cgroups.create()
    assert (v2_tree / "pyoci/web").is_dir()
    cgroups.remove()
    assert not (v2_tree / "pyoci").exists()


def test_a_directory_that_somebody_else_makes_meanwhile_is_not_ours(v2_tree: Path) -> None:
    cgroups = tree.open_for(Layout("v2", [], str(v2_tree)), "/web")
    (v2_tree / "web").mkdir()
    with pytest.raises(TakenError, match="somebody else"):
        cgroups.create()
    cgroups.kill()
    cgroups.remove()
    assert (v2_tree / "web").is_dir()
    assert not (v2_tree / "web/cgroup.kill").exists()


def test_of_two_who_found_it_empty_only_one_has_it(v2_tree: Path) -> None:
    (v2_tree / "web").mkdir()
    (v2_tree / "web/cgroup.procs").write_text("")
    (v2_tree / "web/cgroup.freeze").write_text("0\n")
    first, second = (tree.open_for(Layout("v2", [], str(v2_tree)), "/web") for _ in range(2))
    first.create()
    with pytest.raises(TakenError):
        second.create()
    first.close()
    (v2_tree / "web/cgroup.procs").write_text("5")
    third = tree.Cgroups("v2", "/web", [tree.Group(str(v2_tree), ("unified",), f"{v2_tree}/web", True, [])])
    with pytest.raises(TakenError, match="not empty"):
        third.create()


def test_removing_twice_is_fine(v2_tree: Path) -> None:
    cgroups = tree.open_for(Layout("v2", [], str(v2_tree)), "/web")
    cgroups.create()
    cgroups.remove()
    cgroups.remove()


def test_what_can_not_be_removed_is_named(v2_tree: Path) -> None:
    cgroups = tree.open_for(Layout("v2", [], str(v2_tree)), "/web")
    cgroups.create()
    (v2_tree / "web/kept").write_text("")
    with pytest.raises(Error, match=f"{v2_tree}/web"):
        cgroups.remove(timeout=0.01)
