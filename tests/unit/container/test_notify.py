"""What a container's program may say to the service manager in our name."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyoci.container import notify
from pyoci.container.notify import FIELDS, NEVER, Proxy, passed_on
from pyoci.container.store import Entry

HARMLESS = {b"READY", b"STATUS", b"WATCHDOG", b"ERRNO", b"BUSERROR", b"VARLINKERROR"}


def assignments(names: st.SearchStrategy[bytes]) -> st.SearchStrategy[bytes]:
    values = st.one_of(st.sampled_from([b"1", b"0", b"trigger", b"17"]), st.binary(max_size=12))
    line = st.builds(lambda name, value: name + b"=" + value, names, values)
    return st.lists(st.one_of(line, st.binary(max_size=12)), max_size=6).map(b"\n".join)


@given(assignments(st.one_of(st.sampled_from(sorted(FIELDS)), st.binary(max_size=8))))
def test_nothing_but_what_is_harmless_is_passed_on_whatever_the_message_is(data: bytes) -> None:
    lines = [line.partition(b"=") for line in passed_on(data, 42).split(b"\n") if line]
    assert {name for name, _, _ in lines} <= HARMLESS | {b"MAINPID"}
    said = {name: value for name, _, value in lines}
    assert len(said) == len(lines)
    assert said.get(b"MAINPID", b"42") == b"42"
    assert {said.get(name, b"1") for name in (b"READY", b"WATCHDOG")} == {b"1"}
    assert not any(byte in b"\0\x1b\r\x07" for byte in b"".join(said.values()))


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"READY=1", b"READY=1\nMAINPID=42"),
        (b"READY=1\n", b"READY=1\nMAINPID=42"),
        (b"MAINPID=1", b"MAINPID=42"),
        (b"STATUS=a=b \xc3\xa4\tc", b"STATUS=a=b \xc3\xa4\tc"),
        (b"STATUS=\xff", b""),
        (b"STATUS=a\0b", b""),
        (b"STATUS=", b"STATUS="),
        (b"WATCHDOG=1", b"WATCHDOG=1"),
        (b"WATCHDOG=trigger", b""),
        (b"ERRNO=2", b"ERRNO=2"),
        (b"ERRNO=-2", b""),
        (b"READY=1 ", b""),
        (b" READY=1", b""),
        (b"ready=1", b""),
        (b"READY=1\0", b"READY=1\nMAINPID=42"),
        (b"", b""),
        (b"STATUS=" + b"x" * 4089, b"STATUS=" + b"x" * 4089),
        (b"STATUS=" + b"x" * 4090, b""),
    ],
)
def test_what_is_passed_on(data: bytes, expected: bytes) -> None:
    assert passed_on(data, 42) == expected


@pytest.mark.parametrize("name", [name.decode() for name, rule in FIELDS.items() if rule is NEVER])
def test_a_field_that_would_change_the_unit_is_dropped_and_the_rest_is_not(name: str) -> None:
    assert passed_on(f"{name}=1\nSTATUS=x".encode(), 42) == b"STATUS=x"


class Endless:
    """A socket on which there is always something more."""

    def __init__(self) -> None:
        self.read = 0

    def recv(self, size: int) -> bytes:
        self.read += 1
        assert self.read < 1000, "it reads for ever"
        return b"STATUS=x"


@pytest.mark.parametrize("way", ["serve", "_pump"])
def test_a_program_that_never_stops_is_read_from_for_a_moment_only(
    monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    proxy = Proxy.__new__(Proxy)
    proxy.entry = Entry("/", "x")
    proxy.entry.state = {"pid": 42}
    endless, sent = Endless(), []
    monkeypatch.setattr(proxy, "_waiting", (), raising=False)
    monkeypatch.setattr(proxy, "_socket", endless, raising=False)
    monkeypatch.setattr(proxy, "_send", sent.append)
    monkeypatch.setattr(proxy, "_connection", lambda: None)
    monkeypatch.setattr(proxy, "_retry", lambda: True)
    getattr(proxy, way)()
    assert endless.read == notify.BATCH
    assert sent == ([b"STATUS=x"] * notify.BATCH if way == "_pump" else [])
