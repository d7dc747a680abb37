"""The completions know every command and flag; each shell is asked itself."""

from __future__ import annotations

import os
import pty
import select
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pyoci.cli import completions
from pyoci.cli.options import COMMANDS, GLOBAL_FLAGS, HELP, Flag

Ask = Callable[[Path, list[str]], list[list[str]]]

# What `pyoci list --quiet` prints here: the root, so that it shows which was asked.
STAND_IN = '#!/bin/sh\n[ "$1" = --root ] && echo "box-in-$2" || echo box\n'


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The scripts, a stand-in for pyoci, and a few files."""
    directory = tmp_path_factory.mktemp("completions")
    for name, text in completions.scripts().items():
        (directory / name).write_text(text)
    program = directory / "bin/pyoci"
    program.parent.mkdir()
    program.write_text(STAND_IN)
    program.chmod(0o755)
    (directory / "place/bundle").mkdir(parents=True)
    (directory / "place/file").touch()
    return directory


def shell(name: str) -> str:
    program = shutil.which(name)
    if program is None:
        pytest.skip(f"the host has no {name}(1)")
    return program


def environment(directory: Path) -> dict[str, str]:
    path = f"{directory}/bin:/usr/bin:/bin"
    return {"PATH": path, "HOME": str(directory), "TERM": "dumb", "XDG_DATA_DIRS": "/usr/share"}


BASH = """
source {directory}/pyoci.bash
while IFS= read -r line; do
    read -ra COMP_WORDS <<<"$line"
    [[ $line == *" " ]] && COMP_WORDS+=("")
    COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))
    _pyoci
    echo "${{COMPREPLY[*]}}"
done
"""


def from_bash(directory: Path, lines: list[str]) -> list[list[str]]:
    script = BASH.format(directory=directory)
    return _answers([shell("bash"), "--norc", "-c", script], directory, lines)


def from_fish(directory: Path, lines: list[str]) -> list[list[str]]:
    script = f"source {directory}/pyoci.fish; while read -l line; echo (complete -C $line | cut -f1); end"
    return _answers([shell("fish"), "--no-config", "-c", script], directory, lines)


def _answers(command: list[str], directory: Path, lines: list[str]) -> list[list[str]]:
    """What is offered at the end of each line."""
    text = "".join(f"{line}\n" for line in lines)
    done = subprocess.run(
        command,
        input=text,
        capture_output=True,
        text=True,
        env=environment(directory),
        cwd=directory / "place",
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return [line.split() for line in done.stdout.splitlines()]


def long(flags: tuple[Flag, ...]) -> set[str]:
    return {f"--{flag.name}" for flag in flags}


@pytest.mark.parametrize("ask", [from_bash, from_fish])
def test_every_command_is_offered(directory: Path, ask: Ask) -> None:
    [offered] = ask(directory, ["pyoci "])
    assert {command.name for command in COMMANDS} <= set(offered)
    [offered] = ask(directory, ["pyoci --log-level debug cre"])
    assert offered == ["create"]


@pytest.mark.parametrize("ask", [from_bash, from_fish])
def test_every_flag_is_offered_where_it_belongs_and_no_other(directory: Path, ask: Ask) -> None:
    lines = ["pyoci --", *(f"pyoci {command.name} --" for command in COMMANDS)]
    owned = [GLOBAL_FLAGS, *((*command.flags, HELP) for command in COMMANDS)]
    for line, flags, offered in zip(lines, owned, ask(directory, lines), strict=True):
        assert {word for word in offered if word.startswith("--")} == long(flags), line


@pytest.mark.parametrize("ask", [from_bash, from_fish])
def test_values_are_offered(directory: Path, ask: Ask) -> None:
    lines = {
        "pyoci --log-format ": {"text", "json"},
        "pyoci list --format ": {"table", "json"},
        "pyoci list -f t": {"table"},
        "pyoci start ": {"box"},
        "pyoci --root /r start ": {"box-in-/r"},
        "pyoci help ex": {"exec"},
        "pyoci create --bundle b": {"bundle"},
        "pyoci create --pid-file f": {"file"},
        "pyoci trace f": {"file"},
    }
    offered = ask(directory, list(lines))
    assert [{word.rstrip("/") for word in words} for words in offered] == list(lines.values())


def test_bash_knows_the_words_on_both_sides_of_an_equals_sign(directory: Path) -> None:
    # Readline makes three words of --flag=value.
    lines = ["pyoci --log-format = j", "pyoci --root = /r state ", "pyoci --log-format =", "pyoci list x "]
    assert from_bash(directory, lines) == [["json"], ["box-in-/r"], ["text", "json"], []]


# Control-X prints the line that is being edited.
ZSH = """\
fpath=({directory} $fpath); autoload -U compinit; compinit -u -d {directory}/dump
shown() {{ print -r -- "<$BUFFER>" }}; zle -N shown; bindkey '^X' shown; PS1='rea''dy> '
"""


@pytest.fixture
def zsh(directory: Path) -> Iterator[int]:
    """The terminal of an interactive zsh that completes."""
    program = shell("zsh")
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(directory / "place")
        os.execve(program, ["zsh", "-f", "-i"], environment(directory))
    os.write(terminal, ZSH.format(directory=directory).encode())
    said(terminal, b"ready> ")
    yield terminal
    os.close(terminal)
    os.waitpid(pid, 0)


def said(terminal: int, awaited: bytes) -> str:
    """What is written until then."""
    text, deadline = b"", time.monotonic() + 10
    while awaited not in text and time.monotonic() < deadline:
        if select.select([terminal], [], [], 0.5)[0]:
            text += os.read(terminal, 4096)
    assert awaited in text, text
    return text.decode(errors="replace")


@pytest.mark.parametrize(
    ("typed", "completed"),
    [
        ("pyoci cre", "create "),
        ("pyoci create --bun", "--bundle "),
        ("pyoci create --bundle b", "bundle/"),
        ("pyoci kill --a", "--all "),
        ("pyoci list --format t", "table "),
        ("pyoci delete b", "box "),
        ("pyoci --root /r delete b", "box-in-/r "),
        ("pyoci help fea", "features "),
        ("pyoci trace f", "file "),
    ],
)
def test_zsh_completes(zsh: int, typed: str, completed: str) -> None:
    os.write(zsh, f"{typed}\t\x18".encode())
    said(zsh, f"<{typed.rpartition(' ')[0]} {completed}>".encode())


def test_zsh_has_every_command_and_flag(directory: Path) -> None:
    subprocess.run([shell("zsh"), "-n", directory / "_pyoci"], check=True)
    text = (directory / "_pyoci").read_text()
    for command in COMMANDS:
        part = text.partition(f"\n    {command.name})\n")[2].partition(";;")[0]
        for flag in (*command.flags, HELP):
            assert all(word in part for word in completions.words((flag,))), (command.name, flag.name)
    for flag in GLOBAL_FLAGS:
        assert f"--{flag.name}" in text.partition("_arguments -C")[2].partition("[[ $state")[0]
