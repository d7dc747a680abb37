"""How engines, which are written in Go, read what a runtime writes: stricter than Python in some places."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

# time.RFC3339, with a fraction as time.Parse takes it.
RFC3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")


def atoi(data: bytes) -> int:
    """strconv.Atoi: no blanks, no end of line."""
    assert re.fullmatch(rb"[+-]?[0-9]+", data), data
    return int(data)


def objects(text: str) -> list[dict[str, Any]]:
    """A json.Decoder in a loop: one value after the other, with or without blanks between them."""
    decoder, found, at = json.JSONDecoder(), [], 0
    while at < len(text.rstrip()):
        at += len(text[at:]) - len(text[at:].lstrip())
        value, at = decoder.raw_decode(text, at)
        assert isinstance(value, dict), value
        found.append(value)
    return found


def instant(text: Any) -> str:
    """A time.Time as encoding/json decodes it."""
    assert isinstance(text, str)
    assert RFC3339.fullmatch(text), text
    return text


def last_error(log: Path) -> str:
    """containerd's getLastRuntimeError, which is what the user is shown."""
    message = ""
    for entry in objects(log.read_text()):
        assert isinstance(entry["level"], str)
        assert isinstance(entry["msg"], str)
        instant(entry["time"])
        if entry["level"] == "error":
            message = entry["msg"].strip()
    assert message, "unable to retrieve OCI runtime error"
    return message


def container(state: dict[str, Any]) -> dict[str, Any]:
    """go-runc's Container: a value of another type is an error, a missing one is a zero."""
    for name in ("ociVersion", "id", "status", "bundle", "rootfs"):
        assert isinstance(state[name], str), name
    assert isinstance(state["pid"], int)
    instant(state["created"])
    annotations = state.get("annotations") or {}
    assert all(isinstance(text, str) for pair in annotations.items() for text in pair)
    return state


def unsigned(value: Any) -> None:
    """Every number of a value fits a uint64, as runc's and go-runc's Stats have them, but one."""
    if isinstance(value, dict):
        for name, each in value.items():
            if name != "sched_relax_domain_level":
                unsigned(each)
    elif isinstance(value, list):
        for each in value:
            unsigned(each)
    elif not isinstance(value, str | bool):
        assert isinstance(value, int | None), value
        assert 0 <= (value or 0) < 2**64, value
