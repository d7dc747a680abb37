"""Security labels: apparmorProfile, selinuxLabel, mountLabel; config.md, "Linux Process", config-linux.md, "Mount Label"."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from . import host
from .fixtures import MakeBundle
from .runtime import Runtime, new_id

APPARMOR = Path("/sys/module/apparmor/parameters/enabled")
HAS_APPARMOR = APPARMOR.exists() and APPARMOR.read_text().startswith("Y")
HAS_SELINUX = Path("/sys/fs/selinux/enforce").exists()
LABEL = "system_u:system_r:container_t:s0:c1,c2"
FILE_LABEL = "system_u:object_r:container_file_t:s0:c1,c2"

with_apparmor = pytest.mark.skipif(not HAS_APPARMOR, reason="the host has no AppArmor")
without_apparmor = pytest.mark.skipif(HAS_APPARMOR, reason="the host has AppArmor")
with_selinux = pytest.mark.skipif(not HAS_SELINUX, reason="the host's SELinux is off")
without_selinux = pytest.mark.skipif(HAS_SELINUX, reason="the host's SELinux is on")

PROFILE = """\
profile {name} flags=(attach_disconnected, mediate_deleted) {{
  file,
  capability,
  signal,
  deny /tmp/forbidden w,
}}
"""


@pytest.fixture
def profile(tmp_path: Path) -> Iterator[str]:
    """A profile that is loaded as long as the test runs."""
    name = f"{host.TAG}-profile"
    file = tmp_path / "profile"
    file.write_text(PROFILE.format(name=name))
    subprocess.run(["apparmor_parser", "--replace", file], check=True)
    yield name
    subprocess.run(["apparmor_parser", "--remove", file], check=True)


@with_apparmor
@pytest.mark.shows("process.apparmorProfile")
@pytest.mark.parametrize("confined", [True, False])
def test_the_program_is_confined_by_the_profile(
    runtime: Runtime, bundle: MakeBundle, profile: str, confined: bool
) -> None:
    name = profile if confined else "unconfined"
    pid = runtime.pid(runtime.launch(bundle(process={"args": ["sleep", "1000"], "apparmorProfile": name})))
    shown = Path(f"/proc/{pid}/attr/current").read_text().strip()
    assert shown == (f"{name} (enforce)" if confined else "unconfined")


@with_apparmor
@pytest.mark.refuses("process.apparmorProfile")
def test_a_profile_that_is_not_loaded_is_an_error(runtime: Runtime, bundle: MakeBundle) -> None:
    here = bundle(process={"args": ["true"], "apparmorProfile": "no-such-profile"})
    container = new_id()
    if runtime.attempt("create", "--bundle", here, container).code == 0:
        runtime.fails("start", container)
        runtime.attempt("delete", "--force", container)


@without_apparmor
@pytest.mark.refuses("process.apparmorProfile")
@pytest.mark.peers_differ(crun="ignores it")
def test_a_profile_on_a_host_without_apparmor_is_an_error(runtime: Runtime, bundle: MakeBundle) -> None:
    here = bundle(process={"args": ["true"], "apparmorProfile": "some-profile"})
    runtime.fails("create", "--bundle", here, new_id())
    assert os.listdir(runtime.root) == []


@with_selinux
@pytest.mark.shows("process.selinuxLabel")
def test_the_program_has_the_label(runtime: Runtime, bundle: MakeBundle) -> None:
    process = {"args": ["sleep", "1000"], "selinuxLabel": LABEL}
    pid = runtime.pid(runtime.launch(bundle(process=process)))
    assert Path(f"/proc/{pid}/attr/current").read_text().rstrip("\0\n") == LABEL


@without_selinux
@pytest.mark.refuses("process.selinuxLabel")
@pytest.mark.peers_differ(crun="ignores it")
def test_a_label_on_a_host_without_selinux_is_an_error(runtime: Runtime, bundle: MakeBundle) -> None:
    here = bundle(process={"args": ["true"], "selinuxLabel": LABEL})
    runtime.fails("create", "--bundle", here, new_id())
    assert os.listdir(runtime.root) == []


@with_selinux
@pytest.mark.shows("linux.mountLabel")
def test_new_filesystems_have_the_label(runtime: Runtime, bundle: MakeBundle) -> None:
    here = bundle(
        process={"args": ["sleep", "1000"], "selinuxLabel": LABEL}, linux={"mountLabel": FILE_LABEL}
    )
    pid = runtime.pid(runtime.launch(here))
    assert os.getxattr(f"/proc/{pid}/root/dev/shm", "security.selinux").rstrip(b"\0").decode() == FILE_LABEL


@without_selinux
@pytest.mark.shows("linux.mountLabel.off")
@pytest.mark.peers_differ(runc="fails to mount")
def test_a_mount_label_without_selinux_is_no_error(runtime: Runtime, bundle: MakeBundle) -> None:
    container = runtime.launch(bundle(process={"args": ["sleep", "1000"]}, linux={"mountLabel": FILE_LABEL}))
    runtime.finish(container)


@pytest.mark.refuses("process.apparmorProfile", "process.selinuxLabel", "linux.mountLabel")
@pytest.mark.parametrize("place", ["apparmorProfile", "selinuxLabel", "mountLabel"])
def test_a_label_that_is_no_string_is_an_error(runtime: Runtime, bundle: MakeBundle, place: str) -> None:
    area = "linux" if place == "mountLabel" else "process"
    runtime.fails("create", "--bundle", bundle(**{area: {place: 5}}), new_id())
