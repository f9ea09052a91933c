"""The way to one broker."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from itertools import islice
from time import monotonic
from typing import TYPE_CHECKING, Optional

from metaq import protocol
from metaq.core.backoff import Backoff
from metaq.core.breaker import SLOW_AFTER, Breaker
from metaq.core.connection import Connection, connect
from metaq.core.sending import Sending
from metaq.errors import ClosedError, ConnectionLostError, MetaQError, NoBrokerError, retriable

if TYPE_CHECKING:
    from metaq.core.producing import Producing

log = logging.getLogger("metaq.producer")

_PIECE = 512 << 10  # bytes that are encoded before they are written


class Lane:
    """Takes messages in the order in which they came and pipelines them; nothing is overtaken but by a retry: when the broker refuses a message for a while
    (503), later ones that are already under way may be stored before it. After a broken connection everything unanswered is sent again, in order."""

    def __init__(self, producing: Producing, broker: int, address: str, breaker: Optional[Breaker]) -> None:
        self.producing = producing
        self.broker = broker
        self.address = address
        self.breaker = breaker  # None for a broker that stands alone
        self.queue: deque[Sending] = deque()
        self.failed: list[Sending] = []  # to be sent again, once nothing is in flight
        self.in_flight = 0
        self.stored = 0  # since `after` was called
        self.stored_bytes = 0
        self.heard = 0.0  # when the last try ended, or the first began
        self.connection: Optional[Connection] = None
        self.wake = asyncio.Event()
        self._backoff = Backoff()
        self.task = asyncio.get_running_loop().create_task(self._run())

    def enqueue(self, sending: Sending) -> None:
        """Puts a message at the end."""
        self.queue.append(sending)
        self.wake.set()

    async def _run(self) -> None:
        producing = self.producing
        try:
            while True:
                if self.failed and self.in_flight == 0:
                    self.failed.sort(key=lambda s: s.seq)
                    self.queue.extendleft(reversed(self.failed))
                    self.failed = []
                    await asyncio.sleep(self._backoff.pause())
                elif not self.failed and self.queue and self.in_flight < producing.options.window:
                    await self._send(min(producing.options.window - self.in_flight, len(self.queue)))
                else:
                    self.wake.clear()
                    await self.wake.wait()
        finally:
            closed = ClosedError("the producer is closed")
            if self.connection is not None:
                self.connection.fail(closed)
            for sending in [*self.failed, *self.queue]:
                producing.settle(sending, closed)
            self.failed, self.queue = [], deque()

    async def _send(self, count: int) -> None:
        """Puts some messages on their way over one connection. After the first failure the rest of them fails as well: were it sent over a
        new connection, it would overtake what failed."""
        producing = self.producing
        try:
            connection = await self._connected()
            if producing.alone:
                for topic in {s.topic for s in islice(self.queue, count) if not s.chosen}:
                    await producing.ask_partitions(connection, topic)
            # Nothing would ever end what is sent over one that broke on the way here.
            connection = await self._connected()
        except MetaQError as err:
            for sending in [self.queue.popleft() for _ in range(min(count, len(self.queue)))]:
                self.in_flight += 1
                sending.lane, sending.began = self, monotonic()
                sending.landed(0, b"", err)
            return
        now = monotonic()
        if self.in_flight == 0:
            self.heard = now
        producing.busy.set()
        pieces: list[bytes] = []
        size = 0
        pending, take, put = connection.pending, self.queue.popleft, protocol.put
        for _ in range(min(count, len(self.queue))):
            sending = take()
            if not sending.chosen:
                try:
                    producing.choose(sending)
                except Exception as err:
                    producing.misled(sending, err)
                    continue
            sending.lane, sending.began = self, now
            opaque = connection.next_opaque()
            pending[opaque] = sending.landed
            self.in_flight += 1
            partition = sending.partition
            piece = put(sending.topic, partition[1] if partition is not None else -1, sending.flag, sending.data, opaque)
            pieces.append(piece)
            size += len(piece)
            if size >= _PIECE:
                break
        connection.write(b"".join(pieces))
        # Answers are looked at now, so that a deep queue does not keep them waiting.
        await asyncio.sleep(0)
        await connection.drained()

    async def _connected(self) -> Connection:
        """The connection, made anew if there is none. That the last one broke is an error once: what was in flight on it has to be sent again
        before anything else."""
        if self.connection is not None:
            if self.connection.address != self.address:
                # Whoever is there yet, and takes messages, is not the broker that others read from.
                self.connection.fail(ConnectionLostError(f"it is at {self.address} now"))
            broken = self.connection.broken
            if broken is None:
                return self.connection
            log.warning("broker %d: %s", self.broker, broken)
            self.connection = None
            raise broken
        if not self.address:
            raise NoBrokerError(f"the address of broker {self.broker} is not known")
        self.connection = await connect(self.address, self.after)
        return self.connection

    def after(self) -> None:
        """Sees to what follows from answers."""
        self.heard = monotonic()
        if self.stored:
            self._backoff.reset()
            self.producing.finished(self.stored, self.stored_bytes)
            self.stored = self.stored_bytes = 0
        self.wake.set()

    def fell(self, sending: Sending, error: MetaQError) -> None:
        """Takes a try that has failed."""
        producing = self.producing
        if self.breaker is not None:
            self.breaker.ended(not retriable(error))
        if isinstance(error, ClosedError) or monotonic() >= sending.give_up or not producing.again(self, sending, error):
            producing.settle(sending, error)
        self.wake.set()

    def look(self, now: float) -> None:
        """Looks for a broker that says nothing although something is on its way there."""
        if self.in_flight == 0 or self.connection is None:
            return
        silent = now - self.heard
        dead = silent >= self.producing.options.timeout
        if self.breaker is not None and silent >= SLOW_AFTER:
            # Whatever tries it after a while is not kept waiting as long as the first ones.
            dead = self.breaker.state == "half-open" or dead
            self.breaker.trip()
            self.producing.move_queue(self)
        if dead:
            self.connection.fail(ConnectionLostError(f"no answer from the broker at {self.address} for {silent:.1f} s"))
