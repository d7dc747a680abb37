"""A systemd manager, spoken to over D-Bus. jeepney encodes; this is the socket and the few calls that are needed.

Imported only for the systemd driver: jeepney takes longer to import than everything else that `create` does in Python.
"""

import posix
import time

from jeepney import DBusAddress, HeaderFields, MessageType, Parser, new_method_call

from pyoci import sockets
from pyoci.errors import Error, cause_of
from pyoci.paths import encode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from pyoci.cgroups.systemd_properties import Properties, Property

# systemd does one thing at a time; a busy one was seen to take 10 s and more (runc's issues 3904, 4853).
TIMEOUT_S = 30.0
SYSTEM_BUS = "unix:path=/run/dbus/system_bus_socket"
PATH, NAME = "/org/freedesktop/systemd1", "org.freedesktop.systemd1"
MANAGER = DBusAddress(PATH, NAME, f"{NAME}.Manager")
PROPERTIES = DBusAddress(PATH, NAME, "org.freedesktop.DBus.Properties")
PEER = DBusAddress(PATH, NAME, "org.freedesktop.DBus.Peer")
BUS = DBusAddress("/org/freedesktop/DBus", "org.freedesktop.DBus", "org.freedesktop.DBus")
JOB_REMOVED = f"type='signal',sender='{NAME}',path='{PATH}',interface='{NAME}.Manager',member='JobRemoved'"
USER_HINT = (
    "the systemd driver needs the bus of your own systemd: log in properly (not by su), or `loginctl enable-linger`, "
    "and set XDG_RUNTIME_DIR=/run/user/$(id -u)"
)


class Refusal(Exception):
    """An error that came as the answer to a call.

    Attributes:
        name: the error's, without "org.freedesktop.".
        text: what it says.
    """

    def __init__(self, name: str, text: str) -> None:
        super().__init__(f"{name}: {text}")
        self.name = name.removeprefix("org.freedesktop.")
        self.text = text.rstrip(".")


class Manager:
    """A connection to a manager.

    Attributes:
        version: of systemd, its number.
        cgroup: the manager's own cgroup; "" for the system's.
    """

    def __init__(self, *, user: bool) -> None:
        """Connect to the system's manager, or this user's.

        Raises Error.
        """
        self.user = user
        self._serial = 0
        self._parser = Parser()
        self._replies: "dict[int, Any]" = {}
        self._jobs: "dict[str, str]" = {}
        self._socket = self._connect()
        # All in one go: none of them depends on an answer.
        hello = self._send("Hello", BUS)
        self._send("AddMatch", BUS, "s", (JOB_REMOVED,))
        version = self._send("Get", PROPERTIES, "ss", (MANAGER.interface, "Version"))
        cgroup = self._send("Get", PROPERTIES, "ss", (MANAGER.interface, "ControlGroup"))
        try:
            self._reply(hello, "Hello")
            self.version = _number(self._reply(version, "Get Version")[0][1])
            self.cgroup: str = self._reply(cgroup, "Get ControlGroup")[0][1].rstrip("/")
        except Refusal as refusal:
            raise self._error(f"can't ask systemd: {refusal.text}") from None

    def close(self) -> None:
        self._socket.close()

    def send_start(self, unit: str, properties: "Properties") -> int:
        """Ask for a transient unit, and don't wait; `await_start` takes what this returns."""
        body: "tuple[Any, ...]" = (unit, "fail", list(properties.items()), [])
        return self._send("StartTransientUnit", MANAGER, "ssa(sv)a(sa(sv))", body)

    def await_start(self, serial: int, unit: str) -> None:
        """Wait until a unit runs.

        Raises Refusal if systemd doesn't want to begin with it; Error if it fails, or there is no answer.
        """
        job: str = self._reply(serial, "StartTransientUnit", unit)[0]
        result = self._await_job(job, f"the start of {unit}")
        if result != "done":
            raise Error(
                f"systemd could not start the unit {unit}: {result}",
                hint=f"`journalctl {'--user-unit' if self.user else '--unit'} {unit}` tells more",
            )

    def stop(self, unit: str) -> None:
        """Stop a unit and forget that it failed; one that isn't there is fine. Raises Error."""
        stop = self._send("StopUnit", MANAGER, "ss", (unit, "replace"))
        try:
            job: str = self._reply(stop, "StopUnit", unit)[0]
            self._await_job(job, f"the end of {unit}")
            self.reset(unit)
        except Refusal as refusal:
            if refusal.name != "systemd1.NoSuchUnit":
                raise self._error(f"can't stop the unit {unit}: {refusal.text}") from None

    def reset(self, unit: str) -> None:
        """Forget that a unit failed; one that isn't there is fine. Raises Error."""
        try:
            self._reply(self._send("ResetFailedUnit", MANAGER, "s", (unit,)), "ResetFailedUnit", unit)
        except Refusal as refusal:
            if refusal.name != "systemd1.NoSuchUnit":
                raise self._error(f"can't reset the unit {unit}: {refusal.text}") from None

    def set_properties(self, unit: str, properties: "Iterable[Property]") -> None:
        """Change a unit until it ends, in this order. Raises Refusal, Error."""
        body = (unit, True, list(properties))
        self._reply(self._send("SetUnitProperties", MANAGER, "sba(sv)", body), "SetUnitProperties", unit)

    def properties(self, unit: str) -> "Properties":
        """What a unit has of the properties of its kind, a scope or a slice. Raises Error."""
        kind = unit.rpartition(".")[2].capitalize()
        try:
            path = self._reply(self._send("GetUnit", MANAGER, "s", (unit,)), "GetUnit", unit)[0]
            where = DBusAddress(path, NAME, PROPERTIES.interface)
            asked = self._send("GetAll", where, "s", (f"{NAME}.{kind}",))
            found: "Properties" = self._reply(asked, "GetAll", unit)[0]
        except Refusal as refusal:
            raise self._error(f"can't ask systemd about the unit {unit}: {refusal.text}") from None
        return found

    def wait_until_idle(self) -> None:
        """Wait until systemd has written to the cgroups what it wants to write: it does that before it takes another call.

        Raises Error.
        """
        try:
            self._reply(self._send("Ping", PEER), "Ping")
        except Refusal as refusal:
            raise self._error(f"can't ask systemd: {refusal.text}") from None

    def _connect(self) -> "Any":
        addresses = _addresses(_bus_address(user=self.user))
        reason = "no address of it is a unix socket"
        for address in addresses:
            connection = None
            try:
                connection = sockets.connect(address, patience=int(TIMEOUT_S))
                connection.settimeout(TIMEOUT_S)
                self._authenticate(connection)
                return connection
            except OSError as error:
                reason = f"{address.decode('utf-8', 'replace')}: {cause_of(error).lower()}"
                if connection:
                    connection.close()
        raise self._error(f"can't reach systemd over D-Bus: {reason}")

    def _authenticate(self, connection: "Any") -> None:
        """EXTERNAL, without saying who we are: the socket tells. A uid of ours would be wrong in a user namespace."""
        connection.sendall(b"\0AUTH EXTERNAL\r\nDATA\r\nBEGIN\r\n")
        data = b""
        while True:
            more = connection.recv(4096)
            if not more:
                raise OSError(0, "the bus hung up")
            data += more
            head, found, rest = data.partition(b"OK ")
            if found and b"\r\n" in rest:
                self._parser.add_data(rest.partition(b"\r\n")[2])
                return
            if b"REJECTED" in head or b"ERROR" in head:
                raise OSError(0, f"the bus refused: {head.decode('ascii', 'replace').strip()}")

    def _send(
        self, method: str, address: "Any", signature: "str | None" = None, body: "tuple[Any, ...]" = ()
    ) -> int:
        self._serial += 1
        message = new_method_call(address, method, signature, body)
        try:
            self._socket.sendall(message.serialise(serial=self._serial))
        except OSError as error:
            raise self._error(f"can't send {method} to systemd: {cause_of(error)}") from None
        return self._serial

    def _reply(self, serial: int, method: str, unit: str = "") -> "Any":
        """The answer's values. Raises Refusal, Error."""
        what = f"{method} of {unit}" if unit else method
        deadline = time.monotonic() + TIMEOUT_S
        while serial not in self._replies:
            self._receive(deadline, what)
        message = self._replies.pop(serial)
        if message.header.message_type is MessageType.error:
            text = message.body[0] if message.body and isinstance(message.body[0], str) else "no reason given"
            raise Refusal(message.header.fields[HeaderFields.error_name], text)
        return message.body

    def _await_job(self, job: str, what: str) -> str:
        deadline = time.monotonic() + TIMEOUT_S
        while job not in self._jobs:
            self._receive(deadline, what)
        return self._jobs.pop(job)

    def _receive(self, deadline: float, what: str) -> None:
        """Take one message in. Raises Error if none comes."""
        message = self._parser.get_next_message()
        while message is None:
            self._socket.settimeout(max(deadline - time.monotonic(), 0.001))
            try:
                data = self._socket.recv(65536)
            except TimeoutError:
                raise self._error(f"systemd did not answer within {TIMEOUT_S:.0f} s: {what}") from None
            except OSError as error:
                raise self._error(f"lost the connection to systemd: {what}: {cause_of(error)}") from None
            if not data:
                raise self._error(f"the bus hung up: {what}")
            self._parser.add_data(data)
            message = self._parser.get_next_message()
        fields = message.header.fields
        if message.header.message_type in (MessageType.method_return, MessageType.error):
            self._replies[fields.get(HeaderFields.reply_serial, -1)] = message
        elif fields.get(HeaderFields.member) == "JobRemoved":
            self._jobs[message.body[1]] = message.body[3]

    def _error(self, message: str) -> Error:
        return Error(message, hint=USER_HINT if self.user else None)


def _bus_address(*, user: bool) -> str:
    """The bus's address as D-Bus writes it. Raises Error if this user has none."""
    environment = {name: posix.environ.get(name, b"").decode("utf-8", "surrogateescape") for name in
                   (b"DBUS_SYSTEM_BUS_ADDRESS", b"DBUS_SESSION_BUS_ADDRESS", b"XDG_RUNTIME_DIR")}  # fmt: skip
    if not user:
        return environment[b"DBUS_SYSTEM_BUS_ADDRESS"] or SYSTEM_BUS
    if environment[b"DBUS_SESSION_BUS_ADDRESS"]:
        return environment[b"DBUS_SESSION_BUS_ADDRESS"]
    if environment[b"XDG_RUNTIME_DIR"]:
        return f"unix:path={environment[b'XDG_RUNTIME_DIR']}/bus"
    message = "can't reach systemd over D-Bus: neither DBUS_SESSION_BUS_ADDRESS nor XDG_RUNTIME_DIR is set"
    raise Error(message, hint=USER_HINT)


def _addresses(text: str) -> "list[bytes]":
    """The unix sockets of a D-Bus address: "unix:path=/run/bus,guid=..;unix:abstract=.."."""
    found = []
    for address in text.split(";"):
        transport, _, rest = address.partition(":")
        values = dict(pair.partition("=")[::2] for pair in rest.split(","))
        if transport == "unix" and "path" in values:
            found.append(_unescaped(values["path"]))
        elif transport == "unix" and "abstract" in values:
            found.append(b"\0" + _unescaped(values["abstract"]))
    return found


def _unescaped(value: str) -> bytes:
    first, *others = encode(value).split(b"%")
    try:
        return first + b"".join(bytes([int(part[:2], 16)]) + part[2:] for part in others)
    except ValueError:
        raise Error(f'"{value}" is no address of a bus') from None


def _number(version: str) -> int:
    """252 of "252.39-1~deb12u2" or "v255.4"."""
    digits = version.lstrip("v")
    return int(digits[: len(digits) - len(digits.lstrip("0123456789"))] or 0)
