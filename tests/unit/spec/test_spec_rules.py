"""Each rule on both sides: what breaks it, and the nearest thing that doesn't."""

from __future__ import annotations

from typing import Any

import pytest

from pyoci.spec import rules
from pyoci.spec._validator import is_valid

MAPPING = {"containerID": 0, "hostID": 1000, "size": 10}
MAPPINGS = {"uidMappings": [MAPPING], "gidMappings": [MAPPING]}
BIND = {"destination": "/a", "source": "/b", "options": ["bind", "idmap"]}
MISMATCH = {"path": "/dev/x", "type": "c", "major": 1, "minor": 3}


def namespaces(*types: str, **joined: str) -> list[dict[str, str]]:
    return [{"type": kind} for kind in types] + [{"type": kind, "path": joined[kind]} for kind in joined]


def linux(*types: str, **members: Any) -> dict[str, Any]:
    return {"linux": {"namespaces": namespaces(*types), **members}}


def process(**members: Any) -> dict[str, Any]:
    return {"process": {"args": ["x"], "cwd": "/", "user": {"uid": 0, "gid": 0}, **members}}


def rlimits(*limits: tuple[str, int, int]) -> dict[str, Any]:
    return process(
        rlimits=[{"type": f"RLIMIT_{name}", "soft": soft, "hard": hard} for name, soft, hard in limits]
    )


def scheduler(policy: str, **members: int) -> dict[str, Any]:
    return process(scheduler={"policy": f"SCHED_{policy}", **members})


def policy(mode: str, **members: Any) -> dict[str, Any]:
    return linux(memoryPolicy={"mode": f"MPOL_{mode}", **members})


def seccomp(default: str, *actions: str, names: Any = ("getcwd",), errno: Any = None, **members: Any) -> Any:
    syscalls = [
        {"names": list(names), "action": f"SCMP_ACT_{action}", "errnoRet": errno} for action in actions
    ]
    return linux(seccomp={"defaultAction": f"SCMP_ACT_{default}", "syscalls": syscalls, **members})


def resources(**members: Any) -> dict[str, Any]:
    return linux(resources=members)


# What is wrong, where it says so, and the like that is right.
CASES: dict[str, tuple[dict[str, Any], str, dict[str, Any]]] = {
    "a type of namespace twice": (linux("pid", "pid"), "/linux/namespaces/1/type", linux("pid", "ipc")),
    "a type of rlimit twice": (
        rlimits(("CPU", 1, 1), ("CPU", 2, 2)),
        "/process/rlimits/1/type",
        rlimits(("CPU", 1, 1), ("CORE", 2, 2)),
    ),
    "a soft limit above the hard one": (
        rlimits(("CPU", 2, 1)),
        "/process/rlimits/0/soft",
        rlimits(("CPU", 1, 1)),
    ),
    "a terminal that is too large": (
        process(terminal=True, consoleSize={"height": 65536, "width": 1}),
        "/process/consoleSize/height",
        process(terminal=False, consoleSize={"height": 65536, "width": 1}),
    ),
    "a real-time policy without priority": (
        scheduler("FIFO"),
        "/process/scheduler/priority",
        scheduler("FIFO", priority=1),
    ),
    "a priority without such a policy": (
        scheduler("BATCH", priority=1),
        "/process/scheduler/priority",
        scheduler("BATCH", nice=1, priority=0),
    ),
    "a deadline without such a policy": (
        scheduler("OTHER", deadline=1),
        "/process/scheduler/deadline",
        scheduler("OTHER", deadline=0),
    ),
    "a deadline policy without runtime": (
        scheduler("DEADLINE", deadline=2000),
        "/process/scheduler/runtime",
        scheduler("DEADLINE", deadline=2000, runtime=1024),
    ),
    "a deadline before its runtime": (
        scheduler("DEADLINE", runtime=2000, deadline=1999),
        "/process/scheduler/deadline",
        scheduler("DEADLINE", runtime=2000, deadline=2000),
    ),
    "a period before its deadline": (
        scheduler("DEADLINE", runtime=2000, deadline=3000, period=2999),
        "/process/scheduler/period",
        scheduler("DEADLINE", runtime=2000, deadline=3000, period=3000),
    ),
    "a hostname on the host": ({"hostname": "x"}, "/hostname", {"hostname": "x", **linux("uts")}),
    "a domainname on the host": (
        {"domainname": "x", **linux("mount")},
        "/domainname",
        {"domainname": "x", "linux": {"namespaces": namespaces(uts="/x")}},
    ),
    "masking the host's paths": (
        linux("pid", maskedPaths=["/a"]),
        "/linux/maskedPaths",
        linux("mount", maskedPaths=["/a"]),
    ),
    "protecting the host's paths": (
        linux("pid", readonlyPaths=["/a"]),
        "/linux/readonlyPaths",
        linux("pid", readonlyPaths=[]),
    ),
    "user ids without group ids": (
        linux("mount", "user", uidMappings=[MAPPING]),
        "/linux/uidMappings",
        linux("mount", "user", **MAPPINGS),
    ),
    "group ids without user ids": (
        linux("mount", "user", gidMappings=[MAPPING]),
        "/linux/gidMappings",
        linux("mount", "user", **MAPPINGS),
    ),
    "a new user namespace without mappings": (
        linux("mount", "user"),
        "/linux/namespaces/1",
        {"linux": {"namespaces": namespaces("pid", user="/x")}},
    ),
    "ids beyond 32 bits": (
        linux("mount", "user", **{**MAPPINGS, "uidMappings": [{**MAPPING, "hostID": (1 << 32) - 9}]}),
        "/linux/uidMappings/0/size",
        linux("mount", "user", **{**MAPPINGS, "uidMappings": [{**MAPPING, "hostID": (1 << 32) - 10}]}),
    ),
    "ids that overlap inside": (
        linux(
            "mount",
            "user",
            **{**MAPPINGS, "uidMappings": [MAPPING, {**MAPPING, "containerID": 9, "hostID": 1}]},
        ),
        "/linux/uidMappings/1/containerID",
        linux(
            "mount",
            "user",
            **{**MAPPINGS, "uidMappings": [MAPPING, {**MAPPING, "containerID": 10, "hostID": 1}]},
        ),
    ),
    "ids that overlap outside": (
        linux("mount", "user", **{**MAPPINGS, "gidMappings": [MAPPING, {**MAPPING, "containerID": 10}]}),
        "/linux/gidMappings/1/hostID",
        linux(
            "mount",
            "user",
            **{**MAPPINGS, "gidMappings": [MAPPING, {"containerID": 10, "hostID": 1010, "size": 1}]},
        ),
    ),
    "a mount with user ids only": (
        {"mounts": [{**BIND, "uidMappings": [MAPPING]}]},
        "/mounts/0/uidMappings",
        {"mounts": [{**BIND, **MAPPINGS}]},
    ),
    "a mount with ids that overlap": (
        {"mounts": [{**BIND, **MAPPINGS, "gidMappings": [MAPPING, MAPPING]}]},
        "/mounts/0/gidMappings/1/containerID",
        {"mounts": [{**BIND, **MAPPINGS}]},
    ),
    "a mapped mount without mappings": (
        {"mounts": [BIND]},
        "/mounts/0/options/1",
        {"mounts": [BIND], **linux("mount", "user", **MAPPINGS)},
    ),
    "time offsets of the host": (
        linux("pid", timeOffsets={"monotonic": {"secs": 1}}),
        "/linux/timeOffsets",
        linux("time", timeOffsets={"monotonic": {"secs": 1}}),
    ),
    "time offsets of a joined namespace": (
        {"linux": {"namespaces": namespaces(time="/x"), "timeOffsets": {"boottime": {"secs": 1}}}},
        "/linux/timeOffsets",
        {"linux": {"namespaces": namespaces(time="/x"), "timeOffsets": {}}},
    ),
    "two devices at one path": (
        linux(devices=[MISMATCH, {**MISMATCH, "minor": 5}]),
        "/linux/devices/1/path",
        linux(devices=[MISMATCH, {**MISMATCH, "type": "u"}]),
    ),
    "interfaces without a network namespace": (
        linux("pid", netDevices={"eth0": {}}),
        "/linux/netDevices",
        {"linux": {"namespaces": namespaces(network="/x"), "netDevices": {"eth0": {}}}},
    ),
    "two interfaces of one name": (
        linux("network", netDevices={"eth0": {}, "eth1": {"name": "eth0"}}),
        "/linux/netDevices/eth1",
        linux("network", netDevices={"eth0": {"name": "x%d"}, "eth1": {"name": "x%d"}}),
    ),
    "a parameter of the host": (
        linux("ipc", sysctl={"kernel.panic": "1"}),
        "/linux/sysctl/kernel.panic",
        linux("ipc", sysctl={"kernel.shm_rmid_forced": "1", "kernel/sem": "1", "fs.mqueue.msg_max": "5"}),
    ),
    "a parameter of a namespace of the host": (
        linux("ipc", sysctl={"net.ipv4.ip_forward": "1"}),
        "/linux/sysctl/net.ipv4.ip_forward",
        linux("network", sysctl={"net.ipv4.ip_forward": "1", "net/ipv4/conf/eth0.1/forwarding": "1"}),
    ),
    "a parameter that leads out of /proc/sys": (
        linux("network", sysctl={"net/../kernel/panic": "1"}),
        "/linux/sysctl/net~1..~1kernel~1panic",
        linux("network", sysctl={"net.ipv4.conf.eth0/1.forwarding": "1"}),
    ),
    "two host names": (
        {"hostname": "x", **linux("uts", sysctl={"kernel.hostname": "y"})},
        "/linux/sysctl/kernel.hostname",
        {"hostname": "x", **linux("uts", sysctl={"kernel.hostname": "x", "kernel.domainname": "y"})},
    ),
    "nodes that a policy doesn't take": (
        policy("LOCAL", nodes="0"),
        "/linux/memoryPolicy/nodes",
        policy("LOCAL", nodes=""),
    ),
    "nodes that a policy lacks": (policy("BIND"), "/linux/memoryPolicy/nodes", policy("PREFERRED")),
    "flags that exclude each other": (
        policy("BIND", nodes="0", flags=["MPOL_F_STATIC_NODES", "MPOL_F_RELATIVE_NODES"]),
        "/linux/memoryPolicy/flags",
        policy("BIND", nodes="0", flags=["MPOL_F_STATIC_NODES", "MPOL_F_NUMA_BALANCING"]),
    ),
    "a flag that a policy doesn't take": (
        policy("INTERLEAVE", nodes="0", flags=["MPOL_F_NUMA_BALANCING"]),
        "/linux/memoryPolicy/flags",
        policy("INTERLEAVE", nodes="0", flags=["MPOL_F_RELATIVE_NODES"]),
    ),
    "a burst above the quota": (
        resources(cpu={"quota": 100, "burst": 101}),
        "/linux/resources/cpu/burst",
        resources(cpu={"quota": 100, "burst": 100}),
    ),
    "swap below the limit": (
        resources(memory={"limit": 100, "swap": 99}),
        "/linux/resources/memory/swap",
        resources(memory={"limit": 100, "swap": -1}),
    ),
    "an errno of an action without": (
        seccomp("ALLOW", defaultErrnoRet=1),
        "/linux/seccomp/defaultErrnoRet",
        seccomp("ERRNO", defaultErrnoRet=1),
    ),
    "an errno of a rule without": (
        seccomp("ERRNO", "KILL", errno=1),
        "/linux/seccomp/syscalls/0/errnoRet",
        seccomp("ALLOW", "TRACE", errno=1),
    ),
    "metadata for nobody": (
        seccomp("ALLOW", listenerMetadata="x"),
        "/linux/seccomp/listenerMetadata",
        seccomp("ALLOW", listenerMetadata="x", listenerPath="/s"),
    ),
    "asking nobody about everything": (
        seccomp("NOTIFY"),
        "/linux/seccomp/defaultAction",
        seccomp("NOTIFY", listenerPath="/s"),
    ),
    "asking nobody": (
        seccomp("ALLOW", "NOTIFY"),
        "/linux/seccomp/syscalls/0/action",
        seccomp("ALLOW", "NOTIFY", listenerPath="/s"),
    ),
}


def broken(members: dict[str, Any]) -> list[str]:
    config = {"ociVersion": "1.3.0", "root": {"path": "rootfs"}, **members}
    assert is_valid(config, []), "the schema must have nothing against it"
    found = [pointer for pointer, _ in rules.findings(config)]
    assert rules.broken(config) == bool(found)
    return found


@pytest.mark.parametrize("case", CASES)
def test_a_rule_refuses_what_breaks_it(case: str) -> None:
    wrong, pointer, _ = CASES[case]
    assert broken(wrong) == [pointer]


@pytest.mark.parametrize("case", CASES)
def test_a_rule_lets_the_nearest_right_thing_through(case: str) -> None:
    _, _, right = CASES[case]
    assert broken(right) == []


def test_mappings_without_a_user_namespace_are_refused() -> None:
    assert broken(linux("pid", **MAPPINGS)) == ["/linux/uidMappings", "/linux/gidMappings"]


def test_mappings_beside_a_joined_user_namespace_are_accepted() -> None:
    # podman gives dummies there, because runc once wanted some.
    assert broken({"linux": {"namespaces": namespaces(user="/x"), **MAPPINGS}}) == []


def test_mounts_without_a_mount_namespace_are_legal() -> None:
    assert broken({"mounts": [{"destination": "/a"}]}) == []


def test_a_rule_is_left_out_when_what_it_reads_is_wrong() -> None:
    config: dict[str, Any] = {"hostname": "x", "linux": {"namespaces": [{"type": 1}]}}
    for wrong in ("", "/linux", "/linux/namespaces", "/linux/namespaces/0/type"):
        assert list(rules.findings({**config, "linux": {}}, [wrong])) == []
    assert [pointer for pointer, _ in rules.findings({"hostname": "x"}, ["/root", "/linux/namespace"])] == [
        "/hostname"
    ]


@pytest.mark.parametrize(
    ("key", "path"),
    [
        ("net.ipv4.ip_forward", "net/ipv4/ip_forward"),
        ("net/ipv4/ip_forward", "net/ipv4/ip_forward"),
        ("net.ipv4.conf.eth0/1.forwarding", "net/ipv4/conf/eth0.1/forwarding"),
        ("net/ipv4/conf/eth0.1/forwarding", "net/ipv4/conf/eth0.1/forwarding"),
        ("", ""),
        (".", ""),
        ("/net/ipv4", ""),
        ("net..ipv4", ""),
        ("net/./ipv4", ""),
        ("net/../kernel", ""),
        ("net.ipv4.//.kernel", "net/ipv4/../kernel"),
    ],
)
def test_the_name_of_a_parameter_becomes_a_path(key: str, path: str) -> None:
    expected = "" if ".." in path else path
    assert rules.sysctl_path(key) == expected
