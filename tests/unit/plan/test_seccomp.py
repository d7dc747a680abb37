"""linux.seccomp to BPF: what the programs do is asked of an interpreter and of the kernel."""

import ctypes
import errno
import os
import stat
import struct
import subprocess
import sys
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyoci.errors import ConfigError
from pyoci.plan import seccomp, seccomp_bpf
from pyoci.plan.seccomp import compile_profile
from pyoci.plan.seccomp_cache import Cache, cache_key

try:
    from pyoci import _seccomp
except ImportError:
    pytest.skip("pyoci._seccomp isn't built: make", allow_module_level=True)

X86_64, X86, ARM, AARCH64 = 0xC000003E, 0x40000003, 0x40000028, 0xC00000B7
X32_BIT = 0x40000000
ALLOW, KILL, ENOSYS, EPERM = 0x7FFF0000, 0, 0x50000 | errno.ENOSYS, 0x50000 | errno.EPERM
ALL_OF_X86 = ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"]

MACHINE = os.uname().machine
if MACHINE not in ("x86_64", "aarch64"):
    pytest.skip(f"the tests know no numbers of {MACHINE}", allow_module_level=True)
on_x86_64 = pytest.mark.skipif(MACHINE != "x86_64", reason="only x86_64 has such neighbours")
# What this machine runs: its own programs, and those of its neighbours, each with what is added to their calls' numbers.
NATIVE, FOREIGN, FAMILY, NEIGHBOURS = {
    "x86_64": (X86_64, AARCH64, ALL_OF_X86, [(0, X86_64), (X32_BIT, X86_64), (0, X86)]),
    "aarch64": (AARCH64, X86_64, ["SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"], [(0, AARCH64), (0, ARM)]),
}[MACHINE]
NATIVE_NAME, SECOND_NAME, SECOND = {
    "x86_64": ("SCMP_ARCH_X86_64", "SCMP_ARCH_X32", X86_64),
    "aarch64": ("SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM", ARM),
}[MACHINE]


def interpret(program: bytes, number: int, args: "tuple[int, ...]" = (), arch: int = NATIVE) -> int:
    """What the program returns for a call: the part of classic BPF that seccomp(2) takes."""
    data = struct.pack("=IIQ6Q", number, arch, 0, *args, *[0] * (6 - len(args)))
    code = list(struct.iter_unpack("=HBBI", program))
    accumulator = position = 0
    while True:
        operation, if_true, if_false, operand = code[position]
        position += 1
        if operation == 0x06:
            return operand
        if operation == 0x20:
            accumulator = struct.unpack_from("=I", data, operand)[0]
        elif operation == 0x54:
            accumulator &= operand
        elif operation == 0x05:
            position += operand
        else:
            holds = {
                0x15: accumulator == operand,
                0x25: accumulator > operand,
                0x35: accumulator >= operand,
                0x45: bool(accumulator & operand),
            }[operation]
            position += if_true if holds else if_false


def number_of(name: str, arch: str = NATIVE_NAME) -> int:
    token = seccomp._architecture(_seccomp.lib, arch)
    return _seccomp.lib.seccomp_syscall_resolve_name_arch(token, name.encode())


def profile_of(*rules: dict, default: str = "SCMP_ACT_ERRNO", **fields: object) -> dict:
    return {"defaultAction": default, "syscalls": list(rules), **fields}


def rule(*names: str, action: str = "SCMP_ACT_ALLOW", **fields: object) -> dict:
    return {"names": list(names), "action": action, **fields}


def arg(index: int, op: str, value: int, value_two: int = 0) -> dict:
    return {"index": index, "op": "SCMP_CMP_" + op, "value": value, "valueTwo": value_two}


def program_of(profile: dict) -> bytes:
    return compile_profile(profile).program


# The model: the specification's rules, and the order that pyoci/plan/seccomp.py states.

_HOLDS = {
    "SCMP_CMP_NE": lambda given, one, two: given != one,
    "SCMP_CMP_LT": lambda given, one, two: given < one,
    "SCMP_CMP_LE": lambda given, one, two: given <= one,
    "SCMP_CMP_EQ": lambda given, one, two: given == one,
    "SCMP_CMP_GE": lambda given, one, two: given >= one,
    "SCMP_CMP_GT": lambda given, one, two: given > one,
    "SCMP_CMP_MASKED_EQ": lambda given, one, two: given & one == two & one,
}


def action_value(owner: dict, field: str, errno_field: str) -> int:
    value = {
        "KILL": 0,
        "TRAP": 0x30000,
        "ERRNO": 0x50000,
        "TRACE": 0x7FF00000,
        "ALLOW": ALLOW,
        "LOG": 0x7FFC0000,
    }[owner[field].removeprefix("SCMP_ACT_")]
    return (
        value | owner.get(errno_field, 1) if owner[field] in ("SCMP_ACT_ERRNO", "SCMP_ACT_TRACE") else value
    )


def expected(profile: dict, name: str, args: "tuple[int, ...]") -> int:
    default = action_value(profile, "defaultAction", "defaultErrnoRet")
    conditional = []
    for entry in profile["syscalls"]:
        action = action_value(entry, "action", "errnoRet")
        if name not in entry["names"] or action == default:
            continue
        comparisons = entry.get("args", [])
        if not comparisons:
            return action
        holds = [_HOLDS[c["op"]](args[c["index"]], c["value"], c["valueTwo"]) for c in comparisons]
        repeated = len({c["index"] for c in comparisons}) < len(comparisons)
        conditional.append((action, any(holds) if repeated else all(holds)))
    return next((action for action, matches in conditional if matches), default)


CALLS = ["read", "getcwd", "clone", "personality", "socket"]
VALUES = st.one_of(
    st.sampled_from([0, 1, 2, (1 << 32) - 1, 1 << 32, (1 << 32) + 1, 1 << 63, (1 << 64) - 1]),
    st.integers(0, 3),
    st.integers(0, (1 << 64) - 1),
)
ARGS = st.builds(arg, st.integers(0, 5), st.sampled_from([o[9:] for o in seccomp.OPERATORS]), VALUES, VALUES)
ACTION_NAMES = st.sampled_from(["SCMP_ACT_" + a for a in ("KILL", "TRAP", "ERRNO", "TRACE", "ALLOW", "LOG")])


@st.composite
def rules(draw: st.DrawFn) -> dict:
    entry = rule(*draw(st.lists(st.sampled_from(CALLS), min_size=1, max_size=3)), action=draw(ACTION_NAMES))
    if entry["action"] in ("SCMP_ACT_ERRNO", "SCMP_ACT_TRACE") and draw(st.booleans()):
        entry["errnoRet"] = draw(st.integers(0, 4094))
    args = draw(st.lists(ARGS, max_size=3))
    if args:
        entry["args"] = args
    return entry


@settings(max_examples=int(os.environ.get("PYOCI_TEST_EXAMPLES", "300")), deadline=None)
@given(
    st.lists(rules(), max_size=6),
    ACTION_NAMES,
    st.lists(st.tuples(*[VALUES] * 6), min_size=1, max_size=8),
    st.booleans(),
)
def test_a_program_does_what_the_rules_say(
    entries: "list[dict]", default: str, calls: "list[tuple[int, ...]]", second: bool
) -> None:
    profile = profile_of(*entries, default=default)
    profile["architectures"] = [NATIVE_NAME, *([SECOND_NAME] if second else [])]
    program = program_of(profile)
    # Random args seldom sit on a rule's edge: the rules' own values, and their neighbours, do.
    edges = {
        c[f] + d
        for e in entries
        for c in e.get("args", [])
        for f in ("value", "valueTwo")
        for d in (-1, 0, 1)
    }
    edges = sorted(edge for edge in edges if 0 <= edge < 1 << 64)
    calls = calls + [(edge,) * 6 for edge in edges]
    calls += [(*args[:3], *[edge] * 3) for args in calls[:2] for edge in edges]
    for name in CALLS:
        for args in calls:
            assert interpret(program, number_of(name), args) == expected(profile, name, args), (name, args)
            if second:
                number = number_of(name, SECOND_NAME)
                if all(value < 1 << 32 for value in args):
                    wanted = expected(profile, name, args)
                    small = all(
                        c["value"] | c["valueTwo"] < 1 << 32 for e in entries for c in e.get("args", [])
                    )
                    if small:
                        assert interpret(program, number, args, SECOND) == wanted, (name, args)


@pytest.mark.parametrize("operator", seccomp.OPERATORS)
@given(one=VALUES, two=VALUES, given_=VALUES)
def test_our_own_comparisons_agree_with_arithmetic(operator: str, one: int, two: int, given_: int) -> None:
    section = seccomp_bpf.choose(7, [(ALLOW, [(3, operator, one, two)])], KILL)
    program = seccomp_bpf.by_architecture({NATIVE: section}) + struct.pack("=HBBI", 6, 0, 0, ENOSYS)
    for value in (given_, one, two, one & two, (one & two) | ~one & given_):
        wanted = ALLOW if _HOLDS[operator](value, one, two) else KILL
        assert interpret(program, 7, (0, 0, 0, value)) == wanted
    assert interpret(program, 8) == ENOSYS
    assert interpret(program, 7, arch=X86) == ENOSYS


def test_what_is_longer_than_a_short_jump_is_still_skipped() -> None:
    many = [(ALLOW, [(index, "SCMP_CMP_EQ", n, 0) for index in range(6)]) for n in range(100)]
    sections = {arch: seccomp_bpf.choose(7, many, KILL) for arch in (X86_64, X86, ARM)}
    program = seccomp_bpf.by_architecture(sections) + struct.pack("=HBBI", 6, 0, 0, ENOSYS)
    for arch in sections:
        assert interpret(program, 7, (99,) * 6, arch) == ALLOW
        assert interpret(program, 7, (100,) * 6, arch) == KILL
        assert interpret(program, 8, arch=arch) == ENOSYS
    assert interpret(program, 7, arch=AARCH64) == ENOSYS


def test_rules_that_libseccomp_gets_wrong_are_right() -> None:
    # libseccomp 2.5.4 allows (0, 0, 1), which no rule allows.
    profile = profile_of(
        rule("read", args=[arg(1, "GT", 0)]),
        rule("read", args=[arg(1, "LT", 0xFFFFFFFF), arg(2, "MASKED_EQ", 1, 0)]),
    )
    program = program_of(profile)
    assert interpret(program, number_of("read"), (0, 0, 1)) == EPERM
    assert interpret(program, number_of("read"), (0, 0, 2)) == ALLOW
    assert interpret(program, number_of("read"), (0, 1, 1)) == ALLOW


def test_an_argument_compared_twice_makes_two_rules() -> None:
    program = program_of(profile_of(rule("read", args=[arg(0, "LT", 2), arg(0, "GT", 5), arg(1, "EQ", 7)])))
    number = number_of("read")
    assert [interpret(program, number, args) for args in ((1,), (6,), (3,), (3, 7))] == [
        ALLOW,
        ALLOW,
        EPERM,
        ALLOW,
    ]


@pytest.mark.parametrize("architectures", [[], ["SCMP_ARCH_AARCH64"], ALL_OF_X86])
def test_the_native_architecture_is_always_there(architectures: "list[str]") -> None:
    program = program_of(profile_of(rule("read"), architectures=architectures))
    assert interpret(program, number_of("read")) == ALLOW


def test_other_architectures_are_killed_unless_they_are_listed() -> None:
    bare, full = (program_of(profile_of(rule("read"), architectures=a)) for a in ([], FAMILY))
    names = [name for name in FAMILY if name != NATIVE_NAME]
    neighbours = [
        (
            number_of("read", name),
            X86_64 if name == "SCMP_ARCH_X32" else seccomp._architecture(_seccomp.lib, name),
        )
        for name in names
    ]
    assert [interpret(bare, number, arch=arch) for number, arch in neighbours] == [KILL] * len(names)
    assert [interpret(full, number, arch=arch) for number, arch in neighbours] == [ALLOW] * len(names)
    assert interpret(full, 63, arch=FOREIGN) == KILL


@on_x86_64
def test_several_rules_reach_multiplexed_calls_on_x86() -> None:
    entries = [rule("socket", args=[arg(0, "EQ", family)]) for family in (1, 2)]
    program = program_of(profile_of(*entries, architectures=ALL_OF_X86))
    direct = [interpret(program, 359, (family,), X86) for family in (1, 2, 40)]
    assert direct == [ALLOW, ALLOW, EPERM]
    assert [interpret(program, 41, (family,)) for family in (1, 2, 40)] == direct
    assert interpret(program, 102, (1,), X86) == ALLOW  # socketcall(SYS_SOCKET): its args can't be seen
    assert interpret(program, 102, (2,), X86) == EPERM


# ENOSYS


@pytest.mark.parametrize("default", ["ERRNO", "KILL", "KILL_PROCESS", "KILL_THREAD", "TRAP"])
def test_calls_newer_than_the_profile_get_enosys(default: str) -> None:
    profile = profile_of(
        rule("read", "faccessat2"),
        default="SCMP_ACT_" + default,
        architectures=[*FAMILY, "SCMP_ARCH_ARM"],
    )
    program = program_of(profile)
    for base, arch in (*NEIGHBOURS, (0, ARM)):
        assert interpret(program, base + 439, arch=arch) == ALLOW
        assert interpret(program, base + 435, arch=arch) != ENOSYS
        assert [interpret(program, base + n, arch=arch) for n in (440, 500, 511)] == [ENOSYS] * 3


@pytest.mark.parametrize(
    ("default", "fields"),
    [
        ("SCMP_ACT_ALLOW", {}),
        ("SCMP_ACT_LOG", {}),
        ("SCMP_ACT_TRACE", {}),
        ("SCMP_ACT_ERRNO", {"defaultErrnoRet": 5}),
    ],
)
def test_calls_newer_than_the_profile_get_other_default_actions_as_written(
    default: str, fields: dict
) -> None:
    profile = profile_of(rule("read", action="SCMP_ACT_TRAP"), default=default, **fields)
    wanted = action_value(profile, "defaultAction", "defaultErrnoRet")
    assert interpret(program_of(profile), 440) == wanted


def test_old_calls_get_the_default_action_from_a_small_profile_too() -> None:
    program = program_of(profile_of(rule("read"), defaultErrnoRet=errno.EPERM))
    assert interpret(program, number_of("mount")) == EPERM
    assert interpret(program, number_of("clone3")) == ENOSYS


# On ARM alone there is set_tls, on x86 alone there is arch_prctl.
@pytest.mark.parametrize("names", [["set_tls"], ["arch_prctl"], ["set_tls", "no_such_call"]])
def test_newer_calls_get_enosys_where_no_call_of_the_profile_exists_too(names: "list[str]") -> None:
    program = program_of(profile_of(rule(*names)))
    assert interpret(program, number_of("mount")) == EPERM
    assert interpret(program, number_of("clone3")) == ENOSYS


@pytest.mark.parametrize("rules", [[], [rule("no_such_call")]])
def test_a_profile_that_names_no_call_tells_nothing_of_newer_ones(rules: "list[dict]") -> None:
    assert interpret(program_of(profile_of(*rules)), number_of("clone3")) == EPERM


def test_a_refusal_that_is_spelled_out_makes_the_call_known() -> None:
    program = program_of(profile_of(rule("read"), rule("clone3", action="SCMP_ACT_ERRNO", errnoRet=1)))
    assert interpret(program, number_of("clone3")) == EPERM


def test_private_calls_of_arm_and_x32_hide_no_newer_ones() -> None:
    architectures = [*FAMILY, "SCMP_ARCH_ARM"]
    program = program_of(profile_of(rule("read", "set_tls", "ioctl"), architectures=architectures))
    assert interpret(program, 0xF0005, arch=ARM) == ALLOW
    assert interpret(program, 435, arch=ARM) == ENOSYS
    if MACHINE == "x86_64":
        assert interpret(program, X32_BIT + 514) == ALLOW
        assert interpret(program, X32_BIT + 435) == ENOSYS


# What is reported


def problems_of(profile: dict) -> "list[tuple[str, str]]":
    with pytest.raises(ConfigError) as caught:
        compile_profile(profile)
    return [(problem.pointer, problem.message) for problem in caught.value.problems]


def test_every_problem_is_reported_with_its_pointer() -> None:
    profile = profile_of(
        rule("read", action="SCMP_ACT_LOG", errnoRet=5),
        rule("read", action="SCMP_ACT_ERRNO", errnoRet=4095),
        rule("read", args=[arg(6, "EQ", 0), arg(0, "EQ", 1 << 64), arg(0, "XOR", 0)]),
        rule("read", action="SCMP_ACT_MAYBE"),
        rule("read", action="SCMP_ACT_NOTIFY"),
        default="SCMP_ACT_KILL",
        defaultErrnoRet=1,
        flags=["SECCOMP_FILTER_FLAG_FAST"],
        architectures=["SCMP_ARCH_X86_64", "SCMP_ARCH_VAX"],
        listenerMetadata="data",
    )
    assert [pointer.removeprefix("/linux/seccomp") for pointer, _ in problems_of(profile)] == [
        "/defaultErrnoRet",
        "/architectures/1",
        "/flags/0",
        "/syscalls/0/errnoRet",
        "/syscalls/1/errnoRet",
        "/syscalls/2/args/0/index",
        "/syscalls/2/args/1/value",
        "/syscalls/2/args/2/op",
        "/syscalls/3/action",
        "/listenerMetadata",
        "/listenerPath",
    ]


def test_architectures_that_this_libseccomp_lacks_are_reported() -> None:
    lacking = [name for name in seccomp.ARCHITECTURES if name not in seccomp.supported_architectures()]
    if not lacking:
        pytest.skip(f"libseccomp {seccomp.libseccomp_version()} knows every architecture")
    found = problems_of(profile_of(architectures=["SCMP_ARCH_X86_64", *lacking]))
    assert [pointer for pointer, _ in found] == [
        f"/linux/seccomp/architectures/{index + 1}" for index in range(len(lacking))
    ]
    assert f"not known to libseccomp {seccomp.libseccomp_version()}" in found[0][1]


def test_an_architecture_of_another_byte_order_is_reported() -> None:
    assert problems_of(profile_of(architectures=["SCMP_ARCH_S390X"])) == [
        ("/linux/seccomp/architectures/0", "SCMP_ARCH_S390X has another byte order than this machine")
    ]


def test_a_program_too_long_for_the_kernel_is_reported() -> None:
    entries = [rule("read", args=[arg(index, "EQ", n) for index in range(6)]) for n in range(400)]
    assert "the kernel takes 4096" in problems_of(profile_of(*entries))[0][1]


def test_unknown_calls_are_skipped_with_one_warning() -> None:
    said: "list[str]" = []
    compile_profile(profile_of(rule("read", "no_such_call"), rule("nor_this")), said.append)
    assert len(said) == 1
    assert said[0].endswith("no_such_call, nor_this")


def test_rules_of_the_default_action_are_skipped() -> None:
    program_of(
        profile_of(rule("read", action="SCMP_ACT_ERRNO"), rule("write", action="SCMP_ACT_ERRNO", errnoRet=1))
    )


def test_no_profile_is_no_filter() -> None:
    assert compile_profile({}) is None
    assert compile_profile(None) is None


# Flags and the listener


def test_flags_become_the_kernels_bits() -> None:
    names = ["SECCOMP_FILTER_FLAG_TSYNC", "SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_SPEC_ALLOW"]
    assert compile_profile(profile_of(flags=names)).flags == 0b111
    assert compile_profile(profile_of()).flags == 0


def test_a_filter_with_a_listener_carries_what_loading_it_needs() -> None:
    wait = "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"
    if wait not in seccomp.supported_flags():
        pytest.skip("the kernel lacks SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV (Linux 5.19)")
    profile = profile_of(
        rule("mkdirat", action="SCMP_ACT_NOTIFY"),
        default="SCMP_ACT_ALLOW",
        flags=["SECCOMP_FILTER_FLAG_TSYNC", wait],
        listenerPath="/run/agent",
        listenerMetadata="m",
    )
    made = compile_profile(profile)
    assert (made.notify, made.listener_path, made.listener_metadata) == (True, "/run/agent", "m")
    assert made.flags == 1 << 5  # TSYNC would bind the thread that hands over the listener
    assert interpret(made.program, number_of("mkdirat")) == 0x7FC00000


def test_without_a_listener_its_fields_and_flag_are_left_out() -> None:
    said: "list[str]" = []
    profile = profile_of(flags=["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"], listenerPath="/run/agent")
    if "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV" not in seccomp.supported_flags():
        pytest.skip("the kernel lacks SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV (Linux 5.19)")
    made = compile_profile(profile, said.append)
    assert (made.flags, made.notify, made.listener_path) == (0, False, None)
    assert len(said) == 1


# The kernel


def in_child_with(made: seccomp.Filter, act: "object", extra_flags: int = 0) -> int:
    """The exit status of a child that loads the filter with seccomp(2), then runs `act`; 99: not loaded."""
    libc = ctypes.CDLL(None, use_errno=True)
    buffer = ctypes.create_string_buffer(made.program, len(made.program))

    class Program(ctypes.Structure):
        _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_void_p)]

    program = Program(len(made.program) // 8, ctypes.addressof(buffer))
    child = os.fork()
    if child == 0:
        libc.prctl(38, 1, 0, 0, 0)  # PR_SET_NO_NEW_PRIVS
        call = {"x86_64": 317, "aarch64": 277}[MACHINE]
        if libc.syscall(call, 1, made.flags | extra_flags, ctypes.byref(program)) < 0:
            os._exit(99)
        os._exit(act())
    return os.waitpid(child, 0)[1]


def errno_of(call: "object", *args: object) -> int:
    try:
        call(*args)
    except OSError as error:
        return error.errno
    return 0


def test_the_kernel_takes_the_program_and_getcwd_gets_the_errno() -> None:
    entry = rule("getcwd", action="SCMP_ACT_ERRNO", errnoRet=errno.EXDEV)
    made = compile_profile(
        profile_of(entry, default="SCMP_ACT_ALLOW", flags=["SECCOMP_FILTER_FLAG_SPEC_ALLOW"])
    )
    status = in_child_with(made, lambda: errno_of(os.getcwd))
    assert os.waitstatus_to_exitcode(status) == errno.EXDEV


def test_the_kernel_runs_our_own_comparisons() -> None:
    entries = [
        rule("kill", action="SCMP_ACT_ERRNO", errnoRet=errno.EXDEV, args=[arg(1, "EQ", 40)]),
        rule("kill", action="SCMP_ACT_ERRNO", errnoRet=errno.EDOM, args=[arg(1, "GT", 40)]),
    ]
    made = compile_profile(profile_of(*entries, default="SCMP_ACT_ALLOW"))
    for number, wanted in ((40, errno.EXDEV), (41, errno.EDOM), (0, 0)):
        status = in_child_with(made, lambda number=number: errno_of(os.kill, os.getpid(), number))
        assert os.waitstatus_to_exitcode(status) == wanted


def test_the_kernel_answers_enosys_to_newer_calls() -> None:
    made = compile_profile(DOCKER_LIKE)

    def call_500() -> int:
        libc = ctypes.CDLL(None, use_errno=True)
        return ctypes.get_errno() if libc.syscall(500) < 0 else 0

    assert os.waitstatus_to_exitcode(in_child_with(made, call_500)) == errno.ENOSYS


@pytest.mark.parametrize(("action", "signal"), [("KILL_PROCESS", 31), ("TRAP", 31), ("KILL", 31)])
def test_killing_actions_kill(action: str, signal: int) -> None:
    made = compile_profile(profile_of(rule("getcwd", action="SCMP_ACT_" + action), default="SCMP_ACT_ALLOW"))
    assert os.WTERMSIG(in_child_with(made, lambda: errno_of(os.getcwd))) == signal


def test_the_kernel_takes_a_listeners_flags_together() -> None:
    flags = ["SECCOMP_FILTER_FLAG_TSYNC", "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"]
    flags = [name for name in flags if name in seccomp.supported_flags()]
    entry = rule("getcwd", action="SCMP_ACT_NOTIFY")
    made = compile_profile(profile_of(entry, default="SCMP_ACT_ALLOW", flags=flags, listenerPath="/x"))
    assert in_child_with(made, lambda: 7, extra_flags=1 << 3) == 7 << 8


# A profile as large as an engine's

DOCKER_LIKE = profile_of(
    rule(
        *sorted(
            {
                name.decode()
                for number in range(452)
                if number not in (56, 135, 41, 165, 166, 169, 175, 176, 246, 321, 323, 435)
                and (found := _seccomp.lib.seccomp_syscall_resolve_num_arch(X86_64, number))
                for name in [_seccomp.ffi.string(found)]
            }
        )
    ),
    *[rule("personality", args=[arg(0, "EQ", n)]) for n in (0, 8, 0x20000, 0x20008, 0xFFFFFFFF)],
    rule("clone", args=[arg(0, "MASKED_EQ", 0x7E020000, 0)]),
    rule("socket", args=[arg(0, "NE", 40)]),
    rule("clone3", action="SCMP_ACT_ERRNO", errnoRet=errno.ENOSYS),
    defaultErrnoRet=1,
    architectures=FAMILY,
)


def test_a_profile_of_an_engines_size_is_compiled_quickly(capsys: pytest.CaptureFixture) -> None:
    compile_profile(DOCKER_LIKE)
    start = time.perf_counter()
    made = compile_profile(DOCKER_LIKE)
    elapsed = time.perf_counter() - start
    with capsys.disabled():
        count = len(DOCKER_LIKE["syscalls"][0]["names"])
        print(f"\n{count} names: {len(made.program) // 8} instructions in {elapsed * 1000:.1f} ms")
    assert elapsed < 1
    assert len(made.program) // 8 < 4096


# The cache


def test_a_cached_program_is_the_same_and_libseccomp_is_not_loaded(tmp_path: "os.PathLike[str]") -> None:
    directory = os.path.join(tmp_path, "deep", "cache")
    made = compile_profile(DOCKER_LIKE, cache_directory=directory)
    script = (
        "import sys; from pyoci.plan.seccomp import compile_profile\n"
        f"made = compile_profile({DOCKER_LIKE!r}, cache_directory={directory!r})\n"
        "assert 'libseccomp' not in open('/proc/self/maps').read(); sys.stdout.buffer.write(made.program)"
    )
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True, env=environment())
    assert found.stdout == made.program
    entries = os.listdir(directory)
    assert len(entries) == 1
    assert stat.S_IMODE(os.stat(directory).st_mode) == 0o700
    assert stat.S_IMODE(os.stat(os.path.join(directory, entries[0])).st_mode) == 0o600


def environment() -> "dict[str, str]":
    return {"PYTHONPATH": os.path.dirname(os.path.dirname(seccomp.__file__)) + "/.."}


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_damaged_entry_is_never_used(data: st.DataObject) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as directory:
        profile = profile_of(rule("read"))
        program = compile_profile(profile, cache_directory=directory).program
        (path,) = (os.path.join(directory, name) for name in os.listdir(directory))
        with open(path, "rb") as file:
            entry = bytearray(file.read())
        if data.draw(st.booleans()):
            entry[data.draw(st.integers(0, len(entry) - 1))] ^= data.draw(st.integers(1, 255))
        else:
            del entry[data.draw(st.integers(0, len(entry) - 1)) :]
        with open(path, "wb") as file:
            file.write(entry)
        assert Cache(directory, print).get(cache_key(profile)) is None
        assert compile_profile(profile, cache_directory=directory).program == program
        assert Cache(directory, print).get(cache_key(profile)) == program


def test_an_entry_under_another_name_is_not_used(tmp_path: "os.PathLike[str]") -> None:
    directory = os.path.join(tmp_path, "cache")
    open_profile, strict = profile_of(default="SCMP_ACT_ALLOW"), profile_of(rule("read"))
    compile_profile(open_profile, cache_directory=directory)
    os.rename(os.path.join(directory, cache_key(open_profile)), os.path.join(directory, cache_key(strict)))
    assert Cache(directory, print).get(cache_key(strict)) is None


def test_an_entry_of_another_libseccomp_is_not_used(tmp_path: "os.PathLike[str]") -> None:
    library = os.path.join(tmp_path, "libseccomp.so")
    with open(library, "w") as file:
        file.write("2.5")
    from pyoci.plan.seccomp_cache import library_identity

    cache = Cache(os.path.join(tmp_path, "cache"), print)
    cache.put("key", b"12345678", library_identity(library.encode()))
    assert cache.get("key") == b"12345678"
    with open(library, "w") as file:
        file.write("2.6.0")
    assert cache.get("key") is None


@pytest.mark.parametrize("mode", [0o770, 0o707, 0o755])
def test_a_directory_that_others_can_reach_is_not_used(tmp_path: "os.PathLike[str]", mode: int) -> None:
    directory = os.path.join(tmp_path, "cache")
    os.mkdir(directory)
    os.chmod(directory, mode)
    said: "list[str]" = []
    assert compile_profile(profile_of(rule("read")), said.append, cache_directory=directory) is not None
    assert os.listdir(directory) == []
    assert "must be ours, mode 0700" in said[0]


def test_a_link_in_the_cache_is_not_followed(tmp_path: "os.PathLike[str]") -> None:
    directory, profile = os.path.join(tmp_path, "cache"), profile_of(rule("read"))
    compile_profile(profile, cache_directory=directory)
    path = os.path.join(directory, cache_key(profile))
    os.rename(path, path + ".away")
    os.symlink(path + ".away", path)
    assert Cache(directory, print).get(cache_key(profile)) is None


def test_the_cache_keeps_the_entries_used_last(tmp_path: "os.PathLike[str]") -> None:
    from pyoci.plan.seccomp_cache import library_identity

    cache = Cache(os.path.join(tmp_path, "cache"), print, most_entries=3)
    identity = library_identity(sys.executable.encode())
    for name in ("a", "b", "c"):
        cache.put(name, b"12345678", identity)
    for age, name in enumerate(("c", "b", "a")):
        os.utime(os.path.join(cache.directory, name), ns=(age, age))
    assert cache.get("c")
    cache.put("d", b"12345678", identity)
    assert sorted(os.listdir(cache.directory)) == ["a", "c", "d"]


def test_a_cache_that_can_not_be_written_fails_nothing() -> None:
    said: "list[str]" = []
    assert compile_profile(profile_of(rule("read")), said.append, cache_directory="/proc/none/x") is not None
    assert "isn't used" in said[0]


def test_the_key_tells_profiles_apart_but_not_listeners() -> None:
    profile = profile_of(rule("read"))
    assert cache_key(profile) == cache_key({**profile, "listenerPath": "/x"})
    others = [
        {**profile, "defaultErrnoRet": 2},
        {**profile, "architectures": ["SCMP_ARCH_X86"]},
        profile_of(rule("write")),
        profile_of(rule("read", args=[arg(0, "EQ", 1)])),
        profile_of(rule("read"), rule("read")),
    ]
    assert len({cache_key(other) for other in (profile, *others)}) == 6


def test_importing_the_module_imports_nothing_heavy() -> None:
    script = (
        "import os, sys; before = set(sys.modules); import pyoci.plan.seccomp\n"
        "print(*sorted(set(sys.modules) - before))"
    )
    found = subprocess.run(
        [sys.executable, "-S", "-c", script], capture_output=True, check=True, env=environment(), text=True
    )
    assert found.stdout.split() == ["pyoci", "pyoci.errors", "pyoci.plan", "pyoci.plan.seccomp"]
