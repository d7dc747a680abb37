"""Which of its states a container is in (runtime.md, "State").

It isn't recorded but found out: an init that still listens on the start socket has not been started. So no crash of a
command can leave a wrong answer behind.
"""

from pyoci import SPEC_VERSION
from pyoci.container import conversation
from pyoci.container.identity import is_alive
from pyoci.errors import NO_SUCH_PROCESS, Error, not_running
from pyoci.paths import read_kernel_file

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyoci.container.store import Entry

CREATING, CREATED, RUNNING, STOPPED = "creating", "created", "running", "stopped"
# A state beyond the specification's, as runc and crun show it; the container is created or running.
PAUSED = "paused"


def status(entry: "Entry", *, ours: bool = False) -> str:
    """The container's status.

    Arguments:
        entry: with its state loaded.
        ours: this process holds the lock, so nobody else can be creating it.
    """
    state = entry.state
    if not state.get("pid"):
        return CREATING if not ours and entry.is_locked_elsewhere() else STOPPED
    if not is_alive(state["pid"], state["start_time"]):
        return STOPPED
    return CREATED if is_listening(entry) else RUNNING


class while_alive:
    """Within it, whatever fails since the container's process has ended meanwhile is told as that.

    Arguments:
        entry: a container that is created or running.
        verb: what is being done, for "cannot VERB container".
    """

    def __init__(self, entry: "Entry", verb: str) -> None:
        self.entry = entry
        self.verb = verb

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: object, traceback: object) -> None:
        state = self.entry.state
        if isinstance(error, (Error, OSError)) and not is_alive(state["pid"], state["start_time"]):
            raise not_running(self.verb, self.entry.id, NO_SUCH_PROCESS) from None


def is_listening(entry: "Entry") -> bool:
    """Whether the init waits for `start`."""
    try:
        conversation.connect(entry.start_socket).close()
    except BlockingIOError:
        return True
    except OSError:
        return False
    return True


def is_paused(entry: "Entry") -> bool:
    """Whether the container's cgroup is frozen."""
    file = entry.state.get("freezer")
    if not file:
        return False
    try:
        return read_kernel_file(file).startswith(b"1")
    except OSError:
        return False


def describe(entry: "Entry") -> "dict[str, Any]":
    """The state as `state` and `list` print it: the specification's, and what runc adds."""
    state = entry.state
    now = status(entry)
    alive = now in (CREATED, RUNNING)
    return {
        "ociVersion": SPEC_VERSION,
        "id": entry.id,
        "pid": state["pid"] if alive else 0,
        "status": PAUSED if alive and is_paused(entry) else now,
        "bundle": state.get("bundle", ""),
        "rootfs": state.get("rootfs", ""),
        "created": state.get("created", ""),
        "annotations": state.get("annotations", {}),
        "owner": _user_name(state.get("owner", 0)),
    }


def _user_name(uid: int) -> str:
    # Most containers are root's; others need /etc/passwd.
    if uid == 0:
        return "root"
    try:
        import pwd

        return pwd.getpwuid(uid).pw_name
    except (KeyError, ImportError):
        return str(uid)
