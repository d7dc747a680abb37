"""What is locked in a user namespace: it stays, and nothing else is lost for it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pyoci.container import locked
from pyoci.plan import mount_options as options
from pyoci.plan.mounts import Mount

LISTS = st.lists(st.sampled_from([name for name, row in options.OPTIONS.items() if row[0] == "attribute"]))
PROTECTIONS = options.RDONLY | options.NOSUID | options.NODEV | options.NOEXEC | options.NODIRATIME
PRESENT = st.integers(0, 0xFF).map(lambda bits: bits & (PROTECTIONS | options.NOATIME))


def changed(present: int, put: int, cleared: int) -> int:
    return present & ~cleared | put


@given(LISTS, PRESENT)
def test_nothing_that_protects_is_lost(listed: list[str], present: int) -> None:
    made = Mount({"destination": "/x", "options": ["bind", *listed]}, "", "/")
    put, cleared, kept = locked._unlocked(made.set, made.clear, present)
    after, asked = changed(present, put, cleared), changed(present, made.set, made.clear)
    assert after & present & PROTECTIONS == present & PROTECTIONS
    assert not present & options.NOATIME or after & options.ATIME == options.NOATIME
    assert bool(kept) == (after != asked)
    assert (after ^ asked) & ~options.ATIME == kept & ~options.ATIME


@given(LISTS)
def test_where_nothing_is_locked_all_is_as_asked(listed: list[str]) -> None:
    made = Mount({"destination": "/x", "options": ["bind", *listed]}, "", "/")
    assert locked._unlocked(made.set, made.clear, 0) == (made.set, made.clear, 0)
