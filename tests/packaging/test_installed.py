"""Each way to install pyoci, in a Debian that has nothing else: it runs a container, explains a mistake, and can be removed."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

import pyoci

from .conftest import CHECKOUT
from .roots import System, run

VALID_BYTECODE = """
import importlib.util, pathlib, pyoci
package = pathlib.Path(pyoci.__file__).parent
for source in package.rglob("*.py"):
    cache = pathlib.Path(importlib.util.cache_from_source(source)).read_bytes()
    status = source.stat()
    made_for = [int.from_bytes(cache[at:at + 4], "little") for at in (4, 8, 12)]
    assert made_for == [0, int(status.st_mtime), status.st_size], source
"""


class Installation:
    """pyoci, installed in some way.

    Attributes:
        command: the path of the command.
        python: an interpreter that has the package.
        share: where manual pages and completions are.
        remove: takes it away.
    """

    def __init__(
        self, system: System, command: str, python: str, share: str, remove: Callable[[], object]
    ) -> None:
        self.system, self.command, self.python, self.share, self.remove = (
            system,
            command,
            python,
            share,
            remove,
        )


def python_of(system: System) -> str:
    """The version of its Python, as in "3.11"."""
    return system("python3", "-c", "import sys; print('{}.{}'.format(*sys.version_info))").strip()


def deb(debian: System, work: Path) -> Installation:
    """apt install ./pyoci_*.deb"""
    system = debian.above(work)
    system.install(*(f"/mnt/dist/{file.name}" for file in (debian.shared / "dist").glob("pyoci_*.deb")))
    remove = partial(system, "apt-get", "-qq", "purge", "-y", "pyoci")
    return Installation(system, "/usr/sbin/pyoci", "/usr/bin/python3", "/usr/share", remove)


def make_install(debian: System, work: Path) -> Installation:
    """make install, by way of a DESTDIR"""
    system = debian.above(work)
    system.install("python3", "python3-cffi-backend", "python3-jsonschema", "python3-jeepney", "libseccomp2")
    if python_of(system) != "{}.{}".format(*sys.version_info):
        pytest.skip("make install is for the Python of this machine, and that system has another")
    staged = debian.shared / "staged"
    run(["make", "-C", CHECKOUT, "install", f"DESTDIR={staged}"])
    system("cp", "-a", "/mnt/staged/.", "/")

    def remove() -> None:
        run(["make", "-C", CHECKOUT, "uninstall", f"DESTDIR={work}/upper"])

    return Installation(system, "/usr/local/bin/pyoci", "/usr/bin/python3", "/usr/local/share", remove)


def wheel(debian: System, work: Path) -> Installation:
    """pip install of the wheel, where there is no compiler. What it needs is downloaded here, as this machine's pip is set up."""
    system = debian.above(work)
    system.install("python3-venv")
    (file,) = (system.shared / "dist").glob("*.whl")
    options = [
        "--quiet",
        f"--python-version={python_of(system)}",
        "--only-binary=:all:",
        "-d",
        system.shared / "wheels",
    ]
    run([sys.executable, "-m", "pip", "download", *options, "cffi", "jsonschema", "jeepney"])
    system("python3", "-m", "venv", "/opt/venv")
    pip = ["/opt/venv/bin/pip", "--quiet"]
    system(*pip, "install", "--no-index", "--find-links=/mnt/wheels", f"/mnt/dist/{file.name}[systemd]")
    remove = partial(system, *pip, "uninstall", "-y", "pyoci-runtime")
    return Installation(system, "/opt/venv/bin/pyoci", "/opt/venv/bin/python3", "/opt/venv/share", remove)


WAYS: list[Callable[[System, Path], Installation]] = [deb, make_install, wheel]


@pytest.fixture(scope="module", params=WAYS, ids=lambda way: way.__name__)
def installed(
    request: pytest.FixtureRequest, debian: System, tmp_path_factory: pytest.TempPathFactory
) -> Installation:
    way: Callable[[System, Path], Installation] = request.param
    return way(debian, tmp_path_factory.mktemp(way.__name__))


def test_a_container_runs_with_its_filter(installed: Installation) -> None:
    done = installed.system.attempt(installed.command, "run", "--bundle", "/mnt/bundle", "packaged")
    assert done.stdout == "hello from pyoci\n"
    assert done.stderr == "chmod: /tmp: Operation not permitted\n"
    assert done.returncode == 1


def test_check_explains_a_broken_config(installed: Installation) -> None:
    done = installed.system.attempt(installed.command, "check", "/mnt/broken")
    assert done.returncode == 1
    assert done.stderr.startswith("pyoci: config.json:")
    assert done.stderr.endswith(': /process/cwd: must be an absolute path (it is "tmp")\n')


def test_it_can_be_imported(installed: Installation) -> None:
    program = "import pyoci; print(pyoci.__version__, len(pyoci.compile_plan(pyoci.Bundle.load('/mnt/bundle')).steps) > 9)"
    assert installed.system(installed.python, "-c", program) == f"{pyoci.__version__} True\n"


def test_every_part_is_there(installed: Installation) -> None:
    lines = installed.system(installed.command, "--version").splitlines()
    assert lines[0] == f"pyoci version {pyoci.__version__}"
    assert [line for line in lines if "missing" in line or "can't" in line] == []
    assert '"seccomp"' in installed.system(installed.command, "features")


def test_the_bytecode_is_there_and_valid(installed: Installation) -> None:
    """Else every command would compile, and be several times as slow."""
    installed.system(installed.python, "-c", VALID_BYTECODE)


def test_it_has_manual_pages_and_completions(installed: Installation) -> None:
    files = installed.system("find", installed.share, "-name", "*pyoci*").splitlines()
    names = {file.removesuffix(".gz").rpartition("/")[2] for file in files}
    assert {"pyoci.1", "pyoci-create.1", "pyoci-exec.1", "pyoci.bash", "_pyoci", "pyoci.fish"} <= names


def test_it_works_by_a_symlink_and_from_another_directory(installed: Installation) -> None:
    installed.system("ln", "-s", installed.command, "/usr/bin/other")
    assert "pyoci version" in installed.system(
        "sh", "-ec", "cd /usr; bin/other --version; cd bin; ./other list; other list"
    )
    installed.system("rm", "/usr/bin/other")


EVIL = """
mkdir /tmp/evil
cd /tmp/evil
echo 'raise SystemExit(9)' | tee gc.py pyoci.py json.py jsonschema.py >usercustomize.py
export PYTHONPATH=/tmp/evil PYTHONHOME=/tmp/evil PYTHONSTARTUP=/tmp/evil/json.py PYTHONUSERBASE=/tmp/evil
"""


def test_the_caller_chooses_nothing_that_is_imported(installed: Installation) -> None:
    done = installed.system.attempt("sh", "-ec", f"{EVIL} {installed.command} check /mnt/broken")
    assert "/process/cwd: must be an absolute path" in done.stderr


def test_the_command_that_needs_a_missing_part_says_so(installed: Installation) -> None:
    find = "import importlib.util as u; print(u.find_spec('jsonschema').submodule_search_locations[0])"
    place = installed.system(installed.python, "-c", find).strip()
    installed.system("mv", place, "/root/away")
    done = installed.system.attempt(installed.command, "check", "/mnt/broken")
    good = installed.system.attempt(installed.command, "check", "/mnt/bundle")
    installed.system("mv", "/root/away", place)
    assert done.returncode == 1
    assert "the Python package jsonschema is not installed" in done.stderr
    assert len(done.stderr.splitlines()) == 2
    assert good.returncode == 0


def test_removing_it_leaves_nothing(installed: Installation, tmp_path: Path) -> None:
    """The last of its tests: afterwards it isn't there."""
    assert installed.system.files("pyoci")
    installed.remove()
    assert installed.system.files("pyoci") == []


def test_what_lintian_says_of_the_debian_package(shared: Path) -> None:
    files = list((shared / "dist").glob("pyoci_*.deb"))
    done = subprocess.run(
        ["lintian", "--allow-root", "--display-info", *files], capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (0, "")
