"""Where hooks run: when in a container's making, in which directory, with which environment, under which privileges."""

from __future__ import annotations

import errno
import json
import os
import shutil
import socket
import subprocess
from pathlib import Path
from typing import Any

import pytest

from . import host
from .agents import agent
from .bundles import DEFAULT_CONFIG, bound, merged, mounts, namespaces, write_config
from .fixtures import MakeBundle
from .runtime import Runtime
from .terminals import taken
from .test_hooks import READ_PID, hook
from .test_seccomp_listener import MKDIR, asking

HOST_KINDS = ("prestart", "createRuntime", "poststart", "poststop")
MAPPING = [{"containerID": 0, "hostID": 100000, "size": 65536}]
MAPPED: dict[str, Any] = {
    "namespaces": [*namespaces(), {"type": "user"}],
    "uidMappings": MAPPING,
    "gidMappings": MAPPING,
}
host_kinds = pytest.mark.parametrize("kind", ["prestart", "createRuntime"])
also_mapped = pytest.mark.parametrize("linux", [{}, MAPPED], ids=["root", "mapped"])


def enter(*command: str) -> str:
    """A script in the container's mount namespace, in which its root isn't the root yet."""
    return f"{READ_PID}; nsenter --target $pid --mount -- {' '.join(command)}"


def changed(here: Path, change: dict[str, Any]) -> Path:
    """The bundle with its config.json changed: for what names the bundle itself."""
    write_config(here, merged(json.loads((here / "config.json").read_text()), change))
    return here


@pytest.mark.shows("hooks.prestart", "hooks.createRuntime")
@host_kinds
@also_mapped
def test_hooks_of_the_runtime_see_every_mount_and_device(
    runtime: Runtime, reachable: MakeBundle, tmp_path: Path, kind: str, linux: dict[str, Any]
) -> None:
    here = reachable(process={"args": ["true"]}, linux=linux)
    script = enter(
        "sh", "-c", f"'cat /proc/self/mountinfo >{tmp_path}/mounts; ls {here}/rootfs/dev >{tmp_path}/dev'"
    )
    runtime.create(changed(here, {"hooks": {kind: [hook(script)]}}))
    points = [line.split(" ")[4] for line in (tmp_path / "mounts").read_text().splitlines()]
    for mount in DEFAULT_CONFIG["mounts"]:
        assert f"{here}/rootfs{mount['destination']}" in points
    assert {"null", "zero", "full", "random", "urandom", "tty", "ptmx", "fd"} <= set(
        (tmp_path / "dev").read_text().split()
    )


@pytest.mark.shows("hooks.prestart", "hooks.createRuntime")
@host_kinds
@pytest.mark.parametrize(
    ("place", "linux"),
    # In a tmpfs of the user namespace's the host's root can't make a file.
    [("/lent", {}), ("/dev/lent", {}), ("/tmp/lent", {}), ("/lent", MAPPED)],
    ids=["root", "dev", "tmpfs", "mapped"],
)
def test_what_a_hook_binds_below_the_root_is_there_for_the_program(
    runtime: Runtime, reachable: MakeBundle, tmp_path: Path, kind: str, place: str, linux: dict[str, Any]
) -> None:
    """As NVIDIA's does it: in the container's mount namespace, while its root is still below the host's."""
    tmp_path.joinpath("file").write_text("of the host's\n")
    tmp_path.joinpath("file").chmod(0o644)
    tmpfs = {"destination": "/tmp", "type": "tmpfs", "source": "tmpfs"}
    here = reachable(process={"args": ["cat", place]}, mounts=mounts(tmpfs), linux=linux)
    target = f"{here}/rootfs{place}"
    script = enter("sh", "-c", f"': >{target}; mount --bind {tmp_path}/file {target}'")
    assert runtime.output(changed(here, {"hooks": {kind: [hook(script)]}})) == "of the host's\n"


@pytest.mark.shows("hooks.prestart")
@pytest.mark.shows("linux.maskedPaths")
def test_what_a_hook_binds_is_hidden_if_its_path_is(
    runtime: Runtime, bundle: MakeBundle, tmp_path: Path
) -> None:
    tmp_path.joinpath("file").write_text("secret\n")
    here = bundle(process={"args": ["cat", "/lent"]}, linux={"maskedPaths": ["/lent"]})
    here.joinpath("rootfs/lent").touch()
    script = enter("mount", "--bind", f"{tmp_path}/file", f"{here}/rootfs/lent")
    assert runtime.output(changed(here, {"hooks": {"prestart": [hook(script)]}})) == ""


@pytest.mark.shows("hooks.prestart", "process.terminal")
@pytest.mark.peers_differ(crun="makes the console later", runc="makes the console later")
def test_the_console_is_there_before_the_hooks(runtime: Runtime, bundle: MakeBundle, tmp_path: Path) -> None:
    here = bundle(process={"args": ["true"], "terminal": True})
    script = enter("stat", "-c", "%F", f"{here}/rootfs/dev/console", f">{tmp_path}/seen")
    changed(here, {"hooks": {"prestart": [hook(script)]}})
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(tmp_path / "console"))
        listener.listen()
        runtime.create(here, "--console-socket", str(tmp_path / "console"))
        os.close(taken(listener))
    assert (tmp_path / "seen").read_text() == "character special file\n"


@pytest.mark.shows("hooks.prestart", "hooks.createRuntime", "linux.sysctl")
@host_kinds
@also_mapped
@pytest.mark.peers_differ(crun="writes them before the hooks")
def test_a_parameter_may_be_about_a_device_that_a_hook_brings(
    runtime: Runtime, reachable: MakeBundle, kind: str, linux: dict[str, Any]
) -> None:
    """As Docker's does."""
    if subprocess.run(["unshare", "--net", "ip", "link", "add", "eth0", "type", "veth"]).returncode != 0:
        pytest.skip("no veth device can be made here")
    bring = hook(f"{READ_PID}; nsenter --target $pid --net -- ip link add eth0 type veth")
    file = "/proc/sys/net/ipv4/conf/eth0/forwarding"
    before = Path("/proc/sys/net/ipv4/conf/default/forwarding").read_text().strip()
    value = "0" if before == "1" else "1"
    sysctl = {"net.ipv4.conf.eth0.forwarding": value}
    here = reachable(process={"args": ["cat", file]}, hooks={kind: [bring]}, linux=linux | {"sysctl": sysctl})
    assert runtime.output(here) == f"{value}\n"


@pytest.mark.shows("hooks.prestart")
def test_what_a_hook_allows_of_devices_stays_allowed(
    runtime: Runtime, bundle: MakeBundle, tmp_path: Path
) -> None:
    """As NVIDIA's does on cgroup v1."""
    if host.V2:
        pytest.skip("the host has cgroup v2, whose device rules are programs")
    script = f"""{READ_PID}
    group=$(sed -n 's/^[0-9]*:devices://p' /proc/$pid/cgroup)
    echo 'c 10:231 rw' >{host.CGROUPS}/devices$group/devices.allow"""
    container = runtime.create(bundle(process={"args": ["true"]}, hooks={"prestart": [hook(script)]}))
    group = host.cgroup_of(runtime.pid(container), "devices")
    assert "c 10:231 rw" in (group / "devices.list").read_text().splitlines()


# Directory and environment.


@pytest.mark.shows("hooks.directory")
@pytest.mark.parametrize("kind", [*HOST_KINDS, "createContainer"])
@pytest.mark.peers_differ(
    runc="runs createContainer in the root filesystem, and poststop where delete is called"
)
def test_the_working_directory_is_the_bundle(
    runtime: Runtime, bundle: MakeBundle, tmp_path: Path, kind: str
) -> None:
    here = bundle(process={"args": ["true"]}, hooks={kind: [hook(f"pwd -P >{tmp_path}/seen")]})
    runtime.output(here)
    assert (tmp_path / "seen").read_text() == f"{here}\n"


@pytest.mark.shows("hooks.directory")
def test_the_working_directory_of_startcontainer_hooks_is_the_programs(
    runtime: Runtime, bundle: MakeBundle, tmp_path: Path
) -> None:
    """The bundle isn't in the container."""
    listed = {"startContainer": [hook("pwd >/out/seen")]}
    process = {"args": ["true"], "cwd": "/etc"}
    runtime.output(bundle(process=process, hooks=listed, mounts=mounts(bound(tmp_path, "/out"))))
    assert (tmp_path / "seen").read_text() == "/etc\n"


@pytest.mark.shows("hooks.directory", "hooks.poststop")
def test_a_poststop_hook_runs_although_the_bundle_is_gone(
    runtime: Runtime, bundle: MakeBundle, tmp_path: Path
) -> None:
    here = bundle(process={"args": ["sleep", "1000"]}, hooks={"poststop": [hook(f"pwd >{tmp_path}/seen")]})
    container = runtime.launch(here)
    shutil.rmtree(here)
    runtime("delete", "--force", container)
    assert (tmp_path / "seen").exists()


def environment_of(file: Path) -> list[str]:
    return file.read_text().split("\0")[:-1]


def telling(there: str) -> dict[str, Any]:
    """A hook without an `env` of its own that writes down the one that it has."""
    # The shell opens it, not cat: that has what the shell adds.
    return {"path": "/bin/sh", "args": ["sh", "-c", f"cat </proc/self/environ >{there}/environ; true"]}


CALLERS = {"PATH": "/usr/bin:/bin", "SECRET": "the caller's"}


@pytest.mark.shows("hooks.env")
@pytest.mark.parametrize("kind", HOST_KINDS)
@pytest.mark.peers_differ(crun="adds a variable of its own")
def test_a_hook_of_the_runtime_without_env_has_the_callers_and_nothing_more(
    runtime: Runtime, bundle: MakeBundle, tmp_path: Path, kind: str
) -> None:
    here = bundle(process={"args": ["sleep", "1000"]}, hooks={kind: [telling(str(tmp_path))]})
    container = runtime.create(here, env=CALLERS)
    runtime("start", container, env=CALLERS)
    runtime("delete", "--force", container, env=CALLERS)
    assert environment_of(tmp_path / "environ") == [f"{name}={value}" for name, value in CALLERS.items()]


@pytest.mark.shows("hooks.env")
@pytest.mark.peers_differ(runc="gives it the program's, the image's LD_PRELOAD among them")
def test_a_createcontainer_hook_without_env_has_none(
    runtime: Runtime, bundle: MakeBundle, tmp_path: Path
) -> None:
    """Neither the caller's, who may have secrets, nor the program's, which may come from an image (CVE-2025-23266)."""
    process = {"args": ["/bin/true"], "env": ["LD_PRELOAD=/evil.so"]}
    here = bundle(process=process, hooks={"createContainer": [telling(str(tmp_path))]})
    runtime.create(here, env=CALLERS)
    assert environment_of(tmp_path / "environ") == []


@pytest.mark.shows("hooks.env")
@pytest.mark.parametrize("env", [[], ["PATH=/bin", "HOME=/", "A=b=c"]])
def test_a_startcontainer_hook_without_env_has_the_programs(
    runtime: Runtime, bundle: MakeBundle, tmp_path: Path, env: list[str]
) -> None:
    process = {"args": ["/bin/true"], "env": env}
    here = bundle(
        process=process, hooks={"startContainer": [telling("/out")]}, mounts=mounts(bound(tmp_path, "/out"))
    )
    container = runtime.create(here, env=CALLERS)
    runtime("start", container, env=CALLERS)
    found = environment_of(tmp_path / "environ")
    # Peers put HOME there for the program's sake.
    assert [entry for entry in found if entry in env or not entry.startswith("HOME=")] == env


@pytest.mark.shows("hooks.env")
@pytest.mark.parametrize("kind", ["createContainer", "startContainer"])
@pytest.mark.parametrize("env", [[], ["ONE=1"]])
def test_a_hook_inside_has_exactly_its_env(
    runtime: Runtime, bundle: MakeBundle, tmp_path: Path, kind: str, env: list[str]
) -> None:
    there = "/out" if kind == "startContainer" else str(tmp_path)
    here = bundle(
        process={"args": ["true"]},
        hooks={kind: [telling(there) | {"env": env}]},
        mounts=mounts(bound(tmp_path, "/out")),
    )
    container = runtime.create(here, env=CALLERS)
    runtime("start", container, env=CALLERS)
    assert environment_of(tmp_path / "environ") == env


# Privileges.


def filtered(bundle: MakeBundle, out: Path, script: str, profile: dict[str, Any], **process: Any) -> Path:
    return bundle(
        process={"args": ["true"], **process},
        hooks={"startContainer": [hook(script)]},
        mounts=mounts(bound(out, "/out")),
        linux={"seccomp": profile},
    )


FORBIDS_MKDIR = {
    "defaultAction": "SCMP_ACT_ALLOW",
    "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": errno.EDQUOT}],
}


@pytest.mark.shows("hooks.startContainer", "linux.seccomp")
@pytest.mark.parametrize("new_privileges", [False, True])
def test_startcontainer_hooks_run_under_the_filter(
    runtime: Runtime, bundle: MakeBundle, tmp_path: Path, new_privileges: bool
) -> None:
    script = "mkdir /out/made 2>/out/said; touch /out/ran"
    here = filtered(bundle, tmp_path, script, FORBIDS_MKDIR, noNewPrivileges=not new_privileges)
    runtime.output(here)
    assert (tmp_path / "ran").exists()
    assert not (tmp_path / "made").exists()
    assert "Disk quota exceeded" in (tmp_path / "said").read_text()


@pytest.mark.refuses("hooks.startContainer")
@pytest.mark.parametrize("action", ["SCMP_ACT_ERRNO", "SCMP_ACT_KILL_PROCESS"])
@pytest.mark.peers_differ(runc="doesn't run the program, but start says nothing")
def test_a_startcontainer_hook_that_calls_what_the_filter_forbids_fails(
    runtime: Runtime, bundle: MakeBundle, tmp_path: Path, action: str
) -> None:
    rule = {"names": ["mkdir", "mkdirat"], "action": action}
    profile = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]}
    here = filtered(bundle, tmp_path, "exec mkdir /out/made", profile)
    container = runtime.create(here)
    runtime.fails("start", container)
    assert not (tmp_path / "made").exists()


@pytest.mark.shows("hooks.startContainer", "process.capabilities")
@pytest.mark.parametrize("new_privileges", [False, True])
def test_startcontainer_hooks_have_the_capabilities_of_the_program(
    runtime: Runtime, bundle: MakeBundle, tmp_path: Path, new_privileges: bool
) -> None:
    read = "grep -E '^(Cap|NoNewPrivs|Seccomp:)' /proc/self/status"
    here = filtered(
        bundle,
        tmp_path,
        f"{read} >/out/seen",
        FORBIDS_MKDIR,
        args=["sh", "-c", read],
        noNewPrivileges=not new_privileges,
    )
    assert runtime.output(here) == (tmp_path / "seen").read_text()


@pytest.mark.shows("hooks.startContainer", "linux.seccomp.listenerPath")
@pytest.mark.parametrize("refusal", [None, errno.EDQUOT])
def test_the_agent_has_the_listener_before_the_hooks_run(
    runtime: Runtime, bundle: MakeBundle, tmp_path: Path, refusal: int | None
) -> None:
    profile = asking(tmp_path / "agent", "mkdir", "mkdirat")
    here = filtered(bundle, tmp_path, "mkdir /out/made; true", profile)
    with agent(tmp_path / "agent", lambda number: refusal if number in MKDIR else None) as answering:
        runtime.output(here)
    assert (tmp_path / "made").exists() == (refusal is None)
    # One for all: an agent needn't know of hooks.
    assert len(answering.states) == 1


@pytest.mark.shows("hooks.startContainer", "linux.seccomp.listenerPath")
@pytest.mark.peers_differ(crun="it hangs, as without hooks", runc="it refuses this default")
def test_an_agent_may_be_asked_about_every_call_of_a_hook(
    runtime: Runtime, bundle: MakeBundle, tmp_path: Path
) -> None:
    profile = {"defaultAction": "SCMP_ACT_NOTIFY", "listenerPath": str(tmp_path / "agent")}
    with agent(tmp_path / "agent", lambda number: None):
        runtime.output(filtered(bundle, tmp_path, "touch /out/ran", profile))
    assert (tmp_path / "ran").exists()


@pytest.mark.shows("hooks.startContainer", "hooks.timeout")
@pytest.mark.parametrize("script", ["true", "sleep 1000"])
@pytest.mark.peers_differ(runc="says nothing of a hook that takes too long")
def test_a_time_limit_needs_no_calls_that_are_newer_than_the_filter(
    runtime: Runtime, bundle: MakeBundle, tmp_path: Path, script: str
) -> None:
    rule = {"names": ["pidfd_open", "close_range"], "action": "SCMP_ACT_ERRNO", "errnoRet": errno.EPERM}
    profile = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]}
    here = filtered(bundle, tmp_path, script, profile)
    changed(here, {"hooks": {"startContainer": [hook(script, timeout=1)]}})
    container = runtime.create(here)
    assert (runtime.attempt("start", container).code == 0) == (script == "true")
