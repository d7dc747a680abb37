"""`process`: identity, limits and what else the program starts with; config.md, "Process"."""

from __future__ import annotations

import os
import resource
from pathlib import Path
from typing import Any

import pytest

from . import host
from .fixtures import MakeBundle
from .runtime import Runtime, new_id

BITS = {
    "CAP_CHOWN": 0,
    "CAP_KILL": 5,
    "CAP_NET_BIND_SERVICE": 10,
    "CAP_SYS_CHROOT": 18,
    "CAP_AUDIT_WRITE": 29,
}
CAP_SYS_RESOURCE = 24
SETS = {
    "bounding": ["CAP_CHOWN", "CAP_KILL", "CAP_NET_BIND_SERVICE", "CAP_AUDIT_WRITE"],
    "permitted": ["CAP_KILL", "CAP_NET_BIND_SERVICE", "CAP_AUDIT_WRITE"],
    "effective": ["CAP_KILL", "CAP_NET_BIND_SERVICE", "CAP_AUDIT_WRITE"],
    "inheritable": ["CAP_KILL", "CAP_NET_BIND_SERVICE"],
    "ambient": ["CAP_KILL"],
}


# The kernel's names for them: proc_pid_limits(5).
LIMITS = {
    "RLIMIT_AS": "Max address space",
    "RLIMIT_CORE": "Max core file size",
    "RLIMIT_CPU": "Max cpu time",
    "RLIMIT_DATA": "Max data size",
    "RLIMIT_FSIZE": "Max file size",
    "RLIMIT_LOCKS": "Max file locks",
    "RLIMIT_MEMLOCK": "Max locked memory",
    "RLIMIT_MSGQUEUE": "Max msgqueue size",
    "RLIMIT_NICE": "Max nice priority",
    "RLIMIT_NOFILE": "Max open files",
    "RLIMIT_NPROC": "Max processes",
    "RLIMIT_RSS": "Max resident set",
    "RLIMIT_RTPRIO": "Max realtime priority",
    "RLIMIT_RTTIME": "Max realtime timeout",
    "RLIMIT_SIGPENDING": "Max pending signals",
    "RLIMIT_STACK": "Max stack size",
}


def launched(runtime: Runtime, bundle: MakeBundle, **process: Any) -> int:
    """The process of a container that sleeps, with these properties of its process."""
    return runtime.pid(runtime.launch(bundle(process={"args": ["sleep", "1000"]} | process)))


def capabilities(pid: int) -> dict[str, set[str]]:
    """The five sets of a process, of the names above."""
    fields = {
        "bounding": "Bnd",
        "permitted": "Prm",
        "effective": "Eff",
        "inheritable": "Inh",
        "ambient": "Amb",
    }
    shown = {name: int(host.status(pid)[f"Cap{field}"], 16) for name, field in fields.items()}
    for bits in shown.values():
        assert bits & ~sum(1 << bit for bit in BITS.values()) == 0, f"more than was asked for: {bits:x}"
    return {name: {cap for cap, bit in BITS.items() if bits >> bit & 1} for name, bits in shown.items()}


@pytest.mark.shows(
    "process.user.uid", "process.user.gid", "process.user.additionalGids", "process.user.umask"
)
@pytest.mark.peers_differ(runc="takes no more than 31 bits")
def test_user_groups_and_umask_are_the_configs(runtime: Runtime, bundle: MakeBundle) -> None:
    user = {"uid": 1000, "gid": 1001, "additionalGids": [7, 4_000_000_000], "umask": 0o027}
    status = host.status(launched(runtime, bundle, user=user))
    assert status["Uid"].split() == ["1000"] * 4
    assert status["Gid"].split() == ["1001"] * 4
    assert sorted(status["Groups"].split()) == ["4000000000", "7"]
    assert status["Umask"] == "0027"


@pytest.mark.shows("process.user.additionalGids")
def test_the_callers_groups_do_not_come_along(runtime: Runtime, sleeper: Path) -> None:
    command = " ".join([*runtime.command, "run", "--detach", "--bundle", str(sleeper)])
    container = host.TAG + "-groups"
    groups = ["setpriv", "--groups", "4711", "sh", "-c", f"{command} {container} >/dev/null 2>&1"]
    assert os.spawnvp(os.P_WAIT, groups[0], groups) == 0
    assert "4711" not in host.status(runtime.pid(container))["Groups"].split()


@pytest.mark.shows("process.capabilities")
def test_the_five_capability_sets_are_the_configs(runtime: Runtime, bundle: MakeBundle) -> None:
    pid = launched(runtime, bundle, capabilities=SETS)
    assert capabilities(pid) == {name: set(wanted) for name, wanted in SETS.items()}


@pytest.mark.shows("process.capabilities")
def test_a_user_other_than_root_keeps_its_ambient_capabilities(runtime: Runtime, bundle: MakeBundle) -> None:
    found = capabilities(launched(runtime, bundle, user={"uid": 1000, "gid": 1000}, capabilities=SETS))
    # execve(2) of another user: what is ambient is permitted and effective, and nothing else is.
    assert found == {
        "bounding": set(SETS["bounding"]),
        "inheritable": set(SETS["inheritable"]),
        "permitted": {"CAP_KILL"},
        "effective": {"CAP_KILL"},
        "ambient": {"CAP_KILL"},
    }


@pytest.mark.shows("process.capabilities")
def test_without_capabilities_there_are_none(runtime: Runtime, bundle: MakeBundle) -> None:
    empty: dict[str, list[str]] = {name: [] for name in SETS}
    pid = launched(runtime, bundle, capabilities=empty)
    assert capabilities(pid) == {name: set() for name in SETS}


@pytest.mark.shows("process.capabilities.unknown")
def test_an_unknown_capability_is_a_warning_and_no_error(runtime: Runtime, bundle: MakeBundle) -> None:
    names = ["CAP_KILL", "CAP_NO_SUCH"]
    sets = dict.fromkeys(("bounding", "permitted", "effective"), names)
    done = runtime.run(bundle(process={"args": ["true"], "capabilities": sets}))
    assert done.code == 0
    if runtime.path.name not in ("crun", "runc"):
        assert "CAP_NO_SUCH" in done.stderr


def without(runtime: Runtime, capability: str) -> Runtime:
    """The runtime, called by a root who hasn't got this capability."""
    weaker = Runtime(runtime.path, runtime.root)
    weaker.command = [
        "setpriv",
        f"--bounding-set=-{capability}",
        f"--inh-caps=-{capability}",
        *runtime.command,
    ]
    return weaker


@pytest.mark.shows("process.capabilities.unknown")
@pytest.mark.peers_differ(crun="fails", runc="fails")
def test_a_capability_that_the_runtime_has_not_is_a_warning_and_no_error(
    runtime: Runtime, bundle: MakeBundle
) -> None:
    names = ["CAP_CHOWN", "CAP_KILL"]
    sets = dict.fromkeys(("bounding", "permitted", "effective"), names)
    script = "grep ^Cap /proc/self/status"
    here = bundle(process={"args": ["sh", "-c", script], "capabilities": sets})
    done = without(runtime, "chown").run(here)
    assert done.code == 0, done
    shown = {line.split(":")[0]: int(line.split()[1], 16) for line in done.stdout.splitlines()}
    assert shown["CapBnd"] == shown["CapPrm"] == shown["CapEff"] == 1 << BITS["CAP_KILL"]
    if runtime.path.name not in ("crun", "runc"):
        assert "CAP_CHOWN" in done.stderr


@pytest.mark.shows("process.capabilities.unknown")
@pytest.mark.parametrize(
    ("wanted", "refused_set"),
    [
        (("bounding", "permitted", "effective", "ambient"), "ambient"),
        (("bounding", "inheritable", "ambient"), "ambient"),
        (("bounding", "effective"), "effective"),
        (("inheritable",), "inheritable"),
    ],
)
@pytest.mark.peers_differ(crun="fails for all but ambient ones", runc="fails for all but ambient ones")
def test_a_capability_that_can_not_be_granted_is_a_warning_and_no_error(
    runtime: Runtime, bundle: MakeBundle, wanted: tuple[str, ...], refused_set: str
) -> None:
    """capabilities(7): effective ones are permitted, inheritable ones bounding, ambient ones permitted and inheritable."""
    sets = {name: ["CAP_KILL"] if name in wanted else [] for name in SETS}
    script = "grep ^Cap /proc/self/status"
    # Another user's program is executed with its ambient capabilities alone: what is inheritable shows in any case.
    here = bundle(process={"args": ["sh", "-c", script], "capabilities": sets, "user": {"uid": 7, "gid": 7}})
    done = runtime.run(here)
    assert done.code == 0, done
    shown = {line.split(":")[0]: int(line.split()[1], 16) for line in done.stdout.splitlines()}
    for name, field in (("bounding", "CapBnd"), ("inheritable", "CapInh"), ("ambient", "CapAmb")):
        granted = name in wanted and name != refused_set
        assert shown[field] == granted << BITS["CAP_KILL"], name
    if runtime.path.name not in ("crun", "runc"):
        assert "CAP_KILL" in done.stderr


@pytest.mark.shows("process.rlimits")
@pytest.mark.parametrize(("name", "words"), sorted(LIMITS.items()))
def test_every_resource_can_be_limited(runtime: Runtime, bundle: MakeBundle, name: str, words: str) -> None:
    # Below what every caller has, above what the program needs.
    limit = {"type": name, "soft": 1 << 40, "hard": 1 << 41}
    if name in ("RLIMIT_NOFILE", "RLIMIT_NPROC", "RLIMIT_SIGPENDING", "RLIMIT_MSGQUEUE", "RLIMIT_MEMLOCK"):
        limit |= {"soft": 100, "hard": 101}
    if name in ("RLIMIT_NICE", "RLIMIT_RTPRIO"):
        limit |= {"soft": 0, "hard": 0}
    pid = launched(runtime, bundle, rlimits=[limit])
    rows = Path(f"/proc/{pid}/limits").read_text().splitlines()
    row = next(row for row in rows if row.startswith(words + "  "))
    assert row.removeprefix(words).split()[:2] == [str(limit["soft"]), str(limit["hard"])]


@pytest.mark.refuses("process.rlimits", "process.oomScoreAdj")
@pytest.mark.parametrize(
    "process",
    [{"rlimits": [{"type": "RLIMIT_NOFILE", "soft": 5, "hard": 5000}]}, {"oomScoreAdj": -1000}],
    ids=["a limit above the caller's", "a score below the caller's"],
)
def test_what_only_a_mightier_caller_could_set_is_an_error(
    runtime: Runtime, bundle: MakeBundle, process: dict[str, Any]
) -> None:
    weaker = without(runtime, "sys_resource")
    weaker.command = ["prlimit", "--nofile=4096:4096", *weaker.command]
    refused(weaker, bundle(process=process))


@pytest.mark.shows("process.rlimits")
def test_resource_limits_are_exact(runtime: Runtime, bundle: MakeBundle) -> None:
    unlimited = 2**64 - 1
    limits = [
        {"type": "RLIMIT_NOFILE", "soft": 100, "hard": 200},
        {"type": "RLIMIT_CORE", "soft": 0, "hard": unlimited},
        {"type": "RLIMIT_STACK", "soft": 1 << 20, "hard": 1 << 21},
        {"type": "RLIMIT_NPROC", "soft": 300, "hard": 301},
        {"type": "RLIMIT_MSGQUEUE", "soft": 4096, "hard": 8192},
    ]
    pid = launched(runtime, bundle, rlimits=limits)
    for limit in limits:
        soft, hard = resource.prlimit(pid, getattr(resource, str(limit["type"])))
        assert (soft % 2**64, hard % 2**64) == (limit["soft"], limit["hard"]), limit["type"]


@pytest.mark.shows("process.noNewPrivileges")
@pytest.mark.parametrize("value", [True, False])
def test_no_new_privileges_is_the_configs(runtime: Runtime, bundle: MakeBundle, value: bool) -> None:
    pid = launched(runtime, bundle, noNewPrivileges=value)
    assert host.status(pid)["NoNewPrivs"] == str(int(value))


@pytest.mark.shows("process.oomScoreAdj")
@pytest.mark.parametrize("value", [500, 0, -100])
def test_oom_score_adj_is_the_configs(runtime: Runtime, bundle: MakeBundle, value: int) -> None:
    if value < 0 and not int(host.status(os.getpid())["CapEff"], 16) >> CAP_SYS_RESOURCE & 1:
        pytest.skip("this user lacks CAP_SYS_RESOURCE, without which nobody may lower oom_score_adj")
    pid = launched(runtime, bundle, oomScoreAdj=value)
    assert Path(f"/proc/{pid}/oom_score_adj").read_text() == f"{value}\n"


@pytest.mark.shows("process.oomScoreAdj")
def test_oom_score_adj_is_left_alone_if_the_config_has_none(runtime: Runtime, bundle: MakeBundle) -> None:
    own = Path("/proc/self/oom_score_adj")
    before = own.read_text()
    own.write_text("123")
    try:
        pid = launched(runtime, bundle)
        assert Path(f"/proc/{pid}/oom_score_adj").read_text() == "123\n"
    finally:
        own.write_text(before)


@pytest.mark.shows("process.env")
def test_the_environment_is_exactly_the_configs(runtime: Runtime, bundle: MakeBundle) -> None:
    environment = [
        "HOME=/home",
        "PATH=/bin",
        "EMPTY=",
        "LINES=a\nb",
        "EQUALS=a=b=c",
        "WORD=ünïcode",
        "PATH_AGAIN=/bin",
    ]
    pid = launched(runtime, bundle, env=environment)
    shown = Path(f"/proc/{pid}/environ").read_text()
    assert shown == "".join(f"{entry}\0" for entry in environment)


@pytest.mark.shows("process.env")
@pytest.mark.parametrize("env", [[], None])
def test_without_an_environment_there_is_home_alone(runtime: Runtime, bundle: MakeBundle, env: Any) -> None:
    pid = launched(runtime, bundle, args=["/bin/sleep", "1000"], env=env)
    assert Path(f"/proc/{pid}/environ").read_bytes() == b"HOME=/\0"


@pytest.mark.shows("process.args")
def test_the_program_is_looked_up_in_the_containers_path(runtime: Runtime, bundle: MakeBundle) -> None:
    here = bundle(process={"args": ["tool"], "env": ["PATH=/nowhere:/special"]})
    tool = here / "rootfs/special/tool"
    tool.parent.mkdir()
    tool.write_text("#!/bin/sh\necho found\n")
    tool.chmod(0o755)
    done = runtime.run(here)
    assert (done.code, done.stdout) == (0, "found\n"), done


@pytest.mark.shows("process.args")
@pytest.mark.parametrize("name", ["./tool", "../special/tool", "/special/tool"])
def test_a_name_with_a_slash_is_a_path_from_the_working_directory(
    runtime: Runtime, bundle: MakeBundle, name: str
) -> None:
    here = bundle(process={"args": [name], "cwd": "/special", "env": ["PATH=/bin"]})
    tool = here / "rootfs/special/tool"
    tool.parent.mkdir()
    tool.write_text("#!/bin/sh\necho found\n")
    tool.chmod(0o755)
    assert runtime.output(here) == "found\n"


@pytest.mark.shows("process.args")
def test_the_first_argument_is_the_programs_name_as_it_was_given(
    runtime: Runtime, bundle: MakeBundle
) -> None:
    pid = launched(runtime, bundle, args=["sleep", "1000"])
    assert Path(f"/proc/{pid}/cmdline").read_bytes() == b"sleep\x001000\x00"


@pytest.mark.shows("process.cwd")
def test_the_program_starts_in_the_working_directory(runtime: Runtime, bundle: MakeBundle) -> None:
    assert runtime.run(bundle(process={"args": ["pwd"], "cwd": "/tmp"})).stdout == "/tmp\n"


def test_a_missing_working_directory_is_made(runtime: Runtime, bundle: MakeBundle) -> None:
    # The specification is silent; engines rely on what runc has always done.
    assert runtime.run(bundle(process={"args": ["pwd"], "cwd": "/work/here"})).stdout == "/work/here\n"


def test_signals_are_neither_blocked_nor_ignored(runtime: Runtime, sleeper: Path) -> None:
    status = host.status(runtime.pid(runtime.launch(sleeper)))
    assert (int(status["SigBlk"], 16), int(status["SigIgn"], 16)) == (0, 0)


@pytest.mark.refuses("process")
@pytest.mark.peers_differ(runc="refuses it at create", crun="start ends with 0")
def test_without_a_process_create_works_and_start_is_an_error(runtime: Runtime, bundle: MakeBundle) -> None:
    container = runtime.create(bundle(process=None))
    assert runtime.state(container)["status"] == "created"
    runtime.fails("start", container)
    runtime("delete", "--force", container)


@pytest.mark.shows("process")
def test_properties_of_other_platforms_and_unknown_ones_are_ignored(
    runtime: Runtime, bundle: MakeBundle
) -> None:
    process = {"args": ["true"], "commandLine": "dir", "noSuchProperty": [1]}
    runtime.output(bundle(process={**process, "user": {"uid": 0, "gid": 0, "username": "ContainerUser"}}))


@pytest.mark.refuses("process.oomScoreAdj")
@pytest.mark.parametrize("value", [1001, -1001, "5", 1.5])
@pytest.mark.peers_differ(crun="takes some of them")
def test_an_oom_score_that_can_not_be_is_an_error(runtime: Runtime, bundle: MakeBundle, value: Any) -> None:
    refused(runtime, bundle(process={"oomScoreAdj": value}))


@pytest.mark.refuses("process.rlimits")
@pytest.mark.parametrize(
    "limits",
    [
        [{"type": "RLIMIT_NO_SUCH", "soft": 1, "hard": 1}],
        [{"type": "RLIMIT_CORE", "soft": 1, "hard": 1}] * 2,
        [{"type": "RLIMIT_CORE", "soft": 1}],
        [{"type": "RLIMIT_CORE", "soft": 2, "hard": 1}],
        [{"type": "RLIMIT_CORE", "soft": 1, "hard": 2**64}],
        [{"soft": 1, "hard": 1}],
    ],
    ids=["unknown", "twice", "no hard limit", "soft above hard", "65 bits", "no type"],
)
@pytest.mark.peers_differ(crun="takes some of them", runc="takes some of them")
def test_resource_limits_that_can_not_be_are_errors(
    runtime: Runtime, bundle: MakeBundle, limits: list[dict[str, Any]]
) -> None:
    refused(runtime, bundle(process={"rlimits": limits}))


@pytest.mark.refuses(
    "process.user.uid", "process.user.gid", "process.user.additionalGids", "process.user.umask"
)
@pytest.mark.parametrize(
    "user",
    [
        {"uid": -1, "gid": 0},
        {"uid": 0, "gid": 2**32},
        {"uid": "root", "gid": 0},
        {"uid": 0, "gid": 0, "additionalGids": ["wheel"]},
        {"uid": 0, "gid": 0, "additionalGids": [-1]},
        {"uid": 0, "gid": 0, "umask": "022"},
        {"uid": 0, "gid": 0, "umask": -1},
    ],
)
@pytest.mark.peers_differ(crun="takes some of them", runc="takes some of them")
def test_an_identity_that_can_not_be_is_an_error(
    runtime: Runtime, bundle: MakeBundle, user: dict[str, Any]
) -> None:
    refused(runtime, bundle(process={"user": user}))


@pytest.mark.refuses("process.cwd")
@pytest.mark.parametrize("cwd", ["", "tmp", "./tmp", None, 5])
@pytest.mark.peers_differ(crun="takes some of them", runc="takes some of them")
def test_a_working_directory_that_is_not_absolute_is_an_error(
    runtime: Runtime, bundle: MakeBundle, cwd: Any
) -> None:
    refused(runtime, bundle(process={"cwd": cwd}))


@pytest.mark.refuses("process.args")
@pytest.mark.parametrize("args", [[], None, "sh", [5]])
@pytest.mark.peers_differ(crun="takes some of them")
def test_arguments_that_can_not_be_are_errors(runtime: Runtime, bundle: MakeBundle, args: Any) -> None:
    refused(runtime, bundle(process={"args": args}))


@pytest.mark.refuses("process.env")
@pytest.mark.parametrize("env", ["PATH=/bin", [5], {"PATH": "/bin"}])
def test_an_environment_that_is_no_list_of_strings_is_an_error(
    runtime: Runtime, bundle: MakeBundle, env: Any
) -> None:
    refused(runtime, bundle(process={"env": env}))


@pytest.mark.refuses("process.capabilities", "process.noNewPrivileges")
@pytest.mark.parametrize(
    "process",
    [{"capabilities": {"bounding": "CAP_KILL"}}, {"capabilities": ["CAP_KILL"]}, {"noNewPrivileges": 1}],
)
@pytest.mark.peers_differ(crun="takes them")
def test_privileges_of_the_wrong_type_are_errors(
    runtime: Runtime, bundle: MakeBundle, process: dict[str, Any]
) -> None:
    refused(runtime, bundle(process=process))


@pytest.mark.shows("process.execCPUAffinity")
def test_the_affinity_for_exec_is_not_that_of_the_containers_process(
    runtime: Runtime, bundle: MakeBundle
) -> None:
    own = os.sched_getaffinity(0)
    pid = launched(runtime, bundle, execCPUAffinity={"initial": "0", "final": "0"})
    assert os.sched_getaffinity(pid) == own


@pytest.mark.refuses("process.execCPUAffinity")
@pytest.mark.parametrize("name", ["initial", "final"])
@pytest.mark.parametrize("value", ["-", "1-", "x", "3-1", "0,,1"])
@pytest.mark.peers_differ(crun="is too old to know it", runc="is too old to know it")
def test_a_list_of_cpus_that_is_none_is_an_error(
    runtime: Runtime, bundle: MakeBundle, name: str, value: str
) -> None:
    refused(runtime, bundle(process={"execCPUAffinity": {name: value}}))


@pytest.mark.parametrize("user", [0, 1000])
@pytest.mark.peers_differ(crun="doesn't")
def test_a_file_as_stdout_is_the_programs_users_to_open_again(
    runtime: Runtime, bundle: MakeBundle, user: int
) -> None:
    script = "echo first; echo second >/dev/stdout"
    process = {"args": ["sh", "-c", script], "user": {"uid": user, "gid": user}}
    assert "second" in runtime.output(bundle(process=process))


def refused(runtime: Runtime, bundle: Path) -> str:
    """What `create` says; nothing may be there after it."""
    error = runtime.fails("create", "--bundle", bundle, new_id())
    assert os.listdir(runtime.root) == []
    return error
