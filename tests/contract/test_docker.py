"""What docker itself reads of a runtime, beyond what it leaves to containerd."""

from __future__ import annotations

from pathlib import Path

import pytest

from conformance.bundles import mounts
from conformance.runtime import Runtime, new_id

from . import go
from .conftest import MakeBundle


def parsed_version(text: str) -> tuple[str, str, str]:
    """dockerd's parseRuntimeVersion: the name, version and commit that `docker info` shows."""
    name = version = commit = ""
    for line in text.strip().split("\n"):
        if "version" in line:
            parts = line.split("version")
            name, version = parts[0].strip(), parts[-1].strip()
        elif line.startswith("commit:"):
            commit = line.removeprefix("commit:").strip()
    assert version or commit, f"unknown output format: {text}"
    return name, version, commit


def exit_code(message: str, program: str) -> int:
    """dockerd's translateContainerdStartErr: the status of `docker run`."""
    lower = message.lower()
    missing = (
        "executable file not found",
        "no such file or directory",
        "system cannot find the file specified",
    )
    if program in message and any(words in lower for words in missing):
        return 127
    return 126 if "permission denied" in lower else 125


def started(go_runc: Runtime, bundle: Path, log: Path) -> str:
    """The message that containerd passes on to docker when neither create nor start worked; "" if both did."""
    container = new_id()
    for command in (["create", "--bundle", bundle, "--pid-file", bundle / "init.pid"], ["start"]):
        if go_runc.attempt(*command, container).code != 0:
            return go.last_error(log)
    return ""


@pytest.mark.peers_differ(crun="has its own first line")
def test_the_version_is_shown_by_docker_info(go_runc: Runtime) -> None:
    name, version, commit = parsed_version(go_runc("--version").stdout)
    assert name == go_runc.path.name
    assert version.count(".") == 2
    assert commit


@pytest.mark.parametrize(
    ("program", "code"),
    [("no-such-program", 127), ("/no/such/program", 127), ("/etc/passwd", 126), ("/etc", 126), ("true", 125)],
)
@pytest.mark.peers_differ(crun="says of a file that it isn't found", runc="says that /etc is a directory")
def test_the_status_of_docker_run_comes_from_the_message(
    go_runc: Runtime, bundle: MakeBundle, log: Path, program: str, code: int
) -> None:
    message = started(go_runc, bundle(process={"args": [program]}), log)
    assert exit_code(message, program) == code
    assert (message == "") == (program == "true")


@pytest.mark.parametrize(("source", "destination"), [("/etc/hostname", "/etc"), ("/etc", "/etc/passwd")])
@pytest.mark.peers_differ(crun="says it otherwise")
def test_a_mount_of_a_file_on_a_directory_gets_dockers_advice(
    go_runc: Runtime, bundle: MakeBundle, log: Path, source: str, destination: str
) -> None:
    """ "Are you trying to mount a directory onto a file (or vice-versa)?" """
    mount = {"destination": destination, "type": "bind", "source": source, "options": ["rbind"]}
    assert "not a directory" in started(go_runc, bundle(mounts=mounts(mount)), log)
