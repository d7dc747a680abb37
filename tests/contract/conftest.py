"""The same runtime and fixtures as conformance/, called as engines call it.

RUNTIME=/usr/bin/crun or RUNTIME=/usr/bin/runc runs a peer in its place, to prove the tests themselves.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from conformance import fixtures
from conformance.fixtures import (  # noqa: F401
    MakeBundle,
    bundle,
    runtime,
    runtime_file,
    sleeper,
)
from conformance.runtime import Runtime


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", fixtures.PEERS_DIFFER)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    fixtures.expect_differences(config, [item for item in items if "contract" in item.path.parts])


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """The file that an engine reads messages from."""
    return tmp_path / "log.json"


@pytest.fixture
def go_runc(runtime: Runtime, log: Path) -> Runtime:  # noqa: F811
    """The runtime as the Go package go-runc calls it, for containerd, docker and buildkit."""
    return called(runtime, "--root", str(runtime.root), "--log", str(log), "--log-format", "json")


@pytest.fixture
def podman(runtime: Runtime) -> Runtime:  # noqa: F811
    """The runtime as podman, conmon and buildah call it, but for --root, which keeps the tests apart."""
    return called(runtime, "--root", str(runtime.root))


@pytest.fixture
def cri_o(runtime: Runtime) -> Runtime:  # noqa: F811
    """The runtime as CRI-O calls it."""
    return called(runtime, f"--root={runtime.root}")


def called(runtime: Runtime, *flags: str) -> Runtime:  # noqa: F811
    """The same runtime with other global flags."""
    other = Runtime(runtime.path, runtime.root)
    other.command = [str(runtime.path), *flags]
    return other
