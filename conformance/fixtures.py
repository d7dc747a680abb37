"""The fixtures of every test that makes containers, here and in tests/integration.

Which runtime they drive: the option --runtime, else the environment variable RUNTIME, else this repository's
own, .venv/bin/pyoci.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from . import host
from .bundles import make_bundle
from .namespace_holders import holder
from .peers import legacy_hierarchies
from .runtime import Runtime

REPOSITORY = Path(__file__).resolve().parent.parent

MakeBundle = Callable[..., Path]
Compile = Callable[[str], Path]

PEERS_DIFFER = "peers_differ(crun=REASON, runc=REASON): the specification or pyoci's own promise, not theirs"

# A reason that begins so keeps the test from being run at all.
HANGS = "it hangs"


def runtime_path(config: pytest.Config) -> Path:
    """The runtime that this test run is about."""
    named = config.getoption("--runtime", None) or os.environ.get("RUNTIME")
    if named is None:
        return REPOSITORY / ".venv/bin/pyoci"
    found = shutil.which(named)
    return Path(found or named).absolute()


def expect_differences(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Where a peer is known to do otherwise, its test may fail."""
    name = runtime_path(config).name
    for item in items:
        for marker in item.iter_markers("peers_differ"):
            if name in marker.kwargs:
                reason: str = marker.kwargs[name]
                run = not reason.startswith(HANGS)
                item.add_marker(pytest.mark.xfail(reason=f"{name}: {reason}", run=run))


@pytest.fixture(scope="session")
def runtime_file(pytestconfig: pytest.Config) -> Iterator[Path]:
    """The absolute path of the runtime under test, on a host prepared for it."""
    path = runtime_path(pytestconfig)
    if os.geteuid() != 0:
        pytest.skip("these tests make containers with cgroups, so they need root")
    if not path.exists():
        pytest.fail(f"there is no runtime at {path}")
    host.adopt_orphans()
    host.enter_own_mount_namespace()
    with ExitStack() as stack:
        stack.enter_context(host.kept_controllers())
        if path.name == "crun":
            stack.enter_context(legacy_hierarchies())
        yield path


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
        if more:
            host.sweep(before)
        host.reap()
        shutil.rmtree(root)
    assert not more, "left behind:\n" + "\n".join(more)


@pytest.fixture
def runtime(runtime_file: Path, tmp_path: Path) -> Iterator[Runtime]:
    """The runtime under test; after the test nothing of its containers may be left."""
    with leaving_nothing(runtime_file, tmp_path / "root") as driver:
        yield driver


@pytest.fixture(scope="module")
def shared_runtime(runtime_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runtime]:
    """The same for a module whose tests all look at one container."""
    with leaving_nothing(runtime_file, tmp_path_factory.mktemp("shared") / "root") as driver:
        yield driver


@pytest.fixture
def enclosed(runtime: Runtime) -> Iterator[tuple[Runtime, int]]:
    """The runtime in uts, ipc and network namespaces that stand for the host's, and a process that holds them.

    A runtime that changes its host by mistake harms nobody there.
    """
    with holder("uts", "ipc", "network") as pid:
        enclosed = Runtime(runtime.path, runtime.root)
        enclosed.command = ["nsenter", "--target", str(pid), "--uts", "--ipc", "--net", *runtime.command]
        yield enclosed, pid


def bundle_factory(base: Path, runtime: Path) -> MakeBundle:
    """What the `bundle` fixture gives, for bundles in the directory `base`."""

    def make(**changes: Any) -> Path:
        if runtime.name in ("crun", "runc"):
            changes = {"ociVersion": "1.0.2"} | changes  # the latest that Debian's crun 1.8.1 knows
        return make_bundle(base / f"bundle-{len(os.listdir(base))}", **changes)

    return make


@pytest.fixture
def bundle(tmp_path: Path, pytestconfig: pytest.Config) -> MakeBundle:
    """Make a bundle: the default configuration with the arguments merged in (see bundles.py)."""
    base = tmp_path / "bundles"
    base.mkdir()
    return bundle_factory(base, runtime_path(pytestconfig))


@pytest.fixture
def reachable(pytestconfig: pytest.Config) -> Iterator[MakeBundle]:
    """Like `bundle`, in directories that every user may enter: the root of a user namespace is one of them."""
    with tempfile.TemporaryDirectory(prefix="pyoci-reachable-") as base:
        os.chmod(base, 0o755)
        yield bundle_factory(Path(base), runtime_path(pytestconfig))


@pytest.fixture
def sleeper(bundle: MakeBundle) -> Path:
    """A bundle whose program sleeps for longer than any test takes."""
    return bundle(process={"args": ["sleep", "1000"]})


@pytest.fixture(scope="session")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Compile:
    """Build a program of conformance/programs, once; it needs no libraries, so it runs in any root filesystem."""
    directory = tmp_path_factory.mktemp("programs")

    def build(name: str) -> Path:
        program = directory / name
        if program.exists():
            return program
        if shutil.which("cc") is None:
            pytest.skip("the host has no C compiler")
        source = Path(__file__).parent / f"programs/{name}.c"
        flags = ["-O2", "-Wall", "-Wextra", "-Werror", "-static", "-pthread"]
        subprocess.run(["cc", *flags, source, "-o", program], check=True)
        return program

    return build
