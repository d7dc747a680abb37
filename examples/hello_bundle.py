"""Makes the bundle of `make hello`: a container with a memory limit that reports what it can see."""

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from conformance.bundles import make_bundle

NAMESPACES = ("pid", "net", "ipc", "uts", "mnt", "cgroup", "user")
MEMORY_LIMIT = 64 << 20

REPORT = r"""
echo "hello from inside a container"
echo
echo "pid:       $$"
echo "hostname:  $(hostname)"
echo "user:      $(id)"
echo
echo "namespace  here                    on the host"
for pair in @HOST@; do
    name=${pair%%=*}; host=${pair#*=}; here=$(readlink /proc/self/ns/$name)
    note=; [ "$here" = "$host" ] && note="   (shared)"
    printf '%-10s %-23s %s%s\n' "$name" "$here" "$host" "$note"
done
echo
echo "processes: $(ls -d /proc/[0-9]* | wc -l)"
echo "memory:    $(cat /sys/fs/cgroup/memory/memory.limit_in_bytes 2>/dev/null || cat /sys/fs/cgroup/memory.max) bytes at most"
echo "network:   $(ls /sys/class/net | tr '\n' ' ')"
echo
echo "mounts:"
while read -r _ _ _ _ target options _ rest; do
    printf '  %-32s %s\n' "$target" "${rest##*- }  $options"
done </proc/self/mountinfo | head -12
echo
touch /nothing 2>/dev/null || echo "the root is read-only, as asked"
"""


def main() -> None:
    """Make it in the directory that the command line names."""
    host = " ".join(f"{name}={os.readlink(f'/proc/self/ns/{name}')}" for name in NAMESPACES)
    make_bundle(
        Path(sys.argv[1]),
        process={"args": ["sh", "-c", REPORT.replace("@HOST@", host)]},
        hostname="hello",
        linux={"resources": {"memory": {"limit": MEMORY_LIMIT}}},
    )


if __name__ == "__main__":
    main()
