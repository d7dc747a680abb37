"""The plan's decoder, built with AddressSanitizer and UBSan, refuses whatever isn't a whole and sound plan."""

from __future__ import annotations

import struct
import subprocess
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pyoci.plan.plan import HEADER_SIZE, MAGIC, Plan
from pyoci.plan.steps import STEPS

CSRC = Path(__file__).resolve().parents[2] / "csrc"
SANITIZE = ["-g", "-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
Decode = Callable[[Iterable[bytes]], list[str]]


@pytest.fixture(scope="session")
def decode(tmp_path_factory: pytest.TempPathFactory) -> Decode:
    """Decodes plans in one process: "accepted N" or "refused" for each."""
    program = tmp_path_factory.mktemp("decoder") / "decode_plan"
    here = Path(__file__).parent / "decode_plan.c"
    warnings = ["-std=gnu11", "-D_GNU_SOURCE", "-Wall", "-Wextra", "-Werror", f"-I{CSRC}"]
    subprocess.run(
        ["cc", *SANITIZE, *warnings, str(here), str(CSRC / "plan.c"), "-o", str(program)], check=True
    )

    def run(plans: Iterable[bytes]) -> list[str]:
        data = b"".join(len(plan).to_bytes(4, "little") + plan for plan in plans)
        result = subprocess.run([program], input=data, capture_output=True, check=False)
        assert result.returncode == 0, result.stderr.decode()
        return result.stdout.decode().splitlines()

    return run


def sample() -> bytes:
    """A plan with every kind of argument."""
    plan = Plan(preserved=2)
    plan.add("join-cgroup", "/linux/cgroupsPath", plan.slot("cgroup", "/c/tasks"), "/c/tasks")
    plan.add("mount", "/mounts/0", "tmpfs", "shm", "/dev/shm", 2, 1 << 18, 4, ["mode=755", ""])
    plan.add("set-groups", "/process/user", b"\0\1\2\3")
    plan.add("execute", "/process/args", ["sh", "-c", "exit"], [])
    return plan.encode(zlib.crc32)


def sealed(steps: bytes, count: int, slots: int = 2) -> bytes:
    """A plan of these bytes with a right size and checksum."""
    covered = struct.pack("<II", count, slots) + steps
    return MAGIC + struct.pack("<II", HEADER_SIZE - 8 + len(covered), zlib.crc32(covered)) + covered


def step(number: int, body: bytes, zero: int = 0) -> bytes:
    return struct.pack("<HHI", number, zero, len(body)) + body


def text(data: bytes) -> bytes:
    return len(data).to_bytes(4, "little") + data + b"\0"


def test_a_sound_plan_is_accepted(decode: Decode) -> None:
    assert decode([sample(), sealed(b"", 0)]) == ["accepted 4", "accepted 0"]


def test_every_truncation_is_refused(decode: Decode) -> None:
    plan = sample()
    assert set(decode(plan[:size] for size in range(len(plan)))) == {"refused"}


def test_every_flipped_bit_is_refused(decode: Decode) -> None:
    plan = sample()

    def flipped(bit: int) -> bytes:
        changed = bytearray(plan)
        changed[bit // 8] ^= 1 << bit % 8
        return bytes(changed)

    assert set(decode(flipped(bit) for bit in range(len(plan) * 8))) == {"refused"}


NUMBER = {name: number for name, (number, _, _) in STEPS.items()}
HOSTNAME, EXECUTE, JOIN, PIVOT = (
    NUMBER[name] for name in ("set-hostname", "execute", "join-cgroup", "pivot-root")
)
LONG = b"\xff\xff\xff\xff"
NASTY = {
    "a string longer than the plan": step(HOSTNAME, text(b"") + LONG + b"x\0"),
    "a NUL in a string": step(HOSTNAME, text(b"") + text(b"a\0b")),
    "a string without its NUL": step(HOSTNAME, text(b"") + b"\1\0\0\0a"),
    "an origin without its NUL": step(PIVOT, b"\1\0\0\0a"),
    "a list longer than the plan": step(EXECUTE, text(b"") + LONG + LONG),
    "a list of too few strings": step(EXECUTE, text(b"") + b"\2\0\0\0" + text(b"a")),
    "a slot that there isn't": step(JOIN, text(b"") + b"\2\0\0\0" + text(b"a")),
    "an unknown kind": step(len(STEPS), text(b"")),
    "a field that must be zero": step(PIVOT, text(b""), zero=1),
    "a step with more than its arguments": step(PIVOT, text(b"") + b"x"),
    "a step with less": step(HOSTNAME, text(b"")),
    "a body longer than the plan": struct.pack("<HHI", PIVOT, 0, 0xFFFFFFFF) + text(b""),
    "bytes after the last step": step(PIVOT, text(b"")) + b"\0",
}


@pytest.mark.parametrize("name", NASTY)
def test_a_plan_that_lies_is_refused(decode: Decode, name: str) -> None:
    assert decode([sealed(NASTY[name], 1)]) == ["refused"]


def test_a_wrong_count_of_steps_or_slots_is_refused(decode: Decode) -> None:
    pivot = step(PIVOT, text(b""))
    assert decode([sealed(pivot, 2), sealed(pivot, 0), sealed(pivot, 1, slots=257)]) == ["refused"] * 3
    assert decode([sealed(pivot, 1, slots=256)]) == ["accepted 1"]


TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20)
ARGUMENTS = {
    "u": st.integers(0, 2**32 - 1),
    "l": st.integers(0, 2**64 - 1),
    "s": TEXT,
    "v": st.lists(TEXT, max_size=4),
    "b": st.binary(max_size=20),
    "f": st.integers(0, 1),
}
ANY_STEP = st.sampled_from(sorted(STEPS)).flatmap(
    lambda name: st.tuples(st.just(name), TEXT, *(ARGUMENTS[letter] for letter in STEPS[name][1]))
)
SLOW = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@SLOW
@given(st.lists(ANY_STEP, max_size=12))
def test_whatever_python_encodes_is_accepted(decode: Decode, steps: list[tuple[str, ...]]) -> None:
    plan = Plan()
    for name, origin, *arguments in steps:
        plan.add(name, origin, *arguments)
    assert decode([plan.encode(zlib.crc32)]) == [f"accepted {len(steps)}"]


@SLOW
@given(
    st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), min_size=1, max_size=8), st.integers(0, 9)
)
def test_a_changed_plan_with_a_right_checksum_breaks_nothing(
    decode: Decode, changes: list[tuple[int, int]], count: int
) -> None:
    body = bytearray(sample()[HEADER_SIZE:])
    for place, byte in changes:
        body[place % len(body)] = byte
    decode([sealed(bytes(body), count, slots=3)])
