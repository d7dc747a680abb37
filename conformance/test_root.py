"""The root filesystem; config.md, "Root", config-linux.md, "Rootfs Mount Propagation"."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from .bundles import make_rootfs, mounts
from .fixtures import MakeBundle
from .runtime import Runtime
from .test_mount_options import rows
from .test_mounts import refused, shell


@pytest.mark.shows("root.path")
@pytest.mark.parametrize("kind", ["relative", "absolute", "symlink", "below"])
def test_the_root_is_the_directory_at_the_path(runtime: Runtime, bundle: MakeBundle, kind: str) -> None:
    here = bundle(process={"args": ["cat", "/marker"]})
    (here / "rootfs/marker").write_text("here\n")
    path = {
        "relative": "rootfs",
        "absolute": str(here / "rootfs"),
        "symlink": "link",
        "below": "./a/../rootfs/",
    }
    (here / "link").symlink_to("rootfs")
    change(here, root={"path": path[kind], "readonly": True})
    assert runtime.output(here) == "here\n"


@pytest.mark.shows("root.path")
def test_the_bundle_itself_may_be_the_root(runtime: Runtime, bundle: MakeBundle) -> None:
    here = bundle(process={"args": ["ls", "/config.json"]}, root={"path": "."})
    shutil.rmtree(here / "rootfs")
    make_rootfs(here)
    assert runtime.output(here) == "/config.json\n"


@pytest.mark.refuses("root.path")
@pytest.mark.parametrize(
    "root", [None, {}, {"path": ""}, {"path": "none"}, {"path": "config.json"}, {"path": 5}]
)
@pytest.mark.peers_differ(crun="takes some of them", runc="takes some of them")
def test_a_root_that_is_no_directory_is_an_error(runtime: Runtime, bundle: MakeBundle, root: Any) -> None:
    here = bundle()
    change(here, root=root)
    refused(runtime, here)


@pytest.mark.shows("root.readonly")
@pytest.mark.parametrize(("readonly", "said"), [(True, "refused\n"), (False, ""), (None, "")])
def test_a_readonly_root_can_not_be_written(
    runtime: Runtime, bundle: MakeBundle, readonly: bool | None, said: str
) -> None:
    here = bundle(process=shell("touch /new 2>/dev/null || echo refused"), root={"readonly": readonly})
    assert runtime.output(here) == said
    assert (here / "rootfs/new").exists() == (said == "")


@pytest.mark.refuses("root.readonly")
@pytest.mark.parametrize("readonly", ["true", 1])
def test_readonly_is_true_or_false(runtime: Runtime, bundle: MakeBundle, readonly: Any) -> None:
    refused(runtime, bundle(root={"readonly": readonly}))


@pytest.mark.shows("linux.rootfsPropagation")
@pytest.mark.parametrize(
    ("value", "there", "missing"),
    [
        ("shared", {"shared"}, {"unbindable"}),
        ("slave", set(), {"shared", "unbindable"}),
        ("private", set(), {"shared", "master", "unbindable"}),
        ("unbindable", {"unbindable"}, {"shared"}),
        (None, set(), {"shared", "unbindable"}),
    ],
)
def test_the_roots_propagation_is_the_configs(
    runtime: Runtime, bundle: MakeBundle, value: str | None, there: set[str], missing: set[str]
) -> None:
    here = bundle(process={"args": ["cat", "/proc/self/mountinfo"]}, linux={"rootfsPropagation": value})
    _, fields = rows(runtime.output(here))["/"]
    assert there <= fields
    assert not missing & fields


@pytest.mark.shows("linux.rootfsPropagation")
def test_a_shared_root_is_no_peer_of_the_hosts(runtime: Runtime, bundle: MakeBundle) -> None:
    here = bundle(process={"args": ["sleep", "1000"]}, linux={"rootfsPropagation": "shared"}, mounts=mounts())
    pid = runtime.pid(runtime.launch(here))

    def groups(path: str) -> set[str]:
        lines = Path(path).read_text().splitlines()
        return {word for line in lines for word in line.split(" - ")[0].split() if word.startswith("shared:")}

    assert groups(f"/proc/{pid}/mountinfo")
    assert not groups(f"/proc/{pid}/mountinfo") & groups("/proc/self/mountinfo")


@pytest.mark.refuses("linux.rootfsPropagation")
@pytest.mark.parametrize("value", ["public", 5])
@pytest.mark.peers_differ(crun="takes some of them", runc="takes some of them")
def test_an_unknown_propagation_is_an_error(runtime: Runtime, bundle: MakeBundle, value: Any) -> None:
    refused(runtime, bundle(linux={"rootfsPropagation": value}))


def change(here: Path, **changes: Any) -> None:
    """Replace properties of the bundle's configuration; None removes one."""
    document = json.loads((here / "config.json").read_text()) | changes
    kept = {name: value for name, value in document.items() if value is not None}
    (here / "config.json").write_text(json.dumps(kept))
