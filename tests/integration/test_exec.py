"""`exec`: another process in a container."""

from __future__ import annotations

import json
import os
import pty
import random
import signal
import socket
import struct
import subprocess
import sys
import termios
import time
from fcntl import ioctl
from pathlib import Path
from typing import Any

import pytest

from conformance import host
from conformance.agents import agent
from conformance.bundles import namespaces
from conformance.namespace_holders import FILES, holder, namespace
from conformance.runtime import Runtime
from conformance.terminals import read_until, taken

from .conftest import MakeBundle

MAPPINGS = [{"containerID": 0, "hostID": 100000, "size": 65536}]
KINDS = ("pid", "network", "ipc", "uts", "mount", "cgroup", "time")


def printed(pyoci: Runtime, container: str, *words: str, flags: tuple[str, ...] = ()) -> str:
    """What a program writes; it must end with 0."""
    return pyoci("exec", *flags, container, *words).stdout


def end(pid: int) -> None:
    """Kill a process of `exec --detach`, and reap it, as its parent's part: this one, which adopts orphans."""
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


def process(**changes: Any) -> dict[str, Any]:
    """A process object for --process."""
    path = ["PATH=/bin"]
    return {"user": {"uid": 0, "gid": 0}, "cwd": "/", "args": ["true"], "env": path} | changes


def test_it_runs_beside_the_first_process(pyoci: Runtime, sleeper: Path) -> None:
    container = pyoci.launch(sleeper)
    listed = printed(pyoci, container, "ps", "-o", "pid,args").splitlines()
    assert [line.split(None, 1)[1] for line in listed[1:2]] == ["sleep 1000"]
    assert "1" in listed[1].split()


def test_its_exit_status_is_that_of_the_command(pyoci: Runtime, sleeper: Path) -> None:
    container = pyoci.launch(sleeper)
    assert pyoci.attempt("exec", container, "sh", "-c", "exit 7").code == 7
    assert pyoci.attempt("exec", container, "sh", "-c", "kill -9 $$").code == 137


def test_a_failure_of_its_own_is_255(pyoci: Runtime, sleeper: Path) -> None:
    container = pyoci.launch(sleeper)
    missing = pyoci.attempt("exec", container, "no-such-program")
    assert (missing.code, "executable file not found in $PATH" in missing.stderr) == (255, True)
    assert pyoci.attempt("exec", "no-such-container", "true").code == 255
    assert pyoci.attempt("exec", container).code == 255
    # A wrong flag, too: engines look at the status alone.
    assert pyoci.attempt("exec", "--cwd", "relative", container, "true").code == 255


def test_options_stop_at_the_id(pyoci: Runtime, sleeper: Path) -> None:
    assert printed(pyoci, pyoci.launch(sleeper), "echo", "-n", "--detach", "-x") == "--detach -x"


@pytest.mark.parametrize("seed", range(12))
def test_it_is_in_every_namespace_of_the_container(pyoci: Runtime, reachable: MakeBundle, seed: int) -> None:
    """New, joined and inherited ones in any mix, with and without a user namespace."""
    choose = random.Random(seed)
    # /dev/mqueue and devpts want their own ipc and mount namespaces; without pid there is no new proc in a user namespace.
    user = seed % 2 == 1
    kinds = [kind for kind in KINDS if user or kind == "mount" or choose.random() < 0.6]
    joined = [kind for kind in ("network", "uts", "time") if kind in kinds and choose.random() < 0.5]
    with holder(*joined) if joined else holder("uts") as pid:
        listed: list[dict[str, str]] = [
            {"type": kind} | ({"path": f"/proc/{pid}/ns/{FILES[kind]}"} if kind in joined else {})
            for kind in kinds
        ]
        linux: dict[str, Any] = {"namespaces": listed}
        if user:
            listed.append({"type": "user"})
            linux |= {"uidMappings": MAPPINGS, "gidMappings": MAPPINGS}
        path = reachable(process={"args": ["sleep", "1000"]}, hostname=None, linux=linux)
        if "network" not in kinds or "network" in joined:
            without_sysfs(path)
        container = pyoci.launch(path)
        script = "for n in user cgroup ipc uts net pid time mnt; do readlink /proc/self/ns/$n; done; id -u"
        said = printed(pyoci, container, "sh", "-c", script).split()
        first = pyoci.pid(container)
        names = ("user", "cgroup", "ipc", "uts", "network", "pid", "time", "mount")
        assert said[:-1] == [namespace(first, kind) for kind in names]
        assert said[-1] == "0"


def without_sysfs(bundle: Path) -> None:
    """Leave out what a network namespace that isn't the user namespace's can't be had with."""
    document = json.loads((bundle / "config.json").read_text())
    document["mounts"] = [each for each in document["mounts"] if not each["destination"].startswith("/sys")]
    (bundle / "config.json").write_text(json.dumps(document))


def test_it_works_without_a_mount_namespace(pyoci: Runtime, bundle: MakeBundle) -> None:
    listed = namespaces("mount")
    linux = {"namespaces": listed, "maskedPaths": None, "readonlyPaths": None}
    container = pyoci.launch(bundle(process={"args": ["sleep", "1000"]}, linux=linux))
    assert "busybox" in printed(pyoci, container, "ls", "/bin")
    assert printed(pyoci, container, "ls", "/").split() == ["bin", "dev", "etc", "proc", "sys", "tmp"]


def test_it_is_in_the_containers_cgroup(pyoci: Runtime, sleeper: Path) -> None:
    container = pyoci.launch(sleeper)
    before = Path(f"/proc/{pyoci.pid(container)}/cgroup").read_text()
    pyoci("exec", "--detach", container, "sleep", "1001")
    (other,) = set(json.loads(pyoci("ps", "-f", "json", container).stdout)) - {pyoci.pid(container)}
    assert Path(f"/proc/{other}/cgroup").read_text() == before
    end(other)


def test_a_cgroup_below_the_containers_can_be_chosen(pyoci: Runtime, bundle: MakeBundle) -> None:
    container = pyoci.launch(bundle(process={"args": ["sleep", "1000"]}))
    pid = pyoci.pid(container)
    cgroup = host.cgroup_of(pid, "pids")
    (cgroup / "below").mkdir()
    v2 = host.V2
    where = "/below" if v2 else "pids:below"
    try:
        pyoci("exec", "--detach", "--cgroup", where, container, "sleep", "1001")
        (other,) = set(json.loads(pyoci("ps", "-f", "json", container).stdout)) - {pid}
        assert host.cgroup_of(other, "pids") == cgroup / "below"
        end(other)
    finally:
        pyoci("delete", "--force", container)
    container = pyoci.launch(bundle(process={"args": ["sleep", "1000"]}))
    assert "does not exist" in pyoci.fails("exec", "--cgroup", "/nosuch", container, "true")
    assert "not a path below" in pyoci.fails("exec", "--cgroup", "../x", container, "true")
    assert "no cgroup of a controller" in pyoci.fails("exec", "--cgroup", "nosuch:x", container, "true")


def test_the_flags_change_the_containers_process(pyoci: Runtime, bundle: MakeBundle) -> None:
    path = bundle(process={"args": ["sleep", "1000"], "env": ["PATH=/bin", "A=1", "B=2"]})
    container = pyoci.launch(path)
    flags = (
        "--user",
        "5:7",
        "-g",
        "9,10",
        "--additional-gids",
        "11",
        "-e",
        "A=3",
        "--env",
        "C=4",
        "--cwd",
        "/tmp",
    )
    script = "id -u; id -g; id -G; pwd; echo $A $B $C; grep NoNewPrivs /proc/self/status"
    assert printed(pyoci, container, "sh", "-c", script, flags=flags).splitlines() == [
        *("5", "7", "7 9 10 11", "/tmp", "3 2 4", "NoNewPrivs:\t1")
    ]


def test_the_config_of_the_creation_counts(pyoci: Runtime, bundle: MakeBundle) -> None:
    path = bundle(process={"args": ["sleep", "1000"], "env": ["PATH=/bin", "A=1"]})
    container = pyoci.launch(path)
    (path / "config.json").write_text("{}")
    assert printed(pyoci, container, "sh", "-c", "echo $A") == "1\n"


def test_no_new_privs_and_capabilities_are_added(pyoci: Runtime, bundle: MakeBundle) -> None:
    path = bundle(process={"args": ["sleep", "1000"], "noNewPrivileges": False})
    container = pyoci.launch(path)
    script = "grep -E 'NoNewPrivs|Cap' /proc/self/status"
    plain = dict(line.split() for line in printed(pyoci, container, "sh", "-c", script).splitlines())
    flags = ("--no-new-privs", "--cap", "CAP_NET_RAW", "-c", "cap_chown")
    said = printed(pyoci, container, "sh", "-c", script, flags=flags)
    more = dict(line.split() for line in said.splitlines())
    assert (plain["NoNewPrivs:"], more["NoNewPrivs:"]) == ("0", "1")
    added = 1 << 13 | 1 << 0
    for name in ("CapBnd:", "CapPrm:", "CapEff:"):
        assert int(more[name], 16) == int(plain[name], 16) | added
    # CVE-2022-29162
    assert (int(more["CapInh:"], 16), int(more["CapAmb:"], 16)) == (0, 0)


@pytest.mark.parametrize(
    "user", ["root", "0x0", "+0", " 0", "0_0", "-1", "4294967295", "99999999999", "1:", ":1", ""]
)
def test_a_user_is_a_number_and_nothing_else(pyoci: Runtime, sleeper: Path, user: str) -> None:
    """CVE-2026-30892: what wasn't a number was taken for 0."""
    assert "--user" in pyoci.fails("exec", f"--user={user}", pyoci.launch(sleeper), "true")


def test_the_process_comes_from_a_file(pyoci: Runtime, sleeper: Path, tmp_path: Path) -> None:
    container = pyoci.launch(sleeper)
    file = tmp_path / "process.json"
    script = "echo $A; id -u; ulimit -n; pwd; cat /proc/self/oom_score_adj"
    limits = [{"type": "RLIMIT_NOFILE", "soft": 77, "hard": 88}]
    given = process(
        args=["sh", "-c", script],
        env=["PATH=/bin", "A=b"],
        user={"uid": 3, "gid": 4},
        rlimits=limits,
        cwd="/tmp",
        oomScoreAdj=500,
    )
    file.write_text(json.dumps(given))
    said = pyoci("exec", "--process", file, container).stdout
    assert said.split() == ["b", "3", "77", "/tmp", "500"]
    assert "--cwd" in pyoci.fails("exec", "--process", file, "--cwd", "/", container)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "process.json:1:"),
        ("[]", "process.json"),
        ('{"cwd": "x", "args": ["true"], "user": {"uid": 0, "gid": 0}}', "process.json:1: /cwd"),
        ('{"cwd": "/", "args": [], "user": {"uid": 0, "gid": 0}}', "args"),
        ('{"cwd": "/", "user": {"uid": 0, "gid": 0}}', "args"),
        (None, "process.json"),
    ],
)
def test_a_bad_process_file_is_told(
    pyoci: Runtime, sleeper: Path, tmp_path: Path, text: str | None, said: str
) -> None:
    if text is not None:
        (tmp_path / "process.json").write_text(text)
    assert said in pyoci.fails("exec", "--process", tmp_path / "process.json", pyoci.launch(sleeper))


def test_the_pid_file_names_the_process(pyoci: Runtime, sleeper: Path, tmp_path: Path) -> None:
    container = pyoci.launch(sleeper)
    pyoci("exec", "--detach", "--pid-file", tmp_path / "pid", container, "sleep", "1234")
    pid = (tmp_path / "pid").read_text()
    assert Path(f"/proc/{pid}/cmdline").read_bytes() == b"sleep\x001234\x00"
    end(int(pid))
    assert "executable file not found" in pyoci.fails(
        "exec", "--pid-file", tmp_path / "other", container, "no-such-program"
    )
    assert not (tmp_path / "other").exists()


def test_a_created_container_can_be_prepared_by_exec(pyoci: Runtime, sleeper: Path) -> None:
    container = pyoci.create(sleeper)
    assert printed(pyoci, container, "hostname") == "pyoci\n"
    pyoci("start", container)


def test_a_stopped_container_takes_no_process(pyoci: Runtime, bundle: MakeBundle) -> None:
    container = pyoci.launch(bundle(process={"args": ["true"]}))
    pyoci.await_status(container, "stopped")
    assert "container not running" in pyoci.fails("exec", container, "true")


def test_a_paused_container_takes_none_unless_it_may_wait(pyoci: Runtime, sleeper: Path) -> None:
    container = pyoci.launch(sleeper)
    pyoci("pause", container)
    assert "cannot exec in a paused container" in pyoci.fails("exec", container, "true")
    with pyoci.popen("exec", "--ignore-paused", container, "true") as waiting:
        time.sleep(0.3)
        assert waiting.poll() is None
        pyoci("resume", container)
        assert waiting.wait(10) == 0


def test_the_containers_filter_holds(pyoci: Runtime, bundle: MakeBundle) -> None:
    rule = {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 122}
    profile = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]}
    for quiet in (True, False):
        path = bundle(
            process={"args": ["sleep", "1000"], "noNewPrivileges": quiet},
            root={"readonly": False},
            linux={"seccomp": profile},
        )
        container = pyoci.launch(path)
        assert "Disk quota exceeded" in pyoci.fails("exec", container, "mkdir", "/tmp/x")


def test_an_agent_is_told_of_each_process(pyoci: Runtime, bundle: MakeBundle, tmp_path: Path) -> None:
    rule = {"names": ["mkdir", "mkdirat", "sendmsg"], "action": "SCMP_ACT_NOTIFY"}
    profile = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "listenerPath": str(tmp_path / "agent"),
        "syscalls": [rule],
    }
    path = bundle(process={"args": ["sleep", "1000"]}, linux={"seccomp": profile})
    with agent(tmp_path / "agent", lambda number: 122) as answering:
        container = pyoci.launch(path)
        assert "Disk quota exceeded" in pyoci.fails("exec", container, "mkdir", "/tmp/x")
        first, second = answering.states
        assert first["state"]["pid"] == second["state"]["pid"] == first["pid"]
        assert second["pid"] != first["pid"]


def test_a_terminal_is_lent_to_it(pyoci: Runtime, sleeper: Path) -> None:
    container = pyoci.launch(sleeper)
    pid, terminal = pty.fork()
    if pid == 0:
        script = "tty; stty size; read x; echo got-$x; trap 'stty size' WINCH; echo again; read y; exit 7"
        os.execv(pyoci.path, [*pyoci.command, "exec", "--tty", container, "sh", "-c", script])
    try:
        ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 33, 111, 0, 0))
        before = termios.tcgetattr(terminal)
        assert b"/dev/pts/" in read_until(terminal, b"33 111")
        os.write(terminal, b"word\r")
        read_until(terminal, b"again")
        ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 44, 99, 0, 0))
        read_until(terminal, b"44 99")
        os.write(terminal, b"\r")
        _, status = os.waitpid(pid, 0)
        assert os.waitstatus_to_exitcode(status) == 7
        assert termios.tcgetattr(terminal) == before
    finally:
        os.close(terminal)


def test_the_console_socket_gets_the_terminal_and_the_pidfd_socket_the_process(
    pyoci: Runtime, sleeper: Path, tmp_path: Path
) -> None:
    container = pyoci.launch(sleeper)
    file = tmp_path / "process.json"
    size = {"height": 7, "width": 9}
    file.write_text(
        json.dumps(process(args=["sh", "-c", "stty size; exec sleep 77"], terminal=True, consoleSize=size))
    )
    with socket.socket(socket.AF_UNIX) as console, socket.socket(socket.AF_UNIX) as pidfd:
        for listener, name in ((console, "console"), (pidfd, "pidfd")):
            listener.bind(str(tmp_path / name))
            listener.listen()
        pyoci(
            *("exec", "--detach", "--process", file),
            *("--console-socket", tmp_path / "console", "--pidfd-socket", tmp_path / "pidfd"),
            *("--pid-file", tmp_path / "pid", container),
        )
        terminal, process_fd = taken(console), taken(pidfd)
    try:
        read_until(terminal, b"7 9")
        fields = Path(f"/proc/self/fdinfo/{process_fd}").read_text().split()
        assert fields[fields.index("Pid:") + 1] == (tmp_path / "pid").read_text()
        signal.pidfd_send_signal(process_fd, signal.SIGKILL)
        os.waitpid(int((tmp_path / "pid").read_text()), 0)
    finally:
        os.close(terminal)
        os.close(process_fd)


def test_a_terminal_and_a_socket_go_together(pyoci: Runtime, sleeper: Path, tmp_path: Path) -> None:
    container = pyoci.launch(sleeper)
    assert "--console-socket" in pyoci.fails("exec", "--tty", "--detach", container, "true")
    assert "wants no terminal" in pyoci.fails("exec", "--console-socket", tmp_path / "x", container, "true")


# Its first argument becomes descriptor 3 of the rest.
AS_THIRD = "import os, sys; os.dup2(int(sys.argv[1]), 3); os.execv(sys.argv[2], sys.argv[2:])"


def test_preserved_descriptors_arrive_and_no_others(pyoci: Runtime, sleeper: Path, tmp_path: Path) -> None:
    container = pyoci.launch(sleeper)
    (tmp_path / "given").write_text("kept")
    program = ["sh", "-c", "cat <&3; ls /proc/self/fd"]
    with (tmp_path / "given").open() as first, (tmp_path / "said").open("w") as output:
        exec_it = [*pyoci.command, "exec", "--preserve-fds", "1", container, *program]
        command = [sys.executable, "-c", AS_THIRD, str(first.fileno()), *exec_it]
        subprocess.run(command, pass_fds=[first.fileno()], stdout=output, check=True)
    # ls opens the directory itself, as 4.
    assert (tmp_path / "said").read_text() == "kept0\n1\n2\n3\n4\n"
    assert "is not open" in pyoci.fails("exec", "--preserve-fds", "90", container, "true")


def test_signals_are_passed_on(pyoci: Runtime, sleeper: Path, tmp_path: Path) -> None:
    container = pyoci.launch(sleeper)
    script = "trap 'echo caught; exit 5' USR1; echo ready; while :; do sleep 0.01; done"
    with (tmp_path / "said").open("w") as output:
        running = pyoci.popen("exec", container, "sh", "-c", script, stdout=output)
        deadline = time.monotonic() + 10
        while "ready" not in (tmp_path / "said").read_text():
            assert time.monotonic() < deadline
            time.sleep(0.01)
        running.send_signal(signal.SIGUSR1)
        assert running.wait(10) == 5
    assert "caught" in (tmp_path / "said").read_text()


def test_the_affinity_is_the_processs(pyoci: Runtime, sleeper: Path, tmp_path: Path) -> None:
    container = pyoci.launch(sleeper)
    file = tmp_path / "process.json"
    show = ["grep", "Cpus_allowed_list", "/proc/self/status"]
    file.write_text(json.dumps(process(args=show, execCPUAffinity={"initial": "0", "final": "0"})))
    assert pyoci("exec", "--process", file, container).stdout.split() == ["Cpus_allowed_list:", "0"]
    file.write_text(json.dumps(process(args=show, execCPUAffinity={"initial": "0"})))
    everything = pyoci("exec", container, *show).stdout
    assert pyoci("exec", "--process", file, container).stdout == everything
    # Where the caller may run is none of the container's business.
    command = ["taskset", "-c", "0", *pyoci.command, "exec", container, *show]
    with (tmp_path / "said").open("w") as output:
        subprocess.run(command, stdout=output, check=True)
    assert (tmp_path / "said").read_text() == everything


def test_an_exec_that_is_killed_early_leaves_no_process(pyoci: Runtime, sleeper: Path) -> None:
    container = pyoci.launch(sleeper)
    choose = random.Random(1)
    for _ in range(30):
        with pyoci.popen("exec", container, "true") as running:
            time.sleep(choose.uniform(0, 0.03))
            running.kill()
    deadline = time.monotonic() + 10
    while json.loads(pyoci("ps", "-f", "json", container).stdout) != [pyoci.pid(container)]:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    host.reap()


def test_many_at_once(pyoci: Runtime, sleeper: Path) -> None:
    container = pyoci.launch(sleeper)
    running = [pyoci.popen("exec", container, "sh", "-c", f"exit {number}") for number in range(20)]
    assert [each.wait(30) for each in running] == list(range(20))


def test_a_delete_does_not_wait_for_a_program_in_the_foreground(pyoci: Runtime, sleeper: Path) -> None:
    container = pyoci.launch(sleeper)
    with pyoci.popen("exec", container, "sleep", "1000") as running:
        deadline = time.monotonic() + 10
        while len(json.loads(pyoci("ps", "-f", "json", container).stdout)) < 2:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        pyoci("delete", "--force", container)
        assert running.wait(10) == 137
