"""Which time-out ZooKeeper grants a session. kazoo reads it from the server's greeting and tells nobody, so it is seen on the connection."""

from __future__ import annotations

import socket
from typing import Callable

_GREETING_SIZE = 12
"""is how much of the answer to the greeting tells the time-out: its length, the version of the protocol, the milliseconds."""


class GreetedSocket(socket.socket):
    """A connection to a server of ZooKeeper, which takes the place of the one that it is made of."""

    def __init__(self, connected: socket.socket, granted: Callable[[float], None]) -> None:
        super().__init__(connected.family, connected.type, connected.proto, fileno=connected.detach())
        self._granted = granted
        self._first = b""

    def recv(self, bufsize: int, flags: int = 0, /) -> bytes:
        data = super().recv(bufsize, flags)
        if len(self._first) < _GREETING_SIZE:
            self._first += data[: _GREETING_SIZE - len(self._first)]
            if len(self._first) == _GREETING_SIZE:
                milliseconds = int.from_bytes(self._first[8:], "big")
                if milliseconds:  # 0: the session is gone
                    self._granted(milliseconds / 1000)
        return data
