"""linux.intelRdt against a tree that looks like resctrl's: this kind of processor isn't to be had everywhere."""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from pyoci.cgroups import resctrl, resctrl_stats
from pyoci.cgroups.journal import Journal, before
from pyoci.errors import ConfigError, Error


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The filesystem; as in the kernel's, a new directory has its files at once."""
    populate(tmp_path, "    L3:0=fff;1=fff\n    MB:0=100;1=100\n")
    (tmp_path / "info").mkdir()
    (tmp_path / "info/last_cmd_status").write_text("ok\n")
    make = os.mkdir

    def mkdir(path: str, mode: int) -> None:
        make(path, mode)
        populate(Path(path), "    L3:0=fff;1=fff\n    MB:0=100;1=100\n")

    def rmdir(path: str) -> None:
        directory = Path(path)
        for name in ("tasks", "schemata"):
            (directory / name).unlink()
        if (directory / "mon_groups").exists():
            (directory / "mon_groups").rmdir()
        os.rmdir(path)

    monkeypatch.setattr(resctrl.posix, "mkdir", mkdir)
    monkeypatch.setattr(resctrl.posix, "rmdir", rmdir)
    return tmp_path


def populate(directory: Path, schemata: str) -> None:
    (directory / "tasks").touch()
    (directory / "schemata").write_text(schemata)
    if directory.parent.name != "mon_groups":
        (directory / "mon_groups").mkdir()


def opened(root: Path, **rdt: Any) -> resctrl.Resctrl:
    return resctrl.open_for(rdt, "c1", str(root))


def written(group: resctrl.Resctrl) -> list[str]:
    return [line for _, line in group.lines]


def test_without_a_name_the_group_is_the_containers_own_and_goes_with_it(root: Path) -> None:
    group = opened(root, l3CacheSchema="L3:0=f0")
    assert not (root / "c1").exists(), "nothing is made before it is written down"
    group.create()
    assert (root / "c1/schemata").read_text().startswith("L3:0=f0\n")
    group.join(42)
    assert (root / "c1/tasks").read_text() == "42"
    resctrl.from_record(group.record()).remove()
    assert not (root / "c1").exists()


def test_a_container_does_not_join_a_group_that_happens_to_have_its_id(root: Path) -> None:
    (root / "c1").mkdir()
    populate(root / "c1", "    L3:0=fff;1=fff\n")
    with pytest.raises(ConfigError, match="c1 is there already") as caught:
        opened(root, l3CacheSchema="L3:0=f0")
    assert "closID" in (caught.value.hint or "")
    assert not opened(root, closID="c1").made


@pytest.mark.parametrize("name", ["info", "mon_groups", "mon_data", "tasks", "schemata"])
@pytest.mark.parametrize("named", [True, False], ids=["closID", "id"])
def test_what_is_resctrls_own_is_no_group(root: Path, name: str, named: bool) -> None:
    rdt = {"l3CacheSchema": "L3:0=f0"} | ({"closID": name} if named else {})
    before = sorted(root.rglob("*"))
    with pytest.raises(ConfigError, match="resctrl's own"):
        resctrl.open_for(rdt, "c1" if named else name, str(root))
    assert sorted(root.rglob("*")) == before


def test_a_group_that_another_made_first_stays_the_others(root: Path) -> None:
    ours, others = opened(root), opened(root)
    others.create()
    with pytest.raises(ConfigError, match="c1 is there already"):
        ours.create()
    ours.remove(failed=True)
    assert (root / "c1").is_dir()


def test_a_monitoring_group_that_is_there_stays_anothers(root: Path) -> None:
    ours, others = (opened(root, closID="/", enableMonitoring=True) for _ in range(2))
    others.create()
    with pytest.raises(ConfigError, match="is there already"):
        opened(root, closID="/", enableMonitoring=True)
    with pytest.raises(ConfigError, match="is there already"):
        ours.create()
    ours.remove(failed=True)
    assert (root / "mon_groups/c1").is_dir()


def test_an_update_that_fails_later_takes_the_lines_back(root: Path) -> None:
    """As the kernel does it: a line replaces that of its kind."""
    group = opened(root)
    group.create()
    with suppress(ZeroDivisionError), Journal() as journal:
        group.update({"memBwSchema": "MB:0=20", "l3CacheSchema": "L3:0=f0"}, journal)
        raise ZeroDivisionError
    assert (root / "c1/schemata").read_text().startswith("L3:0=fff;1=fff\n")


@pytest.mark.parametrize(
    ("line", "undone_by"),
    [("L3:0=f0", "L3:0=fff;1=fff\n"), (" MB :1=10", "MB:0=100;1=100\n"), ("L2:0=1", "")],
)
def test_what_takes_a_line_back(line: str, undone_by: str) -> None:
    assert before("schemata", line, "    L3:0=fff;1=fff\n    MB:0=100;1=100\n") == undone_by


def test_a_named_group_is_made_if_it_is_missing_and_stays(root: Path) -> None:
    group = opened(root, closID="gold", memBwSchema="MB:0=50")
    group.create()
    assert (root / "gold/schemata").read_text().startswith("MB:0=50\n")
    resctrl.from_record(group.record()).remove()
    assert (root / "gold").is_dir()


def test_what_was_made_for_a_container_that_failed_goes(root: Path) -> None:
    group = opened(root, closID="gold", memBwSchema="MB:0=50")
    group.create()
    group.remove(failed=True)
    assert not (root / "gold").exists()


def test_a_named_group_without_any_schema_must_be_there(root: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        opened(root, closID="gold")
    assert caught.value.problems[0].pointer == "/linux/intelRdt/closID"
    (root / "gold").mkdir()
    populate(root / "gold", "    L3:0=fff;1=fff\n")
    assert not opened(root, closID="gold").made


@pytest.mark.parametrize(
    ("schema", "same"),
    [
        ({"l3CacheSchema": "L3:0=fff;1=fff"}, True),
        ({"l3CacheSchema": "L3:1=0FFF"}, True),
        ({"l3CacheSchema": "L3:0=ff"}, False),
        ({"l3CacheSchema": "L3:2=fff"}, False),
        ({"memBwSchema": "MB:0=100"}, True),
        ({"memBwSchema": "MB:0=90"}, False),
    ],
)
def test_a_named_group_that_is_there_must_be_as_asked_for(
    root: Path, schema: dict[str, str], same: bool
) -> None:
    (root / "gold").mkdir()
    populate(root / "gold", "    L3:0=fff;1=fff\n    MB:0=100;1=100\n")
    if same:
        assert written(opened(root, closID="gold", **schema)) == []
        return
    with pytest.raises(ConfigError) as caught:
        opened(root, closID="gold", **schema)
    assert caught.value.problems[0].pointer == f"/linux/intelRdt/{next(iter(schema))}"


def test_the_default_group_is_the_root(root: Path) -> None:
    group = opened(root, closID="/", l3CacheSchema="L3:0=fff")
    assert (group.path, group.made, group.ours) == (str(root), False, False)


def test_the_lines_are_written_in_the_specifications_order(root: Path) -> None:
    rdt = {"schemata": ["L2:0=f", "L3:1=1"], "memBwSchema": "MB:0=10", "l3CacheSchema": "L3:0=1"}
    assert written(opened(root, **rdt)) == ["L3:0=1", "MB:0=10", "L2:0=f", "L3:1=1"]
    assert written(opened(root)) == []


def test_a_monitoring_group_is_made_and_goes_with_the_container(root: Path) -> None:
    group = opened(root, closID="/", enableMonitoring=True)
    group.create()
    group.join(42)
    assert (root / "mon_groups/c1/tasks").read_text() == "42"
    resctrl.from_record(group.record()).remove()
    assert not (root / "mon_groups/c1").exists()
    assert root.is_dir()


def test_other_lines_can_be_written_later(root: Path) -> None:
    group = opened(root, l3CacheSchema="L3:0=f0")
    group.create()
    resctrl.from_record(group.record()).update({"memBwSchema": "MB:0=20"}, Journal())
    assert (root / "c1/schemata").read_text().startswith("MB:0=20\n")


def test_the_kernels_own_words_are_in_the_error(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    group = opened(root, l3CacheSchema="L3:0=f0")
    group.create()
    (root / "info/last_cmd_status").write_text("Mask f0f0 has non-consecutive 1-bits\n")

    def write(fd: int, data: bytes) -> int:
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))

    monkeypatch.setattr(resctrl.posix, "write", write)
    with pytest.raises(ConfigError, match="non-consecutive 1-bits"):
        group.update({"l3CacheSchema": "L3:0=f0f0"}, Journal())


def test_no_more_classes_of_service_is_said_so(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    group = opened(root, l3CacheSchema="L3:0=f0")

    def mkdir(path: str, mode: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(resctrl.posix, "mkdir", mkdir)
    with pytest.raises(ConfigError) as caught:
        group.create()
    assert "no more classes" in (caught.value.hint or "")


def test_a_group_that_cannot_be_removed_is_an_error_and_one_that_is_gone_is_none(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    group = opened(root)
    group.create()

    def rmdir(path: str) -> None:
        raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))

    with monkeypatch.context() as patch:
        patch.setattr(resctrl.posix, "rmdir", rmdir)
        with pytest.raises(Error, match="c1"):
            group.remove()
    group.remove()


def test_the_mount_is_found() -> None:
    line = rb"35 24 0:30 / /sys/fs/res\040ctrl rw,relatime shared:9 - resctrl resctrl rw" + b"\n"
    assert resctrl.mount_point(b"22 1 0:20 / / rw - ext4 /dev/x rw\n" + line) == "/sys/fs/res ctrl"
    assert resctrl.mount_point(b"22 1 0:20 / / rw - ext4 /dev/resctrl rw\n") is None


def test_without_the_filesystem_it_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resctrl, "mount_point", lambda: None)
    with pytest.raises(ConfigError) as caught:
        resctrl.open_for({}, "c1")
    assert caught.value.problems[0].pointer == "/linux/intelRdt"


def write(base: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (base / name).parent.mkdir(parents=True, exist_ok=True)
        (base / name).write_text(text)


def test_events_tell_what_the_group_has_and_uses(root: Path) -> None:
    write(
        root,
        {
            "info/L3/cbm_mask": "fff\n",
            "info/L3/min_cbm_bits": "1\n",
            "info/L3/num_closids": "16\n",
            "info/MB/min_bandwidth": "10\n",
            "info/MB/delay_linear": "1\n",
            "gold/schemata": "    MB:0=50;1=50\n    L3:0=f0;1=f0\n",
            "gold/mon_groups/c1/mon_data/mon_L3_00/mbm_total_bytes": "4096\n",
            "gold/mon_groups/c1/mon_data/mon_L3_00/mbm_local_bytes": "1024\n",
            "gold/mon_groups/c1/mon_data/mon_L3_00/llc_occupancy": "77\n",
            "gold/mon_groups/c1/mon_data/mon_L3_01/mbm_total_bytes": "Unavailable\n",
        },
    )
    group = resctrl.Resctrl(f"{root}/gold", made=False, ours=False, monitor=f"{root}/gold/mon_groups/c1")
    assert resctrl_stats.stats(group) == {
        "l3_cache_info": {"cbm_mask": "fff", "min_cbm_bits": 1, "num_closids": 16},
        "l3_cache_schema_root": "L3:0=fff;1=fff",
        "l3_cache_schema": "L3:0=f0;1=f0",
        "mem_bw_info": {"delay_linear": 1, "min_bandwidth": 10},
        "mem_bw_schema_root": "MB:0=100;1=100",
        "mem_bw_schema": "MB:0=50;1=50",
        "mbm_stats": [{"mbm_total_bytes": 4096, "mbm_local_bytes": 1024}, {}],
        "cmt_stats": [{"llc_occupancy": 77}, {}],
    }


def test_of_a_processor_without_it_events_tell_nothing(tmp_path: Path) -> None:
    group = resctrl.Resctrl(f"{tmp_path}/c1", made=True, ours=True, monitor=None)
    assert resctrl_stats.stats(group) == {}
