"""What confines a program: privileges, security modules, seccomp, user namespaces and the ids for them."""

import os
import pwd
import shutil
from collections.abc import Iterator
from pathlib import Path

from pyoci import host
from pyoci.doctor.finding import GOOD, LACKING, Finding, of

AREA = "security"
SUBORDINATE = ("/etc/subuid", "/etc/subgid")
# What keeps users without privileges from making user namespaces: Debian's patch, and AppArmor's since Ubuntu 23.10.
SWITCHES = {
    "/proc/sys/kernel/unprivileged_userns_clone": ("0", "`sysctl kernel.unprivileged_userns_clone=1`"),
    "/proc/sys/kernel/apparmor_restrict_unprivileged_userns": (
        "1",
        "`sysctl kernel.apparmor_restrict_unprivileged_userns=0`, or an AppArmor profile for pyoci with `userns,`",
    ),
}


def look() -> Iterator[Finding]:
    """Everything about it."""
    facts = host.read()
    who = "root of the host" if not facts.rootless else f"user {os.geteuid()}, not root of the host"
    yield Finding(AREA, "caller", GOOD, who, "without root: user namespaces only (`spec --rootless`)")
    yield _module("AppArmor", facts.apparmor, "process.apparmorProfile")
    yield _module("SELinux", facts.selinux, "process.selinuxLabel, linux.mountLabel")
    yield _kernel_filters()
    yield _libseccomp()
    yield _user_namespaces()
    yield from _subordinate_ids()


def _module(name: str, active: bool, properties: str) -> Finding:
    mend = f"boot with {name} (security={name.lower()}), if configs ask for it"
    return of(AREA, name, active, "active" if active else "not active", properties, mend)


def _kernel_filters() -> Finding:
    try:
        actions = Path("/proc/sys/kernel/seccomp/actions_avail").read_text().split()
    except OSError:
        actions = []
    found = f"actions {' '.join(actions)}" if actions else "missing"
    return of(AREA, "seccomp", actions, found, "linux.seccomp", "a kernel with CONFIG_SECCOMP_FILTER")


def _libseccomp() -> Finding:
    purpose = "compiling linux.seccomp"
    try:
        from pyoci.plan import seccomp

        return Finding(AREA, "libseccomp", GOOD, seccomp.libseccomp_version(), purpose)
    except (ImportError, OSError) as error:
        return Finding(AREA, "libseccomp", LACKING, str(error), purpose, "install it (Debian: libseccomp2)")


def _user_namespaces() -> Finding:
    purpose = "containers without root"
    for file, (off, mend) in SWITCHES.items():
        try:
            if Path(file).read_text().strip() == off:
                return Finding(
                    AREA, "user namespaces of users", LACKING, f"turned off ({file})", purpose, mend
                )
        except OSError:
            continue
    return Finding(AREA, "user namespaces of users", GOOD, "allowed", purpose)


def _subordinate_ids() -> Iterator[Finding]:
    """For the caller; root needs none."""
    if os.geteuid() == 0:
        return
    missing = [name for name in ("newuidmap", "newgidmap") if shutil.which(name) is None]
    found = f"{' and '.join(missing)} missing" if missing else "there"
    purpose = "more than one id in a container without root"
    yield of(AREA, "newuidmap", not missing, found, purpose, "install it (Debian: uidmap)")
    for file in SUBORDINATE:
        ranges = _ranges(file)
        flag = "--add-subuids" if file.endswith("uid") else "--add-subgids"
        mend = f"`usermod {flag} 100000-165535 {_name()}`"
        yield of(AREA, file, ranges, ", ".join(ranges) or "no range for this user", purpose, mend)


def _ranges(file: str) -> "list[str]":
    """This user's, as "first+count"."""
    try:
        lines = Path(file).read_text().splitlines()
    except OSError:
        return []
    rows = [line.split(":") for line in lines]
    owners = (_name(), str(os.geteuid()))
    return [f"{row[1]}+{row[2]}" for row in rows if len(row) == 3 and row[0] in owners]


def _name() -> str:
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())
