"""JSON without the json module, whose import (it pulls in re) costs more than all that a command does with it."""

import _json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def _refuse(value: object) -> object:
    raise TypeError(f"not JSON: {value!r}")


_encode: "Any" = _json.make_encoder(
    None, _refuse, _json.encode_basestring_ascii, None, ":", ",", False, False, False
)


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
