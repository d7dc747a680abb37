"""Messages: engines can read the log whatever is in it, and people are told even if the log is gone."""

from __future__ import annotations

import ast
import datetime
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyoci import log
from pyoci.errors import ConfigError, Error, Problem
from pyoci.log import Log

REPOSITORY = Path(__file__).resolve().parents[2]
# Go's time.RFC3339, which takes a fraction of any length when it parses.
RFC3339 = re.compile(r"(\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2})\.(\d{6})Z")
TEXT_LINE = re.compile(r'time="([^"]*)" level=(\w+) msg=("(?:[^"\\\n]|\\.)*")')
# Whatever a JSON config or a file name can put into a message: also halves of characters, and bytes that are
# no UTF-8.
ANYTHING = st.text(
    st.one_of(
        st.characters(),
        st.characters(categories=["Cs", "Cc"]),
        st.sampled_from('"\\\n\udcff\ud800\x1b\x7f\u2028\U0001f600'),
    )
)


def entries(path: Path) -> list[dict[str, Any]]:
    """The log's objects, read as engines do: one line, one object, in ASCII."""
    return [json.loads(line) for line in path.read_text(encoding="ascii").splitlines()]


def as_shown(text: str) -> str:
    """A message in which a byte that isn't UTF-8 is a number, and half a character the replacement character."""
    text = re.sub("[\udc80-\udcff]", lambda byte: f"\\x{ord(byte[0]) - 0xDC00:02x}", text)
    return re.sub("[\ud800-\udfff]", "\ufffd", text)


def assert_is_now(text: str) -> None:
    match = RFC3339.fullmatch(text)
    assert match
    told = datetime.datetime.fromisoformat(match[1] + "+00:00").timestamp() + int(match[2]) / 1e6
    assert abs(told - datetime.datetime.now(datetime.UTC).timestamp()) < 60


def test_a_line_of_the_json_log_has_the_keys_of_runc(tmp_path: Path) -> None:
    Log(str(tmp_path / "log"), "json").error("no")
    (entry,) = entries(tmp_path / "log")
    assert list(entry) == ["level", "msg", "time"]
    assert (entry["level"], entry["msg"]) == ("error", "no")
    assert_is_now(entry["time"])


def test_a_line_of_the_text_log_is_that_of_runc(tmp_path: Path) -> None:
    Log(str(tmp_path / "log")).error('can\'t open "x"')
    match = TEXT_LINE.fullmatch((tmp_path / "log").read_text().removesuffix("\n"))
    assert match
    assert_is_now(match[1])
    assert (match[2], match[3]) == ("error", r'"can' + r"'t open \"x\"" + '"')


@settings(deadline=None)
@given(messages=st.lists(ANYTHING, min_size=1, max_size=3))
def test_any_message_is_one_object_of_the_json_log(
    tmp_path_factory: pytest.TempPathFactory, messages: list[str]
) -> None:
    path = tmp_path_factory.mktemp("json") / "log"
    for message in messages:
        assert Log(str(path), "json")._append(log._as_json("error", message))
    assert [entry["msg"] for entry in entries(path)] == [as_shown(message) for message in messages]


@settings(deadline=None)
@given(message=ANYTHING)
def test_any_message_is_one_quoted_line_of_the_text_log(message: str) -> None:
    line = log._as_text("info", message)
    assert line.endswith("\n")
    match = TEXT_LINE.fullmatch(line[:-1])
    assert match
    line.encode()  # it is UTF-8
    # Go's escapes are Python's, but for a byte that isn't UTF-8: nothing else is written as \x80 to \xff.
    read = re.sub(r"(?<!\\)((?:\\\\)*)\\x([89a-f].)", r"\1\\udc\2", match[3])
    expected = re.sub("[\ud800-\udc7f\udd00-\udfff]", "\ufffd", message)
    assert ast.literal_eval(read) == expected


@pytest.mark.parametrize(
    ("message", "quoted"),
    [
        ("a\tb\nc\rd", r"a\tb\nc\rd"),
        ("\a\b\f\v", r"\a\b\f\v"),
        ("\0\x1b\x7f", r"\x00\x1b\x7f"),
        ("/é/\udcff", r"/é/\xff"),
        ("\u2028\u00a0", r"\u2028\u00a0"),
        ("\U000e0001", r"\U000e0001"),
        ("\ud800", "\ufffd"),
    ],
)
def test_the_text_log_quotes_as_go_does(message: str, quoted: str) -> None:
    assert log._as_text("info", message).endswith(f' level=info msg="{quoted}"\n')


def test_an_error_of_several_lines_is_one_object_and_all_its_lines_on_stderr(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    problems = [Problem("/root", "must be an object", 3), Problem("/process/cwd", "must be absolute", 7)]
    Log(str(tmp_path / "log"), "json").error(ConfigError(problems, hint="see `pyoci check`"))
    assert capfd.readouterr().err == (
        "pyoci: config.json:3: /root: must be an object\n"
        "pyoci: config.json:7: /process/cwd: must be absolute\n"
        "hint: see `pyoci check`\n"
    )
    assert [entry["msg"] for entry in entries(tmp_path / "log")] == [
        "config.json:3: /root: must be an object; config.json:7: /process/cwd: must be absolute;"
        " hint: see `pyoci check`"
    ]


def test_a_message_cannot_steer_the_terminal(capfd: pytest.CaptureFixture[str]) -> None:
    Log().error("title \x1b]0;x\x07 \x9b2J \r end\ud800")
    assert capfd.readouterr().err == "pyoci: title \\x1b]0;x\\a \\u009b2J \\r end\ufffd\n"


@pytest.mark.parametrize(
    ("raw", "shown"),
    [(b"/caf\xe9", r"/caf\xe9"), (b"\xff\x80/\xc3\xa9", "\\xff\\x80/é"), (b"\xed\xa0\x80", r"\xed\xa0\x80")],
)
def test_a_byte_that_is_no_utf_8_is_a_number_wherever_it_is_shown(
    tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes], raw: bytes, shown: str
) -> None:
    for form in ("json", "text"):
        Log(str(tmp_path / form), form).error(os.fsdecode(raw))
        assert capfdbinary.readouterr().err == f"pyoci: {shown}\n".encode()
    assert entries(tmp_path / "json")[0]["msg"] == shown
    assert f'msg="{shown}"' in (tmp_path / "text").read_text(encoding="utf-8")


def test_warnings_before_an_error_are_in_its_object(tmp_path: Path) -> None:
    """podman reads the whole log as one object, containerd the last with an error."""
    path = tmp_path / "log"
    to = Log(str(path), "json")
    to.warning("careful")
    to.warning("/caf\udce9")
    to.error("failed")
    to.release()
    whole = json.loads(path.read_text())
    assert (whole["level"], whole["msg"]) == ("error", "failed")
    assert whole["warnings"] == ["careful", r"/caf\xe9"]
    to.warning("later")
    to.release()
    assert [entry["msg"] for entry in entries(path)] == ["failed", "later"]


def test_warnings_without_an_error_are_objects_with_the_time_of_their_own(tmp_path: Path) -> None:
    path = tmp_path / "log"
    to = Log(str(path), "json")
    to.warning("careful")
    to.warning("again")
    before = log.now()
    assert not path.exists()
    to.release()
    to.warning("at once")
    written = entries(path)
    assert [(entry["level"], entry["msg"]) for entry in written] == [
        ("warning", each) for each in ("careful", "again", "at once")
    ]
    assert written[1]["time"] <= before


@pytest.mark.parametrize("form", ["json", "text"])
@pytest.mark.parametrize("level", ["warning", "info"])
def test_only_a_log_that_engines_read_waits_for_the_end(tmp_path: Path, form: str, level: str) -> None:
    """Who asks for more than warnings wants to see them when they come."""
    path = tmp_path / "log"
    Log(str(path), form, level).warning("careful")
    assert path.exists() == (form == "text" or level == "info")


@pytest.mark.parametrize(
    ("settings", "kept"),
    [
        ({}, ["warning", "error"]),
        ({"level": "error"}, ["error"]),
        ({"level": "warning"}, ["warning", "error"]),
        ({"level": "info"}, ["info", "warning", "error"]),
        ({"level": "debug"}, ["debug", "info", "warning", "error"]),
        ({"debug": True}, ["debug", "info", "warning", "error"]),
        ({"debug": True, "level": "error"}, ["debug", "info", "warning", "error"]),
    ],
)
@pytest.mark.parametrize("form", ["json", "text", None])
def test_less_important_messages_are_dropped(
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    settings: dict[str, Any],
    kept: list[str],
    form: str | None,
) -> None:
    path = tmp_path / "log"
    to = Log(str(path), form, **settings) if form else Log(**settings)
    for write in (to.debug, to.info, to.warning, to.error):
        write("x")
        to.release()
    printed = capfd.readouterr().err.splitlines()
    if form is None:
        assert printed == [f"pyoci: {level}: x" for level in kept[:-1]] + ["pyoci: x"]
        return
    # Only errors are for both.
    assert printed == ["pyoci: x"]
    lines = path.read_text().splitlines()
    levels = [json.loads(line)["level"] if form == "json" else TEXT_LINE.fullmatch(line)[2] for line in lines]
    assert levels == kept


def test_the_log_is_made_for_its_owner_to_write_and_appended_to(tmp_path: Path) -> None:
    path = tmp_path / "log"
    mask = os.umask(0o022)
    try:
        Log(str(path), "json").error("first")
    finally:
        os.umask(mask)
    assert path.stat().st_mode & 0o7777 == 0o644
    Log(str(path), "json").error("second")
    assert [entry["msg"] for entry in entries(path)] == ["first", "second"]


def test_no_descriptor_of_the_log_stays_open(tmp_path: Path) -> None:
    before = os.listdir("/proc/self/fd")
    to = Log(str(tmp_path / "log"), "json")
    to.check()
    to.error("x")
    assert os.listdir("/proc/self/fd") == before


def test_nothing_is_opened_before_there_is_a_message(tmp_path: Path) -> None:
    Log(str(tmp_path / "log")).debug("dropped")
    assert not (tmp_path / "log").exists()


@pytest.mark.parametrize(("path", "cause"), [("no/log", "No such file or directory"), ("", "Is a directory")])
def test_a_log_that_cannot_be_opened_is_a_clear_error(tmp_path: Path, path: str, cause: str) -> None:
    with pytest.raises(Error) as caught:
        Log(f"{tmp_path}/{path}").check()
    assert caught.value.message == f"can't open the log {tmp_path}/{path}: {cause}"


def test_what_a_lost_log_does_not_take_goes_to_stderr(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    to = Log(str(tmp_path / "no/log"), "json")
    to.warning("careful")
    to.release()
    to.error("failed")
    assert capfd.readouterr().err == "pyoci: warning: careful\npyoci: failed\n"


def test_a_full_disk_does_not_stop_the_message(capfd: pytest.CaptureFixture[str]) -> None:
    to = Log("/dev/full", "json")
    to.warning("careful")
    to.release()
    to.error("failed")
    assert capfd.readouterr().err == "pyoci: warning: careful\npyoci: failed\n"


@pytest.mark.parametrize("stderr", ["closed", "a pipe that nobody reads"])
def test_messages_survive_a_stderr_that_is_gone(tmp_path: Path, stderr: str) -> None:
    script = f"""
import os, sys
sys.path.insert(0, {str(REPOSITORY)!r})
from pyoci.log import Log
if {stderr!r} == "closed":
    os.close(2)
else:
    reader, writer = os.pipe()
    os.dup2(writer, 2)
    os.close(reader)
log = Log({str(tmp_path / "log")!r}, "json")
log.warning("careful")
log.release()
log.error("failed")
os._exit(7)
"""
    run = subprocess.run([sys.executable, "-ISc", script])
    assert run.returncode == 7
    assert [entry["msg"] for entry in entries(tmp_path / "log")] == ["careful", "failed"]


def test_concurrent_messages_do_not_mix(tmp_path: Path) -> None:
    script = f"""
import sys
sys.path.insert(0, {str(REPOSITORY)!r})
from pyoci.log import Log
log = Log({str(tmp_path / "log")!r}, "json")
log.release()
for number in range(200):
    log.warning(sys.argv[1] * (number * 40) + str(number))
"""
    names = "abcd"
    running = [subprocess.Popen([sys.executable, "-ISc", script, name]) for name in names]
    assert [process.wait(timeout=60) for process in running] == [0] * len(names)
    read = [entry["msg"] for entry in entries(tmp_path / "log")]
    for name in names:
        ours = [message for message in read if message.startswith(name)]
        assert ours == [name * (number * 40) + str(number) for number in range(1, 200)]
    assert len(read) == 200 * len(names)


def test_the_time_is_written_in_full_at_any_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    moments = {0: "1970-01-01T00:00:00.000000Z", 1_795_214_222_000_045_999: "2026-11-20T22:37:02.000045Z"}
    for moment, written in moments.items():
        monkeypatch.setattr(log.time, "time_ns", lambda moment=moment: moment)
        assert log.now() == written


def test_times_do_not_go_back(tmp_path: Path) -> None:
    times = [log.now() for _ in range(1000)]
    assert times == sorted(times)
