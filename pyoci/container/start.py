"""`start`: the created container's program runs (runtime.md, "Start")."""

import posix

from pyoci.container import conversation
from pyoci.container.delete import delete
from pyoci.container.status import CREATED, status
from pyoci.container.store import NotFoundError
from pyoci.errors import ConfigError, Error, Problem, cause_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from pyoci.container.notify import Proxy
    from pyoci.container.store import Entry
    from pyoci.trace import Trace


# The steps after "go" but the hooks, by their origin.
STEPS = {
    "/process/args": "execute",
    "/process/apparmorProfile": "set-label",
    "/process/selinuxLabel": "set-label",
    "/process/capabilities": "set-capabilities",
    "/linux/seccomp": "load-seccomp",
}


class HookError(ConfigError):
    """A startContainer hook failed."""


def start(
    entry: "Entry", warn: "Callable[[str], None]", *, wait: bool = True, trace: "Trace | None" = None
) -> "Proxy | None":
    """Start it.

    Arguments:
        entry: locked; not any more when the program runs, so that nobody has to wait for what is waited for then.
        warn: where warnings go.
        wait: if the program tells a service manager when it is ready (NOTIFY_SOCKET), wait for that.
        trace: takes down how long everything takes, or None.

    Returns what passes the program's messages on to the manager, to be polled; None if there is none.

    Raises Error: it isn't created, has no process, its program can't be executed, or a hook failed; in the last two cases
    the container has ended.
    """
    now = status(entry, ours=True)
    if now != CREATED:
        raise Error(f'cannot start container "{entry.id}": it is {now}, not created')
    if not entry.state["process"]:
        raise Error(f'cannot start container "{entry.id}": its config.json has no process')
    proxy = _proxy(entry)
    try:
        _let_go(entry, trace)
    except HookError:
        # runtime.md, "Lifecycle", step 7: after a hook's failure the container is destroyed.
        delete(entry, force=True, warn=warn)
        raise
    entry.unlock()
    if entry.state["hooks"].get("poststart"):
        _run_poststart(entry, warn)
    if proxy and wait:
        proxy.wait_until_ready()
    return proxy


def _proxy(entry: "Entry") -> "Proxy | None":
    if not entry.state.get("notify") or not posix.environ.get(b"NOTIFY_SOCKET"):
        return None
    from pyoci.container.notify import Proxy

    return Proxy(entry)


def _let_go(entry: "Entry", trace: "Trace | None") -> None:
    """Say "go", and listen until the program has taken the init's place: its end of the connection closes by that."""
    try:
        connection = conversation.connect(entry.start_socket)
    except OSError as error:
        raise Error(f'cannot start container "{entry.id}": {cause_of(error)}') from None
    try:
        conversation.go_ahead(connection, trace.memory() if trace else None)
        message = conversation.receive(connection)
        if message is None:
            raise Error(f'cannot start container "{entry.id}": its init ended')
        message = conversation.receive(connection)
        if message is not None and message.kind == conversation.LISTENER:
            from pyoci.container import listener

            # If that fails the init ends, as nobody lets it go on.
            try:
                listener.hand_over(entry, message.descriptor, entry.state["pid"])
            except ConfigError as error:
                raise ConfigError([_located(entry, each) for each in error.problems]) from None
            conversation.go_ahead(connection)
            message = conversation.receive(connection)
    finally:
        connection.close()
    if message is not None:
        raise _failed(entry, message)
    if _has_ended(entry):
        from pyoci.container import failure

        failure.raise_if_never_ran(entry)


def _has_ended(entry: "Entry") -> bool:
    """Whether the process is over. The connection of one that is killed closes as that of one that executes a program does,
    but not before its memory is gone, and with that what it executes."""
    try:
        posix.readlink(f"/proc/{entry.state['pid']}/exe")
    except (FileNotFoundError, ProcessLookupError):
        return True
    except OSError:  # not ours to see: alive
        pass
    return False


def _failed(entry: "Entry", message: "conversation.Message") -> Error:
    from pyoci.container import failure

    step = "run-hook" if message.origin.startswith("/hooks/") else STEPS.get(message.origin, "start")
    problem = _located(entry, failure.problem(message, step))
    kind = HookError if step == "run-hook" else ConfigError
    return kind([problem], hint=failure.hint(message, step))


def _located(entry: "Entry", problem: Problem) -> Problem:
    """The problem with its line, if the bundle is still there."""
    from pyoci.spec.positions import locate

    try:
        with open(f"{entry.state['bundle']}/config.json", "rb") as config:
            problem.line = locate(config.read(), problem.pointer)[0]
    except (OSError, Error):
        pass
    return problem


def _run_poststart(entry: "Entry", warn: "Callable[[str], None]") -> None:
    """Since 1.3 a poststart hook that fails ends the container (config.md, "Poststart")."""
    from pyoci import shim
    from pyoci.container.hooks import state_text

    for i, hook in enumerate(entry.state["hooks"]["poststart"]):
        try:
            shim.run_hook(hook, state_text(entry, "running", entry.state["pid"]), entry.state["bundle"])
        except Error as error:
            _destroy(entry, warn)
            raise Error(f"config.json: /hooks/poststart/{i}: {error.message}") from None


def _destroy(entry: "Entry", warn: "Callable[[str], None]") -> None:
    """Delete it, if nobody else has meanwhile."""
    try:
        entry.lock()
        entry.load()
        delete(entry, force=True, warn=warn)
    except NotFoundError:
        pass
