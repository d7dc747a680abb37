"""Which ids a mount maps, and how (config.md, "Mounts": uidMappings, gidMappings, idmap and ridmap).

Imported only for a mount that maps any.
"""

from pyoci.errors import ConfigError, Problem
from pyoci.plan.namespaces import map_lines

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyoci.plan.compile import Compilation
    from pyoci.plan.mounts import Mount

    Mappings = list[dict[str, int]]
    Maps = tuple[str, str]

# As many ids as there are: what isn't spoken of stays what it is.
IDENTITY = [{"containerID": 0, "hostID": 0, "size": 2**32 - 1}]
OPTION = "idmap="


def maps_of(context: "Compilation", mount: "Mount") -> "Maps | None":
    """The uid map and the gid map of a mount; None: those of the container's user namespace.

    Raises ConfigError for an option `idmap=...` that doesn't say what it should.
    """
    if mount.uid_mappings and mount.gid_mappings:
        return map_lines(mount.uid_mappings), map_lines(mount.gid_mappings)
    if mount.idmap_text is None:
        return None
    text, origin = mount.idmap_text
    try:
        given = dict(part.split("=") for part in text.split(";"))
        if not given or given.keys() - {"uids", "gids"}:
            raise ValueError
        uids = _triplets(given.get("uids"), context.linux.get("uidMappings"))
        gids = _triplets(given.get("gids"), context.linux.get("gidMappings"))
    except ValueError:
        message = f'"{OPTION}{text}" is not of the form idmap=uids=FROM-TO-LENGTH#...;gids=FROM-TO-LENGTH#...'
        raise ConfigError([Problem(origin, message)]) from None
    return map_lines(uids), map_lines(gids)


def _triplets(text: "str | None", container: "Mappings | None") -> "Mappings":
    """crun's form of a map: FROM-TO-LENGTH, several separated by #; with @ TO is an id in the container."""
    if text is None:
        return container or IDENTITY
    mappings = []
    for triplet in text.split("#"):
        first, to, length = (int(number) for number in triplet.removeprefix("@").split("-"))
        host = _on_host(to, container or IDENTITY) if triplet.startswith("@") else to
        mappings.append({"containerID": first, "hostID": host, "size": length})
    return mappings


def _on_host(inside: int, mappings: "Mappings") -> int:
    for mapping in mappings:
        if mapping["containerID"] <= inside < mapping["containerID"] + mapping["size"]:
            return mapping["hostID"] + inside - mapping["containerID"]
    raise ValueError(inside)
