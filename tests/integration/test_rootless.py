"""A user without privileges: `spec --rootless`, `run`, and what he is told when something takes more."""

from __future__ import annotations

import ctypes
import json
import os
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from conformance import host
from conformance.bundles import make_rootfs, merged
from conformance.runtime import Result, new_id

USER, FIRST_SUBORDINATE = 41777, 500000
MS_BIND = 4096


@dataclass
class Account:
    """A user, his home, and pyoci in his hands."""

    home: Path
    pyoci: Path

    def run(self, *arguments: str | Path, stdin: int = subprocess.DEVNULL) -> Result:
        """A command of his."""
        command = [str(self.pyoci), *map(str, arguments)]
        env = {"PATH": os.environ["PATH"], "XDG_RUNTIME_DIR": str(self.home)}
        with tempfile.TemporaryFile("w+") as stdout, tempfile.TemporaryFile("w+") as stderr:
            done = subprocess.run(
                command, user=USER, group=USER, extra_groups=[], cwd=self.home, env=env,
                stdin=stdin, stdout=stdout, stderr=stderr, timeout=30,
            )  # fmt: skip
            stdout.seek(0)
            stderr.seek(0)
            return Result(command, done.returncode, stdout.read(), stderr.read())

    def bundle(self, **changes: Any) -> Path:
        """`spec --rootless` in a new bundle, without its terminal, and changed."""
        path = self.home / f"bundle-{len(list(self.home.iterdir()))}"
        path.mkdir()
        make_rootfs(path / "rootfs")
        subprocess.run(["chown", "-R", f"{USER}:{USER}", path], check=True)
        assert self.run("spec", "--rootless", "--bundle", path).code == 0
        document = json.loads((path / "config.json").read_text())
        document["process"]["terminal"] = False
        (path / "config.json").write_text(json.dumps(merged(document, changes)))
        return path


@pytest.mark.parametrize(
    ("variables", "is_his"),
    [({}, True), ({"USER": "someone"}, True), ({"USER": "root"}, False), ({"XDG_RUNTIME_DIR": ""}, False)],
    ids=str,
)
def test_the_root_of_a_users_namespace_keeps_his_states_in_his_runtime_directory(
    runtime_file: Path, tmp_path: Path, variables: dict[str, str], is_his: bool
) -> None:
    """podman without root calls its runtime so. The root of a system container has USER=root, or no such directory."""
    (tmp_path / "pyoci/mine").mkdir(parents=True)
    env = {"PATH": os.environ["PATH"], "XDG_RUNTIME_DIR": str(tmp_path)} | variables
    command = ["unshare", "--user", "--map-root-user", str(runtime_file), "list", "--quiet"]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done
    assert ("mine" in done.stdout.split()) == is_his


@pytest.fixture
def account(runtime_file: Path) -> Iterator[Account]:
    """A user of this test's own, who has subordinate ids; /etc is changed in our mount namespace only."""
    with tempfile.TemporaryDirectory(prefix="pyoci-rootless-") as directory:
        base = Path(directory)
        base.chmod(0o755)
        home = base / "home"
        home.mkdir(mode=0o700)
        os.chown(home, USER, USER)
        changed = {
            "passwd": f"rootless:x:{USER}:{USER}::{home}:/bin/sh\n",
            "group": f"rootless:x:{USER}:\n",
            "subuid": f"rootless:{FIRST_SUBORDINATE}:65536\n",
            "subgid": f"rootless:{FIRST_SUBORDINATE}:65536\n",
        }
        here = Account(home, runtime_file)
        with over_etc(base, changed):
            if here.run("--version").code != 0:
                pytest.skip(f"another user than root can't execute {runtime_file} where it lies")
            before = host.snapshot(home / "pyoci")
            yield here
            more = host.leaks(before, home / "pyoci")
    assert more == []


class over_etc:
    """Files of /etc with lines of ours at their end, for as long as the block runs."""

    def __init__(self, base: Path, lines: dict[str, str]) -> None:
        self.base, self.lines, self.mounted = base, lines, list[Path]()

    def __enter__(self) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        for name, line in self.lines.items():
            real, copy = Path("/etc") / name, self.base / name
            if not real.exists():
                pytest.skip(f"the host has no {real} (Debian's package uidmap)")
            copy.write_text(real.read_text() + line)
            copy.chmod(0o644)
            if libc.mount(str(copy).encode(), str(real).encode(), None, ctypes.c_ulong(MS_BIND), None) != 0:
                raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
            self.mounted.append(real)

    def __exit__(self, *_: object) -> None:
        for path in self.mounted:
            subprocess.run(["umount", path], check=True)


def script(text: str) -> dict[str, Any]:
    return {"process": {"args": ["sh", "-c", text]}}


def two_ranges(first: int = FIRST_SUBORDINATE) -> dict[str, Any]:
    mappings = [
        {"containerID": 0, "hostID": USER, "size": 1},
        {"containerID": 1, "hostID": first, "size": 65536},
    ]
    return {"uidMappings": mappings, "gidMappings": mappings}


def test_spec_and_run_need_no_privilege(account: Account) -> None:
    result = account.run(
        "run", "--bundle", account.bundle(**script("id -u; id -g; echo $$; hostname")), new_id()
    )
    assert (result.code, result.stdout, result.stderr) == (0, "0\n0\n1\npyoci\n", ""), result


def test_a_life_by_single_commands(account: Account) -> None:
    container = new_id()
    bundle = account.bundle(process={"args": ["sleep", "1000"]})
    assert account.run("create", "--bundle", bundle, container).code == 0
    state = json.loads(account.run("state", container).stdout)
    assert (state["status"], state["owner"]) == ("created", "rootless")
    assert os.stat(f"/proc/{state['pid']}/ns/user").st_ino != os.stat("/proc/self/ns/user").st_ino
    assert account.run("start", container).code == 0
    assert container in account.run("list").stdout
    assert account.run("kill", "--all", container, "KILL").code == 0
    while json.loads(account.run("state", container).stdout)["status"] != "stopped":
        pass
    assert account.run("delete", container).code == 0


@pytest.mark.parametrize("goes_away", [False, True])
def test_a_failure_leaves_nothing(account: Account, goes_away: bool) -> None:
    container = new_id()
    bundle = account.bundle(process={"args": ["/bin/sh"]})
    assert account.run("create", "--bundle", bundle, container).code == 0
    if goes_away:
        (bundle / "rootfs/bin/sh").unlink()
        assert "no such file or directory" in account.run("start", container).stderr
    assert account.run("delete", "--force", container).code == 0


def test_a_program_that_is_not_there_leaves_nothing(account: Account) -> None:
    bundle = account.bundle(process={"args": ["/no/such/program"]})
    assert "no such file or directory" in account.run("create", "--bundle", bundle, new_id()).stderr
    assert account.run("list", "--quiet").stdout == ""


def test_subordinate_ids_are_mapped_by_newuidmap(account: Account) -> None:
    user = {"uid": 5, "gid": 6, "additionalGids": [7]}
    text = "id -u; id -g; id -G; cat /proc/self/uid_map"
    bundle = account.bundle(process={"args": ["sh", "-c", text], "user": user}, linux=two_ranges())
    result = account.run("run", "--bundle", bundle, new_id())
    assert result.code == 0, result
    words = result.stdout.split()
    assert words[:4] == ["5", "6", "6", "7"]
    assert words[4:] == ["0", str(USER), "1", "1", str(FIRST_SUBORDINATE), "65536"]


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"linux": two_ranges(900000)}, ["/linux/uidMappings", "newuidmap", "/etc/subuid"]),
        ({"linux": {"resources": {"memory": {"limit": 1 << 26}}}}, ["/linux/resources/memory", "cgroup"]),
        ({"linux": {"cgroupsPath": "/mine"}}, ["/linux/cgroupsPath", "cgroup"]),
        ({"process": {"user": {"uid": 1, "gid": 0}}}, ["/process/user/uid", "linux.uidMappings"]),
        ({"process": {"user": {"uid": 0, "gid": 0, "additionalGids": [0]}}}, ["additional", "denied"]),
        ({"linux": {"sysctl": {"net.ipv4.ip_forward": "1"}}}, ["/linux/sysctl", "network namespace"]),
    ],
    ids=["foreign ids", "a limit", "a cgroup", "an unmapped user", "groups", "a sysctl of the host"],
)
def test_what_takes_more_is_refused_clearly(
    account: Account, changes: dict[str, Any], told: list[str]
) -> None:
    result = account.run("run", "--bundle", account.bundle(**changes), new_id())
    assert result.code == 1, result
    for words in told:
        assert words in result.stderr


def test_device_rules_are_no_limits(account: Account) -> None:
    changes = script("cat /dev/null && echo fine") | {
        "linux": {"resources": {"devices": [{"allow": False, "access": "rwm"}]}}
    }
    result = account.run("run", "--bundle", account.bundle(**changes), new_id())
    assert result.stdout == "fine\n", result


def test_a_container_without_cgroups_of_its_own_is_shown_its_callers(account: Account) -> None:
    """podman without root mounts them on cgroup v1, without a cgroup namespace."""
    mount = {"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": ["ro"]}
    bundle = account.bundle(**script("cat /sys/fs/cgroup/cgroup.procs /sys/fs/cgroup/*/cgroup.procs; mount"))
    document = json.loads((bundle / "config.json").read_text())
    document["mounts"] = [m for m in document["mounts"] if m["destination"] != mount["destination"]] + [mount]
    document["linux"]["namespaces"] = [n for n in document["linux"]["namespaces"] if n["type"] != "cgroup"]
    (bundle / "config.json").write_text(json.dumps(document))
    result = account.run("run", "--bundle", bundle, new_id())
    assert result.code == 0 or "No such file" in result.stderr, result
    trees = {line.split()[2]: line for line in result.stdout.splitlines() if " type cgroup" in line}
    assert trees
    assert all("(ro," in line for line in trees.values()), trees
    # In its own pid namespace it is 1.
    assert result.stdout.splitlines().count("1") == len(trees)


def test_the_hosts_root_can_not_be_mapped(account: Account) -> None:
    root = [{"containerID": 0, "hostID": 0, "size": 1}]
    bundle = account.bundle(linux={"uidMappings": root, "gidMappings": root})
    result = account.run("run", "--bundle", bundle, new_id())
    assert result.code == 1, result
    assert "newuidmap refused" in result.stderr


@pytest.mark.parametrize("value", [100, 1000])
def test_the_oom_score_can_be_raised(account: Account, value: int) -> None:
    bundle = account.bundle(process={"args": ["cat", "/proc/self/oom_score_adj"], "oomScoreAdj": value})
    result = account.run("run", "--bundle", bundle, new_id())
    assert result.stdout == f"{value}\n", result


def test_hooks_run_with_the_users_rights(account: Account) -> None:
    said = account.home / "said"
    hook = {"path": "/bin/sh", "args": ["sh", "-c", f"id -u >>{said}"]}
    kinds = ("prestart", "createRuntime", "createContainer", "poststart", "poststop")
    bundle = account.bundle(process={"args": ["true"]}, hooks={kind: [hook] for kind in kinds})
    assert account.run("run", "--bundle", bundle, new_id()).code == 0
    # createContainer runs in the container's namespaces, where the user is root.
    assert said.read_text().split() == [str(USER), str(USER), "0", str(USER), str(USER)]


def test_without_a_place_for_states_the_error_says_what_to_set(account: Account) -> None:
    command = [str(account.pyoci), "state", "x"]
    done = subprocess.run(command, user=USER, group=USER, env={}, cwd="/", capture_output=True, text=True)
    assert done.returncode == 1
    assert "XDG_RUNTIME_DIR" in done.stderr


@pytest.mark.parametrize("flag", ["true", "false"])
def test_the_flag_decides_what_missing_cgroups_mean(account: Account, flag: str) -> None:
    bundle = account.bundle(process={"args": ["true"]})
    result = account.run("--rootless", flag, "run", "--bundle", bundle, new_id())
    assert (result.code == 0) == (flag == "true"), result
    assert ("cgroup" in result.stderr) == (flag == "false")


def test_a_users_root_is_his_own_or_the_systems(account: Account) -> None:
    """Another user's hooks would be executed as this one."""
    theirs = account.home / "theirs"
    theirs.mkdir()
    theirs.chmod(0o755)
    for owner, said in ((USER + 1, f"it belongs to user {USER + 1}"), (0, "does not exist")):
        os.chown(theirs, owner, owner)
        assert said in account.run("--root", theirs, "state", "none").stderr


@pytest.mark.parametrize("mask", [0, 0o777])
def test_a_users_umask_is_without_effect(account: Account, mask: int) -> None:
    container, bundle = new_id(), account.bundle(process={"args": ["sleep", "1000"]})
    before = os.umask(mask)
    try:
        created = account.run("create", "--pid-file", account.home / "pid", "--bundle", bundle, container)
    finally:
        os.umask(before)
    assert created.code == 0, created
    root = account.home / "pyoci"
    assert {stat.S_IMODE(path.stat().st_mode) for path in (root, root / container)} == {0o700}
    assert stat.S_IMODE((account.home / "pid").stat().st_mode) == 0o644
    assert account.run("start", container).code == 0
    assert account.run("delete", "--force", container).code == 0


@pytest.fixture
def protected(account: Account) -> Iterator[Path]:
    """A mount of the host's that he can go to, with flags that can be locked."""
    source = account.home / "protected"
    source.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "ro,nosuid,nodev,noexec,mode=755", "x", source], check=True)
    yield source
    subprocess.run(["umount", source], check=True)


@pytest.mark.parametrize(
    ("options", "kept"),
    [
        (["rw"], "ro"),
        (["rw", "suid", "exec"], "ro, nosuid, noexec"),
        (["rrw", "nosuid"], "ro"),
        (["noatime", "ro"], "noatime"),
    ],
)
def test_what_the_host_has_locked_stays_with_a_warning(
    account: Account, protected: Path, options: list[str], kept: str
) -> None:
    mount = {"destination": "/tmp", "type": "none", "source": str(protected), "options": ["rbind", *options]}
    bundle = account.bundle(**script("grep ' /tmp ' /proc/self/mountinfo"))
    document = json.loads((bundle / "config.json").read_text())
    place = len(document["mounts"])
    (bundle / "config.json").write_text(json.dumps(document | {"mounts": [*document["mounts"], mount]}))
    result = account.run("run", "--bundle", bundle, new_id())
    assert result.code == 0, result
    assert {"ro", "nosuid", "nodev", "noexec"} <= set(result.stdout.split()[5].split(","))
    assert f'/mounts/{place}: "/tmp" keeps {kept}:' in result.stderr


def test_a_sysfs_is_the_hosts_read_only(account: Account) -> None:
    sysfs = {
        "destination": "/sys",
        "type": "sysfs",
        "source": "sysfs",
        "options": ["nosuid", "noexec", "nodev", "ro"],
    }
    bundle = account.bundle(**script("test -d /sys/kernel/mm && grep ' /sys' /proc/self/mountinfo"))
    document = json.loads((bundle / "config.json").read_text())
    document["mounts"] = [sysfs if each["destination"] == "/sys" else each for each in document["mounts"]]
    (bundle / "config.json").write_text(json.dumps(document))
    result = account.run("run", "--bundle", bundle, new_id())
    assert result.code == 0, result
    assert result.stderr == ""
    assert all("ro" in line.split()[5].split(",") for line in result.stdout.splitlines()), result


def test_his_hooks_may_enter_the_container(account: Account) -> None:
    """With his own rights: the kernel wants that the init is dumpable, ptrace(2)."""
    seen = account.home / "seen"
    script = f"""pid=$(tr -d ' \\n' | sed -E 's/.*"pid":([0-9]+).*/\\1/')
    nsenter --target $pid --user --mount --preserve-credentials cat /proc/self/mountinfo >{seen}"""
    hook = {"path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/usr/bin:/bin"]}
    here = account.bundle(process={"args": ["true"]}, hooks={"createRuntime": [hook]})
    done = account.run("run", "--bundle", here, new_id())
    assert done.code == 0, done
    assert f"{here}/rootfs/proc" in seen.read_text()
