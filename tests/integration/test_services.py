"""A container as a service: sd_notify(3) and socket activation, as service managers expect them of runc."""

from __future__ import annotations

import array
import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from conformance.bundles import merged, namespaces
from conformance.fixtures import MakeBundle
from conformance.runtime import Runtime, new_id

PLACE = "/notify-ready"


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A static program that notifies."""
    path = tmp_path_factory.mktemp("notify") / "ready"
    source = Path(__file__).with_name("notify_ready.c")
    subprocess.run(["cc", "-static", "-o", path, source], check=True)
    return path


class Manager:
    """The service manager's end: what came, with barriers answered by closing their descriptor."""

    def __init__(self, path: Path, *, abstract: bool = False) -> None:
        self.address = f"@{path}" if abstract else str(path)
        self.said: list[str] = []
        self.barriers = 0
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(f"\0{path}" if abstract else str(path))
        self._socket.settimeout(0.05)
        self._end = False
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def _read(self) -> None:
        while not self._end:
            try:
                data, control, _, _ = self._socket.recvmsg(4096, socket.CMSG_SPACE(4))
            except TimeoutError:
                continue
            if data == b"BARRIER=1":
                self.barriers += 1
                os.close(array.array("i", control[0][2])[0])
            else:
                self.said += data.decode().split("\n")

    def close(self) -> None:
        self._end = True
        self._thread.join()
        self._socket.close()

    def await_word(self, word: str) -> None:
        deadline = time.monotonic() + 10
        while word not in self.said:
            assert time.monotonic() < deadline, self.said
            time.sleep(0.01)


@pytest.fixture(params=[False, True], ids=["path", "abstract"])
def manager(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Manager]:
    end = Manager(tmp_path / "manager", abstract=request.param)
    yield end
    end.close()


def notifying(bundle: MakeBundle, program: Path, *messages: str, sleep: int = 1000, **changes: Any) -> Path:
    process = {"args": [PLACE, *messages], "env": [f"SLEEP={sleep}"]}
    here = bundle(**merged({"process": process}, changes))
    shutil.copy(program, here / f"rootfs{PLACE}")
    return here


def environment(manager: Manager) -> dict[str, str]:
    return {**os.environ, "NOTIFY_SOCKET": manager.address}


def test_start_waits_until_the_program_is_ready(
    pyoci: Runtime, bundle: MakeBundle, program: Path, manager: Manager
) -> None:
    container = new_id()
    env = environment(manager)
    here = notifying(bundle, program, "STATUS=almost", "READY=1\nSTATUS=done", "STATUS=later")
    pyoci("create", "--bundle", here, container, env=env)
    assert manager.said == []
    pyoci("start", container, env=env)
    assert manager.said[:3] == ["STATUS=almost", "READY=1", "STATUS=done"]
    assert f"MAINPID={pyoci.pid(container)}" in manager.said
    assert manager.barriers == 1


@pytest.mark.parametrize("user", [0, 1000])
def test_run_in_the_foreground_passes_on_all_its_life(
    pyoci: Runtime, bundle: MakeBundle, program: Path, manager: Manager, user: int
) -> None:
    identity = {"uid": user, "gid": user}
    here = notifying(bundle, program, "READY=1", "STATUS=done", sleep=0, process={"user": identity})
    result = pyoci.attempt("run", "--bundle", here, new_id(), env=environment(manager))
    assert result.code == 0, result
    manager.await_word("STATUS=done")
    assert manager.said[0] == "READY=1"


STRANGER = "MAINPID=1"
FORBIDDEN = [
    "STOPPING=1",
    "RELOADING=1\nMONOTONIC_USEC=1",
    "WATCHDOG=trigger",
    "WATCHDOG_USEC=1",
    "EXTEND_TIMEOUT_USEC=1",
    "FDSTORE=1\nFDNAME=x",
    "NOTIFYACCESS=all",
    "MAINPIDFDID=1",
    "BARRIER=1",
    "X_UNKNOWN=1",
    "READY=0",
    "STATUS=a\x1b[2J",
    "STATUS=" + "x" * 5000 + "\nREADY=1",
]


def test_a_program_can_not_speak_for_the_service_or_name_another_process(
    pyoci: Runtime, bundle: MakeBundle, program: Path, manager: Manager
) -> None:
    here = notifying(
        bundle, program, *FORBIDDEN, f"STOPPING=1\n{STRANGER}\nREADY=1\n{STRANGER}\nSTATUS=x\nFDSTORE=1"
    )
    container = new_id()
    pyoci("run", "--detach", "--bundle", here, container, env=environment(manager))
    assert sorted(manager.said) == [f"MAINPID={pyoci.pid(container)}", "READY=1", "STATUS=x"]


def test_signs_of_life_and_errors_are_passed_on(
    pyoci: Runtime, bundle: MakeBundle, program: Path, manager: Manager
) -> None:
    here = notifying(bundle, program, "WATCHDOG=1", "ERRNO=2\nBUSERROR=org.x.Y", "READY=1")
    pyoci("run", "--detach", "--bundle", here, new_id(), env=environment(manager))
    assert manager.said[:4] == ["WATCHDOG=1", "ERRNO=2", "BUSERROR=org.x.Y", "READY=1"]


def test_a_flood_keeps_a_foreground_command_from_nothing(
    pyoci: Runtime, bundle: MakeBundle, program: Path, manager: Manager
) -> None:
    """A program that notifies without end is still forwarded signals, and its end is seen."""
    process = {"args": [PLACE, "STATUS=x"], "env": ["FLOOD=1"]}
    # The first process of a pid namespace would ignore SIGTERM.
    here = notifying(bundle, program, process=process, linux={"namespaces": namespaces("pid")})
    command = pyoci.popen("run", "--bundle", here, new_id(), env=environment(manager))
    manager.await_word("STATUS=x")
    command.terminate()
    assert command.wait(10) == 128 + signal.SIGTERM


def test_a_flood_does_not_keep_start_from_seeing_that_the_program_is_ready(
    pyoci: Runtime, bundle: MakeBundle, program: Path, manager: Manager
) -> None:
    here = notifying(
        bundle, program, process={"args": [PLACE, *["STATUS=x"] * 500, "READY=1"], "env": ["FLOOD=1"]}
    )
    pyoci("run", "--detach", "--bundle", here, new_id(), env=environment(manager))
    assert "READY=1" in manager.said


def fill(path: Path) -> None:
    """Send until the queue is full; what one sender may have on its way is less than a long queue takes."""
    for _ in range(100):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender, suppress(BlockingIOError):
            sender.setblocking(False)
            while True:
                sender.sendto(b"x", str(path))


def test_a_manager_that_takes_nothing_does_not_hold_the_container_up(
    pyoci: Runtime, bundle: MakeBundle, program: Path, tmp_path: Path
) -> None:
    here = notifying(bundle, program, "READY=1", sleep=0)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as full:
        full.bind(str(tmp_path / "full"))
        fill(tmp_path / "full")
        env = {**os.environ, "NOTIFY_SOCKET": str(tmp_path / "full")}
        result = pyoci.attempt("run", "--bundle", here, new_id(), env=env)
    assert result.code == 0
    assert "Nobody took it" in result.stderr


def test_a_managers_path_may_be_long(
    pyoci: Runtime, bundle: MakeBundle, program: Path, tmp_path: Path
) -> None:
    deep = tmp_path / ("x" * 120)
    deep.mkdir()
    there = Manager(Path(f"/proc/self/fd/{os.open(deep, os.O_PATH)}/manager"))
    there.address = str(deep / "manager")
    try:
        pyoci(
            "run",
            "--detach",
            "--bundle",
            notifying(bundle, program, "READY=1"),
            new_id(),
            env=environment(there),
        )
        assert "READY=1" in there.said
    finally:
        there.close()


def test_run_goes_on_when_the_manager_is_gone(
    pyoci: Runtime, bundle: MakeBundle, program: Path, tmp_path: Path
) -> None:
    here = notifying(bundle, program, "READY=1", "STATUS=more", sleep=0)
    env = {**os.environ, "NOTIFY_SOCKET": str(tmp_path / "nobody")}
    result = pyoci.attempt("run", "--bundle", here, new_id(), env=env)
    assert result.code == 0, result
    assert result.stderr.count("NOTIFY_SOCKET") == 1


def test_a_manager_that_does_not_read_keeps_run_from_nothing(
    pyoci: Runtime, bundle: MakeBundle, program: Path, tmp_path: Path
) -> None:
    """Its queue is full at net.unix.max_dgram_qlen messages."""
    container = new_id()
    here = notifying(bundle, program, "READY=1", *(f"STATUS={number}" for number in range(100)), sleep=1000)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end:
        end.bind(str(tmp_path / "manager"))
        env = {**os.environ, "NOTIFY_SOCKET": str(tmp_path / "manager")}
        foreground = pyoci.popen("run", "--bundle", here, container, env=env)
        try:
            end.settimeout(10)
            assert b"READY=1" in end.recv(4096)
            foreground.send_signal(signal.SIGUSR1)  # which ends no init that has no handler
            pyoci("kill", container, "KILL")
            assert foreground.wait(20) == 128 + signal.SIGKILL
        finally:
            foreground.kill()
            foreground.wait()


def test_a_program_that_ends_without_a_word_keeps_nobody_waiting(
    pyoci: Runtime, bundle: MakeBundle, program: Path, manager: Manager
) -> None:
    here = notifying(bundle, program, sleep=0)
    pyoci("run", "--detach", "--bundle", here, new_id(), env=environment(manager))
    assert manager.said == []


def test_the_managers_socket_itself_is_not_in_the_container(
    pyoci: Runtime, bundle: MakeBundle, manager: Manager
) -> None:
    here = bundle(process={"args": ["sh", "-c", "echo $NOTIFY_SOCKET; ls /run/notify; touch /run/notify/x"]})
    result = pyoci.attempt("run", "--bundle", here, new_id(), env=environment(manager))
    assert result.stdout.split() == ["/run/notify/notify.sock", "notify.sock"]
    assert "Read-only" in result.stderr


def activated(pyoci: Runtime, variables: str, *arguments: str | Path) -> str:
    """Run a command as a service manager does: two sockets from 3 up, and the variables."""
    opened = "3</etc/passwd 4</etc/group"
    script = f'export {variables}; exec "$@" {opened}'
    command = ["sh", "-c", script, "sh", *pyoci.command, *map(str, arguments)]
    return subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True
    ).stdout


SHOW = 'echo "$LISTEN_FDS $LISTEN_PID $LISTEN_FDNAMES"; ls /proc/self/fd'


@pytest.mark.parametrize("more", [0, 1])
def test_activated_descriptors_are_the_programs(pyoci: Runtime, bundle: MakeBundle, more: int) -> None:
    here = bundle(process={"args": ["sh", "-c", SHOW]})
    variables = f"LISTEN_PID=$$ LISTEN_FDS={2 - more} LISTEN_FDNAMES=a:b"
    said = activated(pyoci, variables, "run", "--preserve-fds", str(more), "--bundle", here, new_id())
    first, *descriptors = said.split("\n")
    assert first == f"{2 - more} 1 a:b"
    assert {"3", "4"} < set(descriptors)


def test_descriptors_for_another_process_are_not(pyoci: Runtime, bundle: MakeBundle) -> None:
    here = bundle(process={"args": ["sh", "-c", SHOW]})
    first, *descriptors = activated(
        pyoci, "LISTEN_PID=1 LISTEN_FDS=2", "run", "--bundle", here, new_id()
    ).split("\n")
    assert first == "  "
    # What `ls` itself has open is 3.
    assert "4" not in descriptors


def test_a_service_in_a_user_namespace(
    pyoci: Runtime, reachable: MakeBundle, program: Path, manager: Manager
) -> None:
    mappings = [{"containerID": 0, "hostID": 100000, "size": 65536}]
    linux = {
        "namespaces": [*namespaces(), {"type": "user"}],
        "uidMappings": mappings,
        "gidMappings": mappings,
    }
    here = notifying(reachable, program, "READY=1", linux=linux)
    # The root filesystem is the host's root's: nothing can be made in it from inside.
    (here / "rootfs/run/notify").mkdir(parents=True)
    container = new_id()
    pyoci("run", "--detach", "--bundle", here, container, env=environment(manager))
    manager.await_word("READY=1")
