"""The systemd driver: a container's cgroup is that of a transient unit, which systemd makes around its first process.

A scope can't be without a process, so it is made when the init is there: `begin` asks systemd, and `settle` waits for it, while
the init goes on until it needs its cgroup. On v1 systemd makes the directories of the controllers that it knows. Those of the
others are ours: `create` makes them, and the init joins them by itself.
"""

import posix
import sys
import time

from pyoci import files
from pyoci.cgroups import ownership, systemd_names, systemd_properties
from pyoci.cgroups.ownership import TakenError
from pyoci.cgroups.tree import (
    Cgroups,
    Group,
    failed,
    group_from_record,
    missing_ancestors,
    read,
)
from pyoci.errors import ConfigError, Error, Problem, missing_package

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from pyoci.cgroups.journal import Journal
    from pyoci.cgroups.layout import Layout
    from pyoci.cgroups.ownership import Owner
    from pyoci.cgroups.systemd_bus import Manager, Refusal
    from pyoci.cgroups.systemd_names import Unit
    from pyoci.cgroups.systemd_properties import Properties, Property
    from pyoci.cgroups.tree import Attach

RUNNING = "/run/systemd/system"  # sd_booted(3)
SYSTEM_OWN = "/init.scope"
# The hierarchies that systemd keeps, CGROUP_MASK_V1 of its source; "unified" is that of v2.
KEPT = frozenset(("name=systemd", "unified", "cpu", "cpuacct", "blkio", "memory", "devices", "pids"))
# A unit that has just ended is known for a moment longer.
TRIES, PAUSE_S = 40, 0.025


def open_for(
    layout: "Layout",
    cgroups_path: "str | None",
    container_id: str,
    *,
    annotations: "dict[str, str]",
    user: bool,
    memory: str,
    owner: "Owner | None" = None,
) -> "SystemdCgroups":
    """The cgroups of a container that is going to be created; makes nothing.

    Arguments:
        layout: what is mounted.
        cgroups_path: linux.cgroupsPath.
        annotations: the config's.
        user: this user's manager makes the unit, not the system's.
        memory: the file that keeps what this systemd doesn't know.
        owner: see `tree.open_for`.

    Raises ConfigError, and Error if there is no systemd, or the unit is there already.
    """
    if not posix.access(RUNNING, posix.F_OK):
        raise Error(
            "the systemd driver was asked for, but this host is not run by systemd",
            hint="without --systemd-cgroup pyoci makes the cgroups itself",
        )
    _check_package()
    if user and layout.mode != "v2":
        raise Error(
            "a user's systemd can give no cgroups on cgroup v1: the systemd driver needs cgroup v2 then"
        )
    unit = systemd_names.unit_of(cgroups_path, container_id, user=user)
    asked = systemd_properties.of_annotations(annotations)
    manager = _connect(user=user) if user else None
    path = (manager.cgroup if manager else _system_cgroup()) + unit.path
    groups = _groups(layout, path, unit, owner)
    cgroups = SystemdCgroups(layout.mode, path, groups, unit.name, user=user, owner=owner)
    cgroups.properties = (
        systemd_properties.of_unit(unit.name, unit.slice, container_id, v2=layout.mode == "v2") | asked
    )
    cgroups.asked = frozenset(asked)
    cgroups.memory = memory
    cgroups.manager = manager
    cgroups.collected = cgroups.properties["CollectMode"] == ("s", "inactive-or-failed")
    return cgroups


def _connect(*, user: bool) -> "Manager":
    try:
        from pyoci.cgroups.systemd_bus import Manager
    except ImportError as error:
        raise missing_package(error) from None
    return Manager(user=user)


def _check_package() -> None:
    """Whether there is jeepney, which is imported only when the init is there. Raises Error."""
    find: "Any" = sys.modules["_frozen_importlib_external"].PathFinder.find_spec
    if find("jeepney") is None:
        raise missing_package(ModuleNotFoundError(name="jeepney"))


def _system_cgroup() -> str:
    """The cgroup that the system's systemd works in: "", except in a container without a cgroup namespace."""
    for line in read("/proc/1/cgroup").splitlines():
        if line.startswith(("0::", "1:name=systemd:")) or ":name=systemd:" in line:
            return line.split(":", 2)[2].removesuffix(SYSTEM_OWN).rstrip("/")
    return ""


def _groups(layout: "Layout", path: str, unit: "Unit", owner: "Owner | None") -> "list[Group]":
    """The unit's directories. Raises Error if one is there: that of a unit that is somebody else's."""
    hierarchies = list(layout.hierarchies)
    if layout.unified:
        hierarchies.append((layout.unified, ("unified",)))
    groups = []
    for base, controllers in hierarchies:
        directory = base + path
        existed = posix.access(directory, posix.F_OK)
        if existed and not unit.is_slice:
            raise Error(
                f"the unit {unit.name} is there already: {directory}",
                hint="choose another linux.cgroupsPath, or another id",
            )
        groups.append(Group(base, controllers, directory, existed, missing_ancestors(base, directory, [])))
        if existed:
            from pyoci.cgroups.members import check_unused

            check_unused(groups[-1])
            if owner:
                ownership.check(directory, owner)
    return groups


def from_record(record: "dict[str, Any]") -> "SystemdCgroups":
    """See `tree.from_record`."""
    known = record["systemd"]
    groups = [group_from_record(record, row) for row in record["groups"]]
    cgroups = SystemdCgroups(
        record["mode"], record["path"], groups, known["unit"], user=known["user"], owner=record.get("owner")
    )
    cgroups.collected = known["collected"]
    cgroups.ours = known["ours"]
    cgroups.requested = True
    return cgroups


class SystemdCgroups(Cgroups):
    """A container's cgroups, made by systemd.

    Attributes:
        unit: its name.
        user: a user's manager makes it.
        ours: we have the unit made, and stop it; a slice may have been there before.
        collected: systemd forgets the unit when it has ended, even if it failed.
        requested: systemd was asked for it.
        properties: the unit's; `asked` are those that annotations ask for.
        memory: see `open_for`.
    """

    __slots__ = (
        "_serial",
        "asked",
        "collected",
        "manager",
        "memory",
        "ours",
        "properties",
        "requested",
        "unit",
        "user",
    )

    joins_late = True

    def __init__(
        self,
        mode: str,
        path: str,
        groups: "list[Group]",
        unit: str,
        *,
        user: bool,
        owner: "Owner | None" = None,
    ) -> None:
        super().__init__(mode, path, groups, owner)
        self.unit = unit
        self.user = user
        self.ours = not any(group.existed for group in groups)
        self.collected = True
        self.requested = False
        self.properties: "Properties" = {}
        self.asked: "frozenset[str]" = frozenset()
        self.memory = ""
        self.manager: "Manager | None" = None
        self._serial = 0

    def record(self) -> "dict[str, Any]":
        """See `Cgroups.record`."""
        known = {"unit": self.unit, "user": self.user, "ours": self.ours, "collected": self.collected}
        return super().record() | {"systemd": known}

    def create(self) -> None:
        """Makes what isn't systemd's to make. Raises TakenError, Error."""
        try:
            self.make_directories(self._own())
            self.adopt()
        except TakenError:
            self.give_up()
            raise

    def join_files(self) -> "list[str]":
        """See `Cgroups.join_files`; without those that systemd puts the init into."""
        return [group.path + "/tasks" for group in self._own()]

    def _own(self) -> "list[Group]":
        return [group for group in self.groups if not KEPT.intersection(group.controllers)]

    def begin(self, pid: int, resources: "dict[str, Any]") -> None:
        """Asks systemd for the unit, and doesn't wait.

        Arguments:
            pid: the container's first process.

        Raises Error if systemd can't be asked.
        """
        self.requested = self.ours
        manager = self._manager()
        if not self.ours:
            return
        limits = systemd_properties.of_resources(resources, self.read, v2=self.mode == "v2")
        self.properties = limits | self.properties
        if "Slice" in self.properties:
            self.properties["PIDs"] = ("au", [pid])
        wanted = systemd_properties.supported(self.properties, manager.version)
        unknown = self._remembered(manager.version) - self.asked
        self.properties = {name: value for name, value in wanted.items() if name not in unknown}
        self._serial = manager.send_start(self.unit, self.properties)

    def settle(self, pid: int, resources: "dict[str, Any]") -> None:
        """Waits until the unit runs, then does what systemd doesn't: other hierarchies, exact values, other limits.

        Raises ConfigError, Error.
        """
        if self.ours:
            self._await_start()
        for group in self.groups:
            _make_again(group)
        self._claim()
        if "PIDs" not in self.properties or self.mode != "v2":
            self.join(pid)
        if resources.keys() - {"devices"}:
            self._manager().wait_until_idle()
            super().apply(resources)

    def _claim(self) -> None:
        """Marks what systemd has made. Raises TakenError, Error."""
        for group in self.groups:
            group.made = not group.existed
            try:
                if self.owner and group.made and not ownership.claim(group.path, self.owner):
                    self.owner = None
            except OSError as error:
                raise failed("take", group.path, error) from None

    def apply(self, resources: "dict[str, Any]", journal: "Journal | None" = None) -> None:
        """Changes the files as `Cgroups.apply` does, and the unit. Raises ConfigError, Error."""
        # First, so that the unit never has what the kernel refuses; and once more, as systemd rounds what it writes.
        super().apply(resources, journal)
        self.warn = None
        manager = self._manager()
        limits = systemd_properties.of_resources(resources, self.read, v2=self.mode == "v2")
        properties = systemd_properties.supported(limits, manager.version)
        self._note(properties, journal)
        from pyoci.cgroups.systemd_bus import Refusal

        for _ in range(len(properties)):
            if not properties:
                break
            try:
                manager.set_properties(self.unit, properties.items())
                break
            except Refusal as refusal:
                properties = self._without_unknown(properties, refusal)
        manager.wait_until_idle()
        super().apply(resources)

    def directory(self, controller: str) -> "str | None":
        """See `Cgroups.directory`."""
        # systemd writes v1's device rules again whenever it pleases; a filter in the v2 tree it leaves alone.
        if controller == "devices" and self.unified:
            return None
        return super().directory(controller)

    def check_devices(self, rules: "list[dict[str, Any]]") -> None:
        """See `Cgroups.check_devices`."""
        if self.unified is None:
            self._device_properties(rules)
        super().check_devices(rules)

    def _note(self, names: "Iterable[str]", journal: "Journal | None") -> None:
        """What systemd has been told of these properties is told again if the update fails: it would write them otherwise."""
        if journal is None or not names:
            return
        before = self._manager().properties(self.unit)
        old = systemd_properties.to_set_again({name: before[name] for name in names if name in before})

        def undo() -> None:
            from pyoci.cgroups.systemd_bus import Refusal

            try:
                self._manager().set_properties(self.unit, old)
                self._manager().wait_until_idle()
            except Refusal as refusal:
                raise Error(f"systemd refuses the old properties of {self.unit}: {refusal.text}") from None

        journal.on_failure(undo)

    def apply_devices(
        self,
        rules: "list[dict[str, Any]]",
        attach: "Attach | None" = None,
        *,
        replace: bool = False,
        journal: "Journal | None" = None,
    ) -> None:
        """See `Cgroups.apply_devices`."""
        if rules and self.unified is None:
            from pyoci.cgroups.systemd_bus import Refusal

            properties = self._device_properties(rules)
            self._note({name for name, _ in properties}, journal)
            try:
                self._manager().set_properties(self.unit, properties)
            except Refusal as refusal:
                raise Error(f"systemd refuses the device rules of {self.unit}: {refusal.text}") from None
        super().apply_devices(rules, attach, replace=replace, journal=journal)

    def _device_properties(self, rules: "list[dict[str, Any]]") -> "list[Property]":
        from pyoci.cgroups import devices_v1

        return systemd_properties.of_devices(devices_v1.wanted(rules, devices_v1.Memory()))

    def remove(self, timeout: float = 1.0) -> None:
        """Stops the unit, then as `Cgroups.remove` does. Raises Error that names what stays."""
        gone = not any(posix.access(group.path, posix.F_OK) for group in self.groups)
        # A process that `begin` named may be still on its way into the unit, or the unit not be made yet.
        sure = self.collected and self.manager is None
        wanted = self.ours and self.requested and not (gone and sure)
        if wanted and not self._is_anothers() and self._is_empty(timeout) and not self._is_anothers():
            # With processes in it systemd would send SIGTERM, and wait for 90 s.
            self._manager().stop(self.unit)
        super().remove(timeout)

    def _is_anothers(self) -> bool:
        """Whether another container has the unit by now; a unit that is just being made has no mark yet, but a process."""
        if self.owner is None:
            return False
        marks = {ownership.of(group.path, self.owner) for group in self.groups}
        return not marks <= {None, self.owner[1]}

    def give_up(self) -> None:
        """See `Cgroups.give_up`."""
        self.ours = self.requested = False
        super().give_up()

    def close(self) -> None:
        """Closes the connection to systemd."""
        if self.manager:
            self.manager.close()
            self.manager = None

    def _manager(self) -> "Manager":
        if self.manager is None:
            self.manager = _connect(user=self.user)
        return self.manager

    def _await_start(self) -> None:
        from pyoci.cgroups.systemd_bus import Refusal

        manager = self._manager()
        for left in reversed(range(TRIES)):
            try:
                manager.await_start(self._serial, self.unit)
                return
            except Refusal as refusal:
                if refusal.name == "systemd1.UnitExists":
                    if not left or self.processes():
                        # Not ours: it must neither be stopped nor killed with this container.
                        self.give_up()
                        raise Error(f"systemd has a unit {self.unit} already: {refusal.text}") from None
                    manager.reset(self.unit)
                    time.sleep(PAUSE_S)
                else:
                    self.properties = self._without_unknown(self.properties, refusal)
            self._serial = manager.send_start(self.unit, self.properties)

    def _without_unknown(self, properties: "Properties", refusal: "Refusal") -> "Properties":
        """The properties without the one that systemd has just refused, which is remembered.

        Raises ConfigError, Error if that isn't what the refusal is about.
        """
        words = refusal.text.replace(",", " ").replace("'", " ").split()
        named = [name for name in properties if name in words]
        if named and named[0] in self.asked:
            message = f"systemd refuses it: {refusal.text}"
            raise ConfigError([Problem(systemd_properties.pointer(named[0]), message)])
        if (
            refusal.name != "DBus.Error.PropertyReadOnly"
            or not named
            or named[0] in systemd_properties.RESERVED
        ):
            raise Error(f"systemd refuses the unit {self.unit}: {refusal.text}")
        version = self._manager().version
        self._remember(version, self._remembered(version) | {named[0]})
        return {name: value for name, value in properties.items() if name != named[0]}

    def _remembered(self, version: int) -> "frozenset[str]":
        """What this version of systemd was found not to know: a word each after the version."""
        try:
            known, *names = files.read_own(self.memory).decode("ascii", "replace").split()
        except (OSError, ValueError, files.UntrustedError):
            return frozenset()
        return frozenset(names) if known == str(version) else frozenset()

    def _remember(self, version: int, names: "frozenset[str]") -> None:
        if self.memory:
            try:
                files.write_file(self.memory, " ".join([str(version), *sorted(names)]).encode(), 0o600)
            except Error:
                pass  # It is found out again the next time.

    def _is_empty(self, timeout: float) -> bool:
        deadline = time.monotonic() + timeout
        pause = 0.0002
        while self.processes():
            if time.monotonic() > deadline:
                return False
            time.sleep(pause)
            pause = min(pause * 2, 0.02)
        return True


def _make_again(group: Group) -> None:
    """A directory that this systemd hasn't made, for one reason or other."""
    try:
        for directory in (*group.ancestors, group.path):
            try:
                posix.mkdir(directory, 0o755)
            except FileExistsError:
                pass
    except OSError as error:
        raise failed("create", group.path, error) from None
