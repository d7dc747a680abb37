"""The C side of the host side, with Python's manners: each function returns a value or raises.

Imported only by commands that start a process; the extension module costs a millisecond.
"""

import posix

from pyoci import _shim, paths
from pyoci.errors import Error
from pyoci.paths import encode, environment

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_ffi: "Any" = _shim.ffi
_lib: "Any" = _shim.lib
# Who starts a process needs more than the caller may allow; what is started gets the caller's limits and umask again. A Python
# program that uses us keeps its own.
if paths.callers_umask >= 0:
    _lib.caller_note(paths.callers_umask)


def checksum(data: bytes) -> int:
    """The CRC-32 of a plan's part that is covered by it."""
    value: int = _lib.plan_checksum(_ffi.from_buffer(data), len(data))
    return value


def is_sound(data: bytes) -> bool:
    """Whether pyoci-init would take this as a plan."""
    return bool(_lib.plan_is_sound(_ffi.from_buffer(data), len(data)))


def seal(path: str) -> int:
    """A descriptor of a program that containers can't write through (CVE-2019-5736). Raises OSError."""
    return _descriptor(_lib.seal_program(encode(path)), path)


def open_tree(source: str, *, recursive: bool, follow: bool = True, peer: bool = False) -> int:
    """A detached clone of what is mounted at a path.

    Arguments:
        recursive: with what is mounted below.
        follow: through a symlink at its end.
        peer: what is mounted in it later shows on the host too, if the source is shared.

    Raises OSError.
    """
    return _descriptor(_lib.tree_open(encode(source), recursive, follow, peer), source)


def set_tree_attributes(tree: int, set_bits: int, clear_bits: int, *, recursive: bool) -> None:
    """Change the attributes (MOUNT_ATTR_*) of a tree, mount_setattr(2). Raises OSError."""
    _descriptor(_lib.tree_set_attributes(tree, set_bits, clear_bits, recursive), "")


def idmap_tree(tree: int, user_namespace: int, *, recursive: bool) -> None:
    """Map the ids of a tree by a user namespace. Raises OSError."""
    _descriptor(_lib.tree_idmap(tree, recursive, user_namespace), "")


def user_namespace(uid_map: str, gid_map: str) -> int:
    """A descriptor of a user namespace with these maps, lines of "inside outside count". Raises OSError."""
    return _descriptor(_lib.user_namespace_with(uid_map.encode(), gid_map.encode()), "")


def make_nodes(nodes: "list[tuple[int, int, int, int, int]]") -> "list[int]":
    """Make devices that no path leads to.

    Arguments:
        nodes: the mode, major, minor, uid and gid of each, the ids as we see them.

    Returns a descriptor of a detached mount of each. Raises OSError.
    """
    made = _ffi.new("struct node[]", [(*node, -1) for node in nodes])
    if _lib.nodes_make(made, len(nodes)) != 0:
        raise OSError(_ffi.errno, posix.strerror(_ffi.errno))
    return [node.tree for node in made]


def netlink(network_namespace: int) -> int:
    """A descriptor of a routing socket (rtnetlink(7)) of a network namespace, of which one is given. Raises OSError."""
    return _descriptor(_lib.netlink_open(network_namespace), "")


MNT_DETACH, UMOUNT_NOFOLLOW = 2, 8


def unmount(path: str) -> None:
    """Take away the mount at a path and all below it; what is still in use stays until it isn't. Raises OSError."""
    if _lib.umount2(encode(path), MNT_DETACH | UMOUNT_NOFOLLOW) != 0:
        raise OSError(_ffi.errno, posix.strerror(_ffi.errno), path)


def bind(source: str, target: str) -> None:
    """Bind a tree to a directory, private: nothing that is mounted below shows elsewhere. Raises OSError."""
    if _lib.tree_bind(encode(source), encode(target)) != 0:
        raise OSError(_ffi.errno, posix.strerror(_ffi.errno), source)


def become_subreaper() -> None:
    """Processes below us that lose their parent become our children, prctl(2). Raises OSError."""
    _descriptor(_lib.become_subreaper(), "")


class SpawnError(OSError):
    """The init couldn't be started.

    Attributes:
        call: the system call that failed.
    """

    call = ""


def spawn(
    program: int,
    slots: "list[int]",
    *,
    name: str,
    new_namespaces: int,
    first_descriptor: int,
    pid_namespace: int | None = None,
    cgroup: int | None = None,
    gate: int | None = None,
) -> "tuple[int, int]":
    """Start pyoci-init.

    Arguments:
        program: from `seal`.
        slots: the descriptors that become number first_descriptor and up.
        name: shown in the process list.
        new_namespaces: CLONE_NEW* bits.
        pid_namespace: a descriptor of the pid namespace to be born in.
        cgroup: a descriptor of a v2 cgroup to be born in.
        gate: the init waits until a byte can be read there.

    Returns:
        The pid and a pidfd.

    Raises:
        SpawnError.
    """
    numbers, text = _ffi.new("int[]", slots), _ffi.new("char[]", encode(name))
    pid, pidfd, call = _ffi.new("int *"), _ffi.new("int *"), _ffi.new("const char **")
    request = _ffi.new(
        "struct spawn_request *",
        {
            "namespaces": new_namespaces,
            "program": program,
            "pid_namespace": -1 if pid_namespace is None else pid_namespace,
            "cgroup": -1 if cgroup is None else cgroup,
            "first_descriptor": first_descriptor,
            "slots": numbers,
            "slot_count": len(slots),
            "name": text,
            "gate": -1 if gate is None else gate,
        },
    )
    if _lib.spawn_init(request, pid, pidfd, call) != 0:
        error = SpawnError(_ffi.errno, posix.strerror(_ffi.errno))
        error.call = _ffi.string(call[0]).decode()
        raise error
    return pid[0], pidfd[0]


def run_hook(hook: "dict[str, Any]", state: str, bundle: str) -> None:
    """Run a hook in the runtime's namespaces and wait for it (config.md, "POSIX-platform Hooks"). Without an `env` of its own it
    inherits ours.

    Arguments:
        hook: its entry in config.json.
        state: what it reads on its standard input.
        bundle: its working directory.

    Raises:
        Error: it could not be run, did not end with status 0, or needed longer than its timeout (in seconds).
    """
    path: str = hook["path"]
    environ = environment() if hook.get("env") is None else hook["env"]
    texts = _ffi.new("char[]", encode(path)), _ffi.new("char[]", encode(bundle))
    argv, keep_argv = _strings(hook.get("args") or [path])
    envp, keep_envp = _strings(environ)
    data = state.encode()
    result = _ffi.new("struct hook_result *")
    timeout = min(hook.get("timeout") or 0, 2**31)
    request = _ffi.new("struct hook *", (texts[0], argv, envp, texts[1], timeout))
    outcome = _lib.hook_run(request, data, len(data), result)
    del keep_argv, keep_envp, texts
    if outcome == 0:
        return
    output = _ffi.string(result.output).decode("utf-8", "replace").strip()
    if result.call != _ffi.NULL:
        raise Error(
            f"hook {path}: {posix.strerror(result.error).lower()} ({_ffi.string(result.call).decode()})"
        )
    if result.timed_out:
        raise Error(f"hook {path}: did not end within {timeout} s{_said(output)}")
    raise Error(f"hook {path}: {describe_status(result.status)}{_said(output)}")


def describe_status(status: int) -> str:
    """How a process ended, from what waitpid(2) says."""
    code = posix.waitstatus_to_exitcode(status)
    return f"was killed by signal {-code}" if code < 0 else f"exit status {code}"


def _said(output: str) -> str:
    return ", saying: " + output.replace("\n", " | ") if output else ""


def _strings(texts: "list[str]") -> "tuple[Any, Any]":
    """The list as execve(2) takes it, and what must live as long as it is used."""
    kept = [_ffi.new("char[]", text.encode("utf-8", "surrogateescape")) for text in texts]
    return _ffi.new("char *[]", [*kept, _ffi.NULL]), kept


def _descriptor(result: int, subject: str) -> int:
    if result < 0:
        raise OSError(_ffi.errno, posix.strerror(_ffi.errno), subject)
    return result
