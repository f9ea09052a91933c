"""The consumer for asyncio."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Generator, Iterable, Sequence
from time import monotonic
from types import TracebackType
from typing import Callable, Optional, Union

from metaq.core.batch import Batch, Hands
from metaq.core.consuming import ConsumerOptions, Consuming, Revoked
from metaq.core.handling import Handling
from metaq.core.options import Retry
from metaq.core.sending import partition_of
from metaq.model import Message, Offset, OffsetStore, Partition, Position, TopicPartition, position_of


class Consumer:
    """Reads topics for a group; see metaq.Consumer for the settings. It is for one event loop.

        async with Consumer("127.0.0.1:8123", "billing", ["orders"]) as consumer:
            async for message in consumer:
                print(message.partition, message.offset, message.body)

    A message is done when the next one is asked for. One task iterates at a time; `run` has tasks of its own."""

    def __init__(
        self,
        address: str,
        group: str,
        topics: Sequence[str],
        *,
        start: Position = "earliest",
        fetch_size: int = 1 << 20,
        wait: float = 5.0,
        commit_every: float = 5.0,
        offsets: Optional[OffsetStore] = None,
        broadcast: bool = False,
        consumer_id: Optional[str] = None,
        assignment: str = "ranges",
        manual: bool = False,
        on_revoked: Optional[Revoked] = None,
    ) -> None:
        options = ConsumerOptions(start, fetch_size, wait, commit_every, offsets, broadcast, consumer_id, assignment, manual, on_revoked)
        loop = asyncio.get_running_loop()
        self._ready: set[asyncio.Future[None]] = set()  # of tasks that wait for a batch
        self._hands = Hands(self._wake, lambda fn: fn())
        self._each: Optional[Generator[Message, None, None]] = None  # of the batch that is iterated
        self._loop = loop
        self._core = Consuming(address, group, topics, options, self._hands)
        self._closed = False

    def _wake(self) -> None:
        for waiter in self._ready:
            if not waiter.done():
                waiter.set_result(None)

    # Handing over.

    def __aiter__(self) -> Consumer:
        return self

    async def __anext__(self) -> Message:
        """Waits for the next message. The iteration ends when the consumer is stopped or closed; an error that a retry cannot mend is raised."""
        message = await self._advance(None)
        if message is None:
            raise StopAsyncIteration
        return message

    async def poll(self, timeout: float) -> Optional[Message]:
        """The next message, None if none comes within the timeout or the consumer is stopped. The one before is done."""
        return await self._advance(monotonic() + timeout)

    async def _advance(self, until: Optional[float]) -> Optional[Message]:
        while True:
            if self._each is not None:
                for message in self._each:
                    return message
                self._each = None
            batch = await self._take(until)
            if batch is None:
                return None
            self._each = batch.each()

    async def _take(self, until: Optional[float], ending: Optional[asyncio.Event] = None) -> Optional[Batch]:
        """Waits for a batch. None when the consumer is stopped, the time is over, or whoever waits is to end."""
        self._core.start()
        await asyncio.sleep(0)  # a program that never waits would leave no time for anything else
        hands = self._hands
        while True:
            if hands.stopped:
                if hands.fatal is not None:
                    raise hands.fatal
                return None
            if ending is not None and ending.is_set():
                return None
            batch, wait = hands.take()
            if batch is not None:
                return batch
            if until is not None:
                left = until - monotonic()
                if left <= 0:
                    return None
                wait = left if wait is None else min(wait, left)
            waiter = self._loop.create_future()
            self._ready.add(waiter)
            try:
                await asyncio.wait([waiter], timeout=wait)
            finally:
                self._ready.discard(waiter)

    async def run(
        self,
        handler: Callable[[Message], object],
        *,
        workers: int = 1,
        retry: Optional[Retry] = None,
        dead: Optional[Callable[[Message, Exception], object]] = None,
    ) -> None:
        """Calls a handler, a coroutine function or a plain one, for each message until the consumer is stopped or closed. A message is done when the handler
        has returned. With several workers messages of so many partitions are handled at the same time, each in a task; of each partition it is one at a time,
        in order.

        When the handler fails and there is a `retry`, or a `dead` handler, it gets the message again after pauses; its partition waits, others go on. Then
        the dead handler gets it, with the error, and it counts as done. Without a dead handler the error is raised here; the message comes again."""
        handling = Handling(retry, dead, workers)
        ending = asyncio.Event()
        tasks = [self._loop.create_task(self._work(handler, handling, ending)) for _ in range(workers)]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            ending.set()  # one that ends has a reason that is one for all
            self._wake()
            await asyncio.wait(tasks)  # what is in hand is finished
            for task in [*done, *tasks]:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _work(self, handler: Callable[[Message], object], handling: Handling, ending: asyncio.Event) -> None:
        """Handles one batch after the other."""
        while not ending.is_set():
            batch = await self._take(None, ending)
            if batch is None:
                return
            each = batch.each()
            try:
                for message in each:
                    if ending.is_set() or not await self._handle(handler, handling, batch, message):
                        break
            finally:
                each.close()  # puts down what is not done

    async def _handle(self, handler: Callable[[Message], object], handling: Handling, batch: Batch, message: Message) -> bool:
        """Whether a message is done."""
        try:
            await _called(handler(message))
            return True
        except Exception as err:
            if not handling.failed(batch, message, err):
                return False
            if handling.dead is None:
                raise
            try:
                await _called(handling.dead(message, err))
                return True
            except Exception as again:
                handling.dead_failed(batch, message, again)
                return False

    # Offsets and places.

    async def commit(self, message: Optional[Message] = None) -> None:
        """Keeps how far the group has come, and waits until that is done. With a message that one is done as well."""
        if message is not None:
            self.done(message)
        await self._core.commit()

    def done(self, message: Message) -> bool:
        """Says that a message, and everything before it in its partition, is done. False if the partition is another member's by now."""
        return self.set_position(TopicPartition(message.topic, message.partition), Offset(message.next_offset, message.id))

    def set_position(self, place: TopicPartition, offset: Offset) -> bool:
        """Sets where the group goes on after a restart, and changes nothing of what is handed over. False if the partition is another member's by now."""
        return self._core.done(place, offset)

    def positions(self) -> dict[TopicPartition, Offset]:
        """Where the group goes on in the partitions that are read. Those where that is not known yet are left out."""
        return self._core.positions()

    def assigned(self) -> set[TopicPartition]:
        """The partitions that are read."""
        return set(self._core.readers)

    async def seek(self, position: Position, topic: Optional[str] = None, partition: Union[Partition, int, None] = None) -> int:
        """Goes on elsewhere: "earliest", "latest", an offset, or a datetime. In all partitions that are read, or those of a topic, or one. It tells in how
        many, once it is known where that is. TimedOutError: brokers of some are away, and those go there later."""
        return await self._core.seek(position_of(position), topic, partition_of(partition))

    def pause(self, places: Iterable[TopicPartition]) -> None:
        """Hands over nothing of some partitions until `resume`."""
        self._core.pause(places, True)

    def resume(self, places: Iterable[TopicPartition]) -> None:
        """Goes on with partitions that were paused."""
        self._core.pause(places, False)

    # The end.

    def stop(self) -> None:
        """Ends iterations and `run` once what is in hand is done."""
        self._hands.stop()

    async def close(self) -> None:
        """Commits what is done and ends the consumer. A member of a group gives up its partitions first: it waits until messages in the hands of other
        tasks are done, at most for the time-out of the session."""
        if self._closed:
            return
        self._closed = True
        if self._each is not None:
            self._each.close()
            self._each = None
        await self._core.close()

    async def __aenter__(self) -> Consumer:
        return self

    async def __aexit__(self, kind: Optional[type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]) -> None:
        await self.close()


async def _called(result: object) -> None:
    if inspect.isawaitable(result):
        await result
