"""The runtimes that the benchmarks compare, and how a command of theirs is timed."""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from time import CLOCK_MONOTONIC, clock_gettime, sleep

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(REPOSITORY))

from conformance.peers import legacy_hierarchies  # noqa: E402

DEFAULT_RUNTIMES = (REPOSITORY / ".venv/bin/pyoci", Path("/usr/bin/crun"), Path("/usr/bin/runc"))
MARK = f"pyoci-bench-{os.getpid()}"


class Failure(Exception):
    """A command of a runtime failed, so there is nothing to measure."""


def spawn(argv: list[str], errors: int) -> int:
    """Start `argv` with stdin and stdout on /dev/null and stderr on the descriptor `errors`."""
    actions = [
        (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 1, "/dev/null", os.O_WRONLY, 0),
        (os.POSIX_SPAWN_DUP2, errors, 2),
    ]
    # A process group of its own keeps the terminal's Ctrl-C from the runtime in the middle of its work.
    return os.posix_spawn(argv[0], argv, os.environ, file_actions=actions, setpgroup=0)


def timed(argv: list[str], errors: int) -> float:
    """Run `argv` until it is reaped; returns milliseconds. Raises Failure if it doesn't end with 0."""
    begin = clock_gettime(CLOCK_MONOTONIC)
    pid = spawn(argv, errors)
    try:
        _, status = os.waitpid(pid, 0)
    except BaseException:  # an interrupt: the command must be over before the clean-up starts
        os.waitpid(pid, 0)
        raise
    end = clock_gettime(CLOCK_MONOTONIC)
    if status != 0:
        code = os.waitstatus_to_exitcode(status)
        raise Failure(f"{' '.join(argv)} ended with {code} (--verbose shows what it says)")
    return (end - begin) * 1000


class Runtime:
    """One of the contestants, with a state directory of its own."""

    def __init__(self, path: Path, name: str, work: Path, errors: int) -> None:
        self.name = name
        self.root = work / f"root-{name}"
        self.root.mkdir()
        self.errors = errors
        self.pid_file = work / f"pid-{name}"
        self.command = [str(path), "--root", str(self.root)]

    def clean_up(self) -> None:
        """Delete every container that an interrupted round left."""
        for container in os.listdir(self.root):
            os.waitpid(spawn([*self.command, "delete", "--force", container], self.errors), 0)


def sweep() -> None:
    """Remove what a runtime's own clean-up left of our containers: their processes and control groups."""
    for attempt in range(20):
        left = [path for path, _, _ in os.walk("/sys/fs/cgroup", topdown=False) if MARK in path]
        if not left:
            return
        for path in left:
            try:
                for pid in Path(path, "cgroup.procs").read_text().split():
                    os.kill(int(pid), signal.SIGKILL)
                os.rmdir(path)
            except OSError:
                continue
        sleep(0.01 * attempt)
    print(f"bench: could not remove {', '.join(left)}", file=sys.stderr)


def contestants(wanted: list[Path] | None) -> dict[str, Path]:
    """The runtimes to measure by name; of the usual ones those that are here."""
    paths = wanted or [path for path in DEFAULT_RUNTIMES if path.exists()]
    named: dict[str, Path] = {}
    for path in paths:
        found = shutil.which(path)
        if found is None:
            raise Failure(f"there is no runtime {path}")
        name = path.name if path.name not in named else f"{path.name}-{len(named) + 1}"
        named[name] = Path(found).absolute()
    if not named:
        raise Failure("there is no runtime to measure; name one with --runtime")
    return named


@contextmanager
def contest(wanted: list[Path] | None, *, verbose: bool) -> Iterator[tuple[Path, list[Runtime]]]:
    """A temporary directory and the runtimes; all that they make is removed at the end.

    Arguments:
        wanted: their paths; None: pyoci and those of crun and runc that are here.
        verbose: show what they write to stderr.
    """
    if os.geteuid() != 0:
        raise Failure("the benchmark makes containers with cgroups, so it must run as root")
    named = contestants(wanted)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: sys.exit(1))
    with ExitStack() as stack:
        work = Path(tempfile.mkdtemp(prefix=f"{MARK}-"))
        stack.callback(shutil.rmtree, work, ignore_errors=True)
        if any(path.name == "crun" for path in named.values()):
            stack.enter_context(legacy_hierarchies())
        errors = os.dup(2) if verbose else os.open(os.devnull, os.O_WRONLY)
        stack.callback(sweep)
        runtimes = [Runtime(path, name, work, errors) for name, path in named.items()]
        for runtime in runtimes:
            stack.callback(runtime.clean_up)
        yield work, runtimes


def command_line(about: str, rounds: int, *, runtimes: bool = True) -> argparse.ArgumentParser:
    """The options that every benchmark has; the last two only if it is about `runtimes`."""
    parser = argparse.ArgumentParser(description=about.split("\n\n")[0])
    parser.add_argument(
        "--rounds", type=int, default=rounds, metavar="N", help=f"rounds to measure ({rounds})"
    )
    if not runtimes:
        return parser
    parser.add_argument(
        "--runtime",
        type=Path,
        action="append",
        metavar="PATH",
        help="a runtime to measure; repeat it for more; the ratios are the first's (pyoci, crun, runc)",
    )
    parser.add_argument("--verbose", action="store_true", help="show what the runtimes write to stderr")
    return parser


def finish(main: Callable[[], None]) -> None:
    """Run a benchmark as a program."""
    try:
        main()
    except Failure as failure:
        sys.exit(f"bench: {failure}")
    except KeyboardInterrupt:
        sys.exit(130)
