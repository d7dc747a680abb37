"""Whatever a config says, the compiler makes a plan that the init would take, or says what is wrong and where.

PYOCI_TEST_EXAMPLES (200) raises how many are tried.
"""

from __future__ import annotations

import copy
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parents[1] / "spec"))

from spec_values import conforming, containers, mutated

from pyoci import shim
from pyoci.cgroups import layout
from pyoci.errors import ConfigError
from pyoci.host import Host
from pyoci.plan.compile import Compilation, compile_plan
from pyoci.plan.namespaces import NAMESPACES
from pyoci.plan.plan import Plan
from pyoci.plan.seccomp import compile_profile
from pyoci.plan.show import as_json, as_text
from pyoci.spec import bundle, rules, schema

TRIES = settings(
    max_examples=int(os.environ.get("PYOCI_TEST_EXAMPLES", "200")),
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
V1 = b"32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"
V2 = b"30 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n"
UNIFIED = b"41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n"
TABLES = (V1, V2, V1 + UNIFIED, b"")
WHOLE = schema.combined("config")
PLAIN = conforming(WHOLE, WHOLE["$defs"])


@st.composite
def full_configs(draw: st.DrawFn) -> dict[str, Any]:
    """Several configs in one, with namespaces that let much of it pass."""
    config: dict[str, Any] = {}
    for one in draw(st.lists(PLAIN, min_size=1, max_size=3)):
        for name, value in one.items():
            both = isinstance(value, dict) and isinstance(config.get(name), dict)
            config[name] = config[name] | value if both else value
    kinds = draw(st.lists(st.sampled_from(sorted(NAMESPACES)), unique=True))
    if kinds:
        linux = config["linux"] = dict(config.get("linux") or {})
        paths = [{"path": "/x"} if draw(st.booleans()) else {} for _ in kinds]
        linux["namespaces"] = [{"type": kind, **path} for kind, path in zip(kinds, paths, strict=True)]
    return config


CONFIGS = full_configs()


@st.composite
def odd_strings(draw: st.DrawFn, values: st.SearchStrategy[Any]) -> Any:
    """Values with some strings replaced by any text."""
    value = copy.deepcopy(draw(values))
    for place in containers(value):
        for key in list(place) if isinstance(place, dict) else range(len(place)):
            if isinstance(place[key], str) and draw(st.integers(0, 9)) == 0:
                place[key] = draw(
                    st.text(max_size=40) | st.sampled_from(["x" * 5000, "/" * 300, "a\nb", "é\u2028"])
                )
    return value


def repaired(config: dict[str, Any]) -> dict[str, Any] | None:
    """The config without what is wrong with it; None if nothing is left."""
    for _ in range(60):
        error = refusal(lambda: bundle.validate(config))
        if error is None:
            return config
        for problem in error.problems:
            remove(config, problem.pointer)
    return None


def refusal(function: Callable[[], object]) -> ConfigError | None:
    """How a function refuses a config; None if it doesn't."""
    try:
        function()
    except ConfigError as error:
        return error
    return None


def remove(document: Any, pointer: str) -> None:
    """Take away what a pointer names, or else the nearest thing around it."""
    parts = [part.replace("~1", "/").replace("~0", "~") for part in pointer.split("/")[1:]]
    trail = [document]
    for part in parts[:-1]:
        try:
            trail.append(trail[-1][int(part) if isinstance(trail[-1], list) else part])
        except (KeyError, IndexError, TypeError, ValueError):
            break
    for depth in range(len(trail) - 1, -1, -1):
        place, part = trail[depth], parts[depth]
        if isinstance(place, dict) and part in place and (depth > 0 or part not in ("ociVersion", "root")):
            del place[part]
            return
        if isinstance(place, list) and part.isdigit() and int(part) < len(place):
            del place[int(part)]
            return
    document.update({"ociVersion": "1.3.0", "root": {"path": "rootfs"}})


def names_a_place(document: Any, pointer: str) -> bool:
    """Whether a pointer's value is there, or missing from an object that is."""
    parts = [part.replace("~1", "/").replace("~0", "~") for part in pointer.split("/")[1:]]
    for depth, part in enumerate(parts):
        if isinstance(document, list) and part.isdigit() and int(part) < len(document):
            document = document[int(part)]
        elif isinstance(document, dict) and part in document:
            document = document[part]
        else:
            # A value that has a default, in an area that may not be there at all.
            return depth >= len(parts) - 2
    return True


def check_compiles(config: dict[str, Any], data: st.DataObject) -> None:
    host = Host(
        data.draw(st.sampled_from([0, (1 << 41) - 1, 0xA80425FB])),
        layout.read(data.draw(st.sampled_from(TABLES))),
        rootless=data.draw(st.booleans()),
        apparmor=data.draw(st.booleans()),
        selinux=data.draw(st.booleans()),
    )
    linux = config.get("linux") or {}
    plans: list[Plan] = []

    def compile_it() -> None:
        path = layout.resolve(linux.get("cgroupsPath"), "c1")
        seccomp = compile_profile(linux["seccomp"]) if linux.get("seccomp") else None
        context = Compilation(
            config,
            host,
            bundle="/bundle",
            container_id="c1",
            cgroup_path=path,
            cgroup_files=[f"/cg{path}/tasks"],
            seccomp=seccomp,
            no_pivot=data.draw(st.booleans()),
            preserved=data.draw(st.integers(0, 5)),
        )
        plans.append(compile_plan(context))

    error = refusal(compile_it)
    if error:
        assert error.problems
        for problem in error.problems:
            assert names_a_place(config, problem.pointer), problem.pointer
        assert all(line.isprintable() for line in error.lines())
        return
    (plan,) = plans
    assert shim.is_sound(plan.encode(shim.checksum)) or too_large(plan)
    for step in plan.steps:
        assert names_a_place(config, step.origin) or step.origin == "/process/capabilities/bounding", (
            step.origin
        )
    assert as_text(plan)
    json.loads(as_json(plan))


def too_large(plan: Any) -> bool:
    return len(plan.slots) > 256


@TRIES
@given(odd_strings(CONFIGS), st.data())
def test_what_is_valid_compiles_or_says_why_not(config: dict[str, Any], data: st.DataObject) -> None:
    valid = repaired(config)
    if valid is not None:
        raw = json.dumps(valid).encode()
        parsed = bundle.parse(raw, "config.json")
        bundle.validate(parsed, raw)
        bundle.drop_nulls(parsed)
        check_compiles(parsed, data)


@TRIES
@given(mutated(odd_strings(CONFIGS)), st.data())
def test_what_is_nearly_valid_is_refused_or_compiles(config: Any, data: st.DataObject) -> None:
    raw = json.dumps(config).encode()
    parsed = bundle.parse(raw, "config.json")
    if refusal(lambda: bundle.validate(parsed, raw)):
        return
    bundle.drop_nulls(parsed)
    check_compiles(parsed, data)


def test_repaired_configs_have_something_in_them() -> None:
    """The generator must reach the compiler's corners, not only empty configs."""
    seen: set[str] = set()

    # Hypothesis also draws the constants of our sources: what it finds among the first few changes with them.
    @settings(TRIES, max_examples=1000, database=None, derandomize=True)
    @given(CONFIGS)
    def collect(config: dict[str, Any]) -> None:
        valid = repaired(config)
        if valid is not None:
            for area in ("process", "linux"):
                seen.update(f"{area}.{name}" for name, value in (valid.get(area) or {}).items() if value)
            seen.update(name for name, value in valid.items() if value)

    collect()
    wanted = {"mounts", "hooks", "annotations", "process.scheduler", "process.rlimits", "linux.seccomp"}
    wanted |= {"linux.devices", "linux.namespaces", "process.capabilities"}
    assert wanted <= seen
    assert rules.broken({"ociVersion": "1.3.0", "root": {"path": "x"}}) is False
