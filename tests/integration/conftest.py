"""The same runtime and fixtures as conformance/, under the names of pyoci's own tests.

RUNTIME=/usr/bin/crun or RUNTIME=/usr/bin/runc runs a peer in its place, to prove the tests themselves.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from conformance import fixtures
from conformance.fixtures import (  # noqa: F401
    MakeBundle,
    bundle,
    bundle_factory,
    leaving_nothing,
    reachable,
    runtime,
    runtime_file,
    runtime_path,
    shared_runtime,
    sleeper,
)
from conformance.runtime import Runtime


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", fixtures.PEERS_DIFFER)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    fixtures.expect_differences(config, [item for item in items if "integration" in item.path.parts])


@pytest.fixture
def pyoci(runtime: Runtime) -> Runtime:  # noqa: F811
    """The runtime under test; after the test nothing of its containers may be left."""
    return runtime


@pytest.fixture(scope="module")
def shared_pyoci(shared_runtime: Runtime) -> Runtime:  # noqa: F811
    """The same for a module whose tests all look at one container."""
    return shared_runtime


@pytest.fixture(scope="session")
def faults(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A library for `suffering`."""
    if shutil.which("cc") is None:
        pytest.skip("the host has no C compiler")
    library = tmp_path_factory.mktemp("faults") / "faults.so"
    source = Path(__file__).with_name("faults.c")
    subprocess.run(["cc", "-shared", "-fPIC", "-D_GNU_SOURCE", "-Wall", "-o", library, source], check=True)
    return library


def suffering(library: Path, fault: str) -> dict[str, str]:
    """The environment of a command to which something happens that faults.c knows."""
    return {**os.environ, "LD_PRELOAD": str(library), "FAULT": fault}
