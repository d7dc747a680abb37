"""Properties whose names are nearly those of others are told; nothing else is."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from spec_values import conforming

from pyoci.errors import ConfigError
from pyoci.spec import bundle, misspelt, schema
from pyoci.spec._validator import is_valid
from pyoci.spec.default import default_config

REPOSITORY = Path(__file__).resolve().parents[3]
SLOW = settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
WHOLE = schema.combined("config")
CONFIGS = conforming(WHOLE, WHOLE["$defs"])


def changed(pointer: str, value: Any) -> Any:
    """The default configuration with one more property."""
    config: Any = default_config()
    here = config
    *parents, last = pointer[1:].split("/")
    for parent in parents:
        here = here[int(parent)] if isinstance(here, list) else here.setdefault(parent, {})
    here[last] = value
    return config


def told(config: Any) -> list[tuple[str, str]]:
    return list(misspelt.misspelt(config))


@pytest.mark.parametrize(
    ("pointer", "known"),
    [
        ("/root/readOnly", "readonly"),
        ("/root/read_only", "readonly"),
        ("/process/NoNewPrivileges", "noNewPrivileges"),
        ("/process/no_new_privileges", "noNewPrivileges"),
        ("/process/noNewPriviledges", "noNewPrivileges"),
        ("/process/capabilites", "capabilities"),
        ("/process/rlimit", "rlimits"),
        ("/process/user/additionalGIDs", "additionalGids"),
        ("/linux/maskedpaths", "maskedPaths"),
        ("/linux/secomp", "seccomp"),
        ("/linux/readonlyPath", "readonlyPaths"),
        ("/linux/resource", "resources"),
        ("/linux/resources/memory/limits", "limit"),
        ("/linux/resources/pids/Limit", "limit"),
        ("/Linux", "linux"),
        ("/hook", "hooks"),
    ],
)
def test_the_name_that_was_meant_is_told(pointer: str, known: str) -> None:
    ((where, message),) = told(changed(pointer, True))
    assert where == pointer
    assert message.endswith(f'; did you mean "{known}"?')


@pytest.mark.parametrize(
    ("pointer", "words"),
    [
        ("/mounts/0/readonly", '"ro" in its options'),
        ("/mounts/0/ReadOnly", '"ro" in its options'),
        ("/seccomp", '"seccomp" is a property of /linux'),
        ("/secomp", '"seccomp" is a property of /linux'),
        ("/noNewPrivileges", '"noNewPrivileges" is a property of /process'),
        ("/linux/capabilities", '"capabilities" is a property of /process'),
        ("/process/maskedPaths", '"maskedPaths" is a property of /linux'),
        ("/linux/hostname", '"hostname" is a property of the whole config'),
        ("/process/namespaces", '"namespaces" is a property of /linux'),
    ],
)
def test_a_name_of_another_place_is_told_with_its_place(pointer: str, words: str) -> None:
    ((where, message),) = told(changed(pointer, True))
    assert where == pointer
    assert words in message


@pytest.mark.parametrize(
    ("pointer", "value"),
    [
        ("/windows", {"layerFolders": []}),
        ("/vm", {}),
        ("/solaris", {}),
        ("/process/commandLine", "x"),
        ("/process/user/username", "x"),
        ("/linux/intelRdt", {"enableCMT": True, "enableMBM": True}),
        ("/unknown", {"readOnly": True}),
        ("/x-vendor", 1),
        ("/linux/vendorExtension", {}),
        ("/annotations", {"readOnly": "x", "Process": "y", "linux": "z"}),
        ("/linux/sysctl", {"net.ipv4.ip_forward": "1", "readonly": "1"}),
        ("/linux/resources/unified", {"memory.hihg": "1", "limit": "1"}),
        ("/linux/resources/rdma", {"limit": {"hcaHandles": 1}}),
        ("/linux/netDevices", {"seccomp": {"name": "eth0"}}),
        ("/root/readOnly", None),
    ],
)
def test_what_is_free_or_somebody_elses_is_not_told(pointer: str, value: Any) -> None:
    assert told(changed(pointer, value)) == []


def test_the_values_of_free_names_have_properties_of_their_own() -> None:
    config = changed("/linux/netDevices", {"eth0": {"Name": "x"}})
    config["linux"]["resources"]["rdma"] = {"mlx5_0": {"hcaHandle": 1}}
    assert sorted(pointer for pointer, _ in told(config)) == [
        "/linux/netDevices/eth0/Name",
        "/linux/resources/rdma/mlx5_0/hcaHandle",
    ]


@SLOW
@given(CONFIGS)
def test_a_valid_config_never_warns(config: Any) -> None:
    strange: list[Any] = []
    assert is_valid(config, strange)
    assert strange == []
    assert told(config) == []


def owners(config: Any, pointer: str = "", rules: Any = WHOLE) -> Any:
    """Every object of known properties in a config: its pointer, itself, and its names."""
    while "$ref" in rules:
        rules = WHOLE["$defs"][rules["$ref"].rpartition("/")[2]]
    if isinstance(config, list):
        for i, each in enumerate(config):
            yield from owners(each, f"{pointer}/{i}", rules.get("items", {}))
    elif isinstance(config, dict) and "properties" in rules:
        yield pointer, config, rules["properties"]
        for name, each in config.items():
            if name in rules["properties"]:
                yield from owners(each, f"{pointer}/{name}", rules["properties"][name])


@SLOW
@given(CONFIGS, st.data())
def test_a_known_name_with_two_letters_swapped_or_another_case_does(config: Any, data: st.DataObject) -> None:
    pointer, owner, known = data.draw(st.sampled_from(list(owners(config))))
    name = data.draw(st.sampled_from(sorted(known)))
    i = data.draw(st.integers(0, len(name) - 2))
    other = data.draw(
        st.sampled_from(
            [
                name[:i] + name[i + 1] + name[i] + name[i + 2 :],
                name[:i] + name[i].swapcase() + name[i + 1 :],
                name.upper(),
            ]
        )
    )
    if other in known:
        return
    value = owner.pop(name, True)
    owner[other] = True if value is None else value
    strange: list[Any] = []
    if is_valid(config, strange):
        assert owner in strange
    ((where, message),) = told(config)
    assert where == f"{pointer}/{other}"
    assert message.endswith(f'; did you mean "{name}"?')


def warned(value: Any, **how: Any) -> list[str]:
    """What is told of a config on the way to its validation."""
    raw = json.dumps(value, indent=1).encode()
    lines: list[str] = []
    try:
        bundle.validate(bundle.parse(raw, "config.json"), raw, warn=lines.append)
    except ConfigError:
        assert how.get("invalid")
    return lines


def test_a_warning_has_the_line() -> None:
    (line,) = warned({"ociVersion": "1.3.0", "root": {"path": "x", "readOnly": True}})
    assert line == (
        'config.json:5: /root/readOnly: there is no "readOnly" here, so it is ignored; '
        'did you mean "readonly"?'
    )


def test_a_config_that_is_not_valid_is_looked_at_too() -> None:
    """The misspelt name may be why."""
    (line,) = warned({"ociVersion": "1.3.0", "root": {"Path": "x"}}, invalid=True)
    assert line.startswith("config.json:4: /root/Path: ")


@pytest.mark.parametrize("value", [[], 1, None, "x", {"root": []}, {"mounts": [[1]]}, {"linux": {"x": {}}}])
def test_nothing_is_too_strange_to_look_at(value: Any) -> None:
    assert told(value) == []


def test_a_process_of_exec_is_looked_at() -> None:
    lines: list[str] = []
    process = {"cwd": "/", "args": ["x"], "user": {"uid": 0, "gid": 0}, "NoNewPrivileges": True}
    bundle.validate_process(process, name="exec", warn=lines.append)
    (line,) = lines
    assert line.startswith("exec: /NoNewPrivileges: ")


def test_a_valid_config_costs_no_import(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(default_config()))
    script = f"""
import sys
sys.path.insert(0, {str(REPOSITORY)!r})
from pyoci.spec import bundle
bundle.load({str(tmp_path)!r}, warn=print)
print("pyoci.spec.misspelt" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-ISc", script], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
