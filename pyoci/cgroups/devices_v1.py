"""cgroup v1's device rules: what the kernel's short memory can hold of a list of rules, and the lines that make it so.

The kernel (security/device_cgroup.c) remembers whether all devices are allowed or none, and exceptions from that, which it
forgets again only by the very numbers that they were made with; a line that takes part of one back is ignored silently. So
the lines are not the config's rules, but lead from what the cgroup has to what the rules come to. For rules that begin with
"deny all", as nearly all do, that is the same, and in the same order. What can't be had is an error.
"""

import posix

from pyoci.cgroups import tree
from pyoci.cgroups.devices import POINTER, in_order
from pyoci.errors import ConfigError, Problem

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from pyoci.cgroups.devices import Rule

    # "b" or "c", major, minor; None is any.
    Device = tuple[str, int | None, int | None]

ALLOW, DENY = "devices.allow", "devices.deny"
EVERYTHING = "a *:* rwm"


class Memory:
    """What a cgroup remembers.

    Attributes:
        allow: what is no exception is allowed.
        exceptions: the accesses that are otherwise, some of "rwm", and the JSON pointer of the rule that made them so.
    """

    def __init__(self, *, allow: bool = True) -> None:
        self.allow = allow
        self.exceptions: "dict[Device, tuple[str, str]]" = {}

    def follow(self, rule: "Rule", pointer: str) -> None:
        """Do what a rule says, the last of those until now. Raises ConfigError if that can't be remembered."""
        allow, kind, major, minor, access = rule
        if kind == "a":
            self.allow = allow
            self.exceptions.clear()
        elif allow != self.allow:
            self._except((kind, major, minor), access, pointer)
        else:
            self._take_back((kind, major, minor), access)

    def _except(self, device: "Device", access: str, pointer: str) -> None:
        known = self.exceptions.get(device)
        self.exceptions[device] = (_joined(known[0], access), known[1]) if known else (access, pointer)
        if not self.allow:
            # To open a device for reading and writing one exception must allow both.
            for other, (has, _) in list(self.exceptions.items()):
                both = _common(device, other)
                if both and {"r", "w"} <= set(has + access):
                    self._allow_at_once(both, pointer)

    def _allow_at_once(self, device: "Device", pointer: str) -> None:
        """Put what several exceptions allow for a device into one."""
        allowing = [has for other, (has, _) in self.exceptions.items() if _contains(other, device)]
        if not any({"r", "w"} <= set(has) for has in allowing):
            self.exceptions[device] = (_joined(*allowing), pointer)

    def _take_back(self, device: "Device", access: str) -> None:
        for other, (has, pointer) in list(self.exceptions.items()):
            if not set(has) & set(access) or not _common(device, other):
                continue
            if not _contains(device, other):
                raise _beyond(pointer, _text(other, has), _text(device, access))
            left = "".join(letter for letter in has if letter not in access)
            if left:
                self.exceptions[other] = (left, pointer)
            else:
                del self.exceptions[other]


def _beyond(pointer: str, rule: str, exception: str) -> ConfigError:
    message = (
        f'cgroup v1, which this host has, can\'t make "{exception}" an exception from "{rule}" afterwards'
    )
    hint = "deny all devices first, then allow those that are wanted, one by one"
    return ConfigError([Problem(pointer, message)], hint=hint)


def apply(directory: str, rules: "list[dict[str, Any]]") -> None:
    """Sets the rules of a cgroup, whatever it has now.

    Arguments:
        directory: the cgroup.
        rules: linux.resources.devices.

    Raises ConfigError, with the rules as they were as far as the kernel tells them.
    """
    now = _read(directory)
    then = wanted(rules, above(directory))
    for pointer, file, line in lines(now, then):
        try:
            tree.put(f"{directory}/{file}", line)
        except OSError as error:
            if not now.allow:
                _restore(directory, now)
            from pyoci.cgroups import refusal

            raise refusal.refused(pointer, f"{directory}/{file}", line, error) from None


def _restore(directory: str, before: Memory) -> None:
    try:
        for _, file, line in lines(_read(directory), before):
            tree.put(f"{directory}/{file}", line)
    except OSError:
        pass  # The error that led here is told.


def above(directory: str) -> Memory:
    """What a cgroup's parent has; a parent that is still to be made will have what is above it."""
    parent = directory.rpartition("/")[0]
    while len(parent) > 1 and not posix.access(parent, posix.F_OK):
        parent = parent.rpartition("/")[0]
    return _read(parent)


def _read(directory: str) -> Memory:
    try:
        return read(tree.read(directory + "/devices.list"))
    except OSError:
        return Memory()


def wanted(rules: "list[dict[str, Any]]", parent: Memory) -> Memory:
    """What rules and then what every container needs come to.

    Arguments:
        rules: linux.resources.devices.
        parent: what the cgroup above has, and so a new one.

    Raises ConfigError for what v1 can't do.
    """
    parts = in_order(rules)
    memory = Memory(allow=parent.allow)
    memory.exceptions.update(parent.exceptions)
    # What comes before a rule about everything doesn't count, so it needn't be possible either.
    first = max((i for i, (part, _) in enumerate(parts) if part[1] == "a"), default=0)
    for part, pointer in parts[first:]:
        memory.follow(part, pointer)
    return memory


def read(text: str) -> Memory:
    """What a devices.list says. Of a cgroup that allows what is no exception it doesn't tell the exceptions."""
    lines = text.splitlines()
    memory = Memory(allow=lines[:1] == [EVERYTHING])
    for line in [] if memory.allow else lines:
        kind, numbers, access = line.split(" ")
        major, minor = (None if part == "*" else int(part) for part in numbers.split(":"))
        memory.exceptions[kind, major, minor] = (access, POINTER)
    return memory


def lines(now: Memory, then: Memory) -> "Iterator[tuple[str, str, str]]":
    """(JSON pointer, file, line) of what is to be written, in order; in between nothing is allowed that neither allows.

    Arguments:
        now: what the cgroup has.
        then: what it shall have.
    """
    same = not now.allow and not then.allow
    if not same:
        yield POINTER, ALLOW if then.allow else DENY, EVERYTHING
    had = now.exceptions if same else {}
    for device, (access, pointer) in then.exceptions.items():
        if not set(access) <= set(had.get(device, ("", ""))[0]):
            yield pointer, DENY if then.allow else ALLOW, _text(device, access)
    # Last, so that what both allow is allowed all the time.
    for device, (access, _) in had.items():
        wants = then.exceptions.get(device, ("", ""))[0]
        surplus = "".join(letter for letter in access if letter not in wants)
        if surplus:
            yield POINTER, DENY, _text(device, surplus)


def _joined(*accesses: str) -> str:
    return "".join(letter for letter in "rwm" if any(letter in access for access in accesses))


def _contains(outer: "Device", inner: "Device") -> bool:
    return outer[0] == inner[0] and all(
        wide in (None, narrow) for wide, narrow in zip(outer[1:], inner[1:], strict=True)
    )


def _common(one: "Device", other: "Device") -> "Device | None":
    """The devices that both are about."""
    if one[0] != other[0]:
        return None
    pairs = list(zip(one[1:], other[1:], strict=True))
    if any(None not in pair and pair[0] != pair[1] for pair in pairs):
        return None
    major, minor = (a if b is None else b for a, b in pairs)
    return one[0], major, minor


def _text(device: "Device", access: str) -> str:
    kind, major, minor = device
    return f"{kind} {'*' if major is None else major}:{'*' if minor is None else minor} {access}"
