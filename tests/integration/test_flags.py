"""Flags that change which containers or files a command is about."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path

import pytest

from conformance.fixtures import MakeBundle
from conformance.runtime import Runtime, new_id
from conformance.terminals import taken


def test_another_config_can_be_given(pyoci: Runtime, bundle: MakeBundle) -> None:
    path = bundle(process={"args": ["echo", "other"]})
    os.rename(path / "config.json", path / "other.json")
    assert pyoci("run", "--bundle", path, "--config", "other.json", new_id()).stdout == "other\n"
    assert pyoci("run", "--bundle", path, "-f", path / "other.json", new_id()).stdout == "other\n"
    assert "nosuch.json" in pyoci.fails("run", "--bundle", path, "--config", "nosuch.json", new_id())


@pytest.mark.parametrize("by", ["flag", "annotation"])
def test_the_pidfd_socket_gets_the_containers_process(
    pyoci: Runtime, bundle: MakeBundle, tmp_path: Path, by: str
) -> None:
    annotations = {"run.oci.pidfd_receiver": str(tmp_path / "pidfd")} if by == "annotation" else {}
    path = bundle(process={"args": ["sleep", "1000"]}, annotations=annotations)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "pidfd"))
        listener.listen()
        flags = ["--pidfd-socket", str(tmp_path / "pidfd")] if by == "flag" else []
        container = pyoci.create(path, *flags)
        descriptor = taken(listener)
    fields = Path(f"/proc/self/fdinfo/{descriptor}").read_text().split()
    assert int(fields[fields.index("Pid:") + 1]) == pyoci.pid(container)
    os.close(descriptor)


def test_a_pidfd_socket_that_is_not_there_is_an_error(pyoci: Runtime, sleeper: Path, tmp_path: Path) -> None:
    said = pyoci.fails("create", "--bundle", sleeper, "--pidfd-socket", tmp_path / "nosuch", new_id())
    assert "can't send the pidfd" in said


def test_a_console_socket_without_a_terminal_is_an_error(
    pyoci: Runtime, sleeper: Path, tmp_path: Path
) -> None:
    said = pyoci.fails("create", "--bundle", sleeper, "--console-socket", tmp_path / "x", new_id())
    assert "process.terminal is not true" in said


def test_kill_and_delete_take_an_expression(pyoci: Runtime, sleeper: Path) -> None:
    names = [f"{new_id()}-{kind}" for kind in ("one", "one", "two")]
    for name in names:
        pyoci("run", "--detach", "--bundle", sleeper, name)
    pyoci("kill", "--regex", ".-one$", "KILL")
    for name in names[:2]:
        pyoci.await_status(name, "stopped")
    assert pyoci.state(names[2])["status"] == "running"
    assert "is not stopped" in pyoci.fails("delete", "--regex", ".-(one|two)$")
    left = [each["id"] for each in json.loads(pyoci("list", "--format", "json").stdout)]
    assert left == [names[2]]
    pyoci("delete", "--force", "-r", "two")
    assert "not a regular expression" in pyoci.fails("delete", "--regex", "(")
