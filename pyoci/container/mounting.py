"""`mounts add` and `mounts remove`: mounts of a container that exists, as crun has them."""

import posix

from pyoci import host
from pyoci.container import conversation, locked, store
from pyoci.container.identity import is_alive
from pyoci.container.init import Init, open_tasks
from pyoci.container.status import CREATED, RUNNING, status, while_alive
from pyoci.container.trees import Trees
from pyoci.errors import NO_SUCH_PROCESS, ConfigError, Error, cause_of, not_running
from pyoci.jsontext import parse
from pyoci.paths import absolute, normalise
from pyoci.plan import mounts
from pyoci.plan.compile import Compilation
from pyoci.plan.namespaces import NAMESPACES
from pyoci.plan.plan import Plan
from pyoci.spec.bundle import drop_nulls, validate

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from pyoci.container.store import Entry

    Entries = list[dict[str, Any]]

VERB = "change the mounts of"  # a container, in messages
ENTERED = ("user", "mount")


def from_file(name: str) -> "Entries":
    """The mounts of a file, a list as in config.json. Raises Error or ConfigError."""
    path = absolute(name)
    try:
        with open(path, "rb", buffering=0) as file:
            raw = file.read()
    except OSError as error:
        raise Error(f"{path}: {cause_of(error)}") from None
    entries: "Entries" = parse(raw, name)
    if not isinstance(entries, list):
        raise Error(f"{path}: must be a list of mounts")
    try:
        validate({"ociVersion": "1.3.0", "root": {"path": "x"}, "mounts": entries})
    except ConfigError as error:
        raise _located(error, raw, name) from None
    drop_nulls(entries)
    return entries


def _located(error: ConfigError, raw: bytes, name: str) -> ConfigError:
    from pyoci.spec.positions import locate

    for problem in error.problems:
        problem.pointer = problem.pointer.removeprefix("/mounts")
        problem.line = locate(raw, problem.pointer)[0]
    return ConfigError(error.problems, name=name, hint=error.hint)


def add(entry: "Entry", entries: "Entries", warn: "Callable[[str], None]") -> None:
    """Mount them all, or none.

    Arguments:
        entry: locked.
        entries: as in config.json.
        warn: what takes warnings.

    Raises Error, with all as it was: the init takes back what it has done.
    """
    context = _context(entry, entries)
    _check(entry)
    with while_alive(entry, VERB):
        plan, target = _entry_plan(entry)
        plan.add("note-changes", "")
        plan.steps += mounts.compile_mounts(context, plan)
        _execute(entry, plan, target, warn)


def remove(entry: "Entry", entries: "Entries", warn: "Callable[[str], None]") -> None:
    """Unmount what is at their destinations, the last first. Raises Error."""
    _check(entry)
    with while_alive(entry, VERB):
        plan, target = _entry_plan(entry)
        for i, each in reversed(list(enumerate(entries))):
            plan.add("unmount", f"/mounts/{i}/destination", normalise(each["destination"]))
        _execute(entry, plan, target, warn)


def _check(entry: "Entry") -> None:
    now = status(entry, ours=True)
    if now not in (CREATED, RUNNING):
        raise not_running(VERB, entry.id, f"it is {now}")


def _context(entry: "Entry", entries: "Entries") -> Compilation:
    config = {**store.read_config(entry), "mounts": entries}
    return Compilation(
        config,
        host.read(),
        bundle=entry.state["bundle"],
        container_id=entry.id,
        cgroup_path=entry.state["cgroups"]["path"],
        inside=True,
    )


def _entry_plan(entry: "Entry") -> "tuple[Plan, int]":
    """A plan that is in the container so far; and its process."""
    pid: int = entry.state["pid"]
    plan = Plan()
    target, root = plan.slot("container"), plan.slot("root")
    entered = sum(NAMESPACES[kind][0] for kind in ENTERED if _differs(pid, NAMESPACES[kind][1]))
    if entered:
        plan.add("enter-namespaces", "", target, entered)
    if entered & NAMESPACES["user"][0]:
        plan.add("assume-root", "", 0, 0)
    plan.add("enter-root", "", root)
    plan.add("hold-root", "")
    return plan, pid


def _differs(pid: int, kind: str) -> bool:
    return posix.readlink(f"/proc/{pid}/ns/{kind}") != posix.readlink(f"/proc/self/ns/{kind}")


def _execute(entry: "Entry", plan: Plan, pid: int, warn: "Callable[[str], None]") -> None:
    init = Init(plan, entry.id)
    trees = Trees(pid, warn)
    descriptors = [posix.pidfd_open(pid), posix.open(f"/proc/{pid}/root", posix.O_RDONLY | posix.O_CLOEXEC)]
    try:
        if not is_alive(pid, entry.state["start_time"]):
            raise not_running(VERB, entry.id, NO_SUCH_PROCESS)
        init.start(init.prepare({"container": descriptors[0], "root": descriptors[1]}, open_tasks))
        _converse(init, plan, trees)
    finally:
        for fd in descriptors:
            posix.close(fd)
        trees.close()
        init.close()
        if init.pid:
            init.reap()


def _converse(init: Init, plan: Plan, trees: Trees) -> None:
    while True:
        message = conversation.receive(init.conversation)
        if message is None:
            ended = init.reap()
            if ended != 0:
                from pyoci.container import failure

                raise failure.died(ended)
            return
        if message.kind == conversation.FETCH:
            step = plan.steps[message.step]
            try:
                descriptor = trees.make(step, plan.fetches[message.step])
            except ConfigError as refused:
                raise ConfigError(refused.problems, name="mounts", hint=refused.hint) from None
            try:
                conversation.go_ahead(init.conversation, descriptor)
            finally:
                posix.close(descriptor)
        elif message.kind == conversation.WARNING:
            trees.warn(locked.warning(message))
        elif message.kind == conversation.FAILED:
            from pyoci.container import failure

            name = plan.steps[message.step].name
            raise ConfigError(
                [failure.problem(message, name)], name="mounts", hint=failure.hint(message, name)
            )
