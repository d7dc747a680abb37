"""linux.intelRdt of a whole container, with directories that stand for resctrl's: the real one takes the processor for it.

tests/unit/cgroups/test_resctrl.py has the groups that are made and removed, which takes the kernel's way to fill a new directory.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import pyoci as api
from conformance.runtime import Runtime, new_id

from .conftest import MakeBundle


@pytest.fixture
def resctrl(tmp_path: Path) -> Path:
    root = tmp_path / "resctrl"
    for directory in (root, root / "gold"):
        (directory / "mon_groups").mkdir(parents=True)
        (directory / "tasks").touch()
        (directory / "schemata").write_text("    L3:0=fff;1=fff\n")
    (root / "info/L3").mkdir(parents=True)
    (root / "info/L3/cbm_mask").write_text("fff\n")
    return root


@pytest.mark.parametrize(("name", "directory"), [("/", "."), ("gold", "gold")])
def test_a_container_joins_its_group_and_can_change_it(
    pyoci: Runtime, bundle: MakeBundle, resctrl: Path, name: str, directory: str
) -> None:
    path = bundle(process={"args": ["sleep", "1000"]}, linux={"intelRdt": {"closID": name}})
    container = created(pyoci, path, resctrl)
    group = resctrl / directory
    assert (group / "tasks").read_text() == str(pyoci.pid(container))
    pyoci("start", container)
    pyoci("update", "--l3-cache-schema", "L3:0=f0;1=f0", container)
    assert (group / "schemata").read_text().startswith("L3:0=f0;1=f0\n")
    told = json.loads(pyoci("events", "--stats", container).stdout)["data"]["intel_rdt"]
    assert told["l3_cache_info"] == {"cbm_mask": "fff"}
    assert told["l3_cache_schema"] == "L3:0=f0;1=f0"
    pyoci("delete", "--force", container)
    assert (group / "schemata").exists()


def created(runtime: Runtime, bundle: Path, resctrl: Path) -> str:
    """A container, by the Python API: the command takes the real filesystem only."""
    made = api.Container.create(
        new_id(), api.Bundle.load(str(bundle)), str(runtime.root), resctrl=str(resctrl)
    )
    return made.id
