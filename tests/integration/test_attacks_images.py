"""Published attacks by an image: symlinks and files where the runtime is going to mount, to write or to look."""

from __future__ import annotations

import os
import select
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from conformance import host
from conformance.bundles import DEFAULT_CONFIG, bound, mounts
from conformance.runtime import Runtime, new_id

from .attackers import Outside, in_root
from .conftest import MakeBundle

# Debian 12's are older than most of these advisories, and say other words.
pytestmark = pytest.mark.peers_differ(crun="1.8.1", runc="1.1.5")
SLEEP = {"args": ["sleep", "1000"]}
NULL = os.makedev(1, 3)
UNIX98_SLAVES = range(136, 144)
# Ways to write a symlink that would lead to a directory of the host's.
TEXTS = {"absolute": str, "relative": lambda path: "../" * 20 + str(path)[1:]}


@pytest.fixture
def outside(tmp_path: Path) -> Iterator[Outside]:
    """A directory of the host's, which is to stay as it is."""
    directory = Outside(tmp_path / "outside")
    yield directory
    directory.assert_untouched()


@pytest.fixture
def console(tmp_path: Path) -> Iterator[Path]:
    """A socket to send terminals to. Nobody looks at them."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(tmp_path / "console"))
        listener.listen(1000)
        yield tmp_path / "console"


def replace(path: Path, text: str) -> None:
    """Make a directory of the image's a symlink."""
    if path.is_dir():
        path.rmdir()
    path.symlink_to(text)


def without_dev(*kept: str) -> list[dict[str, Any]]:
    """The default mounts less /dev and what is below it, but for these."""
    listed = [(mount, mount["destination"]) for mount in DEFAULT_CONFIG["mounts"]]
    return [
        mount for mount, destination in listed if destination in kept or not destination.startswith("/dev")
    ]


@pytest.mark.parametrize("text", TEXTS)
def test_cve_2019_18837_and_2015_3629_a_symlink_in_the_image_leads_no_mount_out(
    pyoci: Runtime, bundle: MakeBundle, outside: Outside, tmp_path: Path, text: str
) -> None:
    """crun opened the destination by its path, and so followed the image's symlink to the host."""
    (tmp_path / "source").mkdir()
    (tmp_path / "source/file").touch()
    file = {"destination": "/etc/link", "source": str(tmp_path / "source/file"), "options": ["bind"]}
    entries = [
        bound(tmp_path / "source", "/tmp/link"),
        {"destination": "/tmp/link/new", "type": "tmpfs", "source": "tmpfs"},
        file,
    ]
    here = bundle(process=SLEEP, mounts=mounts(*entries))
    (here / "rootfs/tmp/link").symlink_to(TEXTS[text](outside.path))
    (here / "rootfs/etc/link").symlink_to(TEXTS[text](outside.path / "secret"))
    assert (here / "rootfs/tmp/link").resolve() == outside.path, "the control: by its path it is outside"
    container = pyoci.create(here)
    outside.assert_untouched()
    root = Path(f"/proc/{pyoci.pid(container)}/root")
    assert sorted(os.listdir(root / str(outside.path)[1:])) == ["file", "new", "secret"]
    assert (root / str(outside.path / "secret")[1:]).stat().st_size == 0


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("mounted", [True, False], ids=["tmpfs on it", "nothing on it"])
def test_cve_2026_41579_and_47766_a_dev_that_leads_out_gets_nothing_there(
    pyoci: Runtime, bundle: MakeBundle, outside: Outside, console: Path, text: str, mounted: bool
) -> None:
    """runc and crun made devices, symlinks and the console by paths below the image's /dev, a symlink to the host."""
    here = bundle(
        process=SLEEP | {"terminal": True},
        mounts=mounts() if mounted else without_dev("/dev/pts"),
        linux={"devices": [{"path": "/dev/deep/fifo", "type": "p"}]},
    )
    replace(here / "rootfs/dev", TEXTS[text](outside.path))
    in_root(here, outside.path).mkdir(parents=True)
    container = pyoci.create(here, "--console-socket", str(console))
    outside.assert_untouched()
    dev = Path(f"/proc/{pyoci.pid(container)}/root") / str(outside.path)[1:]
    assert (dev / "zero").stat().st_rdev == os.makedev(1, 5)
    assert {"console", "deep", "fd", "ptmx", "pts"} <= set(os.listdir(dev))


NULLS = ("a symlink out", "a symlink to a secret", "a file")


@pytest.mark.parametrize("kind", NULLS)
@pytest.mark.parametrize("place", ["the image", "a volume"])
def test_cve_2025_31133_and_62161_what_is_masked_is_masked_by_the_hosts_null(
    pyoci: Runtime, bundle: MakeBundle, outside: Outside, tmp_path: Path, kind: str, place: str
) -> None:
    """runc and youki masked files with the container's own /dev/null, which could be a symlink to anything."""
    dev = tmp_path / "dev"
    here = bundle(
        process={"args": ["sh", "-c", "stat -c '%t:%T' /secret; cat /secret"]},
        mounts=[*without_dev(), *([bound(dev, "/dev")] if place == "a volume" else [])],
        linux={"maskedPaths": ["/secret"], "readonlyPaths": ["/etc"]},
    )
    (here / "rootfs/secret").write_text("secret\n")
    (here / "rootfs/other").write_text("secret\n")
    dev = dev if place == "a volume" else here / "rootfs/dev"
    dev.mkdir(exist_ok=True)
    if kind == "a file":
        (dev / "null").write_text("secret\n")
    else:
        (dev / "null").symlink_to("/other" if kind == "a symlink to a secret" else outside.path / "secret")
    assert pyoci.output(here) == "1:3\n"


@pytest.mark.parametrize("target", ["/proc/sysrq-trigger", "/proc/sys/kernel/core_pattern", "outside"])
@pytest.mark.parametrize("name", ["console", "pts/0", "ptmx", "tty"])
def test_cve_2025_52565_the_terminal_is_the_containers_whatever_lies_in_dev(
    pyoci: Runtime,
    bundle: MakeBundle,
    outside: Outside,
    console: Path,
    tmp_path: Path,
    name: str,
    target: str,
) -> None:
    """runc bound /dev/pts/N by its path on /dev/console, before anything was masked: a symlink made it any file of /proc."""
    dev = tmp_path / "dev"
    (dev / "pts").mkdir(parents=True)
    (dev / name).symlink_to(outside.path / "secret" if target == "outside" else target)
    here = bundle(process=SLEEP | {"terminal": True}, mounts=[bound(dev, "/dev"), *without_dev("/dev/pts")])
    before = Path("/proc/sys/kernel/core_pattern").read_text()
    container = new_id()
    result = pyoci.attempt("create", "--console-socket", console, "--bundle", here, container)
    assert Path("/proc/sys/kernel/core_pattern").read_text() == before
    if name == "console" and target != "outside":
        assert "/process/terminal" in result.stderr, "the terminal would have covered a file in /proc"
        return
    assert result.code == 0, result
    pid = pyoci.pid(container)
    assert os.major(os.stat(f"/proc/{pid}/fd/0").st_rdev) in UNIX98_SLAVES
    points = {mount["point"]: mount["kind"] for mount in host.mounts(pid)}
    consoles = [point for point, kind in points.items() if kind == "devpts" and point != "/dev/pts"]
    assert consoles == ["/dev/console" if name != "console" else str(outside.path / "secret")]


@pytest.mark.parametrize("kind", ["file", "fifo", "device", "symlink"])
def test_cve_2025_52565_a_terminal_comes_from_a_devpts_only(
    pyoci: Runtime, bundle: MakeBundle, outside: Outside, console: Path, kind: str
) -> None:
    here = bundle(process=SLEEP | {"terminal": True}, mounts=without_dev())
    ptmx = here / "rootfs/dev/pts/ptmx"
    ptmx.parent.mkdir()
    {
        "file": ptmx.touch,
        "fifo": lambda: os.mkfifo(ptmx),
        "device": lambda: os.mknod(ptmx, 0o020666, os.makedev(5, 2)),
        "symlink": lambda: ptmx.symlink_to("/proc/sysrq-trigger"),
    }[kind]()
    error = pyoci.fails("create", "--console-socket", console, "--bundle", here, new_id())
    assert "/dev/pts/ptmx" in error


def test_a_file_in_the_place_of_ptmx_is_not_even_opened(
    pyoci: Runtime, bundle: MakeBundle, console: Path
) -> None:
    """It can be a device of the image's that does something when it is opened (a watchdog), before there are any rules."""
    here = bundle(process=SLEEP | {"terminal": True}, mounts=without_dev())
    ptmx = here / "rootfs/dev/pts/ptmx"
    ptmx.parent.mkdir()
    os.mkfifo(ptmx)
    reader = os.open(ptmx, os.O_RDONLY | os.O_NONBLOCK)
    seen = select.poll()
    seen.register(reader)
    pyoci.fails("create", "--console-socket", console, "--bundle", here, new_id())
    assert seen.poll(0) == [], "it had a writer"
    os.close(os.open(ptmx, os.O_RDWR))
    assert seen.poll(0) == [(reader, select.POLLHUP)], "the control: that is what a writer leaves"
    os.close(reader)
