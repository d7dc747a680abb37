"""What would change a namespace of the runtime's own is refused, also if the config gives the path of that.

The rules have made sure that there is a namespace; whose it is shows in what its path leads to.
"""

import posix

from pyoci.errors import ConfigError, Problem
from pyoci.plan.namespaces import NAMESPACES
from pyoci.spec.rules import SYSCTLS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyoci.plan.plan import Plan, Step

# The steps that change a namespace.
CHANGES = ("set-hostname", "set-domainname", "set-sysctl")


def check(plan: "Plan", descriptors: "Sequence[int]") -> None:
    """Refuse them.

    Arguments:
        descriptors: those of the plan's slots.

    Raises ConfigError.
    """
    joined = {slot.name: fd for slot, fd in zip(plan.slots, descriptors, strict=True)}
    problems = []
    for step in plan.steps:
        if step.name in CHANGES:
            kind = _kind(step)
            descriptor = joined.get(f"namespace:{kind}")
            if descriptor is not None and _is_ours(kind, descriptor) and not _is_so_already(step):
                article = "an" if kind == "ipc" else "a"
                message = (
                    f"needs {article} {kind} namespace (the one of linux.namespaces is the runtime's own)"
                )
                problems.append(Problem(step.origin, message))
    if problems:
        raise ConfigError(problems)


def _kind(step: "Step") -> str:
    if step.name != "set-sysctl":
        return "uts"
    return next(kind for prefix, kind in SYSCTLS if step.arguments[0].startswith(prefix))


def _is_ours(kind: str, descriptor: int) -> bool:
    theirs, ours = posix.fstat(descriptor), posix.stat(f"/proc/self/ns/{NAMESPACES[kind][1]}")
    return (theirs.st_dev, theirs.st_ino) == (ours.st_dev, ours.st_ino)


def _is_so_already(step: "Step") -> bool:
    """Engines give the containers of a pod its name, and the pod's may be the host's."""
    if step.name == "set-sysctl":
        return False
    with open(f"/proc/sys/kernel/{step.name.removeprefix('set-')}", "rb") as file:
        return file.read().rstrip(b"\n") == str(step.arguments[0]).encode()
