from __future__ import annotations

import pytest

from . import fixtures, statements
from .fixtures import (  # noqa: F401
    bundle,
    compiled,
    enclosed,
    reachable,
    runtime,
    runtime_file,
    shared_runtime,
    sleeper,
)

COVERED: pytest.StashKey[dict[str, set[str]]] = pytest.StashKey()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--runtime", metavar="PATH", help="the OCI runtime to test (default: .venv/bin/pyoci)")


def pytest_configure(config: pytest.Config) -> None:
    for text in (fixtures.PEERS_DIFFER, *statements.MARKERS.values()):
        config.addinivalue_line("markers", text)


# Before -k and -m take tests away: what is covered doesn't depend on what is run.
@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    here = [item for item in items if item.path.is_relative_to(statements.TABLE.parent)]
    config.stash[COVERED] = statements.marked(here)
    fixtures.expect_differences(config, here)
