"""The help texts, made from the table of options. Imported only when there is help to print."""

import textwrap

from pyoci.cli.options import COMMANDS, GLOBAL_FLAGS, HELP, LIST, Command, Flag, usage_line

WIDTH = 96


def overview() -> str:
    """What `pyoci --help` prints, without the last line's end."""
    return "\n".join(
        [
            "pyoci runs OCI containers from bundles.",
            "",
            "usage: pyoci [GLOBAL FLAGS] COMMAND [FLAGS] [ARGUMENTS]",
            "",
            "commands:",
            *_columns([_command_row(command) for command in COMMANDS]),
            "",
            "global flags:",
            *_columns([_row(flag) for flag in GLOBAL_FLAGS]),
            "",
            "`pyoci COMMAND --help` says more about a command.",
        ]
    )


def of(command: Command) -> str:
    """What `pyoci COMMAND --help` prints, without the last line's end."""
    _, summary = _command_row(command)
    return "\n".join(
        [
            *textwrap.wrap(f"{summary[0].upper()}{summary[1:]}.", WIDTH),
            "",
            f"usage: {usage_line(command)}",
            "",
            "flags:",
            *_columns([_row(flag) for flag in (*command.flags, HELP)]),
        ]
    )


def _command_row(command: Command) -> "tuple[str, str]":
    return command.name, command.summary + ("" if command.function else " (not supported yet)")


def _row(flag: Flag) -> "tuple[str, str]":
    short = f"-{flag.short}, " if flag.short else "    "
    value = f" {flag.metavar}" if flag.metavar else ""
    choices = f": {', '.join(flag.choices)}" if flag.choices else ""
    again = "; may be given several times" if flag.kind is LIST else ""
    default = f" (default: {flag.default})" if flag.metavar and flag.default not in (None, ()) else ""
    return f"{short}--{flag.name}{value}", flag.help + choices + again + default


def _columns(rows: "list[tuple[str, str]]") -> "list[str]":
    left = max(len(name) for name, _ in rows) + 4
    lines: "list[str]" = []
    for name, text in rows:
        first, *more = textwrap.wrap(text, WIDTH - left, break_on_hyphens=False)
        lines.append(f"  {name:<{left - 2}}{first}")
        lines += [" " * left + line for line in more]
    return lines
