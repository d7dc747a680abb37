"""What the program starts with where its config says nothing: its identity, HOME, umask, CPUs; config.md, "Process"."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from . import host
from .fixtures import MakeBundle
from .runtime import Runtime

PATH = "PATH=/bin"
PASSWD = """\
# a comment
root:x:0:0:root:/root:/bin/sh
short:x:7
:::
odd:x:+8:8::/odd:/bin/sh
odder:x:8x:8::/odder:/bin/sh
user:x:8:8:Some: one:/bin/sh
first:x:9:9::/home/first:/bin/sh
second:x:9:9::/home/second:/bin/sh
empty:x:10:10:::/bin/sh
spaces:x:11:11::/home/with a space = and more:/bin/sh
noshell:x:12:12::/home/noshell
long:x:13:13:{}:/home/long:/bin/sh
last:x:4294967294:0::/home/last:/bin/sh""".format("x" * 3000)
TELL = ["/bin/sh", "-c", "env | grep ^HOME="]


def home(runtime: Runtime, bundle: Path) -> str:
    """What HOME is for the program."""
    return runtime.output(bundle).removeprefix("HOME=").removesuffix("\n")


def with_passwd(bundle: MakeBundle, text: str | None = PASSWD, **process: Any) -> Path:
    here = bundle(process={"args": TELL, "env": [PATH]} | process)
    passwd = here / "rootfs/etc/passwd"
    passwd.unlink()
    if text is not None:
        passwd.write_text(text)
    return here


@pytest.mark.shows("process.env")
@pytest.mark.parametrize(
    ("uid", "wanted"),
    [
        *((0, "/root"), (9, "/home/first"), (11, "/home/with a space = and more")),
        *((12, "/home/noshell"), (13, "/home/long"), (4294967294, "/home/last"), (1000, "/")),
    ],
)
@pytest.mark.peers_differ(
    runc="takes no more than 31 bits, and no such long lines", crun="fails if there is no entry"
)
def test_home_is_that_of_the_users_entry_in_the_containers_passwd(
    runtime: Runtime, bundle: MakeBundle, uid: int, wanted: str
) -> None:
    assert home(runtime, with_passwd(bundle, user={"uid": uid, "gid": 0})) == wanted


@pytest.mark.shows("process.env")
@pytest.mark.parametrize("uid", [7, 8, 10])
@pytest.mark.peers_differ(
    runc="has other ideas about broken lines", crun="has other ideas about broken lines"
)
def test_an_entry_without_a_home_gives_none(runtime: Runtime, bundle: MakeBundle, uid: int) -> None:
    assert home(runtime, with_passwd(bundle, user={"uid": uid, "gid": 0})) in ("/", " one")


@pytest.mark.shows("process.env")
@pytest.mark.parametrize("text", [None, "", "\n\n", "\0" * 5000, "x" * (1 << 20)])
@pytest.mark.peers_differ(crun="fails for an empty or broken file", runc="fails for a long line")
def test_without_an_entry_home_is_the_root(runtime: Runtime, bundle: MakeBundle, text: str | None) -> None:
    assert home(runtime, with_passwd(bundle, text)) == "/"


@pytest.mark.shows("process.env")
def test_a_home_of_the_configs_is_left_as_it_is(runtime: Runtime, bundle: MakeBundle) -> None:
    assert home(runtime, with_passwd(bundle, env=[PATH, "HOME=/elsewhere"])) == "/elsewhere"


@pytest.mark.shows("process.env")
@pytest.mark.peers_differ(crun="leaves it empty", runc="leaves it empty")
def test_an_empty_home_counts_as_none(runtime: Runtime, bundle: MakeBundle) -> None:
    assert home(runtime, with_passwd(bundle, env=["HOME=", PATH])) == "/root"


@pytest.mark.shows("process.env")
def test_a_passwd_that_is_a_symlink_leads_nowhere_but_into_the_container(
    runtime: Runtime, bundle: MakeBundle, tmp_path: Path
) -> None:
    outside = tmp_path / "passwd"
    outside.write_text("root:x:0:0::/of/the/host:/bin/sh\n")
    here = with_passwd(bundle, None)
    (here / "rootfs/etc/passwd").symlink_to("../../../../../.." + str(outside))
    assert home(runtime, here) == "/"
    (here / "rootfs/etc/passwd").unlink()
    (here / "rootfs/etc/passwd").symlink_to("/other/passwd")
    (here / "rootfs/other").mkdir()
    (here / "rootfs/other/passwd").write_text("root:x:0:0::/of/the/image:/bin/sh\n")
    assert home(runtime, here) == "/of/the/image"


@pytest.mark.shows("process.env")
@pytest.mark.parametrize("kind", ["fifo", "directory", "device", "loop"])
@pytest.mark.peers_differ(
    runc="it hangs on a FIFO, and fails with others", crun="it hangs on a FIFO, and fails with others"
)
def test_a_passwd_that_is_no_file_is_as_if_there_were_none(
    runtime: Runtime, bundle: MakeBundle, kind: str
) -> None:
    here = with_passwd(bundle, None)
    passwd = here / "rootfs/etc/passwd"
    if kind == "fifo":
        os.mkfifo(passwd)
    elif kind == "directory":
        passwd.mkdir()
    elif kind == "device":
        os.mknod(passwd, 0o020666, os.makedev(1, 5))  # /dev/zero never ends
    else:
        passwd.symlink_to("passwd")
    assert home(runtime, here) == "/"


@pytest.mark.shows("process.user.uid", "process.user.gid")
@pytest.mark.parametrize("user", [None, {}, {"uid": 5}, {"gid": 6}, {"umask": 0o27}])
def test_an_identity_that_is_not_given_is_0(
    runtime: Runtime, bundle: MakeBundle, user: dict[str, int] | None
) -> None:
    here = bundle(process={"args": ["sh", "-c", "id -u; id -g"]})
    document = json.loads((here / "config.json").read_text())
    document["process"].pop("user")
    if user is not None:
        document["process"]["user"] = user
    (here / "config.json").write_text(json.dumps(document))
    user = user or {}
    assert runtime.output(here).split() == [str(user.get("uid", 0)), str(user.get("gid", 0))]


@pytest.mark.shows("process.user.umask")
@pytest.mark.parametrize("callers", [0, 0o035, 0o077])
def test_without_a_umask_it_is_0022_whatever_the_callers_is(
    runtime: Runtime, sleeper: Path, callers: int
) -> None:
    before = os.umask(callers)
    try:
        pid = runtime.pid(runtime.launch(sleeper))
    finally:
        os.umask(before)
    assert host.status(pid)["Umask"] == "0022"


@pytest.mark.parametrize("umask", [0, 0o077, 0o777])
@pytest.mark.peers_differ(runc="makes them as the umask says", crun="makes them as the umask says")
def test_what_is_made_on_the_host_has_its_modes_whatever_the_callers_umask_is(
    runtime: Runtime, bundle: MakeBundle, tmp_path: Path, umask: int
) -> None:
    here = bundle(process={"args": ["sleep", "1000"], "cwd": "/work/here"}, mounts=None)
    pid_file = tmp_path / "pid"
    before = os.umask(umask)
    try:
        container = runtime.launch(here, "--pid-file", str(pid_file))
    finally:
        os.umask(before)
    pid = runtime.pid(container)
    modes = {
        path: path.stat().st_mode & 0o7777
        for path in (pid_file, runtime.root / container, here / "rootfs/work/here")
    }
    assert list(modes.values()) == [0o644, 0o700, 0o755]
    for controller in ("pids", "memory"):
        assert host.cgroup_of(pid, controller).stat().st_mode & 0o7777 == 0o755


@pytest.mark.shows("process")
@pytest.mark.skipif(os.cpu_count() == 1, reason="the machine has a single CPU")
@pytest.mark.peers_differ(crun="keeps them", runc="keeps them")
def test_the_callers_choice_of_cpus_does_not_come_along(runtime: Runtime, sleeper: Path) -> None:
    everything = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(everything)})
    try:
        pid = runtime.pid(runtime.launch(sleeper))
    finally:
        os.sched_setaffinity(0, everything)
    assert os.sched_getaffinity(pid) == everything


@pytest.mark.shows("process")
@pytest.mark.skipif(os.cpu_count() == 1, reason="the machine has a single CPU")
def test_all_cpus_are_those_of_the_cpuset(runtime: Runtime, bundle: MakeBundle) -> None:
    everything = os.sched_getaffinity(0)
    wanted = max(everything)
    linux = {"resources": {"cpu": {"cpus": str(wanted)}}}
    os.sched_setaffinity(0, {min(everything)})
    try:
        pid = runtime.pid(runtime.launch(bundle(process={"args": ["sleep", "1000"]}, linux=linux)))
    finally:
        os.sched_setaffinity(0, everything)
    assert os.sched_getaffinity(pid) == {wanted}
