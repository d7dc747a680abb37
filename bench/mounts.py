"""What mounts cost: `create` of pyoci beside crun and runc with ever more bind mounts in config.json.

The runtimes alternate, and with them the numbers of mounts. See bench/README.md.
"""

from __future__ import annotations

import statistics
from pathlib import Path

from contestants import MARK, Failure, Runtime, command_line, contest, finish, timed

from conformance.bundles import make_bundle, mounts

COUNTS = (0, 100, 300, 1000)

Samples = dict[str, dict[int, list[float]]]


def make_bundles(work: Path) -> dict[int, Path]:
    """A bundle for each number of mounts: each binds a directory of its own."""
    sources = [work / "sources" / str(i) for i in range(max(COUNTS))]
    for source in sources:
        source.mkdir(parents=True)
    bundles = {}
    for count in COUNTS:
        binds = [
            {
                "destination": f"/mnt/{source.name}",
                "source": str(source),
                "options": ["rbind", "nosuid", "ro"],
            }
            for source in sources[:count]
        ]
        # crun 1.8 holds a descriptor for each mount, and sets the container's limits first.
        limits = {"rlimits": [{"type": "RLIMIT_NOFILE", "soft": 4096, "hard": 4096}]}
        bundles[count] = make_bundle(
            work / f"bundle-{count}", ociVersion="1.0.2", process=limits, mounts=mounts(*binds)
        )
    return bundles


def create(runtime: Runtime, bundle: Path, container: str) -> float:
    """Milliseconds for one `create`; the container is deleted again."""
    took = timed([*runtime.command, "create", "--bundle", str(bundle), container], runtime.errors)
    timed([*runtime.command, "delete", "--force", container], runtime.errors)
    return took


def measure(runtimes: list[Runtime], bundles: dict[int, Path], rounds: int) -> Samples:
    """Milliseconds by runtime and number of mounts; a round before the first isn't counted."""
    samples: Samples = {runtime.name: {count: [] for count in bundles} for runtime in runtimes}
    for number in range(-1, rounds):
        first = number % len(runtimes)
        for count, bundle in bundles.items():
            for runtime in runtimes[first:] + runtimes[:first]:
                took = create(runtime, bundle, f"{MARK}-{number + 1}-{count}")
                if number >= 0:
                    samples[runtime.name][count].append(took)
    return samples


def table(samples: Samples, rounds: int) -> str:
    """Medians, and what each mount costs beyond a container without any of them."""
    lines = [f"milliseconds of create, medians of {rounds}"]
    lines += [f"{'mounts':<10}" + "".join(f"{name:>12}{'ms/mount':>10}" for name in samples)]
    medians = {name: {n: statistics.median(v) for n, v in taken.items()} for name, taken in samples.items()}
    for count in COUNTS:
        line = f"{count:<10}"
        for of in medians.values():
            each = f"{(of[count] - of[0]) / count:10.4f}" if count else f"{'':10}"
            line += f"{of[count]:12.2f}{each}"
        lines.append(line)
    return "\n".join(lines)


def main() -> None:
    """Measure and print."""
    options = command_line(__doc__ or "", rounds=7).parse_args()
    if options.rounds < 1:
        raise Failure("--rounds must be at least 1")
    with contest(options.runtime, verbose=options.verbose) as (work, runtimes):
        samples = measure(runtimes, make_bundles(work), options.rounds)
    print(table(samples, options.rounds))


if __name__ == "__main__":
    finish(main)
