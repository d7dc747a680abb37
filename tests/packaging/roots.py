"""Bare Debian systems, made by mmdebstrap from Debian's packages. One is made once; what a test changes is a layer above it."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
from pathlib import Path

ENTER = Path(__file__).with_name("enter")
CACHE = Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser() / "pyoci-roots"
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
TIMEOUT_S = 600
# Packages are downloaded once. What a crash would do to a test's system doesn't matter.
SETTINGS = {
    "etc/apt/apt.conf.d/zz-tests": 'APT::Sandbox::User "root";\nAPT::Keep-Downloaded-Packages "true";\n',
    "etc/dpkg/dpkg.cfg.d/zz-tests": "force-unsafe-io\n",
}


def bare(suite: str) -> Path:
    """The directory of a system that has nothing but what every Debian has, and apt."""
    CACHE.mkdir(parents=True, exist_ok=True)
    root = CACHE / suite
    with (CACHE / f"{suite}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not root.is_dir():
            partial = CACHE / f"{suite}.partial"
            shutil.rmtree(partial, ignore_errors=True)
            command = ["mmdebstrap", "--mode=root", "--variant=minbase", "--quiet", f"--keyring={KEYRING}"]
            run([*command, '--aptopt=APT::Sandbox::User "root"', suite, str(partial)])
            for file, text in SETTINGS.items():
                (partial / file).write_text(text)
            partial.rename(root)
    return root


def run(command: list[str | Path]) -> str:
    """A command that must succeed; what it says."""
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=TIMEOUT_S,
    )
    assert done.returncode == 0, f"{command}: {done.returncode}\n{done.stdout}"
    return done.stdout


class System:
    """A Debian system.

    Arguments:
        lower: the directories that it consists of at first, the uppermost first.
        work: where its changes are kept.
        shared: its /mnt.
    """

    def __init__(self, lower: list[Path], work: Path, shared: Path) -> None:
        self.lower, self.work, self.shared = lower, work, shared

    def attempt(self, *command: str | Path) -> subprocess.CompletedProcess[str]:
        """Run a command in it."""
        enter = [ENTER, ":".join(map(str, self.lower)), self.work, self.shared, CACHE / "archives"]
        return subprocess.run(
            [*enter, *command], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=TIMEOUT_S
        )

    def __call__(self, *command: str | Path) -> str:
        """Run a command in it that must succeed; its standard output."""
        done = self.attempt(*command)
        assert done.returncode == 0, f"{command}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout

    def install(self, *packages: str) -> None:
        """Debian packages, by name or path."""
        self("apt-get", "-qq", "install", "-y", *packages)

    def above(self, work: Path) -> System:
        """Another system, which is this one at first. This one must not change any more."""
        return System([self.work / "upper", *self.lower], work, self.shared)

    def files(self, word: str) -> list[str]:
        """All files and directories whose names have that word, without what apt, dpkg and pip remember of any package."""
        prune = [
            f"-path /{path} -prune -o"
            for path in ("proc", "sys", "dev", "mnt", "var/cache", "var/lib/dpkg", "var/log", "root")
        ]
        return self("sh", "-c", f"find / {' '.join(prune)} -iname '*{word}*' -print").splitlines()
