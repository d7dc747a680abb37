"""Where the runtime itself may make no device (in a container, say), the host's are lent."""

from __future__ import annotations

from typing import Any

import pytest

from conformance.bundles import namespaces
from conformance.fixtures import MakeBundle
from conformance.runtime import Runtime, new_id

MAPPING = [{"containerID": 0, "hostID": 100000, "size": 65536}]
MAPPED: dict[str, Any] = {
    "namespaces": [*namespaces(), {"type": "user"}],
    "uidMappings": MAPPING,
    "gidMappings": MAPPING,
}
also_mapped = pytest.mark.parametrize("linux", [{}, MAPPED], ids=["root", "mapped"])


@pytest.fixture
def powerless(runtime: Runtime) -> Runtime:
    """The runtime without CAP_MKNOD."""
    runtime.command = ["setpriv", "--bounding-set", "-mknod", *runtime.command]
    return runtime


@also_mapped
def test_the_default_devices_are_the_hosts(
    powerless: Runtime, reachable: MakeBundle, linux: dict[str, Any]
) -> None:
    script = "head -c 4 /dev/zero | wc -c; echo x >/dev/null && echo null; test -c /dev/tty && echo tty"
    here = reachable(process={"args": ["sh", "-c", script]}, linux=linux)
    assert powerless.output(here).split() == ["4", "null", "tty"]


@also_mapped
def test_a_device_that_the_host_has_not_is_an_error_that_says_where_it_was_looked_for(
    powerless: Runtime, reachable: MakeBundle, linux: dict[str, Any]
) -> None:
    device = {"path": "/dev/no-such-disk", "type": "b", "major": 200, "minor": 70000}
    here = reachable(linux=linux | {"devices": [device]})
    error = powerless.fails("create", "--bundle", here, new_id())
    assert "/linux/devices/0" in error
    assert "/dev/no-such-disk" in error
    assert "/dev/block" in error
