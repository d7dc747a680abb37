"""Published attacks on who a container's program is and what it may do: its user, its capabilities, its cgroups."""

from __future__ import annotations

import json
import os
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from conformance import host
from conformance.bundles import DEFAULT_CONFIG
from conformance.runtime import Runtime, new_id

from .conftest import MakeBundle
from .test_rootless import USER, Account, account  # noqa: F401

# Debian 12's are older than most of these advisories, and say other words.
pytestmark = pytest.mark.peers_differ(crun="1.8.1", runc="1.1.5")
SLEEP = {"args": ["sleep", "1000"]}
NOBODY = {"uid": 1000, "gid": 1000}
CAP_NET_RAW = 1 << 13
SETS = ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")
DEFAULT_CAPABILITIES = 1 << 5 | 1 << 10 | 1 << 29  # KILL, NET_BIND_SERVICE, AUDIT_WRITE


def capabilities(pid: int) -> dict[str, int]:
    """The five sets of a process."""
    shown = host.status(pid)
    return {name: int(shown[name], 16) for name in SETS}


def test_cve_2016_3697_a_user_is_a_number_whatever_passwd_calls_so(
    pyoci: Runtime, bundle: MakeBundle
) -> None:
    """runc looked the number up as a name, and the image's /etc/passwd had a user of that name: root."""
    here = bundle(process={"args": ["id"], "user": NOBODY | {"additionalGids": [1001]}})
    (here / "rootfs/etc/passwd").write_text("1000:x:0:0:root:/:/bin/sh\n1001:x:0:0::/:/bin/sh\n")
    (here / "rootfs/etc/group").write_text("1000:x:0:\n1001:x:0:\n")
    # busybox's own lookup is by number, too, and finds no name.
    assert pyoci.run(here).stdout == "uid=1000 gid=1000 groups=1001\n"


# A caller that holds capabilities in every set, as a service with AmbientCapabilities= does.
GIVEN = "+kill,+net_raw,+sys_admin,+dac_override"
GENEROUS = ["setpriv", f"--inh-caps={GIVEN}", f"--ambient-caps={GIVEN}"]


@pytest.mark.parametrize("user", [{"uid": 0, "gid": 0}, NOBODY], ids=["root", "nobody"])
def test_cve_2016_8867_2022_24769_and_29162_no_capability_of_the_callers_is_left(
    pyoci: Runtime, bundle: MakeBundle, user: dict[str, int]
) -> None:
    """Ambient ones for a user without privileges, inheritable ones for whoever executes a file that has some."""
    here = bundle(process=SLEEP | {"user": user})
    container = new_id()
    show = [*GENEROUS, "grep", "-E", "Cap(Inh|Amb)", "/proc/self/status"]
    assert "0" * 16 not in subprocess.run(show, capture_output=True, text=True, check=True).stdout
    for command in (["create", "--bundle", str(here), container], ["start", container]):
        subprocess.run(
            [*GENEROUS, *pyoci.command, *command], stdin=subprocess.DEVNULL, timeout=30, check=True
        )
        left = DEFAULT_CAPABILITIES if user["uid"] == 0 or command[0] == "create" else 0
        assert capabilities(pyoci.pid(container)) == {
            "CapInh": 0,
            "CapPrm": left,
            "CapEff": left,
            "CapBnd": DEFAULT_CAPABILITIES,
            "CapAmb": 0,
        }


def give_inheritable(program: Path) -> None:
    """setcap cap_net_raw+ei: whoever executes it gets what his own inheritable set has of that; capabilities(7)."""
    os.setxattr(program, "security.capability", struct.pack("<5I", 0x02000001, 0, CAP_NET_RAW, 0, 0))


@pytest.mark.parametrize("inheritable", [False, True], ids=["as usual", "the control"])
def test_cve_2022_24769_a_file_with_inheritable_capabilities_gives_none(
    pyoci: Runtime, bundle: MakeBundle, inheritable: bool
) -> None:
    allowed = [*DEFAULT_CONFIG["process"]["capabilities"]["bounding"], "CAP_NET_RAW"]
    sets = dict.fromkeys(("bounding", "permitted", "effective"), allowed)
    here = bundle(
        process={
            "args": ["/bin/busybox-capable", "grep", "CapEff", "/proc/self/status"],
            "user": NOBODY,
            "noNewPrivileges": False,
            "capabilities": sets | ({"inheritable": ["CAP_NET_RAW"]} if inheritable else {}),
        }
    )
    program = here / "rootfs/bin/busybox-capable"
    program.write_bytes((here / "rootfs/bin/busybox").read_bytes())
    program.chmod(0o755)
    give_inheritable(program)
    command = [*GENEROUS, *pyoci.command, "run", "--bundle", str(here), new_id()]
    result = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=30)
    assert int(result.stdout.split()[1], 16) == (CAP_NET_RAW if inheritable else 0), result


@pytest.fixture
def delegated() -> Iterator[Path]:
    """A cgroup that was given to the user without privileges."""
    hierarchy = next(
        (path for path in (host.CGROUPS / "pids", host.CGROUPS) if (path / "cgroup.procs").exists()), None
    )
    if hierarchy is None:
        pytest.skip("the host has no cgroups")
    path = hierarchy / f"{host.TAG}-delegated"
    path.mkdir()
    os.chown(path, USER, USER)
    yield path
    for below in [*path.iterdir()]:
        if below.is_dir():
            below.rmdir()
    path.rmdir()


def test_cve_2023_25809_without_root_the_hosts_cgroups_are_not_writable(
    account: Account,  # noqa: F811
    delegated: Path,
) -> None:
    """In a rootless container of runc's the user's own cgroups were writable: limits and freezers, of the host's processes."""
    subprocess.run(["mkdir", delegated / "by-the-user"], user=USER, group=USER, check=True)
    script = f"mkdir {delegated}/new 2>&1; test -d {delegated}/by-the-user && echo there"
    result = account.run("run", "--bundle", account.bundle(process={"args": ["sh", "-c", script]}), new_id())
    assert not (delegated / "new").exists()
    if host.V2:
        # On cgroup v2 the host's tree isn't even to be seen: /sys/fs/cgroup is that of a cgroup namespace.
        assert "can't create directory" in result.stdout
        return
    assert result.code == 0, result
    assert "Read-only file system" in result.stdout
    assert result.stdout.endswith("there\n"), "the control: it was there, and the user's"


def test_cve_2023_25809_the_callers_cgroups_are_not_writable_whatever_the_config_says(
    account: Account,  # noqa: F811
) -> None:
    """A container without a cgroup of its own is in the caller's, and may own them."""
    entry = {"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": ["rw"]}
    here = account.bundle(process={"args": ["mount"]})
    document = json.loads((here / "config.json").read_text())
    document["mounts"] = [*(m for m in document["mounts"] if m["type"] != "cgroup"), entry]
    document["linux"]["namespaces"] = [n for n in document["linux"]["namespaces"] if n["type"] != "cgroup"]
    (here / "config.json").write_text(json.dumps(document))
    result = account.run("run", "--bundle", here, new_id())
    trees = [line for line in result.stdout.splitlines() if " type cgroup" in line]
    assert trees, result
    assert all("(ro," in line for line in trees), trees
