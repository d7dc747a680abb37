"""The commands: one thin function each, called by its name in the table of options. It returns the exit status."""

import posix

from pyoci.container import store
from pyoci.errors import Error
from pyoci.paths import absolute, is_directory

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from pyoci.api import Container
    from pyoci.cli.options import Invocation
    from pyoci.log import Log
    from pyoci.spec.bundle import Bundle


def dispatch(invocation: "Invocation", log: "Log") -> int:
    """Run what the command line asks for; the exit status.

    Raises Error.
    """
    _refuse_what_is_missing(invocation)
    command = invocation.command
    assert command is not None and command.function is not None
    function: "Callable[[Invocation, Log], int]" = globals()[command.function]
    return function(invocation, log)


def _refuse_what_is_missing(invocation: "Invocation") -> None:
    """Global flags that this version can't do: refused, never ignored."""
    given = invocation.globals
    manager = "systemd" if given["systemd-cgroup"] else given["cgroup-manager"]
    if manager == "cgroupfs":
        return
    from pyoci.cgroups import MANAGERS

    if manager not in MANAGERS:
        raise Error(
            f'the cgroup manager "{manager}" is not supported yet by this version of pyoci',
            hint="without --systemd-cgroup and --cgroup-manager pyoci makes the cgroups itself (cgroupfs)",
        )


def create_command(invocation: "Invocation", log: "Log") -> int:
    """pyoci create"""
    from pyoci.api import Container

    Container.create(
        _id(invocation), _bundle(invocation), _root(invocation), warn=log.warn, **_options(invocation)
    )
    return 0


def run_command(invocation: "Invocation", log: "Log") -> int:
    """pyoci run"""
    from pyoci.container.create import Request
    from pyoci.container.run import run

    flags = invocation.flags
    request = Request(
        _root(invocation), _id(invocation), _bundle(invocation), log.warn, **_options(invocation)
    )
    return run(request, detach=flags["detach"], keep=flags["keep"])


def start_command(invocation: "Invocation", log: "Log") -> int:
    """pyoci start"""
    _container(invocation, log).start(trace=invocation.trace)
    return 0


def state_command(invocation: "Invocation", log: "Log") -> int:
    """pyoci state"""
    from pyoci.jsontext import pretty

    output(pretty(_container(invocation, log).state()) + "\n")
    return 0


def kill_command(invocation: "Invocation", log: "Log") -> int:
    """pyoci kill"""
    signal = invocation.arguments[1] or "TERM"
    _container(invocation, log).kill(signal, everything=invocation.flags["all"])
    return 0


def delete_command(invocation: "Invocation", log: "Log") -> int:
    """pyoci delete"""
    _container(invocation, log).delete(force=invocation.flags["force"])
    return 0


def exec_command(invocation: "Invocation", log: "Log") -> int:
    """pyoci exec"""
    from pyoci.cli.exec import run

    words = [word for word in invocation.arguments[1:] if word is not None]
    try:
        return run(_container(invocation, log), _find(invocation), invocation.flags, words, invocation.trace)
    except Error as error:
        # So that an engine can tell it from the program's own status, as with runc.
        error.exit_code = 255
        raise


def pause_command(invocation: "Invocation", log: "Log") -> int:
    """pyoci pause"""
    _container(invocation, log).pause()
    return 0


def resume_command(invocation: "Invocation", log: "Log") -> int:
    """pyoci resume"""
    _container(invocation, log).resume()
    return 0


def ps_command(invocation: "Invocation", log: "Log") -> int:
    """pyoci ps"""
    from pyoci.container import processes

    options = [word for word in invocation.arguments[1:] if word is not None]
    output(processes.show(_find(invocation), invocation.flags["format"], options))
    return 0


def events_command(invocation: "Invocation", log: "Log") -> int:
    """pyoci events"""
    from pyoci.container import events

    interval = events.parse_interval(invocation.flags["interval"])
    entry = _find(invocation)
    if invocation.flags["stats"]:
        output(events.stats_line(entry))
    else:
        events.watch(entry, interval, output)
    return 0


def update_command(invocation: "Invocation", log: "Log") -> int:
    """pyoci update"""
    from pyoci.container import update

    file = invocation.flags["resources"]
    resources = update.from_flags(invocation.flags)
    if file and resources:
        raise Error("update: --resources can't be given together with other limits")
    schemas = update.schemas_from_flags(invocation.flags)
    _container(invocation, log).update(update.from_file(file) if file else resources, schemas)
    return 0


def list_command(invocation: "Invocation", log: "Log") -> int:
    """pyoci list"""
    from pyoci.container import listing

    root = _root(invocation)
    if invocation.globals["root"] and not is_directory(root):
        raise Error(f"the root {root} does not exist")
    output(listing.show(root, invocation.flags["format"], quiet=invocation.flags["quiet"]))
    return 0


def spec_command(invocation: "Invocation", log: "Log") -> int:
    """pyoci spec"""
    from pyoci.spec.default import write_default

    write_default(invocation.flags["bundle"], rootless=invocation.flags["rootless"])
    return 0


def check_command(invocation: "Invocation", log: "Log") -> int:
    """pyoci check"""
    _bundle_argument(invocation)
    return 0


def plan_command(invocation: "Invocation", log: "Log") -> int:
    """pyoci plan"""
    from pyoci.api import compile_plan
    from pyoci.plan import show

    plan = compile_plan(_bundle_argument(invocation), warn=log.warn)
    output(show.as_json(plan) if invocation.flags["json"] else show.as_text(plan))
    return 0


def trace_command(invocation: "Invocation", log: "Log") -> int:
    """pyoci trace"""
    from pyoci.cli import timeline

    output(timeline.show(_id(invocation)))
    return 0


def features_command(invocation: "Invocation", log: "Log") -> int:
    """pyoci features"""
    from pyoci.features import features
    from pyoci.jsontext import pretty

    output(pretty(features()) + "\n")
    return 0


def help_command(invocation: "Invocation", log: "Log") -> int:
    """pyoci help"""
    from pyoci.cli import help, options

    name = invocation.arguments[0]
    output((help.of(options.find(name)) if name else help.overview()) + "\n")
    return 0


def output(text: str) -> None:
    """Write to standard output, all of it.

    Raises Error if that isn't possible (a full disk, a closed pipe).
    """
    data = text.encode("utf-8", "surrogateescape")
    try:
        while data:
            data = data[posix.write(1, data) :]
    except OSError as error:
        raise Error(f"can't write to standard output: {error.strerror}") from None


def _root(invocation: "Invocation") -> str:
    root: "str | None" = invocation.globals["root"]
    return absolute(root) if root else store.default_root()


def _id(invocation: "Invocation") -> str:
    container_id = invocation.arguments[0]
    assert container_id is not None
    return container_id


def _container(invocation: "Invocation", log: "Log") -> "Container":
    from pyoci.api import Container

    return Container(_id(invocation), _root(invocation), warn=log.warn)


def _find(invocation: "Invocation") -> store.Entry:
    return store.find(_root(invocation), _id(invocation))


def _bundle(invocation: "Invocation") -> "Bundle":
    from pyoci.spec.bundle import load

    return load(invocation.flags["bundle"])


def _bundle_argument(invocation: "Invocation") -> "Bundle":
    from pyoci.spec.bundle import load

    return load(invocation.arguments[0] or ".")


def _options(invocation: "Invocation") -> "dict[str, Any]":
    """What `create` and `run` ask for beside the bundle; `Request` has their meaning."""
    flags = invocation.flags
    descriptors, environment = 0, list[str]()
    if b"LISTEN_FDS" in posix.environ:
        from pyoci.container.activation import inherited

        descriptors, environment = inherited()
    console = None
    if flags["console-socket"]:
        from pyoci.container.console import sender

        console = sender(flags["console-socket"])
    return {
        "pid_file": flags["pid-file"],
        "console": console,
        "no_pivot": flags["no-pivot"],
        "preserve_fds": descriptors + flags["preserve-fds"],
        "environment": environment,
        "notify": bool(posix.environ.get(b"NOTIFY_SOCKET")),
        "new_keyring": not flags["no-new-keyring"],
        "rootless": {"true": True, "false": False}.get(invocation.globals["rootless"]),
        "trace": invocation.trace,
    }
