"""A host without /dev/null, or with something else there."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from conformance.runtime import Runtime, new_id

from .conftest import MakeBundle

# In a mount namespace of their own the runtime and its hooks see no other /dev than this.
SETUPS = {
    "none": "mount -t tmpfs none /dev",
    "a file": "mount -t tmpfs none /dev && echo secret > /dev/null",
    "a directory": "mount -t tmpfs none /dev && mkdir /dev/null",
    "another device": "mount -t tmpfs none /dev && mknod /dev/null c 1 5",
    "a pipe": "mount -t tmpfs none /dev && mkfifo /dev/null",
}


@pytest.fixture(params=SETUPS)
def bare(request: pytest.FixtureRequest, pyoci: Runtime) -> Runtime:
    """The runtime on such a host."""
    setup: str = SETUPS[request.param]
    there = Runtime(pyoci.path, pyoci.root)
    there.command = ["unshare", "--mount", "sh", "-c", f'{setup} && exec "$@"', "sh", *pyoci.command]
    return there


@pytest.mark.peers_differ(crun="takes the host's", runc="takes the host's")
def test_a_container_lives_there_and_what_is_masked_is_empty(bare: Runtime, bundle: MakeBundle) -> None:
    script = "cat /etc/passwd /proc/timer_list; ls /proc/scsi; echo done; ls -l /dev/null"
    hooks = {kind: [{"path": "/bin/sh", "args": ["sh", "-c", "cat"]}] for kind in ("prestart", "poststop")}
    here = bundle(
        process={"args": ["sh", "-c", script]},
        hooks=hooks,
        linux={"maskedPaths": ["/etc/passwd", "/proc/timer_list", "/proc/scsi"]},
    )
    result = bare.run(here)
    assert result.code == 0, result
    first, second = result.stdout.splitlines()
    assert first == "done"
    assert second.startswith("crw-rw-rw-")
    assert "1,   3" in second


@pytest.mark.parametrize("streams", ["<&-", "<&- >&- 2>&-"])
def test_closed_standard_streams_are_filled_there(
    bare: Runtime, bundle: MakeBundle, tmp_path: Path, streams: str
) -> None:
    script = "ls /proc/self/fd > /tmp/fds"
    (tmp_path / "out").mkdir()
    mount = {"destination": "/tmp", "source": str(tmp_path / "out"), "options": ["bind"]}
    here = bundle(process={"args": ["sh", "-c", script]})
    document = json.loads((here / "config.json").read_text())
    document["mounts"].append(mount)
    (here / "config.json").write_text(json.dumps(document))
    words = [*bare.command, "run", "--bundle", str(here), new_id()]
    done = subprocess.run(["sh", "-c", f'exec "$@" {streams}', "sh", *words], timeout=30, check=False)
    assert done.returncode == 0
    # And the one that lists them.
    assert (tmp_path / "out/fds").read_text().split() == ["0", "1", "2", "3"]


def test_nothing_is_written_to_a_file_in_its_place(pyoci: Runtime, tmp_path: Path) -> None:
    script = (
        "mount -t tmpfs none /dev && : > /dev/null && "
        '"$@" state nobody >&- 2>&-; cat /dev/null; test ! -s /dev/null'
    )
    words = ["unshare", "--mount", "sh", "-c", script, "sh", *pyoci.command]
    assert subprocess.run(words, timeout=30, check=False).returncode == 0
    assert os.path.exists("/dev/null")
