"""What others may have written is not believed: state.json's hooks are executed as root."""

from __future__ import annotations

import json
import os
import stat
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from conformance import host
from conformance.runtime import Runtime, new_id

from .conftest import MakeBundle

STRANGER = 12345
COMMANDS: list[list[str]] = [
    ["state"],
    ["start"],
    ["kill"],
    ["delete"],
    ["delete", "--force"],
    ["exec"],
    ["ps"],
    ["pause"],
    ["update", "--pids-limit", "5"],
]


def commanded(command: list[str], container: str) -> list[str]:
    return [*command, container, *(["true"] if command == ["exec"] else [])]


def planted(root: Path, hook: Path, **changes: Any) -> str:
    """A stopped container as an attacker would write it: its hook makes a file."""
    container = new_id()
    (root / container).mkdir(mode=0o700, parents=True)
    state = {
        "id": container,
        "pid": 0,
        "bundle": "/",
        "cgroups": {"mode": "v1", "path": f"/{container}", "groups": []},
        "hooks": {"poststop": [{"path": "/usr/bin/touch", "args": ["touch", str(hook)]}]},
    }
    file = root / container / "state.json"
    file.write_text(json.dumps(state | changes))
    file.chmod(0o600)
    return container


@pytest.mark.parametrize(
    ("mode", "owner"), [(0o777, 0), (0o1777, 0), (0o775, 0), (0o702, 0), (0o700, STRANGER)]
)
def test_a_root_that_others_may_write_is_refused(
    pyoci: Runtime, sleeper: Path, tmp_path: Path, mode: int, owner: int
) -> None:
    hook = tmp_path / "hook-ran"
    container = planted(pyoci.root, hook)
    pyoci.root.chmod(mode)
    os.chown(pyoci.root, owner, -1)
    try:
        for command in COMMANDS:
            assert "is not trusted" in pyoci.fails(*commanded(command, container)), command
        assert "is not trusted" in pyoci.fails("list")
        assert "is not trusted" in pyoci.fails("create", "--bundle", sleeper, new_id())
        assert "is not trusted" in pyoci.fails("run", "--bundle", sleeper, new_id())
        assert not hook.exists()
        assert os.listdir(pyoci.root) == [container]
    finally:
        os.chown(pyoci.root, 0, -1)
        pyoci.root.chmod(0o700)
    pyoci("delete", container)
    assert hook.exists(), "the hook was none that could have run"


@pytest.mark.parametrize("mode", [0o700, 0o711, 0o755])
def test_a_root_that_others_can_only_read_is_fine(pyoci: Runtime, sleeper: Path, mode: int) -> None:
    """As engines make it: Docker's is 0711."""
    pyoci.root.chmod(mode)
    pyoci.finish(pyoci.launch(sleeper))


def test_a_sticky_directory_for_all_may_be_above_the_root(
    runtime_file: Path, sleeper: Path, tmp_path: Path
) -> None:
    (tmp_path / "everybodys").mkdir()
    (tmp_path / "everybodys").chmod(0o1777)
    runtime = Runtime(runtime_file, tmp_path / "everybodys/root")
    runtime.finish(runtime.launch(sleeper))


def link_to_own(file: Path) -> None:
    file.rename(file.with_name("other"))
    file.symlink_to("other")


def fifo(file: Path) -> None:
    file.unlink()
    os.mkfifo(file, 0o600)


TAMPERED: dict[str, tuple[str, Callable[[Path], None]]] = {
    "a directory of somebody else's": (".", lambda path: os.chown(path, STRANGER, -1)),
    "a directory that a group may write": (".", lambda path: path.chmod(0o770)),
    "a state of somebody else's": ("state.json", lambda path: os.chown(path, STRANGER, -1)),
    "a state that all may write": ("state.json", lambda path: path.chmod(0o666)),
    "a state that a group may write": ("state.json", lambda path: path.chmod(0o620)),
    "a state that all may read": ("state.json", lambda path: path.chmod(0o644)),
    "a link to a state": ("state.json", link_to_own),
    "a state that never comes": ("state.json", fifo),
}


@pytest.mark.parametrize("how", TAMPERED)
def test_a_state_that_others_may_have_written_is_refused(pyoci: Runtime, tmp_path: Path, how: str) -> None:
    name, tamper = TAMPERED[how]
    hook = tmp_path / "hook-ran"
    container = planted(pyoci.root, hook)
    tamper(pyoci.root / container / name)
    for command in COMMANDS:
        said = pyoci.fails(*commanded(command, container))
        assert "is not trusted" in said or "Too many levels" in said, command
    assert pyoci("list", "--quiet").stdout == ""
    assert not hook.exists()
    # The fixture deletes what it finds here.
    subprocess.run(["rm", "-r", pyoci.root / container], check=True)


def test_a_link_to_a_directory_is_no_container(pyoci: Runtime, tmp_path: Path) -> None:
    hook = tmp_path / "hook-ran"
    container = planted(tmp_path / "elsewhere", hook)
    (pyoci.root / container).symlink_to(tmp_path / "elsewhere" / container)
    assert "does not exist" in pyoci.fails("delete", container)
    assert not hook.exists()
    (pyoci.root / container).unlink()


@pytest.mark.parametrize(
    "tamper", [lambda path: os.chown(path, STRANGER, -1), lambda path: path.chmod(0o646)]
)
def test_a_stored_config_that_others_may_have_written_is_refused(
    pyoci: Runtime, sleeper: Path, tamper: Callable[[Path], None]
) -> None:
    container = pyoci.launch(sleeper)
    tamper(pyoci.root / container / "config.json")
    assert "config.json is not trusted" in pyoci.fails("exec", container, "true")


@contextmanager
def caller_with(mask: int) -> Iterator[None]:
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


@pytest.mark.parametrize("mask", [0o000, 0o022, 0o777])
def test_whatever_the_callers_umask_what_is_made_is_for_its_owner(
    runtime_file: Path, bundle: MakeBundle, tmp_path: Path, mask: int
) -> None:
    runtime = Runtime(runtime_file, tmp_path / "new/root")
    profile = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": ["chroot"], "action": "SCMP_ACT_ERRNO"}],
    }
    here = bundle(process={"args": ["sleep", "1000"]}, linux={"seccomp": profile})
    pid_file, log = tmp_path / "pid", tmp_path / "log"
    container = new_id()
    with caller_with(mask):
        process = runtime.popen(
            "--log",
            log,
            "--log-level",
            "debug",
            "create",
            "--pid-file",
            pid_file,
            "--bundle",
            here,
            container,
        )
        assert process.wait(30) == 0
    try:
        modes = {
            str(path.relative_to(runtime.root)): stat.S_IMODE(path.stat().st_mode)
            for path in (runtime.root, *runtime.root.rglob("*"))
            if path.is_dir()
        }
        assert modes == {".": 0o700, container: 0o700, "~seccomp": 0o700}
        (cached,) = (runtime.root / "~seccomp").iterdir()
        kept = [cached, *(runtime.root / container / name for name in ("state.json", "config.json"))]
        assert {stat.S_IMODE(path.stat().st_mode) for path in kept} == {0o600}
        assert stat.S_IMODE(runtime.root.parent.stat().st_mode) == 0o755
        assert stat.S_IMODE(pid_file.stat().st_mode) == 0o644
    finally:
        runtime("delete", "--force", container)


def test_a_cache_that_others_may_write_is_not_used(pyoci: Runtime, bundle: MakeBundle) -> None:
    profile = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": ["chroot"], "action": "SCMP_ACT_ERRNO"}],
    }
    here = bundle(process={"args": ["sleep", "1000"]}, linux={"seccomp": profile})
    pyoci("delete", "--force", pyoci.create(here))
    cache = pyoci.root / "~seccomp"
    cache.chmod(0o777)
    container = new_id()
    assert "isn't used" in pyoci("create", "--bundle", here, container).stderr
    pyoci("delete", "--force", container)
    subprocess.run(["rm", "-r", cache], check=True)


# After a boot.


@pytest.mark.parametrize("again", [True, False], ids=["booted since", "the same boot"])
def test_after_a_boot_a_pid_is_nobodys(pyoci: Runtime, tmp_path: Path, again: bool) -> None:
    """Pids and start times come again: another process may have both."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    with subprocess.Popen(["sleep", "1000"]) as other:
        started = int(Path(f"/proc/{other.pid}/stat").read_text().rpartition(")")[2].split()[19])
        container = planted(
            pyoci.root,
            tmp_path / "hook",
            pid=other.pid,
            start_time=started,
            creator=[other.pid, started],
            boot="00000000-0000-4000-8000-000000000000" if again else boot,
        )
        try:
            shown = pyoci.state(container)
            assert (shown["status"], shown["pid"]) == (("stopped", 0) if again else ("running", other.pid))
            if again:
                pyoci.fails("kill", container, "KILL")
                pyoci.fails("exec", container, "true")
            pyoci("delete", "--force", container)
            assert (other.poll() is None) == again
        finally:
            other.kill()


def test_after_a_boot_a_cgroup_is_nobodys(pyoci: Runtime, sleeper: Path, tmp_path: Path) -> None:
    neighbour = pyoci.launch(sleeper)
    known = json.loads((pyoci.root / neighbour / "state.json").read_text())
    old = planted(
        pyoci.root,
        tmp_path / "hook",
        cgroups=known["cgroups"],
        boot="00000000-0000-4000-8000-000000000000",
        pid=known["pid"],
        start_time=known["start_time"],
    )
    pyoci("delete", "--force", old)
    assert pyoci.state(neighbour)["status"] == "running"
    assert host.cgroup_of(pyoci.pid(neighbour), "freezer" if not host.V2 else "unified").is_dir()
