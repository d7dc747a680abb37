"""The manual pages say all that the table of options says, and man(1) has nothing to complain about."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from pyoci.cli import manual
from pyoci.cli.options import COMMANDS, GLOBAL_FLAGS, HELP, LIST, Command, Flag

PAGES = manual.pages()


def read(name: str) -> str:
    """A page as a reader sees it, blanks and hyphens made plain."""
    if shutil.which("groff") is None:
        pytest.skip("the host has no groff(1)")
    # -ww: all warnings. A page of any width: no word is cut.
    command = ["groff", "-ww", "-man", "-Tascii", "-P-c", "-rLL=2000n", "-rHY=0"]
    shown = subprocess.run(command, input=PAGES[name], capture_output=True, text=True, check=True)
    assert shown.stderr == ""

    return " ".join(re.sub(".\b", "", shown.stdout).split())


def told(flag: Flag, text: str) -> bool:
    spelling = f"--{flag.name}" + (f" {flag.metavar}" if flag.metavar else "")
    short = f"-{flag.short}, " if flag.short else ""
    return f"{short}{spelling} {flag.help[0].upper()}{flag.help[1:]}." in text


def test_there_is_a_page_for_pyoci_and_for_each_command() -> None:
    assert set(PAGES) == {"pyoci.1", *(f"pyoci-{command.name}.1" for command in COMMANDS)}


def test_the_page_of_pyoci_has_every_command_and_every_global_flag() -> None:
    text = read("pyoci.1")
    for command in COMMANDS:
        assert f"pyoci-{command.name}(1) {command.summary}." in text
    for flag in GLOBAL_FLAGS:
        assert told(flag, text), flag.name


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_the_page_of_a_command_has_its_arguments_and_every_flag(command: Command) -> None:
    text = read(f"pyoci-{command.name}.1")
    assert f"SYNOPSIS pyoci {command.name} " in text
    assert " ".join(command.positionals) in text
    for flag in (*command.flags, HELP):
        assert told(flag, text), flag.name
        assert all(choice in text for choice in flag.choices)
    assert ("May be given several times" in text) == any(flag.kind is LIST for flag in command.flags)


def test_a_line_that_begins_with_a_dot_is_text() -> None:
    assert manual._text(".hidden -x it's \\n") == "\\&.hidden \\-x it\\(aqs \\en"


def test_make_man_writes_the_pages(tmp_path: Path) -> None:
    root = Path(__file__).resolve().parents[3]
    command = [str(root / ".venv/bin/python"), "-m", "pyoci.cli.manual", str(tmp_path / "man")]
    subprocess.run(command, check=True, cwd=root)
    assert {file.name: file.read_text() for file in (tmp_path / "man").iterdir()} == PAGES


def test_the_readme_speaks_of_every_command() -> None:
    rows = (Path(__file__).resolve().parents[3] / "README.md").read_text().split("\n| ")
    told = {name for row in rows for name in re.findall(r"`([a-z]+)`", row.partition(" | ")[0])}
    assert told >= {command.name for command in COMMANDS}
