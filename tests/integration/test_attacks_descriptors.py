"""Published attacks by descriptors: the runtime's program at /proc/PID/exe, and directories of the host's that leak."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from conformance.bundles import DEFAULT_CONFIG, bound, mounts, namespaces, static_busybox
from conformance.runtime import Runtime, new_id

from .attackers import OBEDIENT, Neighbour
from .conftest import MakeBundle

EVERY = [*DEFAULT_CONFIG["process"]["capabilities"]["bounding"], "CAP_SYS_PTRACE", "CAP_DAC_OVERRIDE", "CAP_SYS_ADMIN"]
PRIVILEGED = {name: EVERY for name in ("bounding", "effective", "permitted")}


def open_descriptors(pid: int) -> dict[int, os.stat_result]:
    """What a process has open besides its standard input and outputs."""
    base = Path(f"/proc/{pid}/fd")
    return {int(entry.name): entry.stat() for entry in base.iterdir() if int(entry.name) > 2}


@pytest.fixture
def caller_with_open_directories(tmp_path: Path) -> Iterator[None]:
    """The engine's own leaks: directories of the host's, to be inherited by the runtime."""
    opened = []
    for number in range(10, 16):
        descriptor = os.open("/", os.O_RDONLY | os.O_DIRECTORY)
        os.dup2(descriptor, number + 30)
        os.set_inheritable(number + 30, True)
        os.close(descriptor)
        opened.append(number + 30)
    yield
    for number in opened:
        os.close(number)


@pytest.mark.peers_differ(crun="holds what its caller had open", runc="holds a FIFO open")
def test_cve_2016_9962_a_created_container_holds_nothing_of_the_hosts(pyoci: Runtime, bundle: MakeBundle) -> None:
    """A process of the same pid namespace could go through the descriptors of runc's waiting init to the host."""
    everything = {
        "sysctl": {"net.ipv4.ip_forward": "1"},
        "seccomp": {"defaultAction": "SCMP_ACT_ALLOW"},
    }
    here = bundle(process={"args": ["sleep", "1000"]}, linux=everything)
    container = pyoci.create(here)
    kinds = [stat.S_IFMT(found.st_mode) for found in open_descriptors(pyoci.pid(container)).values()]
    # The socket that it waits on for `start`.
    assert kinds == [stat.S_IFSOCK]
