"""docs/demo.md is true: each of its commands is run, and prints what the page says."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

import pytest

from conformance.bundles import static_busybox
from conformance.fixtures import REPOSITORY
from conformance.runtime import Runtime

PAGE = REPOSITORY / "docs/demo.md"
PLACEHOLDERS = {
    "<pid>": r"\d+",
    "<number>": r"\d+",
    "<time>": r"[\dT:.Z-]+",
    "<directory>": r"/\S+",
    "<bar>": "[▏▎▍▌▋▊▉█]+",
}
Step = tuple[str, list[str]]


def steps(page: str) -> list[Step]:
    """Each command of the page's sessions, and the lines that it prints."""
    found: list[Step] = []
    for block in re.findall(r"^```console\n(.*?)^```$", page, re.MULTILINE | re.DOTALL):
        for line in block.splitlines():
            if line.startswith("$ "):
                found.append((line[2:], []))
            else:
                found[-1][1].append(line)
    return found


def is_as_told(told: list[str], printed: str) -> bool:
    """Whether the text is what the lines say, placeholders and "..." aside."""
    pattern = "".join(r"(?:.*\n)*?" if line == "..." else _line(line) + "\n" for line in told)
    return re.fullmatch(pattern, "".join(f"{_plain(line)}\n" for line in printed.splitlines())) is not None


def _plain(line: str) -> str:
    return " ".join(line.split())


def _line(told: str) -> str:
    parts = re.split(r"(<[a-z]+>|\.\.\.)", _plain(told))
    return "".join(PLACEHOLDERS.get(part) or (".*" if part == "..." else re.escape(part)) for part in parts)


def run_session(commands: list[str], directory: Path, environment: dict[str, str]) -> list[str]:
    """What each command prints, all of them by one shell; to files, as a container keeps what it inherits open."""
    session = directory / "session"
    session.mkdir()
    script = "".join(
        f"{{ {command}\n}} >{shlex.quote(f'{session}/{i}')} 2>&1 </dev/null\n"
        for i, command in enumerate(commands)
    )
    subprocess.run(["bash", "-c", script], cwd=directory, env=environment, timeout=120, check=True)
    return [(session / str(i)).read_text() for i in range(len(commands))]


def test_the_demo_prints_what_it_says(pyoci: Runtime, tmp_path: Path) -> None:
    if static_busybox() is None:
        pytest.skip("the host has no statically linked busybox")
    program = tmp_path / "bin/pyoci"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {shlex.join(pyoci.command)} "$@"\n')
    program.chmod(0o755)
    session = steps(PAGE.read_text())
    environment = {"PATH": f"{program.parent}:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8"}
    printed = run_session([command for command, _ in session], tmp_path, environment)
    wrong = [
        f"$ {command}\n{text}"
        for (command, told), text in zip(session, printed, strict=True)
        if not is_as_told(told, text)
    ]
    assert not wrong, "\n".join(wrong)


def test_the_demo_shows_the_commands_of_a_life() -> None:
    text = "\n".join(command for command, _ in steps(PAGE.read_text()))
    for name in ("create", "start", "state", "exec", "pause", "resume", "update", "events", "kill", "delete"):
        assert f"pyoci {name} " in text


@pytest.mark.parametrize(
    ("told", "printed", "true"),
    [
        (["a <pid>  b"], "a 12 b\n", True),
        (["a <pid>"], "a x\n", False),
        ([], "", True),
        ([], "something\n", False),
        (["something"], "", False),
        (["a", "...", "z"], "a\nb\nc\nz\n", True),
        (["a", "...", "z"], "a\nz\n", True),
        (["a", "...", "z"], "a\nz\ny\n", False),
        (["a ... c"], "a b c\n", True),
        (["a.c"], "abc\n", False),
    ],
)
def test_the_page_is_compared_line_by_line(told: list[str], printed: str, true: bool) -> None:
    assert is_as_told(told, printed) == true
