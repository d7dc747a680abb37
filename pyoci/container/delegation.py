"""Whose the container's cgroup becomes (config-linux.md, "Cgroup ownership").

With cgroup v2, a cgroup namespace of its own and a writable mount of it, the container may manage its own cgroup: then
that belongs to the host's user that the program's user is mapped to. On v1 that isn't safe.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyoci.plan.compile import Compilation


def owner(context: "Compilation") -> "int | None":
    """The uid on the host that the cgroup is given to; None if it stays the runtime's.

    Arguments:
        context: what is being compiled; of a joined user namespace the mapping isn't known here, so nothing is given.
    """
    namespaces = context.namespaces
    if not context.process or context.host.layout.mode != "v2":
        return None
    if namespaces.get("cgroup", ("joined",))[0] or namespaces.get("user", ("",))[0]:
        return None
    if not any(map(_shows_cgroups_writable, context.config.get("mounts") or ())):
        return None
    uid: int = context.user["uid"]
    if "user" not in namespaces:
        return uid
    for mapping in context.linux.get("uidMappings") or ():
        if mapping["containerID"] <= uid < mapping["containerID"] + mapping["size"]:
            return int(mapping["hostID"] + uid - mapping["containerID"])
    return None


def _shows_cgroups_writable(mount: "dict[str, object]") -> bool:
    options: "list[str]" = mount.get("options") or []  # type: ignore[assignment]
    return mount.get("type") in ("cgroup", "cgroup2") and not {"ro", "rro", "bind", "rbind"}.intersection(
        options
    )
