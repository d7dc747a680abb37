"""Namespaces that a container joins by their path; config-linux.md, "Namespaces"."""

import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from .bundles import namespaces
from .fixtures import MakeBundle
from .runtime import Runtime, new_id

# The type in config.json and the name below /proc/PID/ns.
FILES = {"network": "net", "ipc": "ipc", "uts": "uts", "pid": "pid", "cgroup": "cgroup", "mount": "mnt"}


@pytest.fixture
def helper() -> Iterator[int]:
    """A process that lives in namespaces of its own."""
    kinds = ["--net", "--ipc", "--uts", "--pid", "--cgroup", "--mount"]
    command = ["unshare", *kinds, "--fork", "--kill-child", "sleep", "1000"]
    with subprocess.Popen(command) as outer:
        children = Path(f"/proc/{outer.pid}/task/{outer.pid}/children")
        while not (child := children.read_text().split()):
            time.sleep(0.01)
        yield int(child[0])
        outer.kill()


@pytest.mark.parametrize("kind", ["network", "ipc", "uts", "pid", "cgroup"])
def test_a_container_joins_the_namespace_at_the_path(
    runtime: Runtime, bundle: MakeBundle, helper: int, kind: str
) -> None:
    path = f"/proc/{helper}/ns/{FILES[kind]}"
    changes = {} if kind != "uts" else {"hostname": None}
    here = bundle(
        process={"args": ["sleep", "1000"]}, linux={"namespaces": namespaces(**{kind: path})}, **changes
    )
    pid = runtime.pid(runtime.launch(here))
    for other, name in FILES.items():
        joined = os.readlink(f"/proc/{pid}/ns/{name}") == os.readlink(f"/proc/{helper}/ns/{name}")
        assert joined == (other == kind), other


def test_a_container_joins_several_namespaces_at_once(
    runtime: Runtime, bundle: MakeBundle, helper: int
) -> None:
    joined = {kind: f"/proc/{helper}/ns/{FILES[kind]}" for kind in ("network", "ipc", "uts", "pid")}
    here = bundle(process={"args": ["sleep", "1000"]}, linux={"namespaces": namespaces(**joined)})
    pid = runtime.pid(runtime.launch(here))
    for kind in joined:
        name = FILES[kind]
        assert os.readlink(f"/proc/{pid}/ns/{name}") == os.readlink(f"/proc/{helper}/ns/{name}")
    assert os.readlink(f"/proc/{pid}/ns/mnt") != os.readlink(f"/proc/{helper}/ns/mnt")


def test_a_joined_pid_namespace_outlives_the_container(
    runtime: Runtime, bundle: MakeBundle, helper: int
) -> None:
    linux = {"namespaces": namespaces(pid=f"/proc/{helper}/ns/pid")}
    container = runtime.launch(bundle(process={"args": ["sleep", "1000"]}, linux=linux))
    runtime.finish(container)
    os.kill(helper, 0)


@pytest.mark.parametrize("kind", ["network", "ipc", "uts", "pid", "cgroup"])
def test_a_namespace_of_another_type_is_an_error(
    runtime: Runtime, bundle: MakeBundle, helper: int, kind: str
) -> None:
    wrong = "ipc" if kind != "ipc" else "uts"
    path = f"/proc/{helper}/ns/{FILES[wrong]}"
    refused(runtime, bundle, **{kind: path})


@pytest.mark.parametrize("path", ["/no/such/namespace", "/etc/passwd", "proc/self/ns/net"])
@pytest.mark.peers_differ(crun="takes a relative path", runc="takes a relative path")
def test_a_path_that_is_no_namespace_is_an_error(runtime: Runtime, bundle: MakeBundle, path: str) -> None:
    assert path in refused(runtime, bundle, network=path)


@pytest.mark.shows("linux.namespaces")
def test_a_namespace_that_is_not_listed_is_the_callers(runtime: Runtime, bundle: MakeBundle) -> None:
    here = bundle(process={"args": ["sleep", "1000"]}, linux={"namespaces": namespaces("network", "ipc")})
    pid = runtime.pid(runtime.launch(here))
    for name in ("net", "ipc"):
        assert os.readlink(f"/proc/{pid}/ns/{name}") == os.readlink(f"/proc/self/ns/{name}")


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


@pytest.mark.refuses("linux.namespaces")
@pytest.mark.parametrize("listed", [[{"type": "uts"}, {"type": "uts"}], [{"type": "universe"}], [{}]])
def test_a_type_that_is_twice_there_or_is_none_is_an_error(
    runtime: Runtime, bundle: MakeBundle, listed: list[dict[str, str]]
) -> None:
    runtime.fails("create", "--bundle", bundle(linux={"namespaces": namespaces("uts") + listed}), new_id())


def refused(runtime: Runtime, bundle: MakeBundle, **paths: str) -> str:
    """What `create` says of these namespaces; nothing may be there after it."""
    here = bundle(process={"args": ["sleep", "1000"]}, linux={"namespaces": namespaces(**paths)})
    error = runtime.fails("create", "--bundle", here, new_id())
    assert os.listdir(runtime.root) == []
    return error
