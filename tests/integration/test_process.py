"""A filter, a sysctl, a writable root, the names; to be moved to conformance/ with their chapters."""

from pathlib import Path

import pytest

from conformance.bundles import mounts, namespaces
from conformance.runtime import Runtime

from .conftest import MakeBundle


def test_a_writable_root_takes_files(pyoci: Runtime, bundle: MakeBundle) -> None:
    here = bundle(root={"readonly": False}, process={"args": ["sh", "-c", "echo text >/file"]})
    assert pyoci.run(here).code == 0
    assert (here / "rootfs/file").read_text() == "text\n"


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
