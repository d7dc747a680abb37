"""A mount of type "cgroup" -> steps: what the container sees of its cgroups.

With a cgroup namespace the kernel itself shows only what is below the container's own cgroup. Without one the container's
directories are bound. Whether they can be written is the config's to say, as with runc. Only a container that has no
cgroup of its own sees the caller's read-only: it could change his limits there (CVE-2023-25809).
"""

from pyoci.plan.mount_options import BIND_RECURSIVE, NODEV, NOEXEC, NOSUID, PRIVATE, RDONLY, REC

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyoci.plan.compile import Compilation
    from pyoci.plan.mounts import Mount
    from pyoci.plan.plan import Plan


def compile_cgroup(context: "Compilation", plan: "Plan", mount: "Mount") -> None:
    """The steps of one cgroup mount, for the layout of this host."""
    layout = context.host.layout
    if layout.mode == "v2" or (mount.type == "cgroup2" and layout.unified):
        _compile_tree(context, plan, mount, layout.unified or "", mount.destination, "cgroup2", [])
        return
    attributes = mount.attributes()
    plan.add(
        "mount", mount.origin, "tmpfs", "tmpfs", mount.destination, attributes & ~RDONLY, 0, 0, ["mode=755"]
    )
    for point, controllers in layout.hierarchies:
        name = point.rsplit("/", 1)[1]
        target = f"{mount.destination}/{name}"
        _compile_tree(context, plan, mount, point, target, "cgroup", list(controllers))
        for controller in controllers:
            if controller != name and "=" not in controller:
                plan.add("make-symlink", mount.origin, name, f"{mount.destination}/{controller}", 0)
    if layout.unified:
        name = layout.unified.rsplit("/", 1)[1]
        _compile_tree(context, plan, mount, layout.unified, f"{mount.destination}/{name}", "cgroup2", [])
    if attributes & RDONLY:
        plan.add("remount", mount.origin, mount.destination, RDONLY, 0, 0, 0, [])


def _compile_tree(
    context: "Compilation",
    plan: "Plan",
    mount: "Mount",
    point: str,
    target: str,
    kind: str,
    controllers: "list[str]",
) -> None:
    attributes = mount.attributes()
    if "cgroup" in context.namespaces:
        propagation = mount.propagations[0] if mount.propagations else 0
        # The attribute of this mount only: "ro" for the filesystem would be for the host's mounts of it, too.
        plan.add(
            "mount",
            mount.origin,
            kind,
            "cgroup",
            target,
            attributes,
            propagation,
            0,
            controllers,
        )
        return
    source = context.shown_cgroups.get(point)
    attributes |= NOSUID | NODEV | NOEXEC | (RDONLY if source else 0)
    clear = (mount.clear | mount.clear_all) & RDONLY & ~attributes
    if not source:
        source = f"{point}{context.cgroup_path}"
    plan.add("bind", mount.origin, source, target, attributes, clear, 0, 0, PRIVATE | REC, BIND_RECURSIVE)
