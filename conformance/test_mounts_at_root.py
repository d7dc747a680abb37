"""Mounts whose destination turns out to be `/`: the program sees them, never what they cover; config.md, "Mounts"."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from . import host
from .bundles import DEFAULT_CONFIG, make_rootfs, namespaces
from .fixtures import MakeBundle
from .runtime import Runtime
from .test_mount_options import IN_USER_NAMESPACE
from .test_mounts import bind, refused, shell, tmpfs

OLD_ROOT = "keeps the old root, and says nothing"
WAYS = ["/", "/..", "/tmp/../..", "/link", "/up"]


@pytest.fixture
def other(tmp_path: Path) -> Path:
    """Another root filesystem, known by its file."""
    root = tmp_path / "other"
    make_rootfs(root)
    (root / "other").touch()
    tmp_path.chmod(0o755)
    return root


def container(bundle: MakeBundle, *entries: dict[str, Any], script: str = "ls /", **changes: Any) -> Path:
    here = bundle(process=shell(script), **{"mounts": list(entries)} | changes)
    (here / "rootfs/old").touch()
    (here / "rootfs/link").symlink_to("/")
    (here / "rootfs/up").symlink_to("../../..")
    return here


def is_listed(runtime: Runtime, here: Path) -> set[str]:
    return {"old", "other"} & set(runtime.output(here).split())


@pytest.mark.shows("mounts.root")
@pytest.mark.parametrize("destination", WAYS)
@pytest.mark.peers_differ(runc="can't take a symlink", crun=OLD_ROOT)
def test_a_bind_on_the_root_is_the_root(
    runtime: Runtime, bundle: MakeBundle, other: Path, destination: str
) -> None:
    here = container(bundle, bind(other, destination), *DEFAULT_CONFIG["mounts"])
    assert is_listed(runtime, here) == {"other"}


@pytest.mark.shows("mounts.root")
@pytest.mark.parametrize("options", [["ro"], ["rro", "nosuid"], ["rw"]])
@pytest.mark.parametrize("readonly", [False, True])
@pytest.mark.peers_differ(crun=OLD_ROOT)
def test_its_options_are_the_roots(
    runtime: Runtime, bundle: MakeBundle, other: Path, options: list[str], readonly: bool
) -> None:
    (other / "dev/shm").mkdir()
    (other / "dev/pts").mkdir()
    (other / "dev/mqueue").mkdir()
    here = container(
        bundle,
        bind(other, "/", *options),
        *DEFAULT_CONFIG["mounts"],
        script="test -e /other && touch /new 2>/dev/null; test -e /new && echo writable || echo not",
        root={"readonly": readonly},
    )
    expected = "writable" if "rw" in options and not readonly else "not"
    assert runtime.output(here) == f"{expected}\n"
    assert not (here / "rootfs/new").exists()


@pytest.mark.shows("mounts.root")
@pytest.mark.peers_differ(runc="can't take one that is not the first", crun=OLD_ROOT)
def test_it_covers_what_was_mounted_before(runtime: Runtime, bundle: MakeBundle, other: Path) -> None:
    here = container(bundle, tmpfs("/tmp"), bind(other, "/"), script="ls /; cat /tmp/mark")
    (other / "tmp/mark").write_text("text\n")
    assert runtime.output(here).splitlines()[-1] == "text"
    assert is_listed(runtime, here) == {"other"}


@pytest.mark.shows("mounts.root")
@pytest.mark.peers_differ(crun=OLD_ROOT)
def test_an_overlay_of_the_root_on_itself(runtime: Runtime, bundle: MakeBundle, tmp_path: Path) -> None:
    """Also where its options are too many for fsconfig(2): the root filesystem is one of the layers."""
    for name in ("upper", "work", "x" * 250):
        (tmp_path / name).mkdir()
    here = bundle(process=shell("ls /; touch /made"))
    (here / "rootfs/old").touch()
    lower = f"{here}/rootfs:{tmp_path}/{'x' * 250}"
    overlay = {"destination": "/", "type": "overlay", "source": "overlay"}
    overlay |= {"options": [f"lowerdir={lower}", f"upperdir={tmp_path}/upper", f"workdir={tmp_path}/work"]}
    document = container(bundle, overlay, *DEFAULT_CONFIG["mounts"], script="ls /; touch /made")
    text = (document / "config.json").read_text().replace('"path": "rootfs"', f'"path": "{here}/rootfs"')
    (document / "config.json").write_text(text.replace('"readonly": true', '"readonly": false'))
    assert "old" in runtime.output(document).split()
    assert (tmp_path / "upper/made").exists()
    assert not (here / "rootfs/made").exists()


@pytest.mark.shows("mounts.root")
@pytest.mark.peers_differ(crun=OLD_ROOT)
def test_in_a_user_namespace_too(runtime: Runtime, reachable: MakeBundle, other: Path) -> None:
    for path in (other, *other.parents):
        path.chmod(0o755)
        if path == Path("/tmp"):
            break
    for name in ("shm", "pts", "mqueue"):
        (other / "dev" / name).mkdir()
    mounts = [bind(other, "/"), {"destination": "/proc", "type": "proc", "source": "proc"}, tmpfs("/dev")]
    here = container(reachable, *mounts, linux=IN_USER_NAMESPACE)
    assert is_listed(runtime, here) == {"other"}


@pytest.mark.shows("mounts.root")
@pytest.mark.peers_differ(crun="needs a mount namespace", runc="the same")
def test_without_a_mount_namespace_too(runtime: Runtime, bundle: MakeBundle, other: Path) -> None:
    linux = {"namespaces": namespaces("mount", "cgroup"), "maskedPaths": None, "readonlyPaths": None}
    here = container(bundle, bind(other, "/"), script="ls /; sleep 1000", linux=linux)
    pid = runtime.pid(runtime.launch(here))
    assert Path(f"/proc/{pid}/root/other").exists()
    assert not Path(f"/proc/{pid}/root/old").exists()


@pytest.mark.shows("mounts.root")
def test_a_tmpfs_on_the_root_is_the_root_or_an_error(runtime: Runtime, bundle: MakeBundle) -> None:
    here = container(bundle, tmpfs("/"), script="ls /")
    result = runtime.run(here)
    assert result.code != 0, "an empty root has no program"
    assert "old" not in result.stdout


@pytest.mark.shows("mounts.root", "linux.readonlyPaths")
@pytest.mark.parametrize("path", ["/", "/..", "/link", "//"])
@pytest.mark.peers_differ(crun="binds what nobody sees", runc="binds what nobody sees, for some")
def test_the_root_may_be_a_read_only_path(runtime: Runtime, bundle: MakeBundle, path: str) -> None:
    here = bundle(
        process=shell(
            "touch /new 2>/dev/null; test -e /new && echo writable; touch /dev/shm/new && cat /etc/passwd"
        ),
        root={"readonly": False},
        linux={"readonlyPaths": [path], "maskedPaths": ["/etc/passwd"]},
    )
    (here / "rootfs/link").symlink_to("/")
    assert runtime.output(here) == "", (
        "the root isn't, what is mounted there is writable, what is masked stays so"
    )


@pytest.mark.shows("mounts.root")
@pytest.mark.peers_differ(crun=OLD_ROOT)
def test_what_is_hidden_is_hidden_in_what_is_seen(runtime: Runtime, bundle: MakeBundle, other: Path) -> None:
    proc = {"destination": "/proc", "type": "proc", "source": "proc"}
    mounts = [*DEFAULT_CONFIG["mounts"], bind(other, "/"), proc, tmpfs("/dev")]
    here = container(
        bundle,
        *mounts,
        script="cat /proc/uptime /secret; touch /proc/sys/vm/swappiness 2>/dev/null && echo written",
        linux={"maskedPaths": ["/proc/uptime", "/secret"], "readonlyPaths": ["/proc/sys"]},
    )
    (other / "secret").write_text("secret\n")
    assert runtime.output(here) == ""


@pytest.mark.refuses("mounts.root")
def test_a_file_on_the_root_is_an_error(runtime: Runtime, bundle: MakeBundle, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    refused(runtime, container(bundle, bind(tmp_path / "file", "/")))


@pytest.mark.shows("mounts.root")
@pytest.mark.peers_differ(crun=OLD_ROOT)
def test_of_what_it_covers_nothing_is_left_in_the_container(
    runtime: Runtime, bundle: MakeBundle, other: Path
) -> None:
    here = container(bundle, bind(other, "/"), *DEFAULT_CONFIG["mounts"], script="sleep 1000")
    pid = runtime.pid(runtime.launch(here))
    assert os.path.samefile(f"/proc/{pid}/root", other)
    assert [mount["point"] for mount in host.mounts(pid)].count("/") == 1
