"""The program is looked for at `create` and at `start`, and what is wrong with it is said; config.md, "Process", `args`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from .fixtures import MakeBundle
from .runtime import Runtime, new_id

OWN_WORDS = ("crun", "runc")


def refusal(runtime: Runtime, bundle: Path) -> str:
    """What `create` says; nothing may be there after it."""
    error = runtime.fails("create", "--bundle", bundle, new_id())
    assert os.listdir(runtime.root) == []
    return error


def executable(path: Path, text: str = "#!/bin/sh\necho found\n", mode: int = 0o755) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(mode)


@pytest.mark.refuses("process.args")
@pytest.mark.parametrize(
    ("args", "env", "words"),
    [
        (
            ["no-such"],
            ["PATH=/sbin:/bin"],
            ('"no-such"', "executable file not found in $PATH", '"/sbin:/bin"'),
        ),
        (["no-such"], [], ("executable file not found in $PATH", '"/bin:/usr/bin"')),
        ([""], ["PATH=/bin"], ("executable file not found in $PATH",)),
        (["." * 300], ["PATH=/bin"], ("executable file not found in $PATH",)),
        (["."], ["PATH=/bin"], ("executable file not found in $PATH",)),
        (["/no/such"], ["PATH=/bin"], ('"/no/such"', "no such file or directory", "container")),
        (["/bin/sh/x"], ["PATH=/bin"], ('"/bin/sh/x"', "not a directory")),
        (["./no-such"], ["PATH=/bin"], ('"./no-such"', "no such file or directory", '"/tmp"')),
    ],
)
@pytest.mark.peers_differ(
    crun="has other words for some, and finds a directory", runc="has other words for some"
)
def test_a_program_that_is_not_there_is_an_error_of_create(
    runtime: Runtime, bundle: MakeBundle, args: list[str], env: list[str], words: tuple[str, ...]
) -> None:
    error = refusal(runtime, bundle(process={"args": args, "env": env, "cwd": "/tmp"}))
    for word in words:
        assert word in error


@pytest.mark.refuses("process.args")
@pytest.mark.parametrize("name", ["tool", "/special/tool"])
@pytest.mark.peers_differ(runc="starts it with status 0")
def test_a_program_that_went_away_is_an_error_of_start(
    runtime: Runtime, bundle: MakeBundle, name: str
) -> None:
    here = bundle(process={"args": [name], "env": ["PATH=/special"]})
    executable(here / "rootfs/special/tool")
    container = runtime.create(here)
    (here / "rootfs/special/tool").unlink()
    error = runtime.fails("start", container)
    if runtime.path.name not in OWN_WORDS:
        assert (
            "executable file not found in $PATH" if name == "tool" else "no such file or directory"
        ) in error
        assert "/special" in error
    runtime.attempt("delete", "--force", container)


@pytest.mark.refuses("process.args")
@pytest.mark.parametrize("user", [0, 1000])
@pytest.mark.peers_differ(crun="leaves it to start", runc="says that it isn't there")
def test_a_program_that_its_user_may_not_execute_is_an_error_of_create(
    runtime: Runtime, bundle: MakeBundle, user: int
) -> None:
    here = bundle(process={"args": ["/special/tool"], "user": {"uid": user, "gid": user}})
    executable(here / "rootfs/special/tool", mode=0o644 if user == 0 else 0o744)
    assert "permission denied" in refusal(runtime, here)
    here = bundle(
        process={"args": ["tool"], "env": ["PATH=/special:/bin"], "user": {"uid": user, "gid": user}}
    )
    executable(here / "rootfs/special/tool", mode=0o644 if user == 0 else 0o744)
    assert "permission denied" in refusal(runtime, here)
    executable(here / "rootfs/bin/tool")
    assert runtime.output(here) == "found\n"


@pytest.mark.shows("process.args")
def test_a_program_that_only_its_user_may_reach_is_found(runtime: Runtime, bundle: MakeBundle) -> None:
    """Root without CAP_DAC_OVERRIDE may not, so it has to be looked for by the user itself."""
    user = {"uid": 1000, "gid": 1000}
    here = bundle(process={"args": ["tool"], "env": ["PATH=/special:/bin"], "user": user})
    executable(here / "rootfs/special/tool", mode=0o700)
    (here / "rootfs/special").chmod(0o700)
    for path in (here / "rootfs/special", here / "rootfs/special/tool"):
        os.chown(path, 1000, 1000)
    assert runtime.output(here) == "found\n"


@pytest.mark.refuses("process.args", "process.env")
@pytest.mark.parametrize(
    ("process", "words"),
    [
        ({"env": ["A=b", "LONG=" + "x" * 140_000]}, ("/process/env/1", '"LONG"', "140005 bytes")),
        ({"args": ["true", "-x", "y" * 140_000]}, ("/process/args/2", '"yyyy', "140000 bytes")),
        ({"args": ["/bin/true", *["z" * 120_000] * 60]}, ("/process/args", "7200", "together")),
    ],
    ids=["a variable", "an argument", "together"],
)
@pytest.mark.peers_differ(crun="says E2BIG alone", runc="says E2BIG alone")
def test_what_is_too_long_is_named(
    runtime: Runtime, bundle: MakeBundle, process: dict[str, Any], words: tuple[str, ...]
) -> None:
    container = runtime.create(bundle(process={"args": ["true"], "env": ["PATH=/bin"]} | process))
    error = runtime.fails("start", container)
    for word in words:
        assert word in error
    runtime.attempt("delete", "--force", container)
