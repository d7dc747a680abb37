"""File descriptors: 0, 1 and 2 reach the program as they are, and no others unless they are asked for; runtime-linux.md,
"File descriptors"."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from .fixtures import MakeBundle
from .runtime import Runtime, new_id


def descriptors(pid: int) -> dict[int, str]:
    """The open descriptors of a process and what they are."""
    return {int(name): os.readlink(f"/proc/{pid}/fd/{name}") for name in os.listdir(f"/proc/{pid}/fd")}


def through_shell(runtime: Runtime, redirections: str, *arguments: str | Path) -> None:
    """Run a command with the descriptors that a shell's redirections open; they are not close-on-exec."""
    command = ["sh", "-c", f'exec "$@" {redirections}', "sh", *runtime.command, *map(str, arguments)]
    subprocess.run(command, stdin=subprocess.DEVNULL, timeout=30, check=True)


@pytest.mark.shows("descriptors")
@pytest.mark.parametrize("commands", [["run", "--detach"], ["create"]])
def test_stdin_stdout_and_stderr_reach_the_program_unchanged(
    runtime: Runtime, sleeper: Path, tmp_path: Path, commands: list[str]
) -> None:
    paths = [tmp_path / name for name in ("in", "out", "err")]
    for path in paths:
        path.touch()
    container = new_id()
    redirections = "<{} >{} 2>{}".format(*paths)
    through_shell(runtime, redirections, *commands, "--bundle", sleeper, container)
    if commands == ["create"]:
        runtime("start", container)
    assert descriptors(runtime.pid(container)) == dict(enumerate(map(str, paths)))


def test_a_program_reads_and_writes_pipes(runtime: Runtime, bundle: MakeBundle) -> None:
    here = bundle(process={"args": ["sh", "-c", "cat; echo done >&2"]})
    command = [*runtime.command, "run", "--bundle", str(here), new_id()]
    done = subprocess.run(command, input="text\n", capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stdout, done.stderr) == (0, "text\n", "done\n")


def test_large_output_arrives_whole(runtime: Runtime, bundle: MakeBundle) -> None:
    here = bundle(process={"args": ["seq", "200000"]})
    command = [*runtime.command, "run", "--bundle", str(here), new_id()]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
    assert done.stdout.split() == [str(number) for number in range(1, 200_001)]


@pytest.mark.shows("descriptors")
def test_no_other_descriptor_of_the_caller_reaches_the_program(
    runtime: Runtime, sleeper: Path, tmp_path: Path
) -> None:
    container = new_id()
    redirections = f"3</etc/passwd 4</etc/group 5>{tmp_path}/five 9</ 0</dev/null >/dev/null 2>/dev/null"
    through_shell(runtime, redirections, "run", "--detach", "--bundle", sleeper, container)
    assert descriptors(runtime.pid(container)) == dict.fromkeys(range(3), "/dev/null")


@pytest.mark.shows("descriptors")
@pytest.mark.peers_differ(crun="holds them until start")
def test_a_created_container_holds_no_descriptor_of_the_caller(
    runtime: Runtime, sleeper: Path, tmp_path: Path
) -> None:
    container = new_id()
    (tmp_path / "secret").touch()
    through_shell(runtime, f"7<{tmp_path}/secret", "create", "--bundle", sleeper, container)
    assert str(tmp_path / "secret") not in descriptors(runtime.pid(container)).values()


@pytest.mark.parametrize("commands", [["run", "--detach"], ["create"]])
def test_descriptors_to_preserve_reach_the_program(
    runtime: Runtime, sleeper: Path, tmp_path: Path, commands: list[str]
) -> None:
    for name in ("three", "four", "five"):
        (tmp_path / name).touch()
    container = new_id()
    redirections = f"3<{tmp_path}/three 4<{tmp_path}/four 5<{tmp_path}/five </dev/null >/dev/null 2>&1"
    through_shell(runtime, redirections, *commands, "--preserve-fds", "2", "--bundle", sleeper, container)
    if commands == ["create"]:
        runtime("start", container)
    expected = {3: f"{tmp_path}/three", 4: f"{tmp_path}/four"}
    assert descriptors(runtime.pid(container)) == dict.fromkeys(range(3), "/dev/null") | expected


@pytest.mark.peers_differ(crun="an error there")
def test_closed_standard_descriptors_are_no_error(runtime: Runtime, bundle: MakeBundle) -> None:
    done = bundle(process={"args": ["true"]})
    through_shell(runtime, "<&- >&- 2>&-", "run", "--bundle", done, new_id())
