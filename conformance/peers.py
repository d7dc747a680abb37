"""What crun needs of a host when it stands beside pyoci in the benchmark, or in its place in the tests."""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

UNIFIED = Path("/sys/fs/cgroup/unified")
# The kernel takes a hierarchy apart in the background, in about 2 s once containers have used it.
CLEAN_UP_S = 10.0


def unified_controllers() -> list[str]:
    """The controllers that a hybrid host's version 2 hierarchy holds, because no version 1 hierarchy does."""
    try:
        return (UNIFIED / "cgroup.controllers").read_text().split()
    except OSError:
        return []


def vanishing_controllers() -> list[str]:
    """The controllers of version 1 hierarchies that nothing mounts: on their way back to version 2."""
    mounted: set[str] = set()
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        kind, _, options = line.partition(" - ")[2].split(" ")
        if kind == "cgroup":
            mounted.update(options.split(","))
    rows = [line.split() for line in Path("/proc/cgroups").read_text().splitlines()[1:]]
    return [row[0] for row in rows if row[1] != "0" and row[0] not in mounted]


@contextmanager
def legacy_hierarchies() -> Iterator[list[Path]]:
    """Mount each free controller as a version 1 hierarchy in a private directory, while the block runs.

    Debian's crun refuses a hybrid layout in which the version 2 hierarchy holds a controller ("drop all
    controllers from cgroupv2"). Afterwards the host's hierarchies are as they were.
    """
    mounted: list[Path] = []
    directory = Path(tempfile.mkdtemp(prefix="pyoci-hierarchies-"))
    try:
        # mount(2) itself waits for a vanishing hierarchy to be gone.
        for controller in unified_controllers() + (vanishing_controllers() if UNIFIED.exists() else []):
            target = directory / controller
            target.mkdir()
            subprocess.run(["mount", "-t", "cgroup", "-o", controller, "none", str(target)], check=True)
            mounted.append(target)
        yield mounted
    finally:
        for target in mounted:
            _give_back(target)
        for target in directory.iterdir():
            target.rmdir()
        directory.rmdir()


def _give_back(hierarchy: Path) -> None:
    # A hierarchy outlives its last mount for as long as it has a control group beside the root.
    for path, _, _ in os.walk(hierarchy, topdown=False):
        if Path(path) != hierarchy:
            try:
                os.rmdir(path)
            except OSError:
                pass
    subprocess.run(["umount", str(hierarchy)], check=True)
    deadline = time.monotonic() + CLEAN_UP_S
    while hierarchy.name not in unified_controllers() and time.monotonic() < deadline:
        time.sleep(0.01)
