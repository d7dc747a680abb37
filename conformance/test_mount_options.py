"""The mount options, each by what mountinfo says and by what it does; config.md, "Linux mount options"."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from .bundles import mounts, namespaces, write_config
from .fixtures import MakeBundle
from .runtime import Runtime
from .test_mounts import bind, refused, shell, tmpfs

# option: what mountinfo shows of it on a tmpfs, what it doesn't.
SHOWN: dict[str, tuple[set[str], set[str]]] = {
    "defaults": ({"rw", "relatime"}, {"ro", "nosuid", "nodev", "noexec"}),
    "ro": ({"ro"}, {"rw"}),
    "rw": ({"rw"}, {"ro"}),
    "nosuid": ({"nosuid"}, set()),
    "suid": (set(), {"nosuid"}),
    "nodev": ({"nodev"}, set()),
    "dev": (set(), {"nodev"}),
    "noexec": ({"noexec"}, set()),
    "exec": (set(), {"noexec"}),
    "noatime": ({"noatime"}, {"relatime"}),
    "atime": ({"relatime"}, {"noatime"}),
    "relatime": ({"relatime"}, {"noatime"}),
    "norelatime": (set(), {"relatime", "noatime"}),
    "strictatime": (set(), {"relatime", "noatime"}),
    "nostrictatime": ({"relatime"}, set()),
    "nodiratime": ({"nodiratime"}, set()),
    "diratime": (set(), {"nodiratime"}),
    "nosymfollow": ({"nosymfollow"}, set()),
    "symfollow": (set(), {"nosymfollow"}),
    "sync": ({"sync"}, set()),
    "async": (set(), {"sync"}),
    "dirsync": ({"dirsync"}, {"sync"}),
    "lazytime": ({"lazytime"}, set()),
    "nolazytime": (set(), {"lazytime"}),
    "iversion": (set(), set()),
    "noiversion": (set(), set()),
    "silent": (set(), set()),
    "loud": (set(), set()),
    "mand": (set(), set()),
    "nomand": (set(), set()),
}
MAY = {"mand", "nomand"}
RECURSIVE = {
    "rro": {"ro"},
    "rrw": {"rw"},
    "rnosuid": {"nosuid"},
    "rsuid": {"-nosuid"},
    "rnodev": {"nodev"},
    "rdev": {"-nodev"},
    "rnoexec": {"noexec"},
    "rexec": {"-noexec"},
    "rnodiratime": {"nodiratime"},
    "rdiratime": {"-nodiratime"},
    "rnoatime": {"noatime"},
    "ratime": {"-noatime"},
    "rrelatime": {"relatime"},
    "rnorelatime": {"-relatime"},
    "rstrictatime": {"-relatime", "-noatime"},
    "rnostrictatime": {"relatime"},
    "rnosymfollow": {"nosymfollow"},
    "rsymfollow": {"-nosymfollow"},
}
# What stands in mountinfo's optional fields, of a mount in a root that is a slave of nobody.
PROPAGATIONS = {
    "private": (set(), {"shared", "master", "unbindable"}),
    "shared": ({"shared"}, {"unbindable"}),
    "slave": (set(), {"shared", "unbindable"}),
    "unbindable": ({"unbindable"}, {"shared", "master"}),
}


def rows(text: str) -> dict[str, tuple[set[str], set[str]]]:
    """Mountinfo: mount point -> its options (the filesystem's too), its optional fields by name."""
    found = {}
    for line in text.splitlines():
        mount, _, filesystem = line.partition(" - ")
        fields = mount.split(" ")
        options = set(fields[5].split(",")) | set(filesystem.split(" ")[2].split(",")) - {"rw", "ro"}
        found[fields[4]] = options, {field.partition(":")[0] for field in fields[6:]}
    return found


def shown(runtime: Runtime, bundle: MakeBundle, *entries: dict[str, Any], **changes: Any) -> Any:
    here = bundle(process={"args": ["cat", "/proc/self/mountinfo"]}, mounts=mounts(*entries), **changes)
    return rows(runtime.output(here))


@pytest.mark.shows("mounts.options")
@pytest.mark.parametrize("option", sorted(SHOWN.keys() - MAY))
def test_a_new_filesystem_has_the_option(runtime: Runtime, bundle: MakeBundle, option: str) -> None:
    there, missing = SHOWN[option]
    options, _ = shown(runtime, bundle, tmpfs("/tmp", option))["/tmp"]
    assert there <= options
    assert not missing & options


@pytest.mark.shows("mounts.options.may")
@pytest.mark.parametrize("option", sorted(MAY))
def test_a_new_filesystem_takes_the_option(runtime: Runtime, bundle: MakeBundle, option: str) -> None:
    shown(runtime, bundle, tmpfs("/tmp", option))


@pytest.mark.shows("mounts.options.bind")
@pytest.mark.parametrize(
    "option",
    ["ro", "nosuid", "nodev", "noexec", "noatime", "relatime", "strictatime", "nodiratime", "nosymfollow"],
)
@pytest.mark.parametrize("kind", ["bind", "rbind"])
def test_a_bind_has_the_option_and_its_source_has_not(
    runtime: Runtime, bundle: MakeBundle, tmp_path: Path, option: str, kind: str
) -> None:
    entry = bind(tmp_path, "/tmp") | {"options": [kind, option]}
    options, _ = shown(runtime, bundle, entry)["/tmp"]
    there, missing = SHOWN[option]
    assert there <= options
    assert not missing & options
    (tmp_path / "still-writable").touch()


@pytest.mark.shows("mounts.options.bind")
@pytest.mark.parametrize(
    ("option", "first"),
    [("rw", "ro"), ("suid", "nosuid"), ("dev", "nodev"), ("exec", "noexec"), ("symfollow", "nosymfollow")],
)
def test_a_bind_clears_what_its_source_has(
    runtime: Runtime, bundle: MakeBundle, tmp_path: Path, option: str, first: str
) -> None:
    source = tmp_path / "source"
    source.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", first, "x", source], check=True)
    try:
        options, _ = shown(runtime, bundle, bind(source, "/tmp", option))["/tmp"]
        # The filesystem itself may be read-only; its mount isn't.
        assert first not in options
        kept, _ = shown(runtime, bundle, bind(source, "/tmp"))["/tmp"]
        assert first in kept
    finally:
        subprocess.run(["umount", source], check=True)


@pytest.mark.shows("mounts.options.order")
@pytest.mark.parametrize(
    ("options", "there"),
    [
        (["ro", "rw"], "rw"),
        (["rw", "ro"], "ro"),
        (["nosuid", "suid", "nosuid"], "nosuid"),
        (["noatime", "relatime"], "relatime"),
    ],
)
def test_the_last_of_two_that_contradict_counts(
    runtime: Runtime, bundle: MakeBundle, options: list[str], there: str
) -> None:
    assert there in shown(runtime, bundle, tmpfs("/tmp", *options))["/tmp"][0]


@pytest.fixture
def nested(tmp_path: Path, runtime: Runtime) -> Any:
    """A directory with a mount below it."""
    outer = tmp_path / "outer"
    (outer / "inner").mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "x", outer / "inner"], check=True)
    (outer / "inner/deep").touch()
    yield outer
    subprocess.run(["umount", outer / "inner"], check=True)


@pytest.mark.shows("mounts.options.rbind")
@pytest.mark.parametrize(("kind", "listed"), [("bind", ""), ("rbind", "deep\n")])
def test_only_rbind_takes_along_what_is_mounted_below(
    runtime: Runtime, bundle: MakeBundle, nested: Path, kind: str, listed: str
) -> None:
    entry = bind(nested, "/tmp") | {"options": [kind]}
    assert runtime.output(bundle(process={"args": ["ls", "/tmp/inner"]}, mounts=mounts(entry))) == listed


@pytest.mark.shows("mounts.options.recursive")
@pytest.mark.parametrize("option", sorted(RECURSIVE))
@pytest.mark.peers_differ(runc="is too old to know some")
def test_a_recursive_option_reaches_the_mounts_below(
    runtime: Runtime, bundle: MakeBundle, nested: Path, option: str
) -> None:
    found = shown(runtime, bundle, bind(nested, "/tmp") | {"options": ["rbind", option]})
    for point in ("/tmp", "/tmp/inner"):
        for wanted in RECURSIVE[option]:
            assert (wanted.lstrip("-") in found[point][0]) == (wanted[0] != "-"), point


@pytest.mark.shows("mounts.options.recursive")
@pytest.mark.parametrize("option", ["ro", "nosuid", "noexec", "nosymfollow"])
def test_a_plain_option_does_not(runtime: Runtime, bundle: MakeBundle, nested: Path, option: str) -> None:
    found = shown(runtime, bundle, bind(nested, "/tmp") | {"options": ["rbind", option]})
    assert option in found["/tmp"][0]
    assert option not in found["/tmp/inner"][0]


@pytest.mark.shows("mounts.options.order")
@pytest.mark.parametrize(
    ("options", "top", "below"), [(["rro", "rw"], "rw", "ro"), (["ro", "rrw"], "rw", "rw")]
)
@pytest.mark.peers_differ(runc="is too old to know it", crun="has another order")
def test_the_last_counts_between_recursive_and_plain_ones(
    runtime: Runtime, bundle: MakeBundle, nested: Path, options: list[str], top: str, below: str
) -> None:
    found = shown(runtime, bundle, bind(nested, "/tmp") | {"options": ["rbind", *options]})
    assert top in found["/tmp"][0]
    assert below in found["/tmp/inner"][0]


@pytest.mark.shows("mounts.options.behaviour")
@pytest.mark.parametrize(
    ("option", "script"),
    [
        ("ro", "touch /tmp/x"),
        ("noexec", "/tmp/program"),
        ("nodev", "cat /tmp/null"),
        ("nosymfollow", "cat /tmp/link"),
    ],
)
def test_what_an_option_forbids_can_not_be_done(
    runtime: Runtime, bundle: MakeBundle, tmp_path: Path, option: str, script: str
) -> None:
    program = tmp_path / "program"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    os.mknod(tmp_path / "null", 0o020666, os.makedev(1, 3))
    (tmp_path / "link").symlink_to("program")
    for options, expected in (([option], "refused\n"), ([], "")):
        here = bundle(
            process=shell(f"{script} >/dev/null 2>&1 || echo refused"),
            mounts=mounts(bind(tmp_path, "/tmp", *options)),
            linux={"resources": None},
        )
        assert runtime.output(here) == expected


@pytest.mark.shows("mounts.options.propagation")
@pytest.mark.parametrize("recursive", [False, True])
@pytest.mark.parametrize("option", sorted(PROPAGATIONS))
@pytest.mark.parametrize("kind", ["tmpfs", "bind"])
def test_the_propagation_is_the_configs(
    runtime: Runtime, bundle: MakeBundle, tmp_path: Path, option: str, recursive: bool, kind: str
) -> None:
    name = "r" * recursive + option
    entry = tmpfs("/tmp", name) if kind == "tmpfs" else bind(tmp_path, "/tmp", name)
    _, fields = shown(runtime, bundle, entry)["/tmp"]
    there, missing = PROPAGATIONS[option]
    assert there <= fields
    assert not missing & fields


@pytest.mark.shows("mounts.options.propagation")
@pytest.mark.parametrize("option", sorted(PROPAGATIONS))
def test_a_recursive_propagation_reaches_the_mounts_below(
    runtime: Runtime, bundle: MakeBundle, nested: Path, option: str
) -> None:
    entry = bind(nested, "/tmp") | {"options": ["rbind", "r" + option]}
    found = shown(runtime, bundle, entry)
    there, missing = PROPAGATIONS[option]
    for point in ("/tmp", "/tmp/inner"):
        assert there <= found[point][1]
        assert not missing & found[point][1]


@pytest.mark.shows("mounts.options.propagation.host")
@pytest.mark.parametrize("option", ["rprivate", "rslave", "rshared"])
def test_what_the_host_mounts_later_shows_in_slaves_and_peers_only(
    runtime: Runtime, bundle: MakeBundle, tmp_path: Path, option: str
) -> None:
    shared = tmp_path / "shared"
    (shared / "later").mkdir(parents=True)
    subprocess.run(["mount", "--bind", shared, shared], check=True)
    subprocess.run(["mount", "--make-shared", shared], check=True)
    try:
        entry = bind(shared, "/tmp") | {"options": ["rbind", option]}
        here = bundle(process={"args": ["sleep", "1000"]}, mounts=mounts(entry))
        pid = runtime.pid(runtime.launch(here))
        subprocess.run(["mount", "-t", "tmpfs", "x", shared / "later"], check=True)
        try:
            inside = rows(Path(f"/proc/{pid}/mountinfo").read_text())
            assert ("/tmp/later" in inside) == (option != "rprivate")
        finally:
            subprocess.run(["umount", shared / "later"], check=True)
    finally:
        subprocess.run(["umount", shared], check=True)


@pytest.mark.shows("mounts.options.propagation.host")
@pytest.mark.parametrize(("root", "seen"), [(None, False), ("shared", True), ("private", False)])
@pytest.mark.peers_differ(crun="has another way")
def test_what_the_container_mounts_shows_on_the_host_only_if_root_and_mount_are_shared(
    runtime: Runtime, bundle: MakeBundle, tmp_path: Path, root: str | None, seen: bool
) -> None:
    """Kubernetes calls it Bidirectional."""
    shared = tmp_path / "shared"
    (shared / "later").mkdir(parents=True)
    subprocess.run(["mount", "--bind", shared, shared], check=True)
    subprocess.run(["mount", "--make-shared", shared], check=True)
    try:
        entry = bind(shared, "/tmp") | {"options": ["rbind", "rshared"]}
        caps = {name: ["CAP_SYS_ADMIN"] for name in ("bounding", "effective", "permitted")}
        process = shell("mount -t tmpfs x /tmp/later && echo mounted && sleep 1000") | {"capabilities": caps}
        here = bundle(process=process, mounts=mounts(entry), linux={"rootfsPropagation": root})
        container = runtime.launch(here)
        pid = runtime.pid(container)
        while "/tmp/later" not in rows(Path(f"/proc/{pid}/mountinfo").read_text()):
            pass
        points = rows(Path("/proc/self/mountinfo").read_text())
        assert (str(shared / "later") in points) == seen
        runtime.finish(container)
        if seen:
            subprocess.run(["umount", shared / "later"], check=True)
    finally:
        subprocess.run(["umount", shared], check=True)


@pytest.mark.shows("mounts.options.remount")
def test_a_remount_changes_what_is_mounted(runtime: Runtime, bundle: MakeBundle) -> None:
    change = tmpfs("/tmp", "remount", "ro", "nosuid", "size=32k")
    found = shown(runtime, bundle, tmpfs("/tmp", "size=64k"), change)
    assert {"ro", "nosuid", "size=32k"} <= found["/tmp"][0]
    assert "ro" not in found["/dev/shm"][0]


@pytest.mark.shows("mounts.options.remount")
def test_a_remount_of_a_bind_changes_this_mount_alone(
    runtime: Runtime, bundle: MakeBundle, tmp_path: Path
) -> None:
    change = bind("", "/tmp", "remount", "ro")
    found = shown(runtime, bundle, bind(tmp_path, "/tmp"), change)
    assert "ro" in found["/tmp"][0]
    (tmp_path / "still-writable").touch()


@pytest.mark.refuses("mounts.options.remount")
@pytest.mark.peers_differ(crun="ignores it")
def test_a_remount_of_what_is_no_mount_is_an_error(runtime: Runtime, bundle: MakeBundle) -> None:
    refused(runtime, bundle(mounts=mounts(tmpfs("/tmp", "remount", "ro"))))


@pytest.mark.refuses("mounts.options", "mounts.options.bind")
@pytest.mark.parametrize("options", ["ro", [5], {"ro": True}])
def test_options_are_a_list_of_strings(runtime: Runtime, bundle: MakeBundle, options: Any) -> None:
    refused(runtime, bundle(mounts=mounts(tmpfs("/tmp") | {"options": options})))


MAPPING = [{"containerID": 0, "hostID": 100000, "size": 65536}]
IN_USER_NAMESPACE = {
    "namespaces": [*namespaces(), {"type": "user"}],
    "uidMappings": MAPPING,
    "gidMappings": MAPPING,
}
OTHER = [{"containerID": 0, "hostID": 7000, "size": 100}]
NO_IDMAP = "is too old to map ids"
OWNERS = shell("cd /tmp; stat -c '%n %u:%g' . file inner/deep 2>/dev/null; true")


@pytest.fixture
def owned(nested: Path) -> Path:
    """Files of root's and of another user's, and some on a mount below."""
    (nested / "file").touch()
    os.chown(nested / "file", 5, 6)
    return nested


def owners(runtime: Runtime, bundle: Path) -> dict[str, str]:
    return dict(line.split(" ") for line in runtime.output(bundle).splitlines())


def mapped_bind(source: Path, *options: str, **more: Any) -> dict[str, Any]:
    return {"destination": "/tmp", "type": "none", "source": str(source), "options": list(options), **more}


@pytest.mark.shows("mounts.uidMappings")
@pytest.mark.parametrize("option", ["idmap", None])
@pytest.mark.peers_differ(crun=NO_IDMAP, runc=NO_IDMAP)
def test_given_mappings_are_used(
    runtime: Runtime, bundle: MakeBundle, owned: Path, option: str | None
) -> None:
    entry = mapped_bind(owned, "rbind", *filter(None, [option]), uidMappings=OTHER, gidMappings=OTHER)
    found = owners(runtime, bundle(process=OWNERS, mounts=mounts(entry)))
    assert found == {".": "7000:7000", "file": "7005:7006", "inner/deep": "0:0"}


@pytest.mark.shows("mounts.options.ridmap")
@pytest.mark.peers_differ(crun=NO_IDMAP, runc=NO_IDMAP)
def test_ridmap_maps_the_mounts_below_too(runtime: Runtime, bundle: MakeBundle, owned: Path) -> None:
    if tuple(int(number) for number in os.uname().release.split(".")[:2]) < (6, 3):
        pytest.skip("before Linux 6.3 the ids of a tmpfs can't be mapped")
    entry = mapped_bind(owned, "rbind", "ridmap", uidMappings=OTHER, gidMappings=OTHER)
    found = owners(runtime, bundle(process=OWNERS, mounts=mounts(entry)))
    assert found["inner/deep"] == "7000:7000"


@pytest.mark.shows("mounts.options.idmap")
@pytest.mark.peers_differ(crun=NO_IDMAP, runc=NO_IDMAP)
def test_without_mappings_the_containers_are_used(
    runtime: Runtime, reachable: MakeBundle, owned: Path
) -> None:
    """Then files have the owners inside that they have on the host; without it they are nobody's."""
    mapped = reachable(
        process=OWNERS, linux=IN_USER_NAMESPACE, mounts=mounts(mapped_bind(owned, "bind", "idmap"))
    )
    assert owners(runtime, mapped) == {".": "0:0", "file": "5:6"}
    plain = reachable(process=OWNERS, linux=IN_USER_NAMESPACE, mounts=mounts(mapped_bind(owned, "bind")))
    assert owners(runtime, plain) == {".": "65534:65534", "file": "65534:65534"}


@pytest.mark.shows("mounts.uidMappings")
@pytest.mark.peers_differ(crun=NO_IDMAP, runc=NO_IDMAP)
def test_what_is_written_belongs_on_the_host_to_whom_the_mapping_says(
    runtime: Runtime, reachable: MakeBundle, tmp_path: Path
) -> None:
    entry = mapped_bind(tmp_path, "bind", "idmap")
    runtime.output(reachable(process=shell("touch /tmp/made"), linux=IN_USER_NAMESPACE, mounts=mounts(entry)))
    made = (tmp_path / "made").stat()
    assert (made.st_uid, made.st_gid) == (0, 0)


@pytest.mark.refuses("mounts.uidMappings", "mounts.gidMappings")
@pytest.mark.parametrize("given", ["uidMappings", "gidMappings"])
@pytest.mark.peers_differ(crun=NO_IDMAP, runc=NO_IDMAP)
def test_one_kind_of_mapping_alone_is_an_error(
    runtime: Runtime, bundle: MakeBundle, tmp_path: Path, given: str
) -> None:
    refused(runtime, bundle(mounts=mounts(mapped_bind(tmp_path, "bind", "idmap", **{given: OTHER}))))


@pytest.mark.refuses("mounts.uidMappings", "mounts.gidMappings")
@pytest.mark.parametrize("name", ["uidMappings", "gidMappings"])
@pytest.mark.parametrize(
    "mappings",
    [
        [{"containerID": 0, "hostID": 5}],
        [{"containerID": 0, "size": 5}],
        [{"hostID": 0, "size": 5}],
        [{"containerID": 0, "hostID": 5, "size": 0}],
        [{"containerID": -1, "hostID": 5, "size": 1}],
        [{"containerID": 0, "hostID": "5", "size": 1}],
        [{"containerID": 0, "hostID": 2**32 - 1, "size": 2}],
        [{"containerID": 0, "hostID": 5, "size": 9}, {"containerID": 8, "hostID": 50, "size": 9}],
        {"containerID": 0, "hostID": 5, "size": 1},
    ],
    ids=[
        "no size",
        "no hostID",
        "no containerID",
        "empty range",
        "negative",
        "a string",
        "beyond 32 bits",
        "overlap",
        "no list",
    ],
)
@pytest.mark.peers_differ(crun=NO_IDMAP, runc=NO_IDMAP)
def test_mappings_that_can_not_be_are_errors(
    runtime: Runtime, bundle: MakeBundle, tmp_path: Path, name: str, mappings: Any
) -> None:
    both = {"uidMappings": OTHER, "gidMappings": OTHER} | {name: mappings}
    refused(runtime, bundle(mounts=mounts(mapped_bind(tmp_path, "bind", "idmap", **both))))


@pytest.mark.shows("mounts.gidMappings")
@pytest.mark.peers_differ(crun=NO_IDMAP, runc=NO_IDMAP)
def test_users_and_groups_may_be_mapped_differently(
    runtime: Runtime, bundle: MakeBundle, owned: Path
) -> None:
    groups = [{"containerID": 6, "hostID": 60, "size": 1}, {"containerID": 0, "hostID": 9, "size": 1}]
    entry = mapped_bind(owned, "bind", "idmap", uidMappings=OTHER, gidMappings=groups)
    found = owners(runtime, bundle(process=OWNERS, mounts=mounts(entry)))
    assert found == {".": "7000:9", "file": "7005:60"}


@pytest.mark.refuses("mounts.options.idmap", "mounts.options.ridmap")
@pytest.mark.parametrize("option", ["idmap", "ridmap"])
@pytest.mark.peers_differ(crun=NO_IDMAP, runc=NO_IDMAP)
def test_idmap_with_neither_mappings_nor_a_user_namespace_is_an_error(
    runtime: Runtime, bundle: MakeBundle, tmp_path: Path, option: str
) -> None:
    refused(runtime, bundle(mounts=mounts(mapped_bind(tmp_path, "bind", option))))


@pytest.mark.refuses("mounts.uidMappings")
@pytest.mark.peers_differ(crun=NO_IDMAP, runc=NO_IDMAP)
def test_a_filesystem_that_can_not_map_ids_is_an_error(runtime: Runtime, bundle: MakeBundle) -> None:
    entry = mapped_bind(Path("/proc"), "bind", "idmap", uidMappings=OTHER, gidMappings=OTHER)
    refused(runtime, bundle(mounts=mounts(entry)))


@pytest.mark.shows("mounts.userns")
def test_a_source_that_the_containers_root_can_not_reach(
    runtime: Runtime, reachable: MakeBundle, tmp_path: Path
) -> None:
    secret = tmp_path / "closed/open"
    secret.mkdir(parents=True)
    (secret / "word").write_text("text\n")
    secret.parent.chmod(0o700)
    entry = bind(secret, "/tmp", "ro", "nosuid")
    here = reachable(process={"args": ["cat", "/tmp/word"]}, linux=IN_USER_NAMESPACE, mounts=mounts(entry))
    assert runtime.output(here) == "text\n"


@pytest.mark.shows("mounts.userns")
def test_options_in_a_user_namespace(runtime: Runtime, reachable: MakeBundle, nested: Path) -> None:
    entry = bind(nested, "/tmp") | {"options": ["rbind", "rro", "nosuid", "noexec", "noatime", "rslave"]}
    found = shown(runtime, reachable, entry, linux=IN_USER_NAMESPACE)
    assert {"ro", "nosuid", "noexec", "noatime"} <= found["/tmp"][0]
    assert "ro" in found["/tmp/inner"][0]


@pytest.mark.shows("mounts.userns")
def test_what_the_host_has_locked_stays(runtime: Runtime, reachable: MakeBundle, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "ro,nosuid,noexec", "x", source], check=True)
    try:
        found = shown(runtime, reachable, bind(source, "/tmp", "nodev"), linux=IN_USER_NAMESPACE)
        assert {"ro", "nosuid", "noexec", "nodev"} <= found["/tmp"][0]
    finally:
        subprocess.run(["umount", source], check=True)


LOCKED = ["ro", "nosuid", "nodev", "noexec", "noatime"]


@pytest.fixture
def protected(tmp_path: Path, runtime: Runtime) -> Any:
    """A mount of the host's with all flags that can be locked, and one below it."""
    source = tmp_path / "protected"
    source.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "x", source], check=True)
    (source / "inner").mkdir()
    options = ",".join(LOCKED)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"nodiratime,{options}", "x", source / "inner"], check=True)
    subprocess.run(["mount", "-o", f"remount,bind,{options}", source], check=True)
    yield source
    subprocess.run(["umount", "--recursive", source], check=True)


def warned(runtime: Runtime, bundle: MakeBundle, entry: dict[str, Any], **changes: Any) -> Any:
    """What mountinfo shows, and what was said about it."""
    changes = {"linux": IN_USER_NAMESPACE} | changes
    here = bundle(process={"args": ["cat", "/proc/self/mountinfo"]}, mounts=mounts(entry), **changes)
    result = runtime.run(here)
    assert result.code == 0, result
    return rows(result.stdout), result.stderr


@pytest.mark.shows("mounts.userns")
@pytest.mark.parametrize(
    ("options", "kept"),
    [
        (["rw"], ["ro"]),
        (["rw", "exec"], ["ro", "noexec"]),
        (["suid", "dev"], ["nosuid", "nodev"]),
        (["rw", "nosuid"], ["ro"]),
        (["atime"], ["noatime"]),
        (["exec", "strictatime", "nosuid"], ["noexec", "noatime"]),
    ],
)
@pytest.mark.peers_differ(runc="refuses some of them, and doesn't warn", crun="doesn't warn")
def test_what_the_host_has_locked_stays_with_a_warning(
    runtime: Runtime, reachable: MakeBundle, protected: Path, options: list[str], kept: list[str]
) -> None:
    found, said = warned(runtime, reachable, bind(protected, "/tmp", *options))
    assert set(LOCKED) <= found["/tmp"][0]
    for name in kept:
        assert name in said, said
    assert "/mounts/7" in said


@pytest.mark.shows("mounts.userns")
@pytest.mark.parametrize("options", [["ro"], ["nosuid", "noatime"], ["rbind", "rro", "rnodev"], []])
@pytest.mark.peers_differ(runc="refuses some of them", crun="loses what is locked")
def test_what_only_protects_is_no_reason_to_warn(
    runtime: Runtime, reachable: MakeBundle, protected: Path, options: list[str]
) -> None:
    found, said = warned(runtime, reachable, bind(protected, "/tmp", *options))
    assert set(LOCKED) <= found["/tmp"][0]
    assert said == ""


@pytest.mark.shows("mounts.userns")
@pytest.mark.parametrize(
    ("option", "name"), [("rrw", "ro"), ("rexec", "noexec"), ("rsuid", "nosuid"), ("rdiratime", "nodiratime")]
)
@pytest.mark.peers_differ(runc="is too old to know it", crun="refuses it")
def test_so_it_does_below(
    runtime: Runtime, reachable: MakeBundle, protected: Path, option: str, name: str
) -> None:
    found, said = warned(runtime, reachable, bind(protected, "/tmp") | {"options": ["rbind", option]})
    assert name in found["/tmp/inner"][0]
    assert name in said


@pytest.mark.shows("mounts.userns")
@pytest.mark.peers_differ(runc="says nothing", crun="says nothing")
def test_a_remount_of_what_is_locked(runtime: Runtime, reachable: MakeBundle, protected: Path) -> None:
    here = reachable(process={"args": ["cat", "/proc/self/mountinfo"]}, linux=IN_USER_NAMESPACE)
    inside = here / "rootfs/tmp/locked"
    inside.mkdir()
    subprocess.run(["mount", "--bind", protected, inside], check=True)
    try:
        change = bind("", "/tmp/locked", "remount", "rw", "noexec", "suid")
        document = json.loads((here / "config.json").read_text())
        write_config(here, document | {"mounts": mounts(change)})
        result = runtime.run(here)
    finally:
        subprocess.run(["umount", inside], check=True)
    assert result.code == 0, result
    assert set(LOCKED) <= rows(result.stdout)["/tmp/locked"][0]
    assert "ro, nosuid" in result.stderr


NO_OPTION = "has no such option"


@pytest.mark.shows("mounts.options.symlinks")
@pytest.mark.peers_differ(runc=NO_OPTION, crun="is too old for it")
def test_a_destination_that_is_a_symlink_may_be_covered_itself(
    runtime: Runtime, bundle: MakeBundle, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("new\n")
    entry = bind(tmp_path / "file", "/tmp/link", "dest-nofollow")
    here = bundle(
        process=shell("cat /tmp/link /etc/old; readlink /tmp/link || echo no symlink"), mounts=mounts(entry)
    )
    (here / "rootfs/etc/old").write_text("old\n")
    (here / "rootfs/tmp/link").symlink_to("/etc/old")
    assert runtime.output(here) == "new\nold\nno symlink\n"


@pytest.mark.shows("mounts.options.symlinks")
@pytest.mark.parametrize("there", ["nothing", "a file", "a dangling symlink"])
@pytest.mark.peers_differ(runc=NO_OPTION, crun="is too old for it")
def test_dest_nofollow_is_about_symlinks_only(
    runtime: Runtime, bundle: MakeBundle, tmp_path: Path, there: str
) -> None:
    (tmp_path / "file").write_text("new\n")
    entry = bind(tmp_path / "file", "/tmp/place", "dest-nofollow")
    here = bundle(process=shell("cat /tmp/place; ls /"), mounts=mounts(entry))
    if there == "a file":
        (here / "rootfs/tmp/place").touch()
    elif there != "nothing":
        (here / "rootfs/tmp/place").symlink_to("/missing")
    shown = runtime.output(here).split()
    assert shown[0] == "new"
    assert "missing" not in shown


@pytest.mark.shows("mounts.options.symlinks")
@pytest.mark.parametrize("userns", [False, True])
@pytest.mark.parametrize("there", [None, "../some/where"])
@pytest.mark.peers_differ(runc=NO_OPTION, crun="is too old for it")
def test_a_symlink_is_made_again(
    runtime: Runtime, reachable: MakeBundle, tmp_path: Path, there: str | None, userns: bool
) -> None:
    (tmp_path / "source").symlink_to("../some/where")
    entry = bind(tmp_path / "source", "/dev/shm/deep/link", "copy-symlink")
    here = reachable(
        process={"args": ["readlink", "/dev/shm/deep/link"]},
        linux=IN_USER_NAMESPACE if userns else {},
        mounts=mounts(*[entry] * (1 if there is None else 2)),
    )
    assert runtime.output(here) == "../some/where\n"


@pytest.mark.shows("mounts.options.symlinks")
@pytest.mark.peers_differ(runc=NO_OPTION)
def test_what_is_no_symlink_is_bound(runtime: Runtime, bundle: MakeBundle, tmp_path: Path) -> None:
    (tmp_path / "word").write_text("text\n")
    entry = bind(tmp_path, "/tmp", "copy-symlink", "ro")
    here = bundle(process=shell("cat /tmp/word; touch /tmp/x 2>&1 | grep -c Read-only"), mounts=mounts(entry))
    assert runtime.output(here) == "text\n1\n"


@pytest.mark.refuses("mounts.options.symlinks")
@pytest.mark.parametrize("there", ["file", "directory", "another symlink"])
@pytest.mark.peers_differ(runc=NO_OPTION, crun="is too old for it")
def test_a_symlink_takes_nobodys_place(
    runtime: Runtime, bundle: MakeBundle, tmp_path: Path, there: str
) -> None:
    (tmp_path / "source").symlink_to("/etc")
    here = bundle(mounts=mounts(bind(tmp_path / "source", "/tmp/link", "copy-symlink")))
    place = here / "rootfs/tmp/link"
    {"file": place.touch, "directory": place.mkdir, "another symlink": lambda: place.symlink_to("/tmp")}[
        there
    ]()
    refused(runtime, here)


@pytest.mark.shows("mounts.sysfs")
@pytest.mark.parametrize("cgroups", [False, True])
@pytest.mark.peers_differ(runc="can't", crun="loses the options")
def test_without_a_network_namespace_of_its_own_it_sees_the_hosts_sysfs(
    runtime: Runtime, reachable: MakeBundle, cgroups: bool
) -> None:
    listed = [each for each in IN_USER_NAMESPACE["namespaces"] if each["type"] != "network"]
    entries = [each for each in mounts() if cgroups or each["type"] != "cgroup"]
    here = reachable(
        process=shell("test -d /sys/kernel/mm && cat /proc/self/mountinfo"),
        mounts=entries,
        linux=IN_USER_NAMESPACE | {"namespaces": listed},
    )
    shown = rows(runtime.output(here))
    found = {point: options for point, (options, _) in shown.items() if f"{point}/".startswith("/sys/")}
    assert {"ro", "nosuid", "noexec", "nodev"} <= found["/sys"]
    for point, options in found.items():
        assert "ro" in options, point


@pytest.mark.shows("mounts.sysfs")
@pytest.mark.peers_differ(runc="can't", crun="says nothing")
def test_it_says_so_where_it_is_to_be_writable(runtime: Runtime, reachable: MakeBundle) -> None:
    listed = [each for each in IN_USER_NAMESPACE["namespaces"] if each["type"] != "network"]
    entry = {"destination": "/tmp", "type": "sysfs", "source": "sysfs", "options": ["nosuid"]}
    plain = [each for each in mounts() if not each["type"].startswith(("cgroup", "sysfs"))]
    here = reachable(
        process={"args": ["cat", "/proc/self/mountinfo"]},
        mounts=[*plain, entry],
        linux=IN_USER_NAMESPACE | {"namespaces": listed, "maskedPaths": None},
    )
    result = runtime.run(here)
    assert "ro" in rows(result.stdout)["/tmp"][0]
    assert "/mounts/5" in result.stderr
    assert "network namespace" in result.stderr
