"""rtnetlink(7): whoever is root of a network namespace may send to a routing socket there what looks like the kernel's answer."""

from __future__ import annotations

import os
import socket
import struct

import pytest

from pyoci.container import netlink
from pyoci.container.netlink import Netlink

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0, reason="netlink(7) wants CAP_NET_ADMIN of who isn't the kernel"
)
HEADER = struct.Struct("=IHHII")


def forged(kind: int, body: bytes) -> bytes:
    """An answer to a socket's first request."""
    return HEADER.pack(HEADER.size + len(body), kind, 0, 1, 0) + body


@pytest.mark.parametrize(
    "message",
    [
        forged(netlink.ERROR, struct.pack("=i", -1)),
        forged(netlink.DONE, struct.pack("=i", 0)),
        forged(netlink.NEW_LINK, bytes(16) + netlink.attribute(3, b"forged\0")),
        forged(netlink.ERROR, struct.pack("=i", 0)) * 2,
        bytes(HEADER.size),  # its length is 0: reading on would never end
        b"short",
    ],
    ids=["refused", "the end", "a link", "done twice", "without length", "short"],
)
def test_only_the_kernel_is_believed(message: bytes) -> None:
    connection = Netlink()
    connection._socket.bind((0, 0))  # so that it has an address before its first request
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as attacker:
        attacker.sendto(message, (connection._socket.getsockname()[0], 0))
    try:
        links = connection.dump(netlink.GET_LINK, bytes(16))
    finally:
        connection.close()
    names = [netlink.attributes(link[16:])[3] for link in links]
    assert b"lo\0" in names
    assert b"forged\0" not in names
