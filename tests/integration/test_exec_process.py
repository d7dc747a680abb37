"""The process of `exec`: what it has where nothing is said, and what stands in its way."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
from pathlib import Path
from typing import Any

import pytest

from conformance import host
from conformance.runtime import Runtime
from conformance.terminals import read_until

from .conftest import MakeBundle

SMALL = {
    "RLIMIT_NOFILE": 4,
    "RLIMIT_NPROC": 0,
    "RLIMIT_STACK": 32 << 10,
    "RLIMIT_FSIZE": 0,
    "RLIMIT_AS": 8 << 20,
}
PASSWD = "root:x:0:0::/root:/bin/sh\nuser:x:7:7::/home/user:/bin/sh\n"


def written(path: Path, **process: Any) -> Path:
    """A file for --process."""
    path.write_text(json.dumps({"cwd": "/", "args": ["true"]} | process))
    return path


def with_passwd(bundle: MakeBundle, env: tuple[str, ...] = ("PATH=/bin",), **changes: Any) -> Path:
    here = bundle(process={"args": ["sleep", "1000"], "env": list(env)}, **changes)
    (here / "rootfs/etc/passwd").write_text(PASSWD)
    return here


def test_a_process_file_needs_args_and_cwd_alone(pyoci: Runtime, sleeper: Path, tmp_path: Path) -> None:
    container = pyoci.launch(sleeper)
    script = "id -u; id -g; umask; pwd"
    file = written(tmp_path / "process.json", args=["/bin/sh", "-c", script])
    assert pyoci("exec", "--process", file, container).stdout.split() == ["0", "0", "0022", "/"]
    file = written(tmp_path / "process.json", args=["/bin/sh", "-c", script], user={"gid": 8})
    assert pyoci("exec", "--process", file, container).stdout.split()[:2] == ["0", "8"]


@pytest.mark.parametrize("missing", ["cwd", "args"])
def test_without_those_it_is_refused(pyoci: Runtime, sleeper: Path, tmp_path: Path, missing: str) -> None:
    file = tmp_path / "process.json"
    file.write_text(json.dumps({"cwd": "/", "args": ["true"]} | {missing: None}))
    assert f"/{missing}" in pyoci.fails("exec", "--process", file, pyoci.launch(sleeper))


@pytest.mark.parametrize("terminal", [{}, {"terminal": False}, {"terminal": True}])
def test_tty_with_a_process_file_means_a_terminal(
    pyoci: Runtime, sleeper: Path, tmp_path: Path, terminal: dict[str, bool]
) -> None:
    file = written(tmp_path / "process.json", args=["/bin/sh", "-c", "tty; echo end"], **terminal)
    ours, theirs = pty.openpty()
    process = pyoci.popen(
        "exec", "-t", "--process", file, pyoci.launch(sleeper), stdin=theirs, stdout=theirs, stderr=theirs
    )
    os.close(theirs)
    try:
        assert b"/dev/pts/" in read_until(ours, b"end")
        assert process.wait(20) == 0
    finally:
        os.close(ours)


def test_home_is_the_users_of_the_process(pyoci: Runtime, bundle: MakeBundle, tmp_path: Path) -> None:
    container = pyoci.launch(with_passwd(bundle))

    def home(*flags: str | Path, args: tuple[str, ...] = ("/bin/sh", "-c", "echo $HOME")) -> str:
        return pyoci("exec", *flags[:-1], flags[-1], *args).stdout.strip()

    assert home(container) == "/root"
    assert home("--user", "7", container) == "/home/user"
    assert home("--user", "8:7", container) == "/"
    assert home("--env", "HOME=/mine", container) == "/mine"
    assert home("--user", "7", "--env", "HOME=", container) == "/home/user"
    for user, wanted in (({"uid": 7}, "/home/user"), ({}, "/root")):
        file = written(tmp_path / "process.json", args=["/bin/sh", "-c", "echo $HOME"], user=user)
        assert home("--process", file, container, args=()) == wanted


def test_a_home_of_the_containers_env_stays(pyoci: Runtime, bundle: MakeBundle) -> None:
    container = pyoci.launch(with_passwd(bundle, ("PATH=/bin", "HOME=/kept")))
    said = pyoci("exec", "--user", "7", container, "sh", "-c", "echo $HOME").stdout
    assert said == "/kept\n"


def test_a_fifo_in_the_place_of_passwd_holds_nobody_up(pyoci: Runtime, bundle: MakeBundle) -> None:
    here = with_passwd(bundle)
    container = pyoci.launch(here)
    (here / "rootfs/etc/passwd").unlink()
    os.mkfifo(here / "rootfs/etc/passwd")
    assert pyoci("exec", container, "sh", "-c", "echo $HOME").stdout == "/\n"


def test_home_is_that_of_the_container_that_is_joined_with_a_user_namespace(
    pyoci: Runtime, reachable: MakeBundle
) -> None:
    mappings = [{"containerID": 0, "hostID": 100000, "size": 65536}]
    linux = {
        "namespaces": [{"type": kind} for kind in ("pid", "network", "ipc", "uts", "mount", "user")],
        "uidMappings": mappings,
        "gidMappings": mappings,
    }
    container = pyoci.launch(with_passwd(reachable, linux=linux))
    assert pyoci("exec", "--user", "7:7", container, "sh", "-c", "echo $HOME").stdout == "/home/user\n"


def capabilities(pyoci: Runtime, container: str, *flags: str) -> dict[str, int]:
    said = pyoci("exec", *flags, container, "grep", "^Cap", "/proc/self/status").stdout
    return {line.split(":")[0]: int(line.split()[1], 16) for line in said.splitlines()}


def test_cap_is_ambient_too_if_it_is_inheritable(pyoci: Runtime, bundle: MakeBundle) -> None:
    """So it is of use to other users than root."""
    kept = ["CAP_KILL", "CAP_NET_RAW"]
    sets = {
        "bounding": kept,
        "permitted": ["CAP_KILL"],
        "effective": ["CAP_KILL"],
        "inheritable": ["CAP_NET_RAW"],
    }
    here = bundle(process={"args": ["sleep", "1000"], "capabilities": sets, "noNewPrivileges": False})
    container = pyoci.launch(here)
    raw, chown = 1 << 13, 1
    found = capabilities(pyoci, container, "--user", "7", "--cap", "cap_net_raw", "--cap", "CAP_CHOWN")
    assert (found["CapAmb"], found["CapEff"], found["CapInh"]) == (raw, raw, raw)
    assert found["CapBnd"] & chown
    assert capabilities(pyoci, container, "--user", "7", "--cap", "CAP_CHOWN")["CapAmb"] == 0


def test_what_is_too_long_is_named(pyoci: Runtime, sleeper: Path, tmp_path: Path) -> None:
    container = pyoci.launch(sleeper)
    file = written(tmp_path / "process.json", env=["A=b", "LONG=" + "x" * 140_000], args=["/bin/true"])
    error = pyoci.fails("exec", "--process", file, container)
    assert "/env/1: " in error and 'the variable "LONG" has 140005 bytes' in error


@pytest.mark.parametrize("user", [0, 1000])
def test_small_limits_are_its_programs_alone(
    pyoci: Runtime, sleeper: Path, tmp_path: Path, user: int
) -> None:
    limits = [{"type": name, "soft": value, "hard": value} for name, value in SMALL.items()]
    identity = {"uid": user, "gid": user, "additionalGids": list(range(100, 1100))}
    file = written(
        tmp_path / "process.json", args=["/bin/cat", "/proc/self/limits"], rlimits=limits, user=identity
    )
    container = pyoci.launch(sleeper)
    reader, writer = os.pipe()
    process = pyoci.popen("exec", "--process", file, container, stdout=writer, stderr=writer)
    os.close(writer)
    with os.fdopen(reader) as output:
        shown = output.read()
    assert process.wait(20) == 0, shown
    assert re.search(r"^Max open files +4 +4 ", shown, re.MULTILINE)
    assert re.search(r"^Max processes +0 +0 ", shown, re.MULTILINE)


@pytest.mark.parametrize("name", ["", ".", "no-such"])
def test_an_empty_name_is_not_found(pyoci: Runtime, sleeper: Path, name: str) -> None:
    error = pyoci.fails("exec", pyoci.launch(sleeper), name)
    assert "executable file not found in $PATH" in error


@pytest.mark.skipif(os.cpu_count() == 1, reason="the machine has a single CPU")
def test_the_callers_choice_of_cpus_does_not_come_along(pyoci: Runtime, sleeper: Path) -> None:
    container = pyoci.launch(sleeper)
    everything = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(everything)})
    try:
        said = pyoci("exec", container, "grep", "Cpus_allowed:", "/proc/self/status").stdout
    finally:
        os.sched_setaffinity(0, everything)
    assert said.split()[1] == host.status(os.getpid())["Cpus_allowed"]


@pytest.mark.parametrize("limit", [0, 1, 2])
@pytest.mark.parametrize("own_pids", [True, False], ids=["own pids", "the host's pids"])
def test_a_container_that_is_at_its_limit_of_processes_can_be_joined(
    pyoci: Runtime, bundle: MakeBundle, limit: int, own_pids: bool
) -> None:
    kinds = ["mount", "ipc", "uts", "network", "cgroup"] + ["pid"] * own_pids
    linux = {
        "resources": {"pids": {"limit": limit}},
        "namespaces": [{"type": kind} for kind in kinds],
    }
    container = pyoci.launch(bundle(process={"args": ["sleep", "1000"]}, linux=linux))
    cgroup = host.cgroup_of(pyoci.pid(container), "pids")
    for _ in range(3):
        assert pyoci("exec", container, "echo", "x").stdout == "x\n"
    assert (cgroup / "pids.events").read_text() == "max 0\n"
    done = pyoci.attempt("exec", container, "sh", "-c", "echo before; (true); echo after")
    assert (done.stdout, "fork" in done.stderr) == ("before\n", True)


def test_with_room_for_one_more_process_nothing_of_ours_is_counted(
    pyoci: Runtime, bundle: MakeBundle
) -> None:
    linux = {"resources": {"pids": {"limit": 2}}}
    container = pyoci.launch(bundle(process={"args": ["sleep", "1000"]}, linux=linux))
    cgroup = host.cgroup_of(pyoci.pid(container), "pids")
    pyoci("exec", "--detach", container, "sleep", "1001")
    listed = json.loads(pyoci("ps", "-f", "json", container).stdout)
    (other,) = set(listed) - {pyoci.pid(container)}
    try:
        assert host.cgroup_of(other, "pids") == cgroup
        assert (cgroup / "pids.current").read_text() == "2\n"
        assert (cgroup / "pids.events").read_text() == "max 0\n"
        assert (
            Path(f"/proc/{other}/cgroup").read_text()
            == Path(f"/proc/{pyoci.pid(container)}/cgroup").read_text()
        )
    finally:
        os.kill(other, signal.SIGKILL)
        os.waitpid(other, 0)
