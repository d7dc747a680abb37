"""What `exec` costs: /bin/true in a running container, of pyoci beside crun and runc; and beside pyoci's own `create`.

`create` makes cgroups, which `exec` joins only, so what making them takes is measured and printed, too. See bench/README.md.
"""

from __future__ import annotations

import statistics
import time
from pathlib import Path

from contestants import MARK, Failure, Runtime, command_line, contest, finish, timed

from conformance.bundles import make_bundle
from pyoci.cgroups import layout, tree


def measure_exec(runtimes: list[Runtime], bundle: Path, rounds: int) -> dict[str, list[float]]:
    """Milliseconds of `exec ID /bin/true` by runtime; each has a container that runs all the time."""
    container = f"{MARK}-exec"
    for runtime in runtimes:
        timed([*runtime.command, "create", "--bundle", str(bundle), container], runtime.errors)
        timed([*runtime.command, "start", container], runtime.errors)
    samples: dict[str, list[float]] = {runtime.name: [] for runtime in runtimes}
    for number in range(-1, rounds):
        first = number % len(runtimes)
        for runtime in runtimes[first:] + runtimes[:first]:
            took = timed([*runtime.command, "exec", container, "/bin/true"], runtime.errors)
            if number >= 0:
                samples[runtime.name].append(took)
    return samples


def measure_create(runtime: Runtime, bundle: Path, rounds: int) -> tuple[list[float], list[float]]:
    """Milliseconds of `create`, and of making and removing nothing but its cgroups; they alternate."""
    creating, making = [], []
    for number in range(rounds):
        container = f"{MARK}-create-{number}"
        creating.append(
            timed([*runtime.command, "create", "--bundle", str(bundle), container], runtime.errors)
        )
        timed([*runtime.command, "delete", "--force", container], runtime.errors)
        begin = time.monotonic()
        cgroups = tree.open_for(layout.read(), f"/{MARK}-{number}")
        cgroups.create()
        making.append((time.monotonic() - begin) * 1000)
        cgroups.remove()
    return creating, making


def main() -> None:
    """Measure and print."""
    options = command_line(__doc__ or "", rounds=30).parse_args()
    if options.rounds < 1:
        raise Failure("--rounds must be at least 1")
    with contest(options.runtime, verbose=options.verbose) as (work, runtimes):
        bundle = make_bundle(work / "bundle", ociVersion="1.0.2", process={"args": ["sleep", "1000"]})
        samples = measure_exec(runtimes, bundle, options.rounds)
        creating, making = measure_create(runtimes[0], bundle, options.rounds)
    print(f"milliseconds, medians of {options.rounds}")
    for name, values in samples.items():
        print(f"{name + ' exec /bin/true':<36}{statistics.median(values):8.2f}")
    created, made = statistics.median(creating), statistics.median(making)
    first = runtimes[0].name
    print(f"{first + ' create':<36}{created:8.2f}")
    print(f"{'of that, making cgroups':<36}{made:8.2f}")
    print(f"{first + ' create without that':<36}{created - made:8.2f}")


if __name__ == "__main__":
    finish(main)
