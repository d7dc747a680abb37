"""Writes the command `pyoci`, which starts this interpreter isolated and finds the package quickly.

python launcher.py OUTPUT PACKAGES [DIRECTORY]...

PACKAGES is where the package will be. The DIRECTORYs are where cffi's backend, jsonschema and jeepney are; without any it is
where this interpreter has its packages.
"""

import os
import shlex
import site
import sys
from pathlib import Path

FIRST_LINE = """\
#!{python} -IS
"""
# A "#!" line is cut at 255 characters and split at blanks, execve(2). To Python these lines are a string.
LONG_FIRST_LINE = """\
#!/bin/sh
''':'
exec {python} -IS "$0" "$@"
'''
"""
REST = """\
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


def text(python: str, path: list[str]) -> str:
    """The command's text.

    Arguments:
        python: the interpreter's path.
        path: where modules are looked for before the standard library; the package is in the first.
    """
    if len(python) > 240 or any(blank in python for blank in " \t"):
        return LONG_FIRST_LINE.format(python=shlex.quote(python)) + REST.format(path=path)
    return FIRST_LINE.format(python=python) + REST.format(path=path)


def main() -> None:
    """Write it."""
    output, packages, *also = map(os.path.normpath, sys.argv[1:])
    others = also or [place for place in site.getsitepackages() if Path(place).is_dir()]
    path = [packages, *(place for place in others if place != packages)]
    Path(output).write_text(text(f"{sys.prefix}/bin/python3", path))
    Path(output).chmod(0o755)


if __name__ == "__main__":
    main()
