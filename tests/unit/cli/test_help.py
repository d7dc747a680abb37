"""The help texts say all that the table says, in columns that fit a terminal."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from pyoci.cli import help
from pyoci.cli.options import COMMANDS, GLOBAL_FLAGS, LIST, Command, Flag

REPOSITORY = Path(__file__).resolve().parents[3]
LONG = Command(
    "exec",
    "do something that takes very many words to be described " * 3 + "and ends",
    "ID [ARGUMENT...]",
    Flag(
        "env",
        "a variable of the program's environment, in as many words as it takes to say " * 2,
        "X",
        kind=LIST,
    ),
    stops=True,
)
TEXTS = [help.overview(), *(help.of(command) for command in (*COMMANDS, LONG))]


def words(text: str) -> str:
    return " ".join(text.split())


def test_the_overview_names_every_command_and_global_flag() -> None:
    text = words(help.overview())
    for command in COMMANDS:
        assert words(f"{command.name} {command.summary}") in text
    for flag in GLOBAL_FLAGS:
        assert f"--{flag.name}" in text
        assert words(flag.help) in text


@pytest.mark.parametrize("command", [*COMMANDS, LONG], ids=lambda command: command.name)
def test_the_help_of_a_command_names_its_flags_and_arguments(command: Command) -> None:
    text = words(help.of(command))
    assert words(" ".join(command.positionals)) in text
    assert "-h, --help" in text
    for flag in command.flags:
        assert f"--{flag.name}" in text
        assert words(flag.help) in text
        assert not flag.short or f"-{flag.short}, --{flag.name}" in text
        for choice in flag.choices:
            assert choice in text


def test_defaults_and_repetition_are_told() -> None:
    create = words(next(help.of(command) for command in COMMANDS if command.name == "create"))
    assert "the bundle's directory (default: .)" in create
    assert "(default: 0)" in create
    assert "None" not in create
    assert "; may be given several times" in words(help.of(LONG))
    assert "()" not in help.of(LONG)


def test_a_command_that_is_not_there_yet_is_marked() -> None:
    for command in COMMANDS:
        assert ("not supported yet" in help.of(command)) == (command.function is None)


@pytest.mark.parametrize("text", TEXTS)
def test_lines_fit_a_terminal_and_columns_are_aligned(text: str) -> None:
    lines = text.split("\n")
    assert max(map(len, lines)) <= help.WIDTH <= 100
    assert not any(line != line.rstrip() for line in lines)
    flags = [line for line in lines if line.startswith(("  -", "      --"))]
    assert len({line.index("--") for line in flags}) == 1


@pytest.mark.parametrize(
    ("words", "first"),
    [
        ([], "pyoci runs OCI containers from bundles."),
        (["--help"], "pyoci runs OCI containers from bundles."),
        (["help"], "pyoci runs OCI containers from bundles."),
        (["help", "kill"], "Send a signal (default: TERM) to a container's process."),
        (["kill", "x", "-h"], "Send a signal (default: TERM) to a container's process."),
    ],
)
def test_the_command_prints_help_and_succeeds(words: list[str], first: str) -> None:
    run = subprocess.run(
        [sys.executable, "-IS", str(REPOSITORY / "pyoci/__main__.py"), *words], capture_output=True, text=True
    )
    assert (run.returncode, run.stderr) == (0, "")
    assert run.stdout.split("\n")[0] == first
