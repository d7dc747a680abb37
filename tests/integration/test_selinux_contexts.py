"""The mount options that SELinux takes. Their quotes are for the commas in them, and only mount(2) takes them away."""

from __future__ import annotations

import re
import shutil
import subprocess

import pytest

from conformance.bundles import mounts
from conformance.runtime import Runtime, new_id

from .conftest import MakeBundle

CONTEXT = "system_u:object_r:container_file_t:s0:c1,c2"


@pytest.mark.parametrize(
    ("options", "call"),
    [
        ([f'context="{CONTEXT}"', "size=1k"], rf'fsconfig\(\d+, FSCONFIG_SET_STRING, "context", "{CONTEXT}"'),
        ([f'rootcontext="{CONTEXT}"'], rf'fsconfig\(\d+, FSCONFIG_SET_STRING, "rootcontext", "{CONTEXT}"'),
        ([f'size=1k,context="{CONTEXT}"'], rf'mount\(.*"mode=1777,size=1k,context=\\"{CONTEXT}\\""'),
    ],
)
def test_a_quoted_context_reaches_the_kernel_whole(
    pyoci: Runtime, bundle: MakeBundle, options: list[str], call: str
) -> None:
    if shutil.which("strace") is None:
        pytest.skip("the host has no strace")
    mount = {"destination": "/tmp", "type": "tmpfs", "source": "tmpfs", "options": options}
    here = bundle(process={"args": ["true"]}, mounts=mounts(mount))
    command = ["strace", "-f", "-s", "500", "-e", "trace=fsconfig,mount", *pyoci.command]
    result = subprocess.run(
        [*command, "run", "--bundle", str(here), new_id()], capture_output=True, text=True, timeout=60
    )
    assert re.search(call, result.stderr), result.stderr
