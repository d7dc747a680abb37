"""Python packages that only some commands need: without them those end in one clear line."""

from __future__ import annotations

import json
import os
import subprocess
import sysconfig
from pathlib import Path

import pytest

from conformance.runtime import Runtime, new_id

from .conftest import MakeBundle

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture
def bare(pyoci: Runtime, tmp_path: Path) -> Runtime:
    """pyoci with cffi's module, which everything needs, and no other package."""
    libraries = Path(sysconfig.get_path("platlib"))
    packages = tmp_path / "packages"
    packages.mkdir()
    for each in libraries.glob("_cffi_backend*"):
        (packages / each.name).symlink_to(each)
    launcher = tmp_path / "pyoci"
    launcher.write_text(pyoci.path.read_text().replace(str(libraries), str(packages)))
    launcher.chmod(0o755)
    return Runtime(launcher, pyoci.root)


def test_a_valid_config_needs_none(bare: Runtime, bundle: MakeBundle) -> None:
    assert bare.output(bundle(process={"args": ["echo", "runs"]})) == "runs\n"


@pytest.mark.parametrize("command", ["check", "create"])
def test_what_is_wrong_needs_jsonschema(bare: Runtime, bundle: MakeBundle, command: str) -> None:
    path = bundle(process={"args": ["true"], "cwd": "relative"})
    words = [str(path)] if command == "check" else ["--bundle", str(path), new_id()]
    said = bare.fails(command, *words).splitlines()
    assert said[0] == (
        "pyoci: config.json is not valid, and what is wrong can't be told: "
        "the Python package jsonschema is not installed, which is needed for this"
    )
    assert said[1].startswith("hint: `") and "-m pip install jsonschema`" in said[1]
    assert len(said) == 2


# What a host that is run by systemd has of it, in a mount namespace of its own.
AS_IF_SYSTEMD = 'mount -t tmpfs none /run && mkdir -p /run/systemd/system && exec "$@"'


def test_the_systemd_driver_needs_jeepney(bare: Runtime, sleeper: Path, tmp_path: Path) -> None:
    command = [*bare.command, "--systemd-cgroup", "create", "--bundle", str(sleeper), new_id()]
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", AS_IF_SYSTEMD, "sh", *command], capture_output=True, text=True
    )
    assert done.returncode == 1
    assert done.stderr.splitlines()[0] == (
        "pyoci: the Python package jeepney is not installed, which is needed for this"
    )
    assert len(done.stderr.splitlines()) == 2
    assert os.listdir(bare.root) == []


@pytest.mark.parametrize("command", ["delete --force", "kill --all"])
def test_what_systemd_made_needs_jeepney_later(bare: Runtime, sleeper: Path, command: str) -> None:
    """No traceback, and the container stays known."""
    container = bare.create(sleeper)
    file = bare.root / container / "state.json"
    state = json.loads(file.read_text())
    known = {"unit": "pyoci-none.scope", "user": False, "ours": True, "collected": False}
    changed = state | {"cgroups": state["cgroups"] | {"systemd": known}}
    file.write_text(json.dumps(changed))
    done = bare.attempt(*command.split(), container)
    assert "Traceback" not in done.stderr
    if command.startswith("delete"):
        assert "the Python package jeepney is not installed" in done.stderr
    file.write_text(json.dumps(state))
    bare("delete", "--force", container)
