"""Fixtures for the ways to install pyoci. What takes minutes, and what `make deb wheel` makes, is run by `make test-packages`."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from conformance.bundles import make_bundle

from .roots import System, bare

CHECKOUT = Path(__file__).resolve().parents[2]
DIST = CHECKOUT / "dist"
FILTER = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["chmod"], "action": "SCMP_ACT_ERRNO"}]}

collect_ignore = [] if "PYOCI_TEST_PACKAGES" in os.environ else ["test_installed.py", "test_pythons.py"]


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory that every system has as /mnt: what was made for people, and two bundles."""
    directory = tmp_path_factory.mktemp("shared")
    shutil.copytree(DIST, directory / "dist")
    program = ["sh", "-c", "echo hello from $(hostname); chmod 777 /tmp"]
    make_bundle(directory / "bundle", process={"args": program}, linux={"seccomp": FILTER})
    make_bundle(directory / "broken", process={"cwd": "tmp"})
    return directory


@pytest.fixture(scope="session")
def debian(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> System:
    """A bare Debian that knows which packages there are."""
    suite = os.environ.get("PYOCI_TEST_SUITE", "bookworm")
    system = System([bare(suite)], tmp_path_factory.mktemp("debian"), shared)
    system("apt-get", "-qq", "update")
    return system
