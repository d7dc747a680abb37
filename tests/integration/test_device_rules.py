"""`linux.resources.devices`: what the kernel lets a container do, rule by rule; and later, by other rules."""

from __future__ import annotations

import json
import os
import stat
import time
from pathlib import Path
from typing import Any

import pytest

from conformance import host
from conformance.runtime import SYSTEMD, Runtime, new_id
from pyoci.cgroups.device_filter import decide
from pyoci.cgroups.devices import in_order

from .conftest import MakeBundle

FILTERED = host.V2 or (SYSTEMD and (host.CGROUPS / "unified").is_dir())  # by eBPF, which can do everything
DENY_ALL: dict[str, Any] = {"allow": False, "access": "rwm"}
# "Local and experimental use" (admin-guide/devices.txt), so without a driver: what is permitted ends with ENXIO.
MAJOR = 120
DEVICES = [("c", MAJOR, 1), ("c", MAJOR, 2), ("b", MAJOR, 1), ("c", 1, 5), ("c", 121, 1)]
OPENING = {"r": "<", "w": ">>", "rw": "<>"}
CAPABILITIES = {name: ["CAP_MKNOD"] for name in ("bounding", "effective", "permitted")}


def rule(allow: bool, kind: str, major: int, minor: int = -1, access: str = "rwm") -> dict[str, Any]:
    return {"allow": allow, "type": kind, "major": major, "minor": minor, "access": access}


ONE, TWO, MANY = ((kind, MAJOR, minor) for kind, minor in (("c", 1), ("c", 2), ("c", -1)))
RULES = {
    "nothing": [DENY_ALL],
    "one": [DENY_ALL, rule(True, *ONE, "rw")],
    "read one, write another": [DENY_ALL, rule(True, *ONE, "r"), rule(True, *TWO, "w")],
    "read all, write one": [DENY_ALL, rule(True, *MANY, "r"), rule(True, *ONE, "w")],
    "taken back": [DENY_ALL, rule(True, *ONE), rule(True, *TWO), rule(False, *ONE)],
    "taken back together": [DENY_ALL, rule(True, *ONE), rule(True, *TWO, "r"), rule(False, *MANY)],
    "taken back with all": [rule(True, *ONE), DENY_ALL, rule(True, *TWO)],
    "everything": [DENY_ALL, {"allow": True}],
    "everything else": [rule(False, *MANY, "rw")],
    "everything of any type but one": [{"allow": False, "major": MAJOR, "minor": 1}],
    "all but one": [DENY_ALL, rule(True, *MANY), rule(False, *TWO, "w")],
}
# The rule that an error names, and what it says.
TOO_MUCH = {} if FILTERED else {"all but one": (1, "cgroup v1")}
if SYSTEMD and not FILTERED:
    # systemd writes the rules again, and its own are allow-lists.
    TOO_MUCH |= dict.fromkeys(("everything else", "everything of any type but one"), (0, "systemd"))


def container(bundle: MakeBundle, rules: list[dict[str, Any]], limits: dict[str, Any] | None = None) -> Path:
    """A bundle whose program tries all devices again and again, and writes what it is permitted to /seen."""
    tries = ["permitted() { [ $? = 0 ] || ! grep -q 'not permitted' /e && echo $1 >>/now; }"]
    for kind, major, minor in DEVICES:
        name = f"{kind}{major}:{minor}"
        tries += [f"mknod /dev/x {kind} {major} {minor} 2>/e; permitted {name}:m; rm -f /dev/x"]
        tries += [f"(: {sign} /nodes/{name}) 2>/e; permitted {name}:{how}" for how, sign in OPENING.items()]
    script = "\n".join(
        [tries[0], "while :; do : >/now", *tries[1:], "echo end >>/now; mv /now /seen; sleep 0.05; done"]
    )
    path = bundle(
        process={"args": ["sh", "-c", script], "capabilities": CAPABILITIES, "noNewPrivileges": False},
        root={"readonly": False},
        linux={"resources": {"devices": rules} | (limits or {})},
    )
    nodes = path / "rootfs/nodes"
    nodes.mkdir()
    for kind, major, minor in DEVICES:
        mode = stat.S_IFCHR if kind == "c" else stat.S_IFBLK
        os.mknod(nodes / f"{kind}{major}:{minor}", mode | 0o666, os.makedev(major, minor))
    return path


def said(rules: list[dict[str, Any]]) -> list[str]:
    """What the rules say, in their order."""
    every = [each for each, _ in in_order(rules)]
    return [
        f"{kind}{major}:{minor}:{how}"
        for kind, major, minor in DEVICES
        for how in ("m", *OPENING)
        if decide(every, kind, how, major, minor)
    ]


def await_permitted(bundle: Path, wanted: list[str]) -> None:
    seen = bundle / "rootfs/seen"
    deadline = time.monotonic() + 20
    while True:
        lines = seen.read_text().splitlines() if seen.exists() else []
        if lines == [*wanted, "end"]:
            return
        assert time.monotonic() < deadline, f"permitted: {lines}; should be: {wanted}"
        time.sleep(0.02)


@pytest.mark.parametrize("name", RULES)
@pytest.mark.peers_differ(crun="rules that v1 ignores", runc="rules that v1 ignores")
def test_the_rules_hold_in_their_order(pyoci: Runtime, bundle: MakeBundle, name: str) -> None:
    path = container(bundle, RULES[name])
    if name in TOO_MUCH:
        number, what = TOO_MUCH[name]
        words = pyoci.fails("create", "--bundle", path, new_id())
        assert f"/linux/resources/devices/{number}: {what}" in words
        assert "hint: deny all devices first" in words
        return
    pyoci.launch(path)
    await_permitted(path, said(RULES[name]))


@pytest.mark.peers_differ(crun="rules that v1 ignores", runc="rules that v1 ignores")
def test_rules_are_replaced(pyoci: Runtime, bundle: MakeBundle, tmp_path: Path) -> None:
    path = container(bundle, RULES["one"])
    running = pyoci.launch(path)
    await_permitted(path, said(RULES["one"]))
    for name in ("nothing", "everything", "read all, write one", "everything else", "one"):
        if name in TOO_MUCH:
            continue
        (tmp_path / "new").write_text(json.dumps({"devices": RULES[name]}))
        pyoci("update", "--resources", tmp_path / "new", running)
        await_permitted(path, said(RULES[name]))


@pytest.mark.peers_differ(crun="no such check", runc="no such check")
def test_rules_that_can_not_be_had_leave_those_of_before(
    pyoci: Runtime, bundle: MakeBundle, tmp_path: Path
) -> None:
    path = container(bundle, RULES["one"])
    running = pyoci.launch(path)
    beyond = {"allow": True, "type": "c", "major": 1 << 33, "minor": 1, "access": "r"}
    pids = host.cgroup_of(pyoci.pid(running), "pids") / "pids.max"
    before = pids.read_text()
    new = {"devices": [DENY_ALL, rule(True, *TWO), beyond], "pids": {"limit": 99}}
    (tmp_path / "new").write_text(json.dumps(new))
    assert "/linux/resources/devices/2" in pyoci.fails("update", "-r", tmp_path / "new", running)
    assert pids.read_text() == before
    await_permitted(path, said(RULES["one"]))
    time.sleep(0.2)
    await_permitted(path, said(RULES["one"]))
