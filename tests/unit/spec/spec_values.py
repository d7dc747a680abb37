"""Values for the tests of validation: samples of each format, and configurations made from the schemas."""

from __future__ import annotations

import copy
from typing import Any

from hypothesis import strategies as st

# Samples on each side of every format of pyoci.spec.formats.
GOOD = {
    "absolute-path": ["/", "/a/b", "/..", "/ä", "//"],
    "component": ["memory.max", "a b", "...", ".x"],
    "cpu-list": ["", "0", "0-3,7", "1-1", "0,2,4-5"],
    "device-access": ["", "r", "wm", "mwr", "rwm", "rr"],
    "host-name": ["", "a", "x" * 64, "a.example"],
    "interface-name": ["eth0", "x" * 15, "a.b", "..."],
    "interface-template": ["", "eth0", "eth%d", "%d", "x" * 13 + "%d"],
    "line": ["", "L3:0=f", "a b"],
    "memory-bandwidth-schema": ["", "MB:0=20;1=70", "MB:"],
    "oci-version": ["1.0.0", "1.3.0+dev", "1.99.0-rc.1", "0.5.0-dev", "1.0.0-rc5"],
    "optional-path": ["", "/", "/a/b"],
    "page-size": ["2MB", "64KB", "1GB", "16777216KB"],
    "resctrl-group": ["", "/", "guaranteed", "..."],
    "semver": ["0.0.0", "10.20.30", "1.0.0-alpha.1+build.001", "2.0.0--", "1.0.0-0a", "1.0.0+-"],
    "text": ["", "ä", "a\nb"],
    "word": ["mlx5_1", "net.ipv4.ip_forward", "ä"],
}
BAD = {
    "absolute-path": ["", "a", "./a", " /a", "/a\0"],
    "component": ["", ".", "..", "a/b", "/", "a\0", "a\n"],
    "cpu-list": [
        ",",
        " - , ",
        "a",
        "3-1",
        "1-",
        "-1",
        "1,",
        "1 ",
        "0-3:1/2",
        "1-2-3",
        "²",
        "\u0661",
        "9" * 20,
    ],
    "device-access": ["x", "rwa", "r w", "R"],
    "host-name": ["x" * 65, "a\0", "ä" * 33],
    "interface-name": ["", ".", "..", "x" * 16, "a/b", "a:b", "a b", "a\n", "eth%d", "a\0", "ä" * 8],
    "interface-template": ["%d%d", "%", "%da", "a%s", "x" * 14 + "%d", "a b%d", "/%d"],
    "line": ["\n", "a\nb", "\0"],
    "memory-bandwidth-schema": ["L3:0=f", "mb:0", "MB:0=1\nMB:1=2"],
    "oci-version": ["", "invalid", "1", "1.0", "2.0.0", "10.0.0", "1.0.0.0", "v1.0.0", "1.0.0 "],
    "optional-path": ["a", "./a", " /a", "/a\0"],
    "page-size": ["", "2mB", "64kB", "2M", "MB", "-2MB", "2 MB", "02MB", "0MB", "²MB", "2MB\n", "../2MB"],
    "resctrl-group": [".", "..", "a/b", "/a", "a\n"],
    "semver": [
        "",
        "01.0.0",
        "1.0.0-",
        "1.0.0+",
        "1.0.0-01",
        "1.0.0-a..b",
        "1.0.0+a_b",
        "1.0.0+a+b",
        "1.\u0660.0",
    ],
    "text": ["\0", "a\0b"],
    "word": ["", " ", "a b", "a\n", "a\0"],
}

Rules = dict[str, Any]

JUNK = st.sampled_from(
    [None, True, False, 0, 1, -1, 6, 1.0, 1.5, 1 << 32, 1 << 64, -(1 << 64), "", "x", "\0", "/", [], {}]
    + [[""], ["x"], [None], {"": ""}, {"type": "c"}, {"type": []}, {"path": None}]
)


def conforming(rules: Rules, definitions: Rules) -> st.SearchStrategy[Any]:
    """Values that fit a schema."""
    if "$ref" in rules:
        target = definitions[rules["$ref"].rpartition("/")[2]]
        return conforming({**target, **{key: rules[key] for key in rules if key != "$ref"}}, definitions)
    if "enum" in rules:
        return st.sampled_from(rules["enum"])
    if rules["type"] == "boolean":
        return st.booleans()
    if rules["type"] == "integer":
        return st.integers(rules["minimum"], rules["maximum"])
    if rules["type"] == "string":
        samples = GOOD[rules.get("format", "text")]
        return st.sampled_from([sample for sample in samples if len(sample) >= rules.get("minLength", 0)])
    if rules["type"] == "array":
        most = min(rules.get("maxItems", 2), 2)
        return st.lists(
            conforming(rules["items"], definitions), min_size=rules.get("minItems", 0), max_size=most
        )
    if "additionalProperties" in rules:
        names = conforming(rules["propertyNames"], definitions)
        return st.dictionaries(names, conforming(rules["additionalProperties"], definitions), max_size=2)
    return _objects(rules, definitions)


@st.composite
def _objects(draw: st.DrawFn, rules: Rules, definitions: Rules) -> dict[str, Any]:
    properties = {**rules["properties"], **rules.get("then", {}).get("properties", {})}
    names = {*rules.get("required", ()), *rules.get("then", {}).get("required", ())}
    if "anyOf" in rules:
        names |= set(draw(st.sampled_from(rules["anyOf"]))["required"])
    names |= draw(st.sets(st.sampled_from(sorted(properties)), max_size=4))
    return {name: draw(conforming(properties[name], definitions)) for name in sorted(names)}


@st.composite
def mutated(draw: st.DrawFn, values: st.SearchStrategy[Any]) -> Any:
    """Values with up to two places replaced by, or given, something that seldom belongs there."""
    value = copy.deepcopy(draw(values))
    for _ in range(draw(st.integers(0, 2))):
        places = list(containers(value))
        if not places:
            return draw(JUNK)
        place = draw(st.sampled_from(places))
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        change = draw(st.sampled_from(["replace", "replace", "remove", "add"]))
        if keys and change != "add":
            key = draw(st.sampled_from(keys))
            if change == "remove":
                del place[key]
            else:
                place[key] = copy.deepcopy(draw(JUNK | _bad_strings()))
        elif isinstance(place, dict):
            place[draw(st.sampled_from(["", "unknown", "a b", "type", "monotonic"]))] = copy.deepcopy(
                draw(JUNK)
            )
        else:
            place.append(copy.deepcopy(draw(JUNK)))
    return value


def _bad_strings() -> st.SearchStrategy[str]:
    return st.sampled_from(sorted({sample for samples in BAD.values() for sample in samples}))


def containers(value: Any) -> Any:
    """Every object and array of a value, the value itself first."""
    if isinstance(value, (dict, list)):
        yield value
        for member in value.values() if isinstance(value, dict) else value:
            yield from containers(member)
