"""A config becomes the right steps in the right order, whatever the host's cgroups are."""

from __future__ import annotations

import copy
import json
import zlib
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conformance.bundles import config, mounts
from pyoci.cgroups import layout
from pyoci.errors import ConfigError
from pyoci.host import Host
from pyoci.plan import mount_options, namespaces
from pyoci.plan.capabilities import CAPABILITIES, SYS_ADMIN
from pyoci.plan.compile import Compilation, compile_plan
from pyoci.plan.plan import CGROUPS, HOOKS, Plan
from pyoci.plan.seccomp import Filter
from pyoci.plan.steps import STEPS

V1 = (
    b"32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"
    b"33 31 0:30 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
    b"34 31 0:31 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd\n"
)
V2 = b"30 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n"
HYBRID = V1 + b"41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n"
TABLES = {"v1": V1, "v2": V2, "hybrid": HYBRID}
EVERYTHING = (1 << len(CAPABILITIES)) - 1
CGROUP_PATH = "/pyoci/c1"
FILTER = Filter(b"\x06\0\0\0\0\0\xff\x7f")
SETS = ("bounding", "effective", "permitted", "inheritable", "ambient")
# What the specification has a default for: the step is there, and the config may not speak of it.
DEFAULTED = {
    "/linux/cgroupsPath",
    "/linux/rootfsPropagation",
    "/process/capabilities",
    "/process/capabilities/bounding",
    "/process/user/additionalGids",
}

every_layout = pytest.mark.parametrize("table", TABLES)


def host(table: str = "v2", capabilities: int = EVERYTHING) -> Host:
    return Host(capabilities, layout.read(TABLES[table]))


def context(document: dict[str, Any], facts: Host | None = None, **options: Any) -> Compilation:
    facts = facts or host()
    points = [point for point, _ in facts.layout.hierarchies] + [facts.layout.unified] * bool(
        facts.layout.unified
    )
    options.setdefault("cgroup_files", [f"{point}{CGROUP_PATH}/cgroup.procs" for point in points])
    return Compilation(
        document, facts, bundle="/bundle", container_id="c1", cgroup_path=CGROUP_PATH, **options
    )


def compiled(document: dict[str, Any], facts: Host | None = None, **options: Any) -> Plan:
    return compile_plan(context(document, facts, **options))


def names(plan: Plan) -> list[str]:
    return [step.name for step in plan.steps]


def arguments(plan: Plan, name: str) -> list[tuple[Any, ...]]:
    return [step.arguments for step in plan.steps if step.name == name]


def places(plan: Plan, *wanted: str, origin: str = "") -> list[int]:
    return [i for i, step in enumerate(plan.steps) if step.name in wanted and step.origin.startswith(origin)]


def assert_order(plan: Plan, *groups: list[int]) -> None:
    """All of each group stand before all of the next that isn't empty."""
    filled = [group for group in groups if group]
    for earlier, later in pairwise(filled):
        assert max(earlier) < min(later), names(plan)


def resolves(document: Any, pointer: str) -> bool:
    """Whether a JSON pointer (RFC 6901) names a value of the document."""
    for part in pointer.split("/")[1:]:
        part = part.replace("~1", "/").replace("~0", "~")
        if isinstance(document, list) and part.isdecimal() and int(part) < len(document):
            document = document[int(part)]
        elif isinstance(document, dict) and part in document:
            document = document[part]
        else:
            return False
    return True


def refusal(document: dict[str, Any], **options: Any) -> list[str]:
    """The places that the compiler complains about."""
    with pytest.raises(ConfigError) as caught:
        compiled(document, **options)
    return [problem.pointer for problem in caught.value.problems]


HOOK = {"path": "/bin/hook"}
OPTIONAL = {
    (): ("process", "hostname", "mounts"),
    ("process",): ("env", "capabilities", "rlimits", "noNewPrivileges", "terminal"),
    ("process", "capabilities"): SETS,
    ("linux",): ("resources", "maskedPaths", "readonlyPaths"),
    ("root",): ("readonly",),
}
ADDED: dict[tuple[str, ...], dict[str, Any]] = {
    (): {"domainname": "example", "annotations": {"a": "b"}},
    ("process",): {"oomScoreAdj": -5, "terminal": True, "consoleSize": {"height": 24, "width": 80}},
    ("process", "user"): {"umask": 0o27, "additionalGids": [5, 2**32 - 1]},
    ("linux",): {
        "rootfsPropagation": "rshared",
        "cgroupsPath": "/a/b",
        "sysctl": {"net.ipv4.ip_forward": "1", "net/ipv4/conf/a.b/x": "0"},
        "devices": [
            {"type": "c", "path": "/dev/null", "major": 1, "minor": 3},
            {"type": "p", "path": "/dev/f"},
        ],
    },
}
BINDS = [
    {"destination": "/dev", "source": "/dev", "options": ["rbind", "ro"]},
    {"destination": "/data", "source": "data", "options": ["bind", "rro", "noatime"]},
    {"destination": "/data", "options": ["remount", "ro"]},
]


@st.composite
def configs(draw: st.DrawFn) -> dict[str, Any]:
    """The default configuration with parts taken out, put in and moved."""
    document = config()
    for path, extra in ADDED.items():
        at = document
        for part in path:
            at = at[part]
        chosen = draw(st.sets(st.sampled_from(sorted(extra))))
        at.update({name: copy.deepcopy(extra[name]) for name in sorted(chosen)})
    kinds = draw(st.sets(st.sampled_from(["prestart", "createRuntime", "createContainer", "startContainer"])))
    if kinds:
        document["hooks"] = {
            kind: [HOOK, {**HOOK, "env": [], "args": ["x"], "timeout": 3}] for kind in sorted(kinds)
        }
    listed = draw(st.permutations(document["mounts"] + BINDS))
    document["mounts"] = copy.deepcopy(listed[: draw(st.integers(0, len(listed)))])
    spaces = [
        entry for entry in document["linux"]["namespaces"] if entry["type"] == "mount" or draw(st.booleans())
    ]
    for entry in spaces:
        if draw(st.booleans()):
            entry["path"] = f"/proc/1/ns/{entry['type']}"
    document["linux"]["namespaces"] = draw(st.permutations(spaces))
    for path, optional in OPTIONAL.items():
        at = document
        for part in path:
            at = at.get(part, {})
        for name in draw(st.sets(st.sampled_from(optional), max_size=2)):
            at.pop(name, None)
    return document


OPTIONS = st.fixed_dictionaries(
    {"seccomp": st.sampled_from([None, FILTER]), "no_pivot": st.booleans(), "preserved": st.integers(0, 3)}
)


@settings(max_examples=150, deadline=None)
@given(configs(), st.sampled_from(sorted(TABLES)), OPTIONS)
def test_any_config_has_its_steps_in_the_order_of_a_containers_life(
    document: dict[str, Any], table: str, options: dict[str, Any]
) -> None:
    plan = compiled(document, host(table), **options)
    (pivot,) = pivots = places(plan, "pivot-root", "move-root")
    assert plan.steps[pivot].name == ("move-root" if options["no_pivot"] else "pivot-root")
    created = places(plan, "run-hook", origin="/hooks/createContainer")
    started = places(plan, "run-hook", origin="/hooks/startContainer")
    unshare = places(plan, "unshare")
    assert_order(plan, places(plan, "set-oom-score-adj"), places(plan, "open-root"))
    assert_order(plan, places(plan, "join-cgroup"), unshare, places(plan, "open-root"))
    assert_order(
        plan, places(plan, "join-namespace"), places(plan, "set-hostname", "set-domainname", "set-sysctl")
    )
    assert_order(plan, places(plan, "set-hostname"), places(plan, "open-root"))
    mounted = places(plan, "mount", "bind")
    furnished = places(plan, "make-device", "open-console")
    assert_order(plan, mounted, furnished, places(plan, "ask-host"), places(plan, "set-sysctl"), created)
    assert_order(plan, created, places(plan, "make-directory"), pivots)
    assert_order(plan, places(plan, "set-propagation"), places(plan, "open-root"), mounted, created, pivots)
    assert_order(plan, mounted, places(plan, "make-device"), places(plan, "open-console"), pivots)
    assert_order(plan, mounted, places(plan, "make-readonly"), places(plan, "mask"), pivots)
    assert_order(plan, pivots, places(plan, "root-attributes"), places(plan, "set-affinity", "set-groups"))
    assert_order(plan, places(plan, "find-home", "set-groups"), places(plan, "set-user"))
    # A user namespace takes the privilege to raise limits.
    assert_order(plan, places(plan, "set-rlimit"), places(plan, "make-user-namespace", "open-root"))
    assert_order(
        plan, places(plan, "set-capabilities")[:1], places(plan, "prepare-program"), places(plan, "ready")
    )
    assert_order(
        plan, places(plan, "limit-bounding"), places(plan, "set-user"), places(plan, "set-capabilities")
    )
    assert_order(plan, places(plan, "set-user"), places(plan, "ready"), places(plan, "wait-start"), started)
    filtered = places(plan, "load-seccomp")
    assert_order(
        plan, places(plan, "no-new-privileges"), places(plan, "ready"), filtered, places(plan, "execute")
    )
    assert_order(plan, places(plan, "wait-start"), filtered, started, places(plan, "execute"))
    # What is opened after these would be held while the container waits.
    assert places(plan, "close-descriptors") == [place - 1 for place in places(plan, "ready")]
    assert len(places(plan, "ready")) == len(places(plan, "wait-start")) == 1
    assert ("execute" in names(plan)) == ("process" in document)
    if "process" in document:
        assert plan.steps[-1].name == "execute"


@settings(max_examples=150, deadline=None)
@given(configs(), st.sampled_from(sorted(TABLES)), OPTIONS)
def test_every_step_says_where_in_the_config_it_comes_from(
    document: dict[str, Any], table: str, options: dict[str, Any]
) -> None:
    plan = compiled(document, host(table), **options)
    document.setdefault("linux", {})["seccomp"] = {}
    origins = {step.origin for step in plan.steps} | {slot.origin for slot in plan.slots}
    assert {origin for origin in origins if not resolves(document, origin)} <= DEFAULTED


@settings(max_examples=100, deadline=None)
@given(configs(), st.sampled_from(sorted(TABLES)), OPTIONS)
def test_compiling_is_a_function_of_the_config(
    document: dict[str, Any], table: str, options: dict[str, Any]
) -> None:
    before = copy.deepcopy(document)
    first = compiled(document, host(table), **options)
    second = compiled(copy.deepcopy(document), host(table), **options)
    assert document == before
    assert first.encode(zlib.crc32) == second.encode(zlib.crc32)
    assert (first.new_namespaces, first.warnings) == (second.new_namespaces, second.warnings)
    assert [(slot.name, slot.path) for slot in first.slots] == [
        (slot.name, slot.path) for slot in second.slots
    ]


@settings(max_examples=100, deadline=None)
@given(configs(), st.sampled_from(sorted(TABLES)), OPTIONS)
def test_every_step_has_the_arguments_of_its_row(
    document: dict[str, Any], table: str, options: dict[str, Any]
) -> None:
    kinds = {"u": int, "f": int, "l": int, "s": str, "b": bytes, "v": list}
    plan = compiled(document, host(table), **options)
    for step in plan.steps:
        letters = STEPS[step.name][1]
        assert [kinds[letter] for letter in letters] == [type(value) for value in step.arguments], step.name
        for letter, value in zip(letters, step.arguments, strict=True):
            assert letter != "f" or 2 <= value < len(plan.slots)
    assert plan.first_descriptor == 3 + options["preserved"]


@settings(max_examples=100, deadline=None)
@given(configs(), st.sampled_from(sorted(TABLES)))
def test_mounts_are_made_in_the_listed_order_and_none_is_left_out(
    document: dict[str, Any], table: str
) -> None:
    plan = compiled(document, host(table))
    made = [step.origin for step in plan.steps if step.name in ("mount", "bind", "remount")]
    numbers = [int(origin.removeprefix("/mounts/")) for origin in made]
    assert numbers == sorted(numbers)
    assert set(numbers) == set(range(len(document.get("mounts", []))))


# Namespaces and cgroups.


def bits(*kinds: str) -> int:
    return sum(namespaces.NAMESPACES[kind][0] for kind in kinds)


def test_the_init_is_born_in_new_namespaces_but_the_cgroup_namespace() -> None:
    plan = compiled(config())
    assert plan.new_namespaces == bits("pid", "network", "ipc", "uts", "mount")
    assert arguments(plan, "unshare") == [(bits("cgroup"),)]
    assert plan.pid_namespace is None


def test_a_namespace_with_a_path_is_joined_and_that_of_pids_is_one_to_be_born_in() -> None:
    spaces = [
        {"type": "mount"},
        {"type": "network", "path": "/n"},
        {"type": "pid", "path": "/p"},
        {"type": "cgroup", "path": "/c"},
    ]
    plan = compiled(config(linux={"namespaces": spaces}))
    assert plan.new_namespaces == bits("mount")
    joined = [(plan.slots[fd].path, bit, path) for fd, bit, path, _ in arguments(plan, "join-namespace")]
    assert joined == [("/c", bits("cgroup"), "/c"), ("/n", bits("network"), "/n")]
    assert plan.pid_namespace is not None
    assert (plan.pid_namespace.path, plan.pid_namespace.origin) == ("/p", "/linux/namespaces/2/path")
    assert "unshare" not in names(plan)


MAPPING = [{"containerID": 0, "hostID": 1000, "size": 1}, {"containerID": 1, "hostID": 100000, "size": 65535}]
MAPPED = {"uidMappings": MAPPING, "gidMappings": MAPPING[:1]}


def test_what_is_new_beside_a_user_namespace_is_made_in_it_by_a_second_birth() -> None:
    spaces = [{"type": kind} for kind in namespaces.NAMESPACES]
    plan = compiled(config(linux={"namespaces": spaces, **MAPPED}))
    assert plan.new_namespaces == 0
    assert plan.id_maps == ("0 1000 1\n1 100000 65535\n", "0 1000 1\n")
    assert_order(
        plan,
        places(plan, "go-to-root"),
        places(plan, "make-user-namespace"),
        places(plan, "assume-root"),
        places(plan, "make-time-namespace"),
        places(plan, "fork"),
        places(plan, "unshare"),
        places(plan, "open-root"),
    )
    assert arguments(plan, "fork") == [(bits("pid", "network", "ipc", "uts", "mount"),)]


def test_beside_a_user_namespace_every_other_is_tried_before_and_after_it_is_entered() -> None:
    spaces = [{"type": kind, "path": f"/{kind}"} for kind in namespaces.NAMESPACES]
    plan = compiled(config(linux={"namespaces": spaces}))
    joined = [(path, flags) for _, _, path, flags in arguments(plan, "join-namespace")]
    others = [f"/{kind}" for kind in namespaces.NAMESPACES if kind != "user"]
    assert joined == [*((path, 1) for path in others), ("/user", 0), *((path, 0) for path in others)]
    assert plan.pid_namespace is None
    assert plan.id_maps is None
    assert arguments(plan, "fork") == [(0,)]


@pytest.mark.parametrize(
    ("offsets", "lines"),
    [
        ({}, ""),
        ({"boottime": {"secs": -5, "nanosecs": 7}}, "boottime -5 7\n"),
        ({"boottime": {}, "monotonic": {"nanosecs": 1}}, "monotonic 0 1\n"),
        ({"monotonic": {"secs": 2}, "boottime": {"secs": 1}}, "monotonic 2 0\nboottime 1 0\n"),
    ],
)
def test_the_offsets_of_a_time_namespace_are_lines_for_the_kernel(
    offsets: dict[str, dict[str, int]], lines: str
) -> None:
    linux = {"namespaces": [{"type": "mount"}, {"type": "time"}], "timeOffsets": offsets}
    plan = compiled(config(linux=linux))
    assert arguments(plan, "make-time-namespace") == [(lines,)]
    assert plan.new_namespaces == bits("mount")


def test_without_a_mount_namespace_the_hosts_tree_is_left_as_it_is() -> None:
    linux = {"namespaces": [{"type": "pid"}], "maskedPaths": None, "readonlyPaths": None}
    plan = compiled(config(linux=linux))
    assert not places(plan, "set-propagation", "pivot-root", "move-root")
    assert arguments(plan, "change-root") == [()]


@every_layout
def test_every_cgroup_is_joined_by_a_descriptor_of_its_own(table: str) -> None:
    files = [f"/cg/{number}/tasks" for number in range(3)]
    plan = compiled(config(), host(table), cgroup_files=files)
    joined = arguments(plan, "join-cgroup")
    assert [path for _, path in joined] == [plan.slots[fd].path for fd, _ in joined] == files
    assert len({fd for fd, _ in joined}) == 3


def cgroup_steps(table: str, *options: str, **changes: Any) -> list[tuple[str, tuple[Any, ...]]]:
    entry = {"destination": "/cg", "type": "cgroup", "source": "cgroup", "options": list(options)}
    plan = compiled(config(mounts=[entry], **changes), host(table))
    return [(step.name, step.arguments) for step in plan.steps if step.origin == "/mounts/0"]


def test_a_cgroup_mount_shows_the_one_tree_of_v2() -> None:
    assert cgroup_steps("v2", "nosuid", "ro") == [
        ("mount", ("cgroup2", "cgroup", "/cg", mount_options.NOSUID | mount_options.RDONLY, 0, 0, []))
    ]


@pytest.mark.parametrize(("table", "unified"), [("v1", []), ("hybrid", ["/cg/unified"])])
def test_a_cgroup_mount_shows_every_hierarchy_of_v1_below_a_tmpfs(table: str, unified: list[str]) -> None:
    steps = cgroup_steps(table, "ro")
    targets = [(values[0], values[2]) for name, values in steps if name == "mount"]
    assert targets == [
        ("tmpfs", "/cg"),
        ("cgroup", "/cg/cpu,cpuacct"),
        ("cgroup", "/cg/memory"),
        ("cgroup", "/cg/systemd"),
        *(("cgroup2", target) for target in unified),
    ]
    links = [values[:2] for name, values in steps if name == "make-symlink"]
    assert links == [("cpu,cpuacct", "/cg/cpu"), ("cpu,cpuacct", "/cg/cpuacct")]
    # Made read-only when everything is in it.
    assert steps[-1] == ("remount", ("/cg", mount_options.RDONLY, 0, 0, 0, []))


@every_layout
@pytest.mark.parametrize(
    ("option", "readonly"), [("rw", False), ("ro", True), ("rro", True), ("relatime", False)]
)
def test_without_a_cgroup_namespace_the_own_cgroups_are_bound_as_the_config_says(
    table: str, option: str, readonly: bool
) -> None:
    steps = cgroup_steps(table, option, linux={"namespaces": [{"type": "mount"}]})
    binds = [values for name, values in steps if name == "bind"]
    assert binds
    for source, _, put, cleared, _, clear_all, _, _ in binds:
        assert source.endswith(CGROUP_PATH)
        assert bool(put & mount_options.RDONLY) == readonly
        assert bool(cleared & mount_options.RDONLY) == (option == "rw")
        assert not clear_all


@every_layout
def test_a_container_without_a_cgroup_of_its_own_sees_its_callers_read_only(table: str) -> None:
    layout_here = host(table).layout
    points = [*(point for point, _ in layout_here.hierarchies), layout_here.unified or ""]
    own = dict.fromkeys(points, "/sys/fs/cgroup/callers")
    entry = {"destination": "/cg", "type": "cgroup", "source": "cgroup", "options": ["rw"]}
    document = config(mounts=[entry], linux={"namespaces": [{"type": "mount"}]})
    binds = [
        step.arguments
        for step in compiled(document, host(table), shown_cgroups=own).steps
        if step.name == "bind" and step.origin == "/mounts/0"
    ]
    assert binds
    for source, _, put, cleared, *_ in binds:
        assert source == "/sys/fs/cgroup/callers"
        assert put & mount_options.RDONLY
        assert not cleared & mount_options.RDONLY


# Mounts, devices, root.


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["ro"], ["ro", 'context="a:b:c:s0:c1,c2"']),
        (['context="x:y:z:s0:c3,c4"'], ['context="x:y:z:s0:c3,c4"']),
        (['size=1k,context="x:y:z:s0:c3,c4"'], ['size=1k,context="x:y:z:s0:c3,c4"']),
    ],
)
def test_a_mount_gets_one_label(options: list[str], expected: list[str]) -> None:
    entry = {"destination": "/x", "type": "tmpfs", "source": "tmpfs", "options": options}
    facts = Host(EVERYTHING, layout.read(V2), selinux=True)
    plan = compiled(config(mounts=[entry], linux={"mountLabel": "a:b:c:s0:c1,c2"}), facts)
    assert [values[6] for values in arguments(plan, "mount")] == [expected]


def test_a_bind_of_the_hosts_dev_keeps_its_devices() -> None:
    plan = compiled(config(mounts=[BINDS[0]]))
    assert not places(plan, "make-device", "make-symlink")


def test_the_default_devices_are_made_but_not_twice() -> None:
    plan = compiled(config(linux={"devices": [{"type": "c", "path": "/dev//null", "major": 1, "minor": 3}]}))
    paths = [path for path, *_ in arguments(plan, "make-device")]
    assert paths == ["/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty"]
    assert ("pts/ptmx", "/dev/ptmx") in [values[:2] for values in arguments(plan, "make-symlink")]


@pytest.mark.parametrize(
    ("path", "opened"), [("rootfs", "/bundle/rootfs"), ("./a//b", "/bundle/a/b"), ("/r", "/r")]
)
def test_the_root_is_relative_to_the_bundle(path: str, opened: str) -> None:
    assert arguments(compiled(config(root={"path": path})), "open-root") == [(opened, 0)]


def test_masked_and_readonly_paths_are_hidden_in_their_order() -> None:
    linux = {"maskedPaths": ["/b", "/a"], "readonlyPaths": ["/d", "/c"]}
    plan = compiled(config(linux=linux))
    assert arguments(plan, "mask") == [("/b",), ("/a",)]
    assert arguments(plan, "make-readonly") == [("/d",), ("/c",)]


def test_the_size_of_a_console_is_that_of_the_config() -> None:
    assert arguments(compiled(config()), "open-console") == []
    asked = {"terminal": True, "consoleSize": {"height": 24, "width": 80}}
    assert arguments(compiled(config(process=asked)), "open-console") == [(24, 80, 1)]
    assert arguments(compiled(config(process={"terminal": True})), "open-console") == [(0, 0, 1)]


# The process.


def test_a_container_without_a_process_is_created_and_has_nothing_to_run() -> None:
    plan = compiled(config(process=None), seccomp=FILTER)
    assert not places(plan, "execute", "set-user", "load-seccomp", "set-capabilities", origin="")
    assert names(plan)[-2:] == ["ready", "wait-start"]


def test_identity_limits_and_program_are_those_of_the_config() -> None:
    user = {"uid": 7, "gid": 8, "additionalGids": [1, 2**32 - 1], "umask": 0o27}
    limits = [
        {"type": "RLIMIT_CORE", "soft": 0, "hard": 2**64 - 1},
        {"type": "RLIMIT_AS", "soft": 1, "hard": 2},
    ]
    plan = compiled(
        config(
            process={"user": user, "rlimits": limits, "oomScoreAdj": -5, "args": ["a", "b"], "env": ["X=1"]}
        )
    )
    assert arguments(plan, "set-user") == [(7, 8)]
    assert arguments(plan, "set-groups") == [(b"\1\0\0\0\xff\xff\xff\xff",)]
    assert arguments(plan, "set-umask") == [(0o27,)]
    assert arguments(plan, "set-rlimit") == [(4, 0, 2**64 - 1), (9, 1, 2)]
    assert arguments(plan, "set-oom-score-adj") == [("-5",)]
    assert arguments(plan, "find-home") == [(7,)]
    assert arguments(plan, "prepare-program") == [(["a", "b"], ["X=1"], "/bin:/usr/bin")]


@pytest.mark.parametrize(
    ("env", "rest", "path", "looks_up"),
    [
        ([], [], "/bin:/usr/bin", True),
        (["HOME=", "A=b"], ["A=b"], "/bin:/usr/bin", True),
        (["PATH=/a:/b", "PATH=/c", "HOME=/x"], ["PATH=/a:/b", "PATH=/c", "HOME=/x"], "/a:/b", False),
        (["PATH=", "HOMES=/x"], ["PATH=", "HOMES=/x"], "", True),
    ],
)
def test_home_is_looked_up_if_the_environment_has_none(
    env: list[str], rest: list[str], path: str, looks_up: bool
) -> None:
    plan = compiled(config(process={"args": ["a"], "env": env, "user": None}))
    assert arguments(plan, "prepare-program") == [(["a"], rest, path)]
    assert arguments(plan, "find-home") == [(0,)] * looks_up


def test_what_is_not_asked_for_is_not_changed() -> None:
    plan = compiled(config(process={"rlimits": None, "noNewPrivileges": False}, hostname=None))
    left_out = ("set-umask", "set-oom-score-adj", "set-rlimit", "no-new-privileges", "set-hostname")
    assert not places(plan, *left_out, "load-seccomp", "open-console", "ask-host", "run-hook")


@settings(deadline=None)
@given(
    st.fixed_dictionaries(
        {},
        optional={name: st.lists(st.sampled_from([*CAPABILITIES, "CAP_NEW", "cap_kill"])) for name in SETS},
    ),
    st.integers(0, EVERYTHING),
)
def test_the_capability_sets_are_exact_and_what_cannot_be_had_is_warned_about(
    listed: dict[str, list[str]], granted: int
) -> None:
    document = config()
    document["process"]["capabilities"] = listed
    plan = compiled(document, host(capabilities=granted))
    available = {name for i, name in enumerate(CAPABILITIES) if granted >> i & 1}
    masks = {
        name: sum(1 << CAPABILITIES.index(each) for each in set(listed.get(name, ())) & available)
        for name in SETS
    }
    # The kernel refuses what isn't so: capabilities(7).
    asked = dict(masks)
    masks["effective"] &= masks["permitted"]
    masks["inheritable"] &= masks["bounding"]
    masks["ambient"] &= masks["permitted"] & masks["inheritable"]
    assert arguments(plan, "limit-bounding") == [(masks["bounding"],)]
    wanted = tuple(masks[name] for name in ("effective", "permitted", "inheritable", "ambient"))
    assert arguments(plan, "set-capabilities") == [wanted]
    missing = {each for sets in listed.values() for each in sets} - available
    assert len(plan.warnings) == len(missing) + sum(masks[name] != asked[name] for name in SETS)
    for name in missing:
        why = "is not available here" if name in CAPABILITIES else "is not known"
        assert any(f" {name} {why}" in warning for warning in plan.warnings)


def test_with_no_new_privileges_a_filter_needs_no_capability() -> None:
    plan = compiled(config(), seccomp=FILTER)
    assert len(arguments(plan, "set-capabilities")) == 1
    assert not arguments(plan, "set-capabilities")[0][0] & SYS_ADMIN
    assert names(plan)[-2:] == ["load-seccomp", "execute"]
    assert arguments(plan, "load-seccomp") == [(FILTER.program, FILTER.flags)]


@pytest.mark.parametrize("granted", [EVERYTHING, EVERYTHING & ~SYS_ADMIN])
def test_without_no_new_privileges_sys_admin_is_kept_until_the_filter_is_loaded(granted: int) -> None:
    plan = compiled(config(process={"noNewPrivileges": False}), host(capabilities=granted), seccomp=FILTER)
    assert names(plan)[-3:] == ["load-seccomp", "set-capabilities", "execute"]
    before, after = arguments(plan, "set-capabilities")
    kept = granted & SYS_ADMIN
    effective, permitted, inheritable, ambient = after
    assert before == (effective | kept, permitted | kept, inheritable, ambient)
    assert not any(mask & SYS_ADMIN for mask in after)
    assert not arguments(plan, "limit-bounding")[0][0] & SYS_ADMIN


def test_a_sys_admin_of_the_containers_own_is_not_taken_with_the_kept_one() -> None:
    sets = {name: ["CAP_SYS_ADMIN"] for name in ("bounding", "effective", "permitted")}
    plan = compiled(config(process={"noNewPrivileges": False, "capabilities": sets}), seccomp=FILTER)
    assert arguments(plan, "set-capabilities") == [(SYS_ADMIN, SYS_ADMIN, 0, 0)] * 2


# Hooks.


def test_the_files_for_labels_are_opened_before_the_identity_and_written_for_the_program() -> None:
    facts = Host(EVERYTHING, layout.read(V2), apparmor=True, selinux=True)
    document = config(process={"apparmorProfile": "profile", "selinuxLabel": "a:b:c:s0"})
    plan = compiled(document, facts)
    assert arguments(plan, "open-label") == [(0, "self/attr/apparmor/exec"), (1, "self/attr/exec")]
    assert arguments(plan, "set-label") == [(0, "exec profile"), (1, "a:b:c:s0")]
    assert_order(
        plan, places(plan, "fork", "pivot-root"), places(plan, "open-label"), places(plan, "set-user")
    )
    assert_order(plan, places(plan, "wait-start"), places(plan, "set-label"), places(plan, "execute"))


def test_hooks_get_their_state_around_the_pid_and_an_environment_of_the_config_only() -> None:
    hooks = {
        "createContainer": [{"path": "/a"}],
        "startContainer": [{"path": "/b", "args": ["b", "x"], "env": [], "timeout": 9}, {"path": "/c"}],
    }
    plan = compiled(config(hooks=hooks, annotations={'"pid":0': "x"}, process={"env": ["A=1"]}))
    ran = arguments(plan, "run-hook")
    assert [values[:4] for values in ran] == [
        ("/a", ["/a"], [], 0),
        ("/b", ["b", "x"], [], 9),
        ("/c", ["/c"], ["A=1"], 0),
    ]
    assert [values[6] for values in ran] == ["/bundle", "", ""]
    for (*_, before, after, _), status in zip(ran, ("creating", "created", "created"), strict=True):
        state = json.loads(f"{before}42{after}")
        assert (state["pid"], state["id"], state["status"], state["bundle"]) == (42, "c1", status, "/bundle")
        assert state["annotations"] == {'"pid":0': "x"}


@pytest.mark.parametrize(
    ("kind", "asked"), [("prestart", 1), ("createRuntime", 1), ("createContainer", 0), ("poststop", 0)]
)
def test_the_host_side_is_asked_only_if_it_has_hooks_to_run(kind: str, asked: int) -> None:
    plan = compiled(config(hooks={kind: [HOOK]}))
    assert len(places(plan, "ask-host")) == asked


@pytest.mark.parametrize(("path", "enterable"), [("", True), (None, True), ("/p", False)])
def test_the_init_is_dumpable_while_hooks_of_the_host_run_if_nobody_else_is_in_its_pid_namespace(
    path: str | None, enterable: bool
) -> None:
    spaces = [{"type": "mount"}] + ([] if path is None else [{"type": "pid", "path": path}])
    plan = compiled(config(hostname=None, hooks={"prestart": [HOOK]}, linux={"namespaces": spaces}))
    around = [
        (step.name, *step.arguments) for step in plan.steps if step.name in ("set-dumpable", "ask-host")
    ]
    asks = [("ask-host", HOOKS)]
    assert around == ([("set-dumpable", 1), *asks, ("set-dumpable", 0)] if enterable else asks)


# What this version can't do.


@pytest.mark.parametrize(("asks", "flags"), [(True, 2 | 8), (False, 2)])
def test_a_filter_that_asks_an_agent_is_loaded_with_a_listener(asks: bool, flags: int) -> None:
    made = compiled(config(), seccomp=Filter(b"12345678", 2, notify=asks))
    assert arguments(made, "load-seccomp") == [(b"12345678", flags)]


@pytest.mark.parametrize("destination", ["/proc/self", "/proc/sys", "proc//1/./x", "/proc/sysrq-trigger"])
def test_nothing_may_be_mounted_over_proc(destination: str) -> None:
    entry = {"destination": destination, "source": "/x", "options": ["bind"]}
    assert refusal(config(mounts=mounts(entry))) == ["/mounts/7/destination"]


def test_only_proc_is_mounted_on_proc_and_its_harmless_files_may_be_covered() -> None:
    assert refusal(config(mounts=[{"destination": "/proc", "type": "tmpfs"}])) == ["/mounts/0/type"]
    entry = {"destination": "/proc/meminfo", "source": "/x", "options": ["bind"]}
    assert arguments(compiled(config(mounts=mounts(entry))), "bind")[0][:2] == ("/x", "/proc/meminfo")


def late_steps(**changes: Any) -> list[str]:
    """The names of the steps of a container that its host side puts into its cgroups; an ask with its number."""
    plan = compile_plan(context(config(**changes), cgroup_files=[], joins_late=True))
    return [f"ask {step.arguments[0]}" if step.name == "ask-host" else step.name for step in plan.steps]


def test_the_init_asks_for_its_cgroups_right_before_it_shows_them() -> None:
    steps = late_steps()
    asks = steps.index(f"ask {CGROUPS}")
    assert steps[asks + 1] == "unshare"
    # All of the default's mounts but that of the cgroups, which is the last.
    assert steps[:asks].count("mount") == len(mounts()) - 1


@pytest.mark.parametrize(
    ("changes", "follows"),
    [
        ({"mounts": [], "hooks": {"createRuntime": [{"path": "/h"}]}}, "make-device"),
        ({"mounts": [{"destination": "/x", "type": "tmpfs", "options": ["tmpcopyup"]}]}, "mount"),
        ({"mounts": [], "hooks": {"createContainer": [{"path": "/h"}]}}, "make-device"),
        ({"mounts": []}, "make-device"),
    ],
    ids=["a hook of the host", "memory that counts", "a hook inside", "nothing"],
)
def test_the_init_asks_for_its_cgroups_before_anyone_could_see_that_it_has_none(
    changes: dict[str, Any], follows: str
) -> None:
    steps = late_steps(**changes)
    assert steps.count(f"ask {CGROUPS}") == 1
    assert steps[steps.index(f"ask {CGROUPS}") + 1 :][:2] == ["unshare", follows]
