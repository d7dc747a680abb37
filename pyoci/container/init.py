"""A pyoci-init from the host side: started with its plan and its descriptors, then talked to (conversation.py)."""

import posix

from pyoci import shim
from pyoci.container import conversation
from pyoci.errors import Error, cause_of
from pyoci.paths import absolute

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from pyoci.plan.plan import Plan, Slot

PROGRAM = absolute(__file__ + "/../..") + "/pyoci-init"


def open_tasks(slot: "Slot") -> int:
    """A v1 cgroup's `tasks` for joining, the only file that a process needs which joins a container. Raises Error."""
    try:
        return posix.open(slot.path, posix.O_WRONLY | posix.O_CLOEXEC)
    except OSError as error:
        raise Error(f"{slot.path}: {cause_of(error)}") from None


class Init:
    """One init.

    Attributes:
        pid: its; 0 before it is started, and after it was reaped.
        conversation: our end.
    """

    def __init__(self, plan: "Plan", name: str) -> None:
        self.plan = plan
        self.name = name
        self.pid = 0
        self.conversation: "Any" = None
        self._theirs: "Any" = None
        self._descriptors: "list[int]" = []

    def prepare(self, made: "dict[str, int]", opener: "Callable[[Slot], int]") -> "list[int]":
        """The descriptors for its slots, in order.

        Arguments:
            made: those that are there, by the slot's name; they stay the caller's.
            opener: opens the file of a slot that has a path; the descriptor is closed with the init.

        Raises what `opener` raises.
        """
        self.conversation, self._theirs = conversation.pair()
        given = {"plan": self._plan_file(), "conversation": self._theirs.fileno(), **made}
        return [
            given[slot.name] if slot.name in given else self.keep(opener(slot)) for slot in self.plan.slots
        ]

    def start(
        self, slots: "list[int]", pid_namespace: "int | None" = None, cgroup: "int | None" = None
    ) -> None:
        """Start it.

        Arguments:
            slots: from `prepare`.
            pid_namespace: a descriptor of the pid namespace to be born in.
            cgroup: one of the v2 cgroup to be born in.

        Raises shim.SpawnError or Error.
        """
        try:
            program = self.keep(shim.seal(PROGRAM))
        except OSError as error:
            raise Error(f"can't prepare {PROGRAM}: {cause_of(error)}") from None
        self.pid, pidfd = shim.spawn(
            program,
            slots,
            name=self.name,
            new_namespaces=self.plan.new_namespaces,
            first_descriptor=self.plan.first_descriptor,
            pid_namespace=pid_namespace,
            cgroup=cgroup,
        )
        self.keep(pidfd)
        # Its end is closed when it is gone, if nobody else has it.
        self._theirs.close()

    def _plan_file(self) -> int:
        fd = self.keep(posix.memfd_create("plan", posix.MFD_CLOEXEC))
        data = self.plan.encode(shim.checksum)
        try:
            written = posix.write(fd, data)
        except OSError as error:
            raise Error(f"can't write the plan: {cause_of(error)}") from None
        if written < len(data):
            raise Error(f"can't write the plan of {len(data)} bytes: RLIMIT_FSIZE is too low")
        return fd

    def keep(self, descriptor: int) -> int:
        """Close this descriptor with the init."""
        self._descriptors.append(descriptor)
        return descriptor

    def follow(self, pid: int) -> None:
        """A child of ours goes on in the init's place, which ends."""
        self.reap()
        self.pid = pid

    def reap(self) -> "int | None":
        """Wait for its end; its status, None if it isn't our child."""
        pid, self.pid = self.pid, 0
        try:
            return posix.waitpid(pid, 0)[1]
        except ChildProcessError:
            return None

    def close(self) -> None:
        """Close what was open for it; it may go on."""
        for fd in self._descriptors:
            posix.close(fd)
        self._descriptors = []
        for end in (self.conversation, self._theirs):
            if end is not None:
                end.close()
        self.conversation = self._theirs = None
