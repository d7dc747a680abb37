"""linux.seccomp.listenerPath: a filter asks an agent; config-linux.md, "Seccomp", "The Container Process State"."""

from __future__ import annotations

import errno
import os
import platform
from pathlib import Path
from typing import Any

import pytest

from .agents import agent
from .fixtures import MakeBundle
from .runtime import Runtime

# asm/unistd.h: the numbers of mkdir and mkdirat (arm64 has the second only).
MKDIR = {"x86_64": {83, 258}, "aarch64": {34}}[platform.machine()]


def asking(path: Path, *calls: str, **more: Any) -> dict[str, Any]:
    """A profile that asks the agent at `path` about these calls and allows all others."""
    rule = {"names": list(calls), "action": "SCMP_ACT_NOTIFY"}
    return {"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": str(path), "syscalls": [rule]} | more


def profiled(bundle: MakeBundle, profile: dict[str, Any], *args: str) -> Path:
    return bundle(process={"args": list(args)}, root={"readonly": False}, linux={"seccomp": profile})


@pytest.mark.shows("linux.seccomp.listenerPath")
@pytest.mark.parametrize("refusal", [None, errno.EDQUOT])
def test_the_agent_decides_about_the_call(
    runtime: Runtime, bundle: MakeBundle, tmp_path: Path, refusal: int | None
) -> None:
    profile = asking(tmp_path / "agent", "mkdir", "mkdirat")
    path = profiled(bundle, profile, "sh", "-c", "mkdir /tmp/new 2>&1; test -d /tmp/new && echo made")
    with agent(tmp_path / "agent", lambda number: refusal if number in MKDIR else None) as answering:
        output = runtime.output(path)
    assert set(answering.calls) & MKDIR
    assert "made" in output if refusal is None else "Disk quota exceeded" in output


@pytest.mark.shows("linux.seccomp.listenerPath", "linux.seccomp.listenerMetadata")
@pytest.mark.parametrize("metadata", [None, 'a "text" of ours'])
def test_the_agent_gets_one_state_and_the_listener_over_a_connection_that_is_closed(
    runtime: Runtime, bundle: MakeBundle, tmp_path: Path, metadata: str | None
) -> None:
    more = {} if metadata is None else {"listenerMetadata": metadata}
    path = profiled(bundle, asking(tmp_path / "agent", "mkdir", "mkdirat", **more), "sleep", "1000")
    with agent(tmp_path / "agent", lambda number: None) as answering:
        container = runtime.launch(path)
        pid = runtime.pid(container)
        runtime.finish(container)
    (state,) = answering.states
    assert answering.descriptors == [1]
    assert state["fds"] == ["seccompFd"]
    assert state["pid"] == pid
    assert state.get("metadata") == metadata
    assert state["ociVersion"]
    assert {name: state["state"][name] for name in ("id", "pid", "bundle")} == {
        "id": container,
        "pid": pid,
        "bundle": str(path),
    }
    assert state["state"]["status"] in ("creating", "created", "running")


@pytest.mark.shows("linux.seccomp.listenerPath")
@pytest.mark.parametrize("new_privileges", [True, False])
@pytest.mark.peers_differ(
    crun="it hangs, asking about the call by which it hands the listener over",
    runc="it refuses such a filter",
)
def test_every_call_that_a_runtime_needs_may_be_asked_about(
    runtime: Runtime, bundle: MakeBundle, tmp_path: Path, new_privileges: bool
) -> None:
    """Whatever the runtime does between loading the filter and handing the listener over must not wait for the agent."""
    calls = ["sendmsg", "recvmsg", "read", "write", "close", "futex", "capset", "execve", "exit_group"]
    path = profiled(bundle, asking(tmp_path / "agent", *calls), "echo", "done")
    if new_privileges:
        capabilities = ["CAP_SYS_ADMIN"]
        sets = dict.fromkeys(("bounding", "effective", "permitted"), capabilities)
        path = bundle(
            process={"args": ["echo", "done"], "noNewPrivileges": False, "capabilities": sets},
            linux={"seccomp": asking(tmp_path / "agent", *calls)},
        )
    with agent(tmp_path / "agent", lambda number: None) as answering:
        assert runtime.output(path) == "done\n"
    assert answering.calls


@pytest.mark.shows("linux.seccomp.listenerPath")
@pytest.mark.peers_differ(crun="it hangs as above", runc="it refuses this default")
def test_an_agent_may_be_asked_about_every_call(runtime: Runtime, bundle: MakeBundle, tmp_path: Path) -> None:
    profile = {"defaultAction": "SCMP_ACT_NOTIFY", "listenerPath": str(tmp_path / "agent")}
    with agent(tmp_path / "agent", lambda number: None) as answering:
        assert runtime.output(profiled(bundle, profile, "echo", "done")) == "done\n"
    assert len(answering.calls) > 5


@pytest.mark.shows("linux.seccomp.listenerPath")
@pytest.mark.peers_differ(crun="it wants the agent all the same")
def test_without_a_rule_that_asks_there_is_no_agent(
    runtime: Runtime, bundle: MakeBundle, tmp_path: Path
) -> None:
    profile = {"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": str(tmp_path / "nobody")}
    assert runtime.output(profiled(bundle, profile, "echo", "done")) == "done\n"


@pytest.mark.refuses("linux.seccomp.listenerPath")
@pytest.mark.parametrize("there", ["nothing", "a file", "nobody"])
def test_an_agent_that_cannot_be_reached_is_an_error(
    runtime: Runtime, bundle: MakeBundle, tmp_path: Path, there: str
) -> None:
    socket = tmp_path / "agent"
    if there == "a file":
        socket.touch()
    elif there == "nobody":
        with agent(socket, lambda number: None):
            pass
    path = profiled(bundle, asking(socket, "mkdir"), "touch", "/ran")
    container = "unreachable-agent"
    created = runtime.attempt("create", "--bundle", path, container)
    if created.code == 0:
        assert str(socket) in runtime.fails("start", container)
        runtime.await_status(container, "stopped")
        runtime("delete", container)
    else:
        assert str(socket) in created.stderr
        assert container not in os.listdir(runtime.root)
    assert not (path / "rootfs/ran").exists()


@pytest.mark.refuses("linux.seccomp.listenerPath")
@pytest.mark.peers_differ(crun="it runs the program without anybody who answers")
def test_a_rule_that_asks_needs_an_agent(runtime: Runtime, bundle: MakeBundle) -> None:
    profile = asking(Path("x"), "mkdir")
    del profile["listenerPath"]
    runtime.fails("run", "--bundle", profiled(bundle, profile, "true"), "no-agent")


@pytest.mark.refuses("linux.seccomp.listenerMetadata")
@pytest.mark.peers_differ(crun="it ignores the metadata", runc="it ignores the metadata")
def test_metadata_need_an_agent(runtime: Runtime, bundle: MakeBundle) -> None:
    profile = {"defaultAction": "SCMP_ACT_ALLOW", "listenerMetadata": "x"}
    runtime.fails("run", "--bundle", profiled(bundle, profile, "true"), "no-agent")
