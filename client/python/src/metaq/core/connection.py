"""One connection to a broker. Requests are pipelined on it and their answers matched by opaque. It does not reconnect: after an error all
requests fail with it."""

from __future__ import annotations

import asyncio
import socket
from typing import Callable, Optional

from metaq.errors import ClosedError, ConnectionLostError, MetaQError, ProtocolError, UsageError, from_status
from metaq.protocol import NO_OPAQUE, OK, VALUE, Answers

DIAL_TIMEOUT = 3.0
"""Seconds within which a connection has to be there."""

# Bytes that wait for the socket before writers are told to pause, and those at which they may go on.
_WRITE_HIGH, _WRITE_LOW = 1 << 20, 1 << 18

Take = Callable[[int, bytes, Optional[MetaQError]], None]
"""Takes the end of a request: status and body, or an error."""


def split_address(address: str) -> tuple[str, int]:
    """Host and port of `host:port` or `[::1]:port`."""
    host, colon, port = address.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    if not colon or not host or not (port.isascii() and port.isdecimal()) or not 0 < int(port) < 65536:
        raise UsageError(f"the address {address!r}: it is host:port, for example 127.0.0.1:8123, or zk://host:2181 for a cluster")
    return host, int(port)


class Connection(asyncio.Protocol):
    """Use `connect`. `after` is called when the answers that came together have been taken, and when the connection is lost."""

    def __init__(self, address: str, after: Optional[Callable[[], None]] = None) -> None:
        self.address = address
        self.broken: Optional[MetaQError] = None
        self.pending: dict[int, Take] = {}
        self.after = after
        self._answers = Answers()
        self._opaque = 0
        self._transport: Optional[asyncio.Transport] = None
        self._full = False
        self._drained: Optional[asyncio.Future[None]] = None
        self._ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    # Of the transport.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.set_write_buffer_limits(_WRITE_HIGH, _WRITE_LOW)
        sock = transport.get_extra_info("socket")
        if sock is not None:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def data_received(self, data: bytes) -> None:
        try:
            found = self._answers.feed(data)
        except ProtocolError as err:
            self.fail(err)
            return
        pop = self.pending.pop
        for opaque, status, body in found:
            take = pop(opaque, None)
            if take is not None:  # otherwise nobody waits for it any more
                take(status, body, None)
        if self.after is not None:
            self.after()

    def eof_received(self) -> None:
        self.fail(ConnectionLostError(f"the broker at {self.address} closed the connection"))

    def connection_lost(self, exc: Optional[Exception]) -> None:
        self.fail(ConnectionLostError(f"the connection to {self.address} broke: {exc or 'closed'}"))
        if not self._ended.done():
            self._ended.set_result(None)

    def pause_writing(self) -> None:
        self._full = True

    def resume_writing(self) -> None:
        self._full = False
        self._wake()

    # Of the users.

    def next_opaque(self) -> int:
        """An opaque for the next request."""
        self._opaque = self._opaque + 1 if self._opaque < NO_OPAQUE - 1 else 1
        return self._opaque

    def write(self, data: bytes) -> None:
        """Sends requests whose ends are in `pending`."""
        if self._transport is not None and self.broken is None:
            self._transport.write(data)

    async def drained(self) -> None:
        """Waits until the socket takes more, or the connection is broken."""
        while self._full and self.broken is None:
            if self._drained is None:
                self._drained = asyncio.get_running_loop().create_future()
            await asyncio.shield(self._drained)

    def _wake(self) -> None:
        if self._drained is not None:
            self._drained.set_result(None)
            self._drained = None

    async def call(self, encode: Callable[[int], bytes], timeout: float = DIAL_TIMEOUT) -> bytes:
        """Sends a request and waits for its answer. StatusError if it is not what was asked for. A broker that says nothing counts as lost."""
        if self.broken is not None:
            raise self.broken
        answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

        def take(status: int, body: bytes, error: Optional[MetaQError]) -> None:
            if answer.done():
                return
            if error is not None:
                answer.set_exception(error)
            elif status in (OK, VALUE):
                answer.set_result(body)
            else:
                answer.set_exception(from_status(status, body.decode(errors="replace")))

        def expire() -> None:
            self.fail(ConnectionLostError(f"no answer from the broker at {self.address} for {timeout:g} s"))

        # asyncio.wait_for of Python 3.11 and earlier forgets that its task was cancelled when the answer comes at the same moment.
        timer = asyncio.get_running_loop().call_later(timeout, expire)
        opaque = self.next_opaque()
        self.pending[opaque] = take
        self.write(encode(opaque))
        try:
            return await answer
        finally:
            timer.cancel()

    def fail(self, error: MetaQError) -> None:
        """Breaks the connection and ends all requests, in the order in which they were sent."""
        if self.broken is not None:
            return
        self.broken = error
        if self._transport is not None:
            self._transport.abort()
        pending, self.pending = self.pending, {}
        self._wake()
        for take in pending.values():
            take(0, b"", error)
        if self.after is not None:
            self.after()

    async def close(self) -> None:
        """Ends it. Requests that wait fail with ClosedError."""
        self.fail(ClosedError("the connection is closed"))
        await self._ended


async def connect(address: str, after: Optional[Callable[[], None]] = None, timeout: float = DIAL_TIMEOUT) -> Connection:
    """Connects to a broker at host:port."""
    host, port = split_address(address)
    made: list[Connection] = []

    def make() -> Connection:
        made.append(Connection(address, after))
        return made[0]

    dialing = asyncio.ensure_future(asyncio.get_running_loop().create_connection(make, host, port))
    try:
        done, _ = await asyncio.wait([dialing], timeout=timeout)
        if not done:
            raise ConnectionLostError(f"no connection to {address} within {timeout:g} s")
        _, connection = dialing.result()
        return connection
    except (OSError, RuntimeError, ValueError) as err:
        # RuntimeError: a name cannot be looked up while the interpreter is ending. ValueError: it is no name at all.
        if isinstance(err, ConnectionLostError):
            raise
        raise ConnectionLostError(f"no connection to {address}: {err}") from err
    except asyncio.CancelledError:
        for connection in made:
            connection.fail(ClosedError("the connection is closed"))
        raise
    finally:
        dialing.cancel()
