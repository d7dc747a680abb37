"""A plan for people and programs: `pyoci plan`."""

from pyoci import jsontext
from pyoci.plan import mount_options as mounts
from pyoci.plan.namespaces import NAMESPACES
from pyoci.plan.steps import STEPS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyoci.plan.plan import Plan, Step

ATTRIBUTES = (
    (mounts.RDONLY, "ro"),
    (mounts.NOSUID, "nosuid"),
    (mounts.NODEV, "nodev"),
    (mounts.NOEXEC, "noexec"),
    (mounts.NODIRATIME, "nodiratime"),
    (mounts.NOSYMFOLLOW, "nosymfollow"),
    (mounts.NOATIME, "noatime"),
    (mounts.STRICTATIME, "strictatime"),
)
PROPAGATIONS = (
    (mounts.SHARED, "shared"),
    (mounts.SLAVE, "slave"),
    (mounts.PRIVATE, "private"),
    (mounts.UNBINDABLE, "unbindable"),
)
LONGEST = 60


def as_text(plan: "Plan") -> str:
    """A step a line: its number, name, arguments and origin."""
    new = ", ".join(kind for kind, (bit, _) in NAMESPACES.items() if plan.new_namespaces & bit) or "none"
    lines = [f"born with new namespaces: {new}"]
    for number, step in enumerate(plan.steps, 1):
        origin = step.origin or "(always)"
        lines.append(f"{number:>3}  {step.name:<20} {describe(plan, step)}  <- {origin}")
    return "\n".join(lines) + "\n"


def as_json(plan: "Plan") -> str:
    """The plan as a JSON object; bytes are shown by their length."""
    value = {
        "newNamespaces": [kind for kind, (bit, _) in NAMESPACES.items() if plan.new_namespaces & bit],
        "slots": [{"name": slot.name, "path": slot.path} for slot in plan.slots],
        "steps": [
            {
                "step": step.name,
                "origin": step.origin,
                "arguments": [
                    {"bytes": len(argument)} if isinstance(argument, bytes) else argument
                    for argument in step.arguments
                ],
            }
            for step in plan.steps
        ],
    }
    return jsontext.pretty(value) + "\n"


def describe(plan: "Plan", step: "Step") -> str:
    """A step's arguments in words."""
    special = _WORDS.get(step.name)
    if special:
        return str(special(*step.arguments))
    letters = STEPS[step.name][1]
    return " ".join(
        _argument(plan, letter, argument) for letter, argument in zip(letters, step.arguments, strict=True)
    )


def _argument(plan: "Plan", letter: str, value: "Any") -> str:
    if letter == "f":
        return f"[{plan.slots[value].name}]"
    if letter == "b":
        return f"<{len(value)} bytes>"
    if letter == "l":
        return f"{value:#x}"
    text = jsontext.dump(value) if letter == "v" else str(value)
    return text if len(text) <= LONGEST else text[: LONGEST - 3] + "..."


def _bits(value: int, names: "tuple[tuple[int, str], ...]") -> "list[str]":
    return [name for bit, name in names if value & bit]


def _propagation(value: int) -> "list[str]":
    return [("r" if value & mounts.REC else "") + name for name in _bits(value, PROPAGATIONS)]


def _options(*groups: "list[str]") -> str:
    words = [word for group in groups for word in group]
    return f" ({','.join(words)})" if words else ""


def _mount(
    kind: str, source: str, target: str, attributes: int, propagation: int, flags: int, data: "list[str]"
) -> str:
    return f"{kind} on {target}" + _options(_bits(attributes, ATTRIBUTES), _propagation(propagation), data)


def _bind(
    source: str, target: str, set: int, clear: int, set_all: int, clear_all: int, propagation: int, flags: int
) -> str:
    recursive = "rbind" if flags & mounts.BIND_RECURSIVE else "bind"
    all_below = ["r" + name for name in _bits(set_all, ATTRIBUTES)]
    return f"{source} on {target}" + _options(
        [recursive], _bits(set, ATTRIBUTES), all_below, _propagation(propagation)
    )


def _device(path: str, mode: int, major: int, minor: int, uid: int, gid: int, flags: int) -> str:
    kind = {0o020000: "c", 0o060000: "b", 0o010000: "p"}[mode & 0o170000]
    return f"{path} {kind} {major}:{minor} mode {mode & 0o7777:o} owner {uid}:{gid}"


def _kinds(bits: int) -> str:
    return ", ".join(kind for kind, (bit, _) in NAMESPACES.items() if bits & bit)


_WORDS: "dict[str, Any]" = {
    "mount": _mount,
    "bind": _bind,
    "remount": lambda path, set, clear, set_all, clear_all, data: (
        path + _options(_bits(set, ATTRIBUTES), ["r" + name for name in _bits(set_all, ATTRIBUTES)], data)
    ),
    "propagate": lambda path, propagation: path + _options(_propagation(propagation)),
    "make-device": _device,
    "make-symlink": lambda text, path, flags: f"{path} -> {text}",
    "set-propagation": lambda bits: ", ".join(_propagation(bits)) + " for everything",
    "root-attributes": lambda set, propagation: ",".join(
        [*_bits(set, ATTRIBUTES), *_propagation(propagation)]
    ),
    "unshare": _kinds,
    "fork": _kinds,
    "join-namespace": lambda slot, bit, path, flags: (
        f"{_kinds(bit)}: {path}" + (" (if allowed)" if flags else "")
    ),
    "assume-root": lambda uid, gid: f"0:0 (else {uid}:{gid})",
    "make-time-namespace": lambda offsets: offsets.strip().replace("\n", ", ") or "no offsets",
    "open-root": lambda path, here: path,
    "change-directory": lambda path, patient: path,
    "make-directory": lambda path, mode: f"{path} mode {mode:o}",
    "set-groups": lambda data: (
        " ".join(str(int.from_bytes(data[i : i + 4], "little")) for i in range(0, len(data), 4)) or "none"
    ),
    "set-memory-policy": lambda mode, nodes: f"{mode:#x} nodes {int.from_bytes(nodes, 'little'):#x}",
    "set-affinity": lambda mask: f"{int.from_bytes(mask, 'little'):#x}" if mask.strip(b"\xff") else "all",
    "set-umask": lambda mask: f"{mask:04o}",
    "set-user": lambda uid, gid: f"{uid}:{gid}",
    "load-seccomp": lambda program, flags: f"{len(program) // 8} instructions, flags {flags:#x}",
    "set-capabilities": lambda *sets: " ".join(
        f"{name} {mask:#x}"
        for name, mask in zip(("effective", "permitted", "inheritable", "ambient"), sets, strict=True)
    ),
}
