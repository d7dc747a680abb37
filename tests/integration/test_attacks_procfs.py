"""Published attacks on a runtime by way of /proc and /sys: something else is there, or something lies on it."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from conformance.bundles import DEFAULT_CONFIG, bound, mounts, namespaces
from conformance.namespace_holders import holder
from conformance.runtime import Runtime

from .conftest import MakeBundle
from .test_errors import create_that_fails

# Debian 12's are older than most of these advisories, and say other words.
pytestmark = pytest.mark.peers_differ(crun="1.8.1", runc="1.1.5")
MAPPING = [{"containerID": 0, "hostID": 100000, "size": 65536}]
USER = {"namespaces": [*namespaces(), {"type": "user"}], "uidMappings": MAPPING, "gidMappings": MAPPING}
PARAMETER = "net.ipv4.ip_forward"


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    """What an image wants to have in the place of /proc: directories and files of the same names."""
    fake = tmp_path / "volume"
    for name in ("sys/net/ipv4", "self/attr/apparmor", "self/fd", "1"):
        (fake / name).mkdir(parents=True)
    for name in (
        "sys/net/ipv4/ip_forward",
        "self/attr/exec",
        "self/oom_score_adj",
        "self/mountinfo",
        "kcore",
    ):
        (fake / name).write_text("")
    (fake / "thread-self").symlink_to("self")
    return fake


def link_to_proc(bundle: Path) -> None:
    """The image has a symlink where the config names an innocent directory."""
    (bundle / "rootfs/link").symlink_to("/proc")


@pytest.mark.parametrize(
    "destination", ["/proc", "/tmp/../proc", "/link", "/proc/sys", "/tmp/../proc/sys", "/link/sys"]
)
@pytest.mark.parametrize("kind", ["bind", "tmpfs"])
def test_cve_2019_16884_no_volume_covers_proc(
    pyoci: Runtime, bundle: MakeBundle, volume: Path, destination: str, kind: str
) -> None:
    """An image's VOLUME over /proc made runc write the AppArmor profile to a file of the image's."""
    tmpfs = {"destination": destination, "type": "tmpfs", "source": "tmpfs"}
    entry = bound(volume, destination) if kind == "bind" else tmpfs
    here = bundle(mounts=mounts(entry))
    link_to_proc(here)
    assert "/mounts/7" in create_that_fails(pyoci, here)
    assert (volume / "self/attr/exec").read_text() == ""


@pytest.mark.parametrize("first", [True, False])
def test_what_lies_on_proc_may_be_another_procfs(pyoci: Runtime, bundle: MakeBundle, first: bool) -> None:
    """The control of the one above: podman binds the host's for a container in the host's pid namespace."""
    proc = {"destination": "/proc", "type": "proc", "source": "proc"}
    entries = [bound(Path("/proc"), "/proc"), proc] if first else [proc, bound(Path("/proc"), "/proc")]
    linux = {"maskedPaths": None, "readonlyPaths": None}
    done = pyoci.run(
        bundle(
            mounts=entries, linux=linux, process={"args": ["grep", "-c", " /proc ", "/proc/self/mountinfo"]}
        )
    )
    assert done.stdout in ("1\n", "2\n"), done


@pytest.mark.parametrize("name", ["uptime", "sys/kernel/ns_last_pid"])
def test_what_lxcfs_puts_into_proc_is_let_through(
    pyoci: Runtime, bundle: MakeBundle, volume: Path, name: str
) -> None:
    (volume / "kcore").write_text("told\n")
    if not Path("/proc", name).exists():
        pytest.skip(f"this kernel has no /proc/{name}")
    here = bundle(
        process={"args": ["cat", f"/proc/{name}"]}, mounts=mounts(bound(volume / "kcore", f"/proc/{name}"))
    )
    assert pyoci.run(here).stdout == "told\n"


@pytest.mark.parametrize("place", ["/proc", "/sys"])
@pytest.mark.parametrize("kind", ["new", "bound"])
def test_cve_2023_27561_and_28642_and_2025_54867_proc_and_sys_are_no_symlinks(
    pyoci: Runtime, bundle: MakeBundle, place: str, kind: str
) -> None:
    """An image whose /proc is a symlink: what is to be hidden there was looked for elsewhere, and so stayed visible."""
    listed = DEFAULT_CONFIG["mounts"]
    at_place = next(mount for mount in listed if mount["destination"] == place)
    if kind == "bound":
        at_place = bound(Path(place), place)
    others = [mount for mount in listed if not mount["destination"].startswith(place)]
    here = bundle(mounts=[at_place, *others], process={"args": ["true"]})
    assert pyoci.run(here).code == 0, "the control: there is nothing wrong but the symlink"
    link = here / f"rootfs{place}"
    (here / "rootfs/tmp" / place[1:]).mkdir()
    shutil.rmtree(link)
    link.symlink_to("tmp")
    assert "/mounts/0" in create_that_fails(pyoci, here)


@contextmanager
def covered(point: Path, source: Path, pid: int | None = None) -> Iterator[None]:
    """A directory bound over another, in our mount namespace or in that of a process."""
    enter = ["nsenter", f"--mount=/proc/{pid}/ns/mnt"] if pid else []
    subprocess.run([*enter, "mount", "--no-mtab", "--bind", source, point], check=True)
    try:
        yield
    finally:
        if pid is None:
            subprocess.run(["umount", point], check=True)


@pytest.fixture
def fake_proc(volume: Path) -> Iterator[Path]:
    """The path of a mount namespace that shows the volume at /proc."""
    with holder("mount") as pid, covered(Path("/proc"), volume, pid):
        yield Path(f"/proc/{pid}/ns/mnt")


def contents(volume: Path) -> dict[str, str]:
    return {str(path): path.read_text() for path in volume.rglob("*") if path.is_file()}


def test_cve_2025_52881_a_parameter_is_written_to_the_kernel(
    pyoci: Runtime, bundle: MakeBundle, volume: Path, fake_proc: Path
) -> None:
    """runc wrote parameters by /proc as the container's mounts had it: to a file of the attacker's, or to sysrq-trigger."""
    before = contents(volume)
    linux = {"sysctl": {PARAMETER: "1"}, "namespaces": namespaces(mount=str(fake_proc))}
    process = {
        "args": ["sh", "-c", "cat /proc/sys/net/ipv4/ip_forward /proc/self/oom_score_adj"],
        "oomScoreAdj": 321,
    }
    here = bundle(linux=linux, process=process)
    assert pyoci.run(here).stdout.split() == ["1", "321"]
    assert contents(volume) == before


@pytest.fixture
def apparmor(tmp_path: Path) -> Iterator[None]:
    """A host that says it has AppArmor. Whether it has or not: of the profile that the test names it knows nothing."""
    enabled = tmp_path / "module/apparmor/parameters/enabled"
    enabled.parent.mkdir(parents=True)
    enabled.write_text("Y\n")
    with covered(Path("/sys/module"), tmp_path / "module"):
        yield


@pytest.mark.usefixtures("apparmor")
@pytest.mark.parametrize("place", ["the image", "the mount namespace"])
def test_cve_2025_62596_and_2019_16884_a_label_is_written_to_the_kernel(
    pyoci: Runtime, bundle: MakeBundle, volume: Path, fake_proc: Path, place: str
) -> None:
    """A file of the attacker's would take any label. The kernel's refuses this one, and the program isn't executed."""
    others = [mount for mount in DEFAULT_CONFIG["mounts"] if mount["destination"] != "/proc"]
    here = bundle(
        process={"args": ["true"], "apparmorProfile": "no-such-profile"},
        root={"readonly": False},
        mounts=others if place == "the image" else mounts(),
        linux={} if place == "the image" else {"namespaces": namespaces(mount=str(fake_proc))},
    )
    shutil.copytree(volume, here / "rootfs/proc", symlinks=True, dirs_exist_ok=True)
    before = contents(volume) | contents(here / "rootfs/proc")
    container = pyoci.create(here)
    assert "/process/apparmorProfile" in pyoci.fails("start", container)
    assert contents(volume) | contents(here / "rootfs/proc") == before


# A user namespace in the container may mount a procfs only if the kernel sees one in full already: mount_namespaces(7).
MOUNT_PROC = [
    "unshare",
    "-Urmpf",
    "sh",
    "-c",
    "mount -t proc proc /tmp 2>/dev/null && echo mounted || echo refused",
]


def mounting(bundle: MakeBundle, **changes: Any) -> Path:
    return bundle(process={"args": MOUNT_PROC, "user": {"uid": 1000, "gid": 1000}}, **changes)


@pytest.mark.parametrize("flags", [[], ["--no-pivot"]], ids=["pivot", "no pivot"])
@pytest.mark.parametrize("mapped", [False, True], ids=["host's users", "mapped"])
def test_runcs_advisory_on_no_pivot_the_hosts_procfs_is_not_left_behind(
    pyoci: Runtime, reachable: MakeBundle, flags: list[str], mapped: bool
) -> None:
    """Below a root that was entered by chroot(2) the host's mounts are still there, and with them a /proc without masks."""
    here = mounting(reachable, linux=USER if mapped else {})
    (here / "with a blank").mkdir()
    subprocess.run(["mount", "-t", "proc", "proc", here / "with a blank"], check=True)
    try:
        assert pyoci.run(here, *flags).stdout == "refused\n"
    finally:
        subprocess.run(["umount", here / "with a blank"], check=True)


def test_the_control_of_that_without_masks_a_procfs_can_be_mounted(
    pyoci: Runtime, reachable: MakeBundle
) -> None:
    here = mounting(reachable, linux={"maskedPaths": None, "readonlyPaths": None})
    assert pyoci.run(here).stdout == "mounted\n"


def test_no_pivot_takes_away_nothing_of_the_containers(
    pyoci: Runtime, bundle: MakeBundle, tmp_path: Path
) -> None:
    """Not even if the bundle was reached by a symlink, so that its mounts have other paths than those in the config."""
    here = bundle(process={"args": ["cat", "/proc/self/comm", "/sys/kernel/uevent_seqnum"]})
    (tmp_path / "link").symlink_to(here)
    result = pyoci.run(tmp_path / "link", "--no-pivot")
    assert result.code == 0, result
