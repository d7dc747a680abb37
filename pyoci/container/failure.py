"""What the init says when a step fails, as a sentence for people. Imported only when something failed."""

import errno
import posix

from pyoci.errors import (
    NO_SUCH_FILE,
    NOT_A_DIRECTORY,
    NOT_IN_PATH,
    PERMISSION_DENIED,
    ConfigError,
    Error,
    Problem,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyoci.cgroups.tree import Cgroups
    from pyoci.container.conversation import Message
    from pyoci.container.store import Entry

SIGSYS = 31  # on x86, arm64 and riscv
INIT_NAME = b"pyoci-init"  # csrc/init.c

# csrc/hooks.c
HOOK_EXITED, HOOK_KILLED, HOOK_TIMED_OUT = 0x100, 0x200, 0x300

# (call, errno): what it means, with {subject}, and of execve(2) with {place}, the subject's second line. Words in capitals are
# those that engines look for (errors.py).
MEANINGS = {
    ("plan", errno.EBADMSG): "pyoci-init refuses the plan: it is damaged, or of another version of pyoci",
    (
        "execve PATH",
        errno.ENOENT,
    ): f'exec: "{{subject}}": {NOT_IN_PATH} of the container, which is "{{place}}"',
    (
        "execve PATH",
        errno.EACCES,
    ): f'exec: "{{subject}}": {PERMISSION_DENIED} (looked for in "{{place}}" of the container)',
    ("execve", errno.ENOENT): f'exec: "{{subject}}": {NO_SUCH_FILE} in the container',
    ("execve", errno.EACCES): f'exec: "{{subject}}": {PERMISSION_DENIED}',
    (
        "execve relative",
        errno.ENOENT,
    ): f'exec: "{{subject}}": {NO_SUCH_FILE} in the container\'s directory "{{place}}"',
    (
        "execve relative",
        errno.EACCES,
    ): f'exec: "{{subject}}": {PERMISSION_DENIED} (in the container\'s directory "{{place}}")',
    (
        "execve argument",
        errno.E2BIG,
    ): 'the argument that begins with "{subject}" has {place} bytes, more than the kernel takes',
    (
        "execve variable",
        errno.E2BIG,
    ): 'the variable "{subject}" has {place} bytes, more than the kernel takes',
    (
        "execve together",
        errno.E2BIG,
    ): "the arguments and the environment have {place} bytes together, more than the kernel takes",
    (
        "execve",
        errno.ENOEXEC,
    ): 'exec: "{subject}": exec format error (not a program of this machine, nor a script with "#!")',
    (
        "execve interpreter",
        errno.ENOENT,
    ): f'exec: "{{subject}}": {NO_SUCH_FILE} (the interpreter of the program is missing)',
    ("setns", errno.EPERM): '"{subject}" may not be joined from here (its user namespace is another)',
    ("setresuid", errno.EINVAL): "user {value} has no mapping in the container's user namespace",
    ("setresgid", errno.EINVAL): "group {value} has no mapping in the container's user namespace",
    ("setgroups", errno.EINVAL): "a group has no mapping in the container's user namespace",
    (
        "setgroups",
        errno.EPERM,
    ): "additional groups may not be set in this user namespace (its setgroups is denied)",
    ("setns", errno.EINVAL): '"{subject}" is not a namespace of this type',
    ("fsopen", errno.ENODEV): 'this kernel has no filesystem type "{subject}"',
    ("open_tree", errno.ENOENT): '"{subject}" does not exist',
    ("open", errno.ENOENT): '"{subject}" does not exist',
    ("open", errno.ENOTDIR): '"{subject}" is not a directory',
    ("mknodat", errno.EEXIST): '"{subject}" exists and is something else',
    ("mknodat", errno.ENODEV): 'the host has no such device at "{subject}", nor in /dev/char or /dev/block',
    ("chdir", errno.EXDEV): 'the working directory "{subject}" is outside of the container',
    (
        "sched_setattr",
        errno.EPERM,
    ): "the policy may not be set: CAP_SYS_NICE is missing, or the cgroup has no realtime budget",
    ("sched_setattr", errno.EOPNOTSUPP): "this kernel can't clamp utilization",
    ("sched_setattr", errno.EBUSY): "this machine has no bandwidth left for such a deadline",
    ("ioprio_set", errno.EPERM): "the class may not be set: CAP_SYS_NICE is missing",
    (
        "set_mempolicy",
        errno.EINVAL,
    ): "this machine doesn't have such nodes, or its kernel doesn't know such a policy",
    ("set_mempolicy", errno.ENOSYS): "this kernel has no memory policies (CONFIG_NUMA)",
    ("keyctl", errno.EDQUOT): "the session keyring can't be made: too many keys",
    ("keyctl", errno.EPERM): "the session keyring may not be made here",
    ("write attr", errno.ENOENT): 'the profile of "{subject}" is not loaded',
    ("write attr", errno.EINVAL): 'the security module refuses "{subject}"',
    ("setrlimit", errno.EPERM): "the limit can't be raised that far: CAP_SYS_RESOURCE is missing",
    (
        "move_mount proc",
        errno.EPERM,
    ): '"{subject}" is in /proc, where only a few files may be covered, and /proc itself by another procfs',
    (
        "move_mount root",
        errno.EBUSY,
    ): '"{subject}" is the root of a container that exists: its processes would not see what is mounted there',
    (
        "pivot_root",
        errno.EINVAL,
    ): '"{subject}" can\'t become the root: what is mounted on it, or where it is mounted, is shared',
    ("mount data", errno.E2BIG): "{subject}",
    ("symlinkat", errno.EEXIST): '"{subject}" exists, and is not this symlink',
    (
        "move_mount",
        errno.ENOTDIR,
    ): f'"{{subject}}": {NOT_A_DIRECTORY}: a directory and a file can\'t be mounted on each other',
    (
        "mount_setattr",
        errno.EPERM,
    ): '"{subject}": a flag of the mount is locked and can\'t be cleared (mount_namespaces(7))',
    ("mount_setattr idmap", errno.EINVAL): "ids can't be mapped on this kind of filesystem",
    ("mount_setattr idmap", errno.EPERM): "ids may not be mapped here",
    (
        "umount2 proc",
        errno.EPERM,
    ): 'the way to "{subject}" leads into /proc or /sys: nothing is unmounted in /proc by another name',
    ("umount2", errno.EINVAL): '"{subject}" is not a mount',
    ("copy", errno.ENOSPC): '"{subject}" holds more than fits into the new filesystem',
    ("openat2", errno.ELOOP): '"{subject}" is or goes through a symlink, where none may be',
    ("openat2", errno.ENOTDIR): '"{subject}": a part of the path is not a directory',
}
# Which list has the string that is too long; the value is its place there.
TOO_LONG = {"execve argument": "/process/args", "execve variable": "/process/env"}
HINTS = {
    ("plan", errno.EBADMSG): "install pyoci again; in a checkout, run make",
    ("execve together", errno.E2BIG): "the limit is a quarter of RLIMIT_STACK, and 6 MiB at most (execve(2))",
    (
        "sched_setattr",
        errno.EPERM,
    ): "on cgroup v1 SCHED_FIFO and SCHED_RR need linux.resources.cpu.realtimeRuntime",
    ("keyctl", errno.EDQUOT): "/proc/sys/kernel/keys/ has the limits; --no-new-keyring does without",
    ("keyctl", errno.EPERM): "--no-new-keyring does without",
    ("write attr", errno.ENOENT): "`apparmor_parser -r FILE` loads it",
    ("fsopen", errno.ENODEV): "/proc/filesystems lists what there is",
    ("open-root", errno.ENOENT): "root.path is relative to the bundle",
}


def problem(message: "Message", step_name: str) -> Problem:
    """The failure with its place in config.json."""
    pointer = message.origin
    if message.call in TOO_LONG:
        pointer = f"{TOO_LONG[message.call]}/{message.value}"
    return Problem(pointer, sentence(message, step_name))


def sentence(message: "Message", step_name: str) -> str:
    """What failed and why, in words, with the call and errno behind it."""
    if message.call == "hook":
        return _hook(message)
    code = errno.errorcode.get(message.error, str(message.error))
    call = message.call.split(" ")[0]
    meaning = MEANINGS.get((message.call, message.error))
    subject, place = message.subject, ""
    if call == "execve":
        subject, _, place = subject.partition("\n")
    if meaning is None:
        about = f'"{subject}": ' if subject else ""
        meaning = f"{about}{posix.strerror(message.error).lower()}"
    else:
        meaning = meaning.format(subject=subject, place=place, value=message.value)
    return f"{meaning} ({step_name}: {call}: {code})"


def hint(message: "Message", step_name: str) -> "str | None":
    """What to do about it, if we know."""
    return HINTS.get((message.call, message.error)) or HINTS.get((step_name, message.error))


def _hook(message: "Message") -> str:
    kind, number = message.value & 0xF00, message.value & 0xFF
    how = {
        HOOK_EXITED: f"the hook failed with exit status {number}",
        HOOK_KILLED: f"the hook was killed by signal {number}",
        HOOK_TIMED_OUT: "the hook did not end within its timeout",
    }[kind]
    said = message.subject.strip().replace("\n", " | ")
    return f"{how}, saying: {said}" if said else how


def raise_if_never_ran(entry: "Entry") -> None:
    """A process has ended: was it still the init? Its own filter may kill it on its way to the program.

    Raises Error. Says nothing if somebody has reaped it already.
    """
    try:
        with open(f"/proc/{entry.state['pid']}/stat", "rb") as file:
            name, _, fields = file.read().partition(b"(")[2].rpartition(b")")
    except OSError:
        return
    if name != INIT_NAME:
        return
    # As wait(2) has it. By a signal that the init has a handler for it ends itself, with 128 and the number
    # (csrc/conversation.c).
    status = int(fields.split()[-1])
    number = status & 0x7F or (status >> 8) - 128
    if number == SIGSYS:
        message = "the filter kills what has to be done after it is loaded, to execute the program (SIGSYS)"
        raise ConfigError([Problem("/linux/seccomp", message)])
    raise Error(
        f'cannot start container "{entry.id}": its init was killed by signal {number} before it was the program'
    )


def ran_out_of_memory(groups: "Cgroups") -> bool:
    """Whether the kernel has killed a process of the container for its memory's sake."""
    from pyoci.cgroups.members import out_of_memory_kills

    return out_of_memory_kills(groups) > 0


def died(status: "int | None", memory_limit: "int | None" = None) -> Error:
    """The error for an init that ended without a word.

    Arguments:
        status: what waitpid(2) said, or None if it wasn't our child.
        memory_limit: linux.resources.memory.limit (bytes), if the container ran out of that.
    """
    if memory_limit is not None:
        message = f"the memory limit of {memory_limit} is too low: the kernel killed the container's init"
        return ConfigError([Problem("/linux/resources/memory/limit", message)])
    if status is None:
        return Error("the container's init ended without a word")
    from pyoci.shim import describe_status

    return Error(f"the container's init ended unexpectedly: {describe_status(status)}")
