"""The command `pyoci`. It runs isolated (python -I -S): nothing of the caller's environment chooses what is imported."""

import _signal  # type: ignore[import-not-found]  # the signal module imports enum
import posix
import sys


def main(argv: "list[str]") -> int:
    """Run a command line; the exit status.

    Arguments:
        argv: without the program's name.
    """
    _fill_closed_descriptors()
    from pyoci import paths

    # Where it is ignored nobody can wait for a child, wait(2): neither for an init nor for a hook.
    _signal.signal(_signal.SIGCHLD, _signal.SIG_DFL)
    from pyoci.cli import parser
    from pyoci.errors import Error, cause_of, missing_package
    from pyoci.log import Log

    # What we make has its own modes, whatever the caller's umask is.
    paths.callers_umask = posix.umask(0o022)
    invocation = parser.Invocation()
    log = Log()
    try:
        try:
            parser.parse(argv, invocation)
        finally:
            given = invocation.globals
            log = Log(given["log"], given["log-format"], given["log-level"], debug=given["debug"])
        if given["version"] or given["help"] or invocation.command is None:
            return _inform(invocation)
        log.check()
        if log.debugs:
            return _narrated(invocation, log)
        return _run(invocation, log)
    except Error as error:
        log.error(error)
        return error.exit_code
    except ImportError as error:
        log.error(missing_package(error))
        return 1
    except MemoryError:
        log.error(Error("out of memory"))
        return 1
    except KeyboardInterrupt:
        # What was begun is undone by now. A shell looks whether it was this that ended us.
        _signal.signal(_signal.SIGINT, _signal.SIG_DFL)
        posix.kill(posix.getpid(), _signal.SIGINT)
        return 130
    except OSError as error:
        # Whatever has no words of its own yet: still one line with the file and the cause.
        where = f"{error.filename}: " if error.filename else ""
        log.error(Error(f"{where}{cause_of(error)}"))
        return 1
    finally:
        log.release()


def _fill_closed_descriptors() -> None:
    """What a caller left closed of 0, 1 and 2 would become the first file that we open."""
    from pyoci.paths import open_null

    fd = open_null()
    while fd < 3:
        posix.set_inheritable(fd, True)
        fd = open_null()
    posix.close(fd)


def _narrated(invocation: "Invocation", log: "Log") -> int:
    from pyoci.narration import Narration

    narration = Narration(log, _title(invocation))
    status = 1
    try:
        status = _run(invocation, log)
    except Exception as error:
        status = getattr(error, "exit_code", 1)
        raise
    finally:
        narration.end(status)
    return status


def _run(invocation: "Invocation", log: "Log") -> int:
    from pyoci.cli import commands

    if not invocation.globals["trace"]:
        return commands.dispatch(invocation, log)
    from pyoci.trace import Trace

    trace = invocation.trace = Trace(invocation.globals["trace"], _title(invocation))
    try:
        return commands.dispatch(invocation, log)
    finally:
        trace.end(log)


def _title(invocation: "Invocation") -> str:
    assert invocation.command is not None
    return f"{invocation.command.name} {(invocation.arguments or [''])[0] or ''}".strip()


def _inform(invocation: "Invocation") -> int:
    from pyoci.cli import help
    from pyoci.cli.commands import output
    from pyoci.version import describe

    if invocation.globals["version"]:
        output(describe())
    elif invocation.command:
        output(help.of(invocation.command) + "\n")
        return _lacks(invocation.command.needs)
    else:
        output(help.overview() + "\n")
    return 0


def _lacks(program: str) -> int:
    """1 if the host lacks a program that a command needs."""
    if not program:
        return 0
    from pyoci.paths import find_program

    return 0 if find_program(program) else 1


TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyoci.cli.parser import Invocation
    from pyoci.log import Log

if __name__ == "__main__":
    # This file's path may be relative, and nothing of ours can be imported yet.
    sys.path.insert(0, (__file__.rpartition("/")[0] or ".") + "/..")
    status = main(sys.argv[1:])
    posix._exit(status)
