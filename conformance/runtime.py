"""The runtime under test, driven through its command line."""

from __future__ import annotations

import itertools
import json
import os
import select
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

from . import host

# Global flags for every command: "--systemd-cgroup", say.
FLAGS = os.environ.get("RUNTIME_FLAGS", "").split()
SYSTEMD = "--systemd-cgroup" in FLAGS
TIMEOUT_S = 30.0
_numbers = itertools.count(1)


def new_id() -> str:
    """An id that no container has had."""
    return f"{host.TAG}-{next(_numbers)}"


class Result:
    """How a command ended: its exit status and what it wrote."""

    def __init__(self, command: list[str], code: int, stdout: str, stderr: str) -> None:
        self.command, self.code, self.stdout, self.stderr = command, code, stdout, stderr

    def __repr__(self) -> str:
        return f"{' '.join(self.command)}\n-> {self.code}\nstdout: {self.stdout}\nstderr: {self.stderr}"


def ended(process: subprocess.Popen[Any], timeout: float) -> int:
    """The exit status, as soon as there is one; -1 after so many seconds, and then it is killed.

    Popen.wait with a timeout looks again and again, at ever longer intervals.
    """
    descriptor = os.pidfd_open(process.pid)
    try:
        if not select.select([descriptor], [], [], timeout)[0]:
            process.kill()
            process.wait()
            return -1
        return process.wait()
    finally:
        os.close(descriptor)


class Runtime:
    """The command at `path` with its state in `root`.

    Called with arguments it runs them and requires success; `fails` requires an error; `attempt` takes both.
    """

    def __init__(self, path: Path, root: Path) -> None:
        self.path, self.root = path, root
        self.command = [str(path), "--root", str(root), *FLAGS]

    def attempt(
        self,
        *arguments: str | Path,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        stdin: int | IO[Any] = subprocess.DEVNULL,
        timeout: float = TIMEOUT_S,
    ) -> Result:
        """Run one command until it ends; its output goes to files, as a container may keep pipes open."""
        command = self.command + [str(argument) for argument in arguments]
        with tempfile.TemporaryFile("w+") as stdout, tempfile.TemporaryFile("w+") as stderr:
            process = subprocess.Popen(command, stdin=stdin, stdout=stdout, stderr=stderr, cwd=cwd, env=env)
            code = ended(process, timeout)
            stdout.seek(0)
            stderr.seek(0)
            result = Result(command, code, stdout.read(), stderr.read())
        assert code != -1, f"did not end within {timeout} s: {result}"
        assert code >= 0, f"was killed by a signal: {result}"
        assert "Traceback" not in result.stderr + result.stdout, result
        return result

    def __call__(self, *arguments: str | Path, **options: Any) -> Result:
        result = self.attempt(*arguments, **options)
        assert result.code == 0, result
        return result

    def fails(self, *arguments: str | Path, **options: Any) -> str:
        """Run a command that must end with an error; returns what it says."""
        result = self.attempt(*arguments, **options)
        assert result.code != 0, f"should have failed: {result}"
        assert result.stderr.strip(), f"failed without a word: {result}"
        return result.stderr

    def popen(self, *arguments: str | Path, **options: Any) -> subprocess.Popen[str]:
        """Start a command without waiting for it."""
        options = {"stdin": subprocess.DEVNULL, "text": True} | options
        return subprocess.Popen(self.command + [str(argument) for argument in arguments], **options)

    def create(self, bundle: Path, *flags: str, **options: Any) -> str:
        """Create a container; returns its id."""
        container = new_id()
        self("create", "--bundle", bundle, *flags, container, **options)
        return container

    def launch(self, bundle: Path, *flags: str, **options: Any) -> str:
        """Create a container and start it; returns its id."""
        container = self.create(bundle, *flags, **options)
        self("start", container)
        return container

    def output(self, bundle: Path, *flags: str) -> str:
        """What a container's program writes to standard output; it must end with status 0 and write no errors.

        By create, start and delete alone, which every runtime has.
        """
        container = new_id()
        with tempfile.TemporaryFile("w+") as stdout, tempfile.TemporaryFile("w+") as stderr:
            command = [*self.command, "create", "--bundle", str(bundle), *flags, container]
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr)
            code = ended(process, TIMEOUT_S)
            if code == 0:
                self("start", container)
                self.await_status(container, "stopped")
                self("delete", container)
            stdout.seek(0)
            stderr.seek(0)
            result = Result(command, code, stdout.read(), stderr.read())
        assert code == 0, result
        assert result.stderr == "", result
        return result.stdout

    def run(self, bundle: Path, *flags: str, **options: Any) -> Result:
        """Run a container in the foreground, whatever its program's exit status is."""
        return self.attempt("run", "--bundle", bundle, *flags, new_id(), **options)

    def state(self, container: str) -> dict[str, Any]:
        """What `state` prints."""
        state: dict[str, Any] = json.loads(self("state", container).stdout)
        return state

    def pid(self, container: str) -> int:
        """The container's process, as the host counts."""
        pid: int = self.state(container)["pid"]
        return pid

    def await_status(self, container: str, status: str) -> None:
        """Wait until `state` says `status`."""
        deadline = time.monotonic() + TIMEOUT_S
        while (now := self.state(container)["status"]) != status:
            assert time.monotonic() < deadline, f"the container {container} is still {now}, not {status}"
            time.sleep(0.01)

    def finish(self, container: str) -> None:
        """Kill a container, wait for its end and delete it."""
        self("kill", container, "KILL")
        self.await_status(container, "stopped")
        self("delete", container)

    def remove_all(self) -> None:
        """Delete every container of this root by force, whatever state it is in."""
        for container in os.listdir(self.root):
            self.attempt("delete", "--force", container)
