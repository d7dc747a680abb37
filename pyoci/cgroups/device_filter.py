"""cgroup v2's device rules: an eBPF program that the kernel asks for each mknod and open of a device.

The program reads like the rules from the last to the first. A rule that is about the device decides those of
the wanted accesses (read, write, mknod) that no later rule has decided: denied ends it, and it is allowed
when none is undecided. So of the rules for a device and an access the last one counts. What no rule is about
is allowed, as on v1.

Context and constants: linux/bpf.h, struct bpf_cgroup_dev_ctx; opcodes:
Documentation/bpf/standardization/instruction-set.rst.
"""

import posix
from _struct import pack

from pyoci.cgroups.devices import POINTER, in_order
from pyoci.errors import ConfigError, Problem, cause_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyoci.cgroups.devices import Rule
    from pyoci.cgroups.tree import Attach

ACCESS = {"m": 1, "r": 2, "w": 4}
TYPES = {"b": 1, "c": 2}
ALL = 7

# Opcodes. The jumps and the arithmetic are the 32-bit ones: an immediate above 2^31 would be sign-extended in
# 64 bits.
LOAD_WORD = 0x61
MOVE, MOVE_REGISTER = 0xB4, 0xBC
AND, SHIFT_RIGHT = 0x54, 0x74
JUMP_IF_EQUAL, JUMP_UNLESS_EQUAL = 0x16, 0x56
EXIT = 0x95
# Registers: r1 is the context, r0 the answer.
ANSWER, CONTEXT, UNDECIDED, TYPE, MAJOR, MINOR, SCRATCH = 0, 1, 2, 3, 4, 5, 6

# (opcode, destination register, source register, jump offset, immediate)
Instruction = tuple[int, int, int, int, int]

START: "tuple[Instruction, ...]" = (
    # access_type is (accesses << 16) | type.
    (LOAD_WORD, UNDECIDED, CONTEXT, 0, 0),
    (MOVE_REGISTER, TYPE, UNDECIDED, 0, 0),
    (AND, TYPE, 0, 0, 0xFFFF),
    (SHIFT_RIGHT, UNDECIDED, 0, 0, 16),
    (LOAD_WORD, MAJOR, CONTEXT, 4, 0),
    (LOAD_WORD, MINOR, CONTEXT, 8, 0),
)


def compile_filter(rules: "list[Rule]") -> bytes:
    """The BPF_PROG_TYPE_CGROUP_DEVICE program (struct bpf_insn, little-endian) for rules in order."""
    program = list(START)
    for allow, kind, major, minor, access in reversed(rules):
        conditions = [
            (register, value)
            for register, value in ((TYPE, TYPES.get(kind)), (MAJOR, major), (MINOR, minor))
            if value is not None
        ]
        mask = _mask(access)
        body = _body(allow, mask)
        left = len(conditions) + len(body)
        for register, value in conditions:
            left -= 1
            program.append((JUMP_UNLESS_EQUAL, register, 0, left, value))
        program += body
        if not conditions and mask == ALL:
            # The kernel refuses a program with instructions that are never reached.
            return _encoded(program)
    return _encoded(program + _answer(True))


def _body(allow: bool, mask: int) -> "list[Instruction]":
    """What a rule does about a device that it is about."""
    if mask == ALL:
        return _answer(allow)
    if allow:
        return [(AND, UNDECIDED, 0, 0, ALL & ~mask), (JUMP_UNLESS_EQUAL, UNDECIDED, 0, 2, 0), *_answer(True)]
    return [
        (MOVE_REGISTER, SCRATCH, UNDECIDED, 0, 0),
        (AND, SCRATCH, 0, 0, mask),
        (JUMP_IF_EQUAL, SCRATCH, 0, 2, 0),
        *_answer(False),
    ]


def _answer(allow: bool) -> "list[Instruction]":
    return [(MOVE, ANSWER, 0, 0, int(allow)), (EXIT, 0, 0, 0, 0)]


def _mask(access: str) -> int:
    mask = 0
    for letter in access:
        mask |= ACCESS[letter]
    return mask


def _encoded(program: "list[Instruction]") -> bytes:
    # The immediate is signed in the struct, but here always meant as 32 bits.
    return b"".join(
        pack("<BBhI", code, source << 4 | destination, offset, value)
        for code, destination, source, offset, value in program
    )


def decide(rules: "list[Rule]", kind: str, access: str, major: int, minor: int) -> bool:
    """What the program answers, said in Python: the model that it is tested against."""
    undecided = set(access)
    for allow, of_kind, of_major, of_minor, of_access in reversed(rules):
        about = of_kind in ("a", kind) and of_major in (None, major) and of_minor in (None, minor)
        if about and undecided & set(of_access):
            if not allow:
                return False
            undecided -= set(of_access)
            if not undecided:
                return True
    return True


# csrc/bpf.h: nothing is attached.
NO_PROGRAM = -2


def apply(
    directory: str,
    entries: "list[dict[str, Any]]",
    attach: "Attach | None" = None,
    *,
    replace: bool = False,
) -> None:
    """Attaches the filter for linux.resources.devices to a v2 cgroup.

    Arguments:
        directory: the cgroup.
        entries: linux.resources.devices.
        attach: (descriptor of the cgroup, instructions) -> None, raising OSError; None is bpf(2).
        replace: it has one of ours, which this takes the place of in one moment. Otherwise it must not have: the
            kernel lets through what all attached ones allow.

    Raises ConfigError.
    """
    program = compile_filter([rule for rule, _ in in_order(entries)])
    try:
        cgroup = posix.open(directory, posix.O_RDONLY | posix.O_DIRECTORY | posix.O_CLOEXEC)
        try:
            (attach or (replace_by_bpf if replace else attach_by_bpf))(cgroup, program)
        finally:
            posix.close(cgroup)
    except OSError as error:
        message = f"can't attach a device filter (eBPF) to cgroup {directory}: {cause_of(error)}"
        raise ConfigError([Problem(POINTER, message)]) from None


def attach_by_bpf(cgroup: int, program: bytes) -> None:
    """Loads a program and attaches it to a v2 cgroup (BPF_CGROUP_DEVICE); raises OSError."""
    _attach(cgroup, program, -1)


def replace_by_bpf(cgroup: int, program: bytes) -> None:
    """The same in the place of the one program that is attached; raises OSError."""
    from pyoci._shim import lib  # type: ignore[import-not-found,unused-ignore]

    old = _checked(lib.bpf_attached_device_filter(cgroup))
    try:
        _attach(cgroup, program, old)
    finally:
        if old != NO_PROGRAM:
            posix.close(old)


def detach(directory: str) -> None:
    """Takes away what of ours is attached to a v2 cgroup. Where that can't be there is nothing of ours: says nothing."""
    from pyoci._shim import lib  # type: ignore[import-not-found,unused-ignore]

    try:
        cgroup = posix.open(directory, posix.O_RDONLY | posix.O_DIRECTORY | posix.O_CLOEXEC)
    except OSError:
        return
    try:
        while (program := lib.bpf_attached_device_filter(cgroup)) >= 0:
            detached = lib.bpf_detach_device_filter(cgroup, program)
            posix.close(program)
            if detached != 0:
                break
    finally:
        posix.close(cgroup)


def _attach(cgroup: int, program: bytes, old: int) -> None:
    from pyoci._shim import lib  # type: ignore[import-not-found,unused-ignore]

    loaded = _checked(lib.bpf_load_device_filter(program, len(program)))
    try:
        _checked(lib.bpf_attach_device_filter(cgroup, loaded, old))
    finally:
        posix.close(loaded)


def _checked(result: int) -> int:
    from pyoci._shim import ffi  # type: ignore[import-not-found,unused-ignore]

    if result < 0 and result != NO_PROGRAM:
        raise OSError(ffi.errno, posix.strerror(ffi.errno))
    return result
