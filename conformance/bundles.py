"""Bundles made on the spot, without a download, for the tests, the benchmark and `make hello`.

    python conformance/bundles.py DIRECTORY [PROGRAM [ARGUMENT...]]

writes one. The root filesystem is a statically linked busybox (Debian: busybox-static) with a link for each
of its applets; where there is none, the host's /usr is bound read-only instead.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

CAPABILITIES = ["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"]

# What `runc spec` writes on a host with cgroup namespaces, except that process.terminal is false, and that
# process.capabilities.ambient is left out: without the same set in `inheritable` the kernel refuses it.
DEFAULT_CONFIG: dict[str, Any] = {
    "ociVersion": "1.3.0",
    "process": {
        "terminal": False,
        "user": {"uid": 0, "gid": 0},
        "args": ["sh"],
        "env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TERM=xterm"],
        "cwd": "/",
        "capabilities": {"bounding": CAPABILITIES, "effective": CAPABILITIES, "permitted": CAPABILITIES},
        "rlimits": [{"type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024}],
        "noNewPrivileges": True,
    },
    "root": {"path": "rootfs", "readonly": True},
    "hostname": "pyoci",
    "mounts": [
        {"destination": "/proc", "type": "proc", "source": "proc"},
        {
            "destination": "/dev",
            "type": "tmpfs",
            "source": "tmpfs",
            "options": ["nosuid", "strictatime", "mode=755", "size=65536k"],
        },
        {
            "destination": "/dev/pts",
            "type": "devpts",
            "source": "devpts",
            "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"],
        },
        {
            "destination": "/dev/shm",
            "type": "tmpfs",
            "source": "shm",
            "options": ["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"],
        },
        {
            "destination": "/dev/mqueue",
            "type": "mqueue",
            "source": "mqueue",
            "options": ["nosuid", "noexec", "nodev"],
        },
        {
            "destination": "/sys",
            "type": "sysfs",
            "source": "sysfs",
            "options": ["nosuid", "noexec", "nodev", "ro"],
        },
        {
            "destination": "/sys/fs/cgroup",
            "type": "cgroup",
            "source": "cgroup",
            "options": ["nosuid", "noexec", "nodev", "relatime", "ro"],
        },
    ],
    "linux": {
        "resources": {"devices": [{"allow": False, "access": "rwm"}]},
        "namespaces": [
            {"type": "pid"},
            {"type": "network"},
            {"type": "ipc"},
            {"type": "uts"},
            {"type": "mount"},
            {"type": "cgroup"},
        ],
        "maskedPaths": [
            "/proc/acpi",
            "/proc/asound",
            "/proc/kcore",
            "/proc/keys",
            "/proc/latency_stats",
            "/proc/timer_list",
            "/proc/timer_stats",
            "/proc/sched_debug",
            "/sys/firmware",
            "/proc/scsi",
        ],
        "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"],
    },
}


def merged(value: Any, change: Any) -> Any:
    """`value` changed as by a JSON merge patch (RFC 7386): objects merge, None removes, all else replaces."""
    if not isinstance(change, Mapping):
        return change
    result = dict(value) if isinstance(value, Mapping) else {}
    for name, new in change.items():
        if new is None:
            result.pop(name, None)
        else:
            result[name] = merged(result.get(name), new)
    return result


def config(**changes: Any) -> dict[str, Any]:
    """The default configuration with `changes` merged in, for example config(process={"args": ["true"]})."""
    result: dict[str, Any] = merged(json.loads(json.dumps(DEFAULT_CONFIG)), changes)
    return result


def namespaces(*without: str, **paths: str) -> list[dict[str, str]]:
    """The default namespaces, less the types in `without`; a type given a path joins the namespace there."""
    types = [namespace["type"] for namespace in DEFAULT_CONFIG["linux"]["namespaces"]]
    types += [kind for kind in paths if kind not in types]
    return [{"type": t, "path": paths[t]} if t in paths else {"type": t} for t in types if t not in without]


def mounts(*more: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The default mounts and then `more`."""
    return [*DEFAULT_CONFIG["mounts"], *map(dict, more)]


def bound(source: Path, destination: str) -> dict[str, Any]:
    """A mount of a host's directory into the container."""
    return {"destination": destination, "type": "bind", "source": str(source), "options": ["rbind", "rw"]}


@cache
def static_busybox() -> Path | None:
    """The host's busybox if it needs no libraries, else None."""
    for name in ("/bin/busybox", "/usr/bin/busybox", "/bin/busybox.static"):
        path = Path(name)
        # A dynamically linked program names its loader (PT_INTERP) in its first page.
        if path.is_file() and b"/ld-" not in path.open("rb").read(4096):
            return path
    return None


@cache
def _applets(busybox: Path) -> list[str]:
    listed = subprocess.run([str(busybox), "--list"], capture_output=True, text=True, check=True)
    return [name for name in listed.stdout.split() if name != "busybox"]


def make_rootfs(path: Path) -> list[dict[str, Any]]:
    """Make a root filesystem in the directory `path`; returns the mounts that it needs to be of use."""
    for name in ("bin", "dev", "etc", "proc", "sys", "tmp"):
        (path / name).mkdir(parents=True)
    (path / "tmp").chmod(0o1777)
    (path / "etc/passwd").write_text("root:x:0:0:root:/:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n")
    (path / "etc/group").write_text("root:x:0:\ntty:x:5:\nnogroup:x:65534:\n")
    busybox = static_busybox()
    if busybox is None:
        return _lend_usr(path)
    shutil.copyfile(busybox, path / "bin/busybox")
    (path / "bin/busybox").chmod(0o755)
    for applet in _applets(busybox):
        os.symlink("busybox", path / "bin" / applet)
    return []


def _lend_usr(path: Path) -> list[dict[str, Any]]:
    (path / "bin").rmdir()
    (path / "usr").mkdir()
    for name in ("bin", "sbin", "lib", "lib64"):
        if os.path.lexists(f"/usr/{name}"):
            os.symlink(f"usr/{name}", path / name)
    options = ["rbind", "ro", "nosuid"]
    return [{"destination": "/usr", "type": "bind", "source": "/usr", "options": options}]


def make_bundle(path: Path, **changes: Any) -> Path:
    """Make the bundle `path`: a root filesystem and the default configuration with `changes` merged in."""
    mounts = make_rootfs(path / "rootfs")
    document = config(**changes)
    document["mounts"] = document.get("mounts", []) + mounts
    write_config(path, document)
    return path


def write_config(bundle: Path, document: Any) -> None:
    """Write `document` as the bundle's config.json."""
    (bundle / "config.json").write_text(json.dumps(document, indent=4) + "\n")


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit("usage: bundles.py DIRECTORY [PROGRAM [ARGUMENT...]]")
    make_bundle(Path(sys.argv[1]), process={"args": sys.argv[2:] or ["sh"]})
