"""cgroup v1's device rules against a model of the kernel, which is a model of security/device_cgroup.c."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from pyoci.cgroups import device_filter, devices, devices_v1
from pyoci.errors import ConfigError

DENY_ALL: dict[str, Any] = {"allow": False, "access": "rwm"}
TUN = {"allow": True, "type": "c", "major": 10, "minor": 200, "access": "rwm"}
QUESTIONS = ["r", "w", "rw", "m"]  # what the kernel asks: an open(2), or a mknod(2)


class Kernel:
    """A devices cgroup: what is written to it, and what it allows."""

    def __init__(self) -> None:
        self.allow = True
        self.exceptions: list[list[Any]] = []

    def write(self, file: str, line: str) -> None:
        allow = file == "devices.allow"
        if line[0] == "a":
            self.allow, self.exceptions = allow, []
            return
        kind, numbers, access = line.split(" ")
        device = [kind, *numbers.split(":")]
        same = next((known for known in self.exceptions if known[:3] == device), None)
        if allow != self.allow:
            if same:
                same[3] |= set(access)
            else:
                self.exceptions.append([*device, set(access)])
        elif same:
            same[3] -= set(access)
            self.exceptions = [known for known in self.exceptions if known[3]]

    def permits(self, kind: str, access: str, major: int, minor: int) -> bool:
        asked = set(access)
        about = [
            accesses
            for of_kind, of_major, of_minor, accesses in self.exceptions
            if of_kind == kind and of_major in ("*", str(major)) and of_minor in ("*", str(minor))
        ]
        return not any(asked & each for each in about) if self.allow else any(asked <= each for each in about)

    def listed(self) -> str:
        if self.allow:
            return "a *:* rwm\n"
        return "".join(
            f"{kind} {major}:{minor} {''.join(c for c in 'rwm' if c in access)}\n"
            for kind, major, minor, access in self.exceptions
        )


def write(kernel: Kernel, rules: list[dict[str, Any]]) -> None:
    """As `create` does it, and `update`."""
    now = devices_v1.read(kernel.listed())
    then = devices_v1.wanted(rules, devices_v1.Memory())
    for _, file, line in devices_v1.lines(now, then):
        kernel.write(file, line)


NUMBERS = st.sampled_from([-1, 0, 1, 3, 5])
RULES = st.lists(
    st.fixed_dictionaries(
        {"allow": st.booleans(), "type": st.sampled_from("abc"), "major": NUMBERS, "minor": NUMBERS},
        optional={"access": st.sampled_from(["r", "w", "m", "rw", "rm", "wm", "rwm"])},
    ),
    max_size=6,
)
POSSIBLE = st.tuples(st.just([DENY_ALL]), RULES.map(lambda rules: [r for r in rules if r["allow"]])).map(
    lambda parts: parts[0] + parts[1]
)


def possible(rules: list[dict[str, Any]]) -> bool:
    try:
        devices_v1.wanted(rules, devices_v1.Memory())
    except ConfigError:
        return False
    return True


@given(st.one_of(RULES, POSSIBLE), st.sampled_from("bc"), st.sampled_from(QUESTIONS), NUMBERS, NUMBERS)
@example([DENY_ALL, {**TUN, "access": "r"}, {**TUN, "minor": -1, "access": "w"}], "c", "rw", 10, 200)
@example([DENY_ALL, TUN, {**TUN, "allow": False, "minor": -1}], "c", "r", 10, 200)
@example([TUN, DENY_ALL, {**TUN, "minor": -1}], "c", "r", 10, 200)
def test_the_kernel_then_decides_as_the_rules_say(
    rules: list[dict[str, Any]], kind: str, access: str, major: int, minor: int
) -> None:
    assume(possible(rules))
    major, minor = max(major, 0), max(minor, 0)
    kernel = Kernel()
    write(kernel, rules)
    every = [rule for rule, _ in devices.in_order(rules)]
    said = device_filter.decide(every, kind, access, major, minor)
    assert kernel.permits(kind, access, major, minor) == said


@given(POSSIBLE, POSSIBLE)
def test_an_update_ends_where_a_new_container_begins(
    before: list[dict[str, Any]], after: list[dict[str, Any]]
) -> None:
    updated, fresh = Kernel(), Kernel()
    write(updated, before)
    write(updated, after)
    write(fresh, after)
    assert sorted(updated.listed().splitlines()) == sorted(fresh.listed().splitlines())


@given(POSSIBLE, POSSIBLE, st.sampled_from("bc"), st.sampled_from("rwm"), NUMBERS, NUMBERS)
def test_an_update_changes_at_no_moment_what_both_say(
    before: list[dict[str, Any]], after: list[dict[str, Any]], kind: str, access: str, major: int, minor: int
) -> None:
    major, minor = max(major, 0), max(minor, 0)
    kernel = Kernel()
    write(kernel, before)
    now, then = devices_v1.read(kernel.listed()), devices_v1.wanted(after, devices_v1.Memory())
    answers = [kernel.permits(kind, access, major, minor)]
    for _, file, line in devices_v1.lines(now, then):
        kernel.write(file, line)
        answers.append(kernel.permits(kind, access, major, minor))
    if answers[0] == answers[-1] and (not answers[0] or not now.allow):
        # What both allow is denied for a moment only on the way from "all are allowed", which the kernel forgets at once.
        assert set(answers) == {answers[0]}


def test_the_lines_are_the_rules_in_their_order_and_the_defaults_after_them() -> None:
    then = devices_v1.wanted([DENY_ALL, TUN, {"allow": True, "type": "b", "major": 8}], devices_v1.Memory())
    written = [line for _, *line in devices_v1.lines(devices_v1.Memory(), then)]
    assert written[:4] == [
        ["devices.deny", "a *:* rwm"],
        ["devices.allow", "c 10:200 rwm"],
        ["devices.allow", "b 8:* rwm"],
        ["devices.allow", "c *:* m"],
    ]
    assert written[-1] == ["devices.allow", "c 136:* rwm"]


@pytest.mark.parametrize(
    ("rules", "number"),
    [
        ([DENY_ALL, {**TUN, "minor": -1}, {**TUN, "allow": False}], 1),
        ([{"allow": False, "type": "c", "access": "w"}], 0),  # the default devices are to be writable
        ([{"allow": False, "major": 10, "access": "w"}, {**TUN, "minor": 3}], 0),
    ],
)
def test_what_the_kernel_would_ignore_is_an_error(rules: list[dict[str, Any]], number: int) -> None:
    with pytest.raises(ConfigError) as caught:
        devices_v1.wanted(rules, devices_v1.Memory())
    assert caught.value.problems[0].pointer == f"{devices.POINTER}/{number}"
    assert "cgroup v1" in caught.value.problems[0].message
    assert caught.value.hint


def test_a_cgroup_that_has_its_parents_exceptions_keeps_what_no_rule_is_about() -> None:
    now = devices_v1.read("c 10:200 rwm\nb 8:* r\n")
    then = devices_v1.wanted([{"allow": False, "type": "b", "major": 8}], now)
    written = [line for _, *line in devices_v1.lines(now, then)]
    assert written[-1] == ["devices.deny", "b 8:* r"]
    assert not [line for _, line in written if "10:200" in line]
    assert ("c", 10, 200) in then.exceptions
