"""What control files said before they were written, so that an update that fails can be taken back."""

from pyoci.cgroups.tree import put, read

# What takes a line of these away again: they have a line for each device that has a limit.
NO_LIMIT = {
    "io.max": "rbps=max wbps=max riops=max wiops=max",
    "io.weight": "default",
    "io.bfq.weight": "default",
    "rdma.max": "hca_handle=max hca_object=max",
}


class Journal:
    """The old values, in the order of writing."""

    def __init__(self) -> None:
        self._noted: "list[tuple[str, str]]" = []

    def note(self, path: str, value: str) -> None:
        """A file is about to be written. One that can't be read is left out."""
        try:
            old = read(path)
        except OSError:
            return
        self._noted.append((path, before(path.rpartition("/")[2], value, old)))

    def restore(self) -> None:
        """Write them back, the last first; what the kernel refuses stays as it is."""
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
    key, blank, _ = value.partition(" ")
    if blank and (":" in key or file in NO_LIMIT or file == "net_prio.ifpriomap"):
        same = next((line for line in lines if line.split(" ")[0] == key), None)
        return same or f"{key} {NO_LIMIT.get(file, '0')}"
    # An empty write would be none: a new line clears a list.
    return old.rstrip("\n") or "\n"
