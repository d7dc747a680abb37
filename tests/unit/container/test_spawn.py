from __future__ import annotations

import errno
import os

import pytest

from pyoci import shim


@pytest.mark.parametrize("slots", [257, 100_000], ids=["one-too-many", "more-than-the-stack-holds"])
def test_more_descriptors_than_a_plan_may_have_are_refused(slots: int) -> None:
    program = os.open("/bin/true", os.O_PATH | os.O_CLOEXEC)
    try:
        with pytest.raises(shim.SpawnError) as refused:
            shim.spawn(program, [program] * slots, name="test", new_namespaces=0, first_descriptor=10)
    finally:
        os.close(program)
    assert refused.value.errno == errno.E2BIG
