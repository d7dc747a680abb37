"""Nothing stays: after many lives of containers, and after a `create` that was killed at any moment.

PYOCI_TEST_CYCLES (200) lowers how often each is tried.
"""

import os
import random
import statistics
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from conformance import host
from conformance.bundles import namespaces
from conformance.fixtures import MakeBundle
from conformance.runtime import Runtime, new_id

CYCLES = int(os.environ.get("PYOCI_TEST_CYCLES", "200"))
SEED = int(os.environ.get("PYOCI_TEST_SEED", "1"))


def test_many_lives_leave_nothing(pyoci: Runtime, sleeper: Path) -> None:
    before = host.snapshot(pyoci.root)
    for _ in range(CYCLES):
        pyoci.finish(pyoci.launch(sleeper))
    assert host.leaks(before, pyoci.root) == []


def test_a_life_leaves_no_new_cgroup_of_any_name(pyoci: Runtime, sleeper: Path) -> None:
    before = {path for path, _, _ in os.walk(host.CGROUPS)}
    container = pyoci.launch(sleeper)
    lines = Path(f"/proc/{pyoci.pid(container)}/cgroup").read_text().splitlines()
    own = [Path(line.split(":", 2)[2]) for line in lines]
    used = {str(path) for cgroup in own for path in (cgroup, *cgroup.parents)} - {"/"}
    assert used, "the container is in no cgroup of its own"
    pyoci.finish(container)
    left = {path for path, _, _ in os.walk(host.CGROUPS) if path.endswith(tuple(used))}
    assert left - before == set()


MAPPINGS = [{"containerID": 0, "hostID": 100000, "size": 65536}]
BIRTHS: dict[str, tuple[int, dict[str, Any]]] = {
    "ordinary": (CYCLES, {}),
    "in a user namespace": (
        CYCLES // 2,
        {
            "linux": {
                "namespaces": [*namespaces(), {"type": "user"}],
                "uidMappings": MAPPINGS,
                "gidMappings": MAPPINGS,
            }
        },
    ),
    "among the host's mounts": (
        CYCLES // 2,
        {"linux": {"namespaces": namespaces("mount"), "maskedPaths": None, "readonlyPaths": None}},
    ),
}


@pytest.mark.peers_differ(crun="cgroups and processes stay", runc="cgroups and processes stay")
@pytest.mark.parametrize("birth", BIRTHS)
def test_a_create_that_was_killed_leaves_nothing_after_delete_by_force(
    pyoci: Runtime, bundle: MakeBundle, capsys: pytest.CaptureFixture[str], birth: str
) -> None:
    cycles, changes = BIRTHS[birth]
    sleeper = bundle(process={"args": ["sleep", "1000"]}, **changes)
    before = host.snapshot(pyoci.root)
    usual = statistics.median(timed_create(pyoci, sleeper) for _ in range(10))
    chance = random.Random(SEED)
    moments = {"before it made its entry": 0, "in the middle": 0, "after it was done": 0}
    for _ in range(cycles):
        container = new_id()
        victim = pyoci.popen("create", "--bundle", sleeper, container, stdout=subprocess.DEVNULL)
        time.sleep(chance.uniform(0, 1.5 * usual))
        victim.kill()
        if victim.wait(30) == 0:
            moments["after it was done"] += 1
        elif (pyoci.root / container).exists():
            moments["in the middle"] += 1
        else:
            moments["before it made its entry"] += 1
        pyoci.attempt("delete", "--force", container)
        assert not (pyoci.root / container).exists()
        pyoci.fails("state", container)
    with capsys.disabled():
        counts = ", ".join(f"{count} {moment}" for moment, count in moments.items())
        print(f"\ncreate ({usual * 1000:.1f} ms) of a container {birth} was killed {cycles} times: {counts}")
    assert host.leaks(before, pyoci.root) == []


def timed_create(pyoci: Runtime, bundle: Path) -> float:
    """Seconds that a create takes."""
    container = new_id()
    begin = time.monotonic()
    pyoci("create", "--bundle", bundle, container)
    took = time.monotonic() - begin
    pyoci("delete", "--force", container)
    return took


@pytest.mark.parametrize("operation", ["start", "kill", "delete"])
def test_a_later_command_that_was_killed_leaves_a_container_that_can_be_deleted(
    pyoci: Runtime, sleeper: Path, operation: str
) -> None:
    chance = random.Random(SEED)
    for _ in range(max(1, CYCLES // 10)):
        container = pyoci.create(sleeper)
        arguments = ["--force", container] if operation == "delete" else [container]
        victim = pyoci.popen(operation, *arguments, stderr=subprocess.DEVNULL)
        time.sleep(chance.uniform(0, 0.008))
        victim.kill()
        victim.wait(30)
        pyoci.attempt("delete", "--force", container)
        pyoci.fails("state", container)


def test_a_container_whose_process_was_killed_from_outside_is_stopped(pyoci: Runtime, sleeper: Path) -> None:
    container = pyoci.launch(sleeper)
    os.kill(pyoci.pid(container), 9)
    pyoci.await_status(container, "stopped")
    pyoci("delete", container)
