"""linux.namespaces; config-linux.md, "Namespaces"."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from .bundles import namespaces
from .fixtures import MakeBundle
from .namespace_holders import FILES, holder, namespace
from .runtime import Runtime, new_id

KINDS = tuple(FILES)
MAPPING = [{"containerID": 0, "hostID": 100000, "size": 65536}]
SLEEP = {"args": ["sleep", "1000"]}
# Mixes of all eight; any other seed is as good.
SEEDS = range(24)


@pytest.fixture
def helper() -> Iterator[int]:
    """A process that lives in namespaces of its own, which belong to the host's user namespace."""
    with holder("network", "ipc", "uts", "pid", "cgroup", "mount", "time") as pid:
        yield pid


def container_with(listed: list[dict[str, str]]) -> dict[str, Any]:
    """A configuration with these namespaces, and without what would need others."""
    by_type = {entry["type"]: entry.get("path") for entry in listed}
    linux: dict[str, Any] = {"namespaces": listed, "maskedPaths": None, "readonlyPaths": None}
    if "user" in by_type and by_type["user"] is None:
        linux |= {"uidMappings": MAPPING, "gidMappings": MAPPING}
    # Devices are made in a tmpfs: the root filesystem is the host's root's, where a user namespace may make none.
    dev = {"destination": "/dev", "type": "tmpfs", "source": "tmpfs"}
    return {"process": SLEEP, "mounts": [dev], "hostname": None, "linux": linux}


@pytest.mark.shows("linux.namespaces")
@pytest.mark.parametrize("kind", KINDS)
def test_a_namespace_without_a_path_is_new(runtime: Runtime, reachable: MakeBundle, kind: str) -> None:
    listed = [{"type": "mount"}] + [{"type": kind}] * (kind != "mount")
    pid = runtime.pid(runtime.launch(reachable(**container_with(listed))))
    for other in KINDS:
        assert (namespace(pid, other) != namespace("self", other)) == (other in (kind, "mount")), other


@pytest.mark.shows("linux.namespaces")
@pytest.mark.parametrize("mapped", [False, True])
def test_the_loopback_device_of_a_new_network_namespace_is_up(
    runtime: Runtime, reachable: MakeBundle, mapped: bool
) -> None:
    """The text is silent; both peers do it, and programs expect it."""
    linux: dict[str, Any] = {"namespaces": namespaces() + [{"type": "user"}] * mapped}
    if mapped:
        linux |= {"uidMappings": MAPPING, "gidMappings": MAPPING}
    process = {"args": ["sh", "-c", "ip link show dev lo; ip addr show dev lo"]}
    said = runtime.output(reachable(process=process, linux=linux))
    assert "<LOOPBACK,UP,LOWER_UP>" in said
    assert "127.0.0.1/8" in said


@pytest.mark.shows("linux.namespaces.path")
def test_the_devices_of_a_joined_network_namespace_are_left_alone(
    runtime: Runtime, bundle: MakeBundle, helper: int
) -> None:
    linux = {"namespaces": namespaces(network=f"/proc/{helper}/ns/net")}
    process = {"args": ["ip", "link", "show", "dev", "lo"]}
    assert ",UP" not in runtime.output(bundle(process=process, linux=linux))


@pytest.mark.shows("linux.namespaces.inherited")
def test_a_container_without_namespaces_is_in_the_callers(runtime: Runtime, bundle: MakeBundle) -> None:
    before = Path("/proc/self/mountinfo").read_text()
    container = runtime.launch(bundle(process=SLEEP, hostname=None, linux=None))
    pid = runtime.pid(container)
    assert [kind for kind in KINDS if namespace(pid, kind) != namespace("self", kind)] == []
    runtime.finish(container)
    assert Path("/proc/self/mountinfo").read_text() == before


@pytest.mark.shows("linux.namespaces.path")
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "user"])
def test_a_container_joins_the_namespace_at_the_path(
    runtime: Runtime, reachable: MakeBundle, helper: int, kind: str
) -> None:
    listed = [{"type": "mount"}] * (kind != "mount") + [
        {"type": kind, "path": f"/proc/{helper}/ns/{FILES[kind]}"}
    ]
    pid = runtime.pid(runtime.launch(reachable(**container_with(listed))))
    for other in KINDS:
        assert (namespace(pid, other) == namespace(helper, other)) == (other in (kind, "user")), other


@pytest.mark.shows("linux.namespaces.path")
def test_a_container_joins_a_user_namespace_and_what_belongs_to_it(
    runtime: Runtime, reachable: MakeBundle
) -> None:
    with holder(*KINDS) as pid:
        listed = [
            {"type": kind, "path": f"/proc/{pid}/ns/{FILES[kind]}"}
            for kind in reversed(KINDS)
            if kind != "mount"
        ]
        inside = runtime.pid(runtime.launch(reachable(**container_with([*listed, {"type": "mount"}]))))
        differing = [kind for kind in KINDS if namespace(inside, kind) != namespace(pid, kind)]
    assert differing == ["mount"]


def mix(seed: int) -> dict[str, str]:
    """What becomes of each kind of namespace."""
    pick = random.Random(seed).choice
    chosen = {kind: pick(["new", "joined", "inherited"]) for kind in KINDS}
    # Only in a mount namespace that belongs to it may a process of a user namespace mount anything.
    if chosen["user"] == "new":
        chosen["mount"] = "new"
    elif chosen["user"] == "joined" and chosen["mount"] == "inherited":
        chosen["mount"] = "joined"
    return chosen


@pytest.mark.refuses("linux.uidMappings.mounts")
def test_a_user_namespace_without_a_mount_namespace_is_an_error(runtime: Runtime, bundle: MakeBundle) -> None:
    runtime.fails("create", "--bundle", bundle(**container_with([{"type": "user"}])), new_id())


@pytest.mark.shows("linux.namespaces", "linux.namespaces.path", "linux.namespaces.inherited")
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.peers_differ(crun="can't do some of these", runc="can't do some of these")
def test_any_mix_of_new_joined_and_inherited(runtime: Runtime, reachable: MakeBundle, seed: int) -> None:
    chosen = mix(seed)
    joined = [kind for kind in KINDS if chosen[kind] == "joined"]
    with ExitStack() as stack:
        pid = stack.enter_context(holder(*joined)) if joined else 0
        paths = {kind: {"path": f"/proc/{pid}/ns/{FILES[kind]}"} for kind in joined}
        listed = [{"type": kind, **paths.get(kind, {})} for kind in KINDS if chosen[kind] != "inherited"]
        random.Random(seed).shuffle(listed)
        container = runtime.launch(reachable(**container_with(listed)))
        inside = runtime.pid(container)
        for kind in KINDS:
            theirs, ours = namespace(inside, kind), namespace("self", kind)
            expected = {"new": theirs != ours, "inherited": theirs == ours}
            if kind in joined:
                expected["joined"] = theirs == namespace(pid, kind)
            assert expected[chosen[kind]], f"{kind} of {chosen}"
        runtime.finish(container)


def test_a_joined_pid_namespace_outlives_the_container(
    runtime: Runtime, bundle: MakeBundle, helper: int
) -> None:
    linux = {"namespaces": namespaces(pid=f"/proc/{helper}/ns/pid")}
    container = runtime.launch(bundle(process=SLEEP, linux=linux))
    runtime.finish(container)
    os.kill(helper, 0)


@pytest.mark.refuses("linux.namespaces.path")
@pytest.mark.parametrize("kind", KINDS)
def test_a_namespace_of_another_type_is_an_error(
    runtime: Runtime, bundle: MakeBundle, helper: int, kind: str
) -> None:
    wrong = "ipc" if kind != "ipc" else "uts"
    refused(runtime, bundle, **{kind: f"/proc/{helper}/ns/{FILES[wrong]}"})


@pytest.mark.refuses("linux.namespaces.path")
@pytest.mark.parametrize("path", ["/no/such/namespace", "/etc/passwd"])
def test_a_path_that_is_no_namespace_is_an_error(runtime: Runtime, bundle: MakeBundle, path: str) -> None:
    assert path in refused(runtime, bundle, network=path)


@pytest.mark.refuses("linux.namespaces.path")
@pytest.mark.peers_differ(crun="takes a relative path", runc="takes a relative path")
def test_a_relative_path_is_an_error(runtime: Runtime, bundle: MakeBundle) -> None:
    assert "proc/self/ns/net" in refused(runtime, bundle, network="proc/self/ns/net")


@pytest.mark.refuses("linux.namespaces")
@pytest.mark.parametrize("listed", [[{"type": "uts"}, {"type": "uts"}], [{"type": "universe"}], [{}]])
@pytest.mark.peers_differ(crun="takes them")
def test_a_type_that_is_twice_there_or_is_none_is_an_error(
    runtime: Runtime, bundle: MakeBundle, listed: list[dict[str, str]]
) -> None:
    here = bundle(linux={"namespaces": namespaces("uts") + listed})
    runtime.fails("create", "--bundle", here, new_id())


@pytest.mark.parametrize("operation", ["kill", "delete"])
def test_the_hosts_pid_namespace_does_not_keep_processes_alive(
    runtime: Runtime, bundle: MakeBundle, operation: str
) -> None:
    script = "sleep 1000 & sleep 1000 & wait"
    linux = {"namespaces": namespaces("pid")}
    container = runtime.launch(bundle(process={"args": ["sh", "-c", script]}, linux=linux))
    if operation == "kill":
        runtime("kill", "--all", container, "KILL")
        runtime.await_status(container, "stopped")
        runtime("delete", container)
    else:
        runtime("delete", "--force", container)


def refused(runtime: Runtime, bundle: MakeBundle, **paths: str) -> str:
    """What `create` says of these namespaces; nothing may be there after it."""
    here = bundle(process=SLEEP, linux={"namespaces": namespaces(**paths)})
    error = runtime.fails("create", "--bundle", here, new_id())
    assert os.listdir(runtime.root) == []
    return error
