"""What `--version` prints; engines parse the first line."""

import os

from pyoci import SPEC_VERSION, __version__


def describe() -> str:
    """A line each: the name and version, the commit, the version of the specification, those of the parts."""
    from pyoci.parts import versions

    parts = "".join(f"{part}: {version}\n" for part, version in versions().items())
    return f"pyoci version {__version__}\ncommit: {commit()}\nspec: {SPEC_VERSION}\n{parts}"


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
