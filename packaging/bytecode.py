"""Compiles what `meson install` has installed of the package, so that the first command is as quick as all others.

A cache is valid for its source's time and size: so quick_import checks it, whatever SOURCE_DATE_EPOCH would make of it otherwise.
"""

import compileall
import os
import sys
from py_compile import PycInvalidationMode

if __name__ == "__main__":
    destination = os.environ.get("DESTDIR", "")
    good = compileall.compile_dir(
        f"{destination}{sys.argv[1]}",
        quiet=1,
        force=True,
        stripdir=destination,
        prependdir="/",
        invalidation_mode=PycInvalidationMode.TIMESTAMP,
    )
    sys.exit(not good)
