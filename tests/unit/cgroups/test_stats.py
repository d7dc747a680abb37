"""The statistics of `events`, from control files such as each layout has them."""

from __future__ import annotations

from pathlib import Path

from pyoci.cgroups import tree
from pyoci.cgroups.members import out_of_memory_kills
from pyoci.cgroups.stats import UNLIMITED, stats

V1 = {
    "memory": {
        "memory.usage_in_bytes": "4096\n",
        "memory.max_usage_in_bytes": "8192\n",
        "memory.failcnt": "3\n",
        "memory.limit_in_bytes": "65536\n",
        "memory.stat": "cache 100\nrss 200\n",
        "memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n",
    },
    "cpu": {"cpu.stat": "nr_periods 5\nnr_throttled 2\nthrottled_time 900\n"},
    "cpuacct": {
        "cpuacct.usage": "1000\n",
        "cpuacct.usage_percpu": "600 400 \n",
        "cpuacct.usage_all": "cpu user system\n0 400 200\n1 300 100\n",
        "cpuacct.stat": "user 70\nsystem 30\n",
    },
    "cpuset": {"cpuset.cpus": "0-1,3\n", "cpuset.mems": "0\n", "cpuset.sched_load_balance": "1\n"},
    "pids": {"pids.current": "4\n", "pids.max": "10\n"},
    "blkio": {
        "blkio.throttle.io_service_bytes_recursive": "254:0 Read 4096\n254:0 Write 0\nTotal 4096\n",
        "blkio.bfq.time_recursive": "254:0 77\n",
    },
    "hugetlb": {
        "hugetlb.2MB.rsvd.usage_in_bytes": "2097152\n",
        "hugetlb.2MB.rsvd.max_usage_in_bytes": "4194304\n",
        "hugetlb.2MB.rsvd.failcnt": "1\n",
        "hugetlb.2MB.usage_in_bytes": "0\n",
    },
}
V2 = {
    "memory.current": "4096\n",
    "memory.peak": "8192\n",
    "memory.max": "65536\n",
    "memory.swap.current": "1024\n",
    "memory.swap.max": "max\n",
    "memory.swap.events": "high 0\nmax 6\nfail 0\n",
    "memory.events": "low 0\nhigh 0\nmax 3\noom 1\noom_kill 2\n",
    "memory.stat": "anon 200\nfile 100\n",
    "cpu.stat": "usage_usec 10\nuser_usec 7\nsystem_usec 3\nnr_periods 5\nnr_throttled 2\nthrottled_usec 9\n",
    "cpuset.cpus": "\n",
    "cpuset.cpus.effective": "0-1\n",
    "pids.current": "4\n",
    "pids.max": "max\n",
    "io.stat": "254:0 rbytes=4096 wbytes=0 rios=1 wios=0 dbytes=0 dios=0\n",
    "hugetlb.2MB.rsvd.current": "2097152\n",
    "hugetlb.2MB.current": "0\n",
    "hugetlb.2MB.events": "max 5\n",
    "cpu.pressure": "some avg10=1.50 avg60=0.00 avg300=0.00 total=77\n",
    "memory.pressure": "some avg10=0.00 avg60=0.00 avg300=0.00 total=1\n"
    "full avg10=0.00 avg60=0.00 avg300=0.00 total=2\n",
}


def directory(base: Path, files: dict[str, str], controllers: str = "") -> str:
    (base / "c").mkdir(parents=True)
    for name, text in files.items():
        (base / "c" / name).write_text(text)
    (base / "cgroup.controllers").write_text(controllers)
    return str(base)


def v1(base: Path, *without: str) -> list[tree.Group]:
    return [
        tree.Group(str(base / name), (name,), directory(base / name, files) + "/c", False, [])
        for name, files in V1.items()
        if name not in without
    ]


def unified(base: Path, files: dict[str, str], controllers: str) -> tree.Group:
    path = directory(base / "unified", files, controllers)
    return tree.Group(path, (tree.UNIFIED,), path + "/c", False, [])


def test_v1(tmp_path: Path) -> None:
    groups = tree.Cgroups("v1", "/c", v1(tmp_path))
    found = stats(groups)
    assert found["cpu"] == {
        "usage": {
            "total": 1000,
            "percpu": [600, 400],
            "percpu_kernel": [200, 100],
            "percpu_user": [400, 300],
            "kernel": 300_000_000,
            "user": 700_000_000,
        },
        "throttling": {"periods": 5, "throttledPeriods": 2, "throttledTime": 900},
    }
    assert found["cpuset"].items() >= {"cpus": [0, 1, 3], "mems": [0], "sched_load_balance": 1}.items()
    assert found["memory"]["usage"] == {"limit": 65536, "usage": 4096, "max": 8192, "failcnt": 3}
    assert found["memory"]["cache"] == 100
    assert found["memory"]["raw"] == {"cache": 100, "rss": 200}
    assert found["pids"] == {"current": 4, "limit": 10}
    assert found["blkio"] == {
        "ioServiceBytesRecursive": [
            {"op": "Read", "major": 254, "minor": 0, "value": 4096},
            {"op": "Write", "major": 254, "minor": 0, "value": 0},
        ],
        "ioTimeRecursive": [{"major": 254, "minor": 0, "value": 77}],
    }
    assert found["hugetlb"] == {"2MB": {"usage": 2097152, "max": 4194304, "failcnt": 1}}
    assert out_of_memory_kills(groups) == 2


def test_v2(tmp_path: Path) -> None:
    groups = tree.Cgroups("v2", "/c", [unified(tmp_path, V2, "")])
    found = stats(groups)
    assert found["cpu"]["usage"] == {"total": 10_000, "user": 7_000, "kernel": 3_000}
    assert found["cpu"]["throttling"] == {"periods": 5, "throttledPeriods": 2, "throttledTime": 9_000}
    assert found["cpu"]["psi"] == {"some": {"avg10": 1.5, "avg60": 0.0, "avg300": 0.0, "total": 77}}
    assert found["memory"]["psi"]["full"]["total"] == 2
    assert found["cpuset"]["cpus"] == [0, 1]
    assert found["memory"]["usage"] == {"limit": 65536, "usage": 4096, "max": 8192, "failcnt": 3}
    assert found["memory"]["swap"] == {"limit": UNLIMITED, "usage": 5120, "failcnt": 6}
    assert found["memory"]["raw"] == {"anon": 200, "file": 100}
    assert found["pids"] == {"current": 4}
    assert found["blkio"]["ioServiceBytesRecursive"][0] == {
        "op": "Read",
        "major": 254,
        "minor": 0,
        "value": 4096,
    }
    assert found["hugetlb"] == {"2MB": {"usage": 2097152, "failcnt": 5}}
    assert out_of_memory_kills(groups) == 2


def test_each_controller_is_looked_for_where_a_hybrid_host_has_it(tmp_path: Path) -> None:
    files = {name: text for name, text in V2.items() if name.startswith(("memory", "hugetlb", "cpu.p"))}
    groups = tree.Cgroups(
        "hybrid", "/c", [*v1(tmp_path, "memory", "hugetlb"), unified(tmp_path, files, "memory hugetlb\n")]
    )
    found = stats(groups)
    assert found["memory"]["usage"] == {"limit": 65536, "usage": 4096, "max": 8192, "failcnt": 3}
    assert found["memory"]["raw"] == {"anon": 200, "file": 100}
    assert found["hugetlb"] == {"2MB": {"usage": 2097152, "failcnt": 5}}
    assert found["cpu"]["usage"]["total"] == 1000
    assert found["cpu"]["psi"]["some"]["total"] == 77
    assert found["pids"] == {"current": 4, "limit": 10}
    assert out_of_memory_kills(groups) == 2
