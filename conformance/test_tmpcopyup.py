"""`tmpcopyup` of trees that are large or deep, by a caller who may open few files."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from .bundles import mounts
from .fixtures import MakeBundle
from .runtime import Runtime

COPIED = {"destination": "/copied", "type": "tmpfs", "source": "tmpfs", "options": ["tmpcopyup"]}
FILES, NAMES, LEVELS = 2000, 5, 1000
LEVEL = "directory"


@pytest.fixture
def source(bundle: MakeBundle) -> Iterator[Path]:
    """What is going to be copied, of a bundle that sleeps. Its paths may be too long for Python."""
    here = bundle(process={"args": ["sleep", "1000"], "rlimits": None}, mounts=mounts(COPIED))
    directory = here / "rootfs/copied"
    directory.mkdir()
    yield directory
    subprocess.run(["rm", "-rf", directory], check=True)


def copy(runtime: Runtime, source: Path) -> int:
    """The copy, a descriptor; made by a runtime that may open 64 files."""
    limited = Runtime(runtime.path, runtime.root)
    limited.command = ["prlimit", "--nofile=64:64", *runtime.command]
    container = limited.launch(source.parent.parent)
    return os.open(f"/proc/{runtime.pid(container)}/root/copied", os.O_RDONLY)


def below(directory: int, name: str) -> int:
    """That subdirectory, in place of the directory."""
    fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW, dir_fd=directory)
    os.close(directory)
    return fd


@pytest.mark.shows("mounts.tmpcopyup")
@pytest.mark.peers_differ(crun="copies each name", runc="copies each name")
def test_many_files_with_several_names(runtime: Runtime, source: Path) -> None:
    for other in range(NAMES):
        (source / str(other)).mkdir()
    for i in range(FILES):
        os.close(os.open(source / f"0/{i}", os.O_CREAT | os.O_WRONLY, 0o640))
        for other in range(1, NAMES):
            os.link(source / f"0/{i}", source / f"{other}/{i}")
    copied = copy(runtime, source)
    try:
        inodes = [
            {entry.name: entry.inode() for entry in os.scandir(f"/proc/self/fd/{copied}/{other}")}
            for other in range(NAMES)
        ]
        assert len(set(inodes[0].values())) == FILES
        assert all(each == inodes[0] for each in inodes)
        assert os.stat("0/7", dir_fd=copied).st_nlink == NAMES
    finally:
        os.close(copied)


@pytest.mark.shows("mounts.tmpcopyup")
@pytest.mark.peers_differ(crun="opens each level", runc="opens each level")
def test_a_deep_tree(runtime: Runtime, source: Path) -> None:
    at = os.open(source, os.O_RDONLY)
    os.close(os.open("first", os.O_CREAT | os.O_WRONLY, 0o600, dir_fd=at))
    top = os.dup(at)
    for level in range(LEVELS):
        os.mkdir(LEVEL, 0o755 - level % 2, dir_fd=at)
        at = below(at, LEVEL)
    os.link("first", "last", src_dir_fd=top, dst_dir_fd=at)
    os.utime(at, (1, 2))
    os.close(at)
    os.close(top)
    at = copy(runtime, source)
    first = os.stat("first", dir_fd=at).st_ino
    for level in range(LEVELS):
        assert os.listdir(at).count(LEVEL) == 1
        at = below(at, LEVEL)
        assert os.fstat(at).st_mode & 0o777 == 0o755 - level % 2
    try:
        assert os.listdir(at) == ["last"]
        assert os.stat("last", dir_fd=at).st_ino == first
        assert os.fstat(at).st_mtime == 2
    finally:
        os.close(at)
