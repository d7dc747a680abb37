"""Our schemas and rules against the fixtures that runtime-spec publishes with its schemas."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from pyoci.errors import Error
from pyoci.spec import bundle, explain

REPOSITORY = Path(__file__).parents[3]
ORACLE = Path(os.environ.get("PYOCI_SPEC_SCHEMA", REPOSITORY.parent / "shared" / "runtime-spec-schema"))

# Where we differ from the published schemas, and the reason in the text.
REFUSED = {
    # Interfaces move to the container's network namespace; without one they'd be renamed on the host.
    "config/good/linux-netdevice.json": ["/linux/netDevices"],
    # Of another platform: on Linux a host name needs a namespace to be set in.
    "config/good/freebsd-example.json": ["/hostname"],
    "config/good/zos-example.json": ["/hostname"],
}
ACCEPTED = {
    # "Runtimes ... MUST ignore unknown properties": to a runtime for Linux all of freebsd is unknown.
    "config/bad/freebsd-vnet-disable.json",
}


def fixtures(kind: str) -> list[Any]:
    files = sorted((ORACLE / "test" / kind).glob("*/*.json"))
    missing = pytest.mark.skip(f"no published fixtures in {ORACLE} (set PYOCI_SPEC_SCHEMA)")
    return [pytest.param(file, id=f"{file.parent.name}-{file.stem}") for file in files] or [
        pytest.param(None, marks=missing)
    ]


def name(file: Path) -> str:
    return file.relative_to(ORACLE / "test").as_posix()


def is_config(raw: bytes) -> bool:
    try:
        bundle.validate(bundle.parse(raw, "config.json"))
    except Error:
        return False
    return True


@pytest.mark.parametrize("file", fixtures("config"))
def test_published_configs_are_judged_as_published(file: Path) -> None:
    good = file.parent.name == "good"
    expected = (good and name(file) not in REFUSED) or name(file) in ACCEPTED
    assert is_config(file.read_bytes()) == expected


@pytest.mark.parametrize("fixture", REFUSED)
def test_a_good_fixture_is_refused_only_for_the_stated_reason(fixture: str) -> None:
    if not ORACLE.is_dir():
        pytest.skip(f"no published fixtures in {ORACLE} (set PYOCI_SPEC_SCHEMA)")
    config = json.loads((ORACLE / "test" / fixture).read_bytes())
    assert [problem.pointer for problem in explain.problems(config)] == REFUSED[fixture]


@pytest.mark.parametrize("kind", ["state", "features"])
def test_published_states_and_features_are_judged_as_published(kind: str) -> None:
    files = [param.values[0] for param in fixtures(kind)]
    if files == [None]:
        pytest.skip(f"no published fixtures in {ORACLE} (set PYOCI_SPEC_SCHEMA)")
    for file in files:
        assert isinstance(file, Path)
        try:
            accepted = explain.validator(kind).is_valid(bundle.parse(file.read_bytes(), file.name))
        except Error:
            accepted = False
        assert accepted == (file.parent.name == "good"), file
