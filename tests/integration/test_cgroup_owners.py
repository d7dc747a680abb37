"""Whose a cgroup is: nobody kills in, or removes, what is another container's."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pyoci._shim import lib  # type: ignore[import-not-found,unused-ignore]

from conformance import host
from conformance.runtime import SYSTEMD, Runtime, new_id
from pyoci.cgroups import layout, ownership, tree
from pyoci.cgroups.ownership import TakenError

from .conftest import MakeBundle

pytestmark = pytest.mark.skipif(
    SYSTEMD, reason="test_systemd.py has its own: a unit that is there is refused"
)

PLACE = f"/{host.TAG}-shared"
BASES = [host.CGROUPS] if host.V2 else [path for path in host.CGROUPS.iterdir() if path.is_dir()]


def here(bundle: MakeBundle, *words: str, **linux: Any) -> Path:
    """A bundle whose container goes to the one place."""
    return bundle(process={"args": list(words)}, linux={"cgroupsPath": PLACE, **linux})


def directories(place: str = PLACE) -> list[Path]:
    return [Path(f"{base}{place}") for base in BASES if Path(f"{base}{place}").is_dir()]


@pytest.fixture
def made_before() -> Iterator[list[Path]]:
    """The cgroup is there before any container."""
    for base in BASES:
        Path(f"{base}{PLACE}").mkdir()
    yield directories()
    host.sweep(host.Snapshot(processes=host.processes()))


@pytest.mark.peers_differ(crun="they share it", runc="they share it")
@pytest.mark.parametrize("operation", ["kill", "delete"])
def test_a_cgroup_of_a_stopped_container_is_not_given_to_another(
    pyoci: Runtime, bundle: MakeBundle, operation: str
) -> None:
    stopped = pyoci.launch(here(bundle, "true"))
    pyoci.await_status(stopped, "stopped")
    error = pyoci.fails("create", "--bundle", here(bundle, "sleep", "1000"), new_id())
    assert "is that of another container, which isn't deleted yet" in error
    assert f"{pyoci.root}/{stopped}" in error
    assert directories()
    if operation == "kill":
        pyoci("kill", "--all", stopped, "KILL")
    pyoci("delete", stopped)
    assert directories() == []
    assert pyoci.state(pyoci.launch(here(bundle, "sleep", "1000")))["status"] == "running"


@pytest.mark.peers_differ(crun="they share it", runc="they share it")
def test_one_of_another_root_is_refused_too(pyoci: Runtime, bundle: MakeBundle, tmp_path: Path) -> None:
    other = Runtime(pyoci.path, tmp_path / "other")
    stopped = other.launch(here(bundle, "true"))
    other.await_status(stopped, "stopped")
    assert str(other.root / stopped) in pyoci.fails("create", "--bundle", here(bundle, "true"), new_id())
    other("delete", stopped)


@pytest.mark.parametrize("operation", [("kill", "--all"), ("delete", "--force"), ("delete",)])
def test_who_has_lost_the_cgroup_leaves_the_one_who_has_it_alone(
    pyoci: Runtime, bundle: MakeBundle, operation: tuple[str, ...]
) -> None:
    """The entry is that of a `create` that was killed between losing a race and removing its entry, or whose cgroup somebody
    has removed and another container has made again."""
    loser = pyoci.launch(here(bundle, "true"))
    pyoci.await_status(loser, "stopped")
    for path in directories():
        path.rmdir()
    winner = pyoci.launch(here(bundle, "sleep", "1000"))
    before = [path.stat().st_ino for path in directories()]
    pyoci(*operation, loser, *(["KILL"] if operation[0] == "kill" else []))
    assert pyoci.state(winner)["status"] == "running"
    assert [path.stat().st_ino for path in directories()] == before
    assert json.loads(pyoci("ps", "-f", "json", winner).stdout) == [pyoci.pid(winner)]
    pyoci.attempt("delete", "--force", loser)
    pyoci.finish(winner)
    assert directories() == []


def test_a_cgroup_that_was_there_before_is_handed_on(
    pyoci: Runtime, bundle: MakeBundle, made_before: list[Path]
) -> None:
    for _ in range(2):
        container = pyoci.launch(here(bundle, "sleep", "1000"))
        pyoci("kill", "--all", container, "KILL")
        pyoci.await_status(container, "stopped")
        pyoci("delete", container)
        assert directories() == made_before
        assert [os.listxattr(path) for path in made_before] == [[]] * len(made_before)


def test_a_leftover_of_a_root_that_is_gone_can_be_used(
    pyoci: Runtime, bundle: MakeBundle, tmp_path: Path
) -> None:
    other = Runtime(pyoci.path, tmp_path / "other")
    stopped = other.launch(here(bundle, "true"))
    other.await_status(stopped, "stopped")
    subprocess.run(["rm", "-r", str(other.root)], check=True)
    pyoci.finish(pyoci.launch(here(bundle, "sleep", "1000")))
    host.sweep(host.Snapshot(processes=host.processes()))


@pytest.fixture
def layout_here() -> layout.Layout:
    return layout.read()


def mark(name: str, tmp_path: Path) -> ownership.Owner:
    """That of a container whose state is kept."""
    owner = ownership.new(f"{tmp_path}/{name}", privileged=True)
    (tmp_path / name).write_text(json.dumps(owner))
    return owner


def test_a_create_that_fails_before_its_cgroups_are_made_leaves_those_of_another(
    layout_here: layout.Layout, tmp_path: Path, pyoci: Runtime
) -> None:
    late, first = (tree.open_for(layout_here, PLACE, mark(name, tmp_path)) for name in ("late", "first"))
    first.create()
    before = len(directories())
    late.kill()
    late.remove()
    assert len(directories()) == before
    with pytest.raises(TakenError):
        late.create()
    tree.from_record(late.record()).remove()
    assert len(directories()) == before
    first.close()
    first.remove()
    assert directories() == []


def test_an_empty_one_of_a_create_that_was_killed_before_it_was_marked_is_removed(
    layout_here: layout.Layout, tmp_path: Path, pyoci: Runtime
) -> None:
    killed = tree.open_for(layout_here, PLACE, mark("killed", tmp_path))
    os.mkdir(killed.groups[0].path, ownership.UNMARKED)
    with pytest.raises(TakenError, match="somebody else"):
        tree.open_for(layout_here, PLACE, mark("other", tmp_path))
    tree.from_record(killed.record()).remove()
    assert directories() == []


def test_what_is_removed_before_it_is_marked_is_made_again(
    layout_here: layout.Layout, tmp_path: Path, pyoci: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    cgroups = tree.open_for(layout_here, PLACE, mark("unlucky", tmp_path))
    claim, times = ownership.claim, []

    def meanwhile(path: str, owner: ownership.Owner) -> bool:
        if not times:
            os.rmdir(path)
        times.append(path)
        return claim(path, owner)

    monkeypatch.setattr(ownership, "claim", meanwhile)
    cgroups.create()
    cgroups.close()
    assert all(cgroups.is_ours(group) for group in cgroups.groups)
    cgroups.remove()
    assert directories() == []


@pytest.mark.parametrize("mask", [0, 0o077, 0o777])
def test_the_directories_have_one_mode_whatever_the_callers_umask(
    pyoci: Runtime, bundle: MakeBundle, mask: int
) -> None:
    path = here(bundle, "true")
    before = os.umask(mask)
    try:
        container = pyoci.create(path)
    finally:
        os.umask(before)
    assert {path.stat().st_mode & 0o7777 for path in directories()} == {0o755}
    pyoci("delete", "--force", container)


@pytest.fixture
def v2_only(layout_here: layout.Layout, pyoci: Runtime) -> Iterator[layout.Layout]:
    """The v2 tree of this host alone, with a cgroup that was there before."""
    if layout_here.unified is None:
        pytest.skip("no cgroup v2 tree is mounted")
    path = Path(f"{layout_here.unified}{PLACE}")
    path.mkdir()
    yield layout.Layout("v2", [], layout_here.unified)
    path.rmdir()


def detached_filters(path: str) -> int:
    """How many device filters of ours were attached to a cgroup; none is afterwards."""
    cgroup = os.open(path, os.O_RDONLY)
    number = 0
    while (program := lib.bpf_attached_device_filter(cgroup)) >= 0:
        assert lib.bpf_detach_device_filter(cgroup, program) == 0
        os.close(program)
        number += 1
    os.close(cgroup)
    return number


@pytest.mark.parametrize("end", ["deleted", "killed while it was made"])
def test_device_rules_do_not_pile_up_in_a_cgroup_that_stays(
    v2_only: layout.Layout, tmp_path: Path, end: str
) -> None:
    for name in ("one", "two", "three"):
        cgroups = tree.open_for(v2_only, PLACE, mark(name, tmp_path))
        cgroups.create()
        cgroups.apply_devices([{"allow": False, "access": "rwm"}])
        cgroups.close()
        if end == "deleted":
            tree.from_record(cgroups.record()).remove()
            assert os.listxattr(f"{v2_only.unified}{PLACE}") == []
        else:
            (tmp_path / name).unlink()
    assert detached_filters(f"{v2_only.unified}{PLACE}") == (0 if end == "deleted" else 1)
