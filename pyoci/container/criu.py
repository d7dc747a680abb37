"""The program criu(8): which of its options ours mean, and what it says when it fails."""

import posix
import subprocess
import sys

from pyoci.annotations import CRIU_CONFIG
from pyoci.errors import Error, cause_of
from pyoci.paths import absolute, find_program, open_null

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

DUMP, RESTORE = "checkpoint", "restore"
# Our flag, criu's, and which command has it. A flag with a value passes it on.
OPTIONS = (
    ("leave-running", "--leave-running", (DUMP,)),
    ("tcp-established", "--tcp-established", (DUMP, RESTORE)),
    ("tcp-skip-in-flight", "--skip-in-flight", (DUMP,)),
    ("tcp-close", "--tcp-close", (RESTORE,)),
    ("link-remap", "--link-remap", (DUMP,)),
    ("ext-unix-sk", "--ext-unix-sk", (DUMP, RESTORE)),
    ("shell-job", "--shell-job", (DUMP, RESTORE)),
    ("file-locks", "--file-locks", (DUMP, RESTORE)),
    ("auto-dedup", "--auto-dedup", (DUMP, RESTORE)),
    ("lazy-pages", "--lazy-pages", (DUMP, RESTORE)),
    ("status-fd", "--status-fd", (DUMP,)),
    ("network-lock", "--network-lock", (DUMP, RESTORE)),
    ("lsm-profile", "--lsm-profile", (RESTORE,)),
    ("lsm-mount-context", "--lsm-mount-context", (RESTORE,)),
)
# What older versions of criu have no option for.
DEFAULTS = {"network-lock": "iptables"}
# --empty-ns's only value that criu takes, and what engines call it.
EMPTY_NAMESPACES = {"network": "net", "net": "net"}
# Becomes criu when it is told to.
GATE = "import posix, sys\nif posix.read(0, 1): posix.execv(sys.argv[1], sys.argv[1:])"
CONFIGS = ("/etc/criu/pyoci.conf", "/etc/criu/runc.conf")


def find() -> str:
    """The program's path. Raises Error if it isn't installed."""
    path = find_program("criu")
    if path is None:
        raise Error(
            "criu isn't installed, which checkpoint and restore need", hint="the package is called criu"
        )
    return path


def options(command: str, flags: "dict[str, Any]", annotations: "dict[str, str]") -> "list[str]":
    """What both commands tell criu.

    Arguments:
        command: DUMP or RESTORE.
        flags: the command line's.
        annotations: the container's.

    Raises Error for a value that isn't one.
    """
    words = [f"--manage-cgroups={flags['manage-cgroups-mode']}"]
    for flag, theirs, commands in OPTIONS:
        value = flags.get(flag)
        if value and value != DEFAULTS.get(flag) and command in commands:
            words += [theirs] if value is True else [theirs, str(value)]
    for name in flags["empty-ns"]:
        if name not in EMPTY_NAMESPACES:
            raise Error(f'--empty-ns: criu leaves only the network namespace empty, not "{name}"')
        words += ["--empty-ns", EMPTY_NAMESPACES[name]]
    if flags.get("page-server"):
        address, colon, port = flags["page-server"].rpartition(":")
        if not colon or not (port.isascii() and port.isdigit()):
            raise Error(f'--page-server: "{flags["page-server"]}" is not ADDRESS:PORT')
        words += ["--page-server", "--address", address, "--port", port]
    config = annotations.get(CRIU_CONFIG) or next(
        (each for each in CONFIGS if posix.access(each, posix.R_OK)), None
    )
    return [*words, "--config", config] if config else words


def run(
    words: "list[str]",
    work: str,
    log: str,
    descriptors: "tuple[int, ...]" = (),
    admit: "Callable[[int], None] | None" = None,
) -> None:
    """Run it and wait.

    Arguments:
        words: its command and options.
        work: its working directory, where the log is.
        log: the log's name.
        descriptors: those that it inherits.
        admit: called with its pid before it does anything: what it makes is born where it is.

    Raises Error with the first of its own errors, and what `admit` raises.
    """
    command = [find(), *words, "--work-dir", work, "--log-file", log, "-v4"]
    null = open_null()
    try:
        process = subprocess.Popen(
            [sys.executable, "-ISc", GATE, *command],
            stdin=subprocess.PIPE,
            stdout=null,
            stderr=subprocess.PIPE,
            pass_fds=descriptors,
            cwd=work,
        )
    finally:
        posix.close(null)
    with process:
        try:
            if admit:
                admit(process.pid)
        except BaseException:
            process.kill()
            raise
        errors = process.communicate(b"\n")[1]
    if process.returncode != 0:
        said = (
            _errors(f"{work}/{log}")
            or errors.decode("utf-8", "surrogateescape").strip()
            or f"exit status {process.returncode}"
        )
        raise Error(f"criu {words[0]} failed: {said}", hint=f"its log is {work}/{log}")


def _errors(log: str) -> str:
    """The first error in its log: what follows is mostly a consequence."""
    try:
        with open(log, errors="replace") as lines:
            return next((line.partition("Error ")[2].strip() for line in lines if "Error (" in line), "")
    except OSError:
        return ""


def directory(path: str, *, make: bool) -> str:
    """An images or work directory, absolute. Raises Error."""
    path = absolute(path)
    try:
        if make:
            posix.mkdir(path, 0o700)
    except FileExistsError:
        pass
    except OSError as error:
        raise Error(f"{path}: {cause_of(error)}") from None
    if not posix.access(path, posix.W_OK if make else posix.R_OK):
        raise Error(f"{path}: not there, or not accessible")
    return path
