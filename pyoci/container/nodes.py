"""The devices of a container in a user namespace: it may make none, so they are made here, and bound in there.

Imported only when the init asks for one.
"""

import posix

from pyoci import shim
from pyoci.errors import ConfigError, Problem, cause_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyoci.plan.plan import Plan

# How many are made at a time: each is an open file until it is sent.
AT_ONCE = 64


class Nodes:
    """Makes them, in the order of the plan.

    Arguments:
        pid: the init's, whose user namespace says whose they are.
        plan: the plan, whose fetches say which.
    """

    def __init__(self, pid: int, plan: "Plan") -> None:
        self._left = [
            (number, fetch.device) for number, fetch in sorted(plan.fetches.items()) if fetch.device
        ]
        self._maps = _read_map(pid, "uid_map"), _read_map(pid, "gid_map")
        self._plan = plan
        self._made: "dict[int, int]" = {}
        self._refused = False

    def take(self, number: int) -> "int | None":
        """The device of the step with that number, a descriptor of a mount of it; the caller closes it.

        None if we may not make any: a runtime in a container, say. Raises ConfigError.
        """
        while number not in self._made and self._left and not self._refused:
            self._make()
        return self._made.pop(number, None)

    def _make(self) -> None:
        some, self._left = self._left[:AT_ONCE], self._left[AT_ONCE:]
        wanted = []
        for _, (mode, major, minor, uid, gid) in some:
            wanted.append((mode, major, minor, _outside(self._maps[0], uid), _outside(self._maps[1], gid)))
        try:
            trees = shim.make_nodes(wanted)
        except PermissionError:
            self._refused = True
            return
        except OSError as error:
            step = self._plan.steps[some[0][0]]
            message = f"devices can't be made: {cause_of(error).lower()} ({step.name})"
            raise ConfigError([Problem(step.origin, message)]) from None
        self._made.update({number: tree for (number, _), tree in zip(some, trees, strict=True)})

    def close(self) -> None:
        """Close what nobody took."""
        for tree in self._made.values():
            posix.close(tree)


def _read_map(pid: int, name: str) -> "list[list[int]]":
    with open(f"/proc/{pid}/{name}", "rb") as file:
        return [[int(number) for number in line.split()] for line in file]


def _outside(maps: "list[list[int]]", inside: int) -> int:
    """What an id of the container's is here; root's, which is nobody there, if it has no mapping."""
    for first, outside, count in maps:
        if first <= inside < first + count:
            return outside + inside - first
    return 0
