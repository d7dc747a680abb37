"""What the host side makes for a mount of the container's: trees that the container's root could not open, mapped ids.

Imported only when the init asks for one.
"""

import errno
import posix

from pyoci import shim
from pyoci.container import locked
from pyoci.errors import ConfigError, Problem, cause_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from pyoci.plan.plan import Fetch, Step

HINTS = {
    errno.EINVAL: "not every filesystem can map ids: ext4, FAT and xfs since Linux 5.12, btrfs 5.15, overlay 5.19, tmpfs 6.3",
    errno.EPERM: "only root of the user namespace that the filesystem was mounted in may map its ids",
}


class Trees:
    """Makes them, one at a time; user namespaces are kept, as most mounts of a container are mapped the same way.

    Arguments:
        pid: the init's.
        warn: what takes warnings.
    """

    def __init__(self, pid: int, warn: "Callable[[str], None]") -> None:
        self.pid = pid
        self.warn = warn
        self._namespaces: "dict[tuple[str, str] | None, int]" = {}

    def make(self, step: "Step", fetch: "Fetch") -> int:
        """The descriptor that a step needs; the caller closes it.

        Raises ConfigError at the mount.
        """
        call, subject = "open_tree", fetch.source or ""
        tree = -1
        try:
            if fetch.source is None:
                call = "user namespace"
                return posix.dup(self._namespace(fetch))
            tree = shim.open_tree(
                fetch.source, recursive=fetch.recursive, follow=fetch.follow, peer=fetch.peer
            )
            if fetch.maps_ids:
                call = "user namespace"
                namespace = self._namespace(fetch)
                call = "mount_setattr idmap"
                shim.idmap_tree(tree, namespace, recursive=fetch.idmap_recursive)
            if fetch.sets_attributes:
                call = "mount_setattr"
                warning = locked.set_attributes(tree, step, fetch)
                if warning:
                    self.warn(warning)
            return tree
        except OSError as error:
            if tree >= 0:
                posix.close(tree)
            raise _failed(step, call, subject, error) from None

    def _namespace(self, fetch: "Fetch") -> int:
        """The user namespace that maps as asked for; without maps of its own, the container's."""
        maps = fetch.maps
        if maps not in self._namespaces:
            if maps is None:
                flags = posix.O_RDONLY | posix.O_CLOEXEC
                self._namespaces[maps] = posix.open(f"/proc/{self.pid}/ns/user", flags)
            else:
                self._namespaces[maps] = shim.user_namespace(*maps)
        return self._namespaces[maps]

    def close(self) -> None:
        """Close what was kept."""
        for fd in self._namespaces.values():
            posix.close(fd)


def _failed(step: "Step", call: str, subject: str, error: OSError) -> ConfigError:
    code = errno.errorcode.get(error.errno or 0, "error")
    why = cause_of(error).lower()
    if call == "open_tree" and error.errno == errno.ENOENT:
        message = f'"{subject}" does not exist'
    elif call == "open_tree":
        message = f'"{subject}": {why}'
    elif call == "mount_setattr":
        message = f'the attributes of "{subject}" can\'t be set: {why}'
    elif call == "mount_setattr idmap":
        message = f'the ids of "{subject}" can\'t be mapped: {why}'
    else:
        message = f"no user namespace can be made with these mappings: {why}"
    hint = HINTS.get(error.errno or 0) if call == "mount_setattr idmap" else None
    name = call.partition(" idmap")[0]
    return ConfigError([Problem(step.origin, f"{message} ({step.name}: {name}: {code})")], hint=hint)
