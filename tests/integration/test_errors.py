"""What cannot work is said in a clear line that names the cause, and leaves everything as it was."""

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from conformance.bundles import config, mounts, namespaces, write_config
from conformance.runtime import Runtime, new_id

from .conftest import MakeBundle


def test_start_reports_a_missing_executable(pyoci: Runtime, bundle: MakeBundle) -> None:
    error = run_that_fails(pyoci, bundle(process={"args": ["/no/such/program"]}))
    assert "/no/such/program" in error
    assert "no such file" in error.lower()


def test_start_reports_a_name_that_is_nowhere_in_path(pyoci: Runtime, bundle: MakeBundle) -> None:
    error = run_that_fails(pyoci, bundle(process={"args": ["no-such-program"]}))
    assert "no-such-program" in error
    # podman turns these texts into exit status 127.
    assert "executable file not found in" in error.lower() or "no such file or directory" in error.lower()


@pytest.mark.peers_differ(crun="says that it is not found")
def test_start_reports_a_file_that_is_not_executable(pyoci: Runtime, bundle: MakeBundle) -> None:
    error = run_that_fails(pyoci, bundle(process={"args": ["/etc/passwd"]}))
    assert "/etc/passwd" in error
    # podman turns this text into exit status 126.
    assert "permission denied" in error.lower()


@pytest.mark.peers_differ(crun="names no file", runc="names no interpreter")
def test_start_reports_a_missing_interpreter(pyoci: Runtime, bundle: MakeBundle) -> None:
    here = bundle(process={"args": ["/script"]})
    (here / "rootfs/script").write_text("#!/no/such/interpreter\n")
    (here / "rootfs/script").chmod(0o755)
    error = run_that_fails(pyoci, here)
    assert "/no/such/interpreter" in error


@pytest.mark.peers_differ(crun="says that it has started", runc="says that it has started")
def test_start_reports_a_filter_that_kills_the_init(pyoci: Runtime, bundle: MakeBundle) -> None:
    rule = {"names": ["execve"], "action": "SCMP_ACT_KILL_PROCESS"}
    seccomp = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]}
    container = pyoci.create(bundle(linux={"seccomp": seccomp}))
    error = pyoci.fails("start", container)
    assert "/linux/seccomp: the filter kills" in error
    assert pyoci.state(container)["status"] == "stopped"


@pytest.mark.parametrize(
    ("source", "destination"), [("/etc/hostname", "/etc"), ("/etc", "/etc/passwd")], ids=["file", "directory"]
)
@pytest.mark.peers_differ(crun="says it otherwise")
def test_a_file_and_a_directory_on_each_other_are_called_so(
    pyoci: Runtime, bundle: MakeBundle, source: str, destination: str
) -> None:
    mount = {"destination": destination, "source": source, "options": ["bind"]}
    error = create_that_fails(pyoci, bundle(mounts=mounts(mount)))
    assert f'"{destination}": not a directory' in error


def test_a_missing_bundle_is_an_error(pyoci: Runtime, tmp_path: Path) -> None:
    assert "no-bundle" in create_that_fails(pyoci, tmp_path / "no-bundle")


@pytest.mark.peers_differ(crun="says nothing", runc="takes it for the known one, in silence")
@pytest.mark.parametrize("command", ["check", "plan", "create", "run"])
def test_a_misspelt_protection_is_a_warning(pyoci: Runtime, bundle: MakeBundle, command: str) -> None:
    mount = {"destination": "/mnt", "source": "/etc", "options": ["bind"], "readonly": True}
    path = bundle(process={"args": ["true"], "NoNewPrivileges": True}, mounts=mounts(mount))
    words = [str(path)] if command in ("check", "plan") else ["--bundle", str(path), new_id()]
    said = pyoci(command, *words).stderr.splitlines()
    assert len(said) == 2
    assert said[0].startswith("pyoci: warning: config.json:")
    assert '/process/NoNewPrivileges: there is no "NoNewPrivileges" here' in said[0]
    assert said[0].endswith('; did you mean "noNewPrivileges"?')
    assert "/readonly: there is" in said[1]
    assert said[1].endswith('; a mount has "ro" in its options for that')


@pytest.mark.peers_differ(crun="writes the byte", runc="writes the byte")
@pytest.mark.parametrize("form", ["text", "json"])
def test_a_byte_that_is_no_utf_8_is_a_number_in_every_message(
    pyoci: Runtime, tmp_path: Path, form: str
) -> None:
    log = tmp_path / "log"
    flags = [*pyoci.command, "--log", str(log), "--log-format", form]
    for words in (
        ["create", "--bundle", b"/no/caf\xe9", "x"],
        ["state", b"caf\xe9"],
        ["caf\xe9".encode("latin-1")],
    ):
        log.unlink(missing_ok=True)
        done = subprocess.run([*flags, *words], capture_output=True)
        assert done.returncode == 1
        assert rb"caf\xe9" in done.stderr
        said = log.read_bytes()
        assert rb"caf\xe9" in said if form == "text" else r"caf\xe9" in json.loads(said)["msg"]
        assert b"\xe9" not in done.stderr + said


def test_a_bundle_without_a_config_is_an_error(pyoci: Runtime, tmp_path: Path) -> None:
    assert "config.json" in create_that_fails(pyoci, tmp_path)


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "null", '{"ociVersion": }', '{"ociVersion": "1.0.0"', "\udcff", '"' + "[" * 100_000],
    ids=["empty", "cut", "array", "null", "no-value", "no-end", "not-utf-8", "deep"],
)
def test_a_config_that_is_no_json_object_is_an_error(pyoci: Runtime, sleeper: Path, text: str) -> None:
    (sleeper / "config.json").write_bytes(text.encode(errors="surrogateescape"))
    create_that_fails(pyoci, sleeper)


INVALID: dict[str, tuple[dict[str, Any], str]] = {
    "no version": ({"ociVersion": None}, "ociVersion"),
    "a version that is none": ({"ociVersion": "invalid"}, "ociVersion"),
    "no root": ({"root": None}, "root"),
    "a root that is missing": ({"root": {"path": "no-rootfs"}}, "no-rootfs"),
    "no arguments": ({"process": {"args": []}}, "args"),
    "a relative working directory": ({"process": {"cwd": "tmp"}}, "cwd"),
    "a user that is a name": ({"process": {"user": {"uid": "root"}}}, "uid"),
    "an unknown limit": ({"process": {"rlimits": [{"type": "RLIMIT_X", "soft": 1, "hard": 1}]}}, "RLIMIT_X"),
    "a limit twice": (
        {"process": {"rlimits": [{"type": "RLIMIT_CORE", "soft": n, "hard": n} for n in (1, 2)]}},
        "RLIMIT_CORE",
    ),
    "an unknown namespace": ({"linux": {"namespaces": [*namespaces(), {"type": "space"}]}}, "space"),
    "a namespace twice": ({"linux": {"namespaces": [*namespaces(), {"type": "uts"}]}}, "uts"),
    "a relative masked path": ({"linux": {"maskedPaths": ["proc/keys"]}}, "maskedPaths"),
    "a hook with a relative path": ({"hooks": {"createRuntime": [{"path": "hook"}]}}, "hook"),
    "a hook without time": ({"hooks": {"createRuntime": [{"path": "/bin/true", "timeout": 0}]}}, "timeout"),
    "an unknown filesystem": (
        {"mounts": mounts({"destination": "/tmp", "type": "nosuchfs", "source": "none"})},
        "nosuchfs",
    ),
    "a bind of nothing": (
        {"mounts": mounts({"destination": "/tmp", "source": "/no/such/source", "options": ["bind"]})},
        "/no/such/source",
    ),
    "an annotation without a name": ({"annotations": {"": "value"}}, "annotations"),
    "an annotation that is a number": ({"annotations": {"name": 1}}, "annotations"),
    "a hostname that is the host's": (
        {"linux": {"namespaces": namespaces("uts")}, "hostname": "other"},
        "hostname",
    ),
    "a seccomp action that is none": ({"linux": {"seccomp": {"defaultAction": "SCMP_ACT_X"}}}, "SCMP_ACT_X"),
}


@pytest.mark.parametrize("name", INVALID)
@pytest.mark.peers_differ(crun="takes some of them", runc="takes some of them")
def test_an_invalid_config_is_an_error_that_names_the_value(
    pyoci: Runtime, bundle: MakeBundle, name: str
) -> None:
    changes, cause = INVALID[name]
    here = bundle(**({"process": {"args": ["sleep", "1000"]}} | changes))
    assert cause in create_that_fails(pyoci, here)


@pytest.mark.peers_differ(crun="stops at the first", runc="stops at the first")
def test_many_problems_are_no_longer_than_engines_can_read_and_check_tells_all(
    pyoci: Runtime, bundle: MakeBundle
) -> None:
    """podman can't read a message of conmon's of more than 4 KiB, and shows the raw bytes then."""
    here = bundle(linux={"maskedPaths": [f"relative/{n}" for n in range(500)]})
    error = create_that_fails(pyoci, here)
    assert "/linux/maskedPaths/0: " in error
    assert 1000 < len(error.encode()) < 3000
    *shown, more, hint = error.splitlines()
    assert more == f"pyoci: and {500 - len(shown)} more"
    assert hint == "hint: `pyoci check` tells all of them"
    assert pyoci.fails("check", here).count("/linux/maskedPaths/") == 500


def test_unknown_properties_and_annotations_are_no_error(pyoci: Runtime, bundle: MakeBundle) -> None:
    here = bundle(
        process={"args": ["true"], "unknown": {}},
        unknown=["x"],
        annotations={"org.opencontainers.unknown": "x"},
    )
    assert pyoci.run(here).code == 0


@pytest.mark.peers_differ(crun="takes the last", runc="takes the last")
def test_a_name_that_an_object_has_twice_is_an_error(pyoci: Runtime, sleeper: Path) -> None:
    text = (sleeper / "config.json").read_text()
    (sleeper / "config.json").write_text(text.replace('"hostname"', '"hostname": "x", "hostname"'))
    assert "hostname" in create_that_fails(pyoci, sleeper)


@pytest.mark.parametrize(
    "command", [["no-such-command"], ["create", "--no-such-option", "x"], ["state", "a", "b"]]
)
def test_a_wrong_command_line_is_an_error(pyoci: Runtime, command: list[str]) -> None:
    pyoci.fails(*command)
    assert os.listdir(pyoci.root) == []


def test_a_pid_file_that_cannot_be_written_leaves_no_container(pyoci: Runtime, sleeper: Path) -> None:
    container = new_id()
    pyoci.fails("create", "--bundle", sleeper, "--pid-file", "/no/such/directory/pid", container)
    if pyoci.path.name != "crun":  # it leaves the container
        pyoci.fails("state", container)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A directory on a filesystem of its own with 16 pages and 16 inodes."""
    directory = tmp_path / "disk"
    directory.mkdir()
    options = f"size={16 * os.sysconf('SC_PAGESIZE')},nr_inodes=16,mode=700"
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(directory)], check=True)
    yield directory
    subprocess.run(["umount", str(directory)], check=True)


def fill(directory: Path, pages: int | None = None, inodes: int | None = None) -> None:
    """Use up the filesystem but for so many pages, or so many inodes."""
    page = os.sysconf("SC_PAGESIZE")
    if pages is not None:
        free = os.statvfs(directory)
        (directory / "filler").write_bytes(b"x" * page * (free.f_bfree * free.f_bsize // page - pages))
    if inodes is not None:
        for number in range(os.statvfs(directory).f_ffree - inodes):
            (directory / f"filler-{number}").touch()


@pytest.mark.parametrize(
    "left", [{"pages": n} for n in range(6)] + [{"inodes": n} for n in range(6)], ids=str
)
@pytest.mark.peers_differ(crun="leaves half a container", runc="leaves half a container")
def test_a_full_state_directory_is_one_clear_line_and_nothing_else(
    pyoci: Runtime, sleeper: Path, small_disk: Path, left: dict[str, int]
) -> None:
    fill(small_disk, **left)
    before = sorted(os.listdir(small_disk))
    full = Runtime(pyoci.path, small_disk)
    container = new_id()
    result = full.attempt("create", "--bundle", sleeper, container)
    if result.code == 0:  # so much space was enough
        full("delete", "--force", container)
    else:
        assert "no space left on device" in result.stderr.lower()
        assert len(result.stderr.strip().splitlines()) == 1, result
    assert sorted(os.listdir(small_disk)) == before


@pytest.mark.peers_differ(crun="names no cause")
def test_no_space_at_all_is_not_enough_for_a_container(
    pyoci: Runtime, sleeper: Path, small_disk: Path
) -> None:
    fill(small_disk, pages=0, inodes=0)
    error = Runtime(pyoci.path, small_disk).fails("create", "--bundle", sleeper, new_id())
    assert "no space left on device" in error.lower()


def create_that_fails(pyoci: Runtime, bundle: Path) -> str:
    """What `create` says; nothing may be there after it."""
    error = pyoci.fails("create", "--bundle", bundle, new_id())
    assert os.listdir(pyoci.root) == []
    return error


def run_that_fails(pyoci: Runtime, bundle: Path) -> str:
    """What `run` says when the program cannot be executed."""
    return pyoci.fails("run", "--bundle", bundle, new_id())


def test_the_default_config_is_what_these_tests_change(pyoci: Runtime, sleeper: Path) -> None:
    write_config(sleeper, config(ociVersion="1.0.2", process={"args": ["true"]}))
    assert pyoci.run(sleeper).code == 0


def test_a_layer_of_many_that_is_missing_is_named(pyoci: Runtime, bundle: MakeBundle, tmp_path: Path) -> None:
    """More layers than fit into one string are set one by one, on Linux 6.7 and later; before they are too many."""
    layers = [tmp_path / f"{number}-{'x' * 200}" for number in range(30)]
    for layer in layers[:-1]:
        layer.mkdir()
    options = [f"lowerdir={':'.join(map(str, layers))}"]
    overlay = {"destination": "/tmp", "type": "overlay", "source": "overlay", "options": options}
    said = pyoci.fails("create", "--bundle", bundle(mounts=mounts(overlay)), new_id())
    assert "/mounts/7: " in said
    assert str(layers[-1]) in said or "bytes long, and mount(2) takes" in said


def test_a_shared_mount_can_not_be_the_root(pyoci: Runtime, bundle: MakeBundle) -> None:
    """The kernel says EINVAL, pivot_root(2)."""
    here = bundle()
    entry = {
        "destination": "/",
        "type": "none",
        "source": str(here / "rootfs"),
        "options": ["bind", "shared"],
    }
    document = json.loads((here / "config.json").read_text())
    (here / "config.json").write_text(json.dumps(document | {"mounts": [entry, *document["mounts"]]}))
    assert "is shared" in pyoci.fails("create", "--bundle", here, new_id())
