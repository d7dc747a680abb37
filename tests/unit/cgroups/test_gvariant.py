"""GVariant's text format: what is understood, and that all else is refused."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jeepney import DBusAddress, Parser, new_method_call

from pyoci.cgroups.gvariant import KEYWORDS, RANGES, parse

VALUES: dict[str, tuple[str, Any]] = {
    "true": ("b", True),
    "42": ("i", 42),
    "-0x10": ("i", -16),
    "017": ("i", 15),
    "1.5": ("d", 1.5),
    "1e3": ("d", 1000.0),
    "uint64 18446744073709551615": ("t", 2**64 - 1),
    "@u 7": ("u", 7),
    "byte 255": ("y", 255),
    "'it\\'s'": ("s", "it's"),
    '"a\\tb\\u00e9\\U0001F600"': ("s", "a\tb\u00e9\U0001f600"),
    "objectpath '/a/b'": ("o", "/a/b"),
    "signature 'a{sv}'": ("g", "a{sv}"),
    "b'bytes'": ("ay", b"bytes\0"),
    "[byte 1, 2]": ("ay", b"\1\2"),
    "[1, uint64 2]": ("at", [1, 2]),
    "[1, 2.5]": ("ad", [1.0, 2.5]),
    "@as []": ("as", []),
    "@a(ss) [('a', 'b')]": ("a(ss)", [("a", "b")]),
    "('a', uint32 1, true)": ("(sub)", ("a", 1, True)),
    "(1,)": ("(i)", (1,)),
    "<'x'>": ("v", ("s", "x")),
    "{'a': <1>, 'b': <'c'>}": ("a{sv}", {"a": ("i", 1), "b": ("s", "c")}),
    "@a{sv} {}": ("a{sv}", {}),
    "@(ab) ([],)": ("(ab)", ([],)),
    " [ 1 ,\n2 ] ": ("ai", [1, 2]),
}


@pytest.mark.parametrize("text", VALUES)
def test_a_value_has_a_type(text: str) -> None:
    assert parse(text) == VALUES[text]


@pytest.mark.parametrize(
    "text",
    [
        "", " ", "inactive", "1 2", "[1", "[1,]", "[,]", "[]", "{}", "()", "(1)", "(1,,)", "[1, 'a']", "[true, 1]",
        "byte 256", "byte -1", "uint32 4294967296", "2147483648", "int64 9223372036854775808", "--1", "+-1", "0x", "08",
        "1.2.3", "uint32 'a'", "uint32 1.5", "uint32 uint64 1", "@s 1", "@", "@q", "@a", "@() ()", "@a{vs} {}", "@mi 1",
        "nothing", "just 1", "'a", "'\\", "'\\u12'", "'\\ud800'", "'\\u0000'", "'\0'", "b'\u0100'", "<1", "{1: 2, 3}",
        "{[1]: 2}", "'a' b", "true1", "@(i (1,)", "[" * 40 + "1" + "]" * 40,
    ],
)  # fmt: skip
def test_what_is_no_value_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse(text)


def written(signature: str, value: Any) -> str:
    """The text of a value, its type said outright."""
    if signature in RANGES:
        return f"@{signature} {value}"
    if signature == "d":
        return f"@d {value!r}"
    if signature == "b":
        return "true" if value else "false"
    if signature == "s":
        return "'" + "".join(f"\\U{ord(char):08x}" for char in value) + "'"
    if signature == "v":
        return f"<{written(*value)}>"
    if signature[0] == "(":
        return (
            f"({', '.join(written(kind, item) for kind, item in zip(signature[1:-1], value, strict=True))})"
        )
    if signature.startswith("a{"):
        pairs = (f"{written(signature[2], k)}: {written(signature[3:-1], v)}" for k, v in value.items())
        return f"@{signature} {{{', '.join(pairs)}}}"
    return f"@{signature} [{', '.join(written(signature[1:], item) for item in value)}]"


SIMPLE: dict[str, st.SearchStrategy[Any]] = {
    **{kind: st.integers(low, high) for kind, (low, high) in RANGES.items()},
    "b": st.booleans(),
    "d": st.floats(allow_nan=False, allow_infinity=False),
    "s": st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=10),
}
SIMPLE_TYPED = st.sampled_from(sorted(SIMPLE)).flatmap(lambda kind: st.tuples(st.just(kind), SIMPLE[kind]))


def larger(inner: st.SearchStrategy[tuple[str, Any]]) -> st.SearchStrategy[tuple[str, Any]]:
    variants = inner.map(lambda typed: ("v", typed))
    arrays = st.sampled_from(sorted(SIMPLE)).flatmap(
        lambda kind: st.tuples(
            st.just("a" + kind), st.lists(SIMPLE[kind], max_size=4).map(bytes if kind == "y" else list)
        )
    )
    pairs = st.tuples(SIMPLE_TYPED, SIMPLE_TYPED).map(
        lambda two: (f"({two[0][0]}{two[1][0]})", (two[0][1], two[1][1]))
    )
    maps = st.dictionaries(SIMPLE["s"], inner, max_size=3).map(lambda found: ("a{sv}", found))
    return st.one_of(variants, arrays, pairs, maps)


def sent(value: tuple[str, Any]) -> bytes:
    """The value in a message of D-Bus."""
    return new_method_call(DBusAddress("/", "a.b", "a.b"), "Method", "v", (value,)).serialise(serial=1)


@given(st.recursive(SIMPLE_TYPED, larger, max_leaves=6))
def test_what_is_written_is_read_and_can_be_sent(typed: tuple[str, Any]) -> None:
    signature, value = typed
    read = parse(written(signature, value))
    assert read == (signature, value)
    parser = Parser()
    parser.add_data(sent(read))
    assert parser.get_next_message().body == (read,)


@given(st.text("[](){}<>@'\"\\,: \tabsvuti0159.-+xeU"))
def test_any_text_is_understood_or_refused(text: str) -> None:
    try:
        signature, value = parse(text)
    except ValueError:
        return
    if not (signature == "d" and math.isinf(value)):
        assert sent((signature, value))


@given(st.sampled_from(sorted(KEYWORDS)), st.integers(-(2**65), 2**65))
def test_a_number_fits_its_type_or_is_refused(keyword: str, number: int) -> None:
    kind = KEYWORDS[keyword]
    if kind in RANGES and RANGES[kind][0] <= number <= RANGES[kind][1]:
        assert parse(f"{keyword} {number}") == (kind, number)
    elif kind == "d":
        assert parse(f"{keyword} {number}") == ("d", float(number))
    else:
        with pytest.raises(ValueError, match=r"."):
            parse(f"{keyword} {number}")
