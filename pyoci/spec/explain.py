"""Says everything that is wrong with a configuration, in words. Imported only once something is.

jsonschema finds what doesn't fit the schema, set up so that it agrees with the generated validator:

- a member whose value is null is absent, as it is to every runtime written in Go;
- an integer is a JSON number without a fraction or an exponent: 1.0 is none, and true isn't either;
- `format` is checked, by the functions of `formats`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from difflib import get_close_matches
from functools import cache
from typing import Any

from jsonschema import Draft202012Validator, FormatChecker
from jsonschema.exceptions import ValidationError
from jsonschema.validators import extend

from pyoci.errors import Problem
from pyoci.spec import formats, rules, schema
from pyoci.spec.positions import Positions, printable, shorten
from pyoci.spec.rules import escape

Found = Any
"""A ValidationError of jsonschema; its declared types allow for much that its instances here never are."""


def problems(value: Any, raw: bytes | None = None, root: str = "") -> list[Problem]:
    """Every problem of a configuration that isn't valid, one for each value, in the order of the file.

    Arguments:
        value: the parsed configuration.
        raw: its text, for the lines; without it the problems have none.
        root: which part of a configuration the value is: "" for all of it, or "/process" (a file for exec).
    """
    found: dict[str, str] = {}
    for error in sorted(validator("config", root[1:]).iter_errors(value), key=_rank):
        found.setdefault(root + _pointer(error), _message(error))
    config = {"process": value} if root else value
    if isinstance(config, dict):
        for pointer, message in rules.findings(config, list(found)):
            found.setdefault(pointer, message)
    if not found:
        found[root] = "isn't valid, but nothing says why (please report this: two validators must agree)"
    own = [(pointer.removeprefix(root), message) for pointer, message in found.items()]
    if raw is None:
        return [Problem(printable(pointer), message) for pointer, message in own]
    positions = Positions(raw)
    own.sort(key=lambda problem: positions.offset(problem[0]))
    return [Problem(printable(pointer), message, positions.locate(pointer)[0]) for pointer, message in own]


@cache
def validator(name: str, definition: str = "") -> Any:
    """The jsonschema validator of "config", "state" or "features", or of one definition in that file."""
    checker = FormatChecker(formats=())
    for format_name, function in formats.FORMATS.items():
        checker.checks(format_name)(_for_strings(function))
    rules = schema.combined(name)
    if definition:
        rules = {"$ref": f"#/$defs/{definition}", "$defs": rules["$defs"]}
    return _Validator(rules, format_checker=checker)


def _for_strings(function: Callable[[str], bool]) -> Callable[[object], bool]:
    return lambda value: not isinstance(value, str) or function(value)


def _properties(validator: Any, properties: dict[str, Any], instance: Any, _: Any) -> Iterator[Found]:
    if isinstance(instance, dict):
        for name, its_rules in properties.items():
            if instance.get(name) is not None:
                yield from validator.descend(instance[name], its_rules, path=name, schema_path=name)


def _required(validator: Any, required: list[str], instance: Any, _: Any) -> Iterator[Found]:
    if isinstance(instance, dict):
        for name in required:
            if instance.get(name) is None:
                yield ValidationError(name, path=(name,))


def _property_names(validator: Any, its_rules: Any, instance: Any, _: Any) -> Iterator[Found]:
    if isinstance(instance, dict):
        for name in instance:
            yield from validator.descend(name, its_rules, path=name)


_extend: Any = extend
_Validator = _extend(
    Draft202012Validator,
    {"properties": _properties, "required": _required, "propertyNames": _property_names},
    type_checker=Draft202012Validator.TYPE_CHECKER.redefine("integer", lambda _, value: type(value) is int),
)


def _rank(error: Found) -> int:
    """Of the problems of one value the most telling comes first."""
    return 0 if error.validator == "enum" else 1


def _pointer(error: Found) -> str:
    return "".join(f"/{escape(str(part))}" for part in error.absolute_path)


def _message(error: Found) -> str:
    if error.validator == "required":
        return _missing(error)
    what = MESSAGES[str(error.validator)](error)
    if "propertyNames" in error.absolute_schema_path:
        what = f"has a name that {what}"
    return f"{what} (it is {_shown(error.instance)}{_hint(error)})"


def _missing(error: Found) -> str:
    member = error.schema.get("properties", {}).get(error.message, {})
    description = member.get("description", "it must be given").rstrip(".")
    return f"is missing ({description[0].lower()}{description[1:]})"


def _shown(value: Any) -> str:
    if isinstance(value, str):
        return f'"{shorten(value)}"'
    if isinstance(value, (dict, list)):
        kind = "object" if isinstance(value, dict) else "array"
        return f"an {kind}" if value else f"an empty {kind}"
    return shorten(json.dumps(value))


def _hint(error: Found) -> str:
    if error.validator == "enum" and isinstance(error.instance, str):
        near = {name.lower(): name for name in error.validator_value}
        for match in get_close_matches(error.instance.lower(), near, n=1, cutoff=0.75):
            return f"; did you mean {near[match]}?"
    return ""


def _type(error: Found) -> str:
    return f"must be {TYPES[error.validator_value]}"


def _enum(error: Found) -> str:
    # "" stands for an absent member.
    *others, last = (member for member in error.validator_value if member)
    return f"must be one of {', '.join(others)} or {last}" if others else f"must be {last}"


def _range(error: Found) -> str:
    least, most = error.schema.get("minimum"), error.schema.get("maximum")
    if most is None or (most > 1 << 32 and error.validator == "minimum"):
        return f"must be {least} or more"
    if most > 1 << 32:
        return f"must be no more than {most}"
    return f"must be {least} or {most}" if most - least == 1 else f"must be between {least} and {most}"


def _format(error: Found) -> str:
    if "\0" in error.instance:
        return "must not have a NUL character in it"
    if error.validator_value == "device-access":
        letters = error.instance.translate({ord(letter): None for letter in "rwm"})
        return f'must be some of r, w and m, and "{shorten(letters[:1])}" is none of them'
    if error.validator_value == "oci-version" and formats.semver(error.instance):
        return "must be a version that this runtime knows, 1.x or older"
    return f"must be {FORMATS[error.validator_value]}"


def _least(error: Found) -> str:
    return "must have an element at least" if error.validator == "minItems" else "must not be empty"


def _most(error: Found) -> str:
    most = error.validator_value
    return f"must have no more than {most} elements" if most else "must be empty"


def _any_of(error: Found) -> str:
    return f"must have {' or '.join(branch['required'][0] for branch in error.validator_value)}"


MESSAGES: dict[str, Callable[[Found], str]] = {
    "anyOf": _any_of,
    "enum": _enum,
    "format": _format,
    "maxItems": _most,
    "maximum": _range,
    "minItems": _least,
    "minLength": _least,
    "minimum": _range,
    "type": _type,
}

TYPES = {
    "array": "an array",
    "boolean": "true or false",
    "integer": "an integer",
    "object": "an object",
    "string": "a string",
}

FORMATS = {
    "absolute-path": "an absolute path",
    "component": "the name of a file, without a slash",
    "cpu-list": "a list of numbers and ranges such as 0-3,7",
    "device-access": "some of r, w and m",
    "host-name": f"no longer than {formats.HOST_NAME_LIMIT} bytes",
    "interface-name": f"a name of 1 to {formats.INTERFACE_NAME_LIMIT} bytes without blanks, /, : and %",
    "interface-template": f"a name of 1 to {formats.INTERFACE_NAME_LIMIT} bytes without blanks, /, : and %,"
    " but for %d at its end",
    "line": "a single line",
    "memory-bandwidth-schema": "a single line that begins with MB:",
    "oci-version": "a version as Semantic Versioning writes it, such as 1.3.0",
    "optional-path": "an absolute path",
    "page-size": "the size of a huge page, such as 64KB, 2MB or 1GB",
    "resctrl-group": "the name of a directory, or /",
    "semver": "a version as Semantic Versioning writes it, such as 1.3.0",
    "text": "a string without NUL characters",
    "word": "a name without blanks",
}
"""What a value of each format must be, in the words of a message."""
