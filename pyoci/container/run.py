"""`run`: create and start in one, and in the foreground wait for the end."""

import gc

from pyoci import shim
from pyoci.container import store
from pyoci.container.create import create
from pyoci.container.delete import delete
from pyoci.container.foreground import Signals, wait, write_out
from pyoci.container.start import start
from pyoci.errors import Error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from pyoci.container.notify import Proxy
    from pyoci.container.relay import Relay
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
    if detach:
        _launch(request, wait_until_ready=True)
        return 0
    gc.enable()
    signals = Signals()
    relay = _relay(request)
    if subreaper:
        shim.become_subreaper()
    try:
        entry, proxy = _launch(request, relay)
        try:
            if begun:
                begun()
            status = wait(entry.state["pid"], signals, relay, proxy, request.warn)
        except BaseException:
            keep = False
            raise
        finally:
            if not keep:
                clean_up(entry, request.warn)
        if relay:
            write_out(relay, signals)
        return status
    finally:
        if relay:
            relay.end()


def _launch(
    request: "Request", relay: "Relay | None" = None, *, wait_until_ready: bool = False
) -> "tuple[store.Entry, Proxy | None]":
    """Create it and start it; its entry, not locked any more, and what passes its messages on to a service manager."""
    entry = create(request)
    try:
        if relay:
            relay.begin()
        return entry, start(entry, request.warn, wait=wait_until_ready, trace=request.trace)
    except BaseException:
        clean_up(entry, request.warn)
        raise


def _relay(request: "Request") -> "Relay | None":
    process = request.bundle.config.get("process") or {}
    if not process.get("terminal") or request.console:
        return None
    from pyoci.container.relay import Relay

    relay = Relay(request.warn)
    request.console = relay.take
    return relay


def clean_up(entry: "store.Entry", warn: "Callable[[str], None]") -> None:
    """Delete what is left of the container, if somebody else hasn't. What can't be removed is a warning: the program's
    status, or the first error, is what counts."""
    known = entry.state
    try:
        entry.lock()
        entry.load()
        # A `delete` that was cut off may have got so far that only we know the rest.
        entry.state = entry.state or known
        delete(entry, force=True, warn=warn)
    except store.NotFoundError:
        pass
    except Error as error:
        warn(f'container "{entry.id}" is not removed: {error.message}')
