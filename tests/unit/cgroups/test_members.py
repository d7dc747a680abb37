"""Signals for the processes of a cgroup."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator

import pytest

from pyoci.cgroups import members


@pytest.fixture
def process() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(["sleep", "1000"]) as running:
        yield running
        running.kill()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGUSR1])
def test_a_pid_that_was_used_again_gets_no_signal(
    process: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """The container's process of that pid ended just before its pidfd was opened."""
    listed = iter([[process.pid], []])
    monkeypatch.setattr(members, "processes", lambda path: next(listed))
    members.signal_all("/", number)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.05)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGUSR1])
def test_who_is_still_there_gets_it(
    process: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    monkeypatch.setattr(members, "processes", lambda path: [process.pid, 2**22 - 1])
    members.signal_all("/", number)
    assert process.wait(10) == -number
