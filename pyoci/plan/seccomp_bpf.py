"""Pieces of BPF that seccomp filters are made of (seccomp(2), Documentation/networking/filter.rst).

An instruction is (code, jump if true, jump if false, operand); jumps count the instructions to skip. They
have 8 bits, so whatever may be longer is skipped by a plain jump, which has 32.
"""

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    Instruction = tuple[int, int, int, int]
    Comparison = tuple[int, str, int, int]

_LOAD, _AND, _RETURN = 0x20, 0x54, 0x06
_JUMP, _EQUAL, _GREATER, _NOT_LESS = 0x05, 0x15, 0x25, 0x35
_LONGEST_JUMP = 255

# struct seccomp_data
_NUMBER, _ARCH, _ARGS = 0, 4, 16
_HIGH, _LOW = (4, 0) if sys.byteorder == "little" else (0, 4)

_RETURN_ENOSYS = 0x00050000 | 38
_MATCH, _FAIL = -1, -2  # jumps out of a comparison

# For each operator what is asked of the high word and then of the low word: (code, jump if true, if false).
_HIGH_EQUAL = ((_EQUAL, 0, _FAIL),)
_HIGH_GREATER = ((_GREATER, _MATCH, 0), (_EQUAL, 0, _FAIL))
_HIGH_LESS = ((_GREATER, _FAIL, 0), (_EQUAL, 0, _MATCH))
_QUESTIONS = {
    "SCMP_CMP_NE": (((_EQUAL, 0, _MATCH),), (_EQUAL, _FAIL, _MATCH)),
    "SCMP_CMP_LT": (_HIGH_LESS, (_NOT_LESS, _FAIL, _MATCH)),
    "SCMP_CMP_LE": (_HIGH_LESS, (_GREATER, _FAIL, _MATCH)),
    "SCMP_CMP_EQ": (_HIGH_EQUAL, (_EQUAL, _MATCH, _FAIL)),
    "SCMP_CMP_GE": (_HIGH_GREATER, (_NOT_LESS, _MATCH, _FAIL)),
    "SCMP_CMP_GT": (_HIGH_GREATER, (_GREATER, _MATCH, _FAIL)),
    "SCMP_CMP_MASKED_EQ": (_HIGH_EQUAL, (_EQUAL, _MATCH, _FAIL)),
}


def by_architecture(sections: "dict[int, list[Instruction]]") -> bytes:
    """A program that runs the section of the call's AUDIT_ARCH_*, and what follows if that returns nothing.

    A section finds the call's number in the accumulator. The bytes are an array of struct sock_filter.
    """
    code: "list[Instruction]" = []
    for audit, section in reversed(list(sections.items())):
        end = [(_JUMP, 0, 0, len(code))] if code else []
        code = _if_equal(audit, [(_LOAD, 0, 0, _NUMBER)] + section + end) + code
    if code:
        code = [(_LOAD, 0, 0, _ARCH)] + code
    from _struct import pack

    return b"".join(pack("=HBBI", *instruction) for instruction in code)


def enosys_between(below: int, above: int) -> "list[Instruction]":
    """ENOSYS if below < number < above; above may be 1 << 32, no limit."""
    if above >> 32:
        return [(_GREATER, 0, 1, below), (_RETURN, 0, 0, _RETURN_ENOSYS)]
    return [(_GREATER, 0, 2, below), (_NOT_LESS, 1, 0, above), (_RETURN, 0, 0, _RETURN_ENOSYS)]


def choose(number: int, rules: "list[tuple[int, list[Comparison]]]", default: int) -> "list[Instruction]":
    """If the number is this one, the action of the first rule whose comparisons all hold, else the default.

    Arguments:
        rules: (SECCOMP_RET_* value, comparisons); a comparison is (index 0-5, SCMP_CMP_*, value, valueTwo).
    """
    body: "list[Instruction]" = []
    for action, comparisons in rules:
        body += _rule(action, comparisons)
    return _if_equal(number, body + [(_RETURN, 0, 0, default)])


def _if_equal(value: int, body: "list[Instruction]") -> "list[Instruction]":
    if len(body) <= _LONGEST_JUMP:
        return [(_EQUAL, 0, len(body), value)] + body
    return [(_EQUAL, 1, 0, value), (_JUMP, 0, 0, len(body))] + body


def _rule(action: int, comparisons: "list[Comparison]") -> "list[Instruction]":
    """Six comparisons are 36 instructions at most: every jump is short."""
    code: "list[Instruction]" = [(_RETURN, 0, 0, action)]
    for comparison in reversed(comparisons):
        questions = _comparison(*comparison)
        resolved = []
        for position, (operation, if_true, if_false, operand) in enumerate(questions):
            match = len(questions) - position - 1
            targets = {_MATCH: match, _FAIL: match + len(code)}
            jumps = (targets.get(if_true, if_true), targets.get(if_false, if_false))
            resolved.append((operation, *jumps, operand))
        code = resolved + code
    return code


def _comparison(index: int, operator: str, value: int, value_two: int) -> "list[Instruction]":
    high_questions, low_question = _QUESTIONS[operator]
    masked = operator == "SCMP_CMP_MASKED_EQ"
    # libseccomp compares under the mask on both sides
    datum = value & value_two if masked else value
    code: "list[Instruction]" = []
    for shift, offset, questions in ((32, _HIGH, high_questions), (0, _LOW, (low_question,))):
        code.append((_LOAD, 0, 0, _ARGS + 8 * index + offset))
        if masked:
            code.append((_AND, 0, 0, value >> shift & 0xFFFFFFFF))
        code += [(*question, datum >> shift & 0xFFFFFFFF) for question in questions]
    return code
