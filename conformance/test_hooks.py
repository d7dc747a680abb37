"""Hooks: their order, what they are told, and what their failure does; config.md, "POSIX-platform Hooks"."""

from __future__ import annotations

import json
import os
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from . import host
from .bundles import DEFAULT_CONFIG, bound, mounts
from .fixtures import MakeBundle
from .namespace_holders import FILES
from .runtime import Runtime, new_id

HOST_HOOKS = ("prestart", "createRuntime", "createContainer", "poststart", "poststop")
CREATE_HOOKS = ("prestart", "createRuntime", "createContainer")
ALL_HOOKS = (*CREATE_HOOKS, "startContainer", "poststart", "poststop")
ANNOTATIONS = {"org.example.key": "value"}


def hook(script: str, **more: Any) -> dict[str, Any]:
    """A hook that runs a shell script."""
    return {"path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/usr/bin:/bin"], **more}


def recorder(kind: str, out: Path, suffix: str = "") -> dict[str, Any]:
    """A hook that writes down that it ran, and what it was told."""
    there = "/out" if kind == "startContainer" else str(out)
    name = kind + suffix
    return hook(f"cat >{there}/{name}.json; echo {name} >>{there}/order")


class Recorded:
    """A bundle whose hooks all write down that they ran."""

    def __init__(self, bundle: MakeBundle, out: Path, extra: dict[str, list[dict[str, Any]]]) -> None:
        out.mkdir()
        self.out = out
        hooks = {kind: [*extra.get(kind, []), recorder(kind, out)] for kind in ALL_HOOKS}
        script = "echo program >>/out/order; sleep 1000"
        self.bundle = bundle(
            hooks=hooks,
            annotations=ANNOTATIONS,
            mounts=mounts(bound(out, "/out")),
            process={"args": ["sh", "-c", script]},
        )

    def order(self) -> list[str]:
        """What ran, in order."""
        path = self.out / "order"
        return path.read_text().split() if path.exists() else []

    def told(self, kind: str) -> dict[str, Any]:
        """The state that the hook of this kind read."""
        state: dict[str, Any] = json.loads((self.out / f"{kind}.json").read_text())
        return state

    def await_program(self) -> None:
        """Wait until the program has written that it runs."""
        deadline = time.monotonic() + 10
        while "program" not in self.order():
            assert time.monotonic() < deadline, "the program never ran"
            time.sleep(0.01)


@pytest.mark.shows(
    "hooks.order",
    "hooks.prestart",
    "hooks.createRuntime",
    "hooks.createContainer",
    "hooks.startContainer",
    "hooks.poststart",
    "hooks.poststop",
)
@pytest.mark.peers_differ(runc="runs poststart at create", crun="runs poststart before startContainer")
def test_all_kinds_of_hooks_run_in_their_order(runtime: Runtime, bundle: MakeBundle, tmp_path: Path) -> None:
    recorded = Recorded(bundle, tmp_path / "out", {})
    container = runtime.create(recorded.bundle)
    assert recorded.order() == list(CREATE_HOOKS)
    runtime("start", container)
    recorded.await_program()
    after_start = recorded.order()
    assert after_start[:4] == [*CREATE_HOOKS, "startContainer"]
    assert sorted(after_start[4:]) == ["poststart", "program"]
    runtime.finish(container)
    assert recorded.order() == [*after_start, "poststop"]


@pytest.mark.shows("hooks.order")
@pytest.mark.peers_differ(runc="runs poststart at create", crun="runs poststart before startContainer")
def test_hooks_of_one_kind_run_in_the_order_of_the_list(
    runtime: Runtime, bundle: MakeBundle, tmp_path: Path
) -> None:
    first = {kind: [recorder(kind, tmp_path / "out", "-1")] for kind in ALL_HOOKS}
    recorded = Recorded(bundle, tmp_path / "out", first)
    container = runtime.launch(recorded.bundle)
    recorded.await_program()
    runtime.finish(container)
    order = [name for name in recorded.order() if name != "program"]
    assert order == [name for kind in ALL_HOOKS for name in (f"{kind}-1", kind)]


@pytest.mark.shows("hooks.state")
@pytest.mark.peers_differ(runc="says created in poststart", crun="has the version 1.0")
def test_hooks_are_told_the_state(runtime: Runtime, bundle: MakeBundle, tmp_path: Path) -> None:
    recorded = Recorded(bundle, tmp_path / "out", {})
    container = runtime.create(recorded.bundle)
    pid = runtime.pid(container)
    runtime("start", container)
    recorded.await_program()
    runtime.finish(container)
    for kind in ALL_HOOKS:
        state = recorded.told(kind)
        assert state["ociVersion"].count(".") == 2
        assert state["id"] == container
        assert state["bundle"] == str(recorded.bundle)
        assert ANNOTATIONS.items() <= state["annotations"].items()
    for kind in ("prestart", "createRuntime", "poststart"):
        assert recorded.told(kind)["pid"] == pid, kind
    for kind in CREATE_HOOKS:
        # The text leaves open which; runc says the first, crun and opencontainers/runtime-tools the second.
        assert recorded.told(kind)["status"] in ("creating", "created"), kind
    assert recorded.told("poststart")["status"] == "running"
    assert recorded.told("poststop")["status"] == "stopped"


@pytest.mark.shows("hooks.state.pid")
@pytest.mark.peers_differ(crun="tells the host's pid, and a status of its own", runc="tells the host's pid")
def test_hooks_in_the_container_are_told_the_pid_there(
    runtime: Runtime, bundle: MakeBundle, tmp_path: Path
) -> None:
    recorded = Recorded(bundle, tmp_path / "out", {})
    runtime.launch(recorded.bundle)
    assert recorded.told("createContainer")["pid"] == 1
    assert recorded.told("startContainer")["pid"] == 1
    assert recorded.told("startContainer")["status"] == "created"


@pytest.mark.shows("hooks.namespaces")
def test_hooks_run_in_the_namespaces_of_the_table(
    runtime: Runtime, bundle: MakeBundle, tmp_path: Path
) -> None:
    def namer(kind: str) -> dict[str, Any]:
        there = "/out" if kind == "startContainer" else str(tmp_path / "out")
        return hook(f"readlink /proc/self/ns/net >{there}/{kind}.net")

    recorded = Recorded(bundle, tmp_path / "out", {kind: [namer(kind)] for kind in ALL_HOOKS})
    container = runtime.launch(recorded.bundle)
    inside = (Path(f"/proc/{runtime.pid(container)}/ns/net")).readlink()
    runtime.finish(container)
    for kind in ALL_HOOKS:
        expected = (
            inside if kind in ("createContainer", "startContainer") else Path("/proc/self/ns/net").readlink()
        )
        assert (tmp_path / f"out/{kind}.net").read_text().strip() == str(expected), kind


# The pid that a hook is told, on its standard input.
READ_PID = """pid=$(tr -d ' \\n' | sed -E 's/.*"pid":([0-9]+).*/\\1/')"""


@pytest.mark.shows("hooks.prestart", "hooks.createRuntime")
@pytest.mark.parametrize("kind", ["prestart", "createRuntime"])
def test_the_namespaces_are_there_for_hooks_to_furnish(
    runtime: Runtime, bundle: MakeBundle, tmp_path: Path, kind: str
) -> None:
    """As engines do it with networks; and the root isn't the container's yet."""
    kinds = " ".join(FILES[name] for name in ("network", "ipc", "uts", "pid", "mount"))
    script = f"{READ_PID}; for kind in {kinds}; do readlink /proc/$pid/ns/$kind; done >{tmp_path}/seen"
    pid = runtime.pid(runtime.create(bundle(hooks={kind: [hook(script)]})))
    seen = (tmp_path / "seen").read_text().split()
    assert seen == [os.readlink(f"/proc/{pid}/ns/{name}") for name in kinds.split()]


@pytest.mark.shows("hooks.createContainer")
def test_the_mounts_are_there_when_createcontainer_hooks_run(
    runtime: Runtime, bundle: MakeBundle, tmp_path: Path
) -> None:
    """And the root isn't the container's yet: they lie below the root filesystem."""
    here = bundle(hooks={"createContainer": [hook(f"cat /proc/self/mountinfo >{tmp_path}/seen")]})
    runtime.create(here)
    points = [line.split(" ")[4] for line in (tmp_path / "seen").read_text().splitlines()]
    for mount in DEFAULT_CONFIG["mounts"]:
        if mount["type"] != "cgroup":
            assert f"{here}/rootfs{mount['destination']}" in points


@pytest.mark.shows("hooks.poststop")
def test_poststop_hooks_run_when_the_container_is_gone(
    runtime: Runtime, bundle: MakeBundle, tmp_path: Path
) -> None:
    script = f"find {host.CGROUPS} -name '*{host.TAG}*' >{tmp_path}/seen"
    container = runtime.launch(
        bundle(hooks={"poststop": [hook(script)]}, process={"args": ["sleep", "1000"]})
    )
    assert any(container in path for path in host.cgroups())
    runtime("delete", "--force", container)
    assert container not in (tmp_path / "seen").read_text()


@pytest.mark.shows("hooks.args", "hooks.env")
def test_a_hook_gets_its_arguments_and_only_its_environment(
    runtime: Runtime, bundle: MakeBundle, tmp_path: Path
) -> None:
    seen = tmp_path / "seen"
    script = f"cat /proc/$$/cmdline /proc/$$/environ >{seen}"
    listed = {"path": "/bin/sh", "args": ["name", "-c", script, "a", "b c"], "env": ["ONE=1", "TWO="]}
    runtime.create(bundle(hooks={"createRuntime": [listed]}))
    expected = ["name", "-c", script, "a", "b c", "ONE=1", "TWO=", ""]
    assert seen.read_text().split("\0") == expected


@pytest.mark.refuses("hooks.prestart", "hooks.createRuntime", "hooks.createContainer")
@pytest.mark.parametrize("kind", CREATE_HOOKS)
@pytest.mark.peers_differ(runc="runs no poststop hooks", crun="runs no poststop hooks")
def test_a_failing_hook_of_create_destroys_the_container(
    runtime: Runtime, bundle: MakeBundle, tmp_path: Path, kind: str
) -> None:
    recorded = Recorded(bundle, tmp_path / "out", {kind: [hook("echo because of this >&2; exit 3")]})
    container = new_id()
    error = runtime.fails("create", "--bundle", recorded.bundle, container)
    assert kind in error
    assert "3" in error
    runtime.fails("state", container)
    assert recorded.order() == [*CREATE_HOOKS[: CREATE_HOOKS.index(kind)], "poststop"]


@pytest.mark.refuses("hooks.startContainer", "hooks.poststart")
@pytest.mark.parametrize("kind", ["startContainer", "poststart"])
@pytest.mark.peers_differ(runc="leaves the container", crun="leaves the container")
def test_a_failing_hook_of_start_destroys_the_container(
    runtime: Runtime, bundle: MakeBundle, tmp_path: Path, kind: str
) -> None:
    recorded = Recorded(bundle, tmp_path / "out", {kind: [hook("exit 3")]})
    container = runtime.create(recorded.bundle)
    assert kind in runtime.fails("start", container)
    runtime.fails("state", container)
    assert recorded.order()[-1] == "poststop"
    assert kind not in recorded.order()
    assert ("program" in recorded.order()) <= (kind == "poststart")


@pytest.mark.refuses("hooks.poststop")
@pytest.mark.peers_differ(runc="skips the hooks after it", crun="may die of SIGPIPE")
def test_a_failing_poststop_hook_is_a_warning_and_the_others_run(
    runtime: Runtime, bundle: MakeBundle, tmp_path: Path
) -> None:
    recorded = Recorded(bundle, tmp_path / "out", {"poststop": [hook("exit 3")]})
    container = runtime.launch(recorded.bundle)
    runtime("kill", container, "KILL")
    runtime.await_status(container, "stopped")
    done = runtime("delete", container)
    if runtime.path.name not in ("crun", "runc"):
        assert "poststop" in done.stderr
    assert recorded.order()[-1] == "poststop"
    runtime.fails("state", container)


@pytest.mark.refuses("hooks.timeout")
@pytest.mark.parametrize("kind", ["createRuntime", "createContainer"])
@pytest.mark.peers_differ(runc="runs no poststop hooks", crun="runs no poststop hooks")
def test_a_hook_that_takes_too_long_is_ended(
    runtime: Runtime, bundle: MakeBundle, tmp_path: Path, kind: str
) -> None:
    recorded = Recorded(bundle, tmp_path / "out", {kind: [hook("sleep 1000", timeout=1)]})
    begin = time.monotonic()
    error = runtime.fails("create", "--bundle", recorded.bundle, new_id())
    assert 1 <= time.monotonic() - begin < 5
    assert kind in error
    assert recorded.order()[-1] == "poststop"


def test_a_hook_may_leave_its_input_unread(runtime: Runtime, bundle: MakeBundle) -> None:
    many = {f"org.example.{number}": "x" * 1000 for number in range(100)}  # more than a pipe holds
    runtime.create(bundle(annotations=many, hooks={"createRuntime": [hook("exec <&-; sleep 0.1")]}))


@pytest.mark.refuses("hooks.path")
@pytest.mark.parametrize("path", ["/no/such/hook", "/etc/passwd"])
def test_a_hook_that_cannot_be_executed_is_an_error_that_names_it(
    runtime: Runtime, bundle: MakeBundle, path: str
) -> None:
    here = bundle(hooks={"createRuntime": [{"path": path}]})
    assert path in runtime.fails("create", "--bundle", here, new_id())


@pytest.mark.peers_differ(crun="has no lock to wait for", runc="has no lock to wait for")
def test_a_create_that_hangs_in_a_hook_is_ended_by_a_forced_delete(
    runtime: Runtime, bundle: MakeBundle, tmp_path: Path
) -> None:
    note = tmp_path / "hook-pid"
    hook = {
        "path": "/bin/sh",
        "args": ["sh", "-c", f"echo $$ >{note}.new; mv {note}.new {note}; exec sleep 100"],
    }
    here = bundle(hooks={"createRuntime": [hook]}, process={"args": ["true"]})
    container = new_id()
    creator = runtime.popen("create", "--bundle", here, container, stdout=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 20
        while not note.exists():
            assert time.monotonic() < deadline, "the hook was not run"
            time.sleep(0.01)
        assert runtime.state(container)["status"] == "creating"
        runtime("delete", "--force", container)
    finally:
        creator.kill()
        creator.wait()
    hook_process = Path("/proc") / note.read_text().strip()
    while hook_process.exists() and "Z" not in (hook_process / "stat").read_text().split(")")[1][:3]:
        assert time.monotonic() < deadline, "the hook goes on"
        time.sleep(0.01)
    assert "does not exist" in runtime.fails("state", container)


@pytest.mark.shows("hooks.timeout")
@pytest.mark.parametrize("kind", CREATE_HOOKS)
@pytest.mark.peers_differ(runc="runs poststart at create")
def test_a_hook_that_ends_in_time_is_no_error(
    runtime: Runtime, bundle: MakeBundle, tmp_path: Path, kind: str
) -> None:
    recorded = Recorded(bundle, tmp_path / "out", {kind: [hook("true", timeout=5)]})
    runtime.create(recorded.bundle)
    assert recorded.order() == list(CREATE_HOOKS)


@pytest.mark.refuses("hooks.timeout")
@pytest.mark.parametrize("kind", ["createRuntime", "createContainer"])
@pytest.mark.peers_differ(crun="leaves the hook's children", runc="leaves the hook's children")
def test_with_a_hook_that_takes_too_long_its_children_end(
    runtime: Runtime, bundle: MakeBundle, tmp_path: Path, kind: str
) -> None:
    note = tmp_path / "child"
    slow = hook(f"sleep 1000 & echo $! >{note}; wait", timeout=1)
    runtime.fails("create", "--bundle", bundle(hooks={kind: [slow]}), new_id())
    if kind == "createContainer":
        return  # its pid is of the container's namespace, which is gone
    child = Path("/proc") / note.read_text().strip() / "stat"
    deadline = time.monotonic() + 5
    while child.exists() and ") Z " not in child.read_text():
        assert time.monotonic() < deadline, "the hook's child goes on"
        time.sleep(0.01)


@pytest.mark.shows("hooks.path")
@pytest.mark.parametrize("kind", ["prestart", "createRuntime", "createContainer", "startContainer"])
@pytest.mark.peers_differ(crun="doesn't wait for startContainer")
def test_a_path_resolves_in_the_namespace_of_the_table(
    runtime: Runtime, bundle: MakeBundle, tmp_path: Path, kind: str
) -> None:
    """createContainer's path is the runtime's, although the hook runs in the container's namespaces."""
    script = "#!/bin/sh\necho {} >{}/where\n"
    place = tmp_path / "bin"
    place.mkdir()
    (place / "tool").write_text(script.format("runtime", tmp_path))
    (place / "tool").chmod(0o755)
    here = bundle(
        hooks={kind: [{"path": f"{place}/tool"}]},
        process={"args": ["true"]},
        mounts=mounts(bound(tmp_path, "/out")),
    )
    inside = here / f"rootfs{place}"
    inside.mkdir(parents=True)
    (inside / "tool").write_text(script.format("container", "/out"))
    (inside / "tool").chmod(0o755)
    runtime.launch(here)
    expected = "container" if kind == "startContainer" else "runtime"
    assert (tmp_path / "where").read_text().strip() == expected


@pytest.mark.refuses("hooks.path", "hooks.args", "hooks.env", "hooks.timeout", "hooks.order")
@pytest.mark.parametrize(
    "entry",
    [
        {},
        {"path": "relative"},
        {"path": ""},
        {"path": "/bin/true", "args": "true"},
        {"path": "/bin/true", "env": {"A": "b"}},
        {"path": "/bin/true", "timeout": 0},
        {"path": "/bin/true", "timeout": -1},
        {"path": "/bin/true", "timeout": "5"},
        "/bin/true",
    ],
)
@pytest.mark.parametrize("kind", ["createRuntime", "poststop"])
@pytest.mark.peers_differ(crun="takes some of them", runc="takes some of them")
def test_a_hook_that_can_not_be_is_an_error(
    runtime: Runtime, bundle: MakeBundle, entry: Any, kind: str
) -> None:
    runtime.fails("create", "--bundle", bundle(hooks={kind: [entry]}), new_id())


@pytest.mark.parametrize("kind", ALL_HOOKS)
def test_hooks_have_the_callers_umask_and_those_of_startcontainer_the_programs(
    runtime: Runtime, bundle: MakeBundle, tmp_path: Path, kind: str
) -> None:
    """The specification is silent; what a hook writes isn't for everybody."""
    there = "/out" if kind == "startContainer" else str(tmp_path)
    here = bundle(
        hooks={kind: [hook(f"umask >{there}/umask")]},
        mounts=mounts(bound(tmp_path, "/out")),
        process={"args": ["true"]},
    )
    before = os.umask(0o026)
    try:
        runtime.output(here)
    finally:
        os.umask(before)
    assert (tmp_path / "umask").read_text() == ("0022\n" if kind == "startContainer" else "0026\n")


@pytest.mark.shows("hooks.env")
def test_a_hook_without_an_environment_has_the_runtimes(
    runtime: Runtime, bundle: MakeBundle, tmp_path: Path
) -> None:
    listed = {"path": "/bin/sh", "args": ["sh", "-c", f"echo $SOME_VARIABLE >{tmp_path}/seen"]}
    env = {"PATH": "/usr/bin:/bin", "SOME_VARIABLE": "value"}
    runtime("create", "--bundle", bundle(hooks={"createRuntime": [listed]}), new_id(), env=env)
    assert (tmp_path / "seen").read_text() == "value\n"
