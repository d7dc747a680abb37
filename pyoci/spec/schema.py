"""The JSON Schemas of schemas/, each joined with what it refers to in the others. Not for hot commands."""

from __future__ import annotations

import json
import os
from typing import Any

_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def directory() -> str:
    """Where the schemas are: in the installed package, else beside it in the source tree."""
    installed = os.path.join(_PACKAGE, "schemas")
    return installed if os.path.isdir(installed) else os.path.join(os.path.dirname(_PACKAGE), "schemas")


def read(name: str) -> dict[str, Any]:
    """A schema file of the directory, as it is: "config", "config-linux", "defs", "state" or "features"."""
    with open(os.path.join(directory(), f"{name}.json"), encoding="utf-8") as file:
        schema: dict[str, Any] = json.load(file)
    return schema


def combined(name: str) -> dict[str, Any]:
    """A schema with the definitions of every file that it leads to under its own `$defs`.

    References between files become local ones, so that any version of jsonschema can follow them. So the
    names of definitions are unique across the files that meet.
    """
    schema = read(name)
    definitions: dict[str, Any] = schema.pop("$defs", {})
    waiting = _localise([schema, definitions])
    done = {name}
    while waiting:
        other = waiting.pop()
        if other in done:
            continue
        done.add(other)
        more = read(other)["$defs"]
        waiting |= _localise(more)
        if clash := definitions.keys() & more.keys():
            raise ValueError(f"{other}.json defines {', '.join(sorted(clash))} again")
        definitions.update(more)
    schema["$defs"] = definitions
    return schema


def _localise(value: Any) -> set[str]:
    """Make the references below the value local, in place; returns the names of the files they led to."""
    if isinstance(value, list):
        return set().union(*map(_localise, value))
    if not isinstance(value, dict):
        return set()
    files = set().union(*map(_localise, value.values()))
    file, _, definition = str(value.get("$ref", "")).partition("#")
    if file:
        value["$ref"] = f"#{definition}"
        files.add(file.removesuffix(".json"))
    return files
