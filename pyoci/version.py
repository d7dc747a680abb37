"""What `--version` prints; engines parse the first line."""

import os
import sys

from pyoci import SPEC_VERSION, __version__


def describe() -> str:
    """A line each: the name and version, the commit, the version of the specification, those of the parts."""
    parts = "".join(f"{part}: {version}\n" for part, version in parts_versions().items())
    return f"pyoci version {__version__}\ncommit: {commit()}\nspec: {SPEC_VERSION}\n{parts}"


def parts_versions() -> "dict[str, str]":
    """The version of each part that is there, "missing" or what is wrong for one that isn't."""
    return {
        "python": "{}.{}.{}".format(*sys.version_info[:3]),
        "libseccomp": _libseccomp(),
        "cffi": _cffi(),
        "jsonschema": _installed("jsonschema"),
        "jeepney": _installed("jeepney"),
    }


def _libseccomp() -> str:
    try:
        from pyoci.plan.seccomp import libseccomp_version

        return libseccomp_version()
    except ImportError as error:
        return f"can't be loaded ({error})"


def _cffi() -> str:
    # Debian has the backend alone, without metadata.
    try:
        import _cffi_backend

        return str(_cffi_backend.__version__)
    except ImportError:
        return "missing"


def _installed(package: str) -> str:
    """Its version as the name of its metadata has it: importing a package would take long."""
    found = "missing"
    for place in sys.path:
        try:
            names = os.listdir(place)
        except OSError:
            continue
        for name in names:
            base, _, version = name.removesuffix(".dist-info").removesuffix(".egg-info").partition("-")
            if base == package and version[:1].isdigit():
                return version.partition("-")[0]
            if name == package:
                found = "of an unknown version"
    return found


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
