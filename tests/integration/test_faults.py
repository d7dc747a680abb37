"""What the kernel refuses once in a million times, and a kill at the worst moment: no command goes on in a wrong place."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from conformance.bundles import mounts, namespaces
from conformance.namespace_holders import holder
from conformance.runtime import Runtime, new_id

from .conftest import MakeBundle, suffering

REPOSITORY = Path(__file__).resolve().parents[2]


def test_a_command_that_can_not_leave_a_pid_namespace_ends(
    pyoci: Runtime, bundle: MakeBundle, faults: Path
) -> None:
    with holder("pid") as pid:
        linux = {"namespaces": namespaces(pid=f"/proc/{pid}/ns/pid_for_children")}
        here = bundle(process={"args": ["sleep", "1000"]}, linux=linux)
        container = new_id()
        said = pyoci.fails("create", "--bundle", here, container, env=suffering(faults, "setns back"))
        assert "can't return to its own namespace: Operation not permitted (setns)" in said
        pyoci("delete", "--force", container)
        assert not inits(container)


def test_a_command_that_can_not_leave_a_network_namespace_ends(
    pyoci: Runtime, bundle: MakeBundle, faults: Path
) -> None:
    here = bundle(process={"args": ["sleep", "1000"]}, linux={"netDevices": {"nosuch0": {}}})
    container = new_id()
    said = pyoci.fails("create", "--bundle", here, container, env=suffering(faults, "setns back"))
    assert "can't return to its own namespace" in said
    pyoci("delete", "--force", container)


def inits(container: str) -> list[int]:
    """The init processes of a container."""
    found = []
    for directory in Path("/proc").glob("[0-9]*"):
        try:
            if container.encode() in (directory / "cmdline").read_bytes().split(b"\0"):
                found.append(int(directory.name))
        except OSError:
            continue
    return found


def children(pid: int) -> list[int]:
    return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_the_holder_of_a_namespace_does_not_outlive_a_killed_command(
    pyoci: Runtime, bundle: MakeBundle, faults: Path, tmp_path: Path
) -> None:
    """It is there while the ids of a mount are being mapped."""
    source = tmp_path / "source"
    source.mkdir()
    ids = [{"containerID": 0, "hostID": 1000, "size": 1}]
    mount = {
        "destination": "/mapped",
        "source": str(source),
        "options": ["bind"],
        "uidMappings": ids,
        "gidMappings": ids,
    }
    here = bundle(mounts=mounts(mount))
    container = new_id()
    command = pyoci.popen("create", "--bundle", here, container, env=suffering(faults, "kill"))
    deadline = time.monotonic() + 20
    while len(found := children(command.pid)) < 2:
        assert time.monotonic() < deadline, "there is no holder"
        assert command.poll() is None
        time.sleep(0.01)
    held = [os.pidfd_open(pid) for pid in found]
    time.sleep(0.05)  # until it waits in the kernel
    command.send_signal(signal.SIGKILL)
    command.wait()
    # A pidfd can be read from when its process has ended.
    ended = [bool(select.select([each], [], [], 5)[0]) for each in held]
    for each, is_over in zip(held, ended, strict=True):
        if not is_over:
            signal.pidfd_send_signal(each, signal.SIGKILL)
        os.close(each)
    assert ended == [True, True], "a helper is still there"
    pyoci("delete", "--force", container)


WITHOUT_PROC = f"""
import sys
sys.path.insert(0, {str(REPOSITORY)!r})
import errno, os
from pyoci import shim
from pyoci.container import conversation, failure
from pyoci.container.init import PROGRAM, Init
from pyoci.plan.plan import Plan

init = Init(Plan(), "test")
slots = init.prepare({{}}, lambda slot: -1)
program = shim.seal(PROGRAM)
shim.seal = lambda path: program
os.chroot(sys.argv[1])
init.start(slots)
message = conversation.receive(init.conversation)
print(message.kind == conversation.FAILED, message.step == conversation.NO_STEP, failure.sentence(message, "spawn"))
print(os.waitstatus_to_exitcode(os.waitpid(init.pid, 0)[1]))
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="chroot takes root")
def test_an_init_without_proc_ends_with_an_error(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-Ic", WITHOUT_PROC, tmp_path], capture_output=True, text=True, timeout=30
    )
    assert done.stdout == 'True True "/proc" does not exist (spawn: open: ENOENT)\n125\n', done.stderr
