"""The names of linux.resources in whatever case: Go's JSON reader doesn't mind, and engines were written for that."""

from __future__ import annotations

from typing import Any

from pyoci.spec.schema import combined


def with_proper_names(resources: dict[str, Any]) -> dict[str, Any]:
    """A copy with every name as the specification spells it; what it doesn't name, and free names, stay.

    Arguments:
        resources: a linux.resources, maybe with other cases of its names.
    """
    definitions = combined("config")["$defs"]
    renamed: dict[str, Any] = _renamed(resources, definitions["resources"], definitions)
    return renamed


def _renamed(value: Any, schema: dict[str, Any], definitions: dict[str, Any]) -> Any:
    while "$ref" in schema:
        schema = definitions[schema["$ref"].rpartition("/")[2]]
    if isinstance(value, list):
        items = schema.get("items", {})
        return [_renamed(each, items, definitions) for each in value]
    if not isinstance(value, dict):
        return value
    properties = schema.get("properties", {})
    proper = {name.lower(): name for name in properties}
    free = schema.get("additionalProperties")
    result = {}
    for name, member in value.items():
        known = name if name in properties else proper.get(name.lower(), name)
        below = properties.get(known, free if isinstance(free, dict) else {})
        result[known] = _renamed(member, below, definitions)
    return result
