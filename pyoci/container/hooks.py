"""What hooks that run after `create` are told."""

from pyoci import jsontext
from pyoci.plan.state import state

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyoci.container.store import Entry


def state_text(entry: "Entry", status: str, pid: int) -> str:
    """The state for a hook's standard input."""
    saved = entry.state
    return jsontext.dump(state(entry.id, status, pid, saved.get("bundle", ""), saved.get("annotations")))
