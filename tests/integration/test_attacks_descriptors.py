"""Published attacks by descriptors: the runtime's program at /proc/PID/exe, and directories of the host's that leak."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from conformance.bundles import DEFAULT_CONFIG, namespaces, write_config
from conformance.fixtures import REPOSITORY
from conformance.runtime import Runtime, new_id

from .attackers import Neighbour
from .conftest import MakeBundle

# Debian 12's are older than most of these advisories, and say other words.
pytestmark = pytest.mark.peers_differ(crun="1.8.1", runc="1.1.5")
USUAL = DEFAULT_CONFIG["process"]["capabilities"]["bounding"]
TRACER = {name: [*USUAL, "CAP_SYS_PTRACE"] for name in ("bounding", "effective", "permitted")}
MAPPING = [{"containerID": 0, "hostID": 100000, "size": 65536}]
MAPPED = {"uidMappings": MAPPING, "gidMappings": MAPPING}
SLEEP = {"args": ["sleep", "1000"]}


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def kinds_of_descriptors(pid: int) -> list[int]:
    """What a process has open besides its standard input and outputs."""
    base = Path(f"/proc/{pid}/fd")
    return [stat.S_IFMT(entry.stat().st_mode) for entry in base.iterdir() if int(entry.name) > 2]


def pid_inside(pid: int) -> int:
    """The process as its own pid namespace counts."""
    (line,) = [line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if "NSpid" in line]
    return int(line.split()[-1])


@pytest.fixture
def leaked() -> Iterator[int]:
    """A directory of the host's that the engine left open for whatever it runs: the runtime inherits it."""
    root = os.open("/", os.O_RDONLY | os.O_DIRECTORY)
    descriptor = fcntl.fcntl(root, fcntl.F_DUPFD, 15)
    os.close(root)
    yield descriptor
    os.close(descriptor)


def run_leaking(pyoci: Runtime, descriptor: int, *arguments: str | Path) -> int:
    """The status of a command that inherits the descriptor."""
    process = pyoci.popen(
        *arguments, pass_fds=[descriptor], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    return process.wait(30)


@pytest.mark.parametrize("mapped", [False, True])
def test_cve_2016_9962_a_created_container_holds_nothing_of_the_hosts(
    pyoci: Runtime, reachable: MakeBundle, leaked: int, mapped: bool
) -> None:
    """A process of the same pid namespace could go through the descriptors of runc's waiting init to the host."""
    linux: dict[str, Any] = {
        "sysctl": {"net.ipv4.ip_forward": "1"},
        "seccomp": {"defaultAction": "SCMP_ACT_ALLOW"},
    }
    if mapped:
        linux |= {"namespaces": [*namespaces(), {"type": "user"}], **MAPPED}
    here = reachable(process=SLEEP, linux=linux)
    container = new_id()
    assert run_leaking(pyoci, leaked, "create", "--bundle", here, container) == 0
    # The socket that it waits on for `start`.
    assert kinds_of_descriptors(pyoci.pid(container)) == [stat.S_IFSOCK]
    assert run_leaking(pyoci, leaked, "start", container) == 0
    assert kinds_of_descriptors(pyoci.pid(container)) == []


LOOK = """
for name in fd/0 root cwd exe; do readlink /proc/{pid}/$name >/dev/null && echo seen; done
for name in maps environ; do head -c 1 /proc/{pid}/$name >/dev/null && echo seen; done
"""


@pytest.mark.parametrize("mapped", [False, True])
def test_cve_2016_9962_a_neighbour_sees_nothing_of_a_container_that_waits(
    pyoci: Runtime, reachable: MakeBundle, mapped: bool
) -> None:
    """Root of the same pid namespace; with user namespaces it has every capability in its own, and the other joins that."""
    linux: dict[str, Any] = {"namespaces": [*namespaces(), *([{"type": "user"}] if mapped else [])]}
    linux |= MAPPED if mapped else {}
    attacker = Neighbour(pyoci, reachable, {"capabilities": TRACER} if mapped else {}, linux)
    joined = {"pid": attacker.namespace("pid")} | ({"user": attacker.namespace("user")} if mapped else {})
    here = reachable(process=SLEEP, linux={"namespaces": namespaces(**joined)})
    with attacker.joined(here) as container:
        look = LOOK.format(pid=pid_inside(pyoci.pid(container)))
        assert "seen" not in attacker.does(look)
        pyoci("start", container)
        assert attacker.does(look).count("seen") == 6, (
            "the control: once it runs, the program can be looked at"
        )


# Opened for reading before the program ends (its file can't be written while it runs), for writing after it.
OVERWRITE = """
exec 9</proc/{pid}/exe || exit
kill -KILL {pid}
while test -e /proc/{pid}/exe && test "$(cat /proc/{pid}/stat | cut -d' ' -f3)" != Z; do usleep 1000; done
: >>/proc/self/fd/9 && echo writable
"""


def programs(pyoci: Runtime) -> list[str]:
    return [digest(pyoci.path), digest(REPOSITORY / "pyoci/pyoci-init")]


def test_cve_2019_5736_the_waiting_init_is_not_writable_from_beside_it(
    pyoci: Runtime, reachable: MakeBundle
) -> None:
    attacker = Neighbour(pyoci, reachable, {"capabilities": TRACER}, {})
    before = programs(pyoci)
    here = reachable(process=SLEEP, linux={"namespaces": namespaces(pid=attacker.namespace("pid"))})
    with attacker.joined(here) as container:
        said = attacker.does(OVERWRITE.format(pid=pid_inside(pyoci.pid(container))))
    assert "Read-only file system" in said
    assert programs(pyoci) == before
    copy = "cp /bin/busybox /shared/sleep; /shared/sleep 1000 & sleep 0.1;"
    said = attacker.does(copy + OVERWRITE.format(pid="$!"))
    assert "writable" in said, "the control: a program that is no more than a file can be written so"


@pytest.mark.parametrize("how", ["created", "running"])
def test_cve_2019_5736_the_hosts_root_itself_can_not_write_it(
    pyoci: Runtime, sleeper: Path, how: str
) -> None:
    container = pyoci.create(sleeper)
    pid = pyoci.pid(container)
    program = os.open(f"/proc/{pid}/exe", os.O_RDONLY)
    try:
        assert os.fstat(program).st_size == (REPOSITORY / "pyoci/pyoci-init").stat().st_size
        if how == "running":
            pyoci("start", container)
        pyoci("delete", "--force", container)
        with pytest.raises(OSError, match=os.strerror(errno.EROFS)):
            os.open(f"/proc/self/fd/{program}", os.O_WRONLY)
    finally:
        os.close(program)


@pytest.mark.parametrize(
    "arguments",
    [["/proc/self/exe"], ["/proc/self/exe", "3"], ["/proc/self/exe", "0"], ["/script"]],
    ids=" ".join,
)
def test_cve_2019_5736_the_runtimes_program_as_the_containers(
    pyoci: Runtime, bundle: MakeBundle, arguments: list[str]
) -> None:
    """An image whose program is the runtime itself, with libraries of the image's: ours has none, and does nothing."""
    before = programs(pyoci)
    here = bundle(process={"args": arguments}, root={"readonly": False})
    (here / "rootfs/script").write_text("#!/proc/self/exe\n")
    (here / "rootfs/script").chmod(0o755)
    assert pyoci.run(here).code == 125, "it was not our init that was executed"
    assert programs(pyoci) == before


def working_directories(number: int) -> dict[str, str]:
    """Ways to say: where that descriptor leads."""
    return {
        "plain": f"/proc/self/fd/{number}",
        "of the first process": f"/proc/1/fd/{number}",
        "further": f"/proc/self/fd/{number}/../../etc",
        "by a symlink": f"/links/{number}",
    }


@pytest.mark.parametrize("way", working_directories(0))
def test_cve_2024_21626_no_working_directory_is_a_leaked_one(
    pyoci: Runtime, bundle: MakeBundle, leaked: int, way: str
) -> None:
    """runc held a directory of the host's open while it changed to process.cwd, and its number could be guessed."""
    here = bundle(root={"readonly": False}, process={"args": ["sh", "-c", "pwd >/reached; ls >>/reached"]})
    document = json.loads((here / "config.json").read_text())
    (here / "rootfs/links").mkdir()
    for number in [*range(21), leaked]:
        (here / f"rootfs/links/{number}").unlink(missing_ok=True)
        (here / f"rootfs/links/{number}").symlink_to(f"/proc/self/fd/{number}")
        document["process"]["cwd"] = working_directories(number)[way]
        write_config(here, document)
        assert run_leaking(pyoci, leaked, "run", "--bundle", here, new_id()) == 1
        assert not (here / "rootfs/reached").exists()
    reached = subprocess.run(
        ["ls", f"/proc/self/fd/{leaked}/"], pass_fds=[leaked], capture_output=True, text=True
    )
    assert sorted(reached.stdout.split()) == sorted(name for name in os.listdir("/") if name[0] != "."), (
        "the control: that is where it leads"
    )
