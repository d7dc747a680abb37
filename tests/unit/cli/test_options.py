"""The command line: what engines and people write is read as they mean it, and a mistake is explained."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyoci.cli import commands, parser
from pyoci.cli.options import (
    BOOLEAN,
    COMMANDS,
    GLOBAL_FLAGS,
    HELP,
    LARGEST_NUMBER,
    LIST,
    NUMBER,
    TEXT,
    Command,
    Flag,
)
from pyoci.cli.parser import parse
from pyoci.errors import Error

REPOSITORY = Path(__file__).resolve().parents[3]
EXEC = parser.find("exec")
TABLE = tuple(command for command in COMMANDS if command.function)


def read_line(line: str) -> parser.Invocation:
    return parse(line.split())


def refusal(*argv: str, table: tuple[Command, ...] = COMMANDS) -> Error:
    with pytest.raises(Error) as caught:
        parse(list(argv), commands=table)
    assert caught.value.exit_code == 1
    return caught.value


# Every flag in every spelling.


def in_every_spelling(flag: Flag) -> Iterator[tuple[list[str], Any]]:
    """Words, and the value that they give the flag."""
    for name in (f"--{flag.name}", f"-{flag.name}", *([f"-{flag.short}"] if flag.short else [])):
        if flag.kind == BOOLEAN:
            yield [name], True
            for word in ("true", "TRUE", "True", "t", "T", "1"):
                yield [f"{name}={word}"], True
            for word in ("false", "FALSE", "False", "f", "F", "0"):
                yield [f"{name}={word}"], False
            continue
        texts = flag.choices or (
            ("0", "7", "2147483647") if flag.kind == NUMBER else ("", "-x", "a=b", "\udcff")
        )
        for text in texts:
            value: Any = int(text) if flag.kind == NUMBER else (text,) if flag.kind == LIST else text
            yield [name, text], value
            yield [f"{name}={text}"], value


GLOBAL_SPELLINGS = [(flag, *way) for flag in GLOBAL_FLAGS for way in in_every_spelling(flag)]
COMMAND_SPELLINGS = [
    (command, flag, *way) for command in TABLE for flag in command.flags for way in in_every_spelling(flag)
]


@pytest.mark.parametrize(("flag", "words", "value"), GLOBAL_SPELLINGS, ids=str)
def test_every_global_flag_is_reachable_in_every_spelling(flag: Flag, words: list[str], value: Any) -> None:
    read = parse([*words, "state", "x"])
    assert read.globals == {other.name: other.default for other in GLOBAL_FLAGS} | {flag.name: value}
    shown = value is True and flag.name in ("help", "version")
    assert read.arguments == ([] if shown else ["x"])


@pytest.mark.parametrize(("command", "flag", "words", "value"), COMMAND_SPELLINGS, ids=str)
def test_every_flag_of_a_command_is_reachable_in_every_spelling(
    command: Command, flag: Flag, words: list[str], value: Any
) -> None:
    needed = [name for name in command.positionals if name[0] != "["]
    orders = [[*words, *needed]] if command.stops else [[*words, *needed], [*needed, *words]]
    for order in orders:
        read = parse([command.name, *order], commands=TABLE)
        assert read.command is command
        assert read.flags == {other.name: other.default for other in command.flags} | {flag.name: value}
        assert read.arguments[: len(needed)] == needed


@st.composite
def some_flags(draw: st.DrawFn, flags: tuple[Flag, ...]) -> tuple[list[list[str]], dict[str, Any]]:
    """Flags in any spelling, some of them more than once: the words of each, and what all of them mean."""
    flags = tuple(flag for flag in flags if flag.name not in ("help", "version"))
    written: list[list[str]] = []
    values = {flag.name: flag.default for flag in flags}
    for flag in draw(st.lists(st.sampled_from(flags), max_size=6)) if flags else []:
        if flag.kind == NUMBER:
            text = str(draw(st.integers(0, LARGEST_NUMBER)))
        elif flag.choices:
            text = draw(st.sampled_from(flag.choices))
        else:
            text = draw(st.text(st.characters(exclude_characters="\0"), max_size=8))
        words, value = draw(st.sampled_from(list(in_every_spelling(flag))))
        if flag.kind != BOOLEAN:
            name = words[0].partition("=")[0]
            words = draw(st.sampled_from([[name, text], [f"{name}={text}"]]))
            value = int(text) if flag.kind == NUMBER else text
        written.append(words)
        values[flag.name] = (*values[flag.name], value) if flag.kind == LIST else value
    return written, values


@st.composite
def invocations(
    draw: st.DrawFn,
) -> tuple[list[str], dict[str, Any], Command, dict[str, Any], list[str | None]]:
    """A command line, and what it means."""
    global_words, global_values = draw(some_flags(GLOBAL_FLAGS))
    command = draw(st.sampled_from(TABLE))
    words, values = draw(some_flags(command.flags))
    name = st.text(st.characters(exclude_characters="\0"), max_size=8)
    plain = name.filter(lambda word: word[:1] != "-" or word == "-")
    given = [draw(plain) for needed in command.positionals if needed[0] != "["]
    if len(given) < len(command.positionals) and draw(st.booleans()):
        given.append(draw(plain))
    argv = [word for flag in global_words for word in flag]
    argv += draw(st.sampled_from([[], ["--"]])) + [command.name]
    if command.stops:
        given += draw(st.lists(name, max_size=3)) if len(given) > 1 else []
        argv += [word for flag in words for word in flag] + given
    else:
        places = sorted(draw(st.integers(0, len(words))) for _ in given)
        for index, flag in enumerate([*words, []]):
            argv += [word for place, word in zip(places, given, strict=True) if place == index] + flag
        argv += draw(st.sampled_from([[], ["--"]]))
    endless = "..." in "".join(command.positionals)
    missing = max(0, len(command.positionals) - endless - len(given))
    return argv, global_values, command, values, [*given, *[None] * missing]


@settings(max_examples=400, deadline=None)
@given(invocations())
def test_an_invocation_means_the_same_in_every_spelling(
    case: tuple[list[str], dict[str, Any], Command, dict[str, Any], list[str | None]],
) -> None:
    argv, global_values, command, values, arguments = case
    read = parse(argv, commands=TABLE)
    assert read.globals == global_values | {"help": False, "version": False}
    assert read.command is command
    assert read.flags == values
    assert read.arguments == arguments


WORDS = st.one_of(
    st.text(max_size=6),
    st.sampled_from([command.name for command in TABLE]),
    st.sampled_from([way[0] for flag in (*GLOBAL_FLAGS, *EXEC.flags) for way in in_every_spelling(flag)]).map(
        lambda words: words[0]
    ),
    st.sampled_from(["-", "--", "---", "-=", "--=x", "-9", "x"]),
)


@settings(max_examples=400, deadline=None)
@given(st.lists(WORDS, max_size=6))
def test_any_words_are_read_or_refused_with_a_message(argv: list[str]) -> None:
    message = None
    try:
        parse(argv, commands=TABLE)
    except Error as error:
        message = error.message
    assert message is None or (message and "\n" not in message)


# The command lines of engines.


def test_create_as_containerd_calls_it() -> None:
    read = read_line(
        "--root /run/r --log /b/log.json --log-format json --systemd-cgroup --rootless=true create"
        " --bundle /b --pid-file /b/init.pid --console-socket /s"
        " --no-pivot --no-new-keyring --preserve-fds 2 c1"
    )
    assert read.globals == {
        "root": "/run/r",
        "log": "/b/log.json",
        "log-format": "json",
        "log-level": "warning",
        "debug": False,
        "trace": None,
        "systemd-cgroup": True,
        "cgroup-manager": "cgroupfs",
        "rootless": "true",
        "help": False,
        "version": False,
    }
    assert read.flags == {
        "bundle": "/b",
        "config": None,
        "console-socket": "/s",
        "pidfd-socket": None,
        "pid-file": "/b/init.pid",
        "no-pivot": True,
        "no-new-keyring": True,
        "preserve-fds": 2,
    }
    assert read.arguments == ["c1"]


def test_podman_without_cgroups_and_cri_o_with_an_equals_sign() -> None:
    assert read_line("--cgroup-manager disabled start x").globals["cgroup-manager"] == "disabled"
    assert read_line("--root=/r --systemd-cgroup state x").globals["root"] == "/r"


def test_a_long_flag_with_one_dash_is_one_flag_as_in_go() -> None:
    assert read_line("run -no-subreaper -bundle /b x").flags["no-subreaper"] is True


@pytest.mark.parametrize(
    ("line", "signal", "everything"),
    [
        ("kill x", None, False),
        ("kill x 9", "9", False),
        ("kill x -9", "9", False),
        ("kill x -KILL", "KILL", False),
        ("kill x -RTMIN+3", "RTMIN+3", False),
        ("kill --all x 15", "15", True),
        ("kill -a x SIGTERM", "SIGTERM", True),
        ("kill x --all -9", "9", True),
        ("kill x -9 -a", "9", True),
        ("kill x -- 9", "9", False),
    ],
)
def test_kill_takes_the_signal_with_a_dash_too(line: str, signal: str | None, everything: bool) -> None:
    read = parse(line.split())
    assert read.arguments == ["x", signal]
    assert read.flags["all"] is everything


def test_a_signal_with_a_dash_is_read_once_and_only_after_the_id() -> None:
    assert 'unknown flag of kill: "-9"' in refusal("kill", "-9", "x").message
    assert 'unknown flag of kill: "-9"' in refusal("kill", "x", "TERM", "-9").message
    assert 'unknown flag of delete: "-9"' in refusal("delete", "x", "-9").message


def test_what_follows_the_id_of_exec_is_the_programs() -> None:
    argv = ["exec", "-d", "-e", "A=1", "--env=B=2", "x", "ls", "-la", "--help", "--", "-d=false"]
    read = parse(argv, commands=TABLE)
    assert (read.flags["env"], read.flags["detach"], read.flags["tty"]) == (("A=1", "B=2"), True, False)
    assert read.arguments == ["x", "ls", "-la", "--help", "--", "-d=false"]
    assert read.globals["help"] is False
    assert parse(["exec", "-d", "--", "x", "--", "ls"], commands=TABLE).arguments == ["x", "--", "ls"]


def test_repeated_flags_of_one_invocation_are_not_in_the_next() -> None:
    assert parse(["exec", "-e", "A=1", "x"], commands=TABLE).flags["env"] == ("A=1",)
    assert parse(["exec", "x"], commands=TABLE).flags["env"] == ()


def test_two_dashes_end_the_flags() -> None:
    assert parse(["delete", "--", "--force"]).arguments == ["--force"]
    assert parse(["delete", "--force", "--", "-x"]).flags["force"] is True


def test_a_single_dash_is_a_value_or_a_positional() -> None:
    assert read_line("check -").arguments == ["-"]
    assert read_line("create --pid-file - x").flags["pid-file"] == "-"


# Help and version.


@pytest.mark.parametrize("line", ["", "--", "--help", "-h", "--help create", "--root /r --help", "--root /r"])
def test_help_without_a_command_needs_nothing_else(line: str) -> None:
    assert parse(line.split()).command is None


@pytest.mark.parametrize("command", TABLE, ids=lambda command: command.name)
@pytest.mark.parametrize("word", ["--help", "-h", "-help", "--help=true"])
def test_help_of_a_command_wins_over_missing_arguments(command: Command, word: str) -> None:
    read = parse([command.name, word, "--no-such-flag", "and", "too", "many", "arguments"])
    assert read.globals["help"] is True
    assert read.command is command
    assert "help" not in read.flags


def test_help_may_come_after_the_id() -> None:
    assert read_line("delete x --help").globals["help"] is True


def test_help_that_is_refused_is_not_shown() -> None:
    read = read_line("--help=false delete --help=false x")
    assert read.globals["help"] is False
    assert read.arguments == ["x"]


@pytest.mark.parametrize("line", ["--version", "-v", "--root /r -v", "-v create --no-such-flag"])
def test_version_is_a_global_flag(line: str) -> None:
    assert parse(line.split()).globals["version"] is True


# Mistakes.

MISTAKES: list[tuple[str, str, str | None]] = [
    ("craete x", 'unknown command "craete"', "did you mean create?"),
    ("zzz x", 'unknown command "zzz"', "`pyoci help` lists the commands"),
    ("create --bundel /b x", 'unknown flag of create: "--bundel"', "did you mean --bundle?"),
    ("create -pid-fil /b x", 'unknown flag of create: "-pid-fil"', "did you mean --pid-file?"),
    ("create --bundel=/b x", 'unknown flag of create: "--bundel"', "did you mean --bundle?"),
    ("start --zzz x", 'unknown flag of start: "--zzz"', "usage: pyoci start ID"),
    ("create ---bundle /b x", 'unknown flag of create: "---bundle"', "did you mean --bundle?"),
    ("--rot /r state x", 'unknown flag: "--rot"', "did you mean --root?"),
    ("--zzz state x", 'unknown flag: "--zzz"', "`pyoci help` lists the flags"),
    ("--=x state x", 'unknown flag: "--"', "`pyoci help` lists the flags"),
    (
        "state --root /r x",
        'unknown flag of state: "--root"',
        "it is a global flag, which goes before state",
    ),
    (
        "--pid-file /p create x",
        'unknown flag: "--pid-file"',
        "it is a flag of create, run, exec, restore, and goes after the command's name",
    ),
    ("--log", "flag needs an argument: --log FILE", None),
    ("create -b", "flag needs an argument: --bundle DIR", None),
    ("create x --preserve-fds", "flag needs an argument: --preserve-fds N", None),
    ("--log-format xml state x", '--log-format is one of text, json, not "xml"', None),
    ("list --format=", '--format is one of table, json, not ""', None),
    ("delete --force=maybe x", '--force is either true or false, not "maybe"', None),
    ("delete --force= x", '--force is either true or false, not ""', None),
    ("create", "create needs an argument: ID", "usage: pyoci create [FLAGS] ID"),
    ("kill --all", "kill needs an argument: ID", "usage: pyoci kill [FLAGS] ID [SIGNAL]"),
    ("start x y", 'start: unexpected argument "y"', "usage: pyoci start ID"),
    ("kill x 9 y", 'kill: unexpected argument "y"', "usage: pyoci kill [FLAGS] ID [SIGNAL]"),
    ("list x", 'list: unexpected argument "x"', "usage: pyoci list [FLAGS]"),
    ("help a b", 'help: unexpected argument "b"', "usage: pyoci help [COMMAND]"),
]


@pytest.mark.parametrize(("line", "message", "hint"), MISTAKES, ids=[line for line, _, _ in MISTAKES])
def test_a_mistake_is_named_and_a_way_out_shown(line: str, message: str, hint: str | None) -> None:
    error = refusal(*line.split(" "))
    assert error.message == message
    assert error.hint == hint


@pytest.mark.parametrize(
    "text",
    ["", "-1", "+1", "1.0", "0x10", "010", "00", " 1", "1 ", "1_0", "٣", "²", "2147483648", "9" * 5000],
)
def test_numbers_are_strict(text: str) -> None:
    message = refusal("create", f"--preserve-fds={text}", "x").message
    assert message.startswith("--preserve-fds takes a number from 0 to 2147483647, not ")


@pytest.mark.parametrize(
    ("name", "flag"), [(command.name, flag) for command in TABLE for flag in command.flags if flag.metavar]
)
def test_a_flag_without_its_value_needs_an_argument(name: str, flag: Flag) -> None:
    # podman takes these words for "the flag is known".
    assert f"flag needs an argument: --{flag.name}" in refusal(name, f"--{flag.name}", table=TABLE).message


@pytest.mark.parametrize("name", [command.name for command in COMMANDS])
def test_a_letter_too_few_gets_the_nearest_command_as_a_hint(name: str) -> None:
    assert (refusal(name[:-2] + name[-1]).hint or "").startswith("did you mean ")


def test_a_newline_in_a_word_does_not_make_a_second_line_of_the_message() -> None:
    assert refusal("a\nb").message == r'unknown command "a\nb"'


def test_the_global_flags_before_a_mistake_are_kept_for_the_log() -> None:
    read = parser.Invocation()
    with pytest.raises(Error):
        parse(["--log", "/l", "--log-format", "json", "create", "--bundel", "/b", "x"], read)
    assert read.globals["log"] == "/l"
    assert read.globals["log-format"] == "json"


def run_command(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-IS", str(REPOSITORY / "pyoci/__main__.py"), *words], capture_output=True, text=True
    )


def test_a_mistake_is_told_on_stderr_and_in_the_log(tmp_path: Path) -> None:
    log = tmp_path / "log.json"
    run = run_command("--log", str(log), "--log-format", "json", "create", "--bundel", "/b", "x")
    assert (run.returncode, run.stdout) == (1, "")
    assert run.stderr == 'pyoci: unknown flag of create: "--bundel"\nhint: did you mean --bundle?\n'
    entry = json.loads(log.read_text())
    assert entry["level"] == "error"
    assert entry["msg"] == 'unknown flag of create: "--bundel"; hint: did you mean --bundle?'


def test_a_log_that_cannot_be_opened_stops_the_command(tmp_path: Path) -> None:
    run = run_command("--root", str(tmp_path), "--log", f"{tmp_path}/no/log", "list")
    assert (run.returncode, run.stdout) == (1, "")
    assert run.stderr == f"pyoci: can't open the log {tmp_path}/no/log: No such file or directory\n"


# The table.


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_every_command_has_its_function_and_one_without_says_so(command: Command) -> None:
    if command.function:
        assert callable(getattr(commands, command.function))
    else:
        # Whoever writes the function takes `function=None` out of the row.
        assert not hasattr(commands, f"{command.name}_command")
        message = f"{command.name} is not supported yet by this version of pyoci"
        assert refusal(command.name).message == message
        # podman takes help for a yes.
        assert refusal(command.name, "--help").message == message


def test_every_function_that_is_a_command_is_in_the_table() -> None:
    functions = {name for name in vars(commands) if name.endswith("_command")}
    assert functions == {command.function for command in COMMANDS if command.function}


@pytest.mark.parametrize("flags", [GLOBAL_FLAGS, *((*command.flags, HELP) for command in COMMANDS)])
def test_no_two_flags_of_a_command_have_the_same_name(flags: tuple[Flag, ...]) -> None:
    names = [name for flag in flags for name in (flag.name, flag.short) if name]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("flag", [*GLOBAL_FLAGS, *(flag for command in TABLE for flag in command.flags)])
def test_every_row_is_complete(flag: Flag) -> None:
    assert flag.name == flag.name.lower()
    assert len(flag.short) <= 1
    assert flag.help
    assert flag.help[-1] != "."
    if flag.choices:
        assert flag.default in flag.choices
    assert (flag.metavar is None) == (flag.kind == BOOLEAN)
    assert flag.default is None or flag.kind != TEXT or isinstance(flag.default, str)


def test_an_optional_positional_is_never_before_a_needed_one() -> None:
    for command in COMMANDS:
        optional = [name[0] == "[" for name in command.positionals]
        assert optional == sorted(optional)


# The start-up budget.

HEAVY = (
    "argparse json re enum dataclasses typing logging pathlib subprocess jsonschema collections functools"
    " contextlib datetime signal socket struct __future__ warnings difflib textwrap"
)


@pytest.mark.parametrize("modules", ["pyoci.cli.parser", "pyoci.log", "pyoci.cli.parser, pyoci.log"])
def test_parsing_and_logging_load_no_heavy_module(modules: str) -> None:
    script = (
        f"import sys; sys.path.insert(0, {str(REPOSITORY)!r}); import {modules}\n"
        "if 'pyoci.cli.parser' in sys.modules:\n"
        "    sys.modules['pyoci.cli.parser'].parse(['--log', '/l', 'create', '-b', '/b', 'x'])\n"
        "print(*sys.modules)"
    )
    run = subprocess.run([sys.executable, "-ISc", script], check=True, capture_output=True, text=True)
    loaded = run.stdout.split()
    assert not set(loaded) & set(HEAVY.split())
    ours = {name for name in loaded if name.startswith("pyoci")}
    assert ours <= {
        "pyoci",
        "pyoci.cli",
        "pyoci.cli.options",
        "pyoci.cli.parser",
        "pyoci.log",
        "pyoci.errors",
        "pyoci.files",
    }
