"""`process`: identity, limits and what else the program starts with; config.md, "Process"."""

import os
import resource
from pathlib import Path
from typing import Any

import pytest

from conformance import host
from conformance.bundles import mounts, namespaces
from conformance.runtime import Runtime

from .conftest import MakeBundle

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


def launched(pyoci: Runtime, bundle: MakeBundle, **process: Any) -> int:
    """The process of a container that sleeps, with these properties of its process."""
    return pyoci.pid(pyoci.launch(bundle(process={"args": ["sleep", "1000"]} | process)))


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


@pytest.mark.peers_differ(runc="takes no more than 31 bits")
def test_user_groups_and_umask_are_the_configs(pyoci: Runtime, bundle: MakeBundle) -> None:
    user = {"uid": 1000, "gid": 1001, "additionalGids": [7, 4_000_000_000], "umask": 0o027}
    status = host.status(launched(pyoci, bundle, user=user))
    assert status["Uid"].split() == ["1000"] * 4
    assert status["Gid"].split() == ["1001"] * 4
    assert sorted(status["Groups"].split()) == ["4000000000", "7"]
    assert status["Umask"] == "0027"


def test_the_callers_groups_do_not_come_along(pyoci: Runtime, sleeper: Path) -> None:
    command = " ".join([*pyoci.command, "run", "--detach", "--bundle", str(sleeper)])
    container = host.TAG + "-groups"
    groups = ["setpriv", "--groups", "4711", "sh", "-c", f"{command} {container} >/dev/null 2>&1"]
    assert os.spawnvp(os.P_WAIT, groups[0], groups) == 0
    assert "4711" not in host.status(pyoci.pid(container))["Groups"].split()


def test_the_five_capability_sets_are_the_configs(pyoci: Runtime, bundle: MakeBundle) -> None:
    pid = launched(pyoci, bundle, capabilities=SETS)
    assert capabilities(pid) == {name: set(wanted) for name, wanted in SETS.items()}


def test_a_user_other_than_root_keeps_its_ambient_capabilities(pyoci: Runtime, bundle: MakeBundle) -> None:
    found = capabilities(launched(pyoci, bundle, user={"uid": 1000, "gid": 1000}, capabilities=SETS))
    # execve(2) of another user: what is ambient is permitted and effective, and nothing else is.
    assert found == {
        "bounding": set(SETS["bounding"]),
        "inheritable": set(SETS["inheritable"]),
        "permitted": {"CAP_KILL"},
        "effective": {"CAP_KILL"},
        "ambient": {"CAP_KILL"},
    }


def test_without_capabilities_there_are_none(pyoci: Runtime, bundle: MakeBundle) -> None:
    empty: dict[str, list[str]] = {name: [] for name in SETS}
    pid = launched(pyoci, bundle, capabilities=empty)
    assert capabilities(pid) == {name: set() for name in SETS}


def test_an_unknown_capability_is_a_warning_and_no_error(pyoci: Runtime, bundle: MakeBundle) -> None:
    names = ["CAP_KILL", "CAP_NO_SUCH"]
    sets = dict.fromkeys(("bounding", "permitted", "effective"), names)
    done = pyoci.run(bundle(process={"args": ["true"], "capabilities": sets}))
    assert done.code == 0
    if pyoci.path.name not in ("crun", "runc"):
        assert "CAP_NO_SUCH" in done.stderr


def test_resource_limits_are_exact(pyoci: Runtime, bundle: MakeBundle) -> None:
    unlimited = 2**64 - 1
    limits = [
        {"type": "RLIMIT_NOFILE", "soft": 100, "hard": 200},
        {"type": "RLIMIT_CORE", "soft": 0, "hard": unlimited},
        {"type": "RLIMIT_STACK", "soft": 1 << 20, "hard": 1 << 21},
        {"type": "RLIMIT_NPROC", "soft": 300, "hard": 301},
        {"type": "RLIMIT_MSGQUEUE", "soft": 4096, "hard": 8192},
    ]
    pid = launched(pyoci, bundle, rlimits=limits)
    for limit in limits:
        soft, hard = resource.prlimit(pid, getattr(resource, str(limit["type"])))
        assert (soft % 2**64, hard % 2**64) == (limit["soft"], limit["hard"]), limit["type"]


@pytest.mark.parametrize("value", [True, False])
def test_no_new_privileges_is_the_configs(pyoci: Runtime, bundle: MakeBundle, value: bool) -> None:
    pid = launched(pyoci, bundle, noNewPrivileges=value)
    assert host.status(pid)["NoNewPrivs"] == str(int(value))


@pytest.mark.parametrize("value", [500, 0, -100])
def test_oom_score_adj_is_the_configs(pyoci: Runtime, bundle: MakeBundle, value: int) -> None:
    if value < 0 and not int(host.status(os.getpid())["CapEff"], 16) >> CAP_SYS_RESOURCE & 1:
        pytest.skip("this user lacks CAP_SYS_RESOURCE, without which nobody may lower oom_score_adj")
    pid = launched(pyoci, bundle, oomScoreAdj=value)
    assert Path(f"/proc/{pid}/oom_score_adj").read_text() == f"{value}\n"


def test_oom_score_adj_is_left_alone_if_the_config_has_none(pyoci: Runtime, bundle: MakeBundle) -> None:
    own = Path("/proc/self/oom_score_adj")
    before = own.read_text()
    own.write_text("123")
    try:
        pid = launched(pyoci, bundle)
        assert Path(f"/proc/{pid}/oom_score_adj").read_text() == "123\n"
    finally:
        own.write_text(before)


@pytest.mark.peers_differ(crun="adds HOME", runc="adds HOME")
def test_the_environment_is_exactly_the_configs(pyoci: Runtime, bundle: MakeBundle) -> None:
    environment = ["PATH=/bin", "EMPTY=", "LINES=a\nb", "EQUALS=a=b=c", "WORD=ünïcode", "PATH_AGAIN=/bin"]
    pid = launched(pyoci, bundle, env=environment)
    shown = Path(f"/proc/{pid}/environ").read_text()
    assert shown == "".join(f"{entry}\0" for entry in environment)


def test_the_program_is_looked_up_in_the_containers_path(pyoci: Runtime, bundle: MakeBundle) -> None:
    here = bundle(process={"args": ["tool"], "env": ["PATH=/nowhere:/special"]})
    tool = here / "rootfs/special/tool"
    tool.parent.mkdir()
    tool.write_text("#!/bin/sh\necho found\n")
    tool.chmod(0o755)
    done = pyoci.run(here)
    assert (done.code, done.stdout) == (0, "found\n"), done


def test_the_first_argument_is_the_programs_name_as_it_was_given(pyoci: Runtime, bundle: MakeBundle) -> None:
    pid = launched(pyoci, bundle, args=["sleep", "1000"])
    assert Path(f"/proc/{pid}/cmdline").read_bytes() == b"sleep\x001000\x00"


def test_the_program_starts_in_the_working_directory(pyoci: Runtime, bundle: MakeBundle) -> None:
    assert pyoci.run(bundle(process={"args": ["pwd"], "cwd": "/tmp"})).stdout == "/tmp\n"


def test_a_missing_working_directory_is_made(pyoci: Runtime, bundle: MakeBundle) -> None:
    # The specification is silent; engines rely on what runc has always done.
    assert pyoci.run(bundle(process={"args": ["pwd"], "cwd": "/work/here"})).stdout == "/work/here\n"


def test_a_writable_root_takes_files(pyoci: Runtime, bundle: MakeBundle) -> None:
    here = bundle(root={"readonly": False}, process={"args": ["sh", "-c", "echo text >/file"]})
    assert pyoci.run(here).code == 0
    assert (here / "rootfs/file").read_text() == "text\n"


def test_signals_are_neither_blocked_nor_ignored(pyoci: Runtime, sleeper: Path) -> None:
    status = host.status(pyoci.pid(pyoci.launch(sleeper)))
    assert (int(status["SigBlk"], 16), int(status["SigIgn"], 16)) == (0, 0)


def test_the_hostname_and_the_domainname_are_the_configs(pyoci: Runtime, bundle: MakeBundle) -> None:
    script = "cat /proc/sys/kernel/hostname /proc/sys/kernel/domainname"
    here = bundle(hostname="host-1", domainname="example.org", process={"args": ["sh", "-c", script]})
    assert pyoci.run(here).stdout.splitlines()[0] == "host-1"
    if pyoci.path.name not in ("crun", "runc"):  # too old to know it
        assert pyoci.run(here).stdout.splitlines()[1] == "example.org"


def test_a_seccomp_filter_refuses_what_it_names_with_its_errno(pyoci: Runtime, bundle: MakeBundle) -> None:
    refused = {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 99}
    seccomp = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [refused]}
    script = "mkdir /tmp/x; touch /tmp/y && echo made; grep Seccomp: /proc/self/status"
    tmp = {"destination": "/tmp", "type": "tmpfs", "source": "tmpfs"}
    done = pyoci.run(
        bundle(linux={"seccomp": seccomp}, mounts=mounts(tmp), process={"args": ["sh", "-c", script]})
    )
    assert done.stdout.split() == ["made", "Seccomp:", "2"], done
    assert "Cannot assign requested address" in done.stderr


@pytest.mark.parametrize("value", [True, False])
def test_a_seccomp_filter_that_allows_little_lets_the_program_start(
    pyoci: Runtime, bundle: MakeBundle, value: bool
) -> None:
    # What a static `true` needs, and execve: the runtime's own calls after the filter must not count on more.
    names = [
        "execve",
        "exit_group",
        "brk",
        "arch_prctl",
        "set_tid_address",
        "set_robust_list",
        "rseq",
        "prlimit64",
    ]
    names += [
        "readlink",
        "readlinkat",
        "getrandom",
        "mprotect",
        "uname",
        "getuid",
        "getgid",
        "setuid",
        "setgid",
    ]
    # Peers set the identity after the filter if they may not set the filter after the identity.
    names += [
        "capget",
        "capset",
        "prctl",
        "setgroups",
        "setresuid",
        "setresgid",
        "fcntl",
        "close",
        "write",
        "read",
    ]
    names += [
        "futex",
        "openat",
        "getdents64",
        "fstat",
        "newfstatat",
        "statx",
        "chdir",
        "getcwd",
        "mmap",
        "munmap",
    ]
    names += [
        "close_range",
        "rt_sigprocmask",
        "rt_sigaction",
        "rt_sigreturn",
        "sigaltstack",
        "getpid",
        "gettid",
    ]
    names += [
        "tgkill",
        "nanosleep",
        "epoll_pwait",
        "epoll_ctl",
        "getppid",
        "poll",
        "sendmsg",
        "recvmsg",
        "accept4",
    ]
    names += [
        "fstatfs",
        "lseek",
        "faccessat",
        "faccessat2",
        "setsid",
        "sched_yield",
        "madvise",
        "clone",
        "sendto",
    ]
    allowed = {"names": names, "action": "SCMP_ACT_ALLOW"}
    seccomp = {"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [allowed]}
    done = pyoci.run(bundle(linux={"seccomp": seccomp}, process={"args": ["true"], "noNewPrivileges": value}))
    assert done.code == 0, done


def test_a_sysctl_is_set_in_the_containers_namespace(pyoci: Runtime, bundle: MakeBundle) -> None:
    name = Path("/proc/sys/net/ipv4/ip_forward")
    before = name.read_text()
    value = "0" if before.strip() == "1" else "1"
    here = bundle(
        linux={"sysctl": {"net.ipv4.ip_forward": value}, "namespaces": namespaces()},
        process={"args": ["cat", str(name)]},
    )
    assert pyoci.run(here).stdout.strip() == value
    assert name.read_text() == before
