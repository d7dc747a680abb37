"""Sockets of others that a command connects to: wherever they are, and whoever doesn't answer."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from conformance.agents import agent
from conformance.runtime import Runtime
from conformance.terminals import listening, taken
from pyoci import sockets
from pyoci.container import console
from pyoci.errors import Error

from .conftest import MakeBundle


@pytest.fixture
def deep(tmp_path: Path) -> Path:
    """A directory whose path alone is longer than a socket's address, unix(7)."""
    directory = tmp_path / ("x" * 120)
    directory.mkdir()
    return directory


def test_a_socket_for_a_pidfd_may_have_a_long_path(pyoci: Runtime, sleeper: Path, deep: Path) -> None:
    with listening(deep / ("y" * 255)) as listener:
        container = pyoci.create(sleeper, "--pidfd-socket", str(deep / ("y" * 255)))
        os.close(taken(listener))
        pyoci("start", container)
        pyoci("exec", "--pidfd-socket", deep / ("y" * 255), container, "true")
        os.close(taken(listener))


def test_a_seccomp_agent_may_have_a_long_path(
    pyoci: Runtime, bundle: MakeBundle, deep: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    profile = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "listenerPath": str(deep / "agent"),
        "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_NOTIFY"}],
    }
    here = bundle(process={"args": ["sleep", "1000"]}, linux={"seccomp": profile})
    monkeypatch.chdir(deep)
    with agent(Path("agent"), lambda number: None) as answering:
        pyoci.finish(pyoci.launch(here))
    assert answering.descriptors == [1]


@contextmanager
def busy(path: Path) -> Iterator[None]:
    """A socket that takes no more connections: its queue is full."""
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as waiting:
        listener.bind(str(path))
        listener.listen(0)
        waiting.connect(str(path))
        yield


def test_a_socket_that_takes_no_connection_is_an_error_after_a_while(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert sockets.deliver.__kwdefaults__ == {"patience": sockets.PATIENCE_S}
    monkeypatch.setitem(sockets.deliver.__kwdefaults__, "patience", 1)
    with busy(tmp_path / "console"), pytest.raises(Error, match=r"console: Nobody took it within 1 s"):
        console.sender(str(tmp_path / "console"), closes=False)(0)


def test_a_socket_that_nobody_reads_from_is_an_error_after_a_while(tmp_path: Path) -> None:
    with listening(tmp_path / "agent"), pytest.raises(OSError, match="Nobody took it within 1 s"):
        sockets.deliver(str(tmp_path / "agent"), bytes(10_000_000), 0, patience=1)
