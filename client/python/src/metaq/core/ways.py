"""The connections of a consumer: one to each broker, shared by everybody who reads there."""

from __future__ import annotations

import asyncio
from time import monotonic

from metaq.core.connection import Connection, connect
from metaq.errors import ClosedError, ConnectionLostError

_FAILED_FOR = 0.1
"""Seconds for which a broker that could not be reached is not dialed again: all partitions ask for it, each after pauses of its own."""


class Ways:
    """Keeps a connection to each address, made anew when it is asked for and there is none that works."""

    def __init__(self) -> None:
        self._open: dict[str, Connection] = {}
        self._dialing: dict[str, asyncio.Lock] = {}
        self._failed: dict[str, tuple[float, str]] = {}  # when it failed last, and why
        self._closed = False

    async def to(self, address: str) -> Connection:
        """The connection to host:port. Many may want it at once; one makes it, or fails for all."""
        lock = self._dialing.setdefault(address, asyncio.Lock())
        async with lock:
            connection = self._open.get(address)
            if connection is None or connection.broken is not None:
                if self._closed:
                    raise ClosedError()
                when, why = self._failed.get(address, (0.0, ""))
                if why and monotonic() < when + _FAILED_FOR:
                    raise ConnectionLostError(why)
                try:
                    connection = await connect(address)
                except ConnectionLostError as err:
                    self._failed[address] = monotonic(), str(err)
                    raise
                if self._closed:  # meanwhile, and nobody would end this one
                    await connection.close()
                    raise ClosedError()
                self._open[address] = connection
            return connection

    async def close(self) -> None:
        """Ends all connections."""
        self._closed = True
        for connection in list(self._open.values()):
            await connection.close()
