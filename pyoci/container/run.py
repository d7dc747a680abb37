"""`run`: create and start in one, and in the foreground wait for the end."""

import gc

from pyoci import shim
from pyoci.container import store
from pyoci.container.create import create
from pyoci.container.delete import delete
from pyoci.container.foreground import catch_signals, wait
from pyoci.container.identity import is_alive
from pyoci.container.start import start
from pyoci.paths import is_directory

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from pyoci.container.console import Relay
    from pyoci.container.request import Request


def run(
    request: "Request",
    *,
    detach: bool,
    keep: bool,
    subreaper: bool = True,
    begun: "Callable[[], None] | None" = None,
) -> int:
    """Run the container.

    Arguments:
        detach: return when it runs.
        keep: leave the ended container to `delete`.
        subreaper: in the foreground, reap what the container leaves behind (without a pid namespace of its own).
        begun: called when the program runs, before the wait for its end.

    Returns:
        The exit status: the program's, or 128 and the number of the signal that ended it.

    Raises Error, with nothing left behind.
    """
    gc.enable()
    relay = _relay(request, detach)
    if subreaper and not detach:
        shim.become_subreaper()
    wakeup = None if detach else catch_signals()
    entry = create(request)
    try:
        entry.load()
        if relay:
            relay.begin()
        proxy = start(entry, request.warn, wait=detach, trace=request.trace)
        if detach:
            return 0
        if begun:
            begun()
        assert wakeup is not None
        return wait(entry.state["pid"], wakeup, relay, proxy, request.warn)
    except BaseException:
        keep = False
        raise
    finally:
        if relay:
            relay.end()
        if not detach or (keep is False and not _is_running(entry)):
            _clean_up(entry, request, keep)


def _relay(request: "Request", detach: bool) -> "Relay | None":
    process = request.bundle.config.get("process") or {}
    if not process.get("terminal") or detach or request.console:
        return None
    from pyoci.container.console import Relay

    relay = Relay()
    request.console = relay.take
    return relay


def _is_running(entry: "store.Entry") -> bool:
    return bool(entry.state.get("pid")) and is_alive(entry.state["pid"], entry.state["start_time"])


def _clean_up(entry: "store.Entry", request: "Request", keep: bool) -> None:
    if keep or not is_directory(entry.path):
        return
    delete(entry, force=True, warn=request.warn)
