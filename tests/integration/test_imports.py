"""Start-up is a budget: what each hot command imports is pinned. A new line here is a decision."""

import subprocess
import tempfile
from pathlib import Path

import pytest

from conformance import host
from conformance.runtime import SYSTEMD, Runtime, new_id

FORBIDDEN = {
    "os",
    "argparse", "json", "re", "enum", "dataclasses", "typing", "logging", "pathlib", "subprocess", "jsonschema",
}  # fmt: skip

ALWAYS = """
    _json pyoci pyoci.__main__ pyoci.api pyoci.cli pyoci.cli.commands pyoci.cli.options pyoci.cli.parser pyoci.container
    pyoci.container.identity pyoci.container.store pyoci.errors pyoci.files pyoci.jsontext pyoci.log pyoci.paths
    pyoci.quick_import fcntl gc
"""
STATUS = "pyoci.container.status pyoci.container.conversation pyoci.container.identity _socket _struct"
REMOVE = """
    pyoci.container.delete pyoci.cgroups pyoci.cgroups.layout pyoci.cgroups.ownership pyoci.cgroups.tree select errno
"""
COMPILE = """
    pyoci.annotations
    pyoci.plan pyoci.plan.capabilities pyoci.plan.cgroup_mounts pyoci.plan.compile pyoci.plan.devices
    pyoci.plan.hooks pyoci.plan.mount_options pyoci.plan.mounts pyoci.plan.namespaces pyoci.plan.plan
    pyoci.plan.process pyoci.plan.state pyoci.plan.steps
"""
CREATE = """
    pyoci.container.create pyoci.container.request pyoci.container.init
    pyoci.container.conversation pyoci.container.identity pyoci.host pyoci.shim pyoci._shim
    _cffi_backend errno _socket _struct pyoci.cgroups pyoci.cgroups.layout pyoci.cgroups.ownership pyoci.cgroups.tree
    pyoci.spec pyoci.spec._validator pyoci.spec.bundle pyoci.spec.formats pyoci.spec.rules
"""
LIMITS = " pyoci.cgroups.limits pyoci.cgroups.devices " + (
    "pyoci.cgroups.v2 pyoci.cgroups.device_filter pyoci.container.delegation"
    if host.V2
    else "pyoci.cgroups.v1 pyoci.cgroups.devices_v1"
)
PINNED = {
    "create": ALWAYS + CREATE + COMPILE + LIMITS,
    "state": ALWAYS + STATUS,
    "start": ALWAYS + STATUS + " pyoci.container.start pyoci.container.delete select",
    "kill": ALWAYS + STATUS + " pyoci.container.kill",
    "delete": ALWAYS + STATUS + " " + REMOVE,
}


def imported(pyoci: Runtime, command: str, *arguments: str) -> set[str]:
    """The modules that a command imports, without those that every Python starts with."""
    interpreter = pyoci.path.read_text().splitlines()[0].removeprefix("#!").split(" ")[0]
    python = [interpreter, "-IS", "-X", "importtime"]
    # A file, no pipe: the container holds what it inherits until its end.
    with tempfile.TemporaryFile("w+") as report:
        whole = [*python, *pyoci.command, command, *arguments]
        run = subprocess.run(whole, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=report)
        report.seek(0)
        text = report.read()
    assert run.returncode == 0, text
    bare = subprocess.run([*python, "-c", "pass"], capture_output=True, text=True, check=True)
    return names(text) - names(bare.stderr)


def names(report: str) -> set[str]:
    return {line.split("|")[2].strip() for line in report.splitlines() if line.startswith("import time:")}


@pytest.mark.skipif(SYSTEMD, reason="the budget is that of cgroupfs")
def test_the_hot_commands_import_what_is_pinned_and_nothing_slow(pyoci: Runtime, sleeper: Path) -> None:
    container = new_id()
    seen: dict[str, set[str]] = {}
    seen["create"] = imported(pyoci, "create", "--bundle", str(sleeper), container)
    seen["state"] = imported(pyoci, "state", container)
    seen["start"] = imported(pyoci, "start", container)
    seen["kill"] = imported(pyoci, "kill", container, "KILL")
    pyoci.await_status(container, "stopped")
    seen["delete"] = imported(pyoci, "delete", container)
    for command, modules in seen.items():
        assert not modules & FORBIDDEN
        extra, missing = modules - set(PINNED[command].split()), set(PINNED[command].split()) - modules
        assert (extra, missing) == (set(), set()), command
