"""What is said of an init that ended too early."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from pyoci.container import failure
from pyoci.errors import Error


@pytest.mark.parametrize("by_handler", [True, False])
def test_an_init_that_a_signal_ended_is_told_with_the_signal(by_handler: bool) -> None:
    pid = os.fork()
    if pid == 0:
        Path("/proc/self/comm").write_text("pyoci-init")
        if by_handler:
            os._exit(128 + 24)
        os.kill(os.getpid(), 24)
    try:
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        with pytest.raises(Error, match="killed by signal 24 "):
            failure.raise_if_never_ran(SimpleNamespace(id="x", state={"pid": pid}))  # type: ignore[arg-type]
    finally:
        os.waitpid(pid, 0)
