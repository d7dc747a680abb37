"""The generated validator and jsonschema say the same of every configuration."""

from __future__ import annotations

import json
import timeit
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from spec_values import BAD, GOOD, conforming, mutated

from pyoci.errors import ConfigError
from pyoci.spec import bundle, explain, formats, generate, schema
from pyoci.spec.default import default_config

SLOW = settings(max_examples=250, deadline=None, suppress_health_check=list(HealthCheck))


def compiled(name: str) -> Any:
    namespace: dict[str, Any] = {}
    exec(generate.generate(name), namespace)
    return lambda value: namespace["is_valid"](value, [])


def configs(name: str) -> Any:
    whole = schema.combined(name)
    return conforming(whole, whole["$defs"])


IS_VALID = {name: compiled(name) for name in ("config", "state", "features")}


@pytest.mark.parametrize("name", IS_VALID)
def test_both_accept_what_fits_the_schema(name: str) -> None:
    @SLOW
    @given(configs(name))
    def check(value: Any) -> None:
        assert explain.validator(name).is_valid(value)
        assert IS_VALID[name](value)

    check()


@pytest.mark.parametrize("name", IS_VALID)
def test_both_agree_on_what_nearly_fits_the_schema(name: str) -> None:
    @SLOW
    @given(mutated(configs(name)))
    def check(value: Any) -> None:
        assert IS_VALID[name](value) == explain.validator(name).is_valid(value)

    check()


@SLOW
@given(mutated(configs("config")))
def test_every_refusal_is_explained(config: Any) -> None:
    raw = json.dumps(config, indent=1).encode()
    parsed = bundle.parse(raw, "config.json")
    error = refusal(parsed, raw)
    if not error:
        bundle.drop_nulls(parsed)
        assert refusal(parsed, raw) is None
        return
    assert len({problem.pointer for problem in error.problems}) == len(error.problems) > 0
    places = [problem.line or 0 for problem in error.problems]
    assert places == sorted(places)
    assert min(places) >= 1
    for line in error.lines():
        assert line.isprintable()
        assert "please report" not in line


def refusal(config: Any, raw: bytes) -> ConfigError | None:
    try:
        bundle.validate(config, raw)
    except ConfigError as error:
        return error
    return None


@pytest.mark.parametrize("value", [True, 1.0, 1e3, -0.0, 1 << 70, "1", None])
def test_an_integer_is_a_number_without_fraction_or_exponent(value: object) -> None:
    config = {
        "ociVersion": "1.3.0",
        "root": {"path": "rootfs"},
        "linux": {"resources": {"pids": {"limit": value}}},
    }
    # A null is an absent limit, which is legal.
    assert IS_VALID["config"](config) == explain.validator("config").is_valid(config) == (value is None)


@pytest.mark.parametrize("place", ["process", "hostname", "mounts", "linux", "annotations", "hooks"])
def test_a_null_is_an_absent_member(place: str) -> None:
    config = {"ociVersion": "1.3.0", "root": {"path": "rootfs"}, place: None}
    assert IS_VALID["config"](config)
    assert explain.validator("config").is_valid(config)


@pytest.mark.parametrize("place", ["ociVersion", "root"])
def test_a_null_can_not_stand_for_a_required_member(place: str) -> None:
    config = {"ociVersion": "1.3.0", "root": {"path": "rootfs"}, place: None}
    assert not IS_VALID["config"](config)
    assert not explain.validator("config").is_valid(config)


@pytest.mark.parametrize("name", formats.FORMATS)
def test_a_format_tells_good_from_bad(name: str) -> None:
    function = formats.FORMATS[name]
    assert [value for value in GOOD[name] if not function(value)] == []
    assert [value for value in BAD[name] if function(value)] == []


def test_the_validator_of_the_build_is_current() -> None:
    with open(generate.OUTPUT, encoding="utf-8") as file:
        assert file.read() == generate.generate(), "run `python -m pyoci.spec.generate`"


def test_the_generated_validator_is_fast() -> None:
    config = default_config()
    # 0.3 ms is the budget; it takes about 0.01 ms, so that a busy machine doesn't fail this.
    assert min(timeit.repeat(lambda: IS_VALID["config"](config), number=10, repeat=20)) / 10 < 0.0003
