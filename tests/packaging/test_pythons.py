"""The wheel with every Python that is here, and the sdist, each in a virtual environment of its own on this machine."""

from __future__ import annotations

import glob
import shutil
import subprocess
import uuid
from pathlib import Path

import pytest

from .roots import run

VERSIONS = ("3.11", "3.12", "3.13", "3.14")


def interpreter(version: str) -> str:
    """A Python of that version; skips if none is here."""
    for candidate in (
        f"/usr/bin/python{version}",
        *glob.glob(f"/root/.pyenv/versions/{version}.*/bin/python3"),
    ):
        if Path(candidate).exists():
            return candidate
    found = shutil.which(f"python{version}")
    if not found or subprocess.run([found, "-c", "pass"], capture_output=True).returncode != 0:
        pytest.skip(f"no Python {version} is on this machine")
    return found


def works(venv: Path, shared: Path, root: Path) -> None:
    """What is installed in the environment runs a container, and explains a mistake."""
    command = venv / "bin/pyoci"
    name = f"wheel-{uuid.uuid4().hex[:8]}"
    ran = subprocess.run(
        [command, "--root", root, "run", "--bundle", shared / "bundle", name], capture_output=True, text=True
    )
    assert (ran.stdout, ran.stderr) == ("hello from pyoci\n", "chmod: /tmp: Operation not permitted\n")
    broken = subprocess.run([command, "check", shared / "broken"], capture_output=True, text=True)
    assert "/process/cwd: must be an absolute path" in broken.stderr
    assert run([venv / "bin/python3", "-c", "import pyoci; print(pyoci.Container)"])


@pytest.mark.parametrize("version", VERSIONS)
def test_the_wheel(version: str, shared: Path, tmp_path: Path) -> None:
    run([interpreter(version), "-m", "venv", tmp_path / "venv"])
    (wheel,) = (shared / "dist").glob("*.whl")
    run([tmp_path / "venv/bin/pip", "install", "--quiet", f"{wheel}[systemd]"])
    works(tmp_path / "venv", shared, tmp_path / "root")


def test_the_sdist(shared: Path, tmp_path: Path) -> None:
    run(["/usr/bin/python3", "-m", "venv", tmp_path / "venv"])
    (sdist,) = (shared / "dist").glob("*.tar.gz")
    run([tmp_path / "venv/bin/pip", "install", "--quiet", sdist])
    works(tmp_path / "venv", shared, tmp_path / "root")
