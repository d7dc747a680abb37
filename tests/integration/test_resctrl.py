"""linux.intelRdt of a whole container, with directories that stand for resctrl's: the real one takes the processor for it.

tests/unit/cgroups/test_resctrl.py has the groups that are made and removed, which takes the kernel's way to fill a new directory.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

import pyoci as api
from conformance import host
from conformance.runtime import Runtime, new_id
from pyoci.errors import Error

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


def test_an_update_of_both_is_all_or_nothing(pyoci: Runtime, bundle: MakeBundle, resctrl: Path) -> None:
    here = bundle(process={"args": ["sleep", "1000"]}, linux={"intelRdt": {"closID": "gold"}})
    container = created(pyoci, here, resctrl)
    pyoci("update", "--pids-limit", "10", container)
    said = pyoci.fails(
        "update",
        "--l3-cache-schema",
        "L3:0=f0;1=f0",
        "--pids-limit",
        "20",
        "--cpuset-cpus",
        "4000",
        container,
    )
    assert "/linux/resources/cpu/cpus" in said
    # What the kernel would take as the old line again.
    assert (resctrl / "gold/schemata").read_text().startswith("L3:0=fff;1=fff\n")
    assert (host.cgroup_of(pyoci.pid(container), "pids") / "pids.max").read_text() == "10\n"
    pyoci("delete", "--force", container)


@pytest.mark.parametrize("name", ["gold", "info", "mon_groups"])
def test_an_id_that_is_there_in_resctrl_is_refused(
    pyoci: Runtime, bundle: MakeBundle, resctrl: Path, name: str
) -> None:
    here = bundle(process={"args": ["sleep", "1000"]}, linux={"intelRdt": {"l3CacheSchema": "L3:0=f0"}})
    before = (resctrl / "gold/schemata").read_text()
    with pytest.raises(Error, match="/linux/intelRdt/closID"):
        api.Container.create(name, api.Bundle.load(str(here)), str(pyoci.root), resctrl=str(resctrl))
    assert (resctrl / "gold/schemata").read_text() == before
    assert (resctrl / name).is_dir()
    assert name not in os.listdir(pyoci.root)


def created(runtime: Runtime, bundle: Path, resctrl: Path) -> str:
    """A container, by the Python API: the command takes the real filesystem only."""
    made = api.Container.create(
        new_id(), api.Bundle.load(str(bundle)), str(runtime.root), resctrl=str(resctrl)
    )
    return made.id
