"""The connections of a consumer: one to each broker, shared by everybody who reads there."""

from __future__ import annotations

import asyncio

from metaq.core.connection import Connection, connect
from metaq.errors import ClosedError


class Ways:
    """Keeps a connection to each address, made anew when it is asked for and there is none that works."""

    def __init__(self) -> None:
        self._open: dict[str, Connection] = {}
        self._dialing: dict[str, asyncio.Lock] = {}
        self._closed = False

    async def to(self, address: str) -> Connection:
        """The connection to host:port. Many may want it at once, and one makes it."""
        lock = self._dialing.setdefault(address, asyncio.Lock())
        async with lock:
            connection = self._open.get(address)
            if connection is None or connection.broken is not None:
                if self._closed:
                    raise ClosedError("the consumer is closed")
                connection = self._open[address] = await connect(address)
            return connection

    async def close(self) -> None:
        """Ends all connections."""
        self._closed = True
        for connection in list(self._open.values()):
            await connection.close()
