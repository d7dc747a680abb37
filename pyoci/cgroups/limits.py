"""Writes the limits of linux.resources into a container's cgroups."""

from errno import EBUSY, EINVAL, ENOENT, EOPNOTSUPP

from pyoci.cgroups.layout import OWN_PARENT
from pyoci.cgroups.tree import enable, put, read

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyoci.cgroups.journal import Journal
    from pyoci.cgroups.tree import Attach, Cgroups, Group

    # JSON pointer, controller, files of which the first that is there is written, value. A last file "" says
    # that none has to be there.
    Write = tuple[str, str, tuple[str, ...], str]

# What a container is granted of these, its parents must have been granted before.
FROM_THE_TOP = ("cpu.rt_period_us", "cpu.rt_runtime_us")
UNLIMITED = ("-1", "max")
# Linux 6 takes any number here, and doesn't mean it.
IGNORED = "memory.kmem.limit_in_bytes"
# The specification recommends neither, and memory.limit counts both: without them nothing is unlimited.
OPTIONAL = ("/linux/resources/memory/kernel", "/linux/resources/memory/kernelTCP")
# The section of linux.resources and its controller, as v2 calls it; `cpu` has two.
UNIFIED_NAMES = {
    "memory": "memory",
    "pids": "pids",
    "blockIO": "io",
    "hugepageLimits": "hugetlb",
    "rdma": "rdma",
}


def apply(cgroups: "Cgroups", resources: "dict[str, Any]", journal: "Journal | None" = None) -> None:
    """See `Cgroups.apply`.

    Arguments:
        journal: gets the values of before.
    """
    writes = _wanted(cgroups, resources)
    if writes and cgroups.unified and _enable_for(cgroups, writes):
        # Which files there are has changed.
        writes = _wanted(cgroups, resources)
    # Limits bound each other (memory and memory+swap, burst and quota, shares and idle), and which of two has
    # to be written first depends on what is set now. So one that is refused gets a second try after the
    # others.
    for write in [write for write in writes if not _write(cgroups, write, journal, last=False)]:
        _write(cgroups, write, journal, last=True)


def _wanted(cgroups: "Cgroups", resources: "dict[str, Any]") -> "list[Write]":
    """What is to be written. On a hybrid host that is v2's for controllers that the v2 tree has."""
    there = cgroups.unified_controllers()
    if cgroups.mode == "v2":
        from pyoci.cgroups import v2

        return v2.limits(resources, cgroups.read)
    from pyoci.cgroups import v1

    here, rest = _divided(resources, there) if there else (resources, {})
    if not rest:
        return v1.limits(here, cgroups.read)
    from pyoci.cgroups import v2

    return v1.limits(here, cgroups.read) + v2.limits(rest, cgroups.read)


def _divided(
    resources: "dict[str, Any]", there: "tuple[str, ...]"
) -> "tuple[dict[str, Any], dict[str, Any]]":
    """What belongs to v1 hierarchies, and what to a v2 tree with these controllers."""
    here: "dict[str, Any]" = {}
    rest: "dict[str, Any]" = {}
    for section, value in resources.items():
        if section == "cpu":
            for name, member in value.items():
                controller = "cpuset" if name in ("cpus", "mems") else "cpu"
                (rest if controller in there else here).setdefault(section, {})[name] = member
        elif section == "unified":
            _check_unified(value, there)
            rest[section] = value
        else:
            (rest if UNIFIED_NAMES.get(section) in there else here)[section] = value
    return here, rest


def _check_unified(files: "dict[str, str]", there: "tuple[str, ...]") -> None:
    """Files of controllers that a hybrid host has in v1 are no files of a v2 tree."""
    for file in files:
        controller = file.partition(".")[0]
        if controller not in there and controller != "cgroup":
            from pyoci.errors import ConfigError, Problem
            from pyoci.spec.rules import escape

            message = f"needs cgroup v2, and this host has v1 for {controller}: use the other properties of linux.resources"
            raise ConfigError([Problem(f"/linux/resources/unified/{escape(file)}", message)])


def check_devices(cgroups: "Cgroups", rules: "list[dict[str, Any]]") -> None:
    """See `Cgroups.check_devices`."""
    directory = cgroups.directory("devices")
    if directory:
        from pyoci.cgroups import devices_v1

        devices_v1.wanted(rules, devices_v1.above(directory))
    elif cgroups.unified:
        from pyoci.cgroups import devices

        devices.in_order(rules)
    elif rules:
        raise _no_devices(cgroups)


def apply_devices(
    cgroups: "Cgroups", rules: "list[dict[str, Any]]", attach: "Attach | None", *, replace: bool
) -> None:
    """See `Cgroups.apply_devices`."""
    if not rules:
        return
    directory = cgroups.directory("devices")
    if directory:
        from pyoci.cgroups import devices_v1

        devices_v1.apply(directory, rules)
    elif cgroups.unified:
        from pyoci.cgroups import device_filter

        device_filter.apply(cgroups.unified.path, rules, attach, replace=replace)
    else:
        raise _no_devices(cgroups)


def _no_devices(cgroups: "Cgroups") -> Exception:
    from pyoci.cgroups import refusal

    return refusal.unavailable("/linux/resources/devices", "devices", cgroups.mode)


def _write(cgroups: "Cgroups", write: "Write", journal: "Journal | None", *, last: bool) -> bool:
    """Writes one limit. False: refused, but it may work after the others; on the last try a ConfigError."""
    controller, files, value = write[1:]
    directory = cgroups.directory(controller)
    error, path = None, ""
    for file in files if directory else ():
        if not file:
            return True
        path = f"{directory}/{file}"
        try:
            if file in FROM_THE_TOP:
                _grant_parents(cgroups, file, value, journal, more=last and file == FROM_THE_TOP[1])
            if journal:
                journal.note(path, value)
            put(path, value)
            if file == IGNORED and value not in UNLIMITED and read(path).strip() != value:
                raise OSError(EOPNOTSUPP, "")
            return True
        except OSError as refused:
            error = refused
            if refused.errno != ENOENT:
                break
    if error and error.errno in (EINVAL, EBUSY) and not last:
        return False
    return _refuse(cgroups, write, path, error)


def _refuse(cgroups: "Cgroups", write: "Write", path: str, error: "OSError | None") -> bool:
    """Raises ConfigError for a limit that can't be set, except for one that holds without being set, or isn't needed.

    Arguments:
        path: the file that refused it; "" if its controller isn't mounted.
    """
    pointer, controller, files, value = write
    if pointer in OPTIONAL and error and error.errno in (ENOENT, EOPNOTSUPP) and value not in UNLIMITED:
        if cgroups.warn:
            cgroups.warn(f"{pointer}: not set, since this kernel has no such limit; memory.limit counts it")
        return True
    if error is None or error.errno == ENOENT:
        if not files[-1] or (value in UNLIMITED and "/unified/" not in pointer):
            return True
        granted = path != ""
        if cgroups.unified and path.startswith(cgroups.unified.path) and controller != "cgroup":
            granted = controller in (cgroups.read(controller, "cgroup.controllers") or "").split()
        if error is None or not granted:
            from pyoci.cgroups import refusal

            raise refusal.unavailable(pointer, controller, cgroups.mode)
    from pyoci.cgroups import refusal

    raise refusal.refused(pointer, path, value, error)


def _grant_parents(
    cgroups: "Cgroups", file: str, value: str, journal: "Journal | None", *, more: bool
) -> None:
    """v1 realtime: grants the parents that are ours what the container is to get, before it gets it.

    Arguments:
        more: add it to what they have, for the sake of other containers that share them.
    """
    for group in cgroups.groups:
        if "cpu" in group.controllers:
            shared = group.base + OWN_PARENT
            for ancestor in dict.fromkeys([shared, *group.ancestors]):
                path = f"{ancestor}/{file}"
                if group.path.startswith(ancestor + "/"):
                    if journal:
                        journal.note(path, value)
                    try:
                        put(path, str(int(read(path)) + int(value)) if more else value)
                    except OSError:
                        # Then the container's own is refused too, and that error names the property.
                        pass


def _enable_for(cgroups: "Cgroups", writes: "list[Write]") -> bool:
    """v2: grants the cgroup the controllers that its limits need, from the root down. False: it has them."""
    group = cgroups.unified
    if group is None:
        return False
    here = _controllers(group.path)
    missing = [
        write
        for write in writes
        if write[1] not in here and write[1] != "cgroup" and cgroups.directory(write[1]) == group.path
    ]
    offered = _controllers(group.base) if missing else []
    wanted = {controller: pointer for pointer, controller, _, _ in missing if controller in offered}
    if wanted:
        _enable_down(group, cgroups.path, wanted)
    return bool(wanted)


def _enable_down(group: "Group", path: str, wanted: "dict[str, str]") -> None:
    """Enables controllers (and the property that asks for each) in every directory above the container's."""
    directory = group.base
    controllers = list(wanted)
    for part in path.split("/")[1:]:
        try:
            enable(directory, controllers)
        except OSError as error:
            from pyoci.cgroups import refusal

            raise refusal.not_enabled(wanted[controllers[0]], controllers, directory, error) from None
        directory += "/" + part
    if "invalid" in _contents(group.path + "/cgroup.type"):
        # Threaded controllers (cpu, cpuset, pids) can be enabled above processes, but then nothing can join
        # below (cgroups(7), thread mode).
        from pyoci.cgroups import refusal

        parent = group.path.rpartition("/")[0]
        put(parent + "/cgroup.subtree_control", " ".join("-" + controller for controller in controllers))
        busy = OSError(EBUSY, "")
        raise refusal.not_enabled(wanted[controllers[0]], controllers, parent, busy)


def _controllers(directory: str) -> "list[str]":
    return _contents(directory + "/cgroup.controllers").split()


def _contents(path: str) -> str:
    try:
        return read(path)
    except OSError:
        return ""
