"""Every statement has its tests, or says why not."""

from __future__ import annotations

from pathlib import Path

import pytest

from . import statements
from .conftest import COVERED

FILES = {path.name for path in Path(__file__).parent.glob("test_*.py")}


def test_every_statement_is_shown_by_a_test_or_says_why_not(request: pytest.FixtureRequest) -> None:
    collected = {
        item.path.name for item in request.session.items if item.path.parent == Path(__file__).parent
    }
    if request.config.getoption("keyword") or request.config.getoption("markexpr"):
        collected = FILES
    if missing := FILES - collected:
        pytest.skip(f"only a part of the tests was collected: without {', '.join(sorted(missing))}")
    lines = list(statements.gaps(statements.read(), request.config.stash[COVERED]))
    assert not lines, "\n" + "\n".join(lines)


def test_gaps_are_found() -> None:
    complete = {"id": "a", "section": "s", "duty": "d", "error": "e"}
    both = {"shows": {"a"}, "refuses": {"a"}}
    assert list(statements.gaps({"a": complete}, both)) == []
    assert len(list(statements.gaps({"a": complete}, {"shows": set(), "refuses": set()}))) == 2
    assert len(list(statements.gaps({}, both))) == 2
    assert len(list(statements.gaps({"a": {"id": "a"}}, both))) == 2
    assert len(list(statements.gaps({"a": complete | {"unshown": "why"}}, both))) == 1
