"""Files whose place the caller says, in a directory of somebody else's: never written through his link, never his own."""

from __future__ import annotations

import os
import stat
import subprocess
import time
from pathlib import Path

import pytest

from conformance.runtime import Runtime, new_id

STRANGER = 12345


@pytest.fixture
def theirs(tmp_path: Path) -> Path:
    """A directory of an attacker's, which all may write."""
    directory = tmp_path / "theirs"
    directory.mkdir()
    directory.chmod(0o777)
    os.chown(directory, STRANGER, STRANGER)
    return directory


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    file = tmp_path / "victim"
    file.write_text("kept")
    file.chmod(0o600)
    return file


def linked(place: Path, target: Path) -> None:
    place.symlink_to(target)
    os.chown(place, STRANGER, STRANGER, follow_symlinks=False)


@pytest.mark.parametrize("flag", ["--log", "--trace"])
def test_a_log_is_not_written_through_a_link_of_somebody_elses(
    pyoci: Runtime, theirs: Path, victim: Path, flag: str
) -> None:
    linked(theirs / "file", victim)
    said = pyoci.fails(flag, theirs / "file", "state", "none")
    assert f"is a link of user {STRANGER}" in said
    assert victim.read_text() == "kept"


@pytest.mark.parametrize("flag", ["--log", "--trace"])
def test_a_log_that_is_not_there_yet_is_not_made_through_a_link_of_somebody_elses(
    pyoci: Runtime, theirs: Path, tmp_path: Path, flag: str
) -> None:
    linked(theirs / "file", tmp_path / "new")
    pyoci.fails(flag, theirs / "file", "list")
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("flag", ["--log", "--trace"])
def test_a_log_of_somebody_elses_is_refused(pyoci: Runtime, theirs: Path, flag: str) -> None:
    file = theirs / "file"
    file.write_text("")
    file.chmod(0o666)
    os.chown(file, STRANGER, STRANGER)
    assert f"belongs to user {STRANGER}" in pyoci.fails(flag, file, "state", "none")
    assert file.read_text() == ""


@pytest.mark.parametrize("name", ["/dev/stderr", "/proc/self/fd/2", "link"])
def test_a_link_of_the_systems_or_our_own_is_followed(pyoci: Runtime, tmp_path: Path, name: str) -> None:
    """Even to a file of somebody else's: whoever may make such links knows where they lead."""
    output = tmp_path / "output"
    output.touch()
    os.chown(output, STRANGER, STRANGER)
    (tmp_path / "link").symlink_to(output)
    with output.open("a") as errors:
        log = tmp_path / name
        process = pyoci.popen("--log", log, "--log-format", "json", "state", "none", stderr=errors)
        assert process.wait(30) == 1
    assert '"level":"error"' in output.read_text()


def test_a_pid_file_replaces_a_link_and_is_written_to_nothing_else(
    pyoci: Runtime, sleeper: Path, theirs: Path, victim: Path
) -> None:
    linked(theirs / "pid", victim)
    container = pyoci.create(sleeper, "--pid-file", str(theirs / "pid"))
    assert victim.read_text() == "kept"
    found = (theirs / "pid").lstat()
    assert (stat.S_ISREG(found.st_mode), stat.S_IMODE(found.st_mode), found.st_uid) == (True, 0o644, 0)
    assert (theirs / "pid").read_text() == str(pyoci.pid(container))


def test_nothing_that_is_in_the_way_of_a_pid_file_is_touched(
    pyoci: Runtime, sleeper: Path, theirs: Path, victim: Path
) -> None:
    """Whoever can tell the command's pid could tell the temporary file's name."""
    script = 'for name in .pid .pid.$$ .pid.tmp pid.tmp; do ln -s "$0" "$1/$name"; done; shift; exec "$@"'
    container = new_id()
    command = [*pyoci.command, "create", "--pid-file", theirs / "pid", "--bundle", sleeper, container]
    subprocess.run(["sh", "-c", script, victim, theirs, *command], check=True, stdin=subprocess.DEVNULL,
                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # fmt: skip
    assert victim.read_text() == "kept"
    assert len(os.listdir(theirs)) == 5


def test_a_fifo_whose_reader_comes_late_gets_the_log(pyoci: Runtime, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "log")
    with pyoci.popen("--log", tmp_path / "log", "state", "none", stderr=subprocess.DEVNULL) as process:
        said, reader = b"", os.open(tmp_path / "log", os.O_RDONLY)
        while process.poll() is None:
            said += os.read(reader, 4096)
        said += os.read(reader, 4096)
        os.close(reader)
    assert b"does not exist" in said


def test_a_fifo_that_nobody_reads_is_not_awaited_for_ever(pyoci: Runtime, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "log")
    began = time.monotonic()
    assert "can't open the log" in pyoci.fails("--log", tmp_path / "log", "state", "none")
    assert 1 < time.monotonic() - began < 25
