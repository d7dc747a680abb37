"""The command line as data: one table of every command and flag.

The parser (parser.py), the help texts, manual pages and completions, and the tests derive from it; a new flag or command is a
new row.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


# What a flag's value is. BOOLEAN needs no value; LIST may be given several times.
BOOLEAN, TEXT, NUMBER, CHOICE, LIST = "boolean", "text", "number", "choice", "list"
# A C int: what descriptors and their counts are.
LARGEST_NUMBER = 2**31 - 1


class Flag:
    """A flag.

    Arguments:
        name: without dashes; `short` is its one-letter form.
        help: what it does, in one sentence without a capital and a full stop.
        metavar: what the help calls its value; None for a flag that is on or off.
        kind: TEXT, NUMBER (from 0 up) or LIST; BOOLEAN and CHOICE follow from `metavar` and `choices`.
        default: what it is without being given.
        choices: the only values that it takes.
    """

    __slots__ = ("choices", "default", "help", "kind", "metavar", "name", "short")

    def __init__(
        self,
        name: str,
        help: str,
        metavar: str | None = None,
        *,
        short: str = "",
        kind: str = TEXT,
        default: "Any" = None,
        choices: "tuple[str, ...]" = (),
    ) -> None:
        self.name = name
        self.short = short
        self.metavar = metavar
        self.help = help
        self.choices = choices
        self.kind = BOOLEAN if metavar is None else CHOICE if choices else kind
        self.default = False if metavar is None else () if kind == LIST else default


class Command:
    """A command.

    Arguments:
        summary: what it does, in one sentence without a capital and a full stop.
        positionals: "ID" for one that is needed, "[BUNDLE]" for one that may be left out, "[ARGUMENT...]" at
            the end for any number.
        flags: its own; --help is every command's.
        stops: flags end at the first positional, since what follows is a program's (exec).
        dashed: the positional that may be written with a dash, as kill(1)'s signal: `kill ID -9`.
        needs: a program of the host's that it can't do without; then its --help fails without it, which is how podman
            finds out.
        function: the function in commands.py that runs it, `NAME_command` if not given; None if there is
            none yet.
    """

    __slots__ = ("dashed", "flags", "function", "name", "needs", "positionals", "stops", "summary")

    def __init__(
        self,
        name: str,
        summary: str,
        positionals: str,
        *flags: Flag,
        stops: bool = False,
        dashed: str = "",
        needs: str = "",
        function: str | None = "",
    ) -> None:
        self.name = name
        self.summary = summary
        self.positionals = tuple(positionals.split())
        self.flags = flags
        self.stops = stops
        self.dashed = dashed
        self.needs = needs
        self.function = f"{name}_command" if function == "" else function


HELP = Flag("help", "show this help", short="h")
GLOBAL_FLAGS = (
    Flag("root", "where the states of containers are kept (default: /run/pyoci)", "DIR"),
    Flag("log", "append messages to this file", "FILE"),
    Flag(
        "log-format",
        "the form of the messages in the log",
        "FORMAT",
        default="text",
        choices=("text", "json"),
    ),
    Flag(
        "log-level",
        "the least important messages to show or log",
        "LEVEL",
        default="warning",
        choices=("error", "warning", "info", "debug"),
    ),
    Flag("debug", "the same as --log-level debug"),
    Flag("trace", "add how long everything takes to this file; `trace` shows it", "FILE"),
    Flag("systemd-cgroup", "the same as --cgroup-manager systemd"),
    Flag(
        "cgroup-manager",
        "what makes the cgroups",
        "MANAGER",
        default="cgroupfs",
        choices=("cgroupfs", "systemd", "disabled"),
    ),
    Flag(
        "rootless",
        "whether to go on without the cgroups that this user may not make",
        "WHEN",
        default="auto",
        choices=("true", "false", "auto"),
    ),
    HELP,
    Flag("version", "show the version", short="v"),
)
_BUNDLE = Flag("bundle", "the bundle's directory", "DIR", short="b", default=".")
_CREATION = (
    _BUNDLE,
    Flag("config", "another file than config.json, relative to the bundle", "FILE", short="f"),
    Flag("console-socket", "a unix socket that the terminal's other end is sent to", "SOCKET"),
    Flag("pidfd-socket", "a unix socket that a descriptor of the container's process is sent to", "SOCKET"),
    Flag("pid-file", "write the container's pid to this file", "FILE"),
    Flag("no-pivot", "leave the host's root without pivot_root(2), for a root on an initramfs"),
    Flag("no-new-keyring", "keep the caller's session keyring"),
    Flag("preserve-fds", "pass this many descriptors from 3 up to the program", "N", kind=NUMBER, default=0),
)
# `checkpoint` and `restore`; pyoci/container/criu.py says what criu is told.
_CRIU = (
    Flag("image-path", "the directory of the images (default: checkpoint)", "DIR"),
    Flag("work-path", "the directory of criu's log (default: that of the images)", "DIR"),
    Flag("tcp-established", "TCP connections too"),
    Flag("ext-unix-sk", "connections to unix sockets outside too"),
    Flag("shell-job", "a job of a shell, which has its session and terminal outside"),
    Flag("file-locks", "file locks too"),
    Flag("lazy-pages", "memory is moved when it is needed"),
    Flag("auto-dedup", "drop pages of earlier images when there are newer ones"),
    Flag(
        "network-lock",
        "how the network is held still",
        "METHOD",
        default="iptables",
        choices=("iptables", "nftables", "skip"),
    ),
    Flag(
        "manage-cgroups-mode",
        "what is kept of cgroups (criu's --manage-cgroups)",
        "MODE",
        default="soft",
        choices=("soft", "full", "strict", "ignore"),
    ),
    Flag("empty-ns", "a namespace that is left empty: network", "KIND", kind=LIST),
)
# `update`: the flag, its letter, and what it means. pyoci/container/update.py says which property it is.
_LIMITS = (
    ("blkio-weight", "", "N", "weight of block I/O, 10 to 1000"),
    ("cpu-period", "", "US", "period of the CPU quota (us)"),
    ("cpu-quota", "", "US", "CPU time that may be used in a period (us)"),
    ("cpu-burst", "", "US", "CPU time that may be used beyond the quota if it was left before (us)"),
    ("cpu-share", "", "N", "CPU shares, relative to other containers"),
    ("cpu-rt-period", "", "US", "period of the realtime CPU time (us)"),
    ("cpu-rt-runtime", "", "US", "realtime CPU time that may be used in a period (us)"),
    ("cpuset-cpus", "", "LIST", "the CPUs, such as 0-3,7"),
    ("cpuset-mems", "", "LIST", "the memory nodes, such as 0-3,7"),
    ("cpu-idle", "", "0|1", "1: run only when nobody else wants to"),
    ("memory", "m", "BYTES", "memory limit; -1 for none"),
    ("memory-reservation", "", "BYTES", "memory that is the container's when there isn't enough for all"),
    ("memory-swap", "", "BYTES", "limit of memory and swap together; -1 for none"),
    ("kernel-memory", "", "BYTES", "kernel memory limit (cgroup v1, old kernels)"),
    ("kernel-memory-tcp", "", "BYTES", "limit of TCP's buffers (cgroup v1)"),
    ("l3-cache-schema", "", "LINE", "the line for the level 3 cache (Intel RDT)"),
    ("mem-bw-schema", "", "LINE", "the line for memory bandwidth (Intel RDT)"),
    ("pids-limit", "", "N", "largest number of processes; -1 for no limit"),
)
COMMANDS = (
    Command("create", "create a container from a bundle; `start` runs its program", "ID", *_CREATION),
    Command("start", "run the program of a created container", "ID"),
    Command(
        "run",
        "create and start a container, and wait for its end",
        "ID",
        *_CREATION,
        Flag("detach", "don't wait", short="d"),
        Flag("keep", "don't delete the container when it has ended"),
        Flag("no-subreaper", "don't become the parent of processes that the container leaves behind"),
    ),
    Command("state", "print a container's state as JSON", "ID"),
    Command(
        "kill",
        "send a signal (default: TERM) to a container's process",
        "ID [SIGNAL]",
        Flag("all", "to all of its processes", short="a"),
        Flag("regex", "ID is a regular expression: every container whose id it finds", short="r"),
        dashed="[SIGNAL]",
    ),
    Command(
        "delete",
        "delete a stopped container",
        "ID",
        Flag("force", "end it first, and clean up whatever is left of it", short="f"),
        Flag("regex", "ID is a regular expression: every container whose id it finds", short="r"),
    ),
    Command(
        "exec",
        "run another process in a container",
        "ID [ARGUMENT...]",
        Flag(
            "process",
            "a file with the process, as in config.json; the flags on it don't count then",
            "FILE",
            short="p",
        ),
        Flag("detach", "don't wait for its end", short="d"),
        Flag("tty", "give it a terminal", short="t"),
        Flag("cwd", "its working directory", "DIR"),
        Flag("env", "a variable, NAME=VALUE", "VARIABLE", short="e", kind=LIST),
        Flag("user", "its user, and group, by their numbers", "UID[:GID]", short="u"),
        Flag("additional-gids", "another group", "GID", short="g", kind=LIST),
        Flag("cap", "another capability", "CAP_NAME", short="c", kind=LIST),
        Flag("no-new-privs", "it gains no privileges by what it executes"),
        Flag("process-label", "its SELinux label", "LABEL"),
        Flag("apparmor", "its AppArmor profile", "PROFILE"),
        Flag(
            "cgroup",
            "a cgroup below the container's; CONTROLLERS: only of v1",
            "[CONTROLLERS:]PATH",
            kind=LIST,
        ),
        Flag("ignore-paused", "in a paused container wait for `resume`"),
        Flag("console-socket", "a unix socket that the terminal's other end is sent to", "SOCKET"),
        Flag("pidfd-socket", "a unix socket that a descriptor of the process is sent to", "SOCKET"),
        Flag("pid-file", "write its pid to this file", "FILE"),
        Flag("preserve-fds", "pass this many descriptors from 3 up to it", "N", kind=NUMBER, default=0),
        stops=True,
    ),
    Command(
        "mounts",
        "add the mounts of a file (a list as in config.json) to a container, or remove them",
        "add|remove ID FILE",
    ),
    Command(
        "checkpoint",
        "write a running container to files, and end it (by criu)",
        "ID",
        *_CRIU,
        Flag("leave-running", "don't end it"),
        Flag("pre-dump", "only its memory, while it runs: a later checkpoint is quicker"),
        Flag("parent-path", "the images of an earlier --pre-dump, relative to --image-path", "DIR"),
        Flag("link-remap", "files that are deleted but open get a name"),
        Flag("tcp-skip-in-flight", "leave out TCP connections that are being made"),
        Flag("page-server", "send the memory there", "ADDRESS:PORT"),
        Flag("status-fd", "a descriptor where criu says when it is ready for lazy pages", "FD", kind=NUMBER),
        needs="criu",
    ),
    Command(
        "restore",
        "make a container from a checkpoint's files (by criu)",
        "ID",
        _BUNDLE,
        *_CRIU,
        Flag("detach", "don't wait for its end", short="d"),
        Flag("pid-file", "write the container's pid to this file", "FILE"),
        Flag("console-socket", "for terminals, which can't be restored yet", "SOCKET"),
        Flag("no-subreaper", "don't become the parent of processes that the container leaves behind"),
        Flag("no-pivot", "no difference: criu has its own way to leave the host's root"),
        Flag("tcp-close", "TCP connections are closed"),
        Flag("lsm-profile", "another security label", "TYPE:PROFILE"),
        Flag("lsm-mount-context", "another SELinux context of mounts", "CONTEXT"),
        needs="criu",
    ),
    Command("pause", "stop all processes of a container until `resume`", "ID"),
    Command("resume", "let the processes of a paused container go on", "ID"),
    Command(
        "ps",
        "list the processes of a container; arguments go to ps(1), instead of -ef",
        "ID [ARGUMENT...]",
        Flag("format", "how to print them", "FORMAT", short="f", default="table", choices=("table", "json")),
        stops=True,
    ),
    Command(
        "events",
        "print what a container uses, again and again, and when it is out of memory",
        "ID",
        Flag("interval", "the time between two (5s, 500ms, 1m)", "TIME", default="5s"),
        Flag("stats", "print what it uses now, and end"),
    ),
    Command(
        "update",
        "change the limits of a container",
        "ID",
        Flag(
            "resources",
            "a file with linux.resources, - for standard input; no other flags then",
            "FILE",
            short="r",
        ),
        *(Flag(name, text, metavar, short=short) for name, short, metavar, text in _LIMITS),
    ),
    Command(
        "list",
        "list the containers",
        "",
        Flag("format", "how to print them", "FORMAT", short="f", default="table", choices=("table", "json")),
        Flag("quiet", "print the ids only", short="q"),
    ),
    Command(
        "spec",
        "write a config.json to start from",
        "",
        _BUNDLE,
        Flag("rootless", "for a user without privileges"),
    ),
    Command("check", "say everything that is wrong with a bundle's config.json", "[BUNDLE]"),
    Command(
        "plan",
        "print the steps that would make the container, and make nothing",
        "[BUNDLE]",
        Flag("json", "as JSON"),
    ),
    Command("trace", "show what --trace has written as a table with bars", "FILE"),
    Command(
        "doctor",
        "say what this host can and can't do for containers, and run one",
        "",
        Flag("format", "how to print it", "FORMAT", short="f", default="text", choices=("text", "json")),
    ),
    Command(
        "setup",
        "print what makes an engine know pyoci: docker, containerd, podman, crio or kubernetes",
        "ENGINE",
        Flag("write", "merge it into the engine's file, and keep the old one beside it"),
        Flag("file", "another file than the engine's usual one", "FILE"),
        Flag("default", "make pyoci the engine's default runtime"),
    ),
    Command("features", "print what this pyoci supports as JSON", ""),
    Command("help", "show help for a command", "[COMMAND]"),
)


def usage_line(command: Command) -> str:
    """How the command is written."""
    return " ".join(["pyoci", command.name, *(["[FLAGS]"] if command.flags else []), *command.positionals])
