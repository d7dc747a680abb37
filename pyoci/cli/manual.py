"""The manual pages, made from the table of options: `python -m pyoci.cli.manual DIRECTORY` writes them (make man),
`--list` in its place names them.

roff(7) by the macros of man(7), which every man(1) has.
"""

import sys
from pathlib import Path

from pyoci import SPEC_VERSION, __version__
from pyoci.cli.options import COMMANDS, GLOBAL_FLAGS, HELP, LIST, Command, Flag

DESCRIPTION = (
    f"starts containers on Linux from bundles, as the OCI runtime specification {SPEC_VERSION} describes them: "
    "directories with a config.json and a root filesystem. It is called by engines such as containerd and "
    "Podman, and by people."
)
FILES = (
    ("/run/pyoci", "the states of root's containers, a directory each; --root names another place"),
    ("$XDG_RUNTIME_DIR/pyoci", "those of other users' containers"),
)


def pages() -> "dict[str, str]":
    """Each page's text by its file's name."""
    found = {"pyoci.1": overview()}
    for command in COMMANDS:
        found[f"pyoci-{command.name}.1"] = of(command)
    return found


def overview() -> str:
    """pyoci(1)."""
    rows = [(f"pyoci-{command.name}(1)", f"{command.summary}.") for command in COMMANDS]
    return _page(
        "pyoci",
        "run OCI containers",
        ["[GLOBAL FLAGS]", "COMMAND", "[FLAGS]", "[ARGUMENTS]"],
        ("DESCRIPTION", ".B pyoci\n" + _text(DESCRIPTION)),
        ("COMMANDS", _list(rows)),
        ("GLOBAL FLAGS", "They go before the command.\n" + _flags(GLOBAL_FLAGS)),
        ("EXIT STATUS", _exit_status()),
        ("FILES", _list(FILES)),
        ("SEE ALSO", _see([f"pyoci-{command.name}" for command in COMMANDS])),
    )


def of(command: Command) -> str:
    """pyoci-COMMAND(1)."""
    words = [command.name, *(["[FLAGS]"] if command.flags else []), *command.positionals]
    sentence = f"{command.summary[0].upper()}{command.summary[1:]}."
    notes = ["\nFlags end at the first argument: what follows is the program's."] if command.stops else []
    return _page(
        f"pyoci-{command.name}",
        command.summary,
        words,
        ("DESCRIPTION", _text(sentence) + "".join(notes)),
        ("FLAGS", _flags((*command.flags, HELP))),
        ("SEE ALSO", _see(["pyoci"])),
    )


def _page(name: str, summary: str, words: "list[str]", *sections: "tuple[str, str]") -> str:
    lines = [
        '.\\" Made from pyoci/cli/options.py by pyoci/cli/manual.py: do not edit.',
        f'.TH {_text(name.upper())} 1 "" "pyoci {__version__}" "User Commands"',
        ".SH NAME",
        f"{_text(name)} \\- {_text(summary)}",
        ".SH SYNOPSIS",
        ".B pyoci",
        _text(" ".join(words)),
    ]
    for title, body in sections:
        lines += [f".SH {title}", body]
    return "\n".join(lines) + "\n"


def _flags(flags: "tuple[Flag, ...]") -> str:
    return _list([(spelling(flag), meaning(flag)) for flag in flags])


def spelling(flag: Flag) -> str:
    """How a flag is written, its short form first."""
    short = f"-{flag.short}, " if flag.short else ""
    return f"{short}--{flag.name}" + (f" {flag.metavar}" if flag.metavar else "")


def meaning(flag: Flag) -> str:
    """What it does and takes, in sentences."""
    text = f"{flag.help[0].upper()}{flag.help[1:]}."
    if flag.choices:
        text += f" One of {', '.join(flag.choices)}."
    if flag.kind is LIST:
        text += " May be given several times."
    if flag.metavar and flag.default not in (None, ()):
        text += f" Default: {flag.default}."
    return text


def _list(rows: "list[tuple[str, str]] | tuple[tuple[str, str], ...]") -> str:
    return "\n".join(f".TP\n.B {_text(name)}\n{_text(text)}" for name, text in rows)


def _exit_status() -> str:
    # Of a foreground program only: `--detach` returns at once.
    return (
        "0 if it did what it was asked for, 1 if not.\n"
        ".B pyoci run\nand\n.B pyoci exec\n"
        "end with the program's own status, or with 128 and the number of the signal that ended it;\n"
        ".B pyoci exec\nends with 255 if the program could not be run."
    )


def _see(names: "list[str]") -> str:
    return "\n".join(f".BR {_text(name)} (1)" + "," * (name != names[-1]) for name in names)


def _text(text: str) -> str:
    """Text as roff takes it for text: hyphens that can be copied, no escapes, no requests."""
    plain = text.replace("\\", "\\e").replace("-", "\\-").replace("'", "\\(aq")
    return f"\\&{plain}" if plain[:1] == "." else plain


def main() -> None:
    """Write the pages into the directory that the command line names, or list their names."""
    if sys.argv[1] == "--list":
        print(*pages(), sep="\n")
        return
    directory = Path(sys.argv[1])
    directory.mkdir(parents=True, exist_ok=True)
    for name, text in pages().items():
        (directory / name).write_text(text)


if __name__ == "__main__":
    main()
