"""How long a container's life takes: create, state, start, kill and delete of pyoci beside crun and runc.

The runtimes alternate within one run, in an order that rotates each round, so that whatever the machine does
in the meantime meets all of them. See bench/README.md.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import select
import shutil
import signal
import statistics
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from time import CLOCK_MONOTONIC, clock_gettime, sleep

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(REPOSITORY))

from conformance.bundles import make_bundle  # noqa: E402
from conformance.peers import legacy_hierarchies  # noqa: E402

OPERATIONS = ("create", "state", "start", "kill", "delete")
DEFAULT_RUNTIMES = (REPOSITORY / ".venv/bin/pyoci", Path("/usr/bin/crun"), Path("/usr/bin/runc"))
# The least that a command can cost here: a program that does nothing, and an interpreter that does nothing.
FLOOR = {
    "true": ["/bin/true"],
    "python3 -IS -c pass": [os.path.realpath(sys.executable), "-IS", "-c", "pass"],
}
DEATH_S = 10.0
MARK = f"pyoci-bench-{os.getpid()}"

Samples = dict[str, dict[str, list[float]]]


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

    def __init__(self, path: Path, name: str, work: Path, bundle: Path, errors: int) -> None:
        self.name = name
        self.root = work / f"root-{name}"
        self.root.mkdir()
        self.bundle = bundle
        self.errors = errors
        self.pid_file = work / f"pid-{name}"
        self.command = [str(path), "--root", str(self.root)]

    def cycle(self, container: str) -> dict[str, float]:
        """One life of the container with the id `container`; returns each operation's milliseconds."""
        create = ["create", "--bundle", str(self.bundle), "--pid-file", str(self.pid_file), container]
        took = {"create": timed([*self.command, *create], self.errors)}
        process = os.pidfd_open(int(self.pid_file.read_text()))
        try:
            took["state"] = timed([*self.command, "state", container], self.errors)
            took["start"] = timed([*self.command, "start", container], self.errors)
            took["kill"] = timed([*self.command, "kill", container, "KILL"], self.errors)
            if not select.select([process], [], [], DEATH_S)[0]:
                raise Failure(f"{self.name}: the container survived kill by {DEATH_S:.0f} s")
        finally:
            os.close(process)
        took["delete"] = timed([*self.command, "delete", container], self.errors)
        return took

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


def measure(runtimes: list[Runtime], rounds: int, errors: int) -> tuple[Samples, dict[str, list[float]]]:
    """Run `rounds` rounds after one that isn't counted.

    Returns milliseconds by runtime and operation, and by program of the floor.
    """
    samples: Samples = {runtime.name: {operation: [] for operation in OPERATIONS} for runtime in runtimes}
    floor: dict[str, list[float]] = {name: [] for name in FLOOR}
    for number in range(-1, rounds):
        first = number % len(runtimes)
        lives = [(r, r.cycle(f"{MARK}-{number + 1}")) for r in runtimes[first:] + runtimes[:first]]
        nothing = {name: timed(argv, errors) for name, argv in FLOOR.items()}
        if number < 0:
            continue
        for runtime, took in lives:
            for operation in OPERATIONS:
                samples[runtime.name][operation].append(took[operation])
        for name in FLOOR:
            floor[name].append(nothing[name])
    for taken in samples.values():
        taken["sum"] = [sum(values) for values in zip(*(taken[name] for name in OPERATIONS), strict=True)]
    return samples, floor


def summary(values: list[float]) -> dict[str, float]:
    """The median and the 90th percentile, in milliseconds."""
    ordered = sorted(values)
    return {"median": statistics.median(ordered), "p90": ordered[int(0.9 * (len(ordered) - 1) + 0.5)]}


def table(samples: Samples, floor: dict[str, list[float]], rounds: int) -> str:
    """What people read."""
    columns = (*OPERATIONS, "sum")
    lines = [f"milliseconds, {rounds} rounds   " + "".join(f"{column:>9}" for column in columns)]
    results = {name: {c: summary(taken[c]) for c in columns} for name, taken in samples.items()}
    for name, result in results.items():
        for kind in ("median", "p90"):
            lines.append(f"{name:<18} {kind:<10}" + "".join(f"{result[c][kind]:9.2f}" for c in columns))
    first, *others = results
    for other in others:
        ratios = (results[first][c]["median"] / results[other][c]["median"] for c in columns)
        lines.append(f"{first + '/' + other:<29}" + "".join(f"{ratio:9.2f}" for ratio in ratios))
    lines.append("")
    for name, values in floor.items():
        of_floor = summary(values)
        lines.append(f"{name:<21} median {of_floor['median']:6.2f}   p90 {of_floor['p90']:6.2f}")
    return "\n".join(lines)


def report(samples: Samples, floor: dict[str, list[float]], rounds: int) -> dict[str, object]:
    """The same for programs: the host, the summaries and every sample."""
    everything = samples | {"floor": floor}
    summaries = {name: {key: summary(v) for key, v in taken.items()} for name, taken in everything.items()}
    return {
        "host": {"kernel": platform.release(), "machine": platform.machine(), "processors": os.cpu_count()},
        "rounds": rounds,
        "summary": summaries,
        "samples_ms": everything,
    }


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--rounds", type=int, default=60, metavar="N", help="rounds to measure (60)")
    parser.add_argument(
        "--runtime",
        type=Path,
        action="append",
        metavar="PATH",
        help="a runtime to measure; repeat it for more; the ratios are the first's (pyoci, crun, runc)",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every sample to FILE")
    parser.add_argument("--verbose", action="store_true", help="show what the runtimes write to stderr")
    return parser.parse_args()


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


def main() -> int:
    options = arguments()
    if os.geteuid() != 0:
        raise Failure("the benchmark makes containers with cgroups, so it must run as root")
    if options.rounds < 1:
        raise Failure("--rounds must be at least 1")
    named = contestants(options.runtime)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: sys.exit(1))
    with ExitStack() as stack:
        work = Path(tempfile.mkdtemp(prefix=f"{MARK}-"))
        stack.callback(shutil.rmtree, work, ignore_errors=True)
        if any(path.name == "crun" for path in named.values()):
            stack.enter_context(legacy_hierarchies())
        # crun 1.8.1 knows no later version than this one.
        bundle = make_bundle(work / "bundle", ociVersion="1.0.2", process={"args": ["sleep", "1000"]})
        errors = os.dup(2) if options.verbose else os.open(os.devnull, os.O_WRONLY)
        stack.callback(sweep)
        runtimes = []
        for name, path in named.items():
            runtime = Runtime(path, name, work, bundle, errors)
            stack.callback(runtime.clean_up)
            runtimes.append(runtime)
        samples, floor = measure(runtimes, options.rounds, errors)
    print(table(samples, floor, options.rounds))
    if options.json:
        options.json.write_text(json.dumps(report(samples, floor, options.rounds), indent=1) + "\n")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Failure as failure:
        sys.exit(f"bench: {failure}")
    except KeyboardInterrupt:
        sys.exit(130)
