"""`mounts add` and `mounts remove`."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from conformance import host
from conformance.bundles import bound, namespaces
from conformance.runtime import Runtime

from .conftest import MakeBundle

MAPPINGS = [{"containerID": 0, "hostID": 100000, "size": 65536}]


def written(path: Path, *entries: Any) -> Path:
    path.write_text(json.dumps(list(entries)))
    return path


def points(pid: int) -> set[str]:
    return {mount["point"] for mount in host.mounts(pid)}


@pytest.mark.parametrize("user", [False, True])
def test_mounts_are_added_and_removed(
    pyoci: Runtime, reachable: MakeBundle, tmp_path: Path, user: bool
) -> None:
    linux: dict[str, Any] = {}
    if user:
        mappings = {"uidMappings": MAPPINGS, "gidMappings": MAPPINGS}
        linux = {"namespaces": [*namespaces(), {"type": "user"}], **mappings}
    here = reachable(process={"args": ["sleep", "1000"]}, root={"readonly": False}, linux=linux)
    if user:
        os.chown(here / "rootfs", 100000, 100000)
    source = here / "given"
    source.mkdir()
    (source / "file").write_text("hello")
    source.chmod(0o755)
    container = pyoci.launch(here)
    pid = pyoci.pid(container)
    before = points(pid)
    file = written(
        tmp_path / "more",
        bound(source, "/dev/given"),
        {"destination": "/dev/shm/t", "type": "tmpfs", "source": "tmpfs", "options": ["size=64k"]},
    )
    pyoci("mounts", "add", container, file)
    assert points(pid) - before == {"/dev/given", "/dev/shm/t"}
    assert pyoci("exec", container, "cat", "/dev/given/file").stdout == "hello"
    pyoci("mounts", "remove", container, file)
    assert points(pid) == before


def test_all_are_added_or_none(pyoci: Runtime, sleeper: Path, tmp_path: Path) -> None:
    container = pyoci.launch(sleeper)
    pid = pyoci.pid(container)
    before = points(pid)
    tmpfs = {"destination": "/dev/shm/t", "type": "tmpfs", "source": "tmpfs"}
    file = written(tmp_path / "more", tmpfs, bound(tmp_path / "nosuch", "/dev/shm/b"))
    said = pyoci.fails("mounts", "add", container, file)
    assert "/mounts/1" in said
    assert "does not exist" in said
    assert points(pid) == before


def test_what_is_no_mount_cannot_be_removed(pyoci: Runtime, sleeper: Path, tmp_path: Path) -> None:
    container = pyoci.launch(sleeper)
    file = written(tmp_path / "more", {"destination": "/tmp", "type": "tmpfs"})
    assert "is not a mount" in pyoci.fails("mounts", "remove", container, file)


def test_a_destination_does_not_lead_out_of_the_container(
    pyoci: Runtime, bundle: MakeBundle, tmp_path: Path
) -> None:
    here = bundle(process={"args": ["sleep", "1000"]})
    os.symlink("/../../../../tmp", here / "rootfs/tmp/out")
    container = pyoci.launch(here)
    mine = {mount["point"] for mount in host.mounts()}
    file = written(tmp_path / "more", {"destination": "/tmp/out/x", "type": "tmpfs", "source": "tmpfs"})
    pyoci.attempt("mounts", "add", container, file)
    assert {mount["point"] for mount in host.mounts()} == mine


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{}", "must be a list"),
        ("[", "more:1:"),
        ('[{"destination": 5}]', "more:1: /0/destination"),
        (None, "more"),
    ],
)
def test_a_bad_file_is_told(
    pyoci: Runtime, sleeper: Path, tmp_path: Path, text: str | None, said: str
) -> None:
    if text is not None:
        (tmp_path / "more").write_text(text)
    assert said in pyoci.fails("mounts", "add", pyoci.launch(sleeper), tmp_path / "more")


def test_it_is_add_or_remove(pyoci: Runtime, sleeper: Path, tmp_path: Path) -> None:
    assert "neither add nor remove" in pyoci.fails("mounts", "move", "x", written(tmp_path / "more"))


def table(pid: int) -> list[str]:
    """A process's mounts, with their numbers and all their options."""
    return Path(f"/proc/{pid}/mountinfo").read_text().splitlines()


WELL = [
    {"destination": "/new/deep/tmpfs", "type": "tmpfs", "source": "tmpfs"},
    {"destination": "/dev/shm", "type": "tmpfs", "source": "tmpfs"},
    {"destination": "/dev/shm", "options": ["remount", "bind", "ro", "noexec", "noatime"]},
    {"destination": "/proc", "options": ["remount", "bind", "ro", "nosuid"]},
    {"destination": "/new/file", "source": "/etc/passwd", "options": ["bind", "ro"]},
    {"destination": "/new/etc", "source": "/etc", "options": ["rbind", "rshared", "rslave"]},
    {"destination": "/new/link", "source": "/proc/mounts", "options": ["bind", "copy-symlink"]},
]
ILL: dict[str, dict[str, Any]] = {
    "an option of the filesystem's": {"destination": "/ill/a/b", "type": "tmpfs", "options": ["size=much"]},
    "no such filesystem": {"destination": "/ill/a/b", "type": "nosuch"},
    "a source that isn't there": {"destination": "/ill/a", "source": "/no/such", "options": ["bind"]},
    "a file on a directory": {"destination": "/new", "source": "/etc/passwd", "options": ["bind"]},
    "a change of what is no mount": {"destination": "/new", "options": ["remount", "bind", "ro"]},
    "a second propagation of what is no mount": {"destination": "/tmp", "options": ["remount", "private"]},
}


@pytest.mark.parametrize("user", [False, True])
@pytest.mark.parametrize("why", ILL)
def test_after_a_failure_everything_is_as_it_was(
    pyoci: Runtime, reachable: MakeBundle, tmp_path: Path, why: str, user: bool
) -> None:
    """What was mounted, mounted over, changed and made, and also what the failing entry has done so far."""
    linux: dict[str, Any] = {}
    if user:
        linux = {
            "namespaces": [*namespaces(), {"type": "user"}],
            "uidMappings": MAPPINGS,
            "gidMappings": MAPPINGS,
        }
    here = reachable(process={"args": ["sleep", "1000"]}, root={"readonly": False}, linux=linux)
    if user:
        os.chown(here / "rootfs", 100000, 100000)
    container = pyoci.launch(here)
    pid = pyoci.pid(container)
    before, files = table(pid), sorted((here / "rootfs").rglob("*"))
    file = written(tmp_path / "more", *WELL, ILL[why])
    error = pyoci.fails("mounts", "add", container, file)
    assert f"/mounts/{len(WELL)}" in error
    assert table(pid) == before
    assert sorted((here / "rootfs").rglob("*")) == files
    assert pyoci.state(container)["status"] == "running"


@pytest.mark.parametrize("destination", ["/", "/..", "/tmp/link"])
def test_the_root_of_a_running_container_can_not_be_covered(
    pyoci: Runtime, bundle: MakeBundle, tmp_path: Path, destination: str
) -> None:
    """Its processes have their root already: they would see the old one."""
    here = bundle(process={"args": ["sleep", "1000"]})
    (here / "rootfs/tmp/link").symlink_to("/")
    container = pyoci.launch(here)
    before = points(pyoci.pid(container))
    file = written(
        tmp_path / "more",
        {"destination": "/dev/shm/t", "type": "tmpfs", "source": "tmpfs"},
        bound(tmp_path, destination),
    )
    assert "its processes would not see" in pyoci.fails("mounts", "add", container, file)
    assert points(pyoci.pid(container)) == before


@pytest.mark.parametrize("options", [["rw"], ["rw", "nosuid"]])
def test_what_the_host_has_locked_stays_with_a_warning(
    pyoci: Runtime, reachable: MakeBundle, tmp_path: Path, options: list[str]
) -> None:
    mappings = {"uidMappings": MAPPINGS, "gidMappings": MAPPINGS}
    linux = {"namespaces": [*namespaces(), {"type": "user"}], **mappings}
    container = pyoci.launch(reachable(process={"args": ["sleep", "1000"]}, linux=linux))
    source = tmp_path / "locked"
    source.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "ro,nodev", "x", source], check=True)
    try:
        file = written(tmp_path / "more", bound(source, "/dev/shm/t") | {"options": ["bind", *options]})
        result = pyoci("mounts", "add", container, file)
    finally:
        subprocess.run(["umount", source], check=True)
    assert '/mounts/0: "/dev/shm/t" keeps ro:' in result.stderr
    shown = {mount["point"]: mount for mount in host.mounts(pyoci.pid(container))}["/dev/shm/t"]
    assert {"ro", "nodev"} <= set(shown["options"].split(","))
