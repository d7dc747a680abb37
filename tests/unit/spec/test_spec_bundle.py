"""Reading a bundle: the files of every kind, and the messages that a person gets."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

from pyoci import jsontext
from pyoci.errors import ConfigError, Error
from pyoci.spec import bundle
from pyoci.spec.default import default_config


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    (tmp_path / "config.json").write_text(json.dumps(default_config()))
    return tmp_path


def refusal(path: object, config: str | None = None) -> str:
    with pytest.raises(Error) as caught:
        bundle.load(str(path), config)
    lines = list(caught.value.lines())
    assert all("\n" not in line for line in lines)
    return lines[0]


def test_a_good_bundle_is_read(directory: Path) -> None:
    read = bundle.load(str(directory))
    assert read.path == str(directory)
    assert read.config_path == str(directory / "config.json")
    assert read.config == default_config()
    assert read.raw == (directory / "config.json").read_bytes()
    assert read.name == "config.json"


def test_the_path_is_made_absolute_and_keeps_links(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (directory / "link").symlink_to(directory)
    monkeypatch.chdir(directory)
    assert bundle.load("link/./x/..//").path == str(directory / "link")


def test_another_config_is_found_from_the_bundle(directory: Path) -> None:
    (directory / "config.json").rename(directory / "other.json")
    read = bundle.load(str(directory), "other.json")
    assert (read.config_path, read.name) == (str(directory / "other.json"), "other.json")
    assert bundle.load("/", str(directory / "other.json")).config_path == str(directory / "other.json")


def test_a_missing_bundle_is_named(tmp_path: Path) -> None:
    assert refusal(tmp_path / "none") == f'the bundle "{tmp_path}/none" does not exist'


def test_a_bundle_that_is_a_file_is_named(directory: Path) -> None:
    path = directory / "config.json"
    assert refusal(path) == f'the bundle "{path}" is not a directory'


def test_a_missing_config_is_named_with_a_hint(tmp_path: Path) -> None:
    with pytest.raises(Error) as caught:
        bundle.load(str(tmp_path))
    assert caught.value.message == f'"{tmp_path}/config.json" does not exist'
    assert caught.value.hint is not None
    assert "pyoci spec" in caught.value.hint


def test_a_dangling_link_is_a_missing_config(tmp_path: Path) -> None:
    (tmp_path / "config.json").symlink_to("nowhere")
    assert refusal(tmp_path).endswith("does not exist")


def test_a_directory_in_place_of_the_config_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").mkdir()
    assert refusal(tmp_path) == f'"{tmp_path}/config.json" is a directory'


def test_a_fifo_in_place_of_the_config_does_not_hang(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "config.json")
    assert refusal(tmp_path) == f'"{tmp_path}/config.json" is not a regular file'


def test_a_socket_in_place_of_the_config_is_refused(tmp_path: Path) -> None:
    os.mknod(tmp_path / "config.json", 0o140600)
    assert "can't be read" in refusal(tmp_path)


def test_a_loop_of_links_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").symlink_to("config.json")
    assert "can't be read: Too many levels of symbolic links" in refusal(tmp_path)


def test_a_name_that_is_too_long_is_refused(tmp_path: Path) -> None:
    assert "File name too long" in refusal(tmp_path, "x" * 300)


def test_a_config_without_permission_is_refused() -> None:
    # root may read everything, so somebody else has to try; and others may not enter pytest's directories.
    program = f"""
import os, sys
sys.path.insert(0, {str(Path(__file__).parents[3])!r})
from pyoci.errors import Error
from pyoci.spec import bundle, _validator
if os.geteuid() == 0:
    os.seteuid(65534)
try:
    bundle.load(sys.argv[1])
except Error as error:
    print(error)
"""
    with tempfile.TemporaryDirectory() as directory:
        os.chmod(directory, 0o755)
        file = Path(directory, "config.json")
        file.touch(0)
        done = subprocess.run(
            [sys.executable, "-c", program, directory], capture_output=True, text=True, check=True
        )
    assert done.stdout == f'"{file}" can\'t be read: Permission denied\n'


def test_a_config_larger_than_the_limit_is_refused_unread(tmp_path: Path) -> None:
    with (tmp_path / "config.json").open("wb") as file:
        file.truncate(bundle.SIZE_LIMIT + 1)
    assert refusal(tmp_path) == f'"{tmp_path}/config.json" is larger than 64 MiB'


def test_the_limit_holds_for_a_file_that_claims_to_be_empty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundle, "SIZE_LIMIT", 100)
    assert os.stat("/proc/self/smaps").st_size == 0
    assert refusal("/", "/proc/self/smaps") == '"/proc/self/smaps" is larger than 0 MiB'


def test_a_file_that_claims_to_be_empty_is_read() -> None:
    assert refusal("/", "/proc/self/status").startswith(
        "/proc/self/status:1:1: a value must be here: it is Name"
    )


def test_an_empty_config_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").touch()
    assert refusal(tmp_path).startswith("config.json:1:1: there is nothing in this file")


def test_nulls_are_dropped(directory: Path) -> None:
    config = default_config()
    config |= {"hooks": None, "unknown": [None, {"a": None}]}
    config["linux"]["resources"]["memory"] = {"limit": None}
    (directory / "config.json").write_text(json.dumps(config))
    read = bundle.load(str(directory)).config
    assert "hooks" not in read
    assert read["unknown"] == [None, {}]
    assert read["linux"]["resources"]["memory"] == {}


def test_nulls_are_dropped_from_texts_of_any_depth(directory: Path) -> None:
    text = json.dumps(default_config())[:-1] + ', "deep": ' + '{"a":' * 700 + "null" + "}" * 700 + "}"
    (directory / "config.json").write_text(text)
    assert "deep" in bundle.load(str(directory)).config


FIVE_MISTAKES = """{
  "ociVersion": "1.3",
  "process": {
    "args": ["sh"],
    "cwd": "etc",
    "user": {"uid": -1},
    "rlimits": [
      {"type": "RLIMIT_NOFIL", "soft": 1, "hard": 1}
    ]
  },
  "root": {"path": "rootfs"},
  "hostname": "box"
}
"""


def test_five_mistakes_give_five_problems_with_their_lines(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(FIVE_MISTAKES)
    with pytest.raises(ConfigError) as caught:
        bundle.load(str(tmp_path))
    lines = list(caught.value.lines())
    assert lines.pop(3).startswith(
        "config.json:8: /process/rlimits/0/type: must be one of RLIMIT_AS, RLIMIT_CORE,"
    )
    assert lines == [
        "config.json:2: /ociVersion: must be a version as Semantic Versioning writes it, such as 1.3.0"
        ' (it is "1.3")',
        'config.json:5: /process/cwd: must be an absolute path (it is "etc")',
        "config.json:6: /process/user/uid: must be between 0 and 4294967294 (it is -1)",
        "config.json:12: /hostname: needs a uts namespace (linux.namespaces has none)",
    ]


PROCESS = {"args": ["x"], "cwd": "/", "user": {"uid": 0, "gid": 0}}
LIMITS = {"soft": 1, "hard": 1}

MESSAGES: list[tuple[str, Any, str]] = [
    ("/mounts", {}, "must be an array (it is an empty object)"),
    ("/mounts", [5], "must be an object (it is 5)"),
    ("/root", {"path": ""}, 'must not be empty (it is "")'),
    ("/root", {"path": "a\0b"}, 'must not have a NUL character in it (it is "a\\x00b")'),
    ("/root", {"path": "x", "readonly": "yes"}, 'must be true or false (it is "yes")'),
    ("/root", {"path": True}, "must be a string (it is true)"),
    ("/ociVersion", "2.0.0", 'must be a version that this runtime knows, 1.x or older (it is "2.0.0")'),
    ("/ociVersion", "x" * 100, f'such as 1.3.0 (it is "{"x" * 60}...")'),
    ("/hostname", "x\n" * 40, "must be no longer than 64 bytes"),
    ("/annotations", {"": ""}, 'has a name that must not be empty (it is "")'),
    ("/hooks", {"poststop": [{"path": "/x", "timeout": 0}]}, "must be 1 or more (it is 0)"),
    ("/linux", {"resources": {"pids": {"limit": 1.5}}}, "must be an integer (it is 1.5)"),
    ("/linux", {"resources": {"pids": {"limit": 1 << 63}}}, "must be no more than 9223372036854775807"),
    ("/linux", {"resources": {"cpu": {"idle": 2}}}, "must be 0 or 1 (it is 2)"),
    ("/linux", {"resources": {"memory": {"swappiness": 101}}}, "must be between 0 and 100 (it is 101)"),
    (
        "/linux",
        {"resources": {"rdma": {"x": {}}}},
        "must have hcaHandles or hcaObjects (it is an empty object)",
    ),
    ("/linux", {"personality": {"domain": "LINUX", "flags": ["x"]}}, "must be empty (it is an array)"),
    (
        "/process",
        {**PROCESS, "rlimits": [{"type": "RLIMIT_NOFIL"} | LIMITS]},
        "; did you mean RLIMIT_NOFILE?)",
    ),
    ("/linux", {"timeOffsets": {"Monotonic": {}}}, '(it is "Monotonic"; did you mean monotonic?)'),
    ("/linux", {"devices": [{"type": "p"}]}, "is missing (the full path of the file in the container)"),
]


@pytest.mark.parametrize(("member", "value", "message"), MESSAGES, ids=lambda value: str(value)[:40])
def test_a_message_says_what_it_must_be(member: str, value: Any, message: str) -> None:
    config = {"ociVersion": "1.3.0", "root": {"path": "rootfs"}, member[1:]: value}
    with pytest.raises(ConfigError) as caught:
        bundle.validate(config)
    (problem,) = caught.value.problems
    assert message in problem.message
    assert problem.message.isprintable()


def test_a_message_is_one_line_whatever_the_file_has_in_it(tmp_path: Path) -> None:
    config = default_config() | {"annotations": {"a\nb\x1b[2J": 1}, "hostname": "\x1b\n" * 99}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(ConfigError) as caught:
        bundle.load(str(tmp_path))
    assert all(line.isprintable() for line in caught.value.lines())
    with pytest.raises(Error) as other:
        jsontext.parse(b'{"a": \x1b}', "config.json")
    assert str(other.value).isprintable()


def test_a_working_directory_that_is_gone_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    assert "no working directory" in refusal(".")


def test_one_value_has_one_problem() -> None:
    config = default_config()
    config["linux"]["namespaces"][0]["type"] = 5  # neither a string nor one of the names
    with pytest.raises(ConfigError) as caught:
        bundle.validate(config)
    assert [problem.pointer for problem in caught.value.problems] == ["/linux/namespaces/0/type"]


def test_a_process_on_its_own_is_checked() -> None:
    process = default_config()["process"]
    bundle.validate_process(process)
    process["cwd"] = "etc"
    process["rlimits"][0]["soft"] = 2048
    with pytest.raises(ConfigError) as caught:
        bundle.validate_process(process, json.dumps(process, indent=1).encode())
    first, second = caught.value.lines()
    assert first == 'process.json:14: /cwd: must be an absolute path (it is "etc")'
    assert second.endswith("/rlimits/0/soft: must be no more than the hard limit of 1024 (it is 2048)")


@pytest.mark.parametrize("value", [[], None, "x", 5])
def test_a_process_that_is_no_object_is_refused(value: object) -> None:
    with pytest.raises(ConfigError) as caught:
        bundle.validate_process(value)
    assert [problem.pointer for problem in caught.value.problems] == [""]


def test_reading_a_good_bundle_imports_nothing_slow(directory: Path) -> None:
    program = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parents[3])!r})
import os
before = set(sys.modules)
from pyoci.spec import bundle
bundle.load({str(directory)!r})
os.write(1, " ".join(sorted(set(sys.modules) - before)).encode())
"""
    done = subprocess.run([sys.executable, "-IS", "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == [
        "_json",
        "errno",
        "pyoci",
        "pyoci.errors",
        "pyoci.jsontext",
        "pyoci.paths",
        "pyoci.spec",
        "pyoci.spec._validator",
        "pyoci.spec.bundle",
        "pyoci.spec.formats",
        "pyoci.spec.rules",
    ]
