"""As strict as the specification's text, where its published schema isn't; and no stricter than the text."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest

from pyoci.errors import ConfigError
from pyoci.spec import bundle, explain
from pyoci.spec.default import default_config

MAPPING = {"containerID": 0, "hostID": 1000, "size": 1}
ARGUMENT = {"index": 0, "value": 1, "op": "SCMP_CMP_EQ"}
DEVICE = {"type": "c", "path": "/dev/x", "major": 1, "minor": 3}


def changed(pointer: str, value: Any) -> Any:
    """The default configuration with the value at a pointer; what is missing on the way is made."""
    config: Any = default_config()
    here = config
    parts = pointer[1:].split("/")
    for parent, following in pairwise(parts):
        if isinstance(here, list):
            here = here[int(parent)]
        else:
            here = here.setdefault(parent, [] if following.isdigit() else {})
    if isinstance(here, list):
        here.insert(int(parts[-1]), value)
    else:
        here[parts[-1]] = value
    return config


def without(pointer: str) -> Any:
    config: Any = default_config()
    here = config
    *parents, last = pointer[1:].split("/")
    for parent in parents:
        here = here[int(parent)] if isinstance(here, list) else here[parent]
    del here[last]
    return config


def pointers(config: Any) -> list[str]:
    """The pointers of the problems that validate finds."""
    try:
        bundle.validate(config)
    except ConfigError as error:
        return [problem.pointer for problem in error.problems]
    return []


WRONG = [
    # (pointer, value[, the pointer of the problem])
    ("/ociVersion", "invalid"),
    ("/ociVersion", "1.3"),
    ("/ociVersion", "2.0.0"),
    ("/root", "rootfs"),
    ("/root/path", ""),
    ("/root/path", "a\0b"),
    ("/process/args", []),
    ("/process/args/0", "a\0b"),
    ("/process/env/0", "A=\0"),
    ("/process/cwd", "etc"),
    ("/process/cwd", ""),
    ("/process/user/uid", -1),
    ("/process/user/uid", 4294967295),
    ("/process/user/gid", "0"),
    ("/process/user/additionalGids/0", 1 << 32),
    ("/process/terminal", 1),
    ("/process/consoleSize", {"height": 1}, "/process/consoleSize/width"),
    ("/process/consoleSize", {"height": 1, "width": 70000}, "/process/consoleSize/width"),
    ("/process/rlimits/0/type", "RLIMIT_TEST"),
    ("/process/rlimits/0/soft", -1),
    ("/process/rlimits/0/hard", 1 << 64),
    ("/process/rlimits/1", {"type": "RLIMIT_NOFILE", "soft": 1, "hard": 1}, "/process/rlimits/1/type"),
    ("/process/rlimits/1", {"type": "RLIMIT_CORE", "soft": 1}, "/process/rlimits/1/hard"),
    ("/process/ioPriority", {"priority": 0}, "/process/ioPriority/class"),
    ("/process/ioPriority", {"class": "IOPRIO_CLASS_BE", "priority": 99}, "/process/ioPriority/priority"),
    ("/process/ioPriority", {"class": "IOPRIO_CLASS_NONE", "priority": 0}, "/process/ioPriority/class"),
    ("/process/scheduler", {}, "/process/scheduler/policy"),
    ("/process/scheduler", {"policy": "SCHED_ISO"}, "/process/scheduler/policy"),
    ("/process/scheduler", {"policy": "SCHED_OTHER", "nice": 20}, "/process/scheduler/nice"),
    ("/process/scheduler", {"policy": "SCHED_OTHER", "flags": ["X"]}, "/process/scheduler/flags/0"),
    ("/process/execCPUAffinity/initial", " - , "),
    ("/process/oomScoreAdj", 5000),
    ("/process/capabilities/bounding", "CAP_KILL"),
    ("/hostname", "x" * 65),
    ("/mounts/0", {"source": "proc"}, "/mounts/0/destination"),
    ("/mounts/0/options", ["a\0"], "/mounts/0/options/0"),
    ("/hooks/poststop/0", {"path": "bin/hook"}, "/hooks/poststop/0/path"),
    ("/hooks/prestart/0", {"path": "/hook", "timeout": 0}, "/hooks/prestart/0/timeout"),
    ("/hooks/createRuntime/0", {"path": "/hook", "timeout": -1}, "/hooks/createRuntime/0/timeout"),
    ("/hooks/startContainer/0", {"args": ["x"]}, "/hooks/startContainer/0/path"),
    ("/annotations", {"": "x"}, "/annotations/"),
    ("/annotations", {"a": 1}, "/annotations/a"),
    ("/annotations", {"a": None}, "/annotations/a"),
    ("/linux/namespaces/0", {"type": "mnt"}, "/linux/namespaces/0/type"),
    ("/linux/namespaces/0", {"path": "/x"}, "/linux/namespaces/0/type"),
    ("/linux/namespaces/0/path", "proc/1/ns/pid"),
    ("/linux/namespaces/1", {"type": "pid"}, "/linux/namespaces/1/type"),
    ("/linux/uidMappings", [{**MAPPING, "size": 0}], "/linux/uidMappings/0/size"),
    ("/linux/timeOffsets", {"realtime": {"secs": 1}}, "/linux/timeOffsets/realtime"),
    ("/linux/timeOffsets", {"monotonic": {"nanosecs": 10**9}}, "/linux/timeOffsets/monotonic/nanosecs"),
    ("/linux/devices/0", {"type": "c", "path": "/dev/x", "major": 1}, "/linux/devices/0/minor"),
    ("/linux/devices/0", {"type": "b", "path": "/dev/x", "minor": 1}, "/linux/devices/0/major"),
    ("/linux/devices/0", {**DEVICE, "type": "x"}, "/linux/devices/0/type"),
    ("/linux/devices/0", {**DEVICE, "path": "dev/x"}, "/linux/devices/0/path"),
    ("/linux/devices/0", {**DEVICE, "major": 4096}, "/linux/devices/0/major"),
    ("/linux/devices/0", {**DEVICE, "fileMode": 0o200000}, "/linux/devices/0/fileMode"),
    ("/linux/devices/0", {**DEVICE, "fileMode": 0o060640}, "/linux/devices/0/fileMode"),
    ("/linux/devices/0", {**DEVICE, "fileMode": 0o010000}, "/linux/devices/0/fileMode"),
    ("/linux/netDevices", {"eth0": {"name": "a/b"}}, "/linux/netDevices/eth0/name"),
    ("/linux/netDevices", {"x" * 16: {}}, "/linux/netDevices/" + "x" * 16),
    ("/linux/cgroupsPath", "/a\0"),
    ("/linux/resources/devices/0", {"allow": True, "type": "d"}, "/linux/resources/devices/0/type"),
    ("/linux/resources/devices/0", {"allow": True, "access": "rx"}, "/linux/resources/devices/0/access"),
    ("/linux/resources/devices/0", {"allow": True, "access": "rwa"}, "/linux/resources/devices/0/access"),
    ("/linux/resources/devices/0", {"type": "c"}, "/linux/resources/devices/0/allow"),
    ("/linux/resources/memory/swappiness", 1000),
    ("/linux/resources/memory/limit", 1.0),
    ("/linux/resources/memory/limit", -2),
    ("/linux/resources/cpu/cpus", "0-"),
    ("/linux/resources/cpu/idle", 2),
    ("/linux/resources/pids/limit", "10"),
    ("/linux/resources/blockIO/weight", 65536),
    ("/linux/resources/blockIO/weightDevice/0", {"major": 8, "minor": 0}),
    ("/linux/resources/blockIO/throttleReadBpsDevice/0", {"major": 8, "minor": 0}, "…/rate"),
    ("/linux/resources/hugepageLimits/0", {"pageSize": "64kB", "limit": 1}, "…/pageSize"),
    ("/linux/resources/hugepageLimits/0", {"pageSize": "2MB"}, "…/limit"),
    ("/linux/resources/network/priorities/0", {"name": "eth0"}, "…/priority"),
    ("/linux/resources/rdma", {"mlx5_1": {}}, "/linux/resources/rdma/mlx5_1"),
    ("/linux/resources/rdma", {"mlx5_1": {"hcaHandles": "x"}}, "/linux/resources/rdma/mlx5_1/hcaHandles"),
    ("/linux/resources/unified", {"../x": "1"}, "/linux/resources/unified/..~1x"),
    ("/linux/resources/unified", {"memory.max": 1}, "/linux/resources/unified/memory.max"),
    ("/linux/intelRdt/l3CacheSchema", "L3:0=f\nMB:0=10"),
    ("/linux/intelRdt/memBwSchema", "L3:0=f"),
    ("/linux/intelRdt/schemata/0", "L3:0=f\n"),
    ("/linux/intelRdt/closID", "../x"),
    ("/linux/memoryPolicy", {"nodes": "0"}, "/linux/memoryPolicy/mode"),
    ("/linux/memoryPolicy", {"mode": "MPOL_BIND", "nodes": "a"}, "/linux/memoryPolicy/nodes"),
    ("/linux/sysctl", {"net.ipv4.ip_forward": 1}, "/linux/sysctl/net.ipv4.ip_forward"),
    ("/linux/rootfsPropagation", "public"),
    ("/linux/maskedPaths/0", "proc/kcore"),
    ("/linux/readonlyPaths/0", "proc/sys"),
    ("/linux/personality", {"domain": "BSD"}, "/linux/personality/domain"),
    ("/linux/personality", {"domain": "LINUX", "flags": ["X"]}, "/linux/personality/flags"),
    (
        "/linux/seccomp",
        {"syscalls": [{"names": [], "action": "SCMP_ACT_LOG"}]},
        "/linux/seccomp/defaultAction",
    ),
    ("/linux/seccomp", {"defaultAction": "", "flags": ["SECCOMP_FILTER_FLAG_LOG"]}, "…/defaultAction"),
    ("/linux/seccomp", {"defaultActon": "SCMP_ACT_ERRNO"}, "/linux/seccomp/defaultAction"),
    (
        "/linux/seccomp",
        {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["open"], "action": ""}]},
        "…/syscalls/0/action",
    ),
    ("/linux/seccomp", {"defaultAction": "SCMP_ACT_NONE"}, "/linux/seccomp/defaultAction"),
    ("/linux/seccomp", {"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["X86"]}, "…/architectures/0"),
    ("/linux/seccomp", {"defaultAction": "SCMP_ACT_ALLOW", "flags": ["X"]}, "/linux/seccomp/flags/0"),
    ("/linux/seccomp", {"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": -1}, "…/defaultErrnoRet"),
]


@pytest.mark.parametrize("case", WRONG, ids=lambda case: f"{case[0]}={case[1]!r}"[:80])
def test_what_the_text_forbids_is_refused_at_its_place(case: Any) -> None:
    pointer, value, *place = case
    expected = place[0].replace("…", pointer) if place else pointer
    assert pointers(changed(pointer, value)) == [expected]


@pytest.mark.parametrize(
    ("field", "value"),
    [("index", 9), ("index", 6), ("value", -1), ("value", 1 << 64), ("op", "EQ"), ("index", None)],
)
def test_an_argument_of_a_system_call_is_checked(field: str, value: Any) -> None:
    rule = {"names": ["getcwd"], "action": "SCMP_ACT_ERRNO", "args": [{**ARGUMENT, field: value}]}
    config = changed("/linux/seccomp", {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]})
    assert pointers(config) == [f"/linux/seccomp/syscalls/0/args/0/{field}"]


@pytest.mark.parametrize(
    "pointer", ["/ociVersion", "/root", "/root/path", "/process/args", "/process/cwd"]
    + ["/process/rlimits/0/soft", "/process/rlimits/0/hard", "/mounts/0/destination", "/linux/namespaces/0/type"]
)  # fmt: skip
def test_what_is_required_is_missed(pointer: str) -> None:
    assert pointers(without(pointer)) == [pointer]


@pytest.mark.parametrize("config", [[], None, 1, "x", True])
def test_a_config_is_an_object(config: Any) -> None:
    assert pointers(config) == [""]


RIGHT = [
    ("/unknown", {"anything": [1]}),
    ("/process/unknown", 1),
    ("/linux/resources/unknown", {}),
    ("/windows", 5),
    ("/freebsd", {"jail": {"vnet": "disable"}}),
    ("/ociVersion", "1.99.0"),
    ("/ociVersion", "0.5.0-dev"),
    ("/ociVersion", "1.0.0-rc5"),
    ("/process", None),
    ("/hooks", None),
    ("/mounts", None),
    ("/linux/maskedPaths", None),
    ("/hostname", ""),
    ("/process/env", ["NO_EQUALS_SIGN", ""]),
    ("/process/capabilities/bounding", ["CAP_TEST"]),
    ("/process/consoleSize", {"height": 1, "width": 65535}),
    ("/process/rlimits/0/hard", (1 << 64) - 1),
    ("/process/oomScoreAdj", -1000),
    ("/mounts/0/destination", "proc"),
    ("/mounts/0/options", ["nosuid", "no-such-option=1"]),
    ("/annotations", {"org.opencontainers.runtime-tools": "", "a\0": "\0"}),
    ("/hooks/prestart/0", {"path": "/hook", "timeout": 1}),
    ("/linux/resources/pids", {}),
    ("/linux/resources/pids/limit", -1),
    ("/linux/resources/pids/limit", 0),
    ("/linux/resources/devices/0", {"allow": True, "major": -1, "minor": -1}),
    ("/linux/resources/devices/0", {"allow": True, "access": "mrw"}),
    ("/linux/resources/devices/0", {"allow": True, "access": "rrw"}),
    ("/linux/resources/unified", {"no.such_file": "1"}),
    ("/linux/rootfsPropagation", "rslave"),
    ("/linux/devices/0", {**DEVICE, "fileMode": 0o4755}),
    ("/linux/devices/0", {**DEVICE, "fileMode": 0o020640}),
    ("/linux/devices/0", {"type": "p", "path": "/dev/fifo"}),
    ("/linux/personality", {"domain": "LINUX32", "flags": []}),
    ("/linux/intelRdt", {"closID": "/", "l3CacheSchema": "anything"}),
    ("/linux/seccomp", {"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_LOONGARCH64"]}),
]
# What Go's encoder writes for a member that nobody has set; runc, crun or both take it as absent.
EMPTY = [
    ("/process/apparmorProfile", ""),
    ("/process/selinuxLabel", ""),
    ("/process/execCPUAffinity", {"initial": "", "final": ""}),
    ("/process/consoleSize", {}),
    ("/mounts/0", {"destination": "/x", "type": "", "source": "", "options": [], "uidMappings": []}),
    ("/hooks/prestart/0", {"path": "/hook", "args": [], "env": []}),
    ("/linux/namespaces/0/path", ""),
    ("/linux/cgroupsPath", ""),
    ("/linux/rootfsPropagation", ""),
    ("/linux/mountLabel", ""),
    ("/linux/maskedPaths", [""]),
    ("/linux/readonlyPaths", [""]),
    ("/linux/personality", {}),
    ("/linux/personality", {"domain": ""}),
    ("/linux/personality", {"flags": []}),
    ("/linux/netDevices", {"eth0": {"name": ""}}),
    ("/linux/resources/cpu", {"cpus": "", "mems": ""}),
    ("/linux/resources/devices/0", {"allow": True, "type": "", "access": ""}),
    ("/linux/intelRdt", {"closID": "", "schemata": [], "l3CacheSchema": "", "memBwSchema": ""}),
    ("/linux/seccomp", {}),
    ("/linux/seccomp", {"defaultAction": "", "architectures": [], "syscalls": []}),
    ("/linux/seccomp", {"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "", "listenerMetadata": ""}),
    (
        "/linux/seccomp",
        {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": [], "action": "SCMP_ACT_ERRNO"}]},
    ),
]


@pytest.mark.parametrize("case", RIGHT + EMPTY, ids=lambda case: f"{case[0]}={case[1]!r}"[:80])
def test_what_the_text_allows_is_accepted(case: Any) -> None:
    assert pointers(changed(*case)) == []


STATE = {"ociVersion": "1.3.0", "id": "x", "status": "stopped", "bundle": "/b"}


@pytest.mark.parametrize("change", [{"bundle": "b"}, {"status": "running"}, {"status": "paused"}, {"id": ""}]
    + [{"ociVersion": "1"}, {"status": "created", "pid": 0}, {"annotations": {"": "x"}}]
)  # fmt: skip
def test_states_are_as_strict_as_the_text(change: dict[str, Any]) -> None:
    assert explain.validator("state").is_valid(STATE)
    assert explain.validator("state").is_valid({**STATE, "status": "running", "pid": 1, "more": 1})
    assert not explain.validator("state").is_valid({**STATE, **change})


FEATURES = {"ociVersionMin": "1.0.0", "ociVersionMax": "1.3.0"}


@pytest.mark.parametrize("linux", [{"memoryPolicy": {"modes": ["X"]}}, {"intelRdt": {"schemata": 1}}]
    + [{"namespaces": ["mnt"]}, {"seccomp": {"actions": ["X"]}}]
)  # fmt: skip
def test_features_are_as_strict_as_the_text(linux: dict[str, Any]) -> None:
    assert explain.validator("features").is_valid({**FEATURES, "hooks": None, "linux": None})
    assert not explain.validator("features").is_valid({**FEATURES, "linux": linux})
