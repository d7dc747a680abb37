"""What commands say when a part of the installation is missing: one line, of the command that needs it."""

import importlib.util
import os
import re
import shutil
import site
import subprocess
import sys
from pathlib import Path

import pytest

from conformance.bundles import make_bundle

CHECKOUT = Path(__file__).resolve().parents[2]


def launcher(path: list[str], python: str = f"{sys.prefix}/bin/python3") -> str:
    """The text of a command that looks for modules there."""
    spec = importlib.util.spec_from_file_location("launcher", CHECKOUT / "packaging/launcher.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    text: str = module.text(python, path)
    return text


@pytest.fixture
def alone(tmp_path: Path) -> Path:
    """pyoci's own package and nothing else of what it needs."""
    command = tmp_path / "pyoci"
    command.write_text(launcher([str(CHECKOUT)]))
    command.chmod(0o755)
    return command


def said(command: Path, *arguments: str | Path) -> tuple[int, list[str]]:
    done = subprocess.run([command, *arguments], capture_output=True, text=True)
    assert not done.stdout
    return done.returncode, done.stderr.splitlines()


def test_check_says_that_jsonschema_is_missing(alone: Path, tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "bundle", process={"cwd": "relative"})
    code, lines = said(alone, "check", bundle)
    assert code == 1
    assert lines[0].endswith("the Python package jsonschema is not installed, which is needed for this")
    assert lines[1].endswith(" installs it, or Debian's python3-jsonschema")
    assert len(lines) == 2


def test_a_good_config_needs_no_jsonschema(alone: Path, tmp_path: Path) -> None:
    assert said(alone, "check", make_bundle(tmp_path / "bundle")) == (0, [])


@pytest.mark.parametrize("command", ["create", "run"])
def test_what_starts_a_process_says_that_cffi_is_missing(alone: Path, tmp_path: Path, command: str) -> None:
    bundle = make_bundle(tmp_path / "bundle")
    code, lines = said(alone, "--root", tmp_path / "root", command, "--bundle", bundle, "x")
    assert code == 1
    assert lines[0] == "pyoci: the Python package cffi is not installed, which is needed for this"
    assert lines[1].endswith("-m pip install cffi` installs it, or Debian's python3-cffi-backend")
    assert len(lines) == 2
    assert not (tmp_path / "root/x").exists()


def test_commands_that_need_no_part_work_without(alone: Path, tmp_path: Path) -> None:
    done = subprocess.run([alone, "--root", tmp_path, "list"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("ID ")


def test_version_tells_what_is_missing(alone: Path) -> None:
    done = subprocess.run([alone, "--version"], capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    assert lines[0].startswith("pyoci version ")
    assert {"cffi: missing", "jsonschema: missing", "jeepney: missing"} <= set(lines)


def test_a_part_that_the_build_makes(alone: Path, tmp_path: Path) -> None:
    package = tmp_path / "copy/pyoci"
    shutil.copytree(CHECKOUT / "pyoci", package)
    (package / "plan/steps.py").unlink()
    alone.write_text(launcher([str(package.parent)]))
    code, lines = said(alone, "plan", make_bundle(tmp_path / "bundle"))
    assert code == 1
    assert lines == [
        "pyoci: a part of pyoci can't be loaded: No module named 'pyoci.plan.steps'",
        "hint: install pyoci again; in a checkout, run make",
    ]


@pytest.mark.parametrize("name", ["x" * 250, "it's here"])
def test_an_interpreter_whose_path_does_not_fit_into_the_first_line(tmp_path: Path, name: str) -> None:
    """A "#!" line ends after 255 characters and is split at blanks, execve(2)."""
    place = tmp_path / name
    place.mkdir(parents=True)
    (place / "python3").symlink_to("/usr/bin/python3")
    command = tmp_path / "pyoci"
    command.write_text(launcher([str(CHECKOUT)], str(place / "python3")))
    command.chmod(0o755)
    done = subprocess.run([command, "--root", tmp_path, "list"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("ID ")


@pytest.mark.skipif("os.geteuid() != 0", reason="starting a process of another version takes root")
def test_an_init_of_another_version_refuses_the_plan(tmp_path: Path) -> None:
    """What is step 7 to one may be another step to the other."""
    package = tmp_path / "copy/pyoci"
    shutil.copytree(CHECKOUT / "pyoci", package, ignore=shutil.ignore_patterns("__pycache__"))
    steps = package / "plan/steps.py"
    steps.write_text(re.sub(r"TABLE = (\d+)", r"TABLE = \1 ^ 1", steps.read_text()))
    command = tmp_path / "pyoci"
    command.write_text(launcher([str(package.parent), *site.getsitepackages()]))
    command.chmod(0o755)
    bundle = make_bundle(tmp_path / "bundle", process={"args": ["true"]})
    code, lines = said(
        command, "--root", tmp_path / "root", "run", "--bundle", bundle, f"other-{os.getpid()}"
    )
    assert code == 1
    assert "pyoci-init refuses the plan: it is damaged, or of another version of pyoci" in lines[0]
    assert lines[1:] == ["hint: install pyoci again; in a checkout, run make"]
    assert list((tmp_path / "root").glob("other-*")) == []
