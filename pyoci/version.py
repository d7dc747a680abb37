"""What `--version` prints; engines parse the first line."""

import os

from pyoci import SPEC_VERSION, __version__


def describe() -> str:
    """Three lines: the name and version, the commit, the version of the specification."""
    return f"pyoci version {__version__}\ncommit: {commit()}\nspec: {SPEC_VERSION}\n"


def commit() -> str:
    """The commit of the source tree that this runs from, as git keeps it; "unknown" for an installed package."""
    git = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + "/.git"
    head = _read(f"{git}/HEAD")
    if head.startswith("ref: "):
        return _read(f"{git}/{head[5:]}") or "unknown"
    return head or "unknown"


def _read(path: str) -> str:
    try:
        with open(path) as file:
            return file.read().strip()
    except OSError:
        return ""
