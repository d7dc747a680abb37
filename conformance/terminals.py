"""The other end of a program's terminal."""

import array
import os
import select
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

TIMEOUT_S = 20.0


def read_until(fd: int, wanted: bytes) -> bytes:
    """What comes from a terminal until it has said this."""
    data, deadline = b"", time.monotonic() + TIMEOUT_S
    while wanted not in data:
        assert time.monotonic() < deadline, f"{wanted!r} did not come: {data!r}"
        if select.select([fd], [], [], 0.1)[0]:
            data += os.read(fd, 4096)
    return data


@contextmanager
def listening(path: Path) -> Iterator[socket.socket]:
    """A unix socket that listens at a path, which may be longer than its address can be (107 bytes, unix(7))."""
    directory = os.open(path.parent, os.O_PATH)
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
            listener.bind(f"/proc/self/fd/{directory}/new")
            listener.listen()
            os.rename("new", path.name, src_dir_fd=directory, dst_dir_fd=directory)
            yield listener
    finally:
        os.close(directory)


def taken(listener: socket.socket) -> int:
    """The descriptor (a terminal, say) that a runtime sends."""
    connection, _ = listener.accept()
    with connection:
        _, control, _, _ = connection.recvmsg(4096, socket.CMSG_SPACE(4))
    (terminal,) = array.array("i", control[0][2])
    return int(terminal)
