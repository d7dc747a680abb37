"""The cgroup hierarchies, and what this caller may do in them."""

import os
from collections.abc import Iterator
from pathlib import Path

from pyoci import host
from pyoci.cgroups import layout, unprivileged
from pyoci.doctor.finding import BROKEN, GOOD, LACKING, Finding, of
from pyoci.errors import cause_of

AREA = "cgroups"
# config-linux.md: the properties of linux.resources by what carries them; v1's names.
PURPOSES = {
    "cpu": "CPU shares and quotas",
    "cpuset": "the choice of CPUs and memory nodes",
    "memory": "memory limits",
    "pids": "limits of processes",
    "io": "block I/O limits",
    "hugetlb": "huge page limits",
    "freezer": "pause and resume",
    "devices": "device rules",
}
ON_V1 = {"io": "blkio"}
# Every v2 cgroup can be frozen, and takes device filters.
BUILT_IN = ("freezer", "devices")


def look() -> Iterator[Finding]:
    """The layout, the controllers, and whether cgroups can be made."""
    try:
        found = layout.read()
    except OSError as error:
        why = cause_of(error)
        yield Finding(AREA, "layout", BROKEN, f"/proc/self/mountinfo: {why}", "cgroups", "mount /proc")
        return
    points = [point for point, _ in found.hierarchies] + ([found.unified] if found.unified else [])
    if not points:
        mend = f"`mount -t cgroup2 none {layout.CGROUP2}`"
        yield Finding(
            AREA, "layout", LACKING, "no hierarchy is mounted", "limits, pause, delete --force", mend
        )
        return
    yield Finding(AREA, "layout", GOOD, f"{found.mode}, at {', '.join(points)}", "limits, pause")
    yield _writable(found)
    yield from _controllers(found)


def _writable(found: layout.Layout) -> Finding:
    if found.mode == "v2" and host.is_rootless():
        return _may_write(_users_place(found), unprivileged.V2_HINT)
    points = [point for point, _ in found.hierarchies] or [found.unified or layout.CGROUP2]
    refused = next((point for point in points if not os.access(point, os.W_OK)), points[0])
    hint = unprivileged.V1_HINT if host.is_rootless() else "mount it writable (an outer container's option)"
    return _may_write(refused, hint)


def _users_place(found: layout.Layout) -> str:
    """Where the cgroups of a user without root go on v2."""
    return f"{found.unified}{unprivileged.default_path(found, 'doctor')}".rpartition("/")[0]


def _may_write(directory: str, hint: str) -> Finding:
    may = os.access(directory, os.W_OK)
    found = f"cgroups can{'' if may else ' not'} be made in {directory}"
    return of(AREA, "delegation", may, found, "limits; a container without any runs without", hint)


def _controllers(found: layout.Layout) -> Iterator[Finding]:
    v1 = {controller for _, controllers in found.hierarchies for controller in controllers}
    v2: set[str] = set()
    if found.unified:
        where = Path(found.unified)
        if found.mode == "v2" and host.is_rootless():
            where = Path(_users_place(found))
        try:
            v2 = set((where / "cgroup.controllers").read_text().split())
        except OSError:
            pass
        v2.update(BUILT_IN)
    mend = (
        unprivileged.V2_HINT
        if host.is_rootless()
        else "the kernel's command line may have turned it off (cgroup_disable=, cgroup_no_v1=)"
    )
    for name, purpose in PURPOSES.items():
        if ON_V1.get(name, name) in v1:
            yield of(AREA, name, True, "there (v1)", purpose)
        else:
            yield of(AREA, name, name in v2, "there (v2)" if name in v2 else "missing", purpose, mend)
