"""The same runtime and fixtures as conformance/, under the names of pyoci's own tests.

RUNTIME=/usr/bin/crun or RUNTIME=/usr/bin/runc runs a peer in its place, to prove the tests themselves.
"""

from __future__ import annotations

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
