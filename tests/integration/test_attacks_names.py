"""Published attacks by a string that becomes a number or a path: users, signals, ids, cgroup paths, page sizes."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from conformance import host
from conformance.runtime import Runtime, new_id

from .conftest import MakeBundle
from .test_errors import create_that_fails

# Debian 12's are older than most of these advisories, and say other words.
pytestmark = pytest.mark.peers_differ(crun="1.8.1", runc="1.1.5")
# What strtol(3), int() and their like read something out of, or nothing: 0.
NO_NUMBERS = ["0x10", "+1", "1_000", "01", "1.", "0b1", "1e", "1 0", "-", "\u0661", "\uff11", "9" * 5000]
# JSON, but no user of Linux's. 4294967295 is -1 for setresuid(2), which then leaves everything as it is: root.
NO_IDS = [
    "1.5",
    "1e0",
    "-1",
    "-0.5",
    "4294967295",
    "4294967296",
    "18446744073709551617",
    '"1"',
    '"0x10"',
    "true",
    "[1]",
]
ID_PLACES = ["/process/user/uid", "/process/user/gid", "/process/user/additionalGids/0"]


def short(text: str) -> str:
    """A text as the name of a test."""
    return ascii(text[:24])


def put(document: Any, pointer: str, value: Any) -> None:
    """Set what a JSON pointer names; what is missing on the way is made."""
    *way, last = pointer.split("/")[1:]
    for part in way:
        document = document[int(part)] if isinstance(document, list) else document.setdefault(part, {})
    if isinstance(document, list):
        document[int(last)] = value
    else:
        document[last] = value


def with_text(bundle: Path, text: str, *pointers: str) -> None:
    """Write a text, JSON or not, in the place of values of the bundle's config."""
    document = json.loads((bundle / "config.json").read_text())
    for pointer in pointers:
        put(document, pointer, "@")
    (bundle / "config.json").write_text(json.dumps(document).replace('"@"', text))


@pytest.mark.parametrize("text", NO_NUMBERS + NO_IDS, ids=short)
def test_cve_2026_30892_what_is_no_user_is_not_root(pyoci: Runtime, bundle: MakeBundle, text: str) -> None:
    """crun read "1" as 0:0."""
    here = bundle(process={"args": ["id"], "user": {"additionalGids": [7]}})
    with_text(here, text, *ID_PLACES)
    error = create_that_fails(pyoci, here)
    assert text in NO_NUMBERS or [place for place in ID_PLACES if place not in error] == []


@pytest.mark.parametrize("text", ["0", "7", "4294967294"])
def test_cve_2026_30892_a_number_is_that_number(pyoci: Runtime, bundle: MakeBundle, text: str) -> None:
    """The control: what are users are taken, and are those."""
    here = bundle(
        process={
            "args": ["grep", "-E", "^(Uid|Gid|Groups)", "/proc/self/status"],
            "user": {"additionalGids": [7]},
        }
    )
    with_text(here, text, *ID_PLACES)
    user, group, groups = pyoci.run(here).stdout.splitlines()
    assert user.split() == ["Uid:", *[text] * 4]
    assert group.split() == ["Gid:", *[text] * 4]
    assert groups.split() == ["Groups:", text]


def test_cve_2021_43784_a_long_value_is_one_value(pyoci: Runtime, bundle: MakeBundle) -> None:
    """Its length was put into 16 bits on the way to runc's init, and the rest was read as other properties: namespaces."""
    value = "a" * 65536 + "ANOTHER=1"
    here = bundle(process={"args": ["env"], "env": [f"LONG={value}", "LAST=1"]})
    assert pyoci.run(here).stdout == f"LONG={value}\nLAST=1\nHOME=/\n"


@pytest.mark.parametrize("text", [*NO_NUMBERS, " 3", "3 ", "", "1.5", "-1", "2147483648"], ids=short)
def test_cve_2026_30892_a_flag_is_a_number_or_nothing(pyoci: Runtime, sleeper: Path, text: str) -> None:
    error = pyoci.fails("create", f"--preserve-fds={text}", "--bundle", sleeper, new_id())
    assert "--preserve-fds takes a number" in error
    assert os.listdir(pyoci.root) == []


# As kill(1) has it, 01 is 1, and -1 is, too.
NO_SIGNALS = [*(text for text in NO_NUMBERS if text != "01"), " 9", "9 ", " ", "9.5", "65", "SIG9"]


@pytest.mark.parametrize("text", NO_SIGNALS, ids=short)
def test_cve_2026_30892_a_signal_is_a_number_or_nothing(pyoci: Runtime, sleeper: Path, text: str) -> None:
    container = pyoci.create(sleeper)
    pyoci.fails("kill", container, text)
    assert pyoci.state(container)["status"] == "created"


@pytest.mark.parametrize("text", [*NO_NUMBERS, " 1", "", "-1", "0"], ids=short)
def test_a_count_of_sockets_that_is_none_passes_none(pyoci: Runtime, sleeper: Path, text: str) -> None:
    """LISTEN_FDS, sd_listen_fds(3): a caller may have let others write it."""
    container = new_id()
    command = [*pyoci.command, "create", "--bundle", str(sleeper), container]
    script = 'LISTEN_PID=$$ exec "$@" 3</etc/passwd'
    environment = os.environ | {"LISTEN_FDS": text}
    subprocess.run(
        ["sh", "-c", script, "sh", *command],
        env=environment,
        stdin=subprocess.DEVNULL,
        timeout=30,
        check=True,
    )
    pyoci("start", container)
    assert "3" not in os.listdir(f"/proc/{pyoci.pid(container)}/fd")


NO_CONTAINER_IDS = [
    "..",
    ".",
    "",
    "a/b",
    "../victim",
    "/etc",
    "a\nb",
    "a b",
    "~seccomp",
    "\u00e9",
    "x" * 256,
    "a\\..",
    "$(id)",
]


@pytest.mark.parametrize("name", NO_CONTAINER_IDS, ids=ascii)
def test_an_id_is_no_path(pyoci: Runtime, sleeper: Path, name: str) -> None:
    victim = pyoci.root.parent / "victim"
    victim.mkdir()
    cgroups = {"mode": "v1", "path": "/", "groups": []}
    (victim / "state.json").write_text(json.dumps({"id": "victim", "pid": 0, "cgroups": cgroups}))
    before = sorted(pyoci.root.parent.rglob("*"))
    for command in ("create", "run"):
        pyoci.fails(command, "--bundle", sleeper, name)
    for command in ("state", "start", "kill", "delete"):
        pyoci.fails(command, name)
    pyoci.attempt("delete", "--force", name)
    assert sorted(pyoci.root.parent.rglob("*")) == before


NO_CGROUP_PATHS = [
    "{tag}/../../x",
    "/../{tag}",
    "/{tag}/..",
    "../{tag}",
    "/./{tag}",
    "//{tag}",
    "/{tag}//x",
    "/{tag}/",
    "..",
    "/",
    ".",
    "/{tag}\n/x",
]


@pytest.mark.parametrize("path", NO_CGROUP_PATHS, ids=ascii)
def test_a_cgroups_path_has_no_way_up(pyoci: Runtime, bundle: MakeBundle, path: str) -> None:
    before = host.cgroups()
    here = bundle(
        process={"args": ["sleep", "1000"]}, linux={"cgroupsPath": path.format(tag=f"{host.TAG}-way")}
    )
    assert "/linux/cgroupsPath" in create_that_fails(pyoci, here)
    assert host.cgroups() == before


NO_PAGE_SIZES = [
    "2MB/../../x",
    "../../x",
    "/2MB",
    "2MB.limit_in_bytes/..",
    "",
    "2mb",
    "MB",
    "02MB",
    "2MB\n",
    "2 MB",
    "-2MB",
]


@pytest.mark.parametrize("size", NO_PAGE_SIZES, ids=ascii)
def test_a_page_size_is_no_path(pyoci: Runtime, bundle: MakeBundle, size: str) -> None:
    """A part of a control file's name: with slashes in it, it is a file elsewhere that the limit is written to."""
    limits = [{"pageSize": size, "limit": 4096}]
    error = create_that_fails(pyoci, bundle(linux={"resources": {"hugepageLimits": limits}}))
    assert "/linux/resources/hugepageLimits/0/pageSize" in error


@pytest.mark.parametrize("name", ["../cgroup.procs", "a/b", "..", "cgroup.procs/../x", ""])
def test_a_control_files_name_is_no_path(pyoci: Runtime, bundle: MakeBundle, name: str) -> None:
    error = create_that_fails(pyoci, bundle(linux={"resources": {"unified": {name: "1"}}}))
    assert "/linux/resources/unified" in error
