"""`pause` and `resume`: the container's processes stand still (cgroup freezer)."""

from pyoci.cgroups import tree
from pyoci.container.status import CREATED, RUNNING, is_paused, status, while_alive
from pyoci.errors import Error, not_running

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyoci.container.store import Entry


def pause(entry: "Entry") -> None:
    """Stop its processes. Pausing one that is paused is fine.

    Arguments:
        entry: locked.

    Raises Error if it isn't created or running, or if it has no cgroup that can be frozen.
    """
    _freeze(entry, "pause", True)


def resume(entry: "Entry") -> None:
    """Let its processes go on. Raises Error if it isn't paused."""
    if not is_paused(entry) and status(entry, ours=True) in (CREATED, RUNNING):
        raise Error(f'cannot resume container "{entry.id}": it is not paused')
    _freeze(entry, "resume", False)


def _freeze(entry: "Entry", what: str, frozen: bool) -> None:
    now = status(entry, ours=True)
    if now not in (CREATED, RUNNING):
        raise not_running(what, entry.id, f"it is {now}")
    if not entry.state.get("freezer"):
        raise Error(f'cannot {what} container "{entry.id}": it has no cgroup that can be frozen')
    with while_alive(entry, what):
        tree.from_record(entry.state["cgroups"]).freeze(frozen)
