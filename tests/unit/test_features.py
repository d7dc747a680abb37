"""`pyoci features` fits the schemas, and lists just what the compiler knows."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest
import referencing

from pyoci.features import features
from pyoci.plan.mount_options import OPTIONS
from pyoci.plan.mounts import Mount
from pyoci.plan.namespaces import NAMESPACES
from pyoci.spec import explain

PUBLISHED = Path(__file__).parents[2].parent / "shared/runtime-spec-schema"


def test_it_fits_our_schema() -> None:
    assert list(explain.validator("features").iter_errors(features())) == []


def test_it_fits_the_published_schema() -> None:
    if not PUBLISHED.is_dir():
        pytest.skip(f"no published schemas in {PUBLISHED}")

    def retrieve(uri: str) -> referencing.Resource[object]:
        contents = json.loads((PUBLISHED / uri.rpartition("/")[2]).read_text())
        return referencing.Resource.from_contents(
            contents, default_specification=referencing.jsonschema.DRAFT4
        )

    registry: referencing.Registry[object] = referencing.Registry(retrieve=retrieve)
    schema = json.loads((PUBLISHED / "features-schema.json").read_text())
    validator = jsonschema.Draft4Validator(schema, registry=registry)
    assert list(validator.iter_errors(features())) == []


def test_every_mount_option_means_something_to_the_compiler() -> None:
    for option in features()["mountOptions"]:
        entry = {"destination": "/x", "type": "tmpfs", "source": "x", "options": [option]}
        assert Mount(entry, "/mounts/0", "/").data in ([], [option]), option
        assert option in OPTIONS


def test_every_namespace_is_one_that_can_be_made() -> None:
    assert set(features()["linux"]["namespaces"]) == set(NAMESPACES)
