"""Attacks on what comes from the host into a container in which the attacker is already: `exec` (published ones), `mounts`."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from conformance.runtime import Runtime

from .attackers import Neighbour, Outside
from .conftest import MakeBundle
from .test_attacks_descriptors import TRACER, programs, run_leaking
from .test_attacks_descriptors import leaked as leaked
from .test_attacks_procfs import apparmor as apparmor
from .test_attacks_races import hidden_in_proc

# Debian 12's are older than most of these advisories, and say other words.
pytestmark = pytest.mark.peers_differ(crun="1.8.1", runc="1.1.5")
TIMES = 20
MOUNTER = {name: [*TRACER[name], "CAP_SYS_ADMIN", "CAP_DAC_OVERRIDE"] for name in TRACER}

# Looks again and again at whatever process there is: its root, and all that it has open.
WATCH = """
touch /shared/busy
until test -e /shared/stop; do
    for process in /proc/[0-9]*; do
        test -e $process/root{secret} && echo "root of $process"
        for descriptor in $process/fd/*; do
            test -e $descriptor/{host}/root{secret} && echo "procfs at $descriptor"
            test -e $descriptor{secret} && echo "descriptor $descriptor"
        done
        test $process/exe -ef /bin/busybox || echo seen >/shared/seen
    done
done 2>/dev/null
"""


def test_cve_2016_9962_who_may_trace_finds_no_way_to_the_host_by_a_joining_process(
    pyoci: Runtime, reachable: MakeBundle, leaked: int, tmp_path: Path
) -> None:  # fmt: skip
    """CAP_SYS_PTRACE is no capability over the host. runc's init joined the pid namespace with the host still at hand."""
    outside = Outside(tmp_path / "outside")
    attacker = Neighbour(pyoci, reachable, {"capabilities": TRACER}, {})
    with attacker.doing(WATCH.format(secret=outside.path / "secret", host=os.getpid())) as said:
        for _ in range(TIMES):
            assert run_leaking(pyoci, leaked, "exec", attacker.id, "true") == 0
    assert said() == ""
    assert (attacker.shared / "seen").exists(), "the control: the runtime's program was there to be looked at"


# As in test_attacks_descriptors: opened for reading while it runs, for writing after that.
OVERWRITE = """
touch /shared/busy
until test -e /shared/stop; do
    for process in /proc/[0-9]*; do
        test -e $process/exe || continue
        test $process/exe -ef /bin/busybox && continue
        {
            while test -e $process/exe; do usleep 100; done
            true >>/proc/self/fd/9 && echo writable
        } 9<$process/exe
    done
done
"""


def test_cve_2019_5736_the_joining_program_is_not_writable_from_within(
    pyoci: Runtime, reachable: MakeBundle
) -> None:
    attacker = Neighbour(pyoci, reachable, {"capabilities": TRACER}, {})
    before = programs(pyoci)
    with attacker.doing(OVERWRITE) as said:
        for _ in range(TIMES):
            pyoci("exec", attacker.id, "true")
    assert "writable" not in said()
    assert "Read-only file system" in said(), "it was never caught"
    assert programs(pyoci) == before


@pytest.mark.parametrize("script", ["/proc/self/exe", "/proc/self/exe 3", "/bin/script"])
def test_cve_2019_5736_the_runtimes_program_as_the_joining_one(
    pyoci: Runtime, reachable: MakeBundle, script: str
) -> None:
    """A program of the image's that is a symlink, or a script, for the runtime itself."""
    attacker = Neighbour(pyoci, reachable, {}, {})
    (attacker.bundle / "rootfs/bin/script").write_text("#!/proc/self/exe\n")
    (attacker.bundle / "rootfs/bin/script").chmod(0o755)
    before = programs(pyoci)
    assert pyoci.attempt("exec", attacker.id, *script.split()).code == 125
    assert programs(pyoci) == before


@pytest.mark.parametrize("way", ["/proc/self/fd/{}", "/proc/self/fd/{}/../../etc", "/shared/{}"])
def test_cve_2024_21626_no_working_directory_is_a_leaked_one(
    pyoci: Runtime, reachable: MakeBundle, leaked: int, way: str
) -> None:
    attacker = Neighbour(pyoci, reachable, {}, {})
    for number in [*range(21), leaked]:
        attacker.does(f"ln -sf /proc/self/fd/{number} /shared/{number}")
        command = ["exec", "--cwd", way.format(number), attacker.id, "touch", "/shared/reached"]
        assert run_leaking(pyoci, leaked, *command) == 255
    assert not (attacker.shared / "reached").exists()


@pytest.mark.usefixtures("apparmor")
def test_cve_2025_62596_a_label_is_written_to_the_kernel(pyoci: Runtime, reachable: MakeBundle) -> None:
    """The attacker may mount what it likes on its /proc: a file that takes any label."""
    attacker = Neighbour(pyoci, reachable, {"capabilities": MOUNTER}, {})
    fake = attacker.shared / "fake/self/attr"
    (fake / "apparmor").mkdir(parents=True)
    files = [fake / "exec", fake / "apparmor/exec"]
    for file in files:
        file.touch()
    assert attacker.does("mount --bind /shared/fake /proc && ls /proc") == "self\n", (
        "the control: that is its /proc"
    )
    assert "/apparmorProfile" in pyoci.fails("exec", "--apparmor", "no-such-profile", attacker.id, "true")
    assert [file.read_text() for file in files] == ["", ""]


@pytest.mark.parametrize("name", ["sys", "sysrq-trigger", "keys"])
def test_what_is_hidden_in_proc_is_not_unmounted_in_the_place_of_something_else(
    pyoci: Runtime, reachable: MakeBundle, tmp_path: Path, name: str
) -> None:
    """`mounts remove` goes by the path: the attacker has put a symlink to /proc where its parent was."""
    if not Path("/proc", name).exists():
        pytest.skip(f"this kernel has no /proc/{name}")
    attacker = Neighbour(pyoci, reachable, {}, {})
    given = tmp_path / "given"
    given.write_text(
        json.dumps([{"destination": f"/shared/data/{name}", "type": "tmpfs", "source": "tmpfs"}])
    )
    attacker.does("mkdir /shared/data")
    pyoci("mounts", "add", attacker.id, given)
    before = hidden_in_proc(attacker.pid)
    assert attacker.does("mv /shared/data /shared/old && ln -s /proc /shared/data") == ""
    assert "in /proc" in pyoci.fails("mounts", "remove", attacker.id, given)
    assert hidden_in_proc(attacker.pid) == before
    assert attacker.does("rm /shared/data && mv /shared/old /shared/data") == ""
    pyoci("mounts", "remove", attacker.id, given)
