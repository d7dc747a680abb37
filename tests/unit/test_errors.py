"""What people are told of an error of the system's."""

from __future__ import annotations

import re
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

import pyoci
from pyoci.errors import cause_of

PACKAGE = Path(pyoci.__file__).parent


def too_long() -> None:
    with socket.socket(socket.AF_UNIX) as unix:
        unix.connect("x" * 200)


def late() -> None:
    raise TimeoutError


@pytest.mark.parametrize(
    ("fail", "kind", "said"),
    [
        (Path("/no/such").read_text, FileNotFoundError, "No such file or directory"),
        (too_long, OSError, "AF_UNIX path too long"),
        (late, TimeoutError, "TimeoutError"),
    ],
)
def test_there_is_always_a_cause(fail: Callable[[], object], kind: type[OSError], said: str) -> None:
    with pytest.raises(kind) as caught:
        fail()
    assert cause_of(caught.value) == said


def test_no_message_asks_an_error_for_what_it_may_not_have() -> None:
    """`strerror` is None for an error that Python has thought of: "can't send the terminal to /a/path: None"."""
    asking = re.compile(r"\b(?!posix\b|os\b)\w+\.strerror\b")
    found = [
        f"{path.relative_to(PACKAGE)}:{number}"
        for path in PACKAGE.rglob("*.py")
        if path.name != "errors.py"
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if asking.search(line)
    ]
    assert found == []
