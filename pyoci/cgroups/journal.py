"""What was there before an update, so that one that fails can be taken back: all of it or nothing."""

from pyoci.cgroups.tree import put, read
from pyoci.errors import Error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

# What takes a line of these away again: they have a line for each device that has a limit.
NO_LIMIT = {
    "io.max": "rbps=max wbps=max riops=max wiops=max",
    "io.weight": "default",
    "io.bfq.weight": "default",
    "rdma.max": "hca_handle=max hca_object=max",
}


class Journal:
    """The old values, in the order of writing. As a context it takes back what was done in it, if that ends by an exception."""

    def __init__(self) -> None:
        self._noted: "list[tuple[str, str]]" = []
        self._undo: "list[Callable[[], None]]" = []

    def __enter__(self) -> "Journal":
        return self

    def __exit__(self, kind: object, error: object, traceback: object) -> None:
        if error:
            self.restore()

    def on_failure(self, undo: "Callable[[], None]") -> None:
        """Call this, before files are written back: whom it tells may write them too. An Error of its is ignored."""
        self._undo.append(undo)

    def note(self, path: str, value: str) -> None:
        """A file is about to be written. One that can't be read is left out."""
        try:
            old = read(path)
        except OSError:
            return
        self._noted.append((path, before(path.rpartition("/")[2], value, old)))

    def restore(self) -> None:
        """Write them back, the last first; what the kernel refuses stays as it is."""
        for undo in reversed(self._undo):
            try:
                undo()
            except Error:
                pass  # The error that led here is told.
        self._undo.clear()
        again: "list[tuple[str, str]]" = []
        for path, value in reversed(self._noted):
            try:
                put(path, value)
            except OSError:
                again.append((path, value))
        # Limits bound each other, so some can only be written after others.
        for path, value in again:
            try:
                put(path, value)
            except OSError:
                pass
        self._noted.clear()


def before(file: str, value: str, old: str) -> str:
    """What undoes a write.

    Arguments:
        file: the control file's name.
        value: what will be written.
        old: what the file says now.
    """
    lines = old.splitlines()
    if file == "memory.oom_control":
        return lines[0].split()[-1]
    if file == "schemata":
        # A line for each kind of resource; those that aren't written stay.
        kind = value.partition(":")[0].strip()
        return "".join(f"{line.strip()}\n" for line in lines if line.partition(":")[0].strip() == kind)
    key, blank, _ = value.partition(" ")
    if blank and (":" in key or file in NO_LIMIT or file == "net_prio.ifpriomap"):
        same = next((line for line in lines if line.split(" ")[0] == key), None)
        return same or f"{key} {NO_LIMIT.get(file, '0')}"
    # An empty write would be none: a new line clears a list.
    return old.rstrip("\n") or "\n"
