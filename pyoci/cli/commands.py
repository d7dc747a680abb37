"""The commands: one thin function each, called by its name in the table of options. It returns the exit status."""

import posix

from pyoci.container import store
from pyoci.errors import ConfigError, Error, cause_of
from pyoci.paths import absolute, is_directory

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from pyoci.api import Container
    from pyoci.cli.parser import Invocation
    from pyoci.log import Log
    from pyoci.spec.bundle import Bundle


def dispatch(invocation: "Invocation", log: "Log") -> int:
    """Run what the command line asks for; the exit status.

    Raises Error.
    """
    command = invocation.command
    assert command is not None and command.function is not None
    function: "Callable[[Invocation, Log], int]" = globals()[command.function]
    try:
        return function(invocation, log)
    except ConfigError as error:
        if command.name != "check":
            error.shorten()
        raise


def _manager(invocation: "Invocation") -> str:
    given = invocation.globals
    manager: str = "systemd" if given["systemd-cgroup"] else given["cgroup-manager"]
    return manager


def create_command(invocation: "Invocation", log: "Log") -> int:
    """pyoci create"""
    from pyoci.api import Container

    bundle = _bundle(invocation, log)
    Container.create(
        _id(invocation), bundle, _root(invocation), warn=log.warn, **_options(invocation, bundle)
    )
    return 0


def run_command(invocation: "Invocation", log: "Log") -> int:
    """pyoci run"""
    from pyoci.container.request import Request
    from pyoci.container.run import run

    flags, bundle = invocation.flags, _bundle(invocation, log)
    request = Request(_root(invocation), _id(invocation), bundle, log.warn, **_options(invocation, bundle))
    subreaper = not flags["no-subreaper"]
    return run(request, detach=flags["detach"], keep=flags["keep"], subreaper=subreaper, begun=log.release)


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
    from pyoci.container.kill import parse_signal

    signal = parse_signal(invocation.arguments[1] or "TERM")
    everything = invocation.flags["all"]
    return _for_each(invocation, log, lambda container: container.kill(signal, everything=everything))


def delete_command(invocation: "Invocation", log: "Log") -> int:
    """pyoci delete"""
    force = invocation.flags["force"]
    return _for_each(invocation, log, lambda container: container.delete(force=force))


def _for_each(invocation: "Invocation", log: "Log", act: "Callable[[Container], None]") -> int:
    """Do it with the container; with --regex with every one whose id the expression finds: what fails doesn't keep it from
    the others."""
    if not invocation.flags["regex"]:
        act(_container(invocation, log))
        return 0
    import re

    from pyoci.api import Container

    try:
        pattern = re.compile(_id(invocation))
    except re.error as error:
        raise Error(f'--regex: "{_id(invocation)}" is not a regular expression: {error}') from None
    failures = 0
    for container_id in store.list_ids(_root(invocation)):
        if pattern.search(container_id):
            try:
                act(Container(container_id, _root(invocation), warn=log.warn))
            except Error as error:
                log.error(error)
                failures = 1
    return failures


def exec_command(invocation: "Invocation", log: "Log") -> int:
    """pyoci exec"""
    from pyoci.cli.exec import run

    words = [word for word in invocation.arguments[1:] if word is not None]
    try:
        container, entry = _container(invocation, log), _find(invocation)
        return run(
            container, entry, invocation.flags, words, invocation.trace, begun=log.release, warn=log.warn
        )
    except Error as error:
        # So that an engine can tell it from the program's own status, as with runc.
        error.exit_code = 255
        raise


def mounts_command(invocation: "Invocation", log: "Log") -> int:
    """pyoci mounts"""
    from pyoci.container import mounting

    action, container_id, file = invocation.arguments
    assert container_id is not None and file is not None
    actions = {"add": mounting.add, "remove": mounting.remove}
    if action not in actions:
        raise Error(f'mounts: "{action}" is neither add nor remove')
    entries = mounting.from_file(file)
    entry = store.find(_root(invocation), container_id)
    entry.lock()
    entry.load()
    actions[action](entry, entries, log.warn)
    return 0


def checkpoint_command(invocation: "Invocation", log: "Log") -> int:
    """pyoci checkpoint"""
    from pyoci.container.checkpoint import checkpoint

    checkpoint(_locked(invocation), invocation.flags)
    return 0


def restore_command(invocation: "Invocation", log: "Log") -> int:
    """pyoci restore"""
    from pyoci.container.request import Request, located
    from pyoci.container.restore import run
    from pyoci.spec.bundle import load

    flags = invocation.flags
    if flags["console-socket"]:
        raise Error(
            "restore: a container with a terminal can't be checkpointed, so --console-socket has no meaning"
        )
    bundle = load(flags["bundle"], warn=log.warn)
    request = Request(
        _root(invocation),
        _id(invocation),
        bundle,
        log.warn,
        pid_file=flags["pid-file"],
        notify=bool(posix.environ.get(b"NOTIFY_SOCKET")),
        rootless={"true": True, "false": False}.get(invocation.globals["rootless"]),
        manager=_manager(invocation),
    )
    with located(bundle):
        return run(request, flags, log.warn, begun=log.release)


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
    output(listing.show(root, invocation.flags["format"], quiet=invocation.flags["quiet"], warn=log.warn))
    return 0


def spec_command(invocation: "Invocation", log: "Log") -> int:
    """pyoci spec"""
    from pyoci.spec.default import write_default

    write_default(invocation.flags["bundle"], rootless=invocation.flags["rootless"])
    return 0


def check_command(invocation: "Invocation", log: "Log") -> int:
    """pyoci check"""
    from pyoci.spec.bundle import load

    load(invocation.arguments[0] or ".", warn=log.warn)
    return 0


def plan_command(invocation: "Invocation", log: "Log") -> int:
    """pyoci plan"""
    from pyoci.api import compile_plan
    from pyoci.plan import show
    from pyoci.spec.bundle import load

    bundle = load(invocation.arguments[0] or ".", warn=log.warn)
    plan = compile_plan(bundle, warn=log.warn, manager=_manager(invocation))
    output(show.as_json(plan) if invocation.flags["json"] else show.as_text(plan))
    return 0


def trace_command(invocation: "Invocation", log: "Log") -> int:
    """pyoci trace"""
    from pyoci.cli import timeline

    output(timeline.show(_id(invocation)))
    return 0


def doctor_command(invocation: "Invocation", log: "Log") -> int:
    """pyoci doctor"""
    from pyoci.doctor import report

    found = report.findings()
    output(report.as_json(found) if invocation.flags["format"] == "json" else report.as_text(found))
    return report.status(found)


def setup_command(invocation: "Invocation", log: "Log") -> int:
    """pyoci setup"""
    import sys

    from pyoci.engines import known, setup

    flags, engine = invocation.flags, known.find(_id(invocation))
    file = flags["file"] or engine.file
    systemd = _manager(invocation) == "systemd"
    wanted = known.Wanted(absolute(sys.argv[0]), default=flags["default"], systemd=systemd)
    if flags["write"]:
        output("".join(f"{line}\n" for line in setup.write(engine, wanted, file)))
    else:
        output(setup.fragment(engine, wanted, file))
    return 0


def features_command(invocation: "Invocation", log: "Log") -> int:
    """pyoci features"""
    from pyoci.features import features
    from pyoci.jsontext import pretty

    output(pretty(features()) + "\n")
    return 0


def help_command(invocation: "Invocation", log: "Log") -> int:
    """pyoci help"""
    from pyoci.cli import help, parser

    name = invocation.arguments[0]
    output((help.of(parser.find(name)) if name else help.overview()) + "\n")
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
        raise Error(f"can't write to standard output: {cause_of(error)}") from None


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


def _locked(invocation: "Invocation") -> store.Entry:
    entry = _find(invocation)
    entry.lock()
    entry.load()
    return entry


def sender_to(path: "str | None", what: str = "terminal") -> "Callable[[int], None] | None":
    """What hands a descriptor to whoever listens at a unix socket; None without a path."""
    if not path:
        return None
    from pyoci.container.console import sender

    return sender(path, what=what, closes=what == "terminal")


def _bundle(invocation: "Invocation", log: "Log") -> "Bundle":
    from pyoci.spec.bundle import load

    return load(invocation.flags["bundle"], invocation.flags["config"], warn=log.warn)


def _options(invocation: "Invocation", bundle: "Bundle") -> "dict[str, Any]":
    """What `create` and `run` ask for beside the bundle; `Request` has their meaning."""
    from pyoci.annotations import PIDFD_RECEIVER

    flags = invocation.flags
    descriptors, environment = 0, list[str]()
    if b"LISTEN_FDS" in posix.environ:
        from pyoci.container.activation import inherited

        descriptors, environment = inherited()
    annotations = bundle.config.get("annotations") or {}
    console = sender_to(flags["console-socket"])
    if console and not (bundle.config.get("process") or {}).get("terminal"):
        raise Error("--console-socket is given, but process.terminal is not true")
    return {
        "pid_file": flags["pid-file"],
        "console": console,
        "pidfd": sender_to(flags["pidfd-socket"] or annotations.get(PIDFD_RECEIVER), "pidfd"),
        "no_pivot": flags["no-pivot"],
        "preserve_fds": descriptors + flags["preserve-fds"],
        "environment": environment,
        "notify": bool(posix.environ.get(b"NOTIFY_SOCKET")),
        "new_keyring": not flags["no-new-keyring"],
        "manager": _manager(invocation),
        "rootless": {"true": True, "false": False}.get(invocation.globals["rootless"]),
        "trace": invocation.trace,
    }
