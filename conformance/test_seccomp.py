"""linux.seccomp without its listener; config-linux.md, "Seccomp". What a filter does is asked by programs/attempt.c."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from . import host
from .bundles import bound, mounts, namespaces
from .fixtures import Compile, MakeBundle
from .runtime import Runtime
from .test_mounts import refused

Profile = dict[str, Any]
Outcomes = Callable[..., list[str]]

PERMITTED, KILLED, NO_SUCH_CALL = "ok", "signal 31", "errno 38"
# What starts attempt.c, and what it calls itself; the last line is for its threads.
START = """execve brk arch_prctl set_tid_address set_robust_list rseq prlimit64 readlink readlinkat getrandom mprotect
    rt_sigaction clone wait4 write exit exit_group
    rt_sigprocmask mmap madvise futex clone3 munmap"""
# Peers do more after they have loaded the filter than pyoci does; crun and runc start with these, too.
PEERS = """capget capset prctl setgroups setresuid setresgid setuid setgid getuid getgid getgroups fcntl close close_range
    read pread64 uname openat getdents64 fstat newfstatat statx fstatfs lseek faccessat faccessat2 unlinkat chdir getcwd
    dup2 dup3 ioctl umask rt_sigreturn sigaltstack getpid gettid tgkill setsid sched_yield sched_getaffinity nanosleep
    epoll_pwait epoll_ctl poll sendto sendmsg recvmsg accept4"""
NAMES = f"{START} {PEERS}".split()
NATIVE = [f"SCMP_ARCH_{platform.machine().upper()}"]
on_x86_64 = pytest.mark.skipif(platform.machine() != "x86_64", reason="only x86_64 has the gate of i386")
NO_FLAGS = "is too old for flags"


def rule(action: str, *names: str, **more: Any) -> dict[str, Any]:
    return {"names": list(names or ["getppid"]), "action": f"SCMP_ACT_{action}", **more}


def allowing(*rules: dict[str, Any], **more: Any) -> Profile:
    """A profile that allows whatever the rules don't speak of."""
    return {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": list(rules), **more}


def only(default: str, *rules: dict[str, Any], **more: Any) -> Profile:
    """A profile that allows what a start takes; anything else has the default action or a rule of its own."""
    allowed = {"names": NAMES, "action": "SCMP_ACT_ALLOW"}
    return {"defaultAction": f"SCMP_ACT_{default}", "syscalls": [allowed, *rules], **more}


def compare(index: int, op: str, value: int, value_two: int | None = None) -> dict[str, Any]:
    more = {} if value_two is None else {"valueTwo": value_two}
    return {"index": index, "op": f"SCMP_CMP_{op}", "value": value, **more}


@pytest.fixture
def outcomes(runtime: Runtime, bundle: MakeBundle, compiled: Compile) -> Outcomes:
    """What becomes of these system calls in a container with this profile (see attempt.c)."""
    program = compiled("attempt")

    def run(profile: Profile, *calls: str, make: MakeBundle = bundle, **changes: Any) -> list[str]:
        process = {"args": ["/attempt", *calls], **changes.pop("process", {})}
        linux = {"seccomp": profile, **changes.pop("linux", {})}
        here = make(process=process, linux=linux, **changes)
        shutil.copy(program, here / "rootfs/attempt")
        return runtime.output(here).splitlines()

    return run


ACTIONS = [
    # an action, what else its rule says, what becomes of the call, what becomes of it in a second thread
    ("ALLOW", {}, PERMITTED, PERMITTED),
    ("LOG", {}, PERMITTED, PERMITTED),
    ("ERRNO", {}, "errno 1", "errno 1"),
    ("ERRNO", {"errnoRet": 99}, "errno 99", "errno 99"),
    ("ERRNO", {"errnoRet": 0}, "zero", "zero"),
    ("TRACE", {}, NO_SUCH_CALL, NO_SUCH_CALL),
    ("TRACE", {"errnoRet": 7}, NO_SUCH_CALL, NO_SUCH_CALL),
    ("TRAP", {}, "trapped", "trapped"),
    ("KILL", {}, KILLED, "thread ended"),
    ("KILL_THREAD", {}, KILLED, "thread ended"),
    ("KILL_PROCESS", {}, KILLED, KILLED),
]


@pytest.mark.shows("linux.seccomp.action", "linux.seccomp.errnoRet")
@pytest.mark.parametrize(("action", "more", "alone", "in_thread"), ACTIONS)
def test_a_rule_does_with_its_calls_what_its_action_says(
    outcomes: Outcomes, action: str, more: dict[str, Any], alone: str, in_thread: str
) -> None:
    ruled = rule(action, **more)
    profile = only("ERRNO", ruled, defaultErrnoRet=98) if action == "ALLOW" else allowing(ruled)
    assert outcomes(profile, "getppid", "thread/getppid", "getpid") == [alone, in_thread, PERMITTED]


@pytest.mark.shows("linux.seccomp.defaultAction", "linux.seccomp.defaultErrnoRet")
@pytest.mark.parametrize(("action", "more", "alone", "in_thread"), ACTIONS)
def test_what_no_rule_speaks_of_has_the_default_action(
    outcomes: Outcomes, action: str, more: dict[str, Any], alone: str, in_thread: str
) -> None:
    default = {"defaultErrnoRet": more["errnoRet"]} if more else {}
    found = outcomes(only(action, **default), "getppid", "thread/getppid", "getpid")
    assert found == [alone, in_thread, PERMITTED]


OPERATORS: dict[str, Callable[[int, int], bool]] = {
    "NE": lambda given, value: given != value,
    "LT": lambda given, value: given < value,
    "LE": lambda given, value: given <= value,
    "EQ": lambda given, value: given == value,
    "GE": lambda given, value: given >= value,
    "GT": lambda given, value: given > value,
}


@pytest.mark.shows("linux.seccomp.args")
@pytest.mark.parametrize("operator", OPERATORS)
@pytest.mark.parametrize("value", [0, 7, 2**31, 2**32 - 1, 2**32, 2**32 + 7, 2**63, 2**64 - 1])
def test_an_argument_is_compared_in_all_its_64_bits(outcomes: Outcomes, operator: str, value: int) -> None:
    around = {value + step for step in (-(2**32), -1, 0, 1, 2**32)} | {0, 2**64 - 1}
    given = sorted(number for number in around if 0 <= number < 2**64)
    profile = allowing(rule("ERRNO", args=[compare(1, operator, value)]))
    found = outcomes(profile, *(f"getppid:0:{number}" for number in given))
    holds = OPERATORS[operator]
    expected = ["errno 1" if holds(number, value) else PERMITTED for number in given]
    assert dict(zip(given, found, strict=True)) == dict(zip(given, expected, strict=True))


@pytest.mark.shows("linux.seccomp.args")
@pytest.mark.parametrize(
    ("mask", "wanted", "matching", "others"),
    [
        (0xF0, 0x50, [0x50, 0x5F, 0x1_0000_0050], [0, 0x60, 0xF0, 0xF50 ^ 0x10]),
        (0xFFFF_FFFF_0000_0000, 0x7_0000_0000, [0x7_0000_0000, 0x7_FFFF_FFFF], [7, 0x8_0000_0000]),
        (1 << 63 | 1, 1 << 63, [1 << 63, 1 << 63 | 6], [0, 1, 1 << 63 | 1]),
        (0x7E020000, None, [0, 0x11, 1 << 40], [0x20000, 0x10000000]),
        (0, 0, [0, 5, 2**64 - 1], []),
    ],
)
def test_a_masked_argument_is_compared_with_the_second_value(
    outcomes: Outcomes, mask: int, wanted: int | None, matching: list[int], others: list[int]
) -> None:
    profile = allowing(rule("ERRNO", args=[compare(0, "MASKED_EQ", mask, wanted)]))
    found = outcomes(profile, *(f"getppid:{number}" for number in matching + others))
    assert found == ["errno 1"] * len(matching) + [PERMITTED] * len(others)


@pytest.mark.shows("linux.seccomp.args")
@pytest.mark.parametrize("index", range(6))
def test_each_of_six_arguments_can_be_compared(outcomes: Outcomes, index: int) -> None:
    profile = allowing(rule("ERRNO", args=[compare(index, "EQ", 5)]))
    calls = ["getppid" + ":0" * place + ":5" for place in range(6)]
    assert outcomes(profile, *calls) == ["errno 1" if place == index else PERMITTED for place in range(6)]


@pytest.mark.shows("linux.seccomp.args")
def test_a_rule_with_several_comparisons_needs_them_all(outcomes: Outcomes) -> None:
    comparisons = [compare(0, "GT", 10), compare(1, "EQ", 2**40), compare(5, "NE", 0)]
    all_hold, *one_fails = (
        "11:0x10000000000:0:0:0:1",
        "10:0x10000000000:0:0:0:1",
        "11:0:0:0:0:1",
        "11:0x10000000000",
    )
    found = outcomes(
        allowing(rule("ERRNO", args=comparisons)), *(f"getppid:{words}" for words in (all_hold, *one_fails))
    )
    assert found == ["errno 1", PERMITTED, PERMITTED, PERMITTED]


@pytest.mark.shows("linux.seccomp.args.twice")
def test_an_argument_that_is_compared_twice_needs_one_of_both(outcomes: Outcomes) -> None:
    profile = allowing(rule("ERRNO", args=[compare(0, "LT", 3), compare(0, "GT", 5)]))
    found = outcomes(profile, "getppid:2", "getppid:4", "getppid:6")
    assert found == ["errno 1", PERMITTED, "errno 1"]


@pytest.mark.shows("linux.seccomp.syscalls")
def test_each_of_several_rules_for_one_call_counts(outcomes: Outcomes) -> None:
    rules = [
        rule("ERRNO", errnoRet=errno, args=[compare(0, "EQ", number)])
        for number, errno in ((1, 91), (2, 92), (2**32 + 1, 93))
    ]
    found = outcomes(allowing(*rules), *(f"getppid:{number}" for number in (1, 2, 2**32 + 1, 3)))
    assert found == ["errno 91", "errno 92", "errno 93", PERMITTED]


@pytest.mark.shows("linux.seccomp.syscalls")
@pytest.mark.peers_differ(crun="libseccomp 2.5.4 lets 0:1 pass", runc="libseccomp 2.5.4 lets 0:1 pass")
def test_rules_for_one_call_do_not_disturb_each_other(outcomes: Outcomes) -> None:
    either = rule("ALLOW", args=[compare(0, "GT", 0)])
    both = rule("ALLOW", args=[compare(0, "LT", 2**32 - 1), compare(1, "MASKED_EQ", 1, 0)])
    found = outcomes(only("ERRNO", either, both), "getppid:1:1", "getppid:0:2", "getppid:0:1")
    assert found == [PERMITTED, PERMITTED, "errno 1"]


@pytest.mark.shows("linux.seccomp.syscalls")
@pytest.mark.parametrize("backwards", [False, True])
def test_a_rule_without_comparisons_covers_those_with(outcomes: Outcomes, backwards: bool) -> None:
    rules = [rule("ERRNO", errnoRet=91), rule("ERRNO", errnoRet=92, args=[compare(0, "EQ", 1)])]
    found = outcomes(allowing(*(reversed(rules) if backwards else rules)), "getppid:1", "getppid:2")
    assert found == ["errno 91", "errno 91"]


@pytest.mark.shows("linux.seccomp.syscalls")
def test_a_rule_holds_for_all_its_names_and_for_no_others(outcomes: Outcomes) -> None:
    profile = allowing(rule("ERRNO", "getppid", "gettid"))
    assert outcomes(profile, "getppid", "gettid", "getpid") == ["errno 1", "errno 1", PERMITTED]


@pytest.mark.shows("linux.seccomp.syscalls")
def test_a_rule_with_the_default_action_is_no_error(outcomes: Outcomes) -> None:
    profile = only("ERRNO", rule("ERRNO"), rule("ERRNO", "gettid", errnoRet=1, args=[compare(0, "EQ", 1)]))
    assert outcomes(profile, "getppid", "getpid") == ["errno 1", PERMITTED]


@pytest.mark.shows("linux.seccomp.names.unknown")
def test_names_of_unknown_calls_are_ignored(runtime: Runtime, bundle: MakeBundle, compiled: Compile) -> None:
    # Not by `outcomes`: a runtime may say so.
    profile = allowing(rule("ERRNO", "no_such_call", "getppid"), rule("KILL", "nor_this"))
    here = bundle(process={"args": ["/attempt", "getppid", "getpid"]}, linux={"seccomp": profile})
    shutil.copy(compiled("attempt"), here / "rootfs/attempt")
    done = runtime.run(here)
    assert (done.code, done.stdout) == (0, "errno 1\nok\n"), done


def by_the_gate_of_i386(program: Path) -> str:
    return subprocess.run([program, "int80/64"], capture_output=True, text=True, check=True).stdout.strip()


@on_x86_64
@pytest.mark.shows("linux.seccomp.architectures")
def test_the_rules_hold_for_each_architecture_by_its_own_numbers(
    outcomes: Outcomes, compiled: Compile
) -> None:
    if by_the_gate_of_i386(compiled("attempt")) != PERMITTED:
        pytest.skip("the kernel has no i386 calls (CONFIG_IA32_EMULATION)")
    rules = [rule("ERRNO", errnoRet=90 + n, args=[compare(0, "EQ", n)]) for n in (1, 2)]
    # getppid has the number 64 on i386 and 110 on x86_64; 20 is getpid, or writev.
    calls = [
        "int80/64:1",
        "int80/64:2",
        "int80/64:3",
        "110:1",
        "110:2",
        "110:3",
        "int80/20:1",
        "int80/110:1",
        "20:1",
    ]
    found = outcomes(allowing(*rules, architectures=[*NATIVE, "SCMP_ARCH_X86"]), *calls)
    assert found[:7] == ["errno 91", "errno 92", PERMITTED] * 2 + [PERMITTED]
    assert not {"errno 91", "errno 92", KILLED} & set(found[7:])


@on_x86_64
@pytest.mark.shows("linux.seccomp.architectures")
@pytest.mark.parametrize("architectures", [None, [], NATIVE, ["SCMP_ARCH_AARCH64"]])
def test_calls_of_an_architecture_that_is_not_listed_kill(
    outcomes: Outcomes, compiled: Compile, architectures: list[str] | None
) -> None:
    if by_the_gate_of_i386(compiled("attempt")) != PERMITTED:
        pytest.skip("the kernel has no i386 calls (CONFIG_IA32_EMULATION)")
    profile = allowing(rule("ERRNO"), architectures=architectures)
    assert outcomes(profile, "int80/20", "getppid", "getpid") == [KILLED, "errno 1", PERMITTED]


@on_x86_64
@pytest.mark.shows("linux.seccomp.architectures")
@pytest.mark.parametrize(("more", "outcome"), [(["SCMP_ARCH_X32"], "errno 99"), ([], KILLED)])
def test_calls_of_x32_are_an_architecture_of_their_own(
    outcomes: Outcomes, more: list[str], outcome: str
) -> None:
    profile = allowing(rule("ERRNO", errnoRet=99), architectures=[*NATIVE, *more])
    assert outcomes(profile, str(0x40000000 | 110)) == [outcome]
    assert outcomes(profile, "110") == ["errno 99"]


@pytest.mark.shows("linux.seccomp.flags")
@pytest.mark.parametrize("flags", [["TSYNC"], ["LOG"], ["SPEC_ALLOW"], ["TSYNC", "LOG", "SPEC_ALLOW"], []])
@pytest.mark.peers_differ(runc=NO_FLAGS)
def test_a_filter_with_flags_does_the_same(outcomes: Outcomes, flags: list[str]) -> None:
    names = [f"SECCOMP_FILTER_FLAG_{name}" for name in flags]
    assert outcomes(allowing(rule("ERRNO"), flags=names), "getppid", "getpid") == ["errno 1", PERMITTED]


@pytest.fixture
def kernel_log() -> Iterator[int]:
    """The kernel's log from now on."""
    try:
        log = os.open("/dev/kmsg", os.O_RDONLY | os.O_NONBLOCK)
    except OSError:
        pytest.skip("the kernel's log can't be read")
    os.lseek(log, 0, os.SEEK_END)
    yield log
    os.close(log)


def logged(log: int, wanted: str, run: Callable[[], object]) -> str:
    """What the kernel's log says until `run` is in it. It takes but a few lines in five seconds."""
    said = ""
    for _ in range(8):
        run()
        deadline = time.monotonic() + 1
        while time.monotonic() < deadline:
            try:
                said += os.read(log, 8192).decode(errors="replace")
            except BlockingIOError:
                time.sleep(0.02)
            if re.search(wanted, said):
                return said
    raise AssertionError(f"not in the kernel's log: {wanted}")


def need_log_of(action: str) -> None:
    path = Path("/proc/sys/kernel/seccomp/actions_logged")
    if not path.exists() or action not in path.read_text().split():
        pytest.skip(f"the kernel doesn't log the action {action}")
    if not Path("/proc/self/loginuid").exists():
        pytest.skip("the kernel has no audit messages (CONFIG_AUDIT)")
    if subprocess.run(["pidof", "auditd"], stdout=subprocess.DEVNULL).returncode == 0:
        pytest.skip("auditd takes what would be in the kernel's log")


@pytest.mark.shows("linux.seccomp.action")
def test_what_is_logged_is_in_the_kernels_log(outcomes: Outcomes, kernel_log: int) -> None:
    need_log_of("log")
    profile = allowing(rule("LOG", "futex_waitv"))
    logged(kernel_log, r'comm="attempt".* syscall=449 ', lambda: outcomes(profile, "449"))


@pytest.mark.shows("linux.seccomp.flags")
@pytest.mark.peers_differ(runc=NO_FLAGS)
def test_the_flag_log_logs_what_is_refused(outcomes: Outcomes, kernel_log: int) -> None:
    need_log_of("errno")

    def run() -> None:
        # From 424 up numbers are the same everywhere.
        assert outcomes(allowing(rule("ERRNO", "faccessat2")), "439") == ["errno 1"]
        profile = allowing(rule("ERRNO", "futex_waitv"), flags=["SECCOMP_FILTER_FLAG_LOG"])
        assert outcomes(profile, "449") == ["errno 1"]

    said = logged(kernel_log, r'comm="attempt".* syscall=449 ', run)
    assert " syscall=439 " not in said


@pytest.mark.shows("linux.seccomp.flags")
@pytest.mark.peers_differ(runc=NO_FLAGS)
def test_the_flag_spec_allow_leaves_speculation_alone(runtime: Runtime, bundle: MakeBundle) -> None:
    def speculation(*flags: str) -> str:
        profile = allowing(rule("ERRNO"), flags=[f"SECCOMP_FILTER_FLAG_{flag}" for flag in flags])
        here = bundle(process={"args": ["sleep", "1000"]}, linux={"seccomp": profile})
        return host.status(runtime.pid(runtime.launch(here)))["Speculation_Store_Bypass"]

    if "force mitigated" not in speculation():
        pytest.skip("this kernel doesn't mitigate speculation because of filters")
    assert "force mitigated" not in speculation("SPEC_ALLOW")


@pytest.mark.shows("linux.seccomp.newer")
@pytest.mark.parametrize("default", ["ERRNO", "KILL", "KILL_THREAD", "KILL_PROCESS", "TRAP"])
@pytest.mark.peers_differ(crun="gives them the default action")
def test_calls_newer_than_the_profile_do_not_exist(outcomes: Outcomes, default: str) -> None:
    # 439 is faccessat2, which NAMES has, 449 futex_waitv.
    found = outcomes(only(default, architectures=NATIVE), "449", "getppid")
    assert found[0] == NO_SUCH_CALL
    assert found[1] in ("errno 1", "trapped", KILLED)


@pytest.mark.shows("linux.seccomp.newer")
def test_a_newer_call_that_the_profile_names_is_not_newer(outcomes: Outcomes) -> None:
    profile = only("ERRNO", rule("ERRNO", "futex_waitv", errnoRet=99))
    # 443 is quotactl_fd: older than what is named, so the profile means it.
    assert outcomes(profile, "449", "443") == ["errno 99", "errno 1"]


@pytest.mark.shows("linux.seccomp.newer")
@pytest.mark.parametrize("default", ["ALLOW", "LOG"])
def test_a_profile_that_allows_by_default_allows_newer_calls(outcomes: Outcomes, default: str) -> None:
    # futex_waitv of nothing: EINVAL, by the kernel itself.
    profile = {"defaultAction": f"SCMP_ACT_{default}", "syscalls": [rule("ERRNO")]}
    assert outcomes(profile, "449") == ["errno 22"]


@pytest.mark.shows("linux.seccomp")
def test_the_program_is_under_a_filter_only_if_there_is_a_profile(
    runtime: Runtime, bundle: MakeBundle
) -> None:
    modes = []
    for profile in (allowing(rule("ERRNO")), None):
        here = bundle(process={"args": ["sleep", "1000"]}, linux={"seccomp": profile})
        modes.append(host.status(runtime.pid(runtime.launch(here)))["Seccomp"])
    assert modes == ["2", "0"]


@pytest.mark.shows("linux.seccomp")
@pytest.mark.parametrize("no_new_privileges", [True, False])
@pytest.mark.parametrize("user", [0, 1000])
@pytest.mark.parametrize("capabilities", [[], ["CAP_SYS_ADMIN"]])
@pytest.mark.parametrize("mapped", [False, True])
def test_the_filter_costs_no_privilege_and_brings_none(
    runtime: Runtime,
    reachable: MakeBundle,
    no_new_privileges: bool,
    user: int,
    capabilities: list[str],
    mapped: bool,
) -> None:
    """Without noNewPrivileges seccomp(2) takes CAP_SYS_ADMIN, which the program may not be meant to have."""
    linux: dict[str, Any] = {"seccomp": allowing(rule("ERRNO", "acct"))}
    if mapped:
        mapping = [{"containerID": 0, "hostID": 100000, "size": 65536}]
        linux |= {
            "namespaces": [*namespaces(), {"type": "user"}],
            "uidMappings": mapping,
            "gidMappings": mapping,
        }
    process = {
        "args": ["sleep", "1000"],
        "noNewPrivileges": no_new_privileges,
        "user": {"uid": user, "gid": user},
        "capabilities": dict.fromkeys(("bounding", "effective", "permitted"), capabilities),
    }
    status = host.status(runtime.pid(runtime.launch(reachable(process=process, linux=linux))))
    sys_admin = 1 << 21 if capabilities else 0
    assert (status["Seccomp"], status["NoNewPrivs"]) == ("2", str(int(no_new_privileges)))
    assert int(status["CapBnd"], 16) == sys_admin
    for name in ("CapEff", "CapPrm"):
        assert int(status[name], 16) == (sys_admin if user == 0 else 0), name
    for name in ("CapInh", "CapAmb"):
        assert int(status[name], 16) == 0, name


@pytest.mark.shows("linux.seccomp")
@pytest.mark.parametrize("no_new_privileges", [True, False])
@pytest.mark.parametrize("default", ["ERRNO", "KILL_PROCESS"])
@pytest.mark.peers_differ(crun="does more under the filter", runc="does more under the filter")
def test_a_filter_that_allows_little_lets_the_program_start(
    outcomes: Outcomes, default: str, no_new_privileges: bool
) -> None:
    names = [*START.split(), "getppid"]
    if not no_new_privileges:
        names += ["capset", "prctl"]  # the filter is loaded by a privilege that has to go afterwards
    profile = {"defaultAction": f"SCMP_ACT_{default}", "syscalls": [rule("ALLOW", *names)]}
    assert outcomes(profile, "getppid", process={"noNewPrivileges": no_new_privileges}) == [PERMITTED]


@pytest.mark.shows("linux.seccomp")
@pytest.mark.peers_differ(crun="does more under the filter")
def test_what_the_runtime_does_itself_is_not_under_the_filter(
    runtime: Runtime, bundle: MakeBundle, tmp_path: Path
) -> None:
    names = """mount umount2 pivot_root chroot open_tree move_mount fsopen mount_setattr mknod mknodat mkdir mkdirat
        symlinkat sethostname setdomainname unshare setns setsid setresuid setresgid setgroups chdir fchdir
        setrlimit sched_setattr ioprio_set personality set_mempolicy keyctl umask chown fchown openat2"""
    touch = {"path": "/bin/touch", "args": ["touch", "/tmp/hook"]}
    here = bundle(
        hostname="host-1",
        process={
            "args": ["sleep", "1000"],
            "cwd": "/dev",
            "user": {"uid": 5, "gid": 6, "additionalGids": [7], "umask": 0o27},
            "rlimits": [{"type": "RLIMIT_CORE", "soft": 0, "hard": 0}],
            "scheduler": {"policy": "SCHED_BATCH"},
            "ioPriority": {"class": "IOPRIO_CLASS_IDLE", "priority": 0},
            "noNewPrivileges": True,
        },
        hooks={"startContainer": [touch]},
        mounts=mounts(bound(tmp_path, "/tmp")),
        linux={
            "seccomp": allowing(rule("KILL_PROCESS", *names.split())),
            "personality": {"domain": "LINUX"},
            "memoryPolicy": {"mode": "MPOL_BIND", "nodes": "0"},
            "devices": [{"path": "/dev/mine", "type": "p"}],
            "sysctl": {"net.ipv4.ip_forward": "1"},
        },
    )
    tmp_path.chmod(0o777)
    pid = runtime.pid(runtime.launch(here))
    assert host.status(pid)["Seccomp"] == "2"
    assert Path(f"/proc/{pid}/comm").read_text() == "sleep\n"
    assert (tmp_path / "hook").exists()


@pytest.mark.refuses("linux.seccomp")
@pytest.mark.parametrize("action", ["ERRNO", "KILL_PROCESS"])
@pytest.mark.peers_differ(crun="says that it has started", runc="says that it has started")
def test_a_filter_that_forbids_the_program_itself_is_an_error_of_start(
    runtime: Runtime, bundle: MakeBundle, action: str
) -> None:
    container = runtime.create(bundle(linux={"seccomp": allowing(rule(action, "execve"))}))
    runtime.fails("start", container)


ARG = compare(0, "EQ", 1)
WRONG: dict[str, Any] = {
    "no object": [],
    "no default action": {"syscalls": [rule("ERRNO")]},
    "an unknown default action": allowing() | {"defaultAction": "SCMP_ACT_MAYBE"},
    "a default action in small letters": allowing() | {"defaultAction": "scmp_act_allow"},
    "an unknown action": allowing(rule("MAYBE")),
    "no action": allowing({"names": ["getppid"]}),
    "no names": allowing({"action": "SCMP_ACT_ERRNO"}),
    "a name that is no string": allowing({"action": "SCMP_ACT_ERRNO", "names": [39]}),
    "a name instead of a list": allowing({"action": "SCMP_ACT_ERRNO", "names": "getppid"}),
    "an unknown operator": allowing(rule("ERRNO", args=[ARG | {"op": "SCMP_CMP_ALMOST"}])),
    "no operator": allowing(rule("ERRNO", args=[{"index": 0, "value": 1}])),
    "no index": allowing(rule("ERRNO", args=[{"op": "SCMP_CMP_EQ", "value": 1}])),
    "no value": allowing(rule("ERRNO", args=[{"op": "SCMP_CMP_EQ", "index": 0}])),
    "a seventh argument": allowing(rule("ERRNO", args=[ARG | {"index": 6}])),
    "a negative index": allowing(rule("ERRNO", args=[ARG | {"index": -1}])),
    "a negative value": allowing(rule("ERRNO", args=[ARG | {"value": -1}])),
    "a value of 65 bits": allowing(rule("ERRNO", args=[ARG | {"value": 2**64}])),
    "a second value of 65 bits": allowing(rule("ERRNO", args=[ARG | {"valueTwo": 2**64}])),
    "a value that is a string": allowing(rule("ERRNO", args=[ARG | {"value": "1"}])),
    "an unknown architecture": allowing(architectures=["SCMP_ARCH_VAX"]),
    "an architecture of the other byte order": allowing(architectures=["SCMP_ARCH_S390X"]),
    "an unknown flag": allowing(flags=["SECCOMP_FILTER_FLAG_FAST"]),
    "a flag instead of a list": allowing(flags="SECCOMP_FILTER_FLAG_LOG"),
    "a negative errno": allowing(rule("ERRNO", errnoRet=-1)),
    "an errno that is a string": allowing(rule("ERRNO", errnoRet="EPERM")),
    "an errno that the kernel can't return": allowing(rule("ERRNO", errnoRet=5000)),
    "a negative default errno": only("ERRNO", defaultErrnoRet=-1),
    "a default errno that is a string": only("ERRNO", defaultErrnoRet="EPERM"),
    **{f"an errno with {name}": allowing(rule(name, errnoRet=1)) for name in ("ALLOW", "LOG", "KILL", "TRAP")},
    **{f"a default errno with {name}": only(name, defaultErrnoRet=1) for name in ("ALLOW", "LOG", "KILL", "TRAP")},
}  # fmt: skip


@pytest.mark.refuses(
    "linux.seccomp.defaultAction",
    "linux.seccomp.defaultErrnoRet",
    "linux.seccomp.architectures",
    "linux.seccomp.flags",
    "linux.seccomp.syscalls",
    "linux.seccomp.action",
    "linux.seccomp.errnoRet",
    "linux.seccomp.args",
)
@pytest.mark.parametrize("what", WRONG)
@pytest.mark.peers_differ(crun="takes some of them", runc="takes some of them")
def test_a_profile_that_can_not_be_is_an_error(runtime: Runtime, bundle: MakeBundle, what: str) -> None:
    refused(runtime, bundle(linux={"seccomp": WRONG[what]}))
