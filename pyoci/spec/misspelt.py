"""Properties that nobody knows, but whose names are like one that somebody does: a protection that isn't there.

The specification wants unknown properties ignored, so these are warnings. Imported only when the validator has seen one.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

from pyoci.spec import schema
from pyoci.spec.positions import Positions, printable, shorten
from pyoci.spec.rules import escape

# What a property of another place is called here: (where, its name).
INSTEAD = {
    ("/mounts/*", "readonly"): 'a mount has "ro" in its options for that',
    ("/mounts/*", "rootfsPropagation"): "a mount has its propagation in its options",
}
ROOTS = {"": "", "process": "/process"}


def warnings(value: Any, raw: bytes | None, name: str, definition: str = "") -> list[str]:
    """A line for each, in the order of the file.

    Arguments:
        value: the parsed configuration, valid or not.
        raw: its text, for the line numbers; without it there are none.
        name: how the file is called.
        definition: which part of a configuration the value is: "" for all of it, or "process".
    """
    found = list(misspelt(value, definition))
    positions = Positions(raw) if raw and found else None
    lines = []
    for pointer, message in found:
        line = f":{positions.locate(pointer)[0]}" if positions else ""
        lines.append(f"{name}{line}: {printable(pointer)}: {message}")
    return lines


def misspelt(value: Any, definition: str = "") -> Iterator[tuple[str, str]]:
    """The pointer of each such property, and what is wrong with it."""
    definitions = _config()["$defs"]
    rules = definitions[definition] if definition else _config()
    waiting = [(value, rules, "", ROOTS[definition])]
    while waiting:
        each, rules, pointer, place = waiting.pop(0)
        while "$ref" in rules:
            rules = definitions[rules["$ref"].rpartition("/")[2]]
        inner = []
        if isinstance(each, list) and "items" in rules:
            inner = [(member, rules["items"], str(i), "*") for i, member in enumerate(each)]
        elif isinstance(each, dict) and "additionalProperties" in rules:
            inner = [(member, rules["additionalProperties"], key, "*") for key, member in each.items()]
        elif isinstance(each, dict) and "properties" in rules:
            known = rules["properties"]
            inner = [(member, known[key], key, key) for key, member in each.items() if key in known]
            for key, member in each.items():
                if member is not None and key not in known and key not in rules.get("others", ()):
                    message = _about(key, known, place)
                    if message:
                        yield f"{pointer}/{escape(key)}", message
        waiting[:0] = [
            (member, below, f"{pointer}/{escape(key)}", f"{place}/{step}")
            for member, below, key, step in inner
        ]


def _about(name: str, here: dict[str, Any], place: str) -> str:
    """What to say of an unknown property; "" if it is like no other."""
    ignored = f'there is no "{shorten(name)}" here, so it is ignored'
    near = _nearest(name, here, far=True)
    if near:
        return f'{ignored}; did you mean "{near}"?'
    near = _nearest(name, _places(), far=False)
    if not near:
        return ""
    instead = INSTEAD.get((place, near)) or f'"{near}" is a property of {_places()[near]}'
    return f"{ignored}; {instead}"


def _nearest(name: str, known: dict[str, Any], *, far: bool) -> str:
    """The known name that is nearest to another one, "" if none is near.

    Arguments:
        far: longer names may differ in more than one place.
    """
    best, least = "", 99
    for each in known:
        allowed = 2 if far and len(each) > 6 else 1 if far or len(each) > 4 else 0
        if abs(len(each) - len(name)) <= allowed:
            distance = _distance(_plain(name), _plain(each))
            if distance <= allowed and distance < least:
                best, least = each, distance
    return best


def _plain(name: str) -> str:
    """Without what is a matter of taste. `read_only` has one character more, which counts."""
    return name.lower().replace("_", "").replace("-", "")


def _distance(one: str, other: str) -> int:
    """How many letters must be added, left out, replaced, or swapped with their neighbours."""
    before: list[int] = []
    row = list(range(len(other) + 1))
    for i, letter in enumerate(one, 1):
        before, above, row = row, before, [i]
        for j, wanted in enumerate(other, 1):
            cost = min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (letter != wanted))
            if i > 1 and j > 1 and letter == other[j - 2] and one[i - 2] == wanted:
                cost = min(cost, above[j - 2] + 1)
            row.append(cost)
    return row[-1]


@cache
def _config() -> dict[str, Any]:
    return schema.combined("config")


@cache
def _places() -> dict[str, str]:
    """Every name of a property, and the first place that has it: a JSON pointer with * for what is any."""
    found: dict[str, str] = {}
    definitions = _config()["$defs"]
    waiting: list[tuple[dict[str, Any], str]] = [(_config(), "")]
    while waiting:
        rules, place = waiting.pop(0)
        while "$ref" in rules:
            rules = definitions[rules["$ref"].rpartition("/")[2]]
        for name, below in rules.get("properties", {}).items():
            found.setdefault(name, place or "the whole config")
            waiting.append((below, f"{place}/{name}"))
        for keyword in ("items", "additionalProperties"):
            if keyword in rules:
                waiting.append((rules[keyword], f"{place}/*"))
    return found
