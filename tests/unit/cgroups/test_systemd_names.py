"""linux.cgroupsPath for systemd: what unit it names, and where that lies."""

import pytest

from pyoci.cgroups.systemd_names import unit_of
from pyoci.errors import ConfigError

UNITS = {
    "system.slice:docker:abc": ("docker-abc.scope", "/system.slice/docker-abc.scope"),
    ":docker:abc": ("docker-abc.scope", "/system.slice/docker-abc.scope"),
    "machine.slice::abc": ("abc.scope", "/machine.slice/abc.scope"),
    "-.slice:docker:abc": ("docker-abc.scope", "/docker-abc.scope"),
    "kubepods-besteffort-pod1_2.slice:cri-containerd:abc": (
        "cri-containerd-abc.scope",
        "/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod1_2.slice/cri-containerd-abc.scope",
    ),
    "a.slice:ignored:a-b.slice": ("a-b.slice", "/a.slice/a-b.slice"),
    "-.slice::a.slice": ("a.slice", "/a.slice"),
}


@pytest.mark.parametrize("path", UNITS)
def test_a_path_names_a_unit_and_its_place(path: str) -> None:
    unit = unit_of(path, "c1", user=False)
    assert (unit.name, unit.path) == UNITS[path]


@pytest.mark.parametrize("path", [None, ""])
def test_without_a_path_the_id_names_it(path: "str | None") -> None:
    assert unit_of(path, "c1", user=False).path == "/system.slice/pyoci-c1.scope"
    assert unit_of(path, "c1", user=True).path == "/user.slice/pyoci-c1.scope"


def test_an_id_that_no_unit_can_be_called_is_escaped_and_never_a_slice() -> None:
    assert unit_of(None, "a+b", user=False).name == "pyoci-a\\x2bb.scope"
    assert unit_of(None, "a.slice", user=False).name == "pyoci-a.slice.scope"


WRONG = {
    "/a/b": "slice:prefix:name",
    "a:b": "slice:prefix:name",
    "a.slice:b:c:d": "slice:prefix:name",
    "a.slice:b:": "name",
    "a:b:c": "name of a slice",
    "system.service:b:c": "name of a slice",
    ".slice:b:c": "name of a slice",
    "a--b.slice:b:c": "name of a slice",
    "-a.slice:b:c": "name of a slice",
    "a-.slice:b:c": "name of a slice",
    "a@b.slice:b:c": "name of a slice",
    "../a.slice:b:c": "name of a unit",
    "a.slice:b/../..:c": "name of a unit",
    "a.slice:b:c d": "name of a unit",
    "a.slice::.c": "name of a unit",
    "a.slice:b:c\n": "name of a unit",
    "a.slice:b:\u00e9": "name of a unit",
    "system.slice:b:a-b.slice": "lies in",
    "-.slice:b:-.slice": "lies in",
    "a.slice:b:" + "c" * 250: "too long",
}


@pytest.mark.parametrize("path", WRONG)
def test_a_path_that_names_no_unit_is_an_error_at_its_place(path: str) -> None:
    with pytest.raises(ConfigError) as caught:
        unit_of(path, "c1", user=False)
    (problem,) = caught.value.problems
    assert problem.pointer == "/linux/cgroupsPath"
    assert WRONG[path] in problem.message


def test_the_longest_ids_unit_is_too_long() -> None:
    with pytest.raises(ConfigError, match="too long"):
        unit_of(None, "c" * 255, user=False)
