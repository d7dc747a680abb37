"""The runtime under test is <repository>/.venv/bin/pyoci, or what the environment variable PYOCI names.

PYOCI=/usr/bin/crun or PYOCI=/usr/bin/runc runs a peer in its place, to prove the tests themselves.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from bundles import make_bundle
from peers import legacy_hierarchies

from . import host
from .runtime import Runtime

REPOSITORY = Path(__file__).resolve().parents[2]
PATH = Path(os.environ.get("PYOCI") or REPOSITORY / ".venv/bin/pyoci").absolute()

MakeBundle = Callable[..., Path]


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers",
        "peers_differ(crun=REASON, runc=REASON): the specification or pyoci's own promise, not theirs",
    )


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        for marker in item.iter_markers("peers_differ"):
            if PATH.name in marker.kwargs:
                item.add_marker(pytest.mark.xfail(reason=f"{PATH.name}: {marker.kwargs[PATH.name]}"))


@pytest.fixture(scope="session")
def runtime() -> Iterator[Path]:
    """The absolute path of the runtime under test."""
    if os.geteuid() != 0:
        pytest.skip("the integration tests make containers with cgroups, so they need root")
    if not PATH.exists():
        if "PYOCI" in os.environ:
            pytest.fail(f"PYOCI names {PATH}, which does not exist")
        pytest.skip(f"pyoci is not installed at {PATH}")
    host.adopt_orphans()
    host.enter_own_mount_namespace()
    with ExitStack() as stack:
        if PATH.name == "crun":
            stack.enter_context(legacy_hierarchies())
        yield PATH


@contextmanager
def leaving_nothing(path: Path, root: Path) -> Iterator[Runtime]:
    """A runtime with its state in `root`, whose containers are removed at the end and must leave nothing."""
    root.mkdir(mode=0o700)
    before = host.snapshot(root)
    runtime = Runtime(path, root)
    try:
        yield runtime
    finally:
        runtime.remove_all()
        more = host.leaks(before, root)
        host.sweep(before)
        host.reap()
        shutil.rmtree(root)
    assert not more, "left behind:\n" + "\n".join(more)


@pytest.fixture
def pyoci(runtime: Path, tmp_path: Path) -> Iterator[Runtime]:
    """The runtime under test; after the test nothing of its containers may be left."""
    with leaving_nothing(runtime, tmp_path / "root") as driver:
        yield driver


@pytest.fixture(scope="module")
def shared_pyoci(runtime: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runtime]:
    """The same for a module whose tests all look at one container."""
    with leaving_nothing(runtime, tmp_path_factory.mktemp("shared") / "root") as driver:
        yield driver


def bundle_factory(base: Path) -> MakeBundle:
    """What the `bundle` fixture gives, for bundles in the directory `base`."""

    def make(**changes: Any) -> Path:
        if PATH.name in ("crun", "runc"):
            changes = {"ociVersion": "1.0.2"} | changes  # the latest that Debian's crun 1.8.1 knows
        return make_bundle(base / f"bundle-{len(os.listdir(base))}", **changes)

    return make


@pytest.fixture
def bundle(tmp_path: Path) -> MakeBundle:
    """Make a bundle: the default configuration with the arguments merged in (see tests/bundles.py)."""
    base = tmp_path / "bundles"
    base.mkdir()
    return bundle_factory(base)


@pytest.fixture
def sleeper(bundle: MakeBundle) -> Path:
    """A bundle whose program sleeps for longer than any test takes."""
    return bundle(process={"args": ["sleep", "1000"]})
