"""Hooks: their order, what they are told, and what their failure does; config.md, "POSIX-platform Hooks"."""

import json
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from conformance.bundles import bound, mounts
from conformance.runtime import Runtime, new_id

from .conftest import MakeBundle

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


@pytest.mark.peers_differ(runc="runs poststart at create")
def test_all_kinds_of_hooks_run_in_their_order(pyoci: Runtime, bundle: MakeBundle, tmp_path: Path) -> None:
    recorded = Recorded(bundle, tmp_path / "out", {})
    container = pyoci.create(recorded.bundle)
    assert recorded.order() == list(CREATE_HOOKS)
    pyoci("start", container)
    recorded.await_program()
    after_start = recorded.order()
    assert after_start[:4] == [*CREATE_HOOKS, "startContainer"]
    assert sorted(after_start[4:]) == ["poststart", "program"]
    pyoci.finish(container)
    assert recorded.order() == [*after_start, "poststop"]


@pytest.mark.peers_differ(runc="runs poststart at create", crun="runs poststart before startContainer")
def test_hooks_of_one_kind_run_in_the_order_of_the_list(
    pyoci: Runtime, bundle: MakeBundle, tmp_path: Path
) -> None:
    first = {kind: [recorder(kind, tmp_path / "out", "-1")] for kind in ALL_HOOKS}
    recorded = Recorded(bundle, tmp_path / "out", first)
    container = pyoci.launch(recorded.bundle)
    recorded.await_program()
    pyoci.finish(container)
    order = [name for name in recorded.order() if name != "program"]
    assert order == [name for kind in ALL_HOOKS for name in (f"{kind}-1", kind)]


@pytest.mark.peers_differ(runc="says created in poststart", crun="has the version 1.0")
def test_hooks_are_told_the_state(pyoci: Runtime, bundle: MakeBundle, tmp_path: Path) -> None:
    recorded = Recorded(bundle, tmp_path / "out", {})
    container = pyoci.create(recorded.bundle)
    pid = pyoci.pid(container)
    pyoci("start", container)
    recorded.await_program()
    pyoci.finish(container)
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


@pytest.mark.peers_differ(crun="tells the host's pid, and a status of its own", runc="tells the host's pid")
def test_hooks_in_the_container_are_told_the_pid_there(
    pyoci: Runtime, bundle: MakeBundle, tmp_path: Path
) -> None:
    recorded = Recorded(bundle, tmp_path / "out", {})
    pyoci.launch(recorded.bundle)
    assert recorded.told("createContainer")["pid"] == 1
    assert recorded.told("startContainer")["pid"] == 1
    assert recorded.told("startContainer")["status"] == "created"


def test_hooks_run_in_the_namespaces_of_the_table(pyoci: Runtime, bundle: MakeBundle, tmp_path: Path) -> None:
    def namer(kind: str) -> dict[str, Any]:
        there = "/out" if kind == "startContainer" else str(tmp_path / "out")
        return hook(f"readlink /proc/self/ns/net >{there}/{kind}.net")

    recorded = Recorded(bundle, tmp_path / "out", {kind: [namer(kind)] for kind in ALL_HOOKS})
    container = pyoci.launch(recorded.bundle)
    inside = (Path(f"/proc/{pyoci.pid(container)}/ns/net")).readlink()
    pyoci.finish(container)
    for kind in ALL_HOOKS:
        expected = (
            inside if kind in ("createContainer", "startContainer") else Path("/proc/self/ns/net").readlink()
        )
        assert (tmp_path / f"out/{kind}.net").read_text().strip() == str(expected), kind


def test_a_hook_gets_its_arguments_and_only_its_environment(
    pyoci: Runtime, bundle: MakeBundle, tmp_path: Path
) -> None:
    seen = tmp_path / "seen"
    script = f"cat /proc/$$/cmdline /proc/$$/environ >{seen}"
    listed = {"path": "/bin/sh", "args": ["name", "-c", script, "a", "b c"], "env": ["ONE=1", "TWO="]}
    pyoci.create(bundle(hooks={"createRuntime": [listed]}))
    expected = ["name", "-c", script, "a", "b c", "ONE=1", "TWO=", ""]
    assert seen.read_text().split("\0") == expected


@pytest.mark.parametrize("kind", CREATE_HOOKS)
@pytest.mark.peers_differ(runc="runs no poststop hooks", crun="runs no poststop hooks")
def test_a_failing_hook_of_create_destroys_the_container(
    pyoci: Runtime, bundle: MakeBundle, tmp_path: Path, kind: str
) -> None:
    recorded = Recorded(bundle, tmp_path / "out", {kind: [hook("echo because of this >&2; exit 3")]})
    container = new_id()
    error = pyoci.fails("create", "--bundle", recorded.bundle, container)
    assert kind in error
    assert "3" in error
    pyoci.fails("state", container)
    assert recorded.order() == [*CREATE_HOOKS[: CREATE_HOOKS.index(kind)], "poststop"]


@pytest.mark.parametrize("kind", ["startContainer", "poststart"])
@pytest.mark.peers_differ(runc="leaves the container", crun="leaves the container")
def test_a_failing_hook_of_start_destroys_the_container(
    pyoci: Runtime, bundle: MakeBundle, tmp_path: Path, kind: str
) -> None:
    recorded = Recorded(bundle, tmp_path / "out", {kind: [hook("exit 3")]})
    container = pyoci.create(recorded.bundle)
    assert kind in pyoci.fails("start", container)
    pyoci.fails("state", container)
    assert recorded.order()[-1] == "poststop"
    assert kind not in recorded.order()
    assert ("program" in recorded.order()) <= (kind == "poststart")


@pytest.mark.peers_differ(runc="skips the hooks after it")
def test_a_failing_poststop_hook_is_a_warning_and_the_others_run(
    pyoci: Runtime, bundle: MakeBundle, tmp_path: Path
) -> None:
    recorded = Recorded(bundle, tmp_path / "out", {"poststop": [hook("exit 3")]})
    container = pyoci.launch(recorded.bundle)
    pyoci("kill", container, "KILL")
    pyoci.await_status(container, "stopped")
    done = pyoci("delete", container)
    if pyoci.path.name not in ("crun", "runc"):
        assert "poststop" in done.stderr
    assert recorded.order()[-1] == "poststop"
    pyoci.fails("state", container)


@pytest.mark.parametrize("kind", ["createRuntime", "createContainer"])
@pytest.mark.peers_differ(runc="runs no poststop hooks", crun="runs no poststop hooks")
def test_a_hook_that_takes_too_long_is_ended(
    pyoci: Runtime, bundle: MakeBundle, tmp_path: Path, kind: str
) -> None:
    recorded = Recorded(bundle, tmp_path / "out", {kind: [hook("sleep 1000", timeout=1)]})
    begin = time.monotonic()
    error = pyoci.fails("create", "--bundle", recorded.bundle, new_id())
    assert 1 <= time.monotonic() - begin < 5
    assert kind in error
    assert recorded.order()[-1] == "poststop"


def test_a_hook_may_leave_its_input_unread(pyoci: Runtime, bundle: MakeBundle) -> None:
    many = {f"org.example.{number}": "x" * 1000 for number in range(100)}  # more than a pipe holds
    pyoci.create(bundle(annotations=many, hooks={"createRuntime": [hook("exec <&-; sleep 0.1")]}))


@pytest.mark.parametrize("path", ["/no/such/hook", "/etc/passwd"])
def test_a_hook_that_cannot_be_executed_is_an_error_that_names_it(
    pyoci: Runtime, bundle: MakeBundle, path: str
) -> None:
    here = bundle(hooks={"createRuntime": [{"path": path}]})
    assert path in pyoci.fails("create", "--bundle", here, new_id())


@pytest.mark.peers_differ(crun="has no lock to wait for", runc="has no lock to wait for")
def test_a_create_that_hangs_in_a_hook_is_ended_by_a_forced_delete(
    pyoci: Runtime, bundle: MakeBundle, tmp_path: Path
) -> None:
    note = tmp_path / "hook-pid"
    hook = {
        "path": "/bin/sh",
        "args": ["sh", "-c", f"echo $$ >{note}.new; mv {note}.new {note}; exec sleep 100"],
    }
    here = bundle(hooks={"createRuntime": [hook]}, process={"args": ["true"]})
    container = new_id()
    creator = pyoci.popen("create", "--bundle", here, container, stdout=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 20
        while not note.exists():
            assert time.monotonic() < deadline, "the hook was not run"
            time.sleep(0.01)
        assert pyoci.state(container)["status"] == "creating"
        pyoci("delete", "--force", container)
    finally:
        creator.kill()
        creator.wait()
    hook_process = Path("/proc") / note.read_text().strip()
    while hook_process.exists() and "Z" not in (hook_process / "stat").read_text().split(")")[1][:3]:
        assert time.monotonic() < deadline, "the hook goes on"
        time.sleep(0.01)
    assert "does not exist" in pyoci.fails("state", container)
