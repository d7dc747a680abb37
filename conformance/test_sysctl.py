"""linux.sysctl; config-linux.md, "Sysctl"."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from .bundles import namespaces
from .fixtures import MakeBundle
from .namespace_holders import FILES, holder
from .runtime import Runtime
from .test_mounts import refused

MAPPING = [{"containerID": 0, "hostID": 100000, "size": 65536}]


# Each with a value that no host begins with.
def file(key: str) -> Path:
    return Path("/proc/sys") / key.replace(".", "/")


def other(key: str) -> str:
    """Another value than the host's, of a switch."""
    return "0" if file(key).exists() and file(key).read_text().strip() == "1" else "1"


PARAMETERS = {
    "kernel.msgmax": "4097",
    "kernel.msgmnb": "16385",
    "kernel.msgmni": "123",
    "kernel.sem": "100\t2000\t30\t40",
    "kernel.shmall": "12345",
    "kernel.shmmax": "1234567",
    "kernel.shmmni": "77",
    "kernel.shm_rmid_forced": "1",
    "fs.mqueue.queues_max": "99",
    "fs.mqueue.msg_max": "11",
    "fs.mqueue.msgsize_max": "8193",
    "net.core.somaxconn": "77",
    "net.ipv4.ip_forward": other("net.ipv4.ip_forward"),
    "net.ipv4.ip_local_port_range": "20000\t20100",
    "net.ipv4.ping_group_range": "5\t6",
    "net.ipv4.conf.lo.forwarding": other("net.ipv4.conf.lo.forwarding"),
    "net.ipv6.conf.all.disable_ipv6": "1",
    "net.unix.max_dgram_qlen": "33",
}


def need(key: str) -> None:
    if not file(key).exists():
        pytest.skip(f"the kernel has no {key}")


def kind_of(key: str) -> str:
    return "network" if key.startswith("net") else "ipc"


def reading(key: str, **linux: Any) -> dict[str, Any]:
    return {"process": {"args": ["cat", str(file(key))]}, "linux": linux}


def in_namespaces(pid: int, *command: str) -> str:
    """What a command says in the uts, ipc and network namespaces of a process."""
    enter = ["nsenter", "--target", str(pid), "--uts", "--ipc", "--net"]
    return subprocess.run([*enter, *command], capture_output=True, text=True, check=True).stdout


@pytest.mark.shows("linux.sysctl")
@pytest.mark.parametrize("key", PARAMETERS)
@pytest.mark.parametrize("mapped", [False, True])
def test_a_parameter_is_set_in_the_container_alone(
    runtime: Runtime, reachable: MakeBundle, key: str, mapped: bool
) -> None:
    need(key)
    before = file(key).read_text()
    linux: dict[str, Any] = {"sysctl": {key: PARAMETERS[key]}}
    if mapped:
        linux |= {
            "namespaces": [*namespaces(), {"type": "user"}],
            "uidMappings": MAPPING,
            "gidMappings": MAPPING,
        }
    assert (
        runtime.output(reachable(**reading(key, **linux))).rstrip("\n")
        == PARAMETERS[key]
        != before.rstrip("\n")
    )
    assert file(key).read_text() == before


@pytest.mark.shows("linux.sysctl")
@pytest.mark.parametrize("key", ["user.max_user_namespaces", "user/max_inotify_watches"])
@pytest.mark.peers_differ(crun="allows none of these", runc="allows none of these")
def test_a_user_namespace_has_parameters_too(runtime: Runtime, reachable: MakeBundle, key: str) -> None:
    need(key)
    before = file(key).read_text()
    linux = {
        "namespaces": [*namespaces(), {"type": "user"}],
        "uidMappings": MAPPING,
        "gidMappings": MAPPING,
        "sysctl": {key: "77"},
    }
    assert runtime.output(reachable(**reading(key, **linux))) == "77\n"
    assert file(key).read_text() == before


@pytest.mark.refuses("linux.sysctl")
@pytest.mark.parametrize("joined", [False, True])
def test_a_parameter_of_the_hosts_user_namespace_is_an_error(
    runtime: Runtime, bundle: MakeBundle, joined: bool
) -> None:
    key = "user.max_user_namespaces"
    need(key)
    listed = namespaces(user="/proc/self/ns/user") if joined else namespaces()
    # The value that it has: a runtime that doesn't refuse changes nothing.
    sysctl = {key: file(key).read_text().strip()}
    refused(runtime, bundle(linux={"namespaces": listed, "sysctl": sysctl}))


@pytest.mark.shows("linux.sysctl")
def test_many_parameters_are_all_set(runtime: Runtime, bundle: MakeBundle) -> None:
    wanted = {key: value for key, value in PARAMETERS.items() if file(key).exists()}
    here = bundle(process={"args": ["cat", *map(str, map(file, wanted))]}, linux={"sysctl": wanted})
    assert runtime.output(here).splitlines() == list(wanted.values())


@pytest.mark.shows("linux.sysctl")
def test_a_value_of_several_words_may_be_written_with_blanks(runtime: Runtime, bundle: MakeBundle) -> None:
    here = bundle(**reading("kernel.sem", sysctl={"kernel.sem": "100 2000 30 40"}))
    assert runtime.output(here).split() == ["100", "2000", "30", "40"]


@pytest.mark.shows("linux.sysctl.separators")
@pytest.mark.parametrize(
    "key",
    ["net.ipv4.conf.eth0/5.forwarding", "net/ipv4/conf/eth0.5/forwarding"],
)
@pytest.mark.peers_differ(crun="knows no dots in names", runc="knows no dots in names")
def test_a_name_may_have_a_dot_in_it(runtime: Runtime, bundle: MakeBundle, key: str) -> None:
    """As sysctl.d(5) has it: of . and / the first one separates, and the other stands for a dot."""
    with holder("network") as pid:
        add = ["ip", "link", "add", "eth0.5", "type", "veth"]
        if (
            subprocess.run(["nsenter", "--target", str(pid), "--net", *add], capture_output=True).returncode
            != 0
        ):
            pytest.skip("no veth device can be made here")
        # A new namespace has the host's value.
        inherited = file("net.ipv4.conf.lo.forwarding").read_text().strip()
        set_to = other("net.ipv4.conf.lo.forwarding")
        linux = {"namespaces": namespaces(network=f"/proc/{pid}/ns/net"), "sysctl": {key: set_to}}
        script = "cat /proc/sys/net/ipv4/conf/eth0.5/forwarding /proc/sys/net/ipv4/conf/lo/forwarding"
        assert (
            runtime.output(bundle(process={"args": ["sh", "-c", script]}, linux=linux))
            == f"{set_to}\n{inherited}\n"
        )


@pytest.mark.shows("linux.sysctl.separators")
@pytest.mark.parametrize("key", ["kernel/shmmni", "fs/mqueue/queues_max", "net/core/somaxconn"])
def test_a_slash_separates_as_a_dot_does(runtime: Runtime, bundle: MakeBundle, key: str) -> None:
    need(key)
    assert runtime.output(bundle(**reading(key, sysctl={key: "71"}))) == "71\n"


@pytest.mark.shows("linux.sysctl")
@pytest.mark.parametrize("key", ["kernel.shmmni", "net.core.somaxconn"])
def test_a_parameter_is_set_in_a_namespace_that_is_joined(
    runtime: Runtime, bundle: MakeBundle, key: str
) -> None:
    with holder("ipc", "network") as pid:
        paths = {kind_of(key): f"/proc/{pid}/ns/{FILES[kind_of(key)]}"}
        runtime.output(bundle(**reading(key, sysctl={key: "71"}, namespaces=namespaces(**paths))))
        entered = ["nsenter", "--target", str(pid), "--ipc", "--net", "cat", str(file(key))]
        assert subprocess.run(entered, capture_output=True, text=True).stdout == "71\n"


@pytest.mark.shows("linux.sysctl.names")
@pytest.mark.peers_differ(crun="allows neither", runc="allows no hostname")
def test_the_names_of_the_uts_namespace_are_parameters_too(runtime: Runtime, bundle: MakeBundle) -> None:
    sysctl = {"kernel.hostname": "host-1", "kernel.domainname": "example.org"}
    args = ["cat", *map(str, map(file, sysctl))]
    here = bundle(hostname=None, process={"args": args}, linux={"sysctl": sysctl})
    assert runtime.output(here) == "host-1\nexample.org\n"
    here = bundle(hostname="host-1", process={"args": args}, linux={"sysctl": sysctl})
    assert runtime.output(here) == "host-1\nexample.org\n"


@pytest.mark.refuses("linux.sysctl.names")
@pytest.mark.parametrize("name", ["hostname", "domainname"])
@pytest.mark.peers_differ(runc="is too old for the domain")
def test_two_different_names_are_an_error(runtime: Runtime, bundle: MakeBundle, name: str) -> None:
    refused(runtime, bundle(**{name: "one"}, linux={"sysctl": {f"kernel.{name}": "other"}}))


@pytest.mark.refuses("linux.sysctl")
@pytest.mark.parametrize(
    "key",
    [
        "kernel.panic",
        "kernel.core_pattern",
        "kernel.threads-max",
        "kernel.printk",
        "vm.swappiness",
        "vm.overcommit_memory",
        "fs.file-max",
        "fs.mount-max",
        "kernel/panic",
        "vm/swappiness",
    ],
)
def test_a_parameter_of_the_host_is_an_error(runtime: Runtime, bundle: MakeBundle, key: str) -> None:
    need(key)
    # The value that it has: a runtime that doesn't refuse changes nothing.
    refused(runtime, bundle(linux={"sysctl": {key: file(key).read_text().strip()}}))


@pytest.mark.refuses("linux.sysctl")
@pytest.mark.parametrize("key", [key for key in PARAMETERS if key.count(".") < 4])
def test_a_parameter_of_a_namespace_that_is_the_hosts_is_an_error(
    enclosed: tuple[Runtime, int], bundle: MakeBundle, key: str
) -> None:
    need(key)
    runtime, pid = enclosed
    before = in_namespaces(pid, "cat", str(file(key)))
    listed = namespaces("uts", kind_of(key))
    here = bundle(hostname=None, linux={"sysctl": {key: PARAMETERS[key]}, "namespaces": listed})
    refused(runtime, here)
    assert in_namespaces(pid, "cat", str(file(key))) == before


@pytest.mark.refuses("linux.sysctl", "linux.sysctl.names")
@pytest.mark.parametrize(
    "key", ["kernel.shmmni", "fs.mqueue.queues_max", "net.core.somaxconn", "kernel.domainname"]
)
@pytest.mark.peers_differ(crun="changes the host", runc="changes the host, but for its network")
def test_a_path_to_the_hosts_namespace_makes_it_no_other(
    enclosed: tuple[Runtime, int], bundle: MakeBundle, key: str
) -> None:
    runtime, pid = enclosed
    before = in_namespaces(pid, "cat", str(file(key)))
    kind = "uts" if key == "kernel.domainname" else kind_of(key)
    listed = namespaces(**{kind: f"/proc/{pid}/ns/{FILES[kind]}"})
    refused(runtime, bundle(hostname=None, linux={"sysctl": {key: "71"}, "namespaces": listed}))
    assert in_namespaces(pid, "cat", str(file(key))) == before


@pytest.mark.refuses("linux.sysctl")
@pytest.mark.parametrize(
    "sysctl",
    [
        {"net.no.such": "1"},
        {"net.ipv4": "1"},
        {"net": "1"},
        {"kernel.shm_no_such": "1"},
        {"fs.mqueue.no_such": "1"},
        {"no_such": "1"},
        {"": "1"},
        {".": "1"},
        {"net.": "1"},
        {".net.ipv4.ip_forward": "1"},
        {"/net/ipv4/ip_forward": "1"},
        {"net..ipv4.ip_forward": "1"},
        {"net/../kernel/panic": "0"},
        {"net.ipv4.ip_forward": "x"},
        {"net.ipv4.ip_local_port_range": "5 4"},
        {"net.ipv4.ip_forward": 1},
        {"net.ipv4.ip_forward": True},
        {"net.ipv4.ip_forward": ["1"]},
        ["net.ipv4.ip_forward=1"],
        "net.ipv4.ip_forward=1",
    ],
    ids=str,
)
@pytest.mark.peers_differ(crun="takes some of them", runc="takes some of them")
def test_a_parameter_that_can_not_be_is_an_error(runtime: Runtime, bundle: MakeBundle, sysctl: Any) -> None:
    refused(runtime, bundle(linux={"sysctl": sysctl}))
