"""Builds everything that isn't Python source, in place: pyoci-init, the two extension modules, and what is generated.

python csrc/build.py            build into the tree
python csrc/build.py --launcher PATH
                                and write the command, which starts this interpreter isolated
"""

import importlib.util
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
PACKAGE = HERE.parent / "pyoci"
INIT_SOURCES = [
    "init.c",
    "plan.c",
    "conversation.c",
    "trace.c",
    "descriptors.c",
    "cgroups.c",
    "namespaces.c",
    "births.c",
    "root.c",
    "devices.c",
    "change_of_root.c",
    "targets.c",
    "undo.c",
    "mounts.c",
    "long_options.c",
    "binds.c",
    "copyup.c",
    "hide.c",
    "console.c",
    "process.c",
    "caller.c",
    "program.c",
    "home.c",
    "scheduling.c",
    "labels.c",
    "security.c",
    "listener.c",
    "hook.c",
    "hooks.c",
    "signals.c",
]
C_FLAGS = ["-std=gnu11", "-D_GNU_SOURCE", "-O2", "-Wall", "-Wextra", "-Werror"]

LAUNCHER = """\
#!{python} -IS
import gc
import posix
import sys

# Most commands live for milliseconds; `run`, which doesn't, turns it on again.
gc.disable()
sys.path[:0] = {path!r}
from pyoci import quick_import

quick_import.install({path[0]!r})
from pyoci.__main__ import main

posix._exit(main(sys.argv[1:]))
"""
# A "#!" line is cut at 255 characters and split at blanks, execve(2).
LONG_LAUNCHER = """\
#!/bin/sh
exec {python!r} -IS {script!r} "$@"
"""


def build_init() -> None:
    """The static program; a rename, so that one that is being executed stays whole."""
    compiler = os.environ.get("CC", "cc")
    target = PACKAGE / "pyoci-init"
    sources = [str(HERE / name) for name in INIT_SOURCES]
    subprocess.run([compiler, *C_FLAGS, "-static", "-s", "-o", f"{target}.new", *sources], check=True)
    os.rename(f"{target}.new", target)


def build_extension(script: str) -> None:
    """A cffi extension module, beside the package's Python."""
    spec = importlib.util.spec_from_file_location(script, HERE / f"{script}.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    with tempfile.TemporaryDirectory() as scratch:
        built = Path(module.ffibuilder.compile(tmpdir=scratch))
        shutil.copy(built, PACKAGE / f".{built.name}")
        os.rename(PACKAGE / f".{built.name}", PACKAGE / built.name)


def write_launcher(path: Path) -> None:
    """The command for engines and people, callable by its absolute path from anywhere."""
    python = Path(sys.prefix) / "bin/python3"
    libraries = [str(PACKAGE.parent), sysconfig.get_path("platlib")]
    text = LAUNCHER.format(python=python, path=libraries)
    if len(str(python)) > 240 or any(blank in str(python) for blank in " \t"):
        script = path.with_name(path.name + ".py")
        script.write_text(text)
        text = LONG_LAUNCHER.format(python=str(python), script=str(script))
    path.write_text(text)
    path.chmod(0o755)


def main() -> None:
    """Build it all."""
    launcher = (
        Path(sys.argv[sys.argv.index("--launcher") + 1]).absolute() if "--launcher" in sys.argv else None
    )
    # cffi's build looks at the pyproject.toml of the folder that it is called in.
    os.chdir(HERE)
    subprocess.run([sys.executable, str(HERE / "build_steps.py")], check=True)
    subprocess.run([sys.executable, "-m", "pyoci.spec.generate"], check=True, cwd=HERE.parent)
    build_init()
    for script in ("build_shim", "build_seccomp"):
        build_extension(script)
    if launcher:
        write_launcher(launcher)


if __name__ == "__main__":
    main()
