"""Devices and /dev's symlinks -> steps (config-linux.md, "Devices", "Default Devices";
runtime-linux.md, "Dev symbolic links")."""

from pyoci.paths import normalise
from pyoci.plan import mounts
from pyoci.plan.plan import Fetch
from pyoci.spec.rules import FILE_TYPES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyoci.plan.compile import Compilation
    from pyoci.plan.plan import Plan

# path, major, minor; all are character devices that everybody may use.
DEFAULT_DEVICES = (
    ("/dev/null", 1, 3),
    ("/dev/zero", 1, 5),
    ("/dev/full", 1, 7),
    ("/dev/random", 1, 8),
    ("/dev/urandom", 1, 9),
    ("/dev/tty", 5, 0),
)
# The symlink's text, its path.
DEV_SYMLINKS = (
    ("/proc/self/fd", "/dev/fd"),
    ("/proc/self/fd/0", "/dev/stdin"),
    ("/proc/self/fd/1", "/dev/stdout"),
    ("/proc/self/fd/2", "/dev/stderr"),
)

# csrc/devices.c
LEAVE, FROM_HOST = 1, 2
REPLACE, IF_TARGET_EXISTS = 1, 2
FILE_TYPE = 0o170000  # the bits of a mode that say it


def compile_devices(context: "Compilation", plan: "Plan") -> None:
    """linux.devices, the default devices, and the symlinks in /dev. The host's own /dev, bound, is left as it is."""
    if mounts.covers(context, "/dev"):
        return
    listed = context.linux.get("devices") or ()
    for i, device in enumerate(listed):
        mode = FILE_TYPES[device["type"]] | (device.get("fileMode", 0o666) & 0o7777)
        numbers = (device.get("major") or 0, device.get("minor") or 0)
        owner = (device.get("uid") or 0, device.get("gid") or 0)
        _add(context, plan, f"/linux/devices/{i}", normalise(device["path"]), (mode, *numbers, *owner), 0)
    given = {normalise(device["path"]) for device in listed}
    for path, major, minor in DEFAULT_DEVICES:
        if path not in given:
            _add(context, plan, "", path, (FILE_TYPES["c"] | 0o666, major, minor, 0, 0), LEAVE)
    for text, path in DEV_SYMLINKS:
        plan.add("make-symlink", "", text, path, IF_TARGET_EXISTS)
    if not mounts.covers(context, "/dev/pts"):
        plan.add("make-symlink", "", "pts/ptmx", "/dev/ptmx", REPLACE)


def _add(
    context: "Compilation",
    plan: "Plan",
    origin: str,
    path: str,
    device: "tuple[int, int, int, int, int]",
    flags: int,
) -> None:
    """A make-device step; mode, major, minor, uid and gid are the device."""
    # mknod(2) of a device takes CAP_MKNOD in the first user namespace, which a user without privileges hasn't got either.
    if (
        "user" in context.namespaces
        and not context.host.rootless
        and device[0] & FILE_TYPE != FILE_TYPES["p"]
    ):
        flags |= FROM_HOST
        plan.fetches[len(plan.steps)] = Fetch(None, device=device)
    plan.add("make-device", origin, path, *device, flags)


def compile_console(context: "Compilation", plan: "Plan", *, device: bool = True) -> None:
    """process.terminal and process.consoleSize: a terminal of the container's own devpts.

    Arguments:
        device: it is also the container's /dev/console.
    """
    process = context.process
    if not process or not process.get("terminal"):
        return
    size = process.get("consoleSize") or {}
    plan.add("open-console", "/process/terminal", size.get("height", 0), size.get("width", 0), int(device))
