"""The parts that aren't pyoci's own Python: which are there, and what to say of one that isn't. Not for hot commands."""

import posix
import sys

from pyoci.errors import Error

# How its module is called -> what needs it, and what brings it.
OTHERS = {
    "_cffi_backend": (
        "every command that starts a process or compiles a filter needs it",
        "python3-cffi-backend",
        "cffi",
    ),
    "jsonschema": (
        "without it nothing can be said of what is wrong with a config",
        "python3-jsonschema",
        "jsonschema",
    ),
    "jeepney": ("the systemd driver (--systemd-cgroup) needs it", "python3-jeepney", "jeepney"),
}


def explain(error: ImportError) -> Error:
    """The error for a module that can't be imported: which part it is, who needs it, how to get it."""
    cause = str(error).partition("\n")[0]
    name = (error.name or "").partition(".")[0]
    if name in OTHERS:
        need, debian, pip = OTHERS[name]
        what = "is missing" if isinstance(error, ModuleNotFoundError) else f"can't be used ({cause})"
        hint = f"Debian: apt install {debian}; else: {sys.executable} -m pip install {pip}"
        return Error(f"the Python module {name} {what}: {need}", hint=hint)
    if "libseccomp" in cause:
        return Error(
            f"libseccomp can't be loaded ({cause}): filters and `features` need it",
            hint="Debian: apt install libseccomp2",
        )
    return Error(
        f"a part of pyoci can't be loaded ({cause})", hint="install pyoci again; in a checkout, run make"
    )


def versions() -> "dict[str, str]":
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
            names = posix.listdir(place)
        except OSError:
            continue
        for name in names:
            base, _, version = name.removesuffix(".dist-info").removesuffix(".egg-info").partition("-")
            if base == package and version[:1].isdigit():
                return version.partition("-")[0]
            if name == package:
                found = "of an unknown version"
    return found
