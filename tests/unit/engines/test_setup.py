"""`pyoci setup`: what it prints is what the engine reads, and merging leaves everything else as it is."""

from __future__ import annotations

import json
import stat
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyoci.engines import known, setup
from pyoci.engines.known import ENGINES, JSON, TOML, Engine, Wanted
from pyoci.errors import Error

COMMAND = '/opt/a "b"/pyoci'
WANTED = Wanted(COMMAND)
WITH_FILES = [engine for engine in ENGINES if engine.file]
NAMES = [engine.name for engine in WITH_FILES]
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


def engine(name: str) -> Engine:
    return known.find(name)


@pytest.mark.parametrize("which", WITH_FILES, ids=NAMES)
def test_an_engine_that_reads_what_is_printed_knows_pyoci(which: Engine, tmp_path: Path) -> None:
    file = tmp_path / "config"
    file.write_text(setup.fragment(which, WANTED, str(file)))
    assert known.knows_pyoci(which, str(file))
    assert json.dumps(COMMAND) in file.read_text()


@pytest.mark.parametrize("which", WITH_FILES, ids=NAMES)
def test_the_default_runtime_is_changed_only_if_that_is_asked_for(which: Engine) -> None:
    # crio.runtime has one of each name; both say "default_runtime..." or "runtime = ".
    with_default = setup.fragment(which, Wanted(COMMAND, default=True), "x")
    without = setup.fragment(which, WANTED, "x")
    assert with_default != without
    assert "default" not in without.replace(known.NAME, "")


@pytest.mark.parametrize("which", WITH_FILES, ids=NAMES)
def test_written_twice_is_the_same_as_once(which: Engine, tmp_path: Path) -> None:
    file = tmp_path / "deep/er/config"
    setup.write(which, WANTED, str(file))
    once = file.read_text()
    assert known.knows_pyoci(which, str(file))
    assert stat.S_IMODE(file.stat().st_mode) == 0o644
    assert setup.write(which, WANTED, str(file)) == [f"{file} says so already"]
    assert file.read_text() == once
    assert [path.name for path in file.parent.iterdir()] == ["config"]


@given(st.dictionaries(st.text().filter(lambda name: name != "runtimes"), JSON_VALUES))
def test_everything_else_in_a_json_file_stays(before: dict[str, Any]) -> None:
    before = before | {"runtimes": {"other": {"path": "/bin/other"}}}
    after = json.loads(setup.merged(engine("docker"), WANTED, json.dumps(before), "x"))
    assert after["runtimes"].pop("pyoci") == {"path": COMMAND}
    assert after == before


def test_comments_and_order_of_a_toml_file_stay() -> None:
    before = (
        '# mine\nversion = 2 # two\n\n[plugins."io.containerd.grpc.v1.cri".containerd] # here\n'
        'snapshotter = "native"\n\n[debug]\nlevel = "info"\n'
    )
    after = setup.merged(engine("containerd"), WANTED, before, "x")
    kept = [line for line in before.splitlines() if line]
    assert [line for line in after.splitlines() if line in kept] == kept
    assert known._containerd_runtimes(tomllib.loads(after))["pyoci"]["options"]["BinaryName"] == COMMAND


def test_a_file_of_containerd_2_gets_what_that_version_reads() -> None:
    after = tomllib.loads(setup.merged(engine("containerd"), WANTED, "version = 3\n", "x"))
    assert after["version"] == 3
    assert "pyoci" in after["plugins"][known.CONTAINERD_V3]["containerd"]["runtimes"]
    assert known.CONTAINERD_V2 not in after["plugins"]


def test_what_was_there_is_kept_beside_it_with_its_mode(tmp_path: Path) -> None:
    file = tmp_path / "daemon.json"
    file.write_text('{"debug": true}')
    file.chmod(0o600)
    link = tmp_path / "link.json"
    link.symlink_to(file)
    done = setup.write(engine("docker"), WANTED, str(link))
    backup = Path(done[0].split(" has ")[0])
    assert backup.read_text() == '{"debug": true}'
    assert link.is_symlink()
    assert json.loads(file.read_text())["debug"] is True
    assert {stat.S_IMODE(path.stat().st_mode) for path in (file, backup)} == {0o600}


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("docker", "{", "is not JSON"),
        ("docker", "[]", "is not an object"),
        ("containerd", "version = ", "is not TOML"),
    ],
)
def test_a_broken_file_is_an_error_and_stays(name: str, text: str, words: str, tmp_path: Path) -> None:
    file = tmp_path / "config"
    file.write_text(text)
    with pytest.raises(Error, match=words) as error:
        setup.write(engine(name), WANTED, str(file))
    assert str(file) in error.value.message
    assert file.read_text() == text
    assert list(tmp_path.iterdir()) == [file]


def test_without_tomlkit_an_existing_toml_file_is_an_error_with_a_hint(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "tomlkit", None)
    with pytest.raises(Error, match="tomlkit") as error:
        setup.merged(engine("crio"), WANTED, "[crio]\n", "x")
    assert "python3-tomlkit" in (error.value.hint or "")
    # A new file takes no merging.
    assert "pyoci" in setup.merged(engine("crio"), WANTED, "", "x")


def test_kubernetes_has_no_file_to_write() -> None:
    with pytest.raises(Error, match="no file"):
        setup.write(engine("kubernetes"), WANTED, "")


def test_an_engine_that_nobody_knows_is_an_error_that_lists_those_known() -> None:
    with pytest.raises(Error, match="docker, containerd, podman"):
        known.find("lxc")


def test_every_form_is_parsed() -> None:
    assert {which.form for which in WITH_FILES} == {JSON, TOML}
