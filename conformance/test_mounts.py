"""`mounts`: order, destinations, sources, types; config.md, "Mounts"."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import pytest

from .bundles import DEFAULT_CONFIG, mounts, write_config
from .fixtures import MakeBundle
from .runtime import Runtime, new_id

SHOW = ["cat", "/proc/self/mountinfo"]


def bind(source: Path | str, destination: str, *options: str) -> dict[str, Any]:
    return {"destination": destination, "type": "none", "source": str(source), "options": ["bind", *options]}


def tmpfs(destination: str, *options: str) -> dict[str, Any]:
    return {"destination": destination, "type": "tmpfs", "source": "tmpfs", "options": list(options)}


def shell(script: str) -> dict[str, Any]:
    return {"args": ["sh", "-c", script]}


def points(mountinfo: str) -> list[str]:
    """The mount points in the order of mountinfo."""
    return [line.split(" ")[4] for line in mountinfo.splitlines()]


def refused(runtime: Runtime, bundle: Path) -> str:
    """What `create` says; nothing may be there after it."""
    error = runtime.fails("create", "--bundle", bundle, new_id())
    assert os.listdir(runtime.root) == []
    return error


@pytest.mark.shows("mounts.order")
def test_mounts_are_made_in_the_listed_order(runtime: Runtime, bundle: MakeBundle) -> None:
    more = [tmpfs("/tmp"), tmpfs("/tmp/b"), tmpfs("/tmp/a"), tmpfs("/tmp/a/inner"), tmpfs("/dev/shm/late")]
    found = points(runtime.output(bundle(process={"args": SHOW}, mounts=mounts(*more))))
    wanted = [mount["destination"] for mount in mounts(*more) if mount["type"] != "cgroup"]
    assert [point for point in found if point in wanted][: len(wanted)] == wanted


@pytest.mark.shows("mounts.order")
def test_a_later_mount_covers_an_earlier_one(runtime: Runtime, bundle: MakeBundle, tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / name).touch()
    more = mounts(bind(tmp_path / "one", "/tmp"), bind(tmp_path / "two", "/tmp"))
    assert runtime.output(bundle(process={"args": ["ls", "/tmp"]}, mounts=more)) == "two\n"


@pytest.mark.shows("mounts.destination")
@pytest.mark.parametrize("destination", ["/tmp/a", "tmp/a", "./tmp//a/", "/tmp/../tmp/a"])
@pytest.mark.peers_differ(runc="refuses relative ones")
def test_a_destination_is_a_path_from_the_root(
    runtime: Runtime, bundle: MakeBundle, destination: str
) -> None:
    here = bundle(process=shell("grep -c ' /tmp/a ' /proc/self/mountinfo"), mounts=mounts(tmpfs(destination)))
    assert runtime.output(here) == "1\n"


@pytest.mark.refuses("mounts.destination")
@pytest.mark.parametrize("destination", [None, "", 5])
def test_a_mount_without_a_destination_is_an_error(
    runtime: Runtime, bundle: MakeBundle, destination: Any
) -> None:
    entry = tmpfs("/tmp")
    entry["destination"] = destination
    refused(runtime, bundle(mounts=mounts(entry)))


@pytest.mark.shows("mounts.destination")
def test_a_missing_destination_is_made(runtime: Runtime, bundle: MakeBundle, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("text\n")
    more = mounts(bind(file, "/tmp/new/file"), tmpfs("/tmp/other/directory"))
    here = bundle(process=shell("cat /tmp/new/file; ls -d /tmp/other/directory"), mounts=more)
    assert runtime.output(here) == "text\n/tmp/other/directory\n"
    assert (here / "rootfs/tmp/new/file").is_file()


@pytest.mark.shows("mounts.destination.symlinks")
@pytest.mark.parametrize("text", ["/tmp/real", "../../../tmp/real", "real", "/../tmp/real"])
def test_symlinks_on_the_way_stay_in_the_root(runtime: Runtime, bundle: MakeBundle, text: str) -> None:
    here = bundle(process=shell("cat /tmp/real/x"), mounts=mounts(tmpfs("/tmp/link/sub"), tmpfs("/tmp/link")))
    (here / "rootfs/tmp/real").mkdir()
    (here / "rootfs/tmp/link").symlink_to(text)
    here_too = Path("/tmp/real")
    before = here_too.exists()
    container = runtime.create(here)
    listed = Path(f"/proc/{runtime.pid(container)}/mountinfo").read_text()
    assert "/tmp/real" in points(listed)
    assert here_too.exists() == before


@pytest.mark.shows("mounts.destination.symlinks")
@pytest.mark.parametrize("text", ["/outside-the-container/x", "../../../../outside-the-container/x"])
def test_a_dangling_symlink_is_completed_inside(runtime: Runtime, bundle: MakeBundle, text: str) -> None:
    here = bundle(process={"args": SHOW}, mounts=mounts(tmpfs("/tmp/link")))
    (here / "rootfs/tmp/link").symlink_to(text)
    assert "/outside-the-container/x" in points(runtime.output(here))
    assert not Path("/outside-the-container").exists()
    assert (here / "rootfs/outside-the-container/x").is_dir()


@pytest.mark.refuses("mounts.destination.symlinks")
@pytest.mark.parametrize("destination", ["/proc", "/sys"])
def test_proc_and_sys_are_no_symlinks(runtime: Runtime, bundle: MakeBundle, destination: str) -> None:
    here = bundle()
    directory = here / f"rootfs{destination}"
    directory.rmdir()
    directory.symlink_to("tmp")
    refused(runtime, here)


@pytest.mark.shows("mounts.source")
def test_a_relative_source_is_in_the_bundle(runtime: Runtime, bundle: MakeBundle) -> None:
    here = bundle(process={"args": ["cat", "/tmp/word"]}, mounts=mounts(bind("data", "/tmp")))
    (here / "data").mkdir()
    (here / "data/word").write_text("text\n")
    assert runtime.output(here) == "text\n"


@pytest.mark.shows("mounts.source")
def test_a_source_in_the_container_is_what_lies_there_then(runtime: Runtime, bundle: MakeBundle) -> None:
    """A tmpfs, and then a bind of it: the second has what the first has."""
    here = bundle(process=shell("touch /tmp/first/x; ls /tmp/second"))
    more = mounts(tmpfs("/tmp/first"), bind(here / "rootfs/tmp/first", "/tmp/second"))
    here = _with_mounts(here, more)
    assert runtime.output(here) == "x\n"


def _with_mounts(here: Path, more: list[dict[str, Any]]) -> Path:
    document = json.loads((here / "config.json").read_text())
    write_config(here, document | {"mounts": more})
    return here


@pytest.mark.shows("mounts.source")
def test_a_file_is_bound_on_a_file(runtime: Runtime, bundle: MakeBundle, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("new\n")
    here = bundle(process={"args": ["cat", "/etc/word"]}, mounts=mounts(bind(tmp_path / "file", "/etc/word")))
    (here / "rootfs/etc/word").write_text("old\n")
    assert runtime.output(here) == "new\n"
    assert (here / "rootfs/etc/word").read_text() == "old\n"


@pytest.mark.refuses("mounts.source")
@pytest.mark.parametrize("kind", ["missing", "file on directory", "directory on file", "no string"])
def test_a_source_that_can_not_be_is_an_error(
    runtime: Runtime, bundle: MakeBundle, tmp_path: Path, kind: str
) -> None:
    (tmp_path / "file").touch()
    entry = {
        "missing": bind(tmp_path / "none", "/tmp"),
        "file on directory": bind(tmp_path / "file", "/tmp"),
        "directory on file": bind(tmp_path, "/etc/passwd"),
        "no string": bind("x", "/tmp") | {"source": 5},
    }[kind]
    refused(runtime, bundle(mounts=mounts(entry)))


@pytest.mark.shows("mounts.type")
def test_type_and_source_are_as_mountinfo_shows_them(runtime: Runtime, bundle: MakeBundle) -> None:
    """The specification's own validation programs compare them as they are in the config."""
    rows = runtime.output(bundle(process={"args": SHOW})).splitlines()
    shown = {row.split(" ")[4]: row.split(" - ")[1].split(" ")[:2] for row in rows}
    for mount in DEFAULT_CONFIG["mounts"]:
        if mount["type"] != "cgroup":
            assert shown[mount["destination"]] == [mount["type"], mount["source"]]


@pytest.mark.shows("mounts.type")
@pytest.mark.parametrize("kind", ["none", "bind", "", None, "ext4"])
def test_a_bind_is_known_by_its_options_not_by_its_type(
    runtime: Runtime, bundle: MakeBundle, tmp_path: Path, kind: str | None
) -> None:
    (tmp_path / "here").touch()
    entry = bind(tmp_path, "/tmp") | {"type": kind}
    here = bundle(process={"args": ["ls", "/tmp"]}, mounts=mounts(entry))
    assert "here" in runtime.output(here).split()


@pytest.mark.refuses("mounts.type")
@pytest.mark.parametrize("kind", ["no-such-filesystem", 5, None])
def test_an_unknown_type_is_an_error(runtime: Runtime, bundle: MakeBundle, kind: Any) -> None:
    refused(runtime, bundle(mounts=mounts(tmpfs("/tmp") | {"type": kind})))


@pytest.mark.shows("mounts.options.data")
def test_options_that_are_the_filesystems_go_to_it(runtime: Runtime, bundle: MakeBundle) -> None:
    entry = tmpfs("/tmp", "size=64k", "mode=1711", "uid=5", "gid=6", "nr_inodes=100")
    script = "stat -c '%a %u %g' /tmp; grep ' /tmp ' /proc/self/mountinfo"
    mode, mount = runtime.output(bundle(process=shell(script), mounts=mounts(entry))).splitlines()
    assert mode == "1711 5 6"
    assert "size=64k" in mount
    assert "nr_inodes=100" in mount


@pytest.mark.shows("mounts.options.data")
def test_a_bind_ignores_them(runtime: Runtime, bundle: MakeBundle, tmp_path: Path) -> None:
    entry = bind(tmp_path, "/tmp", "mode=755", "size=1k")
    runtime.output(bundle(process={"args": ["true"]}, mounts=mounts(entry)))


@pytest.mark.refuses("mounts.options.data")
@pytest.mark.parametrize("option", ["no-such-option", "size=much", "mode=999"])
def test_options_that_the_filesystem_refuses_are_errors(
    runtime: Runtime, bundle: MakeBundle, option: str
) -> None:
    refused(runtime, bundle(mounts=mounts(tmpfs("/tmp", option))))


@pytest.mark.shows("mounts.options.data")
def test_overlay_takes_paths_of_any_length(runtime: Runtime, bundle: MakeBundle, tmp_path: Path) -> None:
    layers = [tmp_path / f"layer-{number}-{'x' * 80}" for number in range(5)]
    for layer in layers:
        layer.mkdir()
        (layer / layer.name[:7]).touch()
    for name in ("upper", "work"):
        (tmp_path / name).mkdir()
    options = [
        f"lowerdir={':'.join(map(str, layers))}",
        f"upperdir={tmp_path}/upper",
        f"workdir={tmp_path}/work",
    ]
    entry = {"destination": "/tmp", "type": "overlay", "source": "overlay", "options": options}
    here = bundle(process=shell("ls /tmp && touch /tmp/made"), mounts=mounts(entry))
    assert runtime.output(here).split() == [f"layer-{number}" for number in range(5)]
    assert (tmp_path / "upper/made").exists()


@pytest.mark.shows("mounts.tmpfs.mode")
@pytest.mark.parametrize("mode", [0o755, 0o1777, 0o700, 0o2711])
@pytest.mark.peers_differ(crun="doesn't for some")
def test_a_tmpfs_inherits_the_mode_of_what_it_covers(runtime: Runtime, bundle: MakeBundle, mode: int) -> None:
    here = bundle(process={"args": ["stat", "-c", "%a", "/covered"]}, mounts=mounts(tmpfs("/covered")))
    (here / "rootfs/covered").mkdir()
    (here / "rootfs/covered").chmod(mode)
    assert runtime.output(here) == f"{mode:o}\n"


@pytest.mark.shows("mounts.tmpcopyup")
def test_tmpcopyup_copies_all_that_is_there(runtime: Runtime, bundle: MakeBundle) -> None:
    here = bundle(
        process=shell(
            "cd /copied && find . -exec stat -c '%n %F %a %u:%g %h' {} + | sort; cat deep/file; readlink link; touch new"
        ),
        mounts=mounts(tmpfs("/copied", "tmpcopyup")),
    )
    base = here / "rootfs/copied"
    (base / "deep").mkdir(parents=True)
    (base / "deep/file").write_text("text\n")
    os.chown(base / "deep/file", 5, 6)
    (base / "deep/file").chmod(0o4754)
    os.link(base / "deep/file", base / "hard")
    (base / "link").symlink_to("/etc/passwd")
    os.mkfifo(base / "fifo", 0o640)
    (base / "deep").chmod(0o2711)
    base.chmod(0o1777)
    os.chown(base, 7, 8)
    *rows, text, link = runtime.output(here).splitlines()
    assert (text, link) == ("text", "/etc/passwd")
    assert rows == [
        ". directory 1777 7:8 3",
        "./deep directory 2711 0:0 2",
        "./deep/file regular file 4754 5:6 2",
        "./fifo fifo 640 0:0 1",
        "./hard regular file 4754 5:6 2",
        "./link symbolic link 777 0:0 1",
    ]
    assert not (base / "new").exists()


@pytest.mark.shows("mounts.tmpcopyup")
def test_tmpcopyup_of_a_large_file_that_shall_be_read_only(runtime: Runtime, bundle: MakeBundle) -> None:
    here = bundle(
        process=shell("md5sum </copied/large; touch /copied/x 2>&1 | grep -c Read-only"),
        mounts=mounts(tmpfs("/copied", "tmpcopyup", "ro")),
    )
    (here / "rootfs/copied").mkdir()
    (here / "rootfs/copied/large").write_bytes(bytes(range(256)) * 40000)
    digest = hashlib.md5(bytes(range(256)) * 40000).hexdigest()
    assert runtime.output(here).split() == [digest, "-", "1"]


@pytest.mark.refuses("mounts.tmpcopyup")
@pytest.mark.peers_differ(crun="ignores it", runc="ignores it")
def test_tmpcopyup_on_anything_but_a_tmpfs_is_an_error(
    runtime: Runtime, bundle: MakeBundle, tmp_path: Path
) -> None:
    refused(runtime, bundle(mounts=mounts(bind(tmp_path, "/tmp", "tmpcopyup"))))


@pytest.mark.refuses("mounts.tmpcopyup")
def test_more_than_fits_is_an_error(runtime: Runtime, bundle: MakeBundle) -> None:
    here = bundle(mounts=mounts(tmpfs("/copied", "tmpcopyup", "size=64k")))
    (here / "rootfs/copied").mkdir()
    (here / "rootfs/copied/large").write_bytes(bytes(1 << 20))
    refused(runtime, here)


@pytest.mark.shows("mounts.tmpfs.mode")
@pytest.mark.parametrize("options", [[], ["tmpcopyup"]])
@pytest.mark.parametrize("destination", ["/new", "/new/deep/er", "/run/user/1000", "/tmp/link"])
@pytest.mark.peers_differ(crun="passes on the mode of what it made, for some")
def test_a_tmpfs_that_covers_nothing_is_everybodys(
    runtime: Runtime, bundle: MakeBundle, destination: str, options: list[str]
) -> None:
    """The kernel's own mode: what was made for the mount has none to pass on."""
    script = f"stat -L -c %a {destination} {os.path.dirname(destination)}"
    here = bundle(process=shell(script), mounts=mounts(tmpfs(destination, *options)))
    (here / "rootfs/tmp/link").symlink_to("/missing/place")
    parent = {"/tmp": "1777"}.get(os.path.dirname(destination), "755")
    assert runtime.output(here).split() == ["1777", parent]


@pytest.mark.shows("mounts.tmpfs.mode")
@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["mode=700", "uid=3"], "700 3:6"),
        (["gid=4", "mode=2750"], "2750 5:4"),
        (["size=64k,mode=710"], "710 5:6"),
        ([], "711 5:6"),
    ],
)
@pytest.mark.peers_differ(runc="takes the directory's mode whatever the config says", crun="in part")
def test_what_the_config_says_of_a_tmpfs_counts_more_than_what_is_copied_up(
    runtime: Runtime, bundle: MakeBundle, options: list[str], expected: str
) -> None:
    caps = {name: ["CAP_DAC_OVERRIDE"] for name in ("bounding", "effective", "permitted")}
    process = shell("stat -c '%a %u:%g' /there; ls /there") | {"capabilities": caps}
    here = bundle(process=process, mounts=mounts(tmpfs("/there", "tmpcopyup", *options)))
    (here / "rootfs/there").mkdir(mode=0o711)
    (here / "rootfs/there/file").touch()
    os.chown(here / "rootfs/there", 5, 6)
    assert runtime.output(here).splitlines() == [expected, "file"]


@pytest.mark.refuses("mounts.destination")
@pytest.mark.parametrize("destination", ["/tmp/{}", "/new/{}", "/new/{}/more", "/tmp/link/{}", "{}"])
@pytest.mark.parametrize("kind", ["tmpfs", "bind"])
@pytest.mark.peers_differ(crun="finds another place, for some")
def test_a_name_that_no_file_can_have_is_an_error(
    runtime: Runtime, bundle: MakeBundle, tmp_path: Path, destination: str, kind: str
) -> None:
    place = destination.format("x" * 256)
    here = bundle(mounts=mounts(tmpfs(place) if kind == "tmpfs" else bind(tmp_path, place)))
    (here / "rootfs/tmp/link").symlink_to("/missing")
    assert "name too long" in refused(runtime, here)


@pytest.mark.shows("mounts.destination.symlinks")
@pytest.mark.parametrize("kind", ["proc", "sysfs", "tmpfs", "mqueue", "bind"])
@pytest.mark.peers_differ(runc="can't, for some", crun="can't, for some")
def test_any_mount_may_be_below_a_symlink(
    runtime: Runtime, bundle: MakeBundle, tmp_path: Path, kind: str
) -> None:
    entry = {"destination": "/var/run/below", "type": kind, "source": kind}
    here = bundle(
        process={"args": SHOW}, mounts=mounts(bind(tmp_path, "/var/run/below") if kind == "bind" else entry)
    )
    (here / "rootfs/run").mkdir()
    (here / "rootfs/var").mkdir()
    (here / "rootfs/var/run").symlink_to("/run")
    assert "/run/below" in points(runtime.output(here))


@pytest.mark.refuses("mounts.destination.symlinks")
@pytest.mark.parametrize("kind", ["proc", "sysfs"])
def test_procfs_and_sysfs_are_on_no_symlink(runtime: Runtime, bundle: MakeBundle, kind: str) -> None:
    here = bundle(mounts=mounts({"destination": "/tmp/link", "type": kind, "source": kind}))
    (here / "rootfs/tmp/link").symlink_to("/etc")
    refused(runtime, here)


@pytest.mark.shows("mounts.options.data")
@pytest.mark.parametrize(
    "options",
    [["size=64k,mode=1711,uid=5"], ["", "size=64k,mode=1711", "", "uid=5"], ["size=64k", "mode=1711,uid=5,"]],
)
def test_several_options_may_be_in_one_string(
    runtime: Runtime, bundle: MakeBundle, options: list[str]
) -> None:
    script = "stat -c '%a %u' /new; grep ' /new ' /proc/self/mountinfo"
    here = bundle(process=shell(script), mounts=mounts(tmpfs("/new", *options)))
    mode, mount = runtime.output(here).splitlines()
    assert mode == "1711 5"
    assert "size=64k" in mount


@pytest.mark.shows("mounts.options.remount")
def test_several_options_may_be_in_one_string_of_a_remount(runtime: Runtime, bundle: MakeBundle) -> None:
    more = mounts(tmpfs("/tmp", "size=64k"), tmpfs("/tmp", "remount", "size=32k,nr_inodes=50"))
    mount = runtime.output(bundle(process=shell("grep ' /tmp ' /proc/self/mountinfo"), mounts=more))
    assert "size=32k" in mount
    assert "nr_inodes=50" in mount


@pytest.mark.shows("mounts.options.data")
@pytest.mark.peers_differ(crun="doesn't")
def test_a_tmpfs_whose_options_are_in_one_string_has_the_mode_of_what_it_covers(
    runtime: Runtime, bundle: MakeBundle
) -> None:
    here = bundle(process=shell("stat -c %a /covered"), mounts=mounts(tmpfs("/covered", "size=64k,uid=0")))
    (here / "rootfs/covered").mkdir(mode=0o711)
    assert runtime.output(here) == "711\n"


def layers(tmp_path: Path, number: int) -> dict[str, Any]:
    """An overlay of so many directories, each with a file of its own, and long names."""
    listed = [tmp_path / f"{each}-{'x' * 150}" for each in range(number)]
    for each in listed:
        each.mkdir()
        (each / each.name[:3].rstrip("-x")).touch()
    for name in ("upper", "work"):
        (tmp_path / name).mkdir()
    lower = ":".join(map(str, listed))
    options = [f"lowerdir={lower}", f"upperdir={tmp_path}/upper", f"workdir={tmp_path}/work"]
    return {"destination": "/tmp", "type": "overlay", "source": "overlay", "options": options}


@pytest.mark.shows("mounts.options.data")
@pytest.mark.peers_differ(crun="is refused by the kernel", runc="is refused by the kernel")
def test_overlay_takes_more_layers_than_fit_into_a_page(
    runtime: Runtime, bundle: MakeBundle, tmp_path: Path
) -> None:
    """Since Linux 6.7, which takes them one by one; before that it is an error with the numbers."""
    here = bundle(process=shell("ls /tmp && touch /tmp/made"), mounts=mounts(layers(tmp_path, 40)))
    if tuple(int(number) for number in os.uname().release.split(".")[:2]) < (6, 7):
        assert "bytes long" in refused(runtime, here)
        return
    assert set(runtime.output(here).split()) == {str(each) for each in range(40)}
    assert (tmp_path / "upper/made").exists()


@pytest.mark.refuses("mounts.options.data")
@pytest.mark.peers_differ(crun="lets them be cut off", runc="lets them be cut off")
def test_more_options_than_the_kernel_takes_are_an_error(runtime: Runtime, bundle: MakeBundle) -> None:
    """It would cut them off without a word, and here the last, the size, would be missing."""
    many = ",".join(["nr_inodes=1000"] * 300)
    said = refused(runtime, bundle(mounts=mounts(tmpfs("/tmp", f"{many},size=64k"))))
    assert str(len(many) + len(",size=64k,mode=1777")) in said


@pytest.mark.shows("mounts.options.data")
def test_a_layer_may_be_in_the_root_filesystem(runtime: Runtime, bundle: MakeBundle, tmp_path: Path) -> None:
    long = tmp_path / ("x" * 240)
    long.mkdir()
    here = bundle(process=shell("ls /etc"))
    options = [f"lowerdir={here}/rootfs/etc:{long}"]
    _with_mounts(
        here, mounts({"destination": "/etc", "type": "overlay", "source": "overlay", "options": options})
    )
    assert "passwd" in runtime.output(here).split()
