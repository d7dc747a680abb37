"""`list`: the containers of a root."""

from pyoci import jsontext
from pyoci.container import store
from pyoci.container.status import describe
from pyoci.errors import Error

COLUMNS = (
    ("ID", "id"),
    ("PID", "pid"),
    ("STATUS", "status"),
    ("BUNDLE", "bundle"),
    ("CREATED", "created"),
    ("OWNER", "owner"),
)


def show(root: str, form: str, *, quiet: bool) -> str:
    """The text that `list` prints.

    Arguments:
        form: "table" or "json".
        quiet: the ids only.

    Raises Error if the root can't be read.
    """
    states = []
    for container_id in store.list_ids(root):
        try:
            entry = store.find(root, container_id)
        except Error:
            continue  # deleted meanwhile, or not a container's directory
        states.append(describe(entry))
        entry.close()
    if quiet:
        return "".join(f"{state['id']}\n" for state in states)
    if form == "json":
        return jsontext.dump(states) + "\n"
    rows = [[title for title, _ in COLUMNS], *([str(state[key]) for _, key in COLUMNS] for state in states)]
    widths = [max(len(row[i]) for row in rows) + 2 for i in range(len(COLUMNS))]
    return "".join("".join(map(str.ljust, row, widths)).rstrip() + "\n" for row in rows)
