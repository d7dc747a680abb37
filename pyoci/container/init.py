"""A pyoci-init from the host side: started with its plan and its descriptors, then talked to (conversation.py)."""

import posix

from pyoci import shim
from pyoci.container import conversation
from pyoci.errors import Error
from pyoci.paths import absolute

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyoci.plan.plan import Plan

PROGRAM = absolute(__file__ + "/../..") + "/pyoci-init"


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
        self._descriptors: "list[int]" = []

    def start(self, made: "dict[str, int]", pid_namespace: "int | None", cgroup: "int | None") -> None:
        """Start it.

        Arguments:
            made: descriptors for the slots that have no path, by the slot's name; they stay the caller's.
            pid_namespace: a descriptor of the pid namespace to be born in.
            cgroup: one of the v2 cgroup to be born in.

        Raises shim.SpawnError or Error.
        """
        self.conversation, theirs = conversation.pair()
        given = {"plan": self._plan_file(), "conversation": theirs.fileno(), **made}
        try:
            slots = [
                given[slot.name] if slot.name in given else self.open(slot.path) for slot in self.plan.slots
            ]
            program = shim.seal(PROGRAM)
            self._descriptors.append(program)
            self.pid, pidfd = shim.spawn(
                program,
                slots,
                name=self.name,
                new_namespaces=self.plan.new_namespaces,
                first_descriptor=self.plan.first_descriptor,
                pid_namespace=pid_namespace,
                cgroup=cgroup,
            )
            self._descriptors.append(pidfd)
        finally:
            theirs.close()

    def _plan_file(self) -> int:
        fd = posix.memfd_create("plan", posix.MFD_CLOEXEC)
        self._descriptors.append(fd)
        posix.write(fd, self.plan.encode(shim.checksum))
        return fd

    def open(self, path: str) -> int:
        """A `tasks` file for writing, closed with the init. Raises Error."""
        try:
            fd = posix.open(path, posix.O_WRONLY | posix.O_CLOEXEC)
        except OSError as error:
            raise Error(f"{path}: {error.strerror}") from None
        self._descriptors.append(fd)
        return fd

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
        if self.conversation is not None:
            self.conversation.close()
            self.conversation = None
