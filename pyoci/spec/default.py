"""The configuration to start from that `pyoci spec` writes: what runc's `spec` command writes."""

import os

from pyoci import SPEC_VERSION
from pyoci.errors import Error, cause_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

CAPABILITIES = ("CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE")


def default_config(rootless: bool = False) -> "dict[str, Any]":
    """A configuration that runs a shell on a terminal, with a read-only root filesystem in `rootfs`.

    Arguments:
        rootless: for a caller without privileges: in a user namespace where the caller is root, on the host's
            network, with no limits.
    """
    return {
        "ociVersion": SPEC_VERSION,
        "process": _process(),
        "root": {"path": "rootfs", "readonly": True},
        "hostname": "pyoci",
        "mounts": _mounts(rootless),
        "linux": _linux(rootless),
    }


def write_default(directory: str, *, rootless: bool = False) -> None:
    """Write the default configuration to the directory's config.json.

    Raises:
        Error: there is one already, or it can't be written.
    """
    import json  # costs 6 ms, which matters to create but not here

    path = os.path.join(directory, "config.json")
    try:
        with open(path, "x", encoding="utf-8") as file:
            file.write(json.dumps(default_config(rootless), indent=2) + "\n")
    except FileExistsError:
        raise Error(f'"{path}" exists already', hint="remove it first") from None
    except OSError as error:
        raise Error(f'"{path}" can\'t be written: {cause_of(error)}') from None


def _process() -> "dict[str, Any]":
    return {
        "terminal": True,
        "user": {"uid": 0, "gid": 0},
        "args": ["sh"],
        "env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TERM=xterm"],
        "cwd": "/",
        # No ambient set: the kernel grants none that isn't inheritable, too.
        "capabilities": {name: list(CAPABILITIES) for name in ("bounding", "effective", "permitted")},
        "rlimits": [{"type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024}],
        "noNewPrivileges": True,
    }


def _mounts(rootless: bool) -> "list[dict[str, Any]]":
    terminals = ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"]
    plain = ["nosuid", "noexec", "nodev"]
    # A new sysfs takes a network namespace of one's own; and group 5, tty, isn't mapped without privileges.
    if rootless:
        # All of it read-only: the user may have been given cgroups in there (CVE-2023-25809).
        sys = _mount("/sys", "none", "/sys", ["rbind", *plain, "rro"])
    else:
        terminals.append("gid=5")
        sys = _mount("/sys", "sysfs", "sysfs", [*plain, "ro"])
    mounts = [
        {"destination": "/proc", "type": "proc", "source": "proc"},
        _mount("/dev", "tmpfs", "tmpfs", ["nosuid", "strictatime", "mode=755", "size=65536k"]),
        _mount("/dev/pts", "devpts", "devpts", terminals),
        _mount("/dev/shm", "tmpfs", "shm", [*plain, "mode=1777", "size=65536k"]),
        _mount("/dev/mqueue", "mqueue", "mqueue", plain),
        sys,
    ]
    # Of cgroup v1 a user without privileges has nothing to show.
    if not rootless or _has_cgroup2():
        mounts.append(_mount("/sys/fs/cgroup", "cgroup", "cgroup", [*plain, "relatime", "ro"]))
    return mounts


def _has_cgroup2() -> bool:
    return os.path.exists("/sys/fs/cgroup/cgroup.controllers")


def _mount(destination: str, kind: str, source: str, options: "list[str]") -> "dict[str, Any]":
    return {"destination": destination, "type": kind, "source": source, "options": list(options)}


def _linux(rootless: bool) -> "dict[str, Any]":
    linux: "dict[str, Any]" = {}
    if rootless:
        linux["uidMappings"] = [{"containerID": 0, "hostID": os.geteuid(), "size": 1}]
        linux["gidMappings"] = [{"containerID": 0, "hostID": os.getegid(), "size": 1}]
    else:
        linux["resources"] = {"devices": [{"allow": False, "access": "rwm"}]}
    linux["namespaces"] = [{"type": kind} for kind in _namespaces(rootless)]
    linux["maskedPaths"] = [
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
    ]
    linux["readonlyPaths"] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"]
    return linux


def _namespaces(rootless: bool) -> "list[str]":
    kinds = ["pid"] + ([] if rootless else ["network"]) + ["ipc", "uts", "mount"]
    # As runc: where control groups are v1 only, the namespace hides little and old kernels lack it.
    if _has_cgroup2():
        kinds.append("cgroup")
    return kinds + (["user"] if rootless else [])
