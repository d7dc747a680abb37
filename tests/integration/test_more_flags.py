"""Flags that change how a container is made, where messages go, and what criu(8) is told."""

from __future__ import annotations

import json
import os
import socket
import time
from pathlib import Path

import pytest

from conformance.bundles import namespaces
from conformance.fixtures import MakeBundle
from conformance.runtime import Runtime, new_id
from conformance.terminals import taken


def shell(script: str) -> dict[str, list[str]]:
    return {"args": ["sh", "-c", script]}


def steps(file: Path) -> list[str]:
    """The steps of a trace."""
    return [event["name"] for event in json.loads(file.read_text()) if event["tid"] == 1]


# Where messages go.


@pytest.mark.parametrize("form", ["json", "text"])
def test_an_error_is_in_the_log_too(pyoci: Runtime, tmp_path: Path, form: str) -> None:
    said = pyoci.fails("--log", tmp_path / "log", "--log-format", form, "state", "nobody")
    assert 'container "nobody" does not exist' in said
    logged = (tmp_path / "log").read_text()
    if form == "json":
        assert json.loads(logged)["msg"] == 'container "nobody" does not exist'
        assert json.loads(logged)["level"] == "error"
    else:
        assert 'level=error msg="container \\"nobody\\" does not exist"' in logged


@pytest.mark.parametrize(
    ("flags", "shown"),
    [
        ([], True),
        (["--log-level", "error"], False),
        (["--log-level", "debug"], True),
        (["--log-level", "error", "--debug"], True),
    ],
)
def test_the_level_decides_whether_a_warning_is_shown(
    pyoci: Runtime, bundle: MakeBundle, flags: list[str], shown: bool
) -> None:
    container = pyoci.launch(bundle(process=shell("true"), hooks={"poststop": [{"path": "/bin/false"}]}))
    pyoci.await_status(container, "stopped")
    assert ("warning: poststop" in pyoci(*flags, "delete", container).stderr) == shown


def test_the_cgroup_manager_that_makes_them_itself_can_be_named(pyoci: Runtime, sleeper: Path) -> None:
    container = new_id()
    pyoci("--cgroup-manager", "cgroupfs", "create", "--bundle", sleeper, container)
    assert f"/pyoci/{container}" in Path(f"/proc/{pyoci.pid(container)}/cgroup").read_text()


def test_without_a_cgroup_manager_the_container_stays_in_its_callers_cgroups(
    pyoci: Runtime, bundle: MakeBundle
) -> None:
    limits = {"pids": {"limit": 20}, "memory": {"limit": 64 << 20}, "cpu": {}}
    path = bundle(process={"args": ["sleep", "1000"]}, linux={"resources": limits})
    container = new_id()
    done = pyoci("--cgroup-manager=disabled", "create", "--bundle", path, container)
    assert done.stderr == (
        "pyoci: warning: linux.resources: not applied, since --cgroup-manager is disabled: devices, pids, memory\n"
    )
    pyoci("start", container)
    pid = pyoci.pid(container)
    assert Path(f"/proc/{pid}/cgroup").read_text() == Path("/proc/self/cgroup").read_text()
    assert json.loads(pyoci("ps", "--format", "json", container).stdout) == [pid]
    assert pyoci("exec", container, "echo", "inside").stdout == "inside\n"
    assert "no cgroup" in pyoci.fails("pause", container)
    assert "no cgroup" in pyoci.fails("update", "--pids-limit", "5", container)
    assert "no cgroup" in pyoci.fails("events", "--stats", container)
    assert json.loads(pyoci("list", "--format", "json").stdout)[0]["status"] == "running"
    pyoci("kill", "--all", container, "KILL")
    pyoci.await_status(container, "stopped")
    pyoci("delete", container)


@pytest.mark.parametrize("spaces", ["with a cgroup namespace", "without"])
def test_without_a_cgroup_manager_cgroups_can_be_mounted(
    pyoci: Runtime, bundle: MakeBundle, spaces: str
) -> None:
    script = "cat /sys/fs/cgroup/*/tasks /sys/fs/cgroup/cgroup.procs 2>/dev/null | grep -c ."
    path = bundle(process=shell(script))
    if spaces == "without":
        config = json.loads((path / "config.json").read_text())
        config["linux"]["namespaces"] = [
            each for each in config["linux"]["namespaces"] if each["type"] != "cgroup"
        ]
        (path / "config.json").write_text(json.dumps(config))
    done = pyoci("--cgroup-manager", "disabled", "run", "--bundle", path, new_id())
    assert int(done.stdout) > 0


def test_list_prints_the_ids_only_when_that_is_asked_for(pyoci: Runtime, sleeper: Path) -> None:
    containers = sorted(pyoci.create(sleeper) for _ in range(2))
    for flag in ("--quiet", "-q"):
        assert pyoci("list", flag).stdout == "".join(f"{container}\n" for container in containers)


# How a container is made.


@pytest.mark.parametrize("command", ["create", "run"])
@pytest.mark.parametrize(
    ("flag", "without", "instead"),
    [("--no-pivot", "pivot-root", "move-root"), ("--no-new-keyring", "join-keyring", "set-hostname")],
)
def test_a_step_is_done_otherwise_or_left_out(
    pyoci: Runtime, bundle: MakeBundle, tmp_path: Path, command: str, flag: str, without: str, instead: str
) -> None:
    path = bundle(process=shell("true"))
    pyoci("--trace", tmp_path / "usual", command, "--bundle", path, new_id())
    pyoci("--trace", tmp_path / "trace", command, flag, "--bundle", path, new_id())
    assert without in steps(tmp_path / "usual")
    assert without not in steps(tmp_path / "trace")
    assert instead in steps(tmp_path / "trace")


def test_run_keeps_the_ended_container_when_asked_to(pyoci: Runtime, bundle: MakeBundle) -> None:
    container = new_id()
    assert pyoci.attempt("run", "--keep", "--bundle", bundle(process=shell("exit 4")), container).code == 4
    assert pyoci.state(container)["status"] == "stopped"
    pyoci("delete", container)


def test_run_gives_the_terminal_and_the_pidfd_to_sockets(
    pyoci: Runtime, bundle: MakeBundle, tmp_path: Path
) -> None:
    path = bundle(process={"args": ["sleep", "1000"], "terminal": True})
    container = new_id()
    with socket.socket(socket.AF_UNIX) as terminals, socket.socket(socket.AF_UNIX) as processes:
        for listener, name in ((terminals, "terminal"), (processes, "pidfd")):
            listener.bind(str(tmp_path / name))
            listener.listen()
        sockets = ["--console-socket", tmp_path / "terminal", "--pidfd-socket", tmp_path / "pidfd"]
        pyoci("run", "--detach", "--bundle", path, *sockets, container)
        terminal, pidfd = taken(terminals), taken(processes)
    assert os.isatty(terminal)
    assert f"\nPid:\t{pyoci.pid(container)}\n" in Path(f"/proc/self/fdinfo/{pidfd}").read_text()
    os.close(terminal)
    os.close(pidfd)


@pytest.mark.parametrize("adopts", [True, False])
def test_run_adopts_what_the_program_leaves_unless_it_is_told_not_to(
    pyoci: Runtime, bundle: MakeBundle, adopts: bool
) -> None:
    script = "(sleep 1000 & echo $! > /tmp/orphan); exec sleep 1000"
    path = bundle(process=shell(script), root={"readonly": False}, linux={"namespaces": namespaces("pid")})
    container = new_id()
    flags = [] if adopts else ["--no-subreaper"]
    foreground = pyoci.popen("run", *flags, "--bundle", path, container)
    note = path / "rootfs/tmp/orphan"
    deadline = time.monotonic() + 20
    while not note.exists() or not note.read_text():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    orphan = int(note.read_text())
    while (parent := parent_of(orphan)) not in (foreground.pid, os.getpid()):
        assert time.monotonic() < deadline, parent
        time.sleep(0.01)
    # Else it is this process's, which adopts orphans too.
    assert parent == (foreground.pid if adopts else os.getpid())
    pyoci("kill", "--all", container, "KILL")
    foreground.wait(20)


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


# What this host lacks is an error that says so.


def test_a_label_without_selinux_is_refused(pyoci: Runtime, sleeper: Path) -> None:
    if Path("/sys/fs/selinux/enforce").exists():
        pytest.skip("the host has SELinux")
    container = pyoci.launch(sleeper)
    said = pyoci.fails("exec", "--process-label", "system_u:system_r:container_t:s0", container, "true")
    assert "/selinuxLabel" in said


@pytest.mark.parametrize(("flag", "line"), [("--l3-cache-schema", "L3:0=f"), ("--mem-bw-schema", "MB:0=50")])
def test_a_schema_for_a_container_without_a_group_of_resctrl_is_refused(
    pyoci: Runtime, sleeper: Path, flag: str, line: str
) -> None:
    assert "it has no group of resctrl" in pyoci.fails("update", flag, line, pyoci.launch(sleeper))


def test_a_kernel_memory_limit_is_set_or_refused(pyoci: Runtime, sleeper: Path) -> None:
    container = pyoci.launch(sleeper)
    done = pyoci.attempt("update", "--kernel-memory", "64m", container)
    assert done.code == 0 or "/linux/resources/memory/kernel" in done.stderr


# What criu is told. A stand-in writes that down; test_checkpoint.py has the real one where it works.

BOTH = (
    (["--tcp-established"], ["--tcp-established"]),
    (["--ext-unix-sk"], ["--ext-unix-sk"]),
    (["--shell-job"], ["--shell-job"]),
    (["--file-locks"], ["--file-locks"]),
    (["--lazy-pages"], ["--lazy-pages"]),
    (["--auto-dedup"], ["--auto-dedup"]),
    (["--network-lock", "nftables"], ["--network-lock", "nftables"]),
    (["--manage-cgroups-mode", "strict"], ["--manage-cgroups=strict"]),
    (["--empty-ns", "network"], ["--empty-ns", "net"]),
)
CHECKPOINT = (
    *BOTH,
    (["--link-remap"], ["--link-remap"]),
    (["--tcp-skip-in-flight"], ["--skip-in-flight"]),
    (["--page-server", "10.0.0.1:99"], ["--page-server", "--address", "10.0.0.1", "--port", "99"]),
    (["--status-fd", "1"], ["--status-fd", "1"]),
)
RESTORE = (
    *BOTH,
    (["--tcp-close"], ["--tcp-close"]),
    (["--lsm-profile", "apparmor:x"], ["--lsm-profile", "apparmor:x"]),
    (["--lsm-mount-context", "x"], ["--lsm-mount-context", "x"]),
    (["--no-pivot"], []),
    (["--no-subreaper"], []),
)


@pytest.fixture
def stand_in(tmp_path: Path) -> tuple[dict[str, str], Path]:
    """An environment whose criu fails after it has written down what it was told, and where."""
    told = tmp_path / "told"
    program = tmp_path / "bin/criu"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" > {told}\nexit 1\n')
    program.chmod(0o755)
    return {"PATH": f"{program.parent}:/usr/bin:/bin"}, told


def contains(words: list[str], part: list[str]) -> bool:
    return any(words[i : i + len(part)] == part for i in range(len(words)))


@pytest.mark.parametrize(("flags", "words"), CHECKPOINT, ids=str)
def test_checkpoint_tells_criu(
    pyoci: Runtime,
    sleeper: Path,
    tmp_path: Path,
    stand_in: tuple[dict[str, str], Path],
    flags: list[str],
    words: list[str],
) -> None:
    environment, told = stand_in
    container = pyoci.launch(sleeper)
    images = ["--image-path", tmp_path / "images"]
    pyoci.fails("checkpoint", *images, container, env=environment)
    assert not contains(told.read_text().splitlines(), words)
    pyoci.fails("checkpoint", *images, *flags, container, env=environment)
    assert contains(told.read_text().splitlines(), words)
    assert pyoci.state(container)["status"] == "running"


@pytest.mark.parametrize(("flags", "words"), RESTORE, ids=str)
def test_restore_tells_criu(
    pyoci: Runtime,
    sleeper: Path,
    tmp_path: Path,
    stand_in: tuple[dict[str, str], Path],
    flags: list[str],
    words: list[str],
) -> None:
    environment, told = stand_in
    container = pyoci.launch(sleeper)
    pyoci.fails("checkpoint", "--image-path", tmp_path / "images", container, env=environment)
    pyoci.finish(container)
    restore = ["restore", "--detach", "--bundle", sleeper, "--image-path", tmp_path / "images"]
    pyoci.fails(*restore, new_id(), env=environment)
    usual = told.read_text().splitlines()
    assert usual[0] == "restore"
    assert not words or not contains(usual, words)
    pyoci.fails(*restore, *flags, new_id(), env=environment)
    assert contains(told.read_text().splitlines(), words)
    assert os.listdir(pyoci.root) == []


def test_restore_has_no_use_for_a_console_socket(pyoci: Runtime, sleeper: Path, tmp_path: Path) -> None:
    said = pyoci.fails("restore", "--bundle", sleeper, "--console-socket", tmp_path / "x", new_id())
    assert "--console-socket has no meaning" in said
