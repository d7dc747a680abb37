"""linux.netDevices: the host's network interfaces in the container; config-linux.md, "Network Devices"."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .bundles import namespaces
from .fixtures import MakeBundle
from .namespace_holders import holder
from .runtime import Runtime, new_id

pytestmark = pytest.mark.peers_differ(
    crun="1.8 doesn't know linux.netDevices", runc="1.1 doesn't know linux.netDevices"
)

_numbers = itertools.count()


def ip(*arguments: str, pid: int | None = None) -> Any:
    """What ip(8) shows, in the network namespace of a process or ours."""
    inside = [] if pid is None else ["nsenter", "--target", str(pid), "--net"]
    command = [*inside, "ip", "-json", "-details", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(done.stdout or "[]")


def shown(name: str, pid: int | None = None) -> dict[str, Any] | None:
    """An interface as ip(8) shows it; None if there is no such."""
    return next((each for each in ip("address", "show", pid=pid) if each.get("ifname") == name), None)


def addresses(link: dict[str, Any] | None) -> set[tuple[Any, ...]]:
    """Its addresses but those that the kernel makes of itself."""
    assert link is not None
    fields = ("family", "local", "address", "prefixlen", "broadcast", "label", "metric", "noprefixroute")
    return {
        tuple(each.get(field) for field in fields) for each in link["addr_info"] if each["scope"] != "link"
    }


def unchanged(name: str) -> tuple[dict[str, Any], set[tuple[Any, ...]]]:
    """What stays the same of an interface that nobody touches: without lifetimes, and the kernel's own address that it probes."""
    link = shown(name)
    assert link is not None, f"{name} is gone"
    return {field: value for field, value in link.items() if field != "addr_info"}, addresses(link)


@pytest.fixture
def device() -> Iterator[str]:
    """One end of a veth pair, up, with addresses; the other end's name is the same with a "p"."""
    name = f"oci{os.getpid() % 100000}{next(_numbers)}"
    # The address at once: one that the kernel chose udev changes a moment later, also if it was set meanwhile.
    ip("link", "add", name, "address", "02:00:00:00:12:34", "type", "veth", "peer", "name", f"{name}p")
    try:
        ip("link", "set", name, "mtu", "1400", "up")
        ip("link", "set", f"{name}p", "up")
        ip("address", "add", "192.0.2.1/24", "broadcast", "192.0.2.255", "label", f"{name}:x", "dev", name)
        ip("address", "add", "192.0.2.2/24", "metric", "77", "dev", name)
        ip("address", "add", "198.51.100.1", "peer", "198.51.100.2/32", "dev", name)
        ip("address", "add", "2001:db8::1/64", "nodad", "noprefixroute", "dev", name)
        ip("address", "add", "192.0.2.99/24", "valid_lft", "1000", "preferred_lft", "1000", "dev", name)
        yield name
    finally:
        subprocess.run(["ip", "link", "delete", f"{name}p"], capture_output=True)


def sleeping(bundle: MakeBundle, devices: dict[str, Any], **linux: Any) -> Path:
    return bundle(process={"args": ["sleep", "1000"]}, linux={"netDevices": devices} | linux)


@pytest.mark.shows("linux.netDevices")
@pytest.mark.parametrize("joined", [False, True])
@pytest.mark.parametrize("renamed", [False, True])
def test_an_interface_moves_with_its_attributes_and_addresses(
    runtime: Runtime, bundle: MakeBundle, device: str, joined: bool, renamed: bool
) -> None:
    before = shown(device)
    assert before
    name = "inside0" if renamed else device
    with holder("network") as pid:
        listed = namespaces(network=f"/proc/{pid}/ns/net") if joined else namespaces()
        entry = {"name": name} if renamed else {}
        container = runtime.launch(sleeping(bundle, {device: entry}, namespaces=listed))
        after = shown(name, pid=runtime.pid(container))
        assert after, "it isn't there"
        assert "UP" in after["flags"]
        assert (after["mtu"], after["address"]) == (1400, "02:00:00:00:12:34")
        permanent = {each for each in addresses(before) if each[1] != "192.0.2.99"}
        expected = {
            tuple(f"{name}:x" if v == f"{device}:x" else name if v == device else v for v in each)
            for each in permanent
        }
        assert addresses(after) == expected
        assert len(expected) == 4
        assert shown(device) is None
        runtime.finish(container)
        # The runtime neither manages it nor moves it back: with its namespace, a virtual one ends.
        assert shown(device) is None
        assert (shown(name, pid=pid) is not None) == joined


@pytest.mark.shows("linux.netDevices")
def test_an_interface_that_was_down_is_up_in_the_container(
    runtime: Runtime, bundle: MakeBundle, device: str
) -> None:
    ip("link", "set", device, "down")
    container = runtime.launch(sleeping(bundle, {device: {}}))
    after = shown(device, pid=runtime.pid(container))
    assert after
    assert "UP" in after["flags"]


@pytest.mark.shows("linux.netDevices.name")
def test_the_kernel_numbers_a_template(runtime: Runtime, bundle: MakeBundle, device: str) -> None:
    with holder("network") as pid:
        ip("link", "add", "net0", "type", "veth", "peer", "name", "net1", pid=pid)
        path = sleeping(
            bundle,
            {device: {"name": "net%d"}, f"{device}p": {"name": "net%d"}},
            namespaces=namespaces(network=f"/proc/{pid}/ns/net"),
        )
        runtime.launch(path)
        macs = {each["ifname"]: each["address"] for each in ip("link", "show", pid=pid)}
    assert set(macs) == {"lo", "net0", "net1", "net2", "net3"}
    assert macs["net2"] == "02:00:00:00:12:34"


@pytest.mark.shows("linux.netDevices")
def test_hooks_and_sysctls_find_the_interface(
    runtime: Runtime, bundle: MakeBundle, device: str, tmp_path: Path
) -> None:
    script = f"nsenter --target $(sed 's/.*\"pid\": *\\([0-9]*\\).*/\\1/') --net ip link show eth7 > {tmp_path}/seen"
    path = bundle(
        process={"args": ["cat", "/proc/sys/net/ipv4/conf/eth7/forwarding"]},
        hooks={
            "createRuntime": [
                {"path": "/bin/sh", "args": ["sh", "-c", script], "env": [f"PATH={os.environ['PATH']}"]}
            ]
        },
        linux={"netDevices": {device: {"name": "eth7"}}, "sysctl": {"net/ipv4/conf/eth7/forwarding": "1"}},
    )
    assert runtime.output(path) == "1\n"
    assert "eth7" in (tmp_path / "seen").read_text()


@pytest.mark.refuses("linux.netDevices")
def test_an_interface_that_is_not_there_is_an_error(runtime: Runtime, bundle: MakeBundle) -> None:
    said = runtime.fails("create", "--bundle", sleeping(bundle, {"nosuch0": {}}), new_id())
    assert "nosuch0" in said


@pytest.mark.refuses("linux.netDevices")
@pytest.mark.parametrize("where", ["inherited", "own"])
def test_it_takes_another_network_namespace(
    runtime: Runtime, bundle: MakeBundle, device: str, where: str
) -> None:
    listed = namespaces("network") if where == "inherited" else namespaces(network="/proc/self/ns/net")
    runtime.fails("create", "--bundle", sleeping(bundle, {device: {}}, namespaces=listed), new_id())
    assert shown(device)


@pytest.mark.refuses("linux.netDevices.name")
@pytest.mark.parametrize("name", ["lo", "a/b", "a b", "a:b", ".", "..", "x" * 16, "a%db%d", "a%s"])
def test_a_name_that_cannot_be_had_is_an_error_and_the_interface_stays(
    runtime: Runtime, bundle: MakeBundle, device: str, name: str
) -> None:
    before = unchanged(device)
    runtime.fails("create", "--bundle", sleeping(bundle, {device: {"name": name}}), new_id())
    assert unchanged(device) == before


@pytest.mark.refuses("linux.netDevices")
@pytest.mark.parametrize("up", [True, False])
def test_a_failed_create_gives_the_interface_back(
    runtime: Runtime, bundle: MakeBundle, device: str, up: bool
) -> None:
    """After an error everything is as it was before."""
    if not up:
        ip("link", "set", device, "down")
    before = shown(device)
    failing = {"createRuntime": [{"path": "/bin/false"}]}
    path = bundle(linux={"netDevices": {device: {"name": "inside0"}}}, hooks=failing)
    runtime.fails("create", "--bundle", path, new_id())
    after = shown(device)
    assert before
    assert after
    assert ("UP" in after["flags"]) == up
    kept = {each for each in addresses(before) if each[1] != "192.0.2.99"}
    if up:
        assert addresses(after) == kept


@pytest.mark.refuses("linux.netDevices")
def test_what_cannot_be_moved_is_an_error(runtime: Runtime, bundle: MakeBundle) -> None:
    """The loopback interface belongs to its namespace (NETIF_F_NETNS_LOCAL)."""
    runtime.fails("create", "--bundle", sleeping(bundle, {"lo": {"name": "lo1"}}), new_id())
    loopback = shown("lo")
    assert loopback
