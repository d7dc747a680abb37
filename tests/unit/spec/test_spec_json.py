"""jsontext.parse, and the slow reader that explains its refusals and finds places."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyoci import jsontext
from pyoci.errors import Error
from pyoci.spec import positions
from pyoci.spec.rules import escape

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=6) | st.sampled_from(
    ["a/b", "~", "~1", '"', "\\"]
)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)

BOUNDED = settings(max_examples=300, deadline=None)


def reference(raw: bytes) -> Any:
    """What the json module makes of a text, with what pyoci refuses refused; raises ValueError."""

    def refuse(text: str) -> Any:
        raise ValueError(text)

    def unique(members: list[tuple[str, Any]]) -> dict[str, Any]:
        if len(dict(members)) != len(members):
            raise ValueError("duplicate")
        return dict(members)

    def finite(text: str) -> float:
        return float(text) if math.isfinite(float(text)) else refuse(text)

    value = json.loads(raw.decode(), parse_constant=refuse, parse_float=finite, object_pairs_hook=unique)
    json.dumps(
        value, ensure_ascii=False
    ).encode()  # half a surrogate pair: UnicodeEncodeError is a ValueError
    return value


def outcome(function: Any, *arguments: Any) -> Any:
    """The value that a function returns as text, so that 1 and 1.0 differ, or None if it refuses."""
    try:
        return repr(function(*arguments))
    except (Error, ValueError, RecursionError):
        return None


@BOUNDED
@given(VALUES, st.sampled_from([None, 1, "\t"]), st.booleans())
def test_parse_reads_what_json_writes(value: Any, indent: Any, ascii_only: bool) -> None:
    raw = json.dumps(value, indent=indent, ensure_ascii=ascii_only).encode()
    assert repr(jsontext.parse(raw, "x")) == repr(value)
    assert repr(positions.check(raw, "x")) == repr(value)


FRAGMENTS = st.sampled_from(
    [
        '"',
        ",",
        ":",
        "{",
        "}",
        "[",
        "]",
        "\\",
        "\\u",
        "\\ud83d\\ude00",
        "\\ud800",
        "0",
        "-",
        ".5",
        "e9",
        "1e999",
    ]
    + [
        "NaN",
        "-Infinity",
        "null",
        "true",
        "tru",
        " ",
        "\n",
        "\x00",
        "\x0b",
        "\xa0",
        "'a'",
        "//",
        '"a":1,',
        "\ufeff",
    ]
)


@st.composite
def broken_texts(draw: st.DrawFn) -> bytes:
    """JSON with a few pieces cut out or put in."""
    text = json.dumps(draw(VALUES), ensure_ascii=draw(st.booleans()))
    for _ in range(draw(st.integers(0, 3))):
        start = draw(st.integers(0, len(text)))
        end = min(len(text), start + draw(st.integers(0, 3)))
        text = text[:start] + draw(st.just("") | FRAGMENTS) + text[end:]
    raw = text.encode()
    if draw(st.integers(0, 9)) == 0:
        start = draw(st.integers(0, len(raw)))
        raw = (
            raw[:start]
            + draw(st.sampled_from([b"\xff", b"\xc3", b"\xed\xa0\x80", b"\xc0\x80"]))
            + raw[start:]
        )
    return raw


@settings(max_examples=1000, deadline=None)
@given(broken_texts())
def test_both_readers_refuse_what_is_not_json(raw: bytes) -> None:
    expected = outcome(reference, raw)
    assert outcome(jsontext.parse, raw, "x") == expected
    assert outcome(positions.check, raw, "x") == expected


MISTAKES = {
    "empty": (b"", "1:1: there is nothing in this file"),
    "blank": (b" \n ", "1:1: there is nothing in this file"),
    "mark": (b"\xef\xbb\xbf{}", "1:1: a value must be here: it is a byte order mark"),
    "UTF-16": ("{}".encode("utf-16"), "1:1: this isn't UTF-8 (byte 0xff)"),
    "Latin-1": (b'{\n "a": "\xe4"}', "2:8: this isn't UTF-8 (byte 0xe4)"),
    "after a wide character": ('{"ä": "ä'.encode() + b"\xff", "1:9: this isn't UTF-8"),
    "trailing comma": (b'{"a": 1,\n}', "1:8: there must be no comma before }"),
    "trailing comma in an array": (b"[1 ,]", "1:4: there must be no comma before ]"),
    "no comma": (b'{"a": 1\n "b": 2}', '2:2: a comma is missing: it is "'),
    "no colon": (b'{"a" 1}', "1:6: a colon must be here: it is 1"),
    "no value": (b'{"a": }', "1:7: a value must be here: it is }"),
    "no name": (b"{a: 1}", "1:2: a name in double quotes must be here: it is a"),
    "no end": (b'{\n"a": [1', "2:8: the text ends inside the array of line 2 (] is missing)"),
    "the wrong end": (b'{"a": [1}', "1:9: a comma or ] must be here: it is }"),
    "single quotes": (
        b"{'a': 1}",
        "1:2: a name in double quotes must be here: it is ' (JSON has double quotes",
    ),
    "a comment": (b'{\n  // x\n "a": 1}', "2:3: a name in double quotes must be here: it is a comment"),
    "garbage after the end": (b"{}\n{}", "2:1: the text goes on after its end: it is {"),
    "NaN": (b"[NaN]", "1:2: a value must be here: it is NaN"),
    "infinity": (b"[-Infinity]", "1:2: a value must be here: it is -Infinity"),
    "a large number": (b"[1e999]", "1:2: the number 1e999 is too large"),
    "a long number": (b"[" + b"1" * 5000 + b"]", "1:2: this number has too many digits (5000)"),
    "a leading zero": (b"[01]", "1:3: a comma is missing: it is 1"),
    "a name twice": (b'{"a": 1,\n "a": 2}', '2:2: the name "a" is given twice'),
    "a name twice, deep": (b'[{"b": {"a": 1, "\\u0061": 2}}]', '1:17: the name "a" is given twice'),
    "an open string": (b'{"a', "1:2: this string has no end"),
    "a line break in a string": (b'["a\nb"]', "1:4: a string can't have a control character in it"),
    "an unknown escape": (b'["\\x"]', "1:3: there is no such escape"),
    "a short escape": (b'["\\u12"]', "1:4: \\u must be followed by four hexadecimal digits"),
    "half a pair": (b'["\\ud83d"]', "1:2: this string has half of a surrogate pair"),
    "deep": (b"[" * 100000, "1:501: this is nested more than 500 levels deep"),
    "deep objects": (b'{"a":' * 100000, "1:2501: this is nested more than 500 levels deep"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_has_a_place_and_a_reason(mistake: str) -> None:
    raw, message = MISTAKES[mistake]
    with pytest.raises(Error) as caught:
        jsontext.parse(raw, "config.json")
    assert str(caught.value).startswith(f"config.json:{message}")
    assert "\n" not in str(caught.value)


def test_a_pair_of_escaped_surrogates_is_one_character() -> None:
    assert jsontext.parse(b'"\\ud83d\\ude00"', "x") == "\U0001f600"


@st.composite
def laid_out(draw: st.DrawFn) -> tuple[str, dict[str, int]]:
    """A JSON text with blanks in all sorts of places, and where each value begins, by pointer."""
    blanks = st.sampled_from(["", "", " ", "\n", "\r\n\t", "\n\n  "])
    places: dict[str, int] = {}
    text = ""

    def write(value: Any, pointer: str) -> None:
        nonlocal text
        text += draw(blanks)
        places[pointer] = len(text)
        if not isinstance(value, (dict, list)):
            text += json.dumps(value, ensure_ascii=False)
            return
        members = value.items() if isinstance(value, dict) else enumerate(value)
        text += "{" if isinstance(value, dict) else "["
        for i, (name, member) in enumerate(members):
            text += ("," if i else "") + draw(blanks)
            if isinstance(value, dict):
                text += json.dumps(name, ensure_ascii=False) + draw(blanks) + ":"
            write(member, f"{pointer}/{escape(str(name))}")
            text += draw(blanks)
        text += draw(blanks) + ("}" if isinstance(value, dict) else "]")

    write(draw(VALUES), "")
    return text + draw(blanks), places


@BOUNDED
@given(laid_out())
def test_locate_finds_every_value(example: tuple[str, dict[str, int]]) -> None:
    text, places = example
    for pointer, offset in places.items():
        line = len(text[:offset].split("\n"))
        column = len(text[:offset].split("\n")[-1]) + 1
        assert positions.locate(text.encode(), pointer) == (line, column)


def test_locate_gives_the_nearest_parent_of_what_is_missing() -> None:
    raw = b'{\n "linux": {\n  "resources": {}\n }\n}'
    assert positions.locate(raw, "/linux/resources/memory/limit") == (3, 16)
    assert positions.locate(raw, "/linux/namespaces/0/type") == (2, 11)
    assert positions.locate(raw, "/root") == (1, 1)


def test_locate_works_at_any_depth_that_parse_takes() -> None:
    raw = b"[" * 700 + b"]" * 700
    assert jsontext.parse(raw, "x")
    assert positions.locate(raw, "/0" * 699) == (1, 700)
