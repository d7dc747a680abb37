"""pyoci's own parts, and the programs of the host's that some commands need."""

import importlib
import importlib.metadata
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from pyoci import __version__
from pyoci.doctor.finding import BROKEN, GOOD, LACKING, Finding, of
from pyoci.version import commit

AREA = "parts"
PACKAGE = Path(__file__).resolve().parents[1]
# Compiled parts: what they are for, and whether nothing works without.
COMPILED = {
    "_shim": ("starting containers", BROKEN),
    "_seccomp": ("linux.seccomp", LACKING),
}
# module: its package on PyPI, Debian's, what it is for, whether nothing works without.
LIBRARIES = {
    "_cffi_backend": ("cffi", "python3-cffi-backend", "starting containers", BROKEN),
    "jsonschema": ("jsonschema", "python3-jsonschema", "explaining what is wrong with a config", LACKING),
    "jeepney": ("jeepney", "python3-jeepney", "the systemd driver (--systemd-cgroup)", LACKING),
}
BUS = "/run/dbus/system_bus_socket"
CRIU_S = 10.0


def look() -> Iterator[Finding]:
    """Everything about them."""
    yield Finding(AREA, "pyoci", GOOD, f"{__version__}, commit {commit()}, in {PACKAGE}", "everything")
    init = PACKAGE / "pyoci-init"
    usable = os.access(init, os.X_OK)
    found = "there" if usable else f"{init} is missing or can't be executed"
    yield of(AREA, "pyoci-init", usable, found, "starting containers", "install pyoci again", BROKEN)
    for name, (purpose, level) in COMPILED.items():
        error = _import_error(f"pyoci.{name}")
        mend = "install pyoci again, for this version of Python"
        yield of(AREA, f"pyoci.{name}", not error, error or "there", purpose, mend, level)
    for module, (package, debian, purpose, level) in LIBRARIES.items():
        error = _import_error(module)
        mend = f"install it (Debian: {debian}; PyPI: {package})"
        yield of(AREA, package, not error, error or _version_of(package), purpose, mend, level)
    yield from _host_programs()


def _import_error(module: str) -> str:
    """Why a module can't be imported, "" if it can."""
    try:
        importlib.import_module(module)
    except ImportError as error:
        return str(error)
    return ""


def _version_of(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "there"


def _host_programs() -> Iterator[Finding]:
    systemd = os.path.isdir("/run/systemd/system")
    bus = os.path.exists(BUS)
    found = "running" if systemd and bus else f"running, but {BUS} is missing" if systemd else "not running"
    mend = "install dbus" if systemd else "leave --systemd-cgroup out, if the host has no systemd"
    yield of("host", "systemd", systemd and bus, found, "the systemd driver (--systemd-cgroup)", mend)
    yield _criu()
    resctrl = os.path.exists("/sys/fs/resctrl/schemata")
    mend = "`mount -t resctrl resctrl /sys/fs/resctrl`, on a processor with Intel RDT"
    yield of("host", "resctrl", resctrl, "mounted" if resctrl else "not mounted", "linux.intelRdt", mend)


def _criu() -> Finding:
    purpose = "checkpoint and restore"
    path = shutil.which("criu")
    if path is None:
        return Finding("host", "criu", LACKING, "missing", purpose, "install criu")
    try:
        checked = subprocess.run(
            [path, "check"], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=CRIU_S
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return Finding("host", "criu", LACKING, str(error), purpose, "`criu check` says more")
    said = (checked.stdout + checked.stderr).strip().splitlines()
    found = said[-1] if said else f"status {checked.returncode}"
    return of(
        "host", "criu", checked.returncode == 0, found, purpose, "`criu check` says what this kernel lacks"
    )
