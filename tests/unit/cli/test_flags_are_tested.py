"""Every flag of every command is used by a test: one that no test uses is not known to work.

A test uses a flag of a command if both words are in the same function or in what it names of its module, where
`pyoci.create(...)` counts for "create". What only reads command lines (tests/unit/cli) doesn't count.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from pyoci.cli.options import COMMANDS, GLOBAL_FLAGS, Flag

REPOSITORY = Path(__file__).resolve().parents[3]
# The methods of conformance/runtime.py that run a command by another name.
METHODS = {"create": "create", "launch": "create", "output": "create", "run": "run", "state": "state"}


def words(source: str) -> Iterator[set[str]]:
    """For each function of a module: its words and the commands that it runs, and those of what it names in the module."""
    tree = ast.parse(source)
    named: dict[str, ast.stmt] = {}
    for statement in tree.body:
        if isinstance(statement, ast.FunctionDef):
            named[statement.name] = statement
        elif isinstance(statement, (ast.Assign, ast.AnnAssign)):
            targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
            named.update({target.id: statement for target in targets if isinstance(target, ast.Name)})
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            yield _words(node, named)


def _words(statement: ast.stmt, named: dict[str, ast.stmt]) -> set[str]:
    found: set[str] = set()
    waiting, seen = [statement], {id(statement)}
    while waiting:
        for node in ast.walk(waiting.pop()):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.update(word.partition("=")[0] for word in node.value.split())
            elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                found.add(METHODS.get(node.func.attr, ""))
            elif isinstance(node, ast.Name) and node.id in named and id(named[node.id]) not in seen:
                waiting.append(named[node.id])
                seen.add(id(named[node.id]))
    return found


def is_used(flag: Flag, command: str, functions: list[set[str]]) -> bool:
    """Whether a function uses the flag with the command; "" for a global flag, which goes with any."""
    spellings = {f"--{flag.name}", f"-{flag.short}" if flag.short else ""} - {""}
    return any(spellings & found and (not command or command in found) for found in functions)


@pytest.fixture(scope="module")
def functions() -> list[set[str]]:
    """The words of each function of the tests that run commands."""
    files = [*(REPOSITORY / "tests").rglob("test_*.py"), *(REPOSITORY / "conformance").glob("*.py")]
    running = [file for file in files if file.parent != Path(__file__).resolve().parent]
    return [found for file in running for found in words(file.read_text())]


OWNED = [("", flag) for flag in GLOBAL_FLAGS] + [
    (command.name, flag) for command in COMMANDS for flag in command.flags
]


@pytest.mark.parametrize(("command", "flag"), OWNED, ids=lambda value: getattr(value, "name", value))
def test_every_flag_is_used_by_a_test(command: str, flag: Flag, functions: list[set[str]]) -> None:
    where = f"of {command}" if command else "before the command"
    assert is_used(flag, command, functions), f"no test uses --{flag.name} {where}"


def test_a_flag_that_no_test_uses_is_found_out() -> None:
    source = (
        "def test_one(pyoci):\n    pyoci('start', '--detach')\n"
        "def test_two(pyoci):\n    pyoci.run('x', '-f')\n"
        "FLAGS = ['--log=x', '-q']\n"
        "def test_three(pyoci):\n    helper(pyoci, FLAGS)\n"
        "def helper(pyoci, flags):\n    pyoci('list', *flags)\n"
    )
    functions = list(words(source))
    detach, force, log = Flag("detach", ""), Flag("force", "", short="f"), Flag("log", "", "FILE")
    assert is_used(detach, "start", functions)
    assert not is_used(detach, "run", functions)
    assert is_used(force, "run", functions)
    assert not is_used(force, "start", functions)
    assert is_used(log, "", functions)
    assert is_used(Flag("quiet", "", short="q"), "list", functions)
    assert not is_used(Flag("quiet", "", short="q"), "kill", functions)
    assert not is_used(Flag("debug", ""), "", functions)
