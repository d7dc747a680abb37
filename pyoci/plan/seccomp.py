"""linux.seccomp to a BPF program (runtime-spec config-linux.md, "Seccomp").

libseccomp writes the program. In front of it stands what it can't do: ENOSYS for system calls newer than the
profile, and several rules with args for one call. pyoci-init loads the whole with seccomp(2) itself, so
libseccomp never runs in a container.

Several rules for one system call, which the specification doesn't order:

- rules whose action is the default action don't count;
- a rule without args beats every rule with args, wherever they stand; of two without args the first wins;
- of rules with args the first that matches wins.
"""

import posix

from pyoci.errors import ConfigError, Problem

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

# The values are the kernel's (linux/seccomp.h: SECCOMP_RET_*); libseccomp's are the same.
ACTIONS = {
    "SCMP_ACT_KILL": 0x00000000,
    "SCMP_ACT_KILL_PROCESS": 0x80000000,
    "SCMP_ACT_KILL_THREAD": 0x00000000,
    "SCMP_ACT_TRAP": 0x00030000,
    "SCMP_ACT_ERRNO": 0x00050000,
    "SCMP_ACT_TRACE": 0x7FF00000,
    "SCMP_ACT_ALLOW": 0x7FFF0000,
    "SCMP_ACT_LOG": 0x7FFC0000,
    "SCMP_ACT_NOTIFY": 0x7FC00000,
}

# The actions that carry a number, and the largest: libseccomp wants an errno below MAX_ERRNO (4095).
_LARGEST_ERRNO = {"SCMP_ACT_ERRNO": 4094, "SCMP_ACT_TRACE": 0xFFFF}

# enum scmp_compare, part of libseccomp's ABI.
OPERATORS = {
    "SCMP_CMP_NE": 1,
    "SCMP_CMP_LT": 2,
    "SCMP_CMP_LE": 3,
    "SCMP_CMP_EQ": 4,
    "SCMP_CMP_GE": 5,
    "SCMP_CMP_GT": 6,
    "SCMP_CMP_MASKED_EQ": 7,
}

# Every name of the specification; supported_architectures() says which of them this libseccomp resolves.
ARCHITECTURES = (
    "SCMP_ARCH_X86",
    "SCMP_ARCH_X86_64",
    "SCMP_ARCH_X32",
    "SCMP_ARCH_ARM",
    "SCMP_ARCH_AARCH64",
    "SCMP_ARCH_LOONGARCH64",
    "SCMP_ARCH_M68K",
    "SCMP_ARCH_MIPS",
    "SCMP_ARCH_MIPS64",
    "SCMP_ARCH_MIPS64N32",
    "SCMP_ARCH_MIPSEL",
    "SCMP_ARCH_MIPSEL64",
    "SCMP_ARCH_MIPSEL64N32",
    "SCMP_ARCH_PPC",
    "SCMP_ARCH_PPC64",
    "SCMP_ARCH_PPC64LE",
    "SCMP_ARCH_S390",
    "SCMP_ARCH_S390X",
    "SCMP_ARCH_SH",
    "SCMP_ARCH_SHEB",
    "SCMP_ARCH_PARISC",
    "SCMP_ARCH_PARISC64",
    "SCMP_ARCH_RISCV64",
)

FLAGS = {
    "SECCOMP_FILTER_FLAG_TSYNC": 1 << 0,
    "SECCOMP_FILTER_FLAG_LOG": 1 << 1,
    "SECCOMP_FILTER_FLAG_SPEC_ALLOW": 1 << 2,
    "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV": 1 << 5,
}
_TSYNC = 1 << 0
_NEW_LISTENER = 1 << 3
_WAIT_KILLABLE_RECV = 1 << 5

_EPERM, _EEXIST, _EDOM = 1, 17, 33
_LARGEST_PROGRAM = 4096  # instructions: BPF_MAXINSNS
_ROOT = "/linux/seccomp"


class Filter:
    """A seccomp filter, ready for seccomp(2).

    Attributes:
        program: an array of struct sock_filter, 8 bytes an instruction, in the machine's byte order.
        flags: SECCOMP_FILTER_FLAG_* for SECCOMP_SET_MODE_FILTER, without NEW_LISTENER.
        notify: whether a rule asks an agent (SCMP_ACT_NOTIFY): load it with NEW_LISTENER too.
        listener_path: the agent's unix socket; None unless `notify`.
        listener_metadata: what is sent with the descriptor; None unless `notify`.
    """

    __slots__ = ("flags", "listener_metadata", "listener_path", "notify", "program")

    def __init__(
        self,
        program: bytes,
        flags: int = 0,
        notify: bool = False,
        listener_path: "str | None" = None,
        listener_metadata: "str | None" = None,
    ) -> None:
        self.program = program
        self.flags = flags
        self.notify = notify
        self.listener_path = listener_path
        self.listener_metadata = listener_metadata


def compile_profile(
    profile: "dict[str, Any] | None",
    warn: "Callable[[str], None] | None" = None,
    *,
    cache_directory: "str | None" = None,
) -> "Filter | None":
    """Compile linux.seccomp to a filter; None if there is no profile.

    Arguments:
        profile: the value of /linux/seccomp, of the right shape.
        warn: called with a line about something that is left out (system calls: only when a program is really
            compiled, not when it comes from the cache).
        cache_directory: keeps programs by content; made 0700 if it is missing, not used if it belongs to
            someone else. None: no cache.

    Raises ConfigError for what the specification, libseccomp or the kernel refuses.
    """
    if not profile or not profile.get("defaultAction"):
        return None
    _refuse(_profile_problems(profile))
    say = warn or _say_nothing
    notify = _uses_notify(profile)
    flags = _flags(profile, notify, say)
    program = _cached(profile, cache_directory, say) if cache_directory else _compile(profile, say)
    if not notify:
        return Filter(program, flags)
    return Filter(program, flags, True, profile.get("listenerPath"), profile.get("listenerMetadata"))


def _cached(profile: "dict[str, Any]", directory: str, warn: "Callable[[str], None]") -> bytes:
    from pyoci.plan.seccomp_cache import Cache, cache_key, library_identity

    cache = Cache(directory, warn)
    key = cache_key(profile)
    program = cache.get(key)
    if program is None:
        program = _compile(profile, warn)
        ffi, lib = _libseccomp()
        library = lib.pyoci_seccomp_library()
        cache.put(key, program, library_identity(ffi.string(library)) if library else b"")
    return program


def supported_architectures() -> "list[str]":
    """The names of ARCHITECTURES that the libseccomp of this machine knows (features: seccomp.archs)."""
    _, lib = _libseccomp()
    return [name for name in ARCHITECTURES if _architecture(lib, name)]


def supported_flags() -> "list[str]":
    """The names of FLAGS that this kernel takes (features: seccomp.supportedFlags)."""
    _, lib = _libseccomp()
    return [name for name in FLAGS if _flag_supported(lib, name)]


def libseccomp_version() -> str:
    """The version of the libseccomp that is loaded, as in "2.5.4"."""
    _, lib = _libseccomp()
    version = lib.seccomp_version()
    return f"{version.major}.{version.minor}.{version.micro}"


def _say_nothing(line: str) -> None:
    pass


def _refuse(problems: "list[Problem]") -> None:
    if problems:
        raise ConfigError(problems)


# What can be told without libseccomp.


def _profile_problems(profile: "dict[str, Any]") -> "list[Problem]":
    problems = _action_problems(_ROOT, profile, "defaultAction", "defaultErrnoRet")
    for field, table in (("architectures", ARCHITECTURES), ("flags", FLAGS)):
        for index, name in enumerate(profile.get(field) or ()):
            if name not in table:
                problems.append(Problem(f"{_ROOT}/{field}/{index}", f'"{name}" is not known'))
    for index, rule in enumerate(profile.get("syscalls") or ()):
        pointer = f"{_ROOT}/syscalls/{index}"
        problems += _action_problems(pointer, rule, "action", "errnoRet")
        for position, arg in enumerate(rule.get("args") or ()):
            problems += _arg_problems(f"{pointer}/args/{position}", arg)
    if profile.get("listenerPath"):
        return problems
    if profile.get("listenerMetadata"):
        problems.append(Problem(f"{_ROOT}/listenerMetadata", "must not be set without listenerPath"))
    if _uses_notify(profile):
        # The kernel would answer ENOSYS as soon as nobody holds the descriptor.
        problems.append(Problem(f"{_ROOT}/listenerPath", "is needed by SCMP_ACT_NOTIFY"))
    return problems


def _action_problems(pointer: str, owner: "dict[str, Any]", field: str, errno_field: str) -> "list[Problem]":
    action, number = owner.get(field), owner.get(errno_field)
    if action not in ACTIONS:
        return [Problem(f"{pointer}/{field}", f'"{action}" is not an action')]
    if number is None:
        return []
    if action not in _LARGEST_ERRNO:
        return [Problem(f"{pointer}/{errno_field}", f"{action} takes no errno")]
    largest = _LARGEST_ERRNO[action]
    if not 0 <= number <= largest:
        return [Problem(f"{pointer}/{errno_field}", f"must be 0 to {largest} for {action}, not {number}")]
    return []


def _arg_problems(pointer: str, arg: "dict[str, Any]") -> "list[Problem]":
    problems = []
    if arg["op"] not in OPERATORS:
        problems.append(Problem(f"{pointer}/op", f'"{arg["op"]}" is not an operator'))
    if not 0 <= arg["index"] <= 5:
        problems.append(Problem(f"{pointer}/index", f"must be 0 to 5, not {arg['index']}"))
    for field in ("value", "valueTwo"):
        if not 0 <= arg.get(field, 0) < 1 << 64:
            problems.append(Problem(f"{pointer}/{field}", "must be an unsigned 64-bit number"))
    return problems


def _uses_notify(profile: "dict[str, Any]") -> bool:
    return profile["defaultAction"] == "SCMP_ACT_NOTIFY" or any(
        rule["action"] == "SCMP_ACT_NOTIFY" for rule in profile.get("syscalls") or ()
    )


def _flags(profile: "dict[str, Any]", notify: bool, warn: "Callable[[str], None]") -> int:
    flags = 0
    for name in profile.get("flags") or ():
        flags |= FLAGS[name]
    # seccomp(2) answers EINVAL to this flag without a listener.
    if flags & _WAIT_KILLABLE_RECV and not notify:
        warn("seccomp: WAIT_KILLABLE_RECV is left out, no rule uses SCMP_ACT_NOTIFY")
        flags &= ~_WAIT_KILLABLE_RECV
    # The init has one thread, to which TSYNC means nothing, but for the one that hands over the listener: that must
    # not be filtered (csrc/listener.c).
    if notify:
        flags &= ~_TSYNC
    return flags


def _action(name: str, number: "int | None") -> int:
    if name not in _LARGEST_ERRNO:
        return ACTIONS[name]
    return ACTIONS[name] | (_EPERM if number is None else number)


# Compiling with libseccomp.


def _libseccomp() -> "tuple[Any, Any]":
    # Imported only here: linking libseccomp costs more than reading a program from the cache.
    from pyoci import _seccomp  # type: ignore[attr-defined]

    return _seccomp.ffi, _seccomp.lib


def _architecture(lib: "Any", name: str) -> int:
    """libseccomp's token, 0 if it doesn't know the name. By name, as some are newer than our headers."""
    return int(lib.seccomp_arch_resolve_name(name[len("SCMP_ARCH_") :].lower().encode()))


def _flag_supported(lib: "Any", name: str) -> bool:
    flag = FLAGS[name]
    return bool(
        lib.pyoci_seccomp_flags_supported(flag | (_NEW_LISTENER if flag == _WAIT_KILLABLE_RECV else 0))
    )


def _compile(profile: "dict[str, Any]", warn: "Callable[[str], None]") -> bytes:
    ffi, lib = _libseccomp()
    _refuse(
        [
            Problem(f"{_ROOT}/flags/{index}", f"{name} is not supported by this kernel")
            for index, name in enumerate(profile.get("flags") or ())
            if not _flag_supported(lib, name)
        ]
    )
    default = _action(profile["defaultAction"], profile.get("defaultErrnoRet"))
    context = ffi.gc(lib.seccomp_init(default), lib.seccomp_release)
    if not context:
        message = f"{profile['defaultAction']} is not supported by this kernel or libseccomp"
        raise ConfigError([Problem(f"{_ROOT}/defaultAction", message)])
    # A binary tree over the numbers: a filter of 300 rules costs 10 comparisons a call, not 300 (moby
    # #41389).
    lib.seccomp_attr_set(context, lib.SCMP_FLTATR_CTL_OPTIMIZE, 2)
    tokens = _add_architectures(lib, context, profile.get("architectures") or ())
    calls = _rules_by_call(lib, profile, default, warn)
    program = _front(ffi, lib, tokens, profile, default, calls) + _rest(ffi, lib, context, tokens, calls)
    if len(program) > _LARGEST_PROGRAM * 8:
        message = f"makes a program of {len(program) // 8} instructions, the kernel takes {_LARGEST_PROGRAM}"
        raise ConfigError([Problem(_ROOT, message)])
    return program


def _add_architectures(lib: "Any", context: "Any", names: "list[str] | tuple[()]") -> "list[int]":
    """Add the architectures; returns the tokens of all that the filter has, the native one first."""
    tokens = [int(lib.seccomp_arch_native())]
    problems = []
    for index, name in enumerate(names):
        token = _architecture(lib, name)
        error = -lib.seccomp_arch_add(context, token) if token else 0
        if not token:
            reason = f"{name} is not known to libseccomp {libseccomp_version()}"
        elif error == _EDOM:
            reason = f"{name} has another byte order than this machine"
        elif error not in (0, _EEXIST):
            reason = f"{name} can't be added: {posix.strerror(error)}"
        else:
            if token not in tokens:
                tokens.append(token)
            continue
        problems.append(Problem(f"{_ROOT}/architectures/{index}", reason))
    _refuse(problems)
    return tokens


class _Rule:
    """What one entry of `syscalls` says of one system call; without comparisons it says it of every call."""

    __slots__ = ("action", "comparisons", "pointer")

    def __init__(self, action: int, comparisons: "list[tuple[int, str, int, int]]", pointer: str) -> None:
        self.action = action
        self.comparisons = comparisons
        self.pointer = pointer


def _rules_by_call(
    lib: "Any", profile: "dict[str, Any]", default: int, warn: "Callable[[str], None]"
) -> "dict[bytes, list[_Rule]]":
    """The rules that matter for each system call that libseccomp knows; a rule without args stands alone."""
    unknown: "list[str]" = []
    calls: "dict[bytes, list[_Rule]]" = {}
    for index, rule in enumerate(profile.get("syscalls") or ()):
        action = _action(rule["action"], rule.get("errnoRet"))
        chains = _chains(rule.get("args") or ())
        for position, name in enumerate(rule["names"]):
            encoded = name.encode()
            if lib.seccomp_syscall_resolve_name(encoded) == lib.__NR_SCMP_ERROR:
                unknown.append(name)
                continue
            if action == default:  # libseccomp refuses these with EACCES, they change nothing
                continue
            pointer = f"{_ROOT}/syscalls/{index}/names/{position}"
            known = calls.setdefault(encoded, [])
            if not known or known[0].comparisons:
                new = [_Rule(action, chain, pointer) for chain in chains]
                calls[encoded] = known + new if new[0].comparisons else new
    if unknown:
        warn(f"seccomp: skipped, unknown to libseccomp {libseccomp_version()}: {', '.join(unknown)}")
    return calls


def _chains(args: "list[dict[str, Any]] | tuple[()]") -> "list[list[tuple[int, str, int, int]]]":
    """The comparisons of a rule, as one list for each rule that it really is."""
    comparisons = [(arg["index"], arg["op"], arg["value"], arg.get("valueTwo", 0)) for arg in args]
    # An argument that is compared twice: libseccomp can't, so runc and crun make a rule of every comparison
    # (either, not both), and profiles rely on it.
    if len({arg["index"] for arg in args}) < len(args):
        return [[comparison] for comparison in comparisons]
    return [comparisons]


def _ours(rules: "list[_Rule]") -> bool:
    """Whether pyoci itself compiles the rules of a system call.

    libseccomp's tree of several rules with args can't be trusted: 2.5.4 makes `a > 0` or `a < 0xffffffff and
    b & 1 == 0` match a = 0, b = 1, and with four rules it can loop for ever. One rule it gets right.
    """
    return len(rules) > 1


def _rest(
    ffi: "Any", lib: "Any", context: "Any", tokens: "list[int]", calls: "dict[bytes, list[_Rule]]"
) -> bytes:
    """libseccomp's program, for all that the front lets through."""
    problems = []
    for name, rules in calls.items():
        rule = rules[0]
        comparisons = [(index, OPERATORS[op], one, two) for index, op, one, two in rule.comparisons]
        if _ours(rules):
            # Where a call is multiplexed (socketcall, ipc) a filter doesn't see its args and libseccomp drops
            # them: so do we. The call itself, if it exists too, doesn't get past the front.
            if all(lib.seccomp_syscall_resolve_name_arch(token, name) >= 0 for token in tokens):
                continue
            comparisons = []
        number = lib.seccomp_syscall_resolve_name(name)
        array = ffi.new("struct scmp_arg_cmp[]", comparisons) if comparisons else ffi.NULL
        error = -lib.seccomp_rule_add_array(context, rule.action, number, len(comparisons), array)
        if error:
            message = f'libseccomp refuses the rule for "{name.decode()}": {posix.strerror(error)}'
            problems.append(Problem(rule.pointer, message))
    _refuse(problems)
    return _export(lib, context)


def _export(lib: "Any", context: "Any") -> bytes:
    descriptor = posix.memfd_create("seccomp")
    try:
        error = -lib.seccomp_export_bpf(context, descriptor)
        if error:
            raise ConfigError([Problem(_ROOT, f"libseccomp makes no program of it: {posix.strerror(error)}")])
        return posix.pread(descriptor, posix.fstat(descriptor).st_size, 0)
    finally:
        posix.close(descriptor)


# What goes in front of libseccomp's program.

_AUDIT_ARCH_X86_64 = 0xC000003E
_X32 = 0x4000003E  # libseccomp's token; the kernel reports AUDIT_ARCH_X86_64 and sets a bit of the number
_X32_BIT = 0x40000000

# Where the numbers that grow with the kernel end: x32's own calls start at 512, ARM's private ones at
# 0xf0000.
_CEILINGS = {_AUDIT_ARCH_X86_64: _X32_BIT, _X32: _X32_BIT + 512, 0x40000028: 0xF0000}
_NO_CEILING = 1 << 32

# Linux 4.5, older than the specification itself (1.0: 2017): up to it the default action is meant as written,
# also by a profile that names but a few old calls.
_OLD_CALL = b"copy_file_range"

_STRICT_DEFAULTS = ("SCMP_ACT_KILL", "SCMP_ACT_KILL_PROCESS", "SCMP_ACT_KILL_THREAD", "SCMP_ACT_TRAP")


def _front(
    ffi: "Any",
    lib: "Any",
    tokens: "list[int]",
    profile: "dict[str, Any]",
    default: int,
    calls: "dict[bytes, list[_Rule]]",
) -> bytes:
    """ENOSYS for calls newer than the profile, and the rules that libseccomp isn't trusted with."""
    from pyoci.plan import seccomp_bpf

    names = [name.encode() for rule in profile.get("syscalls") or () for name in rule["names"]]
    answers_enosys = _answers_enosys(profile)
    sections: "dict[int, list[tuple[int, int, int, int]]]" = {}
    for token in tokens:
        code = []
        if answers_enosys:
            gap = _newer_calls(lib, token, names)
            code += seccomp_bpf.enosys_between(*gap) if gap else []
        for name, rules in calls.items():
            number = _number(ffi, lib, token, name) if _ours(rules) else -1
            if number >= 0:
                choices = [(rule.action, rule.comparisons) for rule in rules]
                code += seccomp_bpf.choose(number, choices, default)
        if code:
            audit = _AUDIT_ARCH_X86_64 if token == _X32 else token
            sections[audit] = sections.get(audit, []) + code
    return seccomp_bpf.by_architecture(sections)


def _answers_enosys(profile: "dict[str, Any]") -> bool:
    """Whether calls newer than the profile get ENOSYS instead of its default action.

    glibc tries clone3 or faccessat2 first and falls back if the answer is ENOSYS; EPERM from a profile that
    was written before the call existed breaks programs instead (runc #2151, moby #42680).
    """
    if profile["defaultAction"] in _STRICT_DEFAULTS:
        return True
    # Profiles spell out the default of 1 (moby's does); any other errno is taken at its word.
    return profile["defaultAction"] == "SCMP_ACT_ERRNO" and profile.get("defaultErrnoRet") in (None, _EPERM)


def _newer_calls(lib: "Any", token: int, names: "list[bytes]") -> "tuple[int, int] | None":
    """The numbers newer than all that are named: those greater than the first and less than the second."""
    ceiling = _CEILINGS.get(token, _NO_CEILING)
    numbers = [lib.seccomp_syscall_resolve_name_arch(token, name) for name in names]
    if all(number == lib.__NR_SCMP_ERROR for number in numbers):
        return None
    # None, perhaps, though the profile names calls: arm64 has no open, no mkdir and no poll.
    named = [number for number in numbers if 0 <= number < ceiling]
    return max(named + [lib.seccomp_syscall_resolve_name_arch(token, _OLD_CALL)]), ceiling


def _number(ffi: "Any", lib: "Any", token: int, name: bytes) -> int:
    """The number of a call of its own, negative if the architecture has none."""
    number = int(lib.seccomp_syscall_resolve_name_arch(token, name))
    if number >= 0:
        return number
    # If a call is multiplexed as well libseccomp hides its number (socket on x86: 359), not its name.
    middle = lib.seccomp_syscall_resolve_name_arch(token, _OLD_CALL)
    for candidate in range(max(0, middle - 400), middle + 200):
        found = ffi.gc(lib.seccomp_syscall_resolve_num_arch(token, candidate), lib.free)
        if found and ffi.string(found) == name:
            return candidate
    return number
