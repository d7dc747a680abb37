"""Compiles what `meson install` has installed of the package, so that the first command is as quick as all others.

Each cache is valid for its source's time and size, as quick_import and Python check them.
"""

import compileall
import os
import sys

if __name__ == "__main__":
    destination = os.environ.get("DESTDIR", "")
    package = sys.argv[1]
    if not compileall.compile_dir(
        f"{destination}{package}", quiet=1, force=True, stripdir=destination, prependdir="/"
    ):
        raise SystemExit(1)
