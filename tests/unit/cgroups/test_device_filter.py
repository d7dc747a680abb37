"""The eBPF device filter against its model, by an interpreter for what it uses of eBPF."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pyoci.cgroups import device_filter, devices
from pyoci.errors import ConfigError

DENY_ALL = {"allow": False, "access": "rwm"}
ACCESSES = ["r", "w", "m", "rw", "rm", "wm", "rwm"]


def run(program: bytes, kind: str, access: str, major: int, minor: int) -> bool:
    """Executes a filter; a jump out of the program or a read of an unset register is an error."""
    mask = sum({"m": 1, "r": 2, "w": 4}[letter] for letter in access)
    context = struct.pack("<III", mask << 16 | {"b": 1, "c": 2}[kind], major, minor)
    code = [struct.unpack_from("<BBhi", program, at) for at in range(0, len(program), 8)]
    registers: dict[int, int] = {}
    at = steps = 0
    while True:
        operation, both, offset, value = code[at]
        target, source = both & 15, both >> 4
        immediate = value & 0xFFFFFFFF
        at, steps = at + 1, steps + 1
        assert steps <= len(code), "it only goes forwards"
        match operation:
            case 0x61:
                assert source == 1
                registers[target] = struct.unpack_from("<I", context, offset)[0]
            case 0xB4:
                registers[target] = immediate
            case 0xBC:
                registers[target] = registers[source] & 0xFFFFFFFF
            case 0x54:
                registers[target] = registers[target] & immediate
            case 0x74:
                registers[target] = (registers[target] & 0xFFFFFFFF) >> immediate
            case 0x16:
                at += offset if registers[target] & 0xFFFFFFFF == immediate else 0
            case 0x56:
                at += offset if registers[target] & 0xFFFFFFFF != immediate else 0
            case 0x95:
                return bool(registers[0])
            case _:
                raise AssertionError(f"opcode {operation:#x}")


def reachable(program: bytes) -> bool:
    """Whether every instruction can be reached, as the kernel's verifier demands."""
    code = [struct.unpack_from("<BBhi", program, at) for at in range(0, len(program), 8)]
    seen: set[int] = set()
    open_ends = [0]
    while open_ends:
        at = open_ends.pop()
        if at in seen:
            continue
        seen.add(at)
        if code[at][0] != 0x95:
            open_ends.append(at + 1)
        if code[at][0] in (0x16, 0x56):
            open_ends.append(at + 1 + code[at][2])
    return seen == set(range(len(code)))


NUMBERS = st.sampled_from([0, 1, 3, 5, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF])
RULES = st.lists(
    st.tuples(
        st.booleans(),
        st.sampled_from("abc"),
        st.none() | NUMBERS,
        st.none() | NUMBERS,
        st.sampled_from(ACCESSES),
    ),
    max_size=8,
)


@given(RULES, st.sampled_from("bc"), st.sampled_from(ACCESSES), NUMBERS, NUMBERS)
@example([(False, "c", 5, None, "w"), (True, "a", None, None, "r")], "c", "rw", 5, 1)
def test_the_program_decides_as_the_model(
    rules: list[devices.Rule], kind: str, access: str, major: int, minor: int
) -> None:
    program = device_filter.compile_filter(rules)
    assert run(program, kind, access, major, minor) == device_filter.decide(rules, kind, access, major, minor)
    assert reachable(program)


@given(RULES, st.sampled_from("bc"), st.sampled_from("rwm"), NUMBERS, NUMBERS)
def test_the_last_rule_about_a_device_and_an_access_counts(
    rules: list[devices.Rule], kind: str, access: str, major: int, minor: int
) -> None:
    answer = True
    for allow, of_kind, of_major, of_minor, of_access in rules:
        if (
            of_kind in ("a", kind)
            and of_major in (None, major)
            and of_minor in (None, minor)
            and access in of_access
        ):
            answer = allow
    assert device_filter.decide(rules, kind, access, major, minor) == answer


@given(RULES, st.sampled_from("bc"), st.sampled_from(ACCESSES), NUMBERS, NUMBERS)
def test_several_accesses_are_allowed_when_each_of_them_is(
    rules: list[devices.Rule], kind: str, access: str, major: int, minor: int
) -> None:
    each = [device_filter.decide(rules, kind, letter, major, minor) for letter in access]
    assert device_filter.decide(rules, kind, access, major, minor) == all(each)


def allowed(entries: list[dict[str, Any]], kind: str, access: str, major: int, minor: int) -> bool:
    return run(
        device_filter.compile_filter([rule for rule, _ in devices.in_order(entries)]),
        kind,
        access,
        major,
        minor,
    )


@pytest.mark.parametrize(
    ("major", "minor"), [(1, 3), (1, 5), (1, 7), (1, 8), (1, 9), (5, 0), (5, 2), (136, 7)]
)
def test_every_container_has_the_default_devices(major: int, minor: int) -> None:
    assert allowed([DENY_ALL], "c", "rwm", major, minor)


@pytest.mark.parametrize(("kind", "major", "minor"), [("c", 1, 1), ("c", 5, 1), ("b", 8, 0), ("b", 1, 3)])
def test_of_denied_devices_nodes_can_be_made_but_not_opened(kind: str, major: int, minor: int) -> None:
    assert allowed([DENY_ALL], kind, "m", major, minor)
    assert not allowed([DENY_ALL], kind, "r", major, minor)
    assert not allowed([DENY_ALL], kind, "w", major, minor)


def test_an_allowed_device_has_what_it_was_allowed() -> None:
    rules = [DENY_ALL, {"allow": True, "type": "b", "major": 8, "minor": -1, "access": "r"}]
    assert allowed(rules, "b", "r", 8, 17)
    assert not allowed(rules, "b", "rw", 8, 17)
    assert not allowed(rules, "c", "r", 8, 17)


def test_an_allow_of_all_devices_lets_everything_through() -> None:
    assert allowed([DENY_ALL, {"allow": True}], "b", "rwm", 8, 0)


@pytest.mark.parametrize("allow", [True, False])
def test_a_rule_for_all_types_but_not_all_devices_is_one_for_each_type(allow: bool) -> None:
    entry = {"allow": allow, "major": 8, "access": "r"}
    assert devices.uniform(entry) == [(allow, "c", 8, None, "r"), (allow, "b", 8, None, "r")]


def test_a_device_number_beyond_32_bits_is_an_error_at_its_place() -> None:
    with pytest.raises(ConfigError) as caught:
        devices.in_order([DENY_ALL, {"allow": True, "type": "c", "major": 1, "minor": 1 << 32}])
    assert caught.value.problems[0].pointer == "/linux/resources/devices/1/minor"
