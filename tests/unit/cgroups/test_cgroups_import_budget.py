"""pyoci.cgroups is on the path of every command: what it loads is part of the start-up budget."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[3]


def loaded_by(modules: str) -> set[str]:
    """What an isolated interpreter loads besides its own start-up and built-in modules."""
    script = (
        f"import sys, os; sys.path.insert(0, {str(REPOSITORY)!r}); before = set(sys.modules)\n{modules}\n"
    )
    script += "print(*(set(sys.modules) - before - set(sys.builtin_module_names)))"
    run = subprocess.run([sys.executable, "-ISc", script], check=True, capture_output=True, text=True)
    return set(run.stdout.split())


BASE = {
    "pyoci", "pyoci.errors", "pyoci.paths",
    "pyoci.cgroups", "pyoci.cgroups.layout", "pyoci.cgroups.ownership", "pyoci.cgroups.tree",
}  # fmt: skip


@pytest.mark.parametrize(
    ("modules", "besides"),
    [
        ("from pyoci.cgroups import tree", set()),
        ("from pyoci.cgroups import members", {"members"}),
        ("from pyoci.cgroups import limits, v1, devices", {"limits", "v1", "devices"}),
        (
            "from pyoci.cgroups import limits, v2, device_filter",
            {"limits", "v2", "devices", "device_filter"},
        ),
        # Without a word to systemd: neither jeepney nor what it pulls in.
        ("from pyoci.cgroups import systemd", {"systemd", "systemd_names", "systemd_properties"}),
    ],
)
def test_only_its_own_modules_are_loaded(modules: str, besides: set[str]) -> None:
    # _struct is a C module that is a file of its own in some builds.
    assert loaded_by(modules) - {"_struct", "pyoci.files"} == BASE | {
        f"pyoci.cgroups.{name}" for name in besides
    }
