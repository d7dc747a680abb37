"""The command `exec`: from its flags to a process, and to its end."""

import gc

from pyoci.cli.commands import sender_to
from pyoci.container import exec_process
from pyoci.errors import Error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from pyoci.api import Container
    from pyoci.container.relay import Relay
    from pyoci.container.store import Entry
    from pyoci.trace import Trace

# Flags that say what --process says too.
OF_PROCESS = ("cwd", "env", "user", "additional-gids", "cap", "no-new-privs", "process-label", "apparmor")


def run(
    container: "Container",
    entry: "Entry",
    flags: "dict[str, Any]",
    words: "list[str]",
    trace: "Trace | None" = None,
    *,
    begun: "Callable[[], None] | None" = None,
    warn: "Callable[[str], None]",
) -> int:
    """Run it; the exit status.

    Arguments:
        entry: the container's.
        words: the program and its arguments.
        trace: takes down how long everything takes, or None.
        begun: called when the program runs, before the wait for its end.
        warn: where warnings go.

    Raises Error.
    """
    process = _process(entry, flags, words)
    console, relay = _console(process, flags, warn)

    def start() -> int:
        return container.exec(
            process,
            name=flags["process"] or "exec",
            pid_file=flags["pid-file"],
            console=console,
            pidfd=sender_to(flags["pidfd-socket"], "pidfd"),
            preserve_fds=flags["preserve-fds"],
            cgroups=flags["cgroup"],
            ignore_paused=flags["ignore-paused"],
            trace=trace,
        ).pid

    if flags["detach"]:
        start()
        return 0
    return _foreground(start, relay, begun)


def _process(entry: "Entry", flags: "dict[str, Any]", words: "list[str]") -> "dict[str, Any]":
    if flags["process"] is None:
        if not words:
            raise Error("exec needs a program to run, or --process")
        return exec_process.from_flags(entry, flags, words)
    process = exec_process.from_file(flags["process"])
    both = [name for name in OF_PROCESS if flags[name]]
    if both:
        raise Error(f"exec: --{both[0]} can't be given together with --process, which says that")
    if flags["tty"]:
        process["terminal"] = True
    if words:
        process["args"] = words
    return process


def _console(
    process: "dict[str, Any]", flags: "dict[str, Any]", warn: "Callable[[str], None]"
) -> "tuple[Any, Relay | None]":
    if flags["console-socket"]:
        if not process.get("terminal"):
            raise Error("--console-socket is given, but the process wants no terminal")
        return sender_to(flags["console-socket"]), None
    if not process.get("terminal") or flags["detach"]:
        return None, None
    from pyoci.container.relay import Relay

    relay = Relay(warn)

    def take(terminal: int) -> None:
        # The program begins as soon as this returns, and may ask for the size at once.
        relay.take(terminal)
        relay.begin()

    return take, relay


def _foreground(start: "Callable[[], int]", relay: "Relay | None", begun: "Callable[[], None] | None") -> int:
    from pyoci.container.foreground import Signals, wait, write_out

    gc.enable()
    signals = Signals()
    try:
        pid = start()
        if begun:
            begun()
        status = wait(pid, signals, relay)
        if relay:
            write_out(relay, signals)
        return status
    finally:
        if relay:
            relay.end()
