"""The listener of a filter with SCMP_ACT_NOTIFY goes to its agent (config-linux.md, "The Container Process State").

Imported only for such containers.
"""

import posix
import stat

from pyoci import SPEC_VERSION, jsontext, sockets
from pyoci.container.hooks import state_object
from pyoci.errors import ConfigError, Problem, cause_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyoci.container.store import Entry
    from pyoci.plan.seccomp import Filter

POINTER = "/linux/seccomp/listenerPath"
# The name under which the agent finds the descriptor in `fds`.
DESCRIPTOR_NAME = "seccompFd"


def record(made: "Filter") -> "dict[str, str | None]":
    """What `start` must know of the agent. Raises ConfigError if there is no agent."""
    path = made.listener_path or ""
    try:
        if not stat.S_ISSOCK(posix.stat(path).st_mode):
            raise _problem(path, "not a unix socket")
    except OSError as error:
        raise _problem(path, cause_of(error).lower()) from None
    return {"path": path, "metadata": made.listener_metadata}


def hand_over(entry: "Entry", descriptor: int, pid: int) -> None:
    """Send the listener, with the process's state, over a connection of its own; and close it here.

    Arguments:
        pid: the process whose filter it is: the container's first, or one of `exec`.

    Raises ConfigError if the agent can't be reached.
    """
    agent = entry.state["listener"]
    try:
        sockets.deliver(agent["path"], jsontext.dump(process_state(entry, pid)).encode(), descriptor)
    except OSError as error:
        raise _problem(agent["path"], cause_of(error).lower()) from None
    finally:
        posix.close(descriptor)


def process_state(entry: "Entry", pid: int) -> "dict[str, Any]":
    """The container process state of a process."""
    found: "dict[str, Any]" = {
        "ociVersion": SPEC_VERSION,
        "fds": [DESCRIPTOR_NAME],
        "pid": pid,
        "state": state_object(entry, "running", entry.state["pid"]),
    }
    if entry.state["listener"]["metadata"]:
        found["metadata"] = entry.state["listener"]["metadata"]
    return found


def _problem(path: str, why: str) -> ConfigError:
    return ConfigError([Problem(POINTER, f"the seccomp agent's \"{path}\" can't be reached: {why}")])
