"""What an attacker has in these tests: a symlink that comes and goes, and a container beside the one that is being made."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from conformance import host
from conformance.bundles import bound, write_config
from conformance.runtime import Runtime

from .conftest import MakeBundle

# How often a container is made in a race: about two seconds.
RACES = int(os.environ.get("PYOCI_TEST_RACES", "20"))

# RENAME_EXCHANGE, renameat2(2): at every moment one of the two is at the name.
SWAPPER = """
import ctypes, sys
exchange, one, other = ctypes.CDLL(None).renameat2, *(name.encode() for name in sys.argv[1:])
while exchange(-100, one, -100, other, 2) == 0:
    pass
"""

# A shell that does what it is told by a file in /shared, and answers there.
OBEDIENT = """
while :; do
    if test -e /shared/order; then
        sh /shared/order >/shared/answer.new 2>&1
        rm /shared/order
        mv /shared/answer.new /shared/answer
    fi
    usleep 2000
done
"""


@contextmanager
def exchanging(one: Path, other: Path) -> Iterator[None]:
    """As long as the block runs the two change places, many times a millisecond."""
    with subprocess.Popen([sys.executable, "-IS", "-c", SWAPPER, str(one), str(other)]) as swapper:
        try:
            seen = set()
            deadline = time.monotonic() + 10
            while len(seen) < 2:
                assert time.monotonic() < deadline, "nothing is being exchanged"
                seen.add(one.lstat().st_ino)
            yield
            assert swapper.poll() is None, "the exchanging ended early"
        finally:
            swapper.kill()


@contextmanager
def swapping(directory: Path, target: str) -> Iterator[None]:
    """As long as the block runs `directory` is now a directory, now a symlink with this text; at its end a directory."""
    link = directory.with_name(directory.name + ".link")
    link.symlink_to(target)
    try:
        with exchanging(directory, link):
            yield
    finally:
        if directory.is_symlink():
            directory.unlink()
            link.rename(directory)
        else:
            link.unlink()


def in_root(bundle: Path, path: Path) -> Path:
    """Where a container has what the host has at that path."""
    return bundle / "rootfs" / path.relative_to("/")


class Outside:
    """A directory of the host's with a file in it, which no container may change."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir()
        (path / "secret").write_text("secret\n")
        self.remember()

    def remember(self) -> None:
        """This is how it is to stay."""
        self.before = self.look()

    def look(self) -> dict[str, tuple[int, ...]]:
        """What is there: all that a write, a mount or a new name would change."""
        paths = [self.path, *sorted(self.path.rglob("*"))]
        found = [(str(path), path.lstat()) for path in paths]
        return {
            name: (st.st_dev, st.st_ino, st.st_mode, st.st_uid, st.st_size, st.st_mtime_ns)
            for name, st in found
        }

    def assert_untouched(self) -> None:
        """Nothing is there that wasn't there, and nothing is otherwise than it was."""
        assert self.look() == self.before


class Neighbour:
    """A running container, whose program the attacker commands. Others join its namespaces."""

    def __init__(
        self, runtime: Runtime, bundle: MakeBundle, process: dict[str, Any], linux: dict[str, Any]
    ) -> None:
        self.runtime = runtime
        process = process | {"args": ["sh", "-c", OBEDIENT]}
        self.bundle = here = bundle(process=process, linux=linux)
        self.shared = here / "shared"
        self.shared.mkdir()
        self.shared.chmod(0o777)
        (here / "rootfs/shared").mkdir()
        document = json.loads((here / "config.json").read_text())
        document["mounts"].append(bound(self.shared, "/shared"))
        write_config(here, document)
        self.id = runtime.launch(here)
        self.pid = runtime.pid(self.id)

    def namespace(self, name: str) -> str:
        """The path of one of its namespaces."""
        return f"/proc/{self.pid}/ns/{name}"

    @contextmanager
    def joined(self, bundle: Path) -> Iterator[str]:
        """A container beside it, created. It ends first: a pid namespace's first process doesn't end before the others."""
        container = self.runtime.create(bundle)
        try:
            yield container
        finally:
            self.runtime("delete", "--force", container)
            host.reap()

    def does(self, script: str) -> str:
        """What a script says that is run in there."""
        self._order(script)
        return self._answer()

    @contextmanager
    def doing(self, script: str) -> Iterator[Callable[[], str]]:
        """A script runs in there until the block ends; what it gives tells what the script said then.

        It makes /shared/busy when it is at it, and ends when there is /shared/stop.
        """
        self._order(script)
        self._await(self.shared / "busy")
        said = ""
        try:
            yield lambda: said
        finally:
            (self.shared / "stop").touch()
            said = self._answer()
            (self.shared / "stop").unlink()
            (self.shared / "busy").unlink()

    def _order(self, script: str) -> None:
        (self.shared / "order.new").write_text(script)
        (self.shared / "order.new").rename(self.shared / "order")

    def _answer(self) -> str:
        answer = self.shared / "answer"
        self._await(answer)
        said = answer.read_text()
        answer.unlink()
        return said

    def _await(self, path: Path) -> None:
        deadline = time.monotonic() + 10
        while not path.exists():
            assert time.monotonic() < deadline, f"the neighbour makes no {path.name}"
            time.sleep(0.002)
