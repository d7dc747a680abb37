"""Completions for shells, made from the table of options: `python -m pyoci.cli.completions DIRECTORY` writes them."""

import sys
from pathlib import Path

from pyoci.cli.options import COMMANDS, GLOBAL_FLAGS, HELP, Command, Flag

# What a value is, by what the help calls it; of anything else nobody knows the words.
DIRECTORIES = ("DIR", "BUNDLE")
FILES = ("FILE", "SOCKET")
# Their ID is a new one.
CREATORS = ("create", "run")


def scripts() -> "dict[str, str]":
    """Each shell's completions, by the name that the shell looks for."""
    return {"pyoci.bash": bash(), "_pyoci": zsh(), "pyoci.fish": fish()}


def words(flags: "tuple[Flag, ...]") -> "list[str]":
    """A flag's spellings, the ones that people use."""
    return [spelling for flag in flags for spelling in (f"--{flag.name}", *_short(flag))]


def _short(flag: Flag) -> "list[str]":
    return [f"-{flag.short}"] if flag.short else []


def _flags(command: Command) -> "tuple[Flag, ...]":
    return (*command.flags, HELP)


def _kind(metavar: str) -> str:
    """What completes it: "containers", "directories", "files", "commands", or "" for nothing."""
    name = metavar.strip("[].")
    if name in DIRECTORIES:
        return "directories"
    return {"ID": "containers", "COMMAND": "commands"}.get(name, "files" if name in FILES else "")


def _place(command: Command, name: str) -> str:
    """The kind of a positional."""
    kind = _kind(name)
    return "" if kind == "containers" and command.name in CREATORS else kind


# bash(1)

BASH = """\
# bash completions for pyoci. Made from pyoci/cli/options.py by pyoci/cli/completions.py: do not edit.

_pyoci() {
    local cur=${COMP_WORDS[COMP_CWORD]} before= command= place=0 i word
    local -a root=()
    COMPREPLY=()
    for ((i = 1; i < COMP_CWORD; i++)); do
        word=${COMP_WORDS[i]}
        before=
        case $command:$word in
        @VALUED@)
            # "--flag=value" is three words here.
            [[ ${COMP_WORDS[i + 1]} == "=" ]] && ((i++))
            before=$word
            ((i++))
            [[ $command:$word == :--root && $i -lt $COMP_CWORD ]] && root=(--root "${COMP_WORDS[i]}")
            [[ $i -lt $COMP_CWORD ]] && before= ;;
        :-*) ;;
        :*) command=$word ;;
        *:-*) ;;
        *) ((place++)) ;;
        esac
    done
    [[ $cur == "=" ]] && cur=
    if [[ $before ]]; then
        case $command:$before in
@VALUES@
        esac
        return
    fi
    if [[ $cur == -* ]]; then
        case $command in
@FLAGS@
        esac
        return
    fi
    case $command:$place in
    :*) COMPREPLY=($(compgen -W "@COMMANDS@" -- "$cur")) ;;
@PLACES@
    esac
}

complete -o default -F _pyoci pyoci
"""
BASH_KINDS = {
    "files": 'compgen -f -- "$cur"',
    "directories": 'compgen -d -- "$cur"',
    "commands": 'compgen -W "{commands}" -- "$cur"',
    "containers": 'compgen -W "$("${COMP_WORDS[0]}" "${root[@]}" list --quiet 2>/dev/null)" -- "$cur"',
}


def bash() -> str:
    """For bash-completion's directory of completions, or to be sourced."""
    owners = [("", GLOBAL_FLAGS), *((command.name, _flags(command)) for command in COMMANDS)]
    commands = " ".join(command.name for command in COMMANDS)
    valued: "list[str]" = []
    values: "list[str]" = []
    for owner, flags in owners:
        for flag in (flag for flag in flags if flag.metavar):
            patterns = "|".join(f"{owner}:{word}" for word in words((flag,)))
            valued.append(patterns)
            reply = _bash_reply(flag.choices, _kind(flag.metavar or ""), commands)
            values += [f"        {patterns}) {reply} ;;"] if reply else []
    places = [
        f"    {command.name}:{i}{'*' if '...' in name else ''}) {reply} ;;"
        for command in COMMANDS
        for i, name in enumerate(command.positionals)
        if (reply := _bash_reply((), _place(command, name), commands))
    ]
    listed = [
        f'        {owner or chr(34) * 2}) COMPREPLY=($(compgen -W "{" ".join(words(flags))}" -- "$cur")) ;;'
        for owner, flags in owners
    ]
    text = BASH.replace("@VALUED@", "|".join(valued)).replace("@VALUES@", "\n".join(values))
    text = text.replace("@FLAGS@", "\n".join(listed)).replace("@COMMANDS@", commands)
    return text.replace("@PLACES@", "\n".join(places))


def _bash_reply(choices: "tuple[str, ...]", kind: str, commands: str) -> str:
    if choices:
        return f'COMPREPLY=($(compgen -W "{" ".join(choices)}" -- "$cur"))'
    if not kind:
        return ""
    listing = BASH_KINDS[kind].replace("{commands}", commands)
    return f"COMPREPLY=($({listing}))"


# zsh: zshcompsys(1)

ZSH = """\
#compdef pyoci
# zsh completions for pyoci. Made from pyoci/cli/options.py by pyoci/cli/completions.py: do not edit.

_pyoci_containers() {
    local -a containers
    containers=(${(f)"$(_call_program containers pyoci $root list --quiet 2>/dev/null)"})
    compadd -a containers
}

_pyoci_commands() {
    local -a commands
    commands=(
@COMMANDS@
    )
    _describe command commands
}

_pyoci() {
    local curcontext=$curcontext state line
    typeset -A opt_args
    _arguments -C -S \\
@GLOBALS@
        '1:command:_pyoci_commands' \\
        '*::argument:->arguments'
    [[ $state == arguments ]] || return
    local -a root
    (( ${+opt_args[--root]} )) && root=(--root ${(Q)opt_args[--root]})
    case $words[1] in
@CASES@
    esac
}

_pyoci "$@"
"""
ZSH_KINDS = {
    "files": "_files",
    "directories": "_files -/",
    "commands": "_pyoci_commands",
    "containers": "_pyoci_containers",
}


def zsh() -> str:
    """For a directory of $fpath."""
    rows = [f"        {_quoted(f'{command.name}:{command.summary}')}" for command in COMMANDS]
    cases: "list[str]" = []
    for command in COMMANDS:
        arguments = [_zsh_flag(flag) for flag in _flags(command)]
        for name in command.positionals:
            again, optional = (
                "*" if "..." in name else "",
                ":" if name[0] == "[" and "..." not in name else "",
            )
            # A new id: nothing to offer. A message (" ") would keep a flag from being completed in its place.
            shown = _zsh_text(name.strip("[].").lower())
            arguments.append(
                _quoted(f"{again}:{optional}{shown}:{ZSH_KINDS.get(_place(command, name), 'false')}")
            )
        cases.append(
            f"    {command.name})\n        _arguments " + " \\\n            ".join(arguments) + " ;;"
        )
    text = ZSH.replace("@COMMANDS@", "\n".join(rows))
    text = text.replace("@GLOBALS@", "\n".join(f"        {_zsh_flag(flag)} \\" for flag in GLOBAL_FLAGS))
    return text.replace("@CASES@", "\n".join(cases))


def _zsh_flag(flag: Flag) -> str:
    spellings = words((flag,))
    value = ""
    if flag.metavar:
        action = f"({' '.join(flag.choices)})" if flag.choices else ZSH_KINDS.get(_kind(flag.metavar), " ")
        value = f":{_zsh_text(flag.metavar)}:{action}"
    exclusive = "*" if flag.kind == "list" else f"({' '.join(spellings)})"
    names = spellings[0] if len(spellings) == 1 else "'{" + ",".join(spellings) + "}'"
    return f"'{exclusive}{names}[{_inner(_zsh_text(flag.help))}]{_inner(value)}'"


def _zsh_text(text: str) -> str:
    for char in "\\[]:":
        text = text.replace(char, f"\\{char}")
    return text


def _inner(text: str) -> str:
    return text.replace("'", "'\\''")


def _quoted(text: str) -> str:
    """A word in single quotes, for sh's kin."""
    return "'" + _inner(text) + "'"


# fish: complete(1)

FISH = """\
# fish completions for pyoci. Made from pyoci/cli/options.py by pyoci/cli/completions.py: do not edit.

function __pyoci_containers
    set -l words (commandline -opc)
    set -l root
    if set -l i (contains -i -- --root $words)
        set root --root $words[(math $i + 1)]
    end
    pyoci $root list --quiet 2>/dev/null
end

complete -c pyoci -f
"""
FISH_KINDS = {
    "files": "-F",
    "directories": "-a '(__fish_complete_directories)'",
    "containers": "-a '(__pyoci_containers)'",
}


def fish() -> str:
    """For a directory of $fish_complete_path."""
    names = " ".join(command.name for command in COMMANDS)
    none = f"not __fish_seen_subcommand_from {names}"
    lines = [_fish_flag(none, flag) for flag in GLOBAL_FLAGS]
    for command in COMMANDS:
        seen = f"__fish_seen_subcommand_from {command.name}"
        lines.append(f"complete -c pyoci -n '{none}' -a {command.name} -d {_fish_text(command.summary)}")
        lines += [_fish_flag(seen, flag) for flag in _flags(command)]
        for name in command.positionals[:1]:
            place = _place(command, name)
            kind = f"-a '{names}'" if place == "commands" else FISH_KINDS.get(place, "")
            lines += [f"complete -c pyoci -n '{seen}' {kind}"] if kind else []
    return FISH + "\n".join(lines) + "\n"


def _fish_flag(condition: str, flag: Flag) -> str:
    short = f" -s {flag.short}" if flag.short else ""
    value = ""
    if flag.metavar:
        known = f"-a '{' '.join(flag.choices)}'" if flag.choices else FISH_KINDS.get(_kind(flag.metavar), "")
        value = f" -x {known}".rstrip() if known != "-F" else " -r -F"
    return f"complete -c pyoci -n '{condition}' -l {flag.name}{short}{value} -d {_fish_text(flag.help)}"


def _fish_text(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def main() -> None:
    """Write the scripts into the directory that the command line names."""
    directory = Path(sys.argv[1])
    directory.mkdir(parents=True, exist_ok=True)
    for name, text in scripts().items():
        (directory / name).write_text(text)


if __name__ == "__main__":
    main()
