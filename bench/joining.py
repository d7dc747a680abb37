"""How long a new process needs from its clone until it is in all of its cgroups.

pyoci's init joins by itself: on cgroup v1 it writes `0` to each `tasks` file, on v2 it is born inside. The stand-in is the
same init without these steps, and its pid is written to each `cgroup.procs` from outside, as runtimes usually do. Both alternate.
"""

from __future__ import annotations

import os
import signal
import statistics
import time
from contextlib import closing
from pathlib import Path

from contestants import MARK, Failure, command_line, finish

from pyoci import shim
from pyoci.cgroups import layout, tree
from pyoci.container import conversation
from pyoci.container.init import PROGRAM
from pyoci.plan.plan import Plan

ARRIVED = 1
# The kernel's lock is cheap for a while after somebody has written to cgroup.procs: as containers are rare, it mostly is not.
PAUSE_S = 0.05


def plan_of(cgroups: tree.Cgroups, *, joins: bool) -> Plan:
    """A plan that joins its cgroups, or doesn't, and then says so."""
    plan = Plan()
    for path in cgroups.join_files() if joins else ():
        plan.add("join-cgroup", "", plan.slot("cgroup", path), path)
    plan.add("ask-host", "", ARRIVED)
    return plan


def life(cgroups: tree.Cgroups, program: int, *, joins: bool) -> float:
    """Milliseconds from clone to the word of the init, or to the last write from outside."""
    plan = plan_of(cgroups, joins=joins)
    ours, theirs = conversation.pair()
    data = os.memfd_create("plan")
    os.write(data, plan.encode(shim.checksum))
    made = {"plan": data, "conversation": theirs.fileno()}
    slots = [made.get(slot.name) or os.open(slot.path, os.O_WRONLY) for slot in plan.slots]
    inside = cgroups.clone_into_fd() if joins else None
    with closing(ours):
        begin = time.monotonic()
        pid, pidfd = shim.spawn(
            program,
            slots,
            name="bench",
            new_namespaces=0,
            first_descriptor=plan.first_descriptor,
            cgroup=inside,
        )
        try:
            if not joins:
                for group in cgroups.groups:
                    Path(group.path, "cgroup.procs").write_text(str(pid))
            message = conversation.receive(ours)
            took = time.monotonic() - begin
            if message is None or message.kind != conversation.ASK:
                raise Failure("the init didn't say that it has joined")
            check(pid, cgroups)
        finally:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            theirs.close()
            for fd in {*slots, pidfd, *([inside] if inside is not None else [])} - {made["conversation"]}:
                os.close(fd)
    return took * 1000


def check(pid: int, cgroups: tree.Cgroups) -> None:
    """A fast way that doesn't arrive would be no way."""
    for group in cgroups.groups:
        if str(pid) not in Path(group.path, "cgroup.procs").read_text().split():
            raise Failure(f"{pid} is not in {group.path}")


def main() -> None:
    """Measure and print."""
    options = command_line(__doc__ or "", rounds=40, runtimes=False).parse_args()
    if os.geteuid() != 0:
        raise Failure("the benchmark makes cgroups, so it must run as root")
    cgroups = tree.open_for(layout.read(), f"/{MARK}")
    program = shim.seal(PROGRAM)
    samples: dict[bool, list[float]] = {True: [], False: []}
    try:
        cgroups.create()
        for number in range(-1, options.rounds):
            for joins in (True, False) if number % 2 else (False, True):
                time.sleep(PAUSE_S)
                took = life(cgroups, program, joins=joins)
                if number >= 0:
                    samples[joins].append(took)
    finally:
        cgroups.remove()
        os.close(program)
    itself, outside = (statistics.median(samples[joins]) for joins in (True, False))
    print(
        f"from clone to joined ({len(cgroups.groups)} cgroups, {cgroups.mode}), medians of {options.rounds}"
    )
    print(f"pyoci's init joins by itself {itself:8.2f} ms")
    print(f"written to cgroup.procs      {outside:8.2f} ms   {outside / itself:.1f} times as long")


if __name__ == "__main__":
    finish(main)
