"""What relates the parts of a configuration to one another, which a schema can't say.

Each rule is a generator of (JSON pointer, message) over a configuration of valid shape, which it is given
whole and as its `process` and `linux` objects. A null counts as absent. Most follow from the kernel, or keep
the container from changing the host; where the specification is silent, runc's checks are the model.
"""

from pyoci.paths import normalise

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Any

    Object = dict[str, Any]
    Findings = Iterator[tuple[str, str]]

# stat(2): the file types by the specification's letters. "u" is "c", unbuffered.
FILE_TYPES = {"c": 0o020000, "u": 0o020000, "b": 0o060000, "p": 0o010000}


def findings(config: "Object", wrong: "Iterable[str]" = ()) -> "Findings":
    """What a configuration has against the rules.

    Arguments:
        config: a configuration that fits the schema, but for the values at `wrong`.
        wrong: JSON pointers; rules that read any of these, or a part of it, are left out.
    """
    process = config.get("process") or {}
    linux = config.get("linux") or {}
    for reads, rule in RULES:
        if not wrong or not any(_overlap(one, other) for one in reads for other in wrong):
            yield from rule(config, process, linux)


def broken(config: "Object") -> bool:
    """Whether a configuration that fits the schema breaks any rule."""
    for _ in findings(config):
        return True
    return False


def escape(name: str) -> str:
    """A name as a part of a JSON pointer (RFC 6901)."""
    return name.replace("~", "~0").replace("/", "~1")


def sysctl_path(key: str) -> str:
    """The path below /proc/sys of a kernel parameter, "" if the key isn't the name of one.

    As sysctl.d(5) has it: of . and / the one that comes first separates, and the other stands for a dot.
    """
    first = next((char for char in key if char in "./"), "")
    path = key.translate({46: "/", 47: "."}) if first == "." else key
    return "" if any(part in ("", ".", "..") for part in path.split("/")) else path


def _overlap(one: str, other: str) -> bool:
    return one == other or one.startswith(f"{other}/") or other.startswith(f"{one}/")


def _namespaces(linux: "Object") -> "dict[str, str | None]":
    """The listed namespaces: their type, and the path of those that are joined."""
    return {namespace["type"]: namespace.get("path") for namespace in linux.get("namespaces") or ()}


def _namespaces_once(config: "Object", process: "Object", linux: "Object") -> "Findings":
    seen = set()
    for i, namespace in enumerate(linux.get("namespaces") or ()):
        if namespace["type"] in seen:
            yield (
                f"/linux/namespaces/{i}/type",
                f"must be of a type of its own (there are two {namespace['type']})",
            )
        seen.add(namespace["type"])


def _rlimits(config: "Object", process: "Object", linux: "Object") -> "Findings":
    seen = set()
    for i, limit in enumerate(process.get("rlimits") or ()):
        if limit["type"] in seen:
            yield (
                f"/process/rlimits/{i}/type",
                f"must be of a type of its own (there are two {limit['type']})",
            )
        seen.add(limit["type"])
        if limit["soft"] > limit["hard"]:
            yield (
                f"/process/rlimits/{i}/soft",
                f"must be no more than the hard limit of {limit['hard']} (it is {limit['soft']})",
            )


def _console_size(config: "Object", process: "Object", linux: "Object") -> "Findings":
    size = process.get("consoleSize")
    for name in ("height", "width") if size else ():
        value = size.get(name)  # type: ignore[union-attr]
        if value is None:
            yield f"/process/consoleSize/{name}", "is missing (a size has a height and a width)"
        # struct winsize has 16 bits for each; without a terminal the size must be ignored.
        elif value > 65535 and process.get("terminal"):
            yield f"/process/consoleSize/{name}", f"must be between 0 and 65535 (it is {value})"


def _scheduler(config: "Object", process: "Object", linux: "Object") -> "Findings":
    scheduler = process.get("scheduler")
    if not scheduler:
        return
    policy = scheduler["policy"]
    priority = scheduler.get("priority") or 0
    if policy in ("SCHED_FIFO", "SCHED_RR"):
        if priority == 0:
            yield "/process/scheduler/priority", f"must be between 1 and 99 for {policy} (it is 0)"
    elif priority:
        yield (
            "/process/scheduler/priority",
            f"must be 0 for {policy}, only SCHED_FIFO and SCHED_RR have priorities (it is {priority})",
        )
    if policy == "SCHED_DEADLINE":
        yield from _deadline(scheduler)
        return
    for name in ("runtime", "deadline", "period"):
        if value := scheduler.get(name):
            yield (
                f"/process/scheduler/{name}",
                f"must be 0 for {policy}, it is SCHED_DEADLINE's (it is {value})",
            )


def _deadline(scheduler: "Object") -> "Findings":
    """sched_setattr(2): 1024 ns <= runtime <= deadline <= period; a period of 0 is the deadline."""
    runtime, deadline = scheduler.get("runtime") or 0, scheduler.get("deadline") or 0
    period = scheduler.get("period") or deadline
    if runtime < 1024:
        yield "/process/scheduler/runtime", f"must be 1024 (nanoseconds) or more (it is {runtime})"
    elif deadline < runtime:
        yield (
            "/process/scheduler/deadline",
            f"must be no less than the runtime of {runtime} (it is {deadline})",
        )
    elif period < deadline:
        yield "/process/scheduler/period", f"must be no less than the deadline of {deadline} (it is {period})"


def _host_names(config: "Object", process: "Object", linux: "Object") -> "Findings":
    # Without a uts namespace of the container's the name of the host would change.
    for name in ("hostname", "domainname"):
        if config.get(name) and "uts" not in _namespaces(linux):
            yield f"/{name}", "needs a uts namespace (linux.namespaces has none)"


def _hidden_paths(config: "Object", process: "Object", linux: "Object") -> "Findings":
    for name in ("maskedPaths", "readonlyPaths"):
        if linux.get(name) and "mount" not in _namespaces(linux):
            yield f"/linux/{name}", "needs a mount namespace (linux.namespaces has none)"


def _mappings(config: "Object", process: "Object", linux: "Object") -> "Findings":
    namespaces = _namespaces(linux)
    for name, other in (("uidMappings", "gidMappings"), ("gidMappings", "uidMappings")):
        mappings = linux.get(name) or ()
        if mappings and "user" not in namespaces:
            yield f"/linux/{name}", "needs a user namespace (linux.namespaces has none)"
        elif mappings and not linux.get(other):
            yield f"/linux/{name}", f"needs {other} beside it (there are none)"
        yield from _ranges(f"/linux/{name}", mappings)
    # A joined one has its mappings, and podman gives dummies there.
    if "user" not in namespaces or namespaces["user"]:
        return
    i = next(i for i, namespace in enumerate(linux["namespaces"]) if namespace["type"] == "user")
    if "mount" not in namespaces:
        # mount_namespaces(7): a mount namespace belongs to a user namespace, the host's to the host's.
        message = "needs a mount namespace beside it (from within it nothing can be mounted in the host's)"
        yield f"/linux/namespaces/{i}", message
    if not (linux.get("uidMappings") or linux.get("gidMappings")):
        yield (
            f"/linux/namespaces/{i}",
            "needs linux.uidMappings and linux.gidMappings (a new user namespace is empty)",
        )
    yield from _identity_is_mapped(process, linux)


def _identity_is_mapped(process: "Object", linux: "Object") -> "Findings":
    user = process.get("user") or {}
    groups = [("gid", user.get("gid", 0))]
    groups += [(f"additionalGids/{i}", gid) for i, gid in enumerate(user.get("additionalGids") or ())]
    wanted = {"uidMappings": [("uid", user.get("uid", 0))], "gidMappings": groups}
    for name, ids in wanted.items():
        mappings = linux.get(name) or ()
        for place, each in ids:
            if mappings and not any(
                map_["containerID"] <= each < map_["containerID"] + map_["size"] for map_ in mappings
            ):
                yield f"/process/user/{place}", f"must be mapped by linux.{name} (it is {each})"


def _ranges(pointer: str, mappings: "Iterable[Object]") -> "Findings":
    """user_namespaces(7): ranges end within 32 bits and don't overlap, on neither side."""
    before: "list[Object]" = []
    for i, mapping in enumerate(mappings):
        for side in ("containerID", "hostID"):
            start, end = mapping[side], mapping[side] + mapping["size"]
            if end > 1 << 32:
                yield (
                    f"{pointer}/{i}/size",
                    f"must keep the range of {side} within 32 bits (it ends at {end - 1})",
                )
                break
            if any(start < other[side] + other["size"] and other[side] < end for other in before):
                yield f"{pointer}/{i}/{side}", f"must begin a range that no other overlaps (it is {start})"
                break
        before.append(mapping)


def _mounts(config: "Object", process: "Object", linux: "Object") -> "Findings":
    for i, mount in enumerate(config.get("mounts") or ()):
        mapped = []
        for name, other in (("uidMappings", "gidMappings"), ("gidMappings", "uidMappings")):
            if mappings := mount.get(name):
                mapped.append(name)
                if not mount.get(other):
                    yield f"/mounts/{i}/{name}", f"needs {other} beside it (there are none)"
                yield from _ranges(f"/mounts/{i}/{name}", mappings)
        if mapped:
            continue
        for j, option in enumerate(mount.get("options") or ()):
            if option in ("idmap", "ridmap") and "user" not in _namespaces(linux):
                message = (
                    f'"{option}" needs uidMappings and gidMappings, or a user namespace (there are neither)'
                )
                yield f"/mounts/{i}/options/{j}", message


def _time_offsets(config: "Object", process: "Object", linux: "Object") -> "Findings":
    # timens_offsets can't be written once a process has entered the namespace: time_namespaces(7).
    if linux.get("timeOffsets"):
        namespaces = _namespaces(linux)
        if "time" not in namespaces:
            yield "/linux/timeOffsets", "needs a new time namespace (linux.namespaces has none)"
        elif namespaces["time"]:
            yield "/linux/timeOffsets", "needs a new time namespace (the one of linux.namespaces is joined)"


def _devices(config: "Object", process: "Object", linux: "Object") -> "Findings":
    seen: "dict[str, tuple[Any, ...]]" = {}
    for i, device in enumerate(linux.get("devices") or ()):
        kind = device["type"]
        what = ("p",) if kind == "p" else ("c" if kind == "u" else kind, device["major"], device["minor"])
        if seen.setdefault(normalise(device["path"]), what) != what:
            yield f"/linux/devices/{i}/path", "must be a path of its own (an earlier device has it)"
        # podman passes on what stat(2) says of the host's device.
        bits = (device.get("fileMode") or 0) & 0o170000
        if bits and bits != FILE_TYPES[kind]:
            yield f"/linux/devices/{i}/fileMode", f'must be of the type "{kind}", or have no type\'s bits'


def _net_devices(config: "Object", process: "Object", linux: "Object") -> "Findings":
    devices = linux.get("netDevices")
    if not devices:
        return
    if "network" not in _namespaces(linux):
        yield "/linux/netDevices", "needs a network namespace (linux.namespaces has none)"
    seen = set()
    for name, device in devices.items():
        inside = device.get("name") or name
        if inside in seen and inside[-2:] != "%d":
            yield (
                f"/linux/netDevices/{escape(name)}",
                "must get a name of its own in the container (two get this one)",
            )
        seen.add(inside)


def _sysctl(config: "Object", process: "Object", linux: "Object") -> "Findings":
    for key, value in (linux.get("sysctl") or {}).items():
        pointer = f"/linux/sysctl/{escape(key)}"
        path = sysctl_path(key)
        namespace = next((each for prefix, each in SYSCTLS if path.startswith(prefix)), None)
        if not path:
            yield pointer, "must be the name of a kernel parameter, such as net.ipv4.ip_forward"
        elif not namespace:
            yield pointer, "must be a parameter of a namespace (this one is the host's)"
        elif namespace not in _namespaces(linux):
            article = "an" if namespace == "ipc" else "a"
            yield pointer, f"needs {article} {namespace} namespace (linux.namespaces has none)"
        elif namespace == "uts" and (config.get(path[7:]) or value) != value:
            yield pointer, f"must be what {path[7:]} is (they differ)"


# What begins so belongs to that namespace: ipc_namespaces(7), network_namespaces(7), uts_namespaces(7), namespaces(7).
SYSCTLS = (
    ("net/", "network"),
    ("fs/mqueue/", "ipc"),
    ("kernel/msg", "ipc"),
    ("kernel/sem", "ipc"),
    ("kernel/shm", "ipc"),
    ("kernel/hostname", "uts"),
    ("kernel/domainname", "uts"),
    ("user/", "user"),
)


def _memory_policy(config: "Object", process: "Object", linux: "Object") -> "Findings":
    """What set_mempolicy(2) refuses."""
    policy = linux.get("memoryPolicy")
    if not policy:
        return
    mode, flags = policy["mode"], policy.get("flags") or ()
    if mode in ("MPOL_DEFAULT", "MPOL_LOCAL"):
        if nodes := policy.get("nodes"):
            yield "/linux/memoryPolicy/nodes", f'must be unset for {mode} (it is "{nodes}")'
    elif mode != "MPOL_PREFERRED" and not policy.get("nodes"):
        yield "/linux/memoryPolicy/nodes", f"must have a node at least for {mode} (it has none)"
    if "MPOL_F_STATIC_NODES" in flags and "MPOL_F_RELATIVE_NODES" in flags:
        yield "/linux/memoryPolicy/flags", "must not have both MPOL_F_STATIC_NODES and MPOL_F_RELATIVE_NODES"
    elif "MPOL_F_NUMA_BALANCING" in flags and mode not in ("MPOL_BIND", "MPOL_PREFERRED_MANY"):
        message = (
            f"may have MPOL_F_NUMA_BALANCING only with MPOL_BIND or MPOL_PREFERRED_MANY (the mode is {mode})"
        )
        yield "/linux/memoryPolicy/flags", message


def _cpu(config: "Object", process: "Object", linux: "Object") -> "Findings":
    cpu = (linux.get("resources") or {}).get("cpu") or {}
    quota, burst = cpu.get("quota") or 0, cpu.get("burst") or 0
    if 0 < quota < burst:
        yield "/linux/resources/cpu/burst", f"must be no more than the quota of {quota} (it is {burst})"


def _memory(config: "Object", process: "Object", linux: "Object") -> "Findings":
    memory = (linux.get("resources") or {}).get("memory") or {}
    limit, swap = memory.get("limit") or 0, memory.get("swap") or 0
    if 0 < swap < limit:
        message = (
            f"must be no less than the limit of {limit}, it counts memory and swap together (it is {swap})"
        )
        yield "/linux/resources/memory/swap", message


NO_AGENT = "needs linux.seccomp.listenerPath (there is none)"


def _seccomp(config: "Object", process: "Object", linux: "Object") -> "Findings":
    seccomp = linux.get("seccomp")
    if not seccomp:
        return
    here = "/linux/seccomp"
    if not seccomp.get("defaultAction"):
        # What is empty is no filter, as with runc; half of one must not be taken for none.
        if any(seccomp.values()):
            yield f"{here}/defaultAction", "is missing (what happens to system calls that no rule matches)"
        return
    yield from _errno(here, "defaultErrnoRet", seccomp, seccomp["defaultAction"])
    if seccomp["defaultAction"] == "SCMP_ACT_NOTIFY" and not seccomp.get("listenerPath"):
        yield f"{here}/defaultAction", NO_AGENT
    if seccomp.get("listenerMetadata") and not seccomp.get("listenerPath"):
        yield f"{here}/listenerMetadata", "needs listenerPath beside it (there is none)"
    for i, rule in enumerate(seccomp.get("syscalls") or ()):
        yield from _errno(f"{here}/syscalls/{i}", "errnoRet", rule, rule["action"])
        if not rule["action"]:
            yield f"{here}/syscalls/{i}/action", "must not be empty (what happens to the system calls)"
        if rule["action"] == "SCMP_ACT_NOTIFY" and not seccomp.get("listenerPath"):
            yield f"{here}/syscalls/{i}/action", NO_AGENT


def _errno(pointer: str, name: str, owner: "Object", action: str) -> "Findings":
    if owner.get(name) is not None and action not in ("SCMP_ACT_ERRNO", "SCMP_ACT_TRACE"):
        yield (
            f"{pointer}/{name}",
            f"may be given only with SCMP_ACT_ERRNO or SCMP_ACT_TRACE (the action is {action})",
        )


RULES: "tuple[tuple[tuple[str, ...], Callable[[Object, Object, Object], Findings]], ...]" = (
    (("/linux/namespaces",), _namespaces_once),
    (("/process/rlimits",), _rlimits),
    (("/process/terminal", "/process/consoleSize"), _console_size),
    (("/process/scheduler",), _scheduler),
    (("/hostname", "/domainname", "/linux/namespaces"), _host_names),
    (("/linux/maskedPaths", "/linux/readonlyPaths", "/linux/namespaces"), _hidden_paths),
    (("/linux/uidMappings", "/linux/gidMappings", "/linux/namespaces", "/process/user"), _mappings),
    (("/mounts", "/linux/namespaces"), _mounts),
    (("/linux/timeOffsets", "/linux/namespaces"), _time_offsets),
    (("/linux/devices",), _devices),
    (("/linux/netDevices", "/linux/namespaces"), _net_devices),
    (("/linux/sysctl", "/linux/namespaces", "/hostname", "/domainname"), _sysctl),
    (("/linux/memoryPolicy",), _memory_policy),
    (("/linux/resources/cpu",), _cpu),
    (("/linux/resources/memory",), _memory),
    (("/linux/seccomp",), _seccomp),
)
"""Each rule with the values that it reads."""
