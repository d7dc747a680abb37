"""The command line as data: one table of every command and flag.

The parser here, the help texts (help.py) and the tests derive from it; a new flag is a new row. No argparse: importing it
costs more than a whole `state`. Flags are read as Go's flag package and urfave/cli read them, since that is what engines
were written for: one dash or two, `--flag value` or `--flag=value`.
"""

from pyoci.errors import Error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class Flag:
    """A flag.

    Arguments:
        name: without dashes; `short` is its one-letter form.
        value: what the help calls its value; None for a flag that is on or off.
        default: what it is without being given.
        choices: the only values that it takes.
        number: its value is a number from 0 up.
    """

    __slots__ = ("choices", "default", "help", "name", "number", "short", "value")

    def __init__(
        self,
        name: str,
        help: str,
        value: str | None = None,
        *,
        short: str = "",
        default: "Any" = None,
        choices: "tuple[str, ...]" = (),
        number: bool = False,
    ) -> None:
        self.name = name
        self.short = short
        self.value = value
        self.help = help
        self.choices = choices
        self.number = number
        self.default = False if value is None else default


class Command:
    """A command: its flags, and the function in commands.py that is called like it.

    Arguments:
        positionals: "ID", or "[BUNDLE]" for one that may be left out.
    """

    __slots__ = ("flags", "name", "positionals", "summary")

    def __init__(self, name: str, summary: str, positionals: str, *flags: Flag) -> None:
        self.name = name
        self.summary = summary
        self.positionals = tuple(positionals.split())
        self.flags = flags


GLOBAL_FLAGS = (
    Flag("root", "where the states of containers are kept (default: /run/pyoci)", "DIR"),
    Flag("log", "append messages to this file", "FILE"),
    Flag("log-format", "the form of the messages in the log", "FORMAT", default="text", choices=("text", "json")),
    Flag("debug", "log more"),
    Flag("systemd-cgroup", "let systemd make the cgroups (not supported yet)"),
    Flag("help", "show this help", short="h"),
    Flag("version", "show the version", short="v"),
)
_BUNDLE = Flag("bundle", "the bundle's directory", "DIR", short="b", default=".")
_CREATION = (
    _BUNDLE,
    Flag("console-socket", "a unix socket that the terminal's other end is sent to", "SOCKET"),
    Flag("pid-file", "write the container's pid to this file", "FILE"),
    Flag("no-pivot", "leave the host's root without pivot_root(2), for a root on an initramfs"),
    Flag("preserve-fds", "pass this many descriptors from 3 up to the program", "N", default=0, number=True),
)
COMMANDS = (
    Command("create", "create a container from a bundle; `start` runs its program", "ID", *_CREATION),
    Command("start", "run the program of a created container", "ID"),
    Command(
        "run",
        "create and start a container, and wait for its end",
        "ID",
        *_CREATION,
        Flag("detach", "don't wait", short="d"),
        Flag("keep", "don't delete the container when it has ended"),
    ),
    Command("state", "print a container's state as JSON", "ID"),
    Command(
        "kill",
        "send a signal (default: TERM) to a container's process",
        "ID [SIGNAL]",
        Flag("all", "to all of its processes", short="a"),
    ),
    Command(
        "delete",
        "delete a stopped container",
        "ID",
        Flag("force", "end it first, and clean up whatever is left of it", short="f"),
    ),
    Command(
        "list",
        "list the containers",
        "",
        Flag("format", "how to print them", "FORMAT", short="f", default="table", choices=("table", "json")),
        Flag("quiet", "print the ids only", short="q"),
    ),
    Command("spec", "write a config.json to start from", "", _BUNDLE, Flag("rootless", "for a user without privileges")),
    Command("check", "say everything that is wrong with a bundle's config.json", "[BUNDLE]"),
    Command(
        "plan",
        "print the steps that would make the container, and make nothing",
        "[BUNDLE]",
        Flag("json", "as JSON"),
    ),
    Command("help", "show help for a command", "[COMMAND]"),
)


class Invocation:
    """A command line, taken apart.

    Attributes:
        options: the global flags by name.
        command: None if only help or the version was asked for.
        flags: the command's flags by name.
        arguments: the positionals, as many as the command takes; None for one left out.
    """

    def __init__(self) -> None:
        self.options: "dict[str, Any]" = {flag.name: flag.default for flag in GLOBAL_FLAGS}
        self.command: Command | None = None
        self.flags: "dict[str, Any]" = {}
        self.arguments: "list[str | None]" = []


def parse(argv: "list[str]") -> Invocation:
    """Take a command line apart.

    Arguments:
        argv: without the program's name.

    Raises Error that says what is wrong, with the nearest name as a hint.
    """
    result = Invocation()
    rest = _parse_flags(argv, GLOBAL_FLAGS, result.options, None)
    if result.options["help"] or result.options["version"] or not rest:
        return result
    command = find(rest[0])
    result.command = command
    result.flags = {flag.name: flag.default for flag in command.flags}
    positionals: "list[str]" = []
    rest = rest[1:]
    while rest:
        # Flags may come after the id, too.
        rest = _parse_flags(rest, command.flags, result.flags, command, result.options)
        if rest and rest[0] == "--":
            positionals += rest[1:]
            break
        positionals += rest[:1]
        rest = rest[1:]
        if command.name == "kill" and len(positionals) == 1 and rest and _is_signal(rest[0]):
            positionals.append(rest.pop(0)[1:])
    if not result.options["help"]:
        result.arguments = _check_positionals(command, positionals)
    return result


def find(name: str) -> Command:
    """The command of that name. Raises Error with the nearest as a hint."""
    for command in COMMANDS:
        if command.name == name:
            return command
    raise Error(f'unknown command "{name}"', hint=_nearest(name, [command.name for command in COMMANDS]))


def _is_signal(word: str) -> bool:
    """`kill ID -9`: not a flag."""
    return len(word) > 1 and word[0] == "-" and (word[1:].isdigit() or word[1:].isupper())


def _parse_flags(
    argv: "list[str]",
    flags: "tuple[Flag, ...]",
    values: "dict[str, Any]",
    command: "Command | None",
    options: "dict[str, Any] | None" = None,
) -> "list[str]":
    """Read the flags at the beginning; returns the rest, which starts with a positional or "--"."""
    i = 0
    while i < len(argv):
        word = argv[i]
        if word == "--" or word == "-" or not word.startswith("-"):
            break
        name, equals, text = word.lstrip("-").partition("=")
        if options is not None and name in ("help", "h"):
            options["help"] = True
            i += 1
            continue
        flag = _find_flag(name, flags, command)
        if flag.value is None:
            values[flag.name] = _boolean(flag, text) if equals else True
        else:
            if not equals:
                i += 1
                if i >= len(argv):
                    raise Error(f"flag needs an argument: --{flag.name} {flag.value}")
                text = argv[i]
            values[flag.name] = _value(flag, text)
        i += 1
    return argv[i:]


def _find_flag(name: str, flags: "tuple[Flag, ...]", command: "Command | None") -> Flag:
    for flag in flags:
        if name and name in (flag.name, flag.short):
            return flag
    of = f" of {command.name}" if command else ""
    hint = _nearest(name, [flag.name for flag in flags])
    if hint is None and command is None:
        hint = "flags of a command come after the command's name"
    raise Error(f'unknown flag{of}: "--{name}"', hint=hint)


def _nearest(name: str, names: "list[str]") -> str | None:
    import difflib

    near = difflib.get_close_matches(name, names, 1)
    return f'did you mean "{near[0]}"?' if near else None


def _boolean(flag: Flag, text: str) -> bool:
    # strconv.ParseBool's words, which Go's flags take.
    if text in ("1", "t", "T", "true", "TRUE", "True"):
        return True
    if text in ("0", "f", "F", "false", "FALSE", "False"):
        return False
    raise Error(f'--{flag.name} is either true or false, not "{text}"')


def _value(flag: Flag, text: str) -> "Any":
    if flag.choices and text not in flag.choices:
        raise Error(f'--{flag.name} is one of {", ".join(flag.choices)}, not "{text}"')
    if flag.number:
        if not (text.isascii() and text.isdigit() and len(text) < 10):
            raise Error(f'--{flag.name} takes a number from 0 up, not "{text}"')
        return int(text)
    return text


def _check_positionals(command: Command, given: "list[str]") -> "list[str | None]":
    needed = [name for name in command.positionals if name[0] != "["]
    usage = f"usage: {usage_line(command)}"
    if len(given) < len(needed):
        raise Error(f"{command.name} needs an argument: {needed[len(given)]}", hint=usage)
    if len(given) > len(command.positionals):
        raise Error(f'{command.name}: unexpected argument "{given[len(command.positionals)]}"', hint=usage)
    return [*given, *([None] * (len(command.positionals) - len(given)))]


def usage_line(command: Command) -> str:
    """How the command is written."""
    return " ".join(["pyoci", command.name, *(["[FLAGS]"] if command.flags else []), *command.positionals])
