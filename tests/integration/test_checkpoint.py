"""`checkpoint` and `restore`, where criu(8) works on this kernel."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from conformance.runtime import Runtime, new_id

from .conftest import MakeBundle

HAS_CRIU = shutil.which("criu") is not None
WORKS = HAS_CRIU and subprocess.run(["criu", "check"], capture_output=True).returncode == 0
with_criu = pytest.mark.skipif(not WORKS, reason="the host has no criu that works on its kernel")
without_criu = pytest.mark.skipif(HAS_CRIU, reason="the host has criu")

COUNT = "exec </dev/null >/dev/null 2>&1; n=0; while :; do n=$((n+1)); echo $n > /tmp/count; sleep 0.05; done"


def counting(bundle: MakeBundle) -> tuple[Path, Path]:
    """A bundle whose program counts, and where it says how far it is."""
    path = bundle(process={"args": ["sh", "-c", COUNT]}, root={"readonly": False})
    return path, path / "rootfs/tmp/count"


def number(file: Path) -> int:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        text = file.read_text().strip() if file.exists() else ""
        if text:
            return int(text)
        time.sleep(0.01)
    raise TimeoutError(file)


def await_more(file: Path, than: int) -> None:
    deadline = time.monotonic() + 30
    while number(file) <= than:
        assert time.monotonic() < deadline, f"it stays at {than}"
        time.sleep(0.02)


@with_criu
@pytest.mark.parametrize("predumped", [False, True])
def test_a_counter_survives_checkpoint_delete_and_restore(
    pyoci: Runtime, bundle: MakeBundle, tmp_path: Path, predumped: bool
) -> None:
    path, count = counting(bundle)
    container = pyoci.launch(path)
    await_more(count, 10)
    flags = ["--image-path", tmp_path / "images"]
    if predumped:
        pyoci("checkpoint", "--pre-dump", "--image-path", tmp_path / "before", container, timeout=120)
        assert pyoci.state(container)["status"] == "running"
        flags += ["--parent-path", "../before"]
    pyoci("checkpoint", *flags, "--work-path", tmp_path / "work", container, timeout=120)
    pyoci.await_status(container, "stopped")
    stopped_at = number(count)
    assert stopped_at > 10
    pyoci("delete", container)
    count.unlink()
    other = new_id()
    pyoci(
        *("restore", "--detach", "--bundle", path, "--image-path", tmp_path / "images"),
        *("--pid-file", tmp_path / "pid", other),
        timeout=120,
    )
    assert pyoci.state(other)["status"] == "running"
    assert pyoci.pid(other) == int((tmp_path / "pid").read_text())
    assert number(count) >= stopped_at
    await_more(count, stopped_at + 5)
    assert "sh -c" in pyoci("exec", other, "ps", "-o", "args").stdout
    pyoci.finish(other)


@with_criu
def test_it_can_be_left_running(pyoci: Runtime, bundle: MakeBundle, tmp_path: Path) -> None:
    path, count = counting(bundle)
    container = pyoci.launch(path)
    await_more(count, 3)
    pyoci("checkpoint", "--leave-running", "--image-path", tmp_path / "images", container, timeout=120)
    await_more(count, number(count))


@with_criu
def test_a_failed_restore_leaves_nothing(pyoci: Runtime, bundle: MakeBundle, tmp_path: Path) -> None:
    path, count = counting(bundle)
    container = pyoci.launch(path)
    await_more(count, 3)
    pyoci("checkpoint", "--image-path", tmp_path / "images", container, timeout=120)
    pyoci.await_status(container, "stopped")
    pyoci("delete", container)
    for image in (tmp_path / "images").glob("core-*.img"):
        image.write_bytes(b"damaged")
    said = pyoci.fails(
        "restore", "--bundle", path, "--image-path", tmp_path / "images", new_id(), timeout=120
    )
    assert "criu restore failed" in said
    assert os.listdir(pyoci.root) == []


@with_criu
def test_only_what_runs_can_be_written_down(pyoci: Runtime, sleeper: Path, tmp_path: Path) -> None:
    container = pyoci.create(sleeper)
    said = pyoci.fails("checkpoint", "--image-path", tmp_path / "images", container)
    assert "it is created, not running" in said


@with_criu
def test_images_of_others_are_refused(pyoci: Runtime, sleeper: Path, tmp_path: Path) -> None:
    assert "pyoci.json" in pyoci.fails("restore", "--bundle", sleeper, "--image-path", tmp_path, new_id())


@without_criu
@pytest.mark.parametrize("command", ["checkpoint", "restore"])
def test_without_criu_it_is_an_error(pyoci: Runtime, sleeper: Path, command: str) -> None:
    container = pyoci.launch(sleeper)
    target = container if command == "checkpoint" else new_id()
    flags = [] if command == "checkpoint" else ["--bundle", str(sleeper)]
    assert "criu isn't installed" in pyoci.fails(command, *flags, target)


@without_criu
def test_without_criu_its_help_fails(pyoci: Runtime) -> None:
    """That is how podman finds out."""
    for command in ("checkpoint", "restore"):
        done = pyoci.attempt(command, "--help")
        assert (done.code != 0, "usage" in done.stdout.lower()) == (True, True)
