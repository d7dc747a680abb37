"""What a wheel's command (packaging/launcher-of-wheel) starts. It is short, as Python keeps no bytecode of it."""
# ruff: noqa: E402 - each import needs what is above it.

import gc
import posix
import sys

# Most commands live for milliseconds; `run`, which doesn't, turns it on again.
gc.disable()
sys.path.insert(0, __file__.rpartition("/pyoci/")[0])
from pyoci import quick_import

quick_import.install(sys.path[0])
from pyoci import elsewhere

elsewhere.install()
from pyoci.__main__ import main

posix._exit(main(sys.argv[1:]))
