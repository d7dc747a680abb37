"""The help texts, made from the table of options. Imported only when there is help to print."""

import textwrap

from pyoci.cli.options import COMMANDS, GLOBAL_FLAGS, Command, Flag, usage_line

WIDTH = 96


def overview() -> str:
    """What `pyoci --help` prints."""
    return "\n".join(
        [
            "pyoci runs OCI containers from bundles.",
            "",
            "usage: pyoci [GLOBAL FLAGS] COMMAND [FLAGS] [ARGUMENTS]",
            "",
            "commands:",
            *_columns([(command.name, command.summary) for command in COMMANDS]),
            "",
            "global flags:",
            *_columns([_row(flag) for flag in GLOBAL_FLAGS]),
            "",
            "`pyoci COMMAND --help` says more about a command.",
        ]
    )


def of(command: Command) -> str:
    """What `pyoci COMMAND --help` prints."""
    lines = [f"{command.summary[0].upper()}{command.summary[1:]}.", "", f"usage: {usage_line(command)}"]
    if command.flags:
        lines += ["", "flags:", *_columns([_row(flag) for flag in command.flags])]
    return "\n".join(lines)


def _row(flag: Flag) -> "tuple[str, str]":
    short = f"-{flag.short}, " if flag.short else ""
    value = f" {'|'.join(flag.choices) or flag.value}" if flag.value else ""
    default = f" (default: {flag.default})" if flag.value and flag.default is not None else ""
    return f"{short}--{flag.name}{value}", flag.help + default


def _columns(rows: "list[tuple[str, str]]") -> "list[str]":
    left = max(len(name) for name, _ in rows) + 4
    lines: "list[str]" = []
    for name, text in rows:
        first, *more = textwrap.wrap(text, WIDTH - left)
        lines.append(f"  {name:<{left - 2}}{first}")
        lines += [" " * left + line for line in more]
    return lines
