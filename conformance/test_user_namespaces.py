"""User namespaces and their mappings; config-linux.md, "User namespace mappings"."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from .bundles import bound, mounts, namespaces
from .fixtures import MakeBundle
from .namespace_holders import namespace
from .runtime import Runtime, new_id

Mappings = list[dict[str, int]]

SLEEP = ["sleep", "1000"]
WHOLE: Mappings = [{"containerID": 0, "hostID": 100000, "size": 65536}]
SHUFFLED: Mappings = [
    {"containerID": 0, "hostID": 200000, "size": 1},
    # 5 is in it, the group of the default configuration's devpts.
    {"containerID": 1, "hostID": 100000, "size": 1000},
    {"containerID": 5000, "hostID": 5000, "size": 5},
    {"containerID": 2000, "hostID": 300000, "size": 2},
]


def mapped(uids: Mappings, gids: Mappings, **more: Any) -> dict[str, Any]:
    listed = [*namespaces(), {"type": "user"}]
    return {"linux": {"namespaces": listed, "uidMappings": uids, "gidMappings": gids, **more}}


def lines(path: str) -> Mappings:
    """What a map file of the kernel's says."""
    rows = [[int(word) for word in line.split()] for line in Path(path).read_text().splitlines()]
    return [{"containerID": row[0], "hostID": row[1], "size": row[2]} for row in rows]


@pytest.mark.shows("linux.uidMappings", "linux.gidMappings")
@pytest.mark.parametrize(("uids", "gids"), [(WHOLE, WHOLE), (SHUFFLED, WHOLE), (WHOLE, SHUFFLED)])
def test_the_maps_are_those_of_the_config(
    runtime: Runtime, reachable: MakeBundle, uids: Mappings, gids: Mappings
) -> None:
    container = runtime.launch(reachable(process={"args": SLEEP}, **mapped(uids, gids)))
    pid = runtime.pid(container)
    assert namespace(pid, "user") != namespace("self", "user")
    assert lines(f"/proc/{pid}/uid_map") == uids
    assert lines(f"/proc/{pid}/gid_map") == gids
    runtime.finish(container)


@pytest.mark.shows("linux.uidMappings", "linux.gidMappings")
@pytest.mark.parametrize("user", [0, 1, 65535])
def test_the_program_has_the_mapped_identity(runtime: Runtime, reachable: MakeBundle, user: int) -> None:
    identity = {"uid": user, "gid": user, "additionalGids": [7, 8]}
    here = reachable(process={"args": SLEEP, "user": identity}, **mapped(WHOLE, WHOLE))
    pid = runtime.pid(runtime.launch(here))
    status = Path(f"/proc/{pid}/status").read_text().splitlines()
    found = {line.split(":")[0]: line.split()[1:] for line in status}
    assert found["Uid"] == found["Gid"] == [str(100000 + user)] * 4
    assert found["Groups"] == ["100007", "100008"]


@pytest.mark.shows("linux.uidMappings")
def test_what_is_new_belongs_to_the_user_namespace(runtime: Runtime, reachable: MakeBundle) -> None:
    """Root of the container may do in its namespaces what root may: here, mount, name the host, set up a network."""
    script = (
        "mount -t tmpfs x /tmp && hostname inside && ip link set lo up && chown 5:6 /dev/shm && echo done"
    )
    needed = ["CAP_SYS_ADMIN", "CAP_NET_ADMIN", "CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER"]
    sets = dict.fromkeys(("bounding", "effective", "permitted"), needed)
    process = {"args": ["sh", "-c", script], "capabilities": sets}
    assert runtime.output(reachable(process=process, **mapped(WHOLE, WHOLE))) == "done\n"


@pytest.mark.shows("linux.uidMappings")
def test_devices_are_there_although_none_can_be_made(runtime: Runtime, reachable: MakeBundle) -> None:
    script = "for d in null zero full random urandom tty; do stat -c '%n %t:%T' /dev/$d; done"
    here = reachable(process={"args": ["sh", "-c", script]}, **mapped(WHOLE, WHOLE))
    expected = {"null": "1:3", "zero": "1:5", "full": "1:7", "random": "1:8", "urandom": "1:9", "tty": "5:0"}
    assert runtime.output(here).split() == [
        word for name, number in expected.items() for word in (f"/dev/{name}", number)
    ]


@pytest.mark.shows("linux.uidMappings")
@pytest.mark.peers_differ(runc="needs 0 to be mapped", crun="needs 0 to be mapped")
def test_root_need_not_be_mapped(runtime: Runtime, reachable: MakeBundle) -> None:
    only = [{"containerID": 1000, "hostID": 100000, "size": 10}]
    process = {"args": SLEEP, "user": {"uid": 1001, "gid": 1002}}
    mounts = [{"destination": "/proc", "type": "proc", "source": "proc"}]
    mounts += [{"destination": "/dev", "type": "tmpfs", "source": "tmpfs"}]
    here = reachable(process=process, mounts=mounts, **mapped(only, only))
    pid = runtime.pid(runtime.launch(here))
    assert os.stat(f"/proc/{pid}").st_uid == 100001


@pytest.mark.shows("linux.uidMappings", "linux.gidMappings")
def test_a_map_may_have_as_many_lines_as_the_kernel_takes(runtime: Runtime, reachable: MakeBundle) -> None:
    # 340 of them, if they fit into a page.
    many = [{"containerID": each, "hostID": 2 * each, "size": 1} for each in range(340)]
    pid = runtime.pid(runtime.launch(reachable(process={"args": SLEEP}, **mapped(many, many))))
    assert lines(f"/proc/{pid}/uid_map") == lines(f"/proc/{pid}/gid_map") == many


@pytest.mark.shows("linux.uidMappings.files")
def test_files_keep_their_owners(runtime: Runtime, reachable: MakeBundle, tmp_path: Path) -> None:
    here = reachable(
        process={"args": SLEEP},
        mounts=mounts(bound(tmp_path, "/tmp")),
        root={"readonly": False},
        **mapped(WHOLE, WHOLE),
    )
    files = [*here.glob("rootfs/**/*"), *tmp_path.rglob("*"), tmp_path, here / "rootfs"]
    before = {file: (file.lstat().st_uid, file.lstat().st_gid) for file in files if file.exists()}
    runtime.launch(here)
    assert {file: (file.lstat().st_uid, file.lstat().st_gid) for file in before} == before


@pytest.mark.refuses("linux.uidMappings", "linux.gidMappings")
@pytest.mark.parametrize(
    ("uids", "gids"),
    [
        ([], []),
        (WHOLE, []),
        ([], WHOLE),
        ([{"containerID": 0, "hostID": 1, "size": 0}], WHOLE),
        (WHOLE, WHOLE + WHOLE),
        ([{"containerID": 0, "hostID": 1, "size": 2**32}], WHOLE),
        ([{"containerID": -1, "hostID": 1, "size": 5}], WHOLE),
        ([{"containerID": 0, "hostID": 1}], WHOLE),
        ([{"containerID": "0", "hostID": 1, "size": 1}], WHOLE),
        ([{"containerID": each, "hostID": each, "size": 1} for each in range(341)], WHOLE),
    ],
    ids=[
        "none",
        "no gids",
        "no uids",
        "empty range",
        "overlap",
        "too many",
        "negative",
        "no size",
        "a string",
        "more lines than the kernel takes",
    ],
)
@pytest.mark.peers_differ(crun="takes some of them", runc="takes some of them")
def test_maps_that_can_not_be_are_errors(
    runtime: Runtime, reachable: MakeBundle, uids: Mappings, gids: Mappings
) -> None:
    runtime.fails("create", "--bundle", reachable(**mapped(uids, gids)), new_id())
    assert os.listdir(runtime.root) == []


@pytest.mark.refuses("linux.uidMappings")
@pytest.mark.peers_differ(crun="ignores them", runc="ignores them")
def test_maps_without_a_user_namespace_are_an_error(runtime: Runtime, reachable: MakeBundle) -> None:
    linux = {"uidMappings": WHOLE, "gidMappings": WHOLE}
    runtime.fails("create", "--bundle", reachable(linux=linux), new_id())


@pytest.mark.refuses("linux.uidMappings", "linux.gidMappings")
@pytest.mark.parametrize("user", [{"uid": 70000, "gid": 0}, {"uid": 0, "gid": 70000}])
def test_an_identity_without_a_mapping_is_an_error(
    runtime: Runtime, reachable: MakeBundle, user: dict[str, int]
) -> None:
    here = reachable(process={"user": user}, **mapped(WHOLE, WHOLE))
    runtime.fails("create", "--bundle", here, new_id())
