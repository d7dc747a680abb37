"""The schema files themselves, and the default configuration."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from pyoci.errors import Error
from pyoci.spec import bundle, explain, formats, generate, schema
from pyoci.spec.default import default_config, write_default

FILES = ["config", "config-linux", "defs", "state", "features"]


def subschemas(rules: Any, pointer: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every schema in a schema file, with its pointer."""
    yield pointer, rules
    for keyword in ("properties", "$defs"):
        for name, inner in rules.get(keyword, {}).items():
            yield from subschemas(inner, f"{pointer}/{keyword}/{name}")
    for keyword in ("items", "additionalProperties", "propertyNames", "if", "then"):
        if keyword in rules:
            yield from subschemas(rules[keyword], f"{pointer}/{keyword}")
    for i, inner in enumerate(rules.get("anyOf", ())):
        yield from subschemas(inner, f"{pointer}/anyOf/{i}")


@pytest.mark.parametrize("name", FILES)
def test_every_property_is_described_by_a_sentence(name: str) -> None:
    for pointer, rules in subschemas(schema.read(name)):
        if pointer.split("/")[-2:-1] in (["properties"], ["$defs"]) and "/if/" not in pointer:
            description = rules.get("description", "")
            assert description[:1].isupper() or description.startswith(("c or u", "c: ", "-1", "1: ")), (
                pointer
            )
            assert description.endswith("."), pointer


@pytest.mark.parametrize("name", FILES)
def test_the_schemas_use_only_what_both_validators_know(name: str) -> None:
    known = {*generate.KEYWORDS, *generate.SILENT}
    for pointer, rules in subschemas(schema.read(name)):
        assert rules.keys() <= known, pointer
        assert rules.get("format", "text") in formats.FORMATS, pointer


@pytest.mark.parametrize("name", ["config", "state", "features"])
def test_the_schemas_are_schemas(name: str) -> None:
    Draft202012Validator.check_schema(schema.combined(name))


def test_every_file_is_written_alike() -> None:
    for path in Path(schema.directory()).glob("*.json"):
        assert path.stem in FILES
        assert path.read_text().endswith("}\n")


def test_every_format_has_words_for_its_message() -> None:
    assert explain.FORMATS.keys() == formats.FORMATS.keys()


def test_every_refusing_keyword_has_a_message() -> None:
    quiet = {"$ref", "items", "properties", "propertyNames", "additionalProperties", "if", "required"}
    assert explain.MESSAGES.keys() == generate.KEYWORDS.keys() - quiet


def test_an_unknown_keyword_stops_the_generator() -> None:
    with pytest.raises(ValueError, match="pattern"):
        generate.Writer({}).check({"type": "string", "pattern": "x"}, "v0", 1)


def test_the_generator_writes_where_it_is_told(tmp_path: Path) -> None:
    generate.main([str(tmp_path / "validator.py")])
    assert (tmp_path / "validator.py").read_text() == generate.generate()
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("rootless", [False, True])
def test_the_default_configuration_is_valid(rootless: bool) -> None:
    bundle.validate(default_config(rootless))


@pytest.mark.parametrize("rootless", [False, True])
def test_the_default_configuration_is_runcs(rootless: bool, tmp_path: Path) -> None:
    runc = shutil.which("runc")
    if not runc:
        pytest.skip("no runc on this host")
    subprocess.run([runc, "spec", *(["--rootless"] if rootless else [])], cwd=tmp_path, check=True)
    theirs = json.loads((tmp_path / "config.json").read_text())
    # Newer releases of runc have left the ambient capabilities out.
    theirs["process"]["capabilities"].pop("ambient", None)
    theirs |= {"ociVersion": "1.3.0", "hostname": "pyoci"}
    if rootless:
        # All of /sys read-only, and no mount of cgroup v1, in which there is nothing for the user.
        sys, cgroup = theirs["mounts"][-2:]
        sys["options"][-1] = "rro"
        if not Path("/sys/fs/cgroup/cgroup.controllers").exists():
            theirs["mounts"].remove(cgroup)
    assert json.dumps(default_config(rootless)) == json.dumps(theirs)


def test_the_default_configuration_is_written_once(tmp_path: Path) -> None:
    write_default(str(tmp_path))
    assert bundle.load(str(tmp_path)).config == default_config()
    with pytest.raises(Error, match="exists already"):
        write_default(str(tmp_path), rootless=True)
    with pytest.raises(Error, match="can't be written: No such file or directory"):
        write_default(str(tmp_path / "none"))
    assert bundle.load(str(tmp_path)).config == default_config()


def test_default_configurations_share_nothing() -> None:
    default_config()["process"]["args"].append("x")
    default_config()["linux"]["maskedPaths"].clear()
    assert default_config()["process"]["args"] == ["sh"]
    assert default_config()["linux"]["maskedPaths"]


def test_the_rootless_configuration_maps_the_caller() -> None:
    linux = default_config(rootless=True)["linux"]
    assert linux["uidMappings"] == [{"containerID": 0, "hostID": os.geteuid(), "size": 1}]
    assert linux["gidMappings"] == [{"containerID": 0, "hostID": os.getegid(), "size": 1}]
