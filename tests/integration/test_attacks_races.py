"""Published attacks by a symlink that comes and goes while a container is being made, in a volume that the attacker has too.

How many containers are made for each: PYOCI_TEST_RACES (20).
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from conformance import host
from conformance.bundles import DEFAULT_CONFIG, bound, mounts, namespaces, write_config
from conformance.runtime import Runtime, new_id

from .attackers import RACES, Outside, exchanging, in_root, swapping
from .conftest import MakeBundle

# Debian 12's are older than most of these advisories, and say other words.
pytestmark = pytest.mark.peers_differ(crun="1.8.1", runc="1.1.5")
# What the mounts of a test are known by, in whichever mount table they show.
MARK = f"{host.TAG}-raced"
UNIX98_SLAVE = 136
ATTRIBUTES = ("nosuid", "nodev")


@dataclass
class Shared:
    """A volume of the host's, mounted at /volume; in it a name that is a directory or a symlink."""

    path: Path
    outside: Outside

    @property
    def swapped(self) -> Path:
        return self.path / "swapped"


@pytest.fixture
def shared(tmp_path: Path) -> Shared:
    volume = tmp_path / "volume"
    (volume / "swapped").mkdir(parents=True)
    return Shared(volume, Outside(tmp_path / "outside"))


def overlay(base: Path, destination: str) -> dict[str, Any]:
    """An overlay whose options are longer than fsconfig(2) takes."""
    layers = [base / f"{MARK}-{number}-{'x' * 100}" for number in range(3)]
    for layer in layers:
        layer.mkdir(parents=True)
    options = [f"lowerdir={':'.join(map(str, layers))}", *ATTRIBUTES]
    return {"destination": destination, "type": "overlay", "source": MARK, "options": options}


def raced_mounts(base: Path) -> list[dict[str, Any]]:
    """A mount of each kind, all of them at places below the name that is swapped."""
    source = base / f"{MARK}-source"
    source.mkdir(parents=True)
    (source / "file").touch()
    file = {"source": str(source / "file"), "options": ["bind", *ATTRIBUTES]}
    tmpfs = {"type": "tmpfs", "source": MARK, "options": list(ATTRIBUTES)}
    return [
        overlay(base, "/volume/swapped/overlay"),
        file | {"destination": "/volume/swapped/file"},
        bound(source, "/volume/swapped/bound") | {"options": ["rbind", *ATTRIBUTES]},
        tmpfs | {"destination": "/volume/swapped/tmpfs"},
        tmpfs | {"destination": "/volume/swapped/deep/er"},
    ]


def furnish(directory: Path) -> None:
    """The places that the mounts are for."""
    for name in ("overlay", "bound", "tmpfs", "deep/er"):
        (directory / name).mkdir(parents=True)
    (directory / "file").touch()


def marked(table: str) -> list[tuple[str, list[str]]]:
    """Where our mounts are, and with which attributes."""
    rows = [line.split(" ") for line in table.splitlines() if MARK in line]
    return [(row[4], row[5].split(",")) for row in rows]


AMONG_THE_HOSTS = {"namespaces": namespaces("mount"), "maskedPaths": None, "readonlyPaths": None}
TEXTS = {"absolute": str, "relative": lambda path: "../" * 20 + str(path)[1:]}


@pytest.mark.parametrize(
    ("text", "linux"),
    [("absolute", {}), ("relative", {}), ("absolute", AMONG_THE_HOSTS)],
    ids=["absolute", "relative", "among the host's mounts"],
)
def test_cve_2021_30465_a_swapped_destination_leads_no_mount_out(
    pyoci: Runtime, bundle: MakeBundle, shared: Shared, tmp_path: Path, text: str, linux: dict[str, Any]
) -> None:
    """runc looked whether the destination was in the root, and then mounted on its path."""
    dump = tmp_path / "mountinfo"
    here = bundle(
        process={"args": ["sleep", "1000"]},
        mounts=mounts(bound(shared.path, "/volume"), *raced_mounts(tmp_path / "sources")),
        # Before the container gets its root: there all that was mounted shows, wherever it is.
        hooks={"createContainer": [{"path": "/bin/cp", "args": ["cp", "/proc/self/mountinfo", str(dump)]}]},
        linux=linux,
    )
    for directory in (shared.outside.path, shared.swapped, in_root(here, shared.outside.path)):
        furnish(directory)
    shared.outside.remember()
    before = host.mounts()
    found: list[str] = []
    with swapping(shared.swapped, TEXTS[text](shared.outside.path)):
        for _ in range(RACES):
            container = pyoci.create(here)
            assert linux or host.mounts() == before
            for point, attributes in marked(dump.read_text()):
                assert Path(point).is_relative_to(here / "rootfs")
                assert set(ATTRIBUTES) <= set(attributes), point
                found.append(point)
            pyoci("delete", "--force", container)
            assert host.mounts() == before
    shared.outside.assert_untouched()
    assert len(found) == 5 * RACES
    assert len({Path(point).parent for point in found}) > 2, "the symlink was never, or always, there"


def test_cve_2024_45310_nothing_is_made_outside(pyoci: Runtime, bundle: MakeBundle, shared: Shared) -> None:
    """runc made what was missing of a path by its name, and so empty directories and files on the host."""
    here = bundle(process={"args": ["sleep", "1000"]})
    document = json.loads((here / "config.json").read_text())
    with swapping(shared.swapped, str(shared.outside.path)):
        for number in range(RACES):
            new = f"/volume/swapped/{number}"
            file = {"destination": f"{new}/a/file", "source": "/dev/null", "options": ["bind"]}
            directory = {"destination": f"{new}/b/directory", "type": "tmpfs", "source": MARK}
            document["mounts"] = mounts(bound(shared.path, "/volume"), file, directory)
            document["process"]["cwd"] = f"{new}/c/cwd"
            document["linux"]["devices"] = [{"path": f"{new}/d/fifo", "type": "p"}]
            write_config(here, document)
            container = new_id()
            pyoci.attempt("create", "--bundle", here, container)
            pyoci("delete", "--force", container)
    shared.outside.assert_untouched()
    assert any(shared.swapped.iterdir()), "the directory was never there"
    assert in_root(here, shared.outside.path).is_dir(), "the symlink was never followed"


def test_cve_2024_21626_a_working_directory_that_becomes_a_descriptor(
    pyoci: Runtime, bundle: MakeBundle, shared: Shared
) -> None:
    """First a directory, and when it is changed to a symlink to what the init has open: 3 is the host's root, as asked for."""
    here = bundle(
        process={"args": ["sleep", "1000"], "cwd": "/volume/swapped"},
        mounts=mounts(bound(shared.path, "/volume")),
    )
    own = shared.swapped.stat()
    said = ""
    with swapping(shared.swapped, "/proc/self/fd/3"):
        for number in range(5 * RACES):
            if number >= RACES and "outside of the container" in said:
                break
            container = new_id()
            command = ["create", "--preserve-fds", "1", "--bundle", str(here), container]
            whole = ["sh", "-c", 'exec "$@" 3</', "sh", *pyoci.command, *command]
            with tempfile.TemporaryFile("w+") as errors:
                done = subprocess.run(
                    whole, stdin=subprocess.DEVNULL, stdout=errors, stderr=errors, timeout=30
                )
                errors.seek(0)
                said += errors.read()
            if done.returncode == 0:
                assert os.path.samestat(os.stat(f"/proc/{pyoci.pid(container)}/cwd"), own)
            pyoci("delete", "--force", container)
    assert "outside of the container" in said, "the moment was never hit"


def without_dev() -> list[dict[str, Any]]:
    return [mount for mount in DEFAULT_CONFIG["mounts"] if not mount["destination"].startswith("/dev")]


def test_cve_2025_31133_and_62161_a_null_that_becomes_a_symlink(
    pyoci: Runtime, bundle: MakeBundle, tmp_path: Path
) -> None:
    """/dev/null is looked at, then it is mounted over what is to be masked: between the two it was exchanged."""
    dev = tmp_path / "dev"
    dev.mkdir()
    os.mknod(dev / "null", 0o020666, os.makedev(1, 3))
    (dev / "link").symlink_to("/tmp/other")
    here = bundle(
        process={"args": ["sleep", "1000"]},
        mounts=[bound(dev, "/dev"), *without_dev()],
        linux={"maskedPaths": [f"/tmp/secret-{number}" for number in range(20)]},
    )
    for name in ("other", *(f"secret-{number}" for number in range(20))):
        (here / "rootfs/tmp" / name).write_text("secret\n")
    with exchanging(dev / "null", dev / "link"):
        for _ in range(RACES):
            container = pyoci.create(here)
            tmp = Path(f"/proc/{pyoci.pid(container)}/root/tmp")
            for number in range(20):
                assert (tmp / f"secret-{number}").stat().st_rdev == os.makedev(1, 3)
            assert (tmp / "other").read_text() == "secret\n"
            pyoci("delete", "--force", container)


def test_cve_2025_52565_a_devpts_that_becomes_a_directory(
    pyoci: Runtime, bundle: MakeBundle, tmp_path: Path
) -> None:
    """While the terminal is made, /dev/pts is exchanged for a directory whose files are others of the same names."""
    for name in ("pts", "other"):
        (tmp_path / "dev" / name).mkdir(parents=True)
    for name in ("ptmx", "0"):
        (tmp_path / "dev/other" / name).symlink_to("/proc/sysrq-trigger")
    pts = next(mount for mount in DEFAULT_CONFIG["mounts"] if mount["destination"] == "/dev/pts")
    here = bundle(
        process={"args": ["sleep", "1000"], "terminal": True},
        mounts=[bound(tmp_path / "dev", "/dev"), pts, *without_dev()],
    )
    made = 0
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as console:
        console.bind(str(tmp_path / "console"))
        console.listen(1000)
        with exchanging(tmp_path / "dev/pts", tmp_path / "dev/other"):
            for _ in range(RACES):
                container = new_id()
                flags = ["--console-socket", str(tmp_path / "console"), "--bundle", str(here)]
                if pyoci.attempt("create", *flags, container).code == 0:
                    made += 1
                    process = Path(f"/proc/{pyoci.pid(container)}")
                    terminal = (process / "fd/0").stat()
                    assert os.major(terminal.st_rdev) == UNIX98_SLAVE
                    assert os.path.samestat((process / "root/dev/console").stat(), terminal)
                pyoci("delete", "--force", container)
    assert made > 0


def test_the_attack_gets_through_to_those_who_look_first(shared: Shared) -> None:
    """The control of all these: what the swapping does to a check that is right when it is made."""
    with swapping(shared.swapped, str(shared.outside.path)):
        for number in range(100_000):
            if not shared.swapped.is_symlink():
                (shared.swapped / str(number)).touch()
            if (shared.outside.path / str(number)).exists():
                break
    with pytest.raises(AssertionError):
        shared.outside.assert_untouched()


def hidden_in_proc(pid: int) -> int:
    """How many mounts lie on a process's procfs, by whatever name that goes now."""
    rows = [line.split(" ") for line in Path(f"/proc/{pid}/mountinfo").read_text().splitlines()]
    (whole,) = [row[0] for row in rows if row[3] == "/" and row[row.index("-") + 1] == "proc"]
    return sum(row[1] == whole for row in rows)


@pytest.mark.parametrize("fake", ["symlink", "directory"])
def test_cve_2019_19921_proc_is_hidden_where_it_was_mounted(
    pyoci: Runtime, bundle: MakeBundle, tmp_path: Path, fake: str
) -> None:
    """A root filesystem that two containers share: one exchanges /proc while the other is being made."""
    here = bundle(process={"args": ["sleep", "1000"]})
    usual = hidden_in_proc(pyoci.pid(pyoci.create(here)))
    assert usual > 5
    elsewhere = here / "rootfs/tmp/fake"
    furnish_like_proc(elsewhere)
    other = here / "rootfs/proc.other"
    if fake == "symlink":
        other.symlink_to("/tmp/fake")
    else:
        furnish_like_proc(other)
    made = 0
    with exchanging(here / "rootfs/proc", other):
        for _ in range(RACES):
            container = new_id()
            if pyoci.attempt("create", "--bundle", here, container).code == 0:
                assert hidden_in_proc(pyoci.pid(container)) == usual
                made += 1
            pyoci("delete", "--force", container)
    assert made > 0


def test_cve_2019_19921_and_2019_16884_no_volume_gets_into_proc_by_a_race(
    pyoci: Runtime, bundle: MakeBundle, shared: Shared, tmp_path: Path
) -> None:
    """A destination in a shared volume is an ordinary directory, and the next moment the container's /proc."""
    source = tmp_path / MARK
    source.mkdir()
    (shared.swapped / "sys").mkdir()
    here = bundle(
        process={"args": ["sleep", "1000"]},
        mounts=mounts(bound(shared.path, "/volume"), bound(source, "/volume/swapped/sys")),
    )
    usual = hidden_in_proc(pyoci.pid(pyoci.create(here)))
    refused = 0
    with swapping(shared.swapped, "/proc"):
        for _ in range(RACES):
            container = new_id()
            result = pyoci.attempt("create", "--bundle", here, container)
            if result.code == 0:
                assert hidden_in_proc(pyoci.pid(container)) == usual
            else:
                assert "in /proc" in result.stderr
                refused += 1
            pyoci("delete", "--force", container)
    assert 0 < refused < RACES


def furnish_like_proc(directory: Path) -> None:
    """A directory with everything in it that is to be hidden or read-only in /proc."""
    linux = DEFAULT_CONFIG["linux"]
    for path in [*linux["maskedPaths"], *linux["readonlyPaths"]]:
        (directory / path.removeprefix("/proc/").removeprefix("/")).mkdir(parents=True, exist_ok=True)
