"""Small resource limits are the program's, and don't stand in the runtime's way; config.md, "Process"."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from . import host
from .agents import agent
from .fixtures import MakeBundle
from .runtime import Runtime, new_id

# What /bin/echo of a static busybox can still live with.
SMALL = {
    "RLIMIT_NOFILE": 3,
    "RLIMIT_NPROC": 0,
    "RLIMIT_STACK": 32 << 10,
    "RLIMIT_AS": 8 << 20,
    "RLIMIT_DATA": 1 << 20,
    "RLIMIT_FSIZE": 0,
    "RLIMIT_MEMLOCK": 0,
    "RLIMIT_SIGPENDING": 0,
}
ECHO = ["/bin/echo", "it works"]
ALLOW = {"defaultAction": "SCMP_ACT_ALLOW"}


def limits(**changes: int) -> list[dict[str, Any]]:
    return [{"type": name, "soft": value, "hard": value} for name, value in (SMALL | changes).items()]


def needs_sys_resource() -> None:
    if not int(host.status(os.getpid())["CapEff"], 16) >> 24 & 1:
        pytest.skip("this user lacks CAP_SYS_RESOURCE, without which nobody may raise a hard limit")


def said(runtime: Runtime, bundle: Path) -> str:
    """What the program writes to a pipe: a file may be too large for it."""
    reader, writer = os.pipe()
    try:
        process = runtime.popen("run", "--bundle", bundle, new_id(), stdout=writer, stderr=writer)
        os.close(writer)
        writer = -1
        with os.fdopen(os.dup(reader)) as output:
            text = output.read()
        assert process.wait(20) == 0, text
        return text
    finally:
        os.close(reader)
        if writer >= 0:
            os.close(writer)


@pytest.mark.shows("process.rlimits")
@pytest.mark.parametrize(("name", "user"), [("all", 0), ("all", 1000), *((name, 1000) for name in SMALL)])
@pytest.mark.peers_differ(crun="fails with some", runc="fails with some")
def test_a_small_limit_is_the_programs_alone(
    runtime: Runtime, bundle: MakeBundle, name: str, user: int
) -> None:
    chosen = [limit for limit in limits() if name in (limit["type"], "all")]
    identity = {"uid": user, "gid": user, "additionalGids": list(range(100, 1100))}
    process = {"args": ECHO, "rlimits": chosen, "user": identity}
    assert said(runtime, bundle(process=process)) == "it works\n"


@pytest.mark.shows("process.rlimits")
@pytest.mark.peers_differ(crun="fails with them", runc="fails with them")
def test_small_limits_leave_room_for_a_filter_and_a_path(runtime: Runtime, bundle: MakeBundle) -> None:
    for no_new_privileges in (True, False):
        process = {"args": ["echo", "it works"], "rlimits": limits(), "noNewPrivileges": no_new_privileges}
        here = bundle(process=process, linux={"seccomp": ALLOW})
        assert said(runtime, here) == "it works\n"


@pytest.mark.shows("process.rlimits")
@pytest.mark.peers_differ(crun="fails with them", runc="fails with them")
def test_small_limits_leave_room_for_a_listener(runtime: Runtime, bundle: MakeBundle, tmp_path: Path) -> None:
    rule = {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_NOTIFY"}
    profile = ALLOW | {"listenerPath": str(tmp_path / "agent"), "syscalls": [rule]}
    process = {"args": ["mkdir", "/tmp/new"], "rlimits": limits()}
    here = bundle(process=process, linux={"seccomp": profile}, root={"readonly": False})
    with agent(tmp_path / "agent", lambda number: None) as answering:
        assert said(runtime, here) == ""
    assert answering.calls


@pytest.mark.shows("process.rlimits")
@pytest.mark.peers_differ(crun="fails with them", runc="fails with them")
def test_small_limits_are_no_matter_for_hooks(runtime: Runtime, bundle: MakeBundle) -> None:
    entry = {"path": "/bin/sh", "args": ["sh", "-c", "(true) && exec 3</dev/null 4</dev/null"]}
    kinds = ("createRuntime", "createContainer", "poststart", "poststop")
    here = bundle(process={"args": ECHO, "rlimits": limits()}, hooks={kind: [entry] for kind in kinds})
    assert said(runtime, here) == "it works\n"


@pytest.mark.shows("process.rlimits", "hooks.startContainer")
def test_a_startcontainer_hook_has_the_programs_limits(runtime: Runtime, bundle: MakeBundle) -> None:
    entry = {"path": "/bin/sh", "args": ["sh", "-c", "ulimit -n >/limit"]}
    small = [{"type": "RLIMIT_NOFILE", "soft": 64, "hard": 64}]
    here = bundle(
        process={"args": ECHO, "rlimits": small}, hooks={"startContainer": [entry]}, root={"readonly": False}
    )
    assert said(runtime, here) == "it works\n"
    assert (here / "rootfs/limit").read_text() == "64\n"


@pytest.mark.shows("process.rlimits")
@pytest.mark.peers_differ(crun="fails with them", runc="fails with them")
def test_what_is_wrong_with_the_program_is_said_with_small_limits_too(
    runtime: Runtime, bundle: MakeBundle
) -> None:
    here = bundle(process={"args": ["/script"], "rlimits": limits()})
    (here / "rootfs/script").write_text("#!/no/such/interpreter\n")
    (here / "rootfs/script").chmod(0o755)
    container = runtime.create(here)
    error = runtime.fails("start", container)
    assert "/no/such/interpreter" in error


@pytest.mark.shows("process.rlimits")
@pytest.mark.parametrize(
    ("name", "value"),
    [("nofile", 12), ("nproc", 0), ("stack", 256 << 10), ("data", 64 << 20), ("memlock", 0), ("fsize", 4096)],
)
@pytest.mark.parametrize("soft", [True, False], ids=["soft", "hard"])
@pytest.mark.peers_differ(crun="fails with some", runc="fails with some")
def test_a_small_limit_of_the_callers_is_the_programs_alone_too(
    runtime: Runtime, bundle: MakeBundle, name: str, value: int, soft: bool
) -> None:
    if not soft:
        needs_sys_resource()
    words = {
        "nofile": "open files",
        "nproc": "processes",
        "stack": "stack size",
        "data": "data size",
        "memlock": "locked memory",
        "fsize": "file size",
    }
    identity = {"uid": 1000, "gid": 1000}
    here = bundle(process={"args": ["cat", "/proc/self/limits"], "user": identity, "rlimits": None})
    limited = Runtime(runtime.path, runtime.root)
    limited.command = ["prlimit", f"--{name}={value}:{'' if soft else value}", *runtime.command]
    shown = said(limited, here)
    row = next(row for row in shown.splitlines() if row.startswith(f"Max {words[name]}  "))
    assert row.removeprefix(f"Max {words[name]}").split()[0] == str(value)
    if not soft:
        assert row.removeprefix(f"Max {words[name]}").split()[1] == str(value)


@pytest.mark.shows("process.rlimits")
def test_a_root_caller_may_raise_limits_of_a_container_with_a_user_namespace(
    runtime: Runtime, reachable: MakeBundle
) -> None:
    needs_sys_resource()
    mappings = [{"containerID": 0, "hostID": 100000, "size": 65536}]
    linux = {
        "namespaces": [{"type": kind} for kind in ("pid", "network", "ipc", "uts", "mount", "user")],
        "uidMappings": mappings,
        "gidMappings": mappings,
    }
    limit = {"type": "RLIMIT_NOFILE", "soft": 5000, "hard": 6000}
    here = reachable(
        process={"args": ["sh", "-c", "ulimit -Sn; ulimit -Hn"], "rlimits": [limit]}, linux=linux
    )
    limited = Runtime(runtime.path, runtime.root)
    limited.command = ["prlimit", "--nofile=1000:1000", *runtime.command]
    assert limited.output(here).split() == ["5000", "6000"]
