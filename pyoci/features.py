"""What this runtime supports, as `pyoci features` prints it (features.md, features-linux.md).

Everything comes from the tables that the compiler itself uses, so that it can't say what isn't so.
"""

from pyoci import SPEC_VERSION, __version__, annotations
from pyoci.cgroups import MANAGERS
from pyoci.cgroups.systemd_properties import ANNOTATION
from pyoci.plan import mount_options, scheduling, seccomp
from pyoci.plan.capabilities import CAPABILITIES
from pyoci.plan.hooks import KINDS
from pyoci.plan.namespaces import NAMESPACES
from pyoci.version import commit

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

OLDEST = "1.0.0"
OWN = "io.github.pyoci."


def features() -> "dict[str, Any]":
    """The structure. Only seccomp's part depends on the machine: on the libseccomp and the kernel that are there."""
    return {
        "ociVersionMin": OLDEST,
        "ociVersionMax": SPEC_VERSION,
        "hooks": list(KINDS),
        "mountOptions": sorted(mount_options.OPTIONS),
        "annotations": {
            f"{OWN}version": __version__,
            f"{OWN}commit": commit(),
            "io.github.seccomp.libseccomp.version": seccomp.libseccomp_version(),
        },
        # With a dot at its end: all that begin so.
        "potentiallyUnsafeConfigAnnotations": [ANNOTATION, *annotations.ALL],
        "linux": {
            "namespaces": sorted(NAMESPACES),
            "capabilities": list(CAPABILITIES),
            "cgroup": {
                "v1": True,
                "v2": True,
                "systemd": "systemd" in MANAGERS,
                "systemdUser": "systemd" in MANAGERS,
                "rdma": True,
            },
            "seccomp": {
                "enabled": True,
                "actions": sorted(seccomp.ACTIONS),
                "operators": sorted(seccomp.OPERATORS),
                "archs": sorted(seccomp.supported_architectures()),
                "knownFlags": sorted(seccomp.FLAGS),
                "supportedFlags": sorted(seccomp.supported_flags()),
            },
            "apparmor": {"enabled": True},
            "selinux": {"enabled": True},
            "intelRdt": {"enabled": True, "schemata": True, "monitoring": True},
            "memoryPolicy": {
                "modes": sorted(scheduling.MEMORY_MODES),
                "flags": sorted(scheduling.MEMORY_FLAGS),
            },
            "mountExtensions": {"idmap": {"enabled": "idmap" in mount_options.OPTIONS}},
            "netDevices": {"enabled": True},
        },
    }
