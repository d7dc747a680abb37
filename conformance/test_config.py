"""The top level of config.json and its JSON; config.md, glossary.md, bundle.md."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from .bundles import namespaces
from .fixtures import MakeBundle
from .namespace_holders import holder
from .runtime import Runtime, new_id
from .test_mounts import refused


@pytest.mark.shows("ociVersion")
@pytest.mark.parametrize(
    "version", ["1.0.0", "1.0.2", "1.1.0", "1.2.1", "1.3.0", "1.0.0-rc1", "1.2.0+dev", "1.1.0-rc.3+build.5"]
)
@pytest.mark.peers_differ(crun="knows 1.0 only")
def test_a_version_that_this_runtime_is_for_is_taken(
    runtime: Runtime, bundle: MakeBundle, version: str
) -> None:
    runtime.output(bundle(ociVersion=version, process={"args": ["true"]}))


@pytest.mark.refuses("ociVersion")
@pytest.mark.parametrize(
    "version", ["invalid", "", "1", "1.0", "1.0.0.0", "v1.0.0", "01.0.0", "2.0.0", 1, None]
)
@pytest.mark.peers_differ(crun="takes some of them", runc="takes any")
def test_a_version_that_is_none_is_an_error(runtime: Runtime, bundle: MakeBundle, version: Any) -> None:
    here = bundle(process={"args": ["true"]})
    replace(here, "ociVersion", version)
    refused(runtime, here)


@pytest.mark.shows("annotations")
def test_annotations_are_in_the_state(runtime: Runtime, bundle: MakeBundle) -> None:
    annotations = {"org.example": "ü", "empty": "", "org.opencontainers.image.os": "linux", "a b": "c\nd"}
    state = runtime.state(runtime.create(bundle(annotations=annotations)))
    assert annotations.items() <= state["annotations"].items()


@pytest.mark.refuses("annotations")
@pytest.mark.parametrize("annotations", [{"": "x"}, {"x": 1}, {"x": None}, ["x"], "x", {"x": {"y": "z"}}])
@pytest.mark.peers_differ(crun="takes some of them", runc="takes some of them")
def test_annotations_that_are_no_strings_are_errors(
    runtime: Runtime, bundle: MakeBundle, annotations: Any
) -> None:
    here = bundle(process={"args": ["true"]})
    replace(here, "annotations", annotations)
    refused(runtime, here)


@pytest.mark.shows("hostname", "domainname")
@pytest.mark.peers_differ(runc="is too old for the domain")
def test_the_names_are_the_configs(runtime: Runtime, bundle: MakeBundle) -> None:
    script = "cat /proc/sys/kernel/hostname /proc/sys/kernel/domainname"
    here = bundle(hostname="host-1", domainname="example.org", process={"args": ["sh", "-c", script]})
    assert runtime.output(here) == "host-1\nexample.org\n"


@pytest.mark.shows("hostname", "domainname")
@pytest.mark.parametrize("given", ["", None])
def test_without_a_name_it_is_the_hosts(runtime: Runtime, bundle: MakeBundle, given: str | None) -> None:
    here = bundle(hostname=given, process={"args": ["cat", "/proc/sys/kernel/hostname"]})
    assert runtime.output(here) == Path("/proc/sys/kernel/hostname").read_text()


@pytest.mark.refuses("hostname", "domainname")
@pytest.mark.parametrize("name", ["hostname", "domainname"])
@pytest.mark.parametrize("value", ["x" * 65, 5, ["x"]])
@pytest.mark.peers_differ(crun="takes what isn't a string", runc="is too old for the domain")
def test_a_name_that_can_not_be_is_an_error(
    runtime: Runtime, bundle: MakeBundle, name: str, value: Any
) -> None:
    refused(runtime, bundle(**{name: value}))


@pytest.mark.refuses("hostname", "domainname")
@pytest.mark.parametrize("name", ["hostname", "domainname"])
@pytest.mark.parametrize("listed", ["no uts namespace", "a path to the runtime's own"])
@pytest.mark.peers_differ(
    crun="changes the host's", runc="changes the host's by a path, is too old for the domain"
)
def test_a_name_for_the_hosts_uts_namespace_is_an_error(
    enclosed: tuple[Runtime, int], bundle: MakeBundle, name: str, listed: str
) -> None:
    runtime, pid = enclosed
    before = name_in(pid, name)
    spaces = namespaces("uts") if listed == "no uts namespace" else namespaces(uts=f"/proc/{pid}/ns/uts")
    refused(runtime, bundle(**{"hostname": None, name: "other"}, linux={"namespaces": spaces}))
    assert name_in(pid, name) == before


@pytest.mark.shows("hostname", "domainname")
@pytest.mark.peers_differ(runc="is too old for the domain")
def test_a_uts_namespace_that_is_joined_gets_the_names(runtime: Runtime, bundle: MakeBundle) -> None:
    with holder("uts") as pid:
        names = {"hostname": "host-1", "domainname": "example.org"}
        linux = {"namespaces": namespaces(uts=f"/proc/{pid}/ns/uts")}
        runtime.output(bundle(**names, process={"args": ["true"]}, linux=linux))
        assert {name: name_in(pid, name) for name in names} == names


@pytest.mark.shows("hostname")
def test_the_name_that_the_hosts_uts_namespace_has_is_no_error(
    enclosed: tuple[Runtime, int], bundle: MakeBundle
) -> None:
    """Engines give the containers of a pod its name, and the pod's may be the host's."""
    runtime, pid = enclosed
    linux = {"namespaces": namespaces(uts=f"/proc/{pid}/ns/uts")}
    runtime.output(bundle(hostname=name_in(pid, "hostname"), process={"args": ["true"]}, linux=linux))


def name_in(pid: int, name: str) -> str:
    """A name in the uts namespace of a process."""
    enter = ["nsenter", "--target", str(pid), "--uts", "cat", f"/proc/sys/kernel/{name}"]
    return subprocess.run(enter, capture_output=True, text=True, check=True).stdout.rstrip("\n")


@pytest.mark.shows("extensibility")
def test_what_is_not_known_is_ignored(runtime: Runtime, bundle: MakeBundle) -> None:
    here = bundle(
        process={"args": ["true"], "unknown": {}},
        unknown=["x"],
        linux={"unknown": {"a": 1}},
        windows={"layerFolders": ["x"]},
        solaris={},
        vm={"kernel": {"path": "x"}},
        annotations={"org.opencontainers.unknown": "x"},
    )
    runtime.output(here)


def allowing(**members: Any) -> dict[str, Any]:
    """A seccomp profile that allows everything."""
    return {"defaultAction": "SCMP_ACT_ALLOW", **members}


# What Go's encoder writes for a member that nobody has set.
EMPTY: list[tuple[str, Any, dict[str, str]]] = [
    ("hostname", "", {}),
    ("domainname", "", {}),
    ("process/execCPUAffinity", {"initial": "", "final": ""}, {}),
    ("process/consoleSize", {}, {}),
    ("process/selinuxLabel", "", {"crun": "writes it"}),
    ("process/apparmorProfile", "", {"crun": "writes it"}),
    ("hooks/prestart", [{"path": "/bin/true", "args": [], "env": []}], {}),
    ("linux/namespaces/0/path", "", {"crun": "opens it"}),
    ("linux/rootfsPropagation", "", {}),
    ("linux/mountLabel", "", {}),
    ("linux/maskedPaths", [""], {}),
    ("linux/readonlyPaths", [""], {}),
    ("linux/personality", {}, {"crun": "crashes"}),
    ("linux/personality", {"domain": ""}, {"crun": "calls it unknown"}),
    ("linux/netDevices", {}, {}),
    ("linux/resources/cpu", {"cpus": "", "mems": ""}, {}),
    ("linux/resources/devices", [{"allow": False, "access": ""}], {"runc": "wants an access"}),
    ("linux/resources/devices", [{"allow": False, "type": "", "access": "rwm"}], {"crun": "writes it"}),
    ("linux/intelRdt", {"closID": "", "l3CacheSchema": "", "memBwSchema": ""}, {}),
    ("linux/seccomp", {}, {"crun": "wants a default action"}),
    ("linux/seccomp", {"defaultAction": ""}, {"crun": "wants a default action"}),
    ("linux/seccomp", allowing(listenerPath="", listenerMetadata=""), {"crun": "takes it as a path"}),
    ("linux/seccomp", allowing(syscalls=[{"names": [], "action": "SCMP_ACT_ERRNO"}]), {}),
]


@pytest.mark.shows("values.empty")
@pytest.mark.parametrize(
    ("path", "value"),
    [pytest.param(path, value, marks=pytest.mark.peers_differ(**peers)) for path, value, peers in EMPTY],
)
def test_an_empty_value_is_as_if_absent(runtime: Runtime, bundle: MakeBundle, path: str, value: Any) -> None:
    # crun knows 1.0 only.
    here = bundle(ociVersion="1.0.2", process={"args": ["echo", "runs"]})
    put(here, path, value)
    assert runtime.output(here) == "runs\n"


@pytest.mark.shows("linux.resources.devices.access")
@pytest.mark.parametrize("access", ["rwm", "mrw", "wmr", "rrwm"])
def test_the_letters_of_an_access_have_no_order(runtime: Runtime, bundle: MakeBundle, access: str) -> None:
    here = bundle(ociVersion="1.0.2", process={"args": ["echo", "runs"]})
    put(here, "linux/resources/devices", [{"allow": False, "access": access}])
    assert runtime.output(here) == "runs\n"


@pytest.mark.refuses("linux.resources.devices.access")
@pytest.mark.parametrize("access", ["rwa", "R", "r w"])
@pytest.mark.peers_differ(crun="takes some of them", runc="takes some of them")
def test_a_letter_that_is_no_access_is_an_error(runtime: Runtime, bundle: MakeBundle, access: str) -> None:
    here = bundle(process={"args": ["true"]})
    put(here, "linux/resources/devices", [{"allow": False, "access": access}])
    refused(runtime, here)


WRONG_TYPES: list[tuple[str, Any]] = [
    ("root", []),
    ("root", "rootfs"),
    ("mounts", {}),
    ("mounts", "proc"),
    ("mounts", ["/proc"]),
    ("process", []),
    ("process", "sh"),
    ("process/user", 0),
    ("process/rlimits", {}),
    ("process/capabilities", "CAP_KILL"),
    ("process/scheduler", "SCHED_BATCH"),
    ("process/ioPriority", 3),
    ("process/consoleSize", "80x24"),
    ("hooks", []),
    ("hooks/prestart", {"path": "/bin/true"}),
    ("hooks/poststop", "/bin/true"),
    ("linux", []),
    ("linux", "linux"),
    ("linux/namespaces", {"pid": {}}),
    ("linux/namespaces", ["pid"]),
    ("linux/uidMappings", {}),
    ("linux/timeOffsets", []),
    ("linux/devices", {}),
    ("linux/devices", ["/dev/null"]),
    ("linux/cgroupsPath", 5),
    ("linux/resources", []),
    ("linux/memoryPolicy", "MPOL_LOCAL"),
    ("linux/personality", []),
    ("linux/sysctl", []),
    ("linux/seccomp", "SCMP_ACT_ALLOW"),
]


@pytest.mark.refuses("values")
@pytest.mark.parametrize(("path", "value"), WRONG_TYPES)
@pytest.mark.peers_differ(crun="takes some of them", runc="takes some of them")
def test_a_value_of_the_wrong_type_is_an_error(
    runtime: Runtime, bundle: MakeBundle, path: str, value: Any
) -> None:
    here = bundle(process={"args": ["true"]})
    put(here, path, value)
    refused(runtime, here)


def put(bundle: Path, path: str, value: Any) -> None:
    """Set a value of a bundle's config.json; objects that are missing on the way to it are made."""
    document = json.loads((bundle / "config.json").read_text())
    *way, name = path.split("/")
    place = document
    for step in way:
        place = place[int(step)] if isinstance(place, list) else place.setdefault(step, {})
    place[name] = value
    (bundle / "config.json").write_text(json.dumps(document))


JSON = {
    "empty": b"",
    "cut": b'{"ociVersion": "1.0.0"',
    "an array": b"[]",
    "null": b"null",
    "no value": b'{"ociVersion": }',
    "a comma too many": b'{"ociVersion": "1.0.0",}',
    "not UTF-8": b'{"ociVersion": "\xff"}',
    "a surrogate": b'{"ociVersion": "\\ud800"}',
    "a byte order mark": b"\xef\xbb\xbf{}",
    "a comment": b"{} // comment",
    "single quotes": b"{'a': 1}",
    "NaN": b'{"ociVersion": NaN}',
    "deep": b'{"a":' + b"[" * 200000,
    "two": b"{}{}",
}


@pytest.mark.refuses("json")
@pytest.mark.parametrize("name", JSON)
@pytest.mark.peers_differ(crun="takes some of them", runc="takes some of them")
def test_what_is_no_json_object_is_an_error(runtime: Runtime, sleeper: Path, name: str) -> None:
    (sleeper / "config.json").write_bytes(JSON[name])
    refused(runtime, sleeper)


@pytest.mark.refuses("json")
@pytest.mark.peers_differ(crun="takes the last", runc="takes the last")
def test_a_name_twice_in_an_object_is_an_error(runtime: Runtime, sleeper: Path) -> None:
    text = (sleeper / "config.json").read_text()
    (sleeper / "config.json").write_text(text.replace('"hostname"', '"hostname": "x", "hostname"'))
    refused(runtime, sleeper)


@pytest.mark.shows("json")
def test_blanks_escapes_and_any_order_make_no_difference(runtime: Runtime, bundle: MakeBundle) -> None:
    here = bundle(process={"args": ["true"]})
    document = json.loads((here / "config.json").read_text())
    backwards = json.dumps(dict(reversed(document.items())), indent="\t\r\n ")
    (here / "config.json").write_text(backwards.replace('"root"', '"\\u0072oot"') + "\n\n")
    runtime.output(here)


@pytest.mark.refuses("bundle")
@pytest.mark.parametrize("what", ["no bundle", "no config.json", "a config.json that is a directory"])
def test_a_bundle_that_is_none_is_an_error(runtime: Runtime, tmp_path: Path, what: str) -> None:
    here = tmp_path / "bundle"
    if what != "no bundle":
        here.mkdir()
    if what.endswith("a directory"):
        (here / "config.json").mkdir()
    refused(runtime, here)


@pytest.mark.shows("bundle")
def test_without_a_bundle_the_working_directory_is_it(runtime: Runtime, sleeper: Path) -> None:
    container = new_id()
    runtime("create", container, cwd=sleeper)
    assert runtime.state(container)["bundle"] == str(sleeper)


def replace(here: Path, name: str, value: Any) -> None:
    """Set a property as it is, null too."""
    document = json.loads((here / "config.json").read_text())
    document[name] = value
    (here / "config.json").write_text(json.dumps(document))
