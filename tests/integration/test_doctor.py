"""`pyoci doctor` says what is true of this host, and `pyoci setup` is used from the command line."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

from conformance.runtime import Runtime


def report(done: subprocess.CompletedProcess[str]) -> dict[str, dict[str, Any]]:
    """The findings by "area/name"."""
    found = json.loads(done.stdout)["findings"]
    return {f"{finding['area']}/{finding['name']}": finding for finding in found}


def doctor(pyoci: Runtime, *before: str, **options: Any) -> subprocess.CompletedProcess[str]:
    command = [*before, *pyoci.command, "doctor", "--format", "json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, **options)
    assert "Traceback" not in done.stderr
    return done


def test_on_this_host_the_default_bundle_runs_and_nothing_stays(pyoci: Runtime) -> None:
    done = doctor(pyoci)
    found = report(done)
    assert done.returncode == 0, done
    assert json.loads(done.stdout)["runs"] is True
    assert found["trial/the default bundle"]["level"] == "good"
    assert found["kernel/openat2"]["found"] == "there"
    assert found["parts/pyoci-init"]["level"] == "good"
    assert not any("can't look" in finding["found"] for finding in found.values()), found


def test_each_line_says_what_depends_on_it_and_how_to_mend_it(pyoci: Runtime) -> None:
    for finding in report(doctor(pyoci)).values():
        assert finding["needed_for"], finding
        assert bool(finding["mend"]) == (finding["level"] != "good"), finding


def test_the_text_has_a_line_for_each_finding(pyoci: Runtime) -> None:
    text = pyoci("doctor").stdout
    assert "\033" not in text
    for name, finding in report(doctor(pyoci)).items():
        assert f"{name.partition('/')[2]}: " in text, name
        assert finding["needed_for"] in text
    assert "The default bundle runs here" in text


def test_a_host_where_it_does_not_run_has_status_1_and_the_cause(pyoci: Runtime, tmp_path: Path) -> None:
    # Where nothing may be executed.
    script = f'mount -t tmpfs -o noexec none {tmp_path} && exec "$@"'
    variables = {"PATH": os.environ["PATH"], "TMPDIR": str(tmp_path)}
    done = doctor(pyoci, "unshare", "--mount", "sh", "-c", script, "sh", env=variables)
    assert done.returncode == 1, done
    assert report(done)["trial/the default bundle"]["level"] == "broken"


def test_a_system_call_that_is_forbidden_is_found(pyoci: Runtime, tmp_path: Path) -> None:
    # The host of a container whose profile doesn't know clone3, as older Docker's.
    script = tmp_path / "forbid.py"
    script.write_text(FORBID)
    done = doctor(pyoci, str(Path(pyoci.path).parent / "python3"), str(script))
    found = report(done)
    assert found["kernel/mount_setattr"]["found"] == "missing", found["kernel/mount_setattr"]
    assert found["kernel/mount_setattr"]["level"] == "broken"
    assert found["kernel/openat2"]["level"] == "good"


FORBID = """\
import ctypes, os, struct, sys

# ld [0]; jeq #442 (mount_setattr) -> ENOSYS; allow
filters = [(0x20, 0, 0, 0), (0x15, 0, 1, 442), (0x06, 0, 0, 0x00050026), (0x06, 0, 0, 0x7FFF0000)]
program = b"".join(struct.pack("HBBI", *each) for each in filters)
buffer = ctypes.create_string_buffer(program)
fprog = struct.pack("HxxxxxxP", len(filters), ctypes.addressof(buffer))
libc = ctypes.CDLL(None, use_errno=True)
assert libc.prctl(38, 1, 0, 0, 0) == 0
assert libc.prctl(22, 2, fprog, 0, 0) == 0, os.strerror(ctypes.get_errno())
os.execv(sys.argv[1], sys.argv[1:])
"""


def test_a_subordinate_range_is_found_for_a_user(pyoci: Runtime) -> None:
    found = report(doctor(pyoci, user=41778, group=41778, extra_groups=[]))
    assert found["security/caller"]["found"] == "user 41778, not root of the host"
    assert found["security//etc/subuid"]["level"] == "lacking"


def test_setup_prints_and_writes(pyoci: Runtime, tmp_path: Path) -> None:
    printed = pyoci("setup", "docker").stdout
    assert json.loads(printed)["runtimes"]["pyoci"]["path"] == os.path.abspath(pyoci.path)
    file = tmp_path / "config.toml"
    pyoci("--systemd-cgroup", "setup", "containerd", "--write", "--default", "--file", file)
    text = file.read_text()
    assert "SystemdCgroup = true" in text
    assert 'default_runtime_name = "pyoci"' in text
    assert (
        "already"
        in pyoci("--systemd-cgroup", "setup", "containerd", "--write", "--default", "--file", file).stdout
    )
