"""JSON without the json module, whose import (it pulls in re) costs more than all that a command does with it."""

import _json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

_BLANKS = " \t\n\r"
_c: "Any" = _json  # typeshed has its functions or not, depending on its age


def _refuse(value: object) -> object:
    raise TypeError(f"not JSON: {value!r}")


_encode = _c.make_encoder(None, _refuse, _c.encode_basestring_ascii, None, ":", ",", False, False, False)


def dump(value: object) -> str:
    """The value as compact JSON, in ASCII."""
    return "".join(_encode(value, 0))


def pretty(value: object, indent: str = "") -> str:
    """The value as JSON for people: two blanks a level, as runc prints it."""
    inner = indent + "  "
    if isinstance(value, dict) and value:
        members = [f"{inner}{dump(name)}: {pretty(member, inner)}" for name, member in value.items()]
        return "{\n" + ",\n".join(members) + f"\n{indent}}}"
    if isinstance(value, list) and value:
        return "[\n" + ",\n".join(inner + pretty(member, inner) for member in value) + f"\n{indent}]"
    return dump(value)


def _refuse_constant(text: str) -> "NoReturn":
    raise ValueError(text)  # NaN, Infinity: Python's, not JSON's


def _finite(text: str) -> float:
    value = float(text)
    if value - value != 0:
        raise ValueError(text)  # 1e999
    return value


def _object(members: "list[tuple[str, Any]]") -> "dict[str, Any]":
    value = dict(members)
    if len(value) != len(members):
        raise ValueError("duplicate name")
    return value


class _Dialect:
    """What the C scanner wants to know; it reads these off its argument."""

    strict = True
    object_hook = None
    object_pairs_hook = _object
    parse_float = _finite
    parse_int = int
    parse_constant = _refuse_constant


_scan = _c.make_scanner(_Dialect)


def parse(raw: bytes, name: str, *, surrogates: bool = False) -> "Any":
    """The value of a JSON text (RFC 8259): UTF-8 without a mark, no duplicate names, finite numbers.

    Arguments:
        raw: the text.
        name: what it is called in messages.
        surrogates: take lone ones, which stand for the bytes of paths that aren't UTF-8 in what we wrote ourselves.

    Raises:
        Error: it isn't such a text; says where, as name:line:column.
    """
    try:
        text = raw.decode()
        value, end = _scan(text, len(text) - len(text.lstrip(_BLANKS)))
        # Escaped surrogates without their other half can't be told from pairs here, and are rare.
        if not text[end:].strip(_BLANKS) and (surrogates or (b"\\ud" not in raw and b"\\uD" not in raw)):
            return value
    except (ValueError, StopIteration, RecursionError, SystemError):
        # SystemError: before Python 3.12 the scanner can't raise its own error unless json is imported.
        value = None
    from pyoci.spec import positions

    positions.check(raw, name)
    return value
