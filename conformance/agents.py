"""A seccomp agent: it takes the listeners of filters with SCMP_ACT_NOTIFY and answers for the kernel, seccomp_unotify(2)."""

from __future__ import annotations

import array
import fcntl
import json
import os
import select
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

# linux/seccomp.h: struct seccomp_notif and seccomp_notif_resp, and the requests _IOWR('!', 0 and 1, those).
NOTIFICATION = struct.Struct("=QIIiIQ6Q")
RESPONSE = struct.Struct("=QqiI")
RECEIVE = 3 << 30 | NOTIFICATION.size << 16 | ord("!") << 8 | 0
SEND = 3 << 30 | RESPONSE.size << 16 | ord("!") << 8 | 1
CONTINUE = 1


class Agent:
    """It listens at `path` and answers each call by `decide`.

    Attributes:
        states: each connection's bytes up to its end, as JSON.
        descriptors: how many came along with each.
        calls: the numbers of the calls that were asked about.
    """

    def __init__(self, path: Path, decide: Callable[[int], int | None]) -> None:
        self.path, self.decide = path, decide
        self.states: list[dict[str, Any]] = []
        self.descriptors: list[int] = []
        self.calls: list[int] = []
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.bind(str(path))
        self._socket.listen()
        self._wake, self._stop = os.pipe()
        self._thread = threading.Thread(target=self._serve)

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()

    def stop(self) -> None:
        """End, and whoever still waits for an answer gets ENOSYS from the kernel."""
        os.close(self._stop)
        if self._thread.ident:
            self._thread.join()
        self._socket.close()
        os.close(self._wake)

    def _serve(self) -> None:
        listeners: list[int] = []
        while True:
            ready, _, _ = select.select([self._wake, self._socket, *listeners], [], [])
            if self._wake in ready:
                break
            if self._socket in ready:
                listeners += self._accept()
            for listener in [each for each in listeners if each in ready]:
                if not self._answer(listener):
                    listeners.remove(listener)
                    os.close(listener)
        for listener in listeners:
            os.close(listener)

    def _accept(self) -> list[int]:
        connection, _ = self._socket.accept()
        received, data = array.array("i"), b""
        with connection:
            while True:
                part, control, _, _ = connection.recvmsg(65536, socket.CMSG_SPACE(64))
                for level, kind, payload in control:
                    if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                        received.frombytes(payload)
                if not part:
                    break
                data += part
        self.states.append(json.loads(data))
        self.descriptors.append(len(received))
        return list(received)

    def _answer(self, listener: int) -> bool:
        """Answer one call. False when nobody can ask any more."""
        if _is_hung_up(listener):
            # Linux 6.1 would wait for ever for one.
            return False
        asked = bytearray(NOTIFICATION.size)
        try:
            fcntl.ioctl(listener, RECEIVE, asked)
        except FileNotFoundError:  # who asked was killed meanwhile
            return not _is_hung_up(listener)
        identity, _, _, number, *_ = NOTIFICATION.unpack(asked)
        self.calls.append(number)
        error = self.decide(number)
        answer = (0, 0, CONTINUE) if error is None else (0, -error, 0)
        try:
            fcntl.ioctl(listener, SEND, RESPONSE.pack(identity, *answer))
        except FileNotFoundError:
            pass
        return True


def _is_hung_up(listener: int) -> bool:
    poll = select.poll()
    poll.register(listener)
    return any(events & select.POLLHUP and not events & select.POLLIN for _, events in poll.poll(0))


@contextmanager
def agent(path: Path, decide: Callable[[int], int | None]) -> Iterator[Agent]:
    """An agent that answers for as long as the block lasts.

    Arguments:
        path: of its socket.
        decide: gets a system call's number; None lets the call go on, a number is the errno that it fails with.
    """
    made = Agent(path, decide)
    made.start()
    try:
        yield made
    finally:
        made.stop()
