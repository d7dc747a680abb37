"""Talking to systemd, with a bus of the test's own at the other end."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from jeepney import HeaderFields, Message, Parser, new_error, new_method_return

from pyoci.cgroups import systemd_bus
from pyoci.cgroups.systemd_bus import Manager, Refusal
from pyoci.errors import Error

Answer = Callable[[Message], "list[Message] | None"]
PROPERTIES = {"Version": "252.39-1~deb12u2", "ControlGroup": "/user.slice/"}


class Bus:
    """A bus with a systemd behind it that answers by a table, method by method; None keeps silent."""

    def __init__(self, path: Path, auth: bytes = b"DATA\r\nOK 1234\r\n") -> None:
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.bind(str(path))
        self.socket.listen()
        self.auth = auth
        self.said: list[tuple[str, Any]] = []
        self.answers: dict[str, Answer] = {
            "Get": lambda call: [new_method_return(call, "v", (("s", PROPERTIES[call.body[1]]),))],
        }
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self) -> None:
        connection, _ = self.socket.accept()
        data, parser, serial = b"", Parser(), 0
        while b"BEGIN\r\n" not in data:
            data += connection.recv(4096)
        connection.sendall(self.auth)
        parser.add_data(data.partition(b"BEGIN\r\n")[2])
        while True:
            while message := parser.get_next_message():
                method = message.header.fields[HeaderFields.member]
                self.said.append((method, message.body))
                answer = self.answers.get(method, lambda call: [new_method_return(call, "s", ("",))])
                for reply in answer(message) or []:
                    serial += 1
                    connection.sendall(reply.serialise(serial=serial))
            data = connection.recv(4096)
            if not data:
                return
            parser.add_data(data)


@pytest.fixture
def bus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bus]:
    monkeypatch.setattr(systemd_bus, "TIMEOUT_S", 0.3)
    monkeypatch.setattr(systemd_bus, "_bus_address", lambda user: f"unix:path={tmp_path}/bus")
    bus = Bus(tmp_path / "bus")
    yield bus
    bus.socket.close()


def test_it_learns_what_systemd_it_is(bus: Bus) -> None:
    manager = Manager(user=True)
    assert (manager.version, manager.cgroup) == (252, "/user.slice")
    manager.close()


@pytest.mark.parametrize("method", ["Hello", "Get", "StartTransientUnit", "StopUnit", "SetUnitProperties"])
def test_an_answer_that_does_not_come_is_an_error_that_names_the_call(bus: Bus, method: str) -> None:
    bus.answers[method] = lambda call: None

    def everything() -> None:
        manager = Manager(user=False)
        manager.set_properties("x.scope", {})
        manager.stop("x.scope") if method == "StopUnit" else None
        manager.await_start(manager.send_start("x.scope", {}), "x.scope")

    with pytest.raises(Error, match=rf"did not answer within 0 s: {method}"):
        everything()


def test_a_job_that_does_not_end_is_an_error(bus: Bus) -> None:
    bus.answers["StartTransientUnit"] = lambda call: [new_method_return(call, "o", ("/job/1",))]
    manager = Manager(user=False)
    with pytest.raises(Error, match=r"did not answer within 0 s: the start of x\.scope"):
        manager.await_start(manager.send_start("x.scope", {}), "x.scope")


def test_a_refusal_has_its_name_and_text(bus: Bus) -> None:
    name = "org.freedesktop.systemd1.UnitExists"
    bus.answers["StartTransientUnit"] = lambda call: [new_error(call, name, "s", ("Unit x.scope exists.",))]
    manager = Manager(user=False)
    with pytest.raises(Refusal) as caught:
        manager.await_start(manager.send_start("x.scope", {"Delegate": ("b", True)}), "x.scope")
    assert (caught.value.name, caught.value.text) == ("systemd1.UnitExists", "Unit x.scope exists")
    assert bus.said[-1] == ("StartTransientUnit", ("x.scope", "fail", [("Delegate", ("b", True))], []))


def test_a_unit_that_is_gone_is_stopped_enough(bus: Bus) -> None:
    name = "org.freedesktop.systemd1.NoSuchUnit"
    bus.answers["StopUnit"] = lambda call: [new_error(call, name, "s", ("Unit x.scope not loaded.",))]
    Manager(user=False).stop("x.scope")


def test_a_bus_that_refuses_us_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(systemd_bus, "_bus_address", lambda user: f"unix:path={tmp_path}/bus")
    Bus(tmp_path / "bus", auth=b"REJECTED EXTERNAL\r\n")
    with pytest.raises(Error, match="the bus refused"):
        Manager(user=False)


def test_a_user_without_a_bus_is_told_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    address = systemd_bus._bus_address
    monkeypatch.setattr(systemd_bus.posix, "environ", {})
    with pytest.raises(Error, match="XDG_RUNTIME_DIR") as caught:
        address(user=True)
    assert "enable-linger" in (caught.value.hint or "")
    monkeypatch.setattr(systemd_bus.posix, "environ", {b"XDG_RUNTIME_DIR": str(tmp_path).encode()})
    with pytest.raises(Error, match="no such file") as caught:
        Manager(user=True)
    assert "enable-linger" in (caught.value.hint or "")


def test_the_environment_decides_which_bus(monkeypatch: pytest.MonkeyPatch) -> None:
    given = {
        b"DBUS_SYSTEM_BUS_ADDRESS": b"unix:path=/a",
        b"DBUS_SESSION_BUS_ADDRESS": b"unix:path=/b",
        b"XDG_RUNTIME_DIR": b"/c",
    }
    monkeypatch.setattr(systemd_bus.posix, "environ", given)
    assert systemd_bus._bus_address(user=False) == "unix:path=/a"
    assert systemd_bus._bus_address(user=True) == "unix:path=/b"
    del given[b"DBUS_SYSTEM_BUS_ADDRESS"], given[b"DBUS_SESSION_BUS_ADDRESS"]
    assert systemd_bus._bus_address(user=False) == "unix:path=/run/dbus/system_bus_socket"
    assert systemd_bus._bus_address(user=True) == "unix:path=/c/bus"


def test_every_unix_socket_of_an_address_is_tried() -> None:
    text = "tcp:host=a,port=1;unix:path=/run/a%20b,guid=00;unix:abstract=/x"
    assert systemd_bus._addresses(text) == [b"/run/a b", b"\0/x"]
