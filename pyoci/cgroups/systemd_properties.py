"""linux.resources and annotations -> the properties of a unit (systemd.resource-control(5), org.freedesktop.systemd1(5)).

systemd writes what it knows of a unit again whenever it pleases (daemon-reload, set-property), so it has to know the limits. What
it can't carry, and the exact values of what it rounds, are written to the cgroup's files afterwards (`limits`).
"""

from pyoci.errors import ConfigError, Problem

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from pyoci.cgroups.devices_v1 import Device, Memory

    # A D-Bus signature and a value of that type.
    Value = tuple[str, Any]
    Properties = dict[str, Value]
    Property = tuple[str, Value]
    Read = Callable[[str, str], str | None]

INFINITY = 2**64 - 1
ANNOTATION = "org.systemd.property."
# The first systemd that has a property; the others are older than any that has cgroup v2 worth the name.
SINCE = {
    "CollectMode": 236,
    "MemoryMin": 240,
    "CPUQuotaPeriodUSec": 242,
    "AllowedCPUs": 244,
    "AllowedMemoryNodes": 244,
    "OOMPolicy": 253,
    "MemoryZSwapMax": 253,
}
IDLE_SINCE = 252  # CPUWeight=idle
# Those that say what the unit is; everything else of ours may be overridden by an annotation.
RESERVED = frozenset(("PIDs", "Slice", "Delegate", "Wants"))
CPU_QUOTA_STEP_US = 10_000
CPU_PERIOD_US = 100_000
UNIFIED = {
    "memory.min": "MemoryMin",
    "memory.low": "MemoryLow",
    "memory.high": "MemoryHigh",
    "memory.max": "MemoryMax",
    "memory.swap.max": "MemorySwapMax",
    "memory.zswap.max": "MemoryZSwapMax",
    "pids.max": "TasksMax",
    "cpu.weight": "CPUWeight",
    "io.weight": "IOWeight",
}
MASKS = {"cpuset.cpus": "AllowedCPUs", "cpuset.mems": "AllowedMemoryNodes"}


def of_unit(name: str, slice_name: str, container_id: str, *, v2: bool) -> "Properties":
    """What makes the unit a container's, without its first process."""
    properties: "Properties" = {
        "Description": ("s", f"pyoci container {container_id}"),
        "DefaultDependencies": ("b", False),
        "MemoryAccounting": ("b", True),
        "CPUAccounting": ("b", True),
        "IOAccounting" if v2 else "BlockIOAccounting": ("b", True),
        "TasksAccounting": ("b", True),
        # Or a unit that failed, by an OOM kill say, would stay until someone resets it.
        "CollectMode": ("s", "inactive-or-failed"),
    }
    if name.endswith(".slice"):
        properties["Wants"] = ("as", [slice_name])
        return properties
    # What happens after one process was killed is the container's affair, not the manager's.
    return properties | {
        "Slice": ("s", slice_name),
        "Delegate": ("b", True),
        "OOMPolicy": ("s", "continue"),
    }


def of_resources(resources: "dict[str, Any]", read: "Read", *, v2: bool) -> "Properties":
    """What systemd can carry of linux.resources.

    Arguments:
        resources: the validated linux.resources.
        read: see `v2.limits`.
        v2: the host's controllers are v2's.
    """
    found: "Properties" = {}
    _memory(resources.get("memory") or {}, read, found, v2=v2)
    _cpu(resources.get("cpu") or {}, found, v2=v2)
    pids = (resources.get("pids") or {}).get("limit")
    if pids is not None:
        found["TasksMax"] = ("t", _limit(pids))
    weight = (resources.get("blockIO") or {}).get("weight")
    if weight:
        from pyoci.cgroups.v2 import io_weight

        found["IOWeight" if v2 else "BlockIOWeight"] = ("t", io_weight(weight) if v2 else weight)
    for file, text in (resources.get("unified") or {}).items():
        if v2:
            _unified(file, text, found)
    return found


def _memory(memory: "dict[str, Any]", read: "Read", found: "Properties", *, v2: bool) -> None:
    limit, swap = memory.get("limit") or 0, memory.get("swap") or 0
    if limit:
        found["MemoryMax" if v2 else "MemoryLimit"] = ("t", _limit(limit))
    if not v2:
        return
    if memory.get("reservation"):
        found["MemoryLow"] = ("t", _limit(memory["reservation"]))
    if swap < 0 or (limit < 0 and not swap):
        found["MemorySwapMax"] = ("t", INFINITY)
    elif swap:
        if not limit:
            now = (read("memory", "memory.max") or "max").strip()
            limit = int(now) if now != "max" else -1
        if 0 < limit <= swap:
            found["MemorySwapMax"] = ("t", swap - limit)


def _cpu(cpu: "dict[str, Any]", found: "Properties", *, v2: bool) -> None:
    if cpu.get("shares"):
        from pyoci.cgroups.v2 import weight_of_shares

        weight = weight_of_shares(cpu["shares"]) if v2 else cpu["shares"]
        found["CPUWeight" if v2 else "CPUShares"] = ("t", weight)
    if cpu.get("idle") and v2:
        found["CPUWeight"] = ("t", 0)
    if cpu.get("quota"):
        _quota(cpu["quota"], cpu.get("period") or 0, found)
    for name in ("cpus", "mems") if v2 else ():
        _mask(MASKS[f"cpuset.{name}"], cpu.get(name), found)


def _quota(quota: int, period: int, found: "Properties") -> None:
    """systemd rounds a quota to 1 % of a CPU; up, so that the exact value, written afterwards, fits."""
    per_second = INFINITY
    if quota > 0:
        per_second = quota * 1_000_000 // (period or CPU_PERIOD_US)
        per_second += -per_second % CPU_QUOTA_STEP_US
    found["CPUQuotaPerSecUSec"] = ("t", per_second)
    if period:
        found["CPUQuotaPeriodUSec"] = ("t", period)


def _mask(name: str, listed: "str | None", found: "Properties") -> None:
    """A list such as "0-3,7" as bits. One that isn't understood is left to the kernel to judge."""
    bits = 0
    try:
        for part in (listed or "").split(","):
            first, _, last = part.partition("-")
            bits |= (2 << int(last or first)) - (1 << int(first))
    except ValueError:
        return
    found[name] = ("ay", bits.to_bytes((bits.bit_length() + 7) // 8, "little"))


def _unified(file: str, text: str, found: "Properties") -> None:
    words = text.split()
    if file == "io.weight" and words[:1] == ["default"]:
        words = words[1:]
    if file in MASKS and len(words) == 1:
        _mask(MASKS[file], words[0], found)
    if not all(word.isdecimal() or word == "max" for word in words):
        return
    numbers = [INFINITY if word == "max" else int(word) for word in words]
    if file in UNIFIED and len(numbers) == 1:
        found[UNIFIED[file]] = ("t", numbers[0])
    elif file == "cpu.idle" and words == ["1"]:
        found["CPUWeight"] = ("t", 0)
    elif file == "cpu.max" and len(numbers) in (1, 2):
        _quota(-1 if words[0] == "max" else numbers[0], numbers[1] if len(numbers) == 2 else 0, found)


def of_devices(memory: "Memory") -> "list[Property]":
    """v1's device rules as systemd has them, which writes them again at a daemon-reload and at every change of the unit.

    Raises ConfigError for what it hasn't.
    """
    strict = not memory.allow
    properties: "list[Property]" = [
        ("DevicePolicy", ("s", "strict" if strict else "auto")),
        ("DeviceAllow", ("a(ss)", [])),  # forgets those of before
    ]
    allowed = []
    for device, (access, origin) in memory.exceptions.items():
        path = _device_path(device)
        if not strict or path is None:
            message = "systemd, which writes the rules of cgroup v1 again, can't express this"
            hint = (
                "deny all devices first, then allow some by their major number; or leave --systemd-cgroup out"
            )
            raise ConfigError([Problem(origin, message)], hint=hint)
        allowed.append((path, access))
    return [*properties, ("DeviceAllow", ("a(ss)", allowed))] if allowed else properties


def to_set_again(properties: "Properties") -> "list[Property]":
    """What makes a unit have these properties again, as it tells them. Lists are added to what is there, so they are emptied."""
    found: "list[Property]" = []
    for name, (signature, value) in properties.items():
        if signature.startswith("a("):
            found.append((name, (signature, [])))
        if value or not signature.startswith("a("):
            found.append((name, (signature, value)))
    return found


def _device_path(device: "Device") -> "str | None":
    """As DeviceAllow= has it (systemd.resource-control(5)); None if it can't be said."""
    kind, major, minor = device
    word = "char" if kind == "c" else "block"
    if major is None:
        return f"{word}-*" if minor is None else None
    return f"{word}-{major}" if minor is None else f"/dev/{word}/{major}:{minor}"


def _limit(value: int) -> int:
    """A limit of config.json: -1 is unlimited. No task at all could not even be the container's first."""
    return INFINITY if value < 0 else max(value, 1)


def supported(properties: "Properties", version: int) -> "Properties":
    """Those that this systemd has."""
    return {
        name: value
        for name, value in properties.items()
        if version >= SINCE.get(name, 0)
        and not (name == "CPUWeight" and value == ("t", 0) and version < IDLE_SINCE)
    }


def of_annotations(annotations: "dict[str, str]") -> "Properties":
    """The properties that annotations ask for: org.systemd.property.NAME, the value as GVariant's text.

    Raises ConfigError at an annotation that can't be understood.
    """
    found: "Properties" = {}
    for key, text in annotations.items():
        if key.startswith(ANNOTATION):
            try:
                name, value = _annotation(key.removeprefix(ANNOTATION), text)
            except ValueError as error:
                raise ConfigError([Problem(pointer(key.removeprefix(ANNOTATION)), str(error))]) from None
            found[name] = value
    return found


def pointer(name: str) -> str:
    """Where config.json has the annotation of that property."""
    return f"/annotations/{ANNOTATION}{name}"


def _annotation(name: str, text: str) -> "tuple[str, tuple[str, Any]]":
    from pyoci.cgroups import gvariant

    if not (name.isascii() and name.isalnum() and name[0].isupper()):
        raise ValueError(f'"{name}" is not the name of a property, such as "TimeoutStopUSec"')
    if name in RESERVED:
        raise ValueError(f"{name} is pyoci's own to set")
    try:
        signature, value = gvariant.parse(text)
    except ValueError as error:
        raise ValueError(f"{text!r} is no value in GVariant's text format: {error}") from None
    if name.endswith("Sec") and not name.endswith("USec"):
        # As in unit files; D-Bus has the same in microseconds.
        if signature not in ("y", "n", "q", "i", "u", "x", "t", "d") or not 0 <= value < 2**64 / 1_000_000:
            raise ValueError(f"{text!r} is no number of seconds")
        return f"{name[:-3]}USec", ("t", int(value * 1_000_000))
    return name, (signature, value)
