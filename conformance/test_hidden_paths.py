"""maskedPaths and readonlyPaths; config-linux.md, "Masked Paths" and "Readonly Paths"."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from .bundles import namespaces
from .fixtures import MakeBundle
from .runtime import Runtime
from .test_mounts import refused, shell

MAPPING = [{"containerID": 0, "hostID": 100000, "size": 65536}]
USER = {"namespaces": [*namespaces(), {"type": "user"}], "uidMappings": MAPPING, "gidMappings": MAPPING}


def furnish(base: Path) -> None:
    """One of each kind of file, with something to see."""
    base.mkdir()
    base.chmod(0o755)
    (base / "file").write_text("secret\n")
    (base / "directory").mkdir()
    (base / "directory/file").write_text("secret\n")
    (base / "deep/er").mkdir(parents=True)
    (base / "deep/er/file").write_text("secret\n")
    os.mkfifo(base / "fifo")
    os.mknod(base / "char", 0o020644, os.makedev(1, 5))
    (base / "link").symlink_to("file")


KINDS = ["file", "directory", "deep/er", "fifo", "char", "link"]


@pytest.mark.shows("linux.maskedPaths")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("mapped", [False, True])
def test_a_masked_path_shows_nothing(
    runtime: Runtime, reachable: MakeBundle, kind: str, mapped: bool
) -> None:
    script = f"if test -d /x/{kind}; then ls -A /x/{kind}; else head -c 9 /x/{kind}; fi; test -e /x/file && echo there"
    linux = {"maskedPaths": [f"/x/{kind}"]} | (USER if mapped else {})
    here = reachable(process=shell(script), linux=linux)
    furnish(here / "rootfs/x")
    assert runtime.output(here) == "there\n"


@pytest.mark.shows("linux.maskedPaths")
def test_nothing_can_be_put_into_a_masked_directory(runtime: Runtime, bundle: MakeBundle) -> None:
    here = bundle(
        process=shell("touch /x/directory/new 2>/dev/null || echo refused"),
        root={"readonly": False},
        linux={"maskedPaths": ["/x/directory", "/x/deep"]},
    )
    furnish(here / "rootfs/x")
    assert runtime.output(here) == "refused\n"


@pytest.mark.shows("linux.readonlyPaths")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("mapped", [False, True])
def test_a_readonly_path_is_on_a_readonly_mount(
    runtime: Runtime, reachable: MakeBundle, kind: str, mapped: bool
) -> None:
    target = "file" if kind == "link" else kind
    script = f"grep ' /x/{target} ' /proc/self/mountinfo | cut -d' ' -f6 | grep -c '^ro'"
    linux = {"readonlyPaths": [f"/x/{kind}"]} | (USER if mapped else {})
    here = reachable(process=shell(script), root={"readonly": False}, linux=linux)
    furnish(here / "rootfs/x")
    assert runtime.output(here) == "1\n"


@pytest.mark.shows("linux.readonlyPaths")
def test_a_readonly_path_can_be_read_and_not_written(runtime: Runtime, bundle: MakeBundle) -> None:
    here = bundle(
        process=shell(
            "cat /x/directory/file; touch /x/directory/file 2>/dev/null || echo refused; touch /x/new"
        ),
        root={"readonly": False},
        linux={"readonlyPaths": ["/x/directory"]},
    )
    furnish(here / "rootfs/x")
    assert runtime.output(here) == "secret\nrefused\n"


@pytest.mark.shows("linux.maskedPaths", "linux.readonlyPaths")
@pytest.mark.parametrize("name", ["maskedPaths", "readonlyPaths"])
def test_a_path_that_is_not_there_is_no_error(runtime: Runtime, bundle: MakeBundle, name: str) -> None:
    runtime.output(bundle(process={"args": ["true"]}, linux={name: ["/no/such", "/etc/passwd/below"]}))


@pytest.mark.refuses("linux.maskedPaths", "linux.readonlyPaths")
@pytest.mark.parametrize("name", ["maskedPaths", "readonlyPaths"])
@pytest.mark.parametrize("value", [["relative"], "/a", [5]])
@pytest.mark.peers_differ(crun="takes some of them", runc="takes some of them")
def test_anything_but_a_list_of_absolute_paths_is_an_error(
    runtime: Runtime, bundle: MakeBundle, name: str, value: Any
) -> None:
    refused(runtime, bundle(linux={name: value}))
