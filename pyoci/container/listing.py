"""`list`: the containers of a root."""

from pyoci import jsontext
from pyoci.container import store
from pyoci.container.status import describe
from pyoci.errors import Error, cause_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

COLUMNS = (
    ("ID", "id"),
    ("PID", "pid"),
    ("STATUS", "status"),
    ("BUNDLE", "bundle"),
    ("CREATED", "created"),
    ("OWNER", "owner"),
)


def show(root: str, form: str, *, quiet: bool, warn: "Callable[[str], None]") -> str:
    """The text that `list` prints.

    Arguments:
        form: "table" or "json".
        quiet: the ids only.
        warn: where warnings go: a container that can't be described is one, and left out.

    Raises Error if the root can't be read.
    """
    states = []
    for container_id in store.list_ids(root):
        try:
            states.append(_described(root, container_id))
        except store.NotFoundError:
            pass  # deleted meanwhile
        except (Error, OSError) as error:
            why = cause_of(error) if isinstance(error, OSError) else error.message
            warn(f'container "{container_id}" is left out: {why}')
    if quiet:
        return "".join(f"{state['id']}\n" for state in states)
    if form == "json":
        return jsontext.dump(states) + "\n"
    return _table(states)


def _described(root: str, container_id: str) -> "dict[str, Any]":
    entry = store.find(root, container_id)
    try:
        return describe(entry)
    finally:
        entry.close()


def _table(states: "list[dict[str, Any]]") -> str:
    rows = [[title for title, _ in COLUMNS], *([str(state[key]) for _, key in COLUMNS] for state in states)]
    widths = [max(len(row[i]) for row in rows) + 2 for i in range(len(COLUMNS))]
    return "".join("".join(map(str.ljust, row, widths)).rstrip() + "\n" for row in rows)
