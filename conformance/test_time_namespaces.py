"""Time namespaces and their offsets; config-linux.md, "Offset for Time Namespace"."""

from __future__ import annotations

import time
from typing import Any

import pytest

from .bundles import namespaces
from .fixtures import MakeBundle
from .runtime import Runtime, new_id

DAY_S = 86400
TOO_OLD = "is older than time namespaces"

pytestmark = pytest.mark.peers_differ(crun=TOO_OLD, runc=TOO_OLD)


def with_offsets(offsets: Any, **changes: Any) -> dict[str, Any]:
    listed = [*namespaces(), {"type": "time"}]
    return {"linux": {"namespaces": listed, "timeOffsets": offsets, **changes}}


def offsets_inside(runtime: Runtime, bundle: Any) -> dict[str, list[int]]:
    rows = [line.split() for line in runtime.output(bundle).splitlines()]
    return {row[0]: [int(row[1]), int(row[2])] for row in rows}


@pytest.mark.shows("linux.timeOffsets")
@pytest.mark.parametrize(
    "offsets",
    [
        {"monotonic": {"secs": 1000}},
        {"boottime": {"secs": -5, "nanosecs": 999999999}},
        {"monotonic": {"secs": -1, "nanosecs": 1}, "boottime": {"secs": DAY_S}},
        {"boottime": {"nanosecs": 5}},
        {},
    ],
)
@pytest.mark.parametrize("mapped", [False, True])
def test_the_offsets_are_those_of_the_config(
    runtime: Runtime, reachable: MakeBundle, offsets: dict[str, dict[str, int]], mapped: bool
) -> None:
    changes = with_offsets(offsets)
    if mapped:
        mappings = [{"containerID": 0, "hostID": 100000, "size": 65536}]
        changes["linux"]["namespaces"].append({"type": "user"})
        changes["linux"] |= {"uidMappings": mappings, "gidMappings": mappings}
    found = offsets_inside(
        runtime, reachable(process={"args": ["cat", "/proc/self/timens_offsets"]}, **changes)
    )
    for clock in ("monotonic", "boottime"):
        wanted = offsets.get(clock, {})
        assert found[clock] == [wanted.get("secs", 0), wanted.get("nanosecs", 0)]


@pytest.mark.shows("linux.timeOffsets")
def test_the_clock_inside_is_ahead(runtime: Runtime, bundle: MakeBundle) -> None:
    here = bundle(
        process={"args": ["cat", "/proc/uptime"]}, **with_offsets({"boottime": {"secs": 10 * DAY_S}})
    )
    inside = float(runtime.output(here).split()[0])
    ours = time.clock_gettime(time.CLOCK_BOOTTIME)
    assert 9 * DAY_S < inside - ours < 10 * DAY_S + 1


@pytest.mark.refuses("linux.timeOffsets")
@pytest.mark.parametrize(
    "offsets",
    [
        {"realtime": {"secs": 1}},
        {"monotonic": {"nanosecs": 10**9}},
        {"monotonic": {"nanosecs": -1}},
        {"monotonic": {"secs": 1.5}},
        {"boottime": {"secs": -(2**62)}},
    ],
    ids=["another clock", "a second in nanoseconds", "negative nanoseconds", "a fraction", "before the boot"],
)
def test_offsets_that_can_not_be_are_errors(runtime: Runtime, bundle: MakeBundle, offsets: Any) -> None:
    runtime.fails("create", "--bundle", bundle(**with_offsets(offsets)), new_id())


@pytest.mark.refuses("linux.timeOffsets")
def test_offsets_without_a_new_time_namespace_are_an_error(runtime: Runtime, bundle: MakeBundle) -> None:
    offsets = {"monotonic": {"secs": 1}}
    runtime.fails("create", "--bundle", bundle(linux={"timeOffsets": offsets}), new_id())
    joined = [*namespaces(), {"type": "time", "path": "/proc/self/ns/time"}]
    here = bundle(linux={"namespaces": joined, "timeOffsets": offsets})
    runtime.fails("create", "--bundle", here, new_id())
