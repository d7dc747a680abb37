"""The specification's statements (statements.toml), and which tests stand for each.

A test that shows a statement's duty done is marked `@pytest.mark.shows("ID", ...)`, one that shows its error
`@pytest.mark.refuses("ID", ...)`.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

TABLE = Path(__file__).with_name("statements.toml")
# Every statement has these ...
NEEDED = {"id", "section", "duty"}
# ... and one of each pair: what the error is, or why there is none; tests, or why there can't be any.
OPTIONAL = {"error", "no_error", "unshown", "error_unshown"}
MARKERS = {
    "shows": "shows(ID, ...): the duty of these statements of statements.toml is done",
    "refuses": "refuses(ID, ...): what these statements of statements.toml forbid is an error",
}


def read() -> dict[str, dict[str, str]]:
    """The statements by id."""
    listed = tomllib.loads(TABLE.read_text())["statement"]
    statements = {entry["id"]: entry for entry in listed}
    assert len(statements) == len(listed), "statements.toml has an id twice"
    return statements


def marked(items: Iterable[pytest.Item]) -> dict[str, set[str]]:
    """For each marker the ids that tests carry."""
    found: dict[str, set[str]] = {name: set() for name in MARKERS}
    for item in items:
        for name, ids in found.items():
            for marker in item.iter_markers(name):
                ids.update(marker.args)
    return found


def gaps(statements: dict[str, dict[str, str]], tests: dict[str, set[str]]) -> Iterator[str]:
    """What is wrong with the table, and what no test stands for, a line each."""
    for marker, ids in tests.items():
        yield from (f"{marker}({each!r}): statements.toml has no such id" for each in ids - statements.keys())
    for name, entry in statements.items():
        if not entry.keys() >= NEEDED or entry.keys() - NEEDED - OPTIONAL:
            yield f"{name}: has {sorted(entry)}, not {sorted(NEEDED)} and some of {sorted(OPTIONAL)}"
        if ("error" in entry) == ("no_error" in entry):
            yield f"{name}: needs either `error`, or `no_error` with the reason"
        if (name in tests["shows"]) == ("unshown" in entry):
            yield f"{name}: needs a test that shows it, or `unshown` with the reason why there is none"
        if "error" in entry and (name in tests["refuses"]) == ("error_unshown" in entry):
            yield f"{name}: needs a test of its error, or `error_unshown` with the reason"
