"""cgroups for a caller who may not make any, or only below what was delegated to him. Imported only for such a caller.

Without a cgroup to make, none is touched, as long as nothing is asked for that takes one.
"""

import posix

from pyoci.cgroups import tree
from pyoci.errors import ConfigError, Problem

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyoci.cgroups.layout import Layout
    from pyoci.cgroups.ownership import Owner

V2_HINT = (
    "under systemd, `systemd-run --user --scope -p Delegate=yes` gives a scope that may be divided; which controllers, "
    "root says in /etc/systemd/system/user@.service.d/delegate.conf: [Service] Delegate=cpu cpuset io memory pids"
)
V1_HINT = (
    "cgroup v1 can't be delegated safely: use cgroup v2, or leave linux.resources and linux.cgroupsPath out"
)


def open_for(
    layout: "Layout", path: str, linux: "dict[str, Any]", owner: "Owner | None" = None
) -> "tree.Cgroups":
    """The cgroups of a container that is going to be created; none if this caller may make none.

    Arguments:
        path: from `default_path` or `layout.resolve`.
        linux: the config's part; its resources and cgroupsPath can't be had without cgroups.
        owner: see `tree.open_for`.

    Raises ConfigError: something was asked for that takes a cgroup.
    """
    refused = _refused(layout, path)
    if refused is None:
        return tree.open_for(layout, path, owner)
    asked = _asked(linux)
    if asked:
        message = f"needs a cgroup, and user {posix.geteuid()} may make none in {refused}"
        hint = V2_HINT if layout.mode == "v2" else V1_HINT
        raise ConfigError([Problem(asked, message)], hint=hint)
    return tree.Cgroups(layout.mode, path, [])


def default_path(layout: "Layout", container_id: str) -> "str | None":
    """Where a container without a cgroupsPath goes on v2: beside the caller's own cgroup, which has processes in it and so
    can't have limited children (cgroups(7), "no internal processes"). None: there is no such place."""
    if layout.mode != "v2":
        return None
    own = next((line[3:] for line in tree.read("/proc/self/cgroup").splitlines() if line[:3] == "0::"), "/")
    return f"{own.rpartition('/')[0]}/pyoci-{container_id}"


def callers_directories(layout: "Layout") -> "dict[str, str]":
    """The caller's own cgroups, by the mount point of the hierarchy: a container without any of its own stays in them."""
    own = {}
    for line in tree.read("/proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        own[controllers] = path
    found = {base: own.get(",".join(controllers), "/") for base, controllers in layout.hierarchies}
    if layout.unified:
        found[layout.unified] = own.get("", "/")
    return {base: (base + path).rstrip("/") for base, path in found.items()}


def _refused(layout: "Layout", path: str) -> "str | None":
    """The first directory that the caller may not make the container's in, None if there is none."""
    bases = [base for base, _ in layout.hierarchies]
    if layout.mode == "v2" and layout.unified:
        bases.append(layout.unified)
    for base in bases:
        directory = base + path
        while len(directory) > len(base) and not posix.access(directory, posix.F_OK):
            directory = directory.rpartition("/")[0]
        if not posix.access(directory, posix.W_OK):
            return directory
    return None


def _asked(linux: "dict[str, Any]") -> "str | None":
    """The pointer of what takes a cgroup. Device rules don't: who may make no cgroup may make no devices either."""
    for name, value in (linux.get("resources") or {}).items():
        if value and name != "devices":
            return f"/linux/resources/{name}"
    return "/linux/cgroupsPath" if linux.get("cgroupsPath") else None
