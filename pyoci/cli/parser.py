"""Takes a command line apart, by the table of options.py.

No argparse: importing it costs more than a whole `state`. Flags are read as Go's flag package and urfave/cli
read them, since that is what engines were written for: one dash or two, `--flag value` or `--flag=value`.
"""

from pyoci.cli.options import (
    BOOLEAN,
    CHOICE,
    COMMANDS,
    GLOBAL_FLAGS,
    HELP,
    LARGEST_NUMBER,
    LIST,
    NUMBER,
    TEXT,
    Command,
    Flag,
    usage_line,
)
from pyoci.errors import NEEDS_ARGUMENT, Error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyoci.trace import Trace


class Invocation:
    """A command line, taken apart.

    Attributes:
        globals: the global flags by name.
        command: None if only help or the version was asked for.
        flags: the command's flags by name.
        arguments: the positionals, as many as the command names; None for one left out.
        trace: takes down how long everything takes (--trace), or None.
    """

    def __init__(self) -> None:
        self.globals = _defaults(GLOBAL_FLAGS)
        self.command: Command | None = None
        self.flags: "dict[str, Any]" = {}
        self.arguments: "list[str | None]" = []
        self.trace: "Trace | None" = None


def parse(
    argv: "list[str]", result: Invocation | None = None, commands: "tuple[Command, ...]" = COMMANDS
) -> Invocation:
    """Take a command line apart.

    Arguments:
        argv: without the program's name.
        result: what to fill. What was read before a mistake stays in it, so that the mistake can go to --log.
        commands: the table.

    Raises Error that says what is wrong, with the nearest name as a hint.
    """
    result = result or Invocation()
    given, i = result.globals, 0
    while i < len(argv) and _is_flag(argv[i]):
        i = _read_flag(argv, i, GLOBAL_FLAGS, given, None, commands)
        if given["help"] or given["version"]:
            return result
    i += argv[i : i + 1] == ["--"]
    if i == len(argv):
        return result
    result.command = command = find(argv[i], commands)
    result.flags = _defaults(command.flags)
    positionals = _read_command(argv, i + 1, command, result, commands)
    if command.function is None:
        # Even its help: podman asks by `checkpoint --help` whether it is there.
        raise Error(f"{command.name} is not supported yet by this version of pyoci")
    if given["help"]:
        return result
    result.arguments = _check_positionals(command, positionals)
    return result


def find(name: str, commands: "tuple[Command, ...]" = COMMANDS) -> Command:
    """The command of that name. Raises Error with the nearest as a hint."""
    for command in commands:
        if command.name == name:
            return command
    near = _nearest(name, [command.name for command in commands])
    hint = f"did you mean {near}?" if near else "`pyoci help` lists the commands"
    raise Error(f"unknown command {_quoted(name)}", hint=hint)


def _defaults(flags: "tuple[Flag, ...]") -> "dict[str, Any]":
    return {flag.name: flag.default for flag in flags}


def _read_command(
    argv: "list[str]", i: int, command: Command, result: Invocation, commands: "tuple[Command, ...]"
) -> "list[str]":
    """Read what follows a command's name: fills the flags, returns the positionals."""
    flags = (*command.flags, HELP)
    values: "dict[str, Any]" = result.flags
    positionals: "list[str]" = []
    while i < len(argv):
        word = argv[i]
        if word == "--":
            return positionals + argv[i + 1 :]
        if _is_dashed(word, command.positionals[len(positionals) :], command.dashed):
            positionals.append(word[1:])
        elif _is_flag(word):
            i = _read_flag(argv, i, flags, values, command, commands)
            if values.pop("help", False):
                result.globals["help"] = True
                break
            continue
        elif command.stops:
            return positionals + argv[i:]
        else:
            positionals.append(word)
        i += 1
    return positionals


def _is_flag(word: str) -> bool:
    # "-" alone is a name for standard input.
    return word[:1] == "-" and word not in ("-", "--")


def _is_dashed(word: str, awaited: "tuple[str, ...]", dashed: str) -> bool:
    """Whether it is `-9` or `-KILL` where a signal is awaited. Flags are in small letters."""
    if not dashed or awaited[:1] != (dashed,) or word[:1] != "-":
        return False
    return word[1:].isdecimal() or word[1:2].isupper()


def _read_flag(
    argv: "list[str]",
    i: int,
    flags: "tuple[Flag, ...]",
    values: "dict[str, Any]",
    command: Command | None,
    commands: "tuple[Command, ...]",
) -> int:
    """Read the flag at argv[i] and its value into `values`; the index of the word that follows."""
    typed, equals, text = argv[i].partition("=")
    flag = _find_flag(typed, flags)
    if flag is None:
        raise _unknown_flag(typed, flags, command, commands)
    i += 1
    if not equals and flag.kind is not BOOLEAN:
        if i == len(argv):
            raise Error(f"{NEEDS_ARGUMENT}: --{flag.name} {flag.metavar}")
        text = argv[i]
        i += 1
    value = _VALUES[flag.kind](flag, text if equals or flag.kind is not BOOLEAN else "true")
    values[flag.name] = (*values[flag.name], value) if flag.kind is LIST else value
    return i


def _find_flag(typed: str, flags: "tuple[Flag, ...]") -> Flag | None:
    name = typed[2:] if typed[:2] == "--" else typed[1:]
    for flag in flags:
        if name == flag.name or (name and name == flag.short):
            return flag
    return None


def _unknown_flag(
    typed: str, flags: "tuple[Flag, ...]", command: Command | None, commands: "tuple[Command, ...]"
) -> Error:
    near = _nearest(typed.lstrip("-"), [flag.name for flag in flags])
    if command:
        message = f"unknown flag of {command.name}: {_quoted(typed)}"
        hint = f"usage: {usage_line(command)}"
        if _find_flag(typed, GLOBAL_FLAGS):
            return Error(message, hint=f"it is a global flag, which goes before {command.name}")
    else:
        message = f"unknown flag: {_quoted(typed)}"
        hint = "`pyoci help` lists the flags"
        owners = [owner.name for owner in commands if owner.function and _find_flag(typed, owner.flags)]
        if owners:
            return Error(
                message, hint=f"it is a flag of {', '.join(owners)}, and goes after the command's name"
            )
    return Error(message, hint=f"did you mean --{near}?" if near else hint)


def _nearest(name: str, names: "list[str]") -> str | None:
    import difflib

    near = difflib.get_close_matches(name, names, 1)
    return near[0] if near else None


def _quoted(text: str) -> str:
    import _json

    quoted: str = _json.encode_basestring(text)
    return quoted


def _boolean(flag: Flag, text: str) -> bool:
    # strconv.ParseBool's words, which Go's flags take.
    if text in ("1", "t", "T", "true", "TRUE", "True"):
        return True
    if text in ("0", "f", "F", "false", "FALSE", "False"):
        return False
    raise Error(f"--{flag.name} is either true or false, not {_quoted(text)}")


def _text(flag: Flag, text: str) -> str:
    return text


def _number(flag: Flag, text: str) -> int:
    # No leading zero: Go reads 010 as 8, Python as 10.
    plain = text.isascii() and text.isdigit() and len(text) <= 10 and (text[0] != "0" or text == "0")
    if not plain or int(text) > LARGEST_NUMBER:
        raise Error(f"--{flag.name} takes a number from 0 to {LARGEST_NUMBER}, not {_quoted(text)}")
    return int(text)


def _choice(flag: Flag, text: str) -> str:
    if text not in flag.choices:
        raise Error(f"--{flag.name} is one of {', '.join(flag.choices)}, not {_quoted(text)}")
    return text


_VALUES: "dict[str, Any]" = {BOOLEAN: _boolean, TEXT: _text, NUMBER: _number, CHOICE: _choice, LIST: _text}


def _check_positionals(command: Command, given: "list[str]") -> "list[str | None]":
    names = command.positionals
    needed = [name for name in names if name[0] != "["]
    usage = f"usage: {usage_line(command)}"
    if len(given) < len(needed):
        raise Error(f"{command.name} needs an argument: {needed[len(given)]}", hint=usage)
    endless = bool(names) and "..." in names[-1]
    if len(given) > len(names) and not endless:
        raise Error(f"{command.name}: unexpected argument {_quoted(given[len(names)])}", hint=usage)
    # Of "[ARGUMENT...]" none is no None.
    return [*given, *([None] * (len(names) - endless - len(given)))]
