"""What the build makes: hardened, and the same bytes wherever it is made."""

from __future__ import annotations

import filecmp
import os
import subprocess
import sys
from pathlib import Path

import pytest

import pyoci

from .roots import run

CHECKOUT = Path(__file__).resolve().parents[2]
PACKAGE = CHECKOUT / "pyoci"
BUILT = ("pyoci-init", "_shim.abi3.so", "_seccomp.abi3.so")


def readelf(name: str, option: str) -> str:
    command = ["readelf", "--wide", option, str(PACKAGE / name)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize("name", BUILT)
def test_it_is_hardened(name: str) -> None:
    headers, dynamic = readelf(name, "--program-headers"), readelf(name, "--dynamic")
    assert "DYN (" in headers, "its place in memory is chosen anew each time"
    assert "GNU_RELRO" in headers
    assert "NOW" in dynamic, "what RELRO protects is all of it"
    (stack,) = (line for line in headers.splitlines() if "GNU_STACK" in line)
    assert "RWE" not in stack
    assert "TEXTREL" not in dynamic


def test_the_init_needs_nothing_of_the_container() -> None:
    assert "INTERP" not in readelf("pyoci-init", "--program-headers")
    assert "NEEDED" not in readelf("pyoci-init", "--dynamic")


@pytest.mark.parametrize("name", BUILT[1:])
def test_the_compiler_s_checks_are_in(name: str) -> None:
    symbols = readelf(name, "--dyn-syms")
    assert "__stack_chk_fail" in symbols
    if name == "_shim.abi3.so":
        assert "_chk@" in symbols, "FORTIFY"


def test_nothing_names_the_directory_that_it_was_built_in() -> None:
    for name in BUILT:
        assert str(CHECKOUT).encode() not in (PACKAGE / name).read_bytes()


def test_the_version_is_known_in_one_place() -> None:
    assert run([CHECKOUT / "packaging/version"]).strip() == pyoci.__version__


@pytest.mark.skipif("PYOCI_TEST_PACKAGES" not in os.environ, reason="takes a while: make test-packages")
def test_two_builds_in_different_directories_are_the_same(tmp_path: Path) -> None:
    staged = []
    for name in ("a", "another/directory, deeper"):
        source = tmp_path / name / "source"
        run([CHECKOUT / "packaging/export", source])
        build = [source / "packaging/build", source / "build/x", sys.executable, "--prefix=/usr"]
        environment = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
        subprocess.run(
            [*build, "-Dpython.platlibdir=/usr/lib/pyoci"], cwd=source, env=environment, check=True
        )
        staged.append(tmp_path / name / "staged")
        install = [
            sys.executable,
            "-m",
            "mesonbuild.mesonmain",
            "install",
            "-C",
            source / "build/x",
            "--quiet",
        ]
        subprocess.run(install, env=environment | {"DESTDIR": str(staged[-1])}, check=True)
    # Bytecode has its source's time in it.
    files = [
        sorted(str(f.relative_to(root)) for f in root.rglob("*") if f.is_file() and f.suffix != ".pyc")
        for root in staged
    ]
    assert files[0] == files[1]
    assert "usr/lib/pyoci/pyoci/pyoci-init" in files[0]
    assert filecmp.cmpfiles(*staged, files[0], shallow=False) == (files[0], [], [])


@pytest.mark.skipif("PYOCI_TEST_PACKAGES" not in os.environ, reason="takes a while: make test-packages")
def test_flags_of_the_environment_are_honoured(tmp_path: Path) -> None:
    source = tmp_path / "source"
    run([CHECKOUT / "packaging/export", source])
    environment = os.environ | {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "CC": "gcc",
        "CFLAGS": "-O1 -DMARK_OF_CFLAGS",
        "CPPFLAGS": "-DMARK_OF_CPPFLAGS -D_FORTIFY_SOURCE=1",
        "LDFLAGS": "-Wl,--defsym=mark_of_ldflags=0",
    }
    subprocess.run(
        [source / "packaging/build", source / "build/x", sys.executable],
        cwd=source,
        env=environment,
        check=True,
    )
    rules = (source / "build/x/build.ninja").read_text()
    for mark in ("MARK_OF_CFLAGS", "MARK_OF_CPPFLAGS", "mark_of_ldflags"):
        assert mark in rules
    assert "_FORTIFY_SOURCE=2" not in rules
