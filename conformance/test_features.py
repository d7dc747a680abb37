"""`features`: what a runtime says it can do, and whether it does; features.md, features-linux.md."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from .bundles import merged, mounts
from .fixtures import MakeBundle
from .namespace_holders import FILES
from .runtime import Runtime
from .test_mounts import bind, tmpfs

# Options that take more than being listed.
SPECIAL = {"bind", "rbind", "remount", "idmap", "ridmap", "src-nofollow", "dest-nofollow", "copy-symlink"}


@pytest.fixture
def features(runtime: Runtime) -> dict[str, Any]:
    done = subprocess.run([str(runtime.path), "features"], capture_output=True, text=True, timeout=30)
    if done.returncode != 0:
        pytest.skip(f"this runtime has no `features`: {done.stderr.strip()}")
    # CRI-O reads both together.
    assert done.stderr == ""
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def number(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.partition("-")[0].split("."))


@pytest.mark.shows("features.ociVersion")
def test_the_versions_are_taken(runtime: Runtime, bundle: MakeBundle, features: dict[str, Any]) -> None:
    assert number(features["ociVersionMin"]) <= number(features["ociVersionMax"])
    for name in ("ociVersionMin", "ociVersionMax"):
        runtime.output(bundle(ociVersion=features[name], process={"args": ["true"]}))


@pytest.mark.shows("features.hooks")
def test_the_hooks_are_run(
    runtime: Runtime, bundle: MakeBundle, features: dict[str, Any], tmp_path: Any
) -> None:
    seen = tmp_path / "seen"
    mount = {"destination": "/out", "type": "none", "source": str(tmp_path), "options": ["bind"]}
    hooks = {
        kind: [
            {
                "path": "/bin/sh",
                "args": ["sh", "-c", f"echo {kind} >>{'/out/seen' if kind == 'startContainer' else seen}"],
            }
        ]
        for kind in features["hooks"]
    }
    runtime.output(bundle(hooks=hooks, mounts=mounts(mount), process={"args": ["true"]}))
    assert sorted(seen.read_text().split()) == sorted(features["hooks"])


@pytest.mark.shows("features.mountOptions")
@pytest.mark.peers_differ(runc="doesn't know its `defaults`")
def test_the_mount_options_are_known(runtime: Runtime, bundle: MakeBundle, features: dict[str, Any]) -> None:
    listed = set(features["mountOptions"]) - SPECIAL
    entries = [tmpfs(f"/tmp/{option}", option) for option in sorted(listed)]
    runtime.output(bundle(process={"args": ["true"]}, mounts=mounts(tmpfs("/tmp"), *entries)))


@pytest.mark.shows("features.linux")
def test_the_namespaces_can_be_made(runtime: Runtime, bundle: MakeBundle, features: dict[str, Any]) -> None:
    assert set(features["linux"]["namespaces"]) <= FILES.keys()
    listed = [{"type": kind} for kind in features["linux"]["namespaces"] if kind != "user"]
    runtime.output(bundle(process={"args": ["true"]}, linux={"namespaces": listed}))


@pytest.mark.shows("features.linux")
def test_the_capabilities_are_known(runtime: Runtime, bundle: MakeBundle, features: dict[str, Any]) -> None:
    sets = {"bounding": features["linux"]["capabilities"]}
    done = runtime.run(bundle(process={"args": ["true"], "capabilities": sets}))
    assert done.code == 0
    # One that this host hasn't got may be told; none is unknown.
    assert "unknown" not in done.stderr
    assert "not known" not in done.stderr


@pytest.mark.shows("features.linux")
@pytest.mark.peers_differ(runc="is too old for flags")
def test_seccomps_words_are_known(runtime: Runtime, bundle: MakeBundle, features: dict[str, Any]) -> None:
    told = features["linux"]["seccomp"]
    if not told["enabled"]:
        pytest.skip("this runtime has no seccomp")
    rules = [
        {"names": ["acct"], "action": action} for action in told["actions"] if action != "SCMP_ACT_NOTIFY"
    ]
    comparisons = [
        {
            "names": ["swapon"],
            "action": "SCMP_ACT_ERRNO",
            "args": [{"index": 0, "value": 5, "valueTwo": 5, "op": operator}],
        }
        for operator in told["operators"]
    ]
    flags = [flag for flag in told["supportedFlags"] if not flag.endswith("WAIT_KILLABLE_RECV")]
    for rule in rules + comparisons:
        profile = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule], "flags": flags}
        runtime.output(bundle(process={"args": ["true"]}, linux={"seccomp": profile}))
    assert set(told["supportedFlags"]) <= set(told["knownFlags"])


@pytest.mark.shows("features.linux")
def test_seccomps_architectures_are_known(
    runtime: Runtime, bundle: MakeBundle, features: dict[str, Any]
) -> None:
    told = features["linux"]["seccomp"]
    if not told["enabled"]:
        pytest.skip("this runtime has no seccomp")
    assert told["archs"]
    for name in told["archs"]:
        profile = {"defaultAction": "SCMP_ACT_ALLOW", "architectures": [name]}
        done = runtime.run(bundle(process={"args": ["true"]}, linux={"seccomp": profile}))
        # One filter can't be for both byte orders, which may be told; none is unknown.
        assert done.code == 0 or not re.search("unknown|not known|invalid", done.stderr), done


@pytest.mark.shows("features.linux")
def test_ids_of_mounts_can_be_mapped(
    runtime: Runtime, bundle: MakeBundle, features: dict[str, Any], tmp_path: Path
) -> None:
    if not features["linux"].get("mountExtensions", {}).get("idmap", {}).get("enabled"):
        pytest.skip("this runtime doesn't say that it maps the ids of mounts")
    ids = [{"containerID": 0, "hostID": 7000, "size": 1}]
    mapped = bind(tmp_path, "/tmp", "idmap") | {"uidMappings": ids, "gidMappings": ids}
    here = bundle(process={"args": ["stat", "-c", "%u", "/tmp"]}, mounts=mounts(mapped))
    assert runtime.output(here) == "7000\n"


@pytest.mark.shows("features.linux")
def test_memory_policies_are_known(runtime: Runtime, bundle: MakeBundle, features: dict[str, Any]) -> None:
    policy = features["linux"].get("memoryPolicy")
    if not policy:
        pytest.skip("this runtime tells of no memory policies")
    for mode in policy["modes"]:
        nodes = {} if mode in ("MPOL_DEFAULT", "MPOL_LOCAL") else {"nodes": "0"}
        done = runtime.run(
            bundle(process={"args": ["true"]}, linux={"memoryPolicy": {"mode": mode, **nodes}})
        )
        # A mode may be newer than the kernel.
        assert done.code == 0 or "memoryPolicy/mode" not in done.stderr, done


@pytest.mark.shows("features.linux")
def test_what_is_not_listed_is_refused(
    runtime: Runtime, bundle: MakeBundle, features: dict[str, Any]
) -> None:
    changes = {"linux": {"namespaces": [{"type": "mount"}, {"type": "no-such"}]}}
    here = bundle(**merged({"process": {"args": ["true"]}}, changes))
    assert "no-such" not in features["linux"]["namespaces"]
    assert runtime.run(here).code != 0
