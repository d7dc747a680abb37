"""Processes that hold namespaces for containers to join."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# The type in config.json and the name below /proc/PID/ns.
FILES = {
    "user": "user",
    "cgroup": "cgroup",
    "ipc": "ipc",
    "uts": "uts",
    "network": "net",
    "pid": "pid",
    "time": "time",
    "mount": "mnt",
}
FLAGS = {"network": "net"}


@contextmanager
def holder(*kinds: str) -> Iterator[int]:
    """A process in new namespaces of these kinds; its pid. With "user" they belong to that, which maps root."""
    flags = [f"--{FLAGS.get(kind, kind)}" for kind in kinds]
    if "user" in kinds:
        flags.append("--map-root-user")
    command = ["unshare", *flags, "--fork", "--kill-child", "sleep", "1000"]
    with subprocess.Popen(command) as outer:
        try:
            yield _child(outer.pid)
        finally:
            outer.kill()


def _child(parent: int) -> int:
    deadline = time.monotonic() + 10
    children = Path(f"/proc/{parent}/task/{parent}/children")
    while time.monotonic() < deadline:
        for child in children.read_text().split():
            if os.readlink(f"/proc/{child}/exe").endswith("sleep"):
                return int(child)
        time.sleep(0.01)
    raise TimeoutError("unshare(1) started nothing")


def namespace(pid: int | str, kind: str) -> str:
    """Which namespace of that kind a process is in."""
    return os.readlink(f"/proc/{pid}/ns/{FILES[kind]}")
