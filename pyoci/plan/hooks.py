"""hooks -> steps, for the two kinds that run in the container's namespaces (config.md, "POSIX-platform Hooks").

The state that a hook reads on its standard input has the pid as the container sees it; only the init knows that one, so it
gets the text before and the text after it.
"""

from pyoci import jsontext

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyoci.plan.compile import Compilation
    from pyoci.plan.plan import Plan

KINDS = ("prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop")
# What an unsigned 32-bit number holds; nobody waits 68 years.
LONGEST_TIMEOUT_S = 2**31
PID_PLACE = '"pid":'


def compile_hooks(
    context: "Compilation",
    plan: "Plan",
    kind: str,
    status: str,
    environment: "Sequence[str]",
    directory: str = "",
) -> None:
    """The run-hook steps of one kind.

    Arguments:
        kind: "createContainer" or "startContainer".
        status: what the state says at that time.
        environment: that of a hook without an `env` of its own.
        directory: where they run; "" for the program's working directory.
    """
    listed = (context.config.get("hooks") or {}).get(kind) or ()
    if not listed:
        return
    before, _, after = jsontext.dump(context.state(status, 0)).partition(PID_PLACE + "0")
    for i, hook in enumerate(listed):
        plan.add(
            "run-hook",
            f"/hooks/{kind}/{i}",
            hook["path"],
            hook.get("args") or [hook["path"]],
            list(environment) if hook.get("env") is None else hook["env"],
            min(hook.get("timeout") or 0, LONGEST_TIMEOUT_S),
            before + PID_PLACE,
            after,
            directory,
        )
