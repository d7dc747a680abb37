"""How long a container's life takes: create, state, start, kill and delete of pyoci beside crun and runc.

The runtimes alternate within one run, in an order that rotates each round, so that whatever the machine does
in the meantime meets all of them. See bench/README.md.
"""

from __future__ import annotations

import json
import os
import platform
import select
import statistics
import sys
from pathlib import Path

from contestants import MARK, Failure, Runtime, command_line, contest, finish, timed

from conformance.bundles import make_bundle

OPERATIONS = ("create", "state", "start", "kill", "delete")
# The least that a command can cost here: a program that does nothing, and an interpreter that does nothing.
FLOOR = {
    "true": ["/bin/true"],
    "python3 -IS -c pass": [os.path.realpath(sys.executable), "-IS", "-c", "pass"],
}
DEATH_S = 10.0

Samples = dict[str, dict[str, list[float]]]


def cycle(runtime: Runtime, bundle: Path, container: str) -> dict[str, float]:
    """One life of the container with the id `container`; returns each operation's milliseconds."""
    create = ["create", "--bundle", str(bundle), "--pid-file", str(runtime.pid_file), container]
    took = {"create": timed([*runtime.command, *create], runtime.errors)}
    process = os.pidfd_open(int(runtime.pid_file.read_text()))
    try:
        took["state"] = timed([*runtime.command, "state", container], runtime.errors)
        took["start"] = timed([*runtime.command, "start", container], runtime.errors)
        took["kill"] = timed([*runtime.command, "kill", container, "KILL"], runtime.errors)
        if not select.select([process], [], [], DEATH_S)[0]:
            raise Failure(f"{runtime.name}: the container survived kill by {DEATH_S:.0f} s")
    finally:
        os.close(process)
    took["delete"] = timed([*runtime.command, "delete", container], runtime.errors)
    return took


def measure(runtimes: list[Runtime], bundle: Path, rounds: int) -> tuple[Samples, dict[str, list[float]]]:
    """Run `rounds` rounds after one that isn't counted.

    Returns milliseconds by runtime and operation, and by program of the floor.
    """
    samples: Samples = {runtime.name: {operation: [] for operation in OPERATIONS} for runtime in runtimes}
    floor: dict[str, list[float]] = {name: [] for name in FLOOR}
    for number in range(-1, rounds):
        first = number % len(runtimes)
        lives = [(r, cycle(r, bundle, f"{MARK}-{number + 1}")) for r in runtimes[first:] + runtimes[:first]]
        nothing = {name: timed(argv, runtimes[0].errors) for name, argv in FLOOR.items()}
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


def main() -> None:
    """Measure and print."""
    parser = command_line(__doc__ or "", rounds=60)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every sample to FILE")
    options = parser.parse_args()
    if options.rounds < 1:
        raise Failure("--rounds must be at least 1")
    with contest(options.runtime, verbose=options.verbose) as (work, runtimes):
        # crun 1.8.1 knows no later version than this one.
        bundle = make_bundle(work / "bundle", ociVersion="1.0.2", process={"args": ["sleep", "1000"]})
        samples, floor = measure(runtimes, bundle, options.rounds)
    print(table(samples, floor, options.rounds))
    if options.json:
        options.json.write_text(json.dumps(report(samples, floor, options.rounds), indent=1) + "\n")


if __name__ == "__main__":
    finish(main)
