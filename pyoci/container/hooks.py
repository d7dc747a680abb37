"""What hooks that run after `create` are told."""

from pyoci import jsontext
from pyoci.plan.state import state

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyoci.container.store import Entry


def state_object(entry: "Entry", status: str, pid: int) -> "dict[str, Any]":
    """The state (runtime.md, "State") of a container that exists."""
    saved = entry.state
    return state(entry.id, status, pid, saved.get("bundle", ""), saved.get("annotations"))


def state_text(entry: "Entry", status: str, pid: int) -> str:
    """The same as the text for a hook's standard input."""
    return jsontext.dump(state_object(entry, status, pid))
