"""`--debug`: a line for each stage of a command, when it begins; and for some, what came of it.

Imported only for that.
"""

import builtins
import posix
import sys

from pyoci import __version__
from pyoci.errors import Error
from pyoci.stages import Wrapping

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from pyoci.log import Log

# What an init says, by the names of container/conversation.py.
WORDS = ("ASK", "READY", "FAILED", "CONSOLE", "STARTING", "BORN", "LISTENER", "FETCH")


def _message(message: "Any") -> str:
    from pyoci.container import conversation

    if message is None:
        return "nothing more"
    kinds = {getattr(conversation, name): name.lower() for name in WORDS}
    value = f" {message.value}" if message.value and message.kind != conversation.READY else ""
    return f"{kinds.get(message.kind, message.kind)}{value}"


# Stage -> what it is about, from the function's arguments.
ABOUT: "dict[str, Callable[..., object]]" = {
    "reserve the id": lambda root, container_id, *_: f"{root}/{container_id}",
    "find the container": lambda root, container_id, *_: f"{root}/{container_id}",
    "hook": lambda hook, *_: hook["path"],
    "make cgroups": lambda groups, *_: groups.path,
    "remove cgroups": lambda groups, *_: groups.path,
    "freeze or thaw": lambda groups, frozen, *_: "freeze" if frozen else "thaw",
    "send the signal": lambda entry, pid, signal, **_: f"{signal} to process {pid}",
    "end it": lambda entry, *_: f"process {entry.state['pid']}",
    "wait for the program's end": lambda pid, *_: f"process {pid}",
    "criu": lambda words, *_: " ".join(words),
}
# Stage -> what came of it, from the function's result.
RESULTS: "dict[str, Callable[[Any], object]]" = {
    "look at its status": lambda status: status,
    "start pyoci-init": lambda result: f"process {result[0]}",
    "wait": _message,
    "wait for the program's end": lambda status: f"status {status}",
}
# What is told by its result alone is called so.
RENAMED = {"wait": "pyoci-init says"}


class Narration:
    """Tells the log what one command does.

    Arguments:
        log: where the lines go.
        title: the command, and the container's id.
    """

    def __init__(self, log: "Log", title: str) -> None:
        self._log = log
        log.debug(f"pyoci {__version__}, process {posix.getpid()}: {title}")
        self._wrapping = Wrapping(self._told)
        self._ordinary_import = builtins.__import__
        builtins.__import__ = self._import

    def end(self, status: int) -> None:
        """The command ends with this status."""
        builtins.__import__ = self._ordinary_import
        self._log.debug(f"status {status}")

    def _import(self, *arguments: "Any", **named: "Any") -> "Any":
        before = len(sys.modules)
        try:
            return self._ordinary_import(*arguments, **named)
        finally:
            if len(sys.modules) != before:
                self._wrapping.go_on()

    def _told(self, function: "Callable[..., Any]", label: str) -> "Callable[..., Any]":
        name = RENAMED.get(label, label)

        def told(*arguments: "Any", **named: "Any") -> "Any":
            if label in ABOUT:
                self._log.debug(f"{name}: {ABOUT[label](*arguments, **named)}")
            elif label not in RESULTS:
                self._log.debug(name)
            try:
                result = function(*arguments, **named)
            except BaseException as error:
                self._log.debug(f"{name}: {error.message if isinstance(error, Error) else repr(error)}")
                raise
            if label in RESULTS:
                self._log.debug(f"{name}: {RESULTS[label](result)}")
            return result

        return told
