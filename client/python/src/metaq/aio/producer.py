"""The producer for asyncio."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Generator
from types import TracebackType
from typing import Any, Callable, Optional, Union

from metaq.core.producing import ProducerOptions, Producing
from metaq.core.sending import Sending, data_of, partition_of
from metaq.errors import ClosedError, TimedOutError
from metaq.model import Body, Partition, Receipt, Selector
from metaq.protocol import check_topic
from metaq.selector import round_robin

log = logging.getLogger("metaq.producer")


class Delivery(Sending):
    """A message that was accepted by send_async. Awaiting it yields the receipt, or raises what has become of the message."""

    __slots__ = ("_callbacks", "_done", "_future")

    def __init__(self, topic: str, data: bytes, key: Optional[str], attribute: str, partition: Optional[Partition]) -> None:
        super().__init__(topic, data, key, attribute, partition)
        self._done = False
        self._future: Optional[asyncio.Future[None]] = None
        self._callbacks: list[Callable[[Delivery], object]] = []

    def done(self) -> bool:
        """Whether it is stored, or has failed for good."""
        return self._done

    def result(self) -> Receipt:
        """The receipt, once it is done; before, asyncio.InvalidStateError."""
        if not self._done:
            raise asyncio.InvalidStateError("the message is not acknowledged yet")
        return self.receipt()

    def exception(self) -> Optional[BaseException]:
        """The error, None if the message is stored; before it is done asyncio.InvalidStateError."""
        if not self._done:
            raise asyncio.InvalidStateError("the message is not acknowledged yet")
        return self.error

    def add_done_callback(self, fn: Callable[[Delivery], object]) -> None:
        """Has a function called with this delivery once it is done, on the loop."""
        if self._done:
            asyncio.get_running_loop().call_soon(fn, self)
        else:
            self._callbacks.append(fn)

    def __await__(self) -> Generator[Any, None, Receipt]:
        if not self._done:
            if self._future is None:
                self._future = asyncio.get_running_loop().create_future()
            yield from asyncio.shield(self._future).__await__()
        return self.receipt()

    def settled(self) -> None:
        """Tells whoever waits."""
        self._done = True
        if self._future is not None:
            self._future.set_result(None)
        for fn in self._callbacks:
            asyncio.get_running_loop().call_soon(fn, self)


class Producer:
    """Sends messages; see metaq.Producer for the settings. It is for one event loop.

    async with Producer("127.0.0.1:8123") as producer:
        receipt = await producer.send("orders", b"hello")
    """

    def __init__(
        self,
        address: str,
        *,
        selector: Optional[Selector] = None,
        window: int = 4096,
        buffer_messages: int = 1 << 16,
        buffer_bytes: int = 64 << 20,
        retry_for: float = 30.0,
        timeout: float = 5.0,
    ) -> None:
        self._options = ProducerOptions(selector or round_robin(), window, buffer_messages, buffer_bytes, retry_for, timeout)
        self._messages = 0  # accepted and not finished
        self._bytes = 0
        self._inbox: list[Sending] = []  # accepted in this turn of the loop
        self._waiting: deque[asyncio.Future[None]] = deque()  # for room
        self._closing = False
        self._loop = asyncio.get_running_loop()
        self._core = Producing(address, self._options, self._finished)

    async def send(
        self,
        topic: str,
        body: Body,
        *,
        key: Optional[str] = None,
        attribute: str = "",
        partition: Union[Partition, int, None] = None,
        timeout: Optional[float] = None,
    ) -> Receipt:
        """Stores a message and waits until the broker has acknowledged it. When the timeout is over first (TimedOutError), the message may be
        stored all the same."""

        async def send() -> Receipt:
            return await (await self.send_async(topic, body, key=key, attribute=attribute, partition=partition))

        if timeout is None:
            return await send()
        try:
            return await asyncio.wait_for(send(), timeout)
        except asyncio.TimeoutError as err:
            if isinstance(err, TimedOutError):
                raise
            raise TimedOutError(f"not acknowledged within {timeout:g} s; it may be stored all the same") from None

    async def send_async(
        self,
        topic: str,
        body: Body,
        *,
        key: Optional[str] = None,
        attribute: str = "",
        partition: Union[Partition, int, None] = None,
    ) -> Delivery:
        """Accepts a message, once there is room in the buffer, and returns; awaiting what it returns yields the receipt."""
        delivery = Delivery(check_topic(topic), data_of(body, attribute, self._options.buffer_bytes), key, attribute, partition_of(partition))
        size = len(delivery.data)
        while not self._closing and not self._room(size):
            waiter = self._loop.create_future()
            self._waiting.append(waiter)
            try:
                await waiter
            except asyncio.CancelledError:
                self._next()  # who waits behind it is not left alone
                raise
        if self._closing:
            raise ClosedError("the producer is closed")
        self._messages += 1
        self._bytes += size
        self._inbox.append(delivery)
        if len(self._inbox) == 1:
            self._loop.call_soon(self._drain)
        if self._room(0):
            self._next()
        return delivery

    def _room(self, size: int) -> bool:
        return self._messages < self._options.buffer_messages and self._bytes + size <= self._options.buffer_bytes

    def _next(self) -> None:
        """Lets one more look for room."""
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return

    def _drain(self) -> None:
        accepted, self._inbox = self._inbox, []
        if accepted:
            self._core.submit(accepted)

    def _finished(self, messages: int, size: int) -> None:
        self._messages -= messages
        self._bytes -= size
        self._next()

    async def flush(self) -> None:
        """Waits until everything that was accepted so far is stored or has failed."""
        self._drain()
        await self._core.flush()

    async def close(self, timeout: Optional[float] = None) -> None:
        """Sends what was accepted, waits until all of it is stored or has failed, and ends the producer. When the time is over, what is left fails with
        ClosedError, and TimedOutError is raised."""
        if self._closing:
            return
        self._closing = True
        for waiter in self._waiting:
            if not waiter.done():
                waiter.set_result(None)
        self._drain()
        if not await self._core.close(timeout):
            raise TimedOutError(f"not everything was sent within {timeout:g} s")

    async def __aenter__(self) -> Producer:
        return self

    async def __aexit__(self, kind: Optional[type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]) -> None:
        await self.close()
