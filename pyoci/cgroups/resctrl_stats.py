"""What a container's group of resctrl has and uses, in the form of runc's `events` (the kernel's resctrl.rst)."""

import posix

from pyoci.cgroups import tree

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyoci.cgroups.resctrl import Resctrl

    Stats = dict[str, Any]

# The resource in info/ and in `schemata`; runc's names for what info/ says of it, for the root's line and the group's.
RESOURCES: "tuple[tuple[str, str, tuple[str, ...], str], ...]" = (
    ("L3", "l3_cache_info", ("cbm_mask", "min_cbm_bits", "num_closids"), "l3_cache_schema"),
    (
        "MB",
        "mem_bw_info",
        ("bandwidth_gran", "delay_linear", "min_bandwidth", "num_closids"),
        "mem_bw_schema",
    ),
)
MONITORED: "tuple[tuple[str, tuple[str, ...]], ...]" = (
    ("mbm_stats", ("mbm_total_bytes", "mbm_local_bytes")),
    ("cmt_stats", ("llc_occupancy",)),
)


def stats(group: "Resctrl") -> "Stats":
    """The `intel_rdt` of a stats event, for a container's group; what the processor hasn't got is left out."""
    found: "Stats" = {}
    # Groups aren't nested; the default one is the root itself.
    root = group.path if posix.access(group.path + "/info", posix.F_OK) else group.path.rpartition("/")[0]
    defaults, own = _schemata(root), _schemata(group.path)
    for resource, info_name, files, schema_name in RESOURCES:
        info = {file: text for file in files if (text := _read(f"{root}/info/{resource}/{file}"))}
        if info:
            # A mask stays the text that it is; everything else is a number.
            found[info_name] = {k: v if k == "cbm_mask" else int(v) for k, v in info.items()}
        if resource in defaults:
            found[f"{schema_name}_root"] = defaults[resource]
        if resource in own:
            found[schema_name] = own[resource]
    domains = _domains((group.monitor or group.path) + "/mon_data")
    for name, files in MONITORED:
        rows = [_figures(domain, files) for domain in domains]
        if any(rows):
            found[name] = rows
    return found


def _schemata(directory: str) -> "dict[str, str]":
    lines = (line.strip() for line in _read(f"{directory}/schemata").splitlines())
    return {line.partition(":")[0].strip(): line for line in lines}


def _domains(directory: str) -> "list[str]":
    """The caches that are monitored, mon_L3_00 and so on."""
    try:
        return [f"{directory}/{name}" for name in sorted(posix.listdir(directory)) if name[:7] == "mon_L3_"]
    except OSError:
        return []


def _figures(domain: str, files: "tuple[str, ...]") -> "dict[str, int]":
    texts = {file: _read(f"{domain}/{file}") for file in files}
    # "Unavailable" and "Error" are what the kernel says of a counter that it can't read.
    return {file: int(text) for file, text in texts.items() if text.isdigit()}


def _read(path: str) -> str:
    try:
        return tree.read(path).strip()
    except OSError:
        return ""
