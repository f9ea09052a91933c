"""The blocking consumer."""

from __future__ import annotations

import logging
import threading
from collections.abc import Generator, Iterable, Sequence
from time import monotonic
from types import TracebackType
from typing import Callable, Optional, Union

from metaq.core.batch import Batch, Hands
from metaq.core.consuming import ConsumerOptions, Consuming, Revoked
from metaq.core.handling import Handling
from metaq.core.options import Retry
from metaq.core.sending import partition_of
from metaq.core.thread import LoopThread, made
from metaq.model import Message, Offset, OffsetStore, Partition, Position, TopicPartition, position_of

log = logging.getLogger("metaq.consumer")


class Consumer:
    """Reads topics for a group, from a broker at host:port or from a cluster: zk://host:2181,host:2181[/chroot][?root=/meta]. Against a broker that stands
    alone a group is one process; in a cluster its members share the partitions, whether they are written in Python, Go or Java.

        with Consumer("127.0.0.1:8123", "billing", ["orders"]) as consumer:
            for message in consumer:
                print(message.partition, message.offset, message.body)

    A message is done when the next one is asked for. What is done is committed every few seconds and by `close`; what is not comes again. Messages of a
    partition come in order. One thread iterates at a time; `run` has threads of its own.

    start          where a group begins that has no offset yet: "earliest", "latest", an offset or a datetime
    fetch_size     bytes that are asked for at once; up to twice as many a partition wait in the consumer
    wait           seconds that a broker waits for a message before it answers that there is none
    commit_every   seconds between commits; 0: only by commit and close
    offsets        where offsets are kept; by default on the broker, in a cluster in ZooKeeper
    broadcast      in a cluster: read every partition, whoever else is in the group. It takes `offsets` of its own, a FileOffsets for example
    consumer_id    a name in the group that no other member has; by default one is made
    assignment     how partitions are dealt out in a cluster, "ranges" or "hash"; it has to be the same for all members
    manual         what is handed over is not done until `done` says so
    on_revoked     called with partitions that go to another member, before how far they came is saved; it must not block
    """

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
        self._ready = threading.Condition()
        self._thread = LoopThread("metaq-consumer")
        self._hands = Hands(self._wake, self._thread.soon)
        self._each: Optional[Generator[Message, None, None]] = None  # of the batch that is iterated
        self._iterating = 0  # the thread that has a message of it
        self._started = False
        try:
            self._core = self._thread.call(made(lambda: Consuming(address, group, topics, options, self._hands)))
        except BaseException:
            self._thread.stop()
            raise

    def _wake(self) -> None:
        with self._ready:
            self._ready.notify_all()

    # Handing over.

    def __iter__(self) -> Consumer:
        return self

    def __next__(self) -> Message:
        """Waits for the next message. The iteration ends when the consumer is stopped or closed; an error that a retry cannot mend is raised."""
        message = self._advance(None)
        if message is None:
            raise StopIteration
        return message

    def poll(self, timeout: float) -> Optional[Message]:
        """The next message, None if none comes within the timeout or the consumer is stopped. The one before is done."""
        return self._advance(monotonic() + timeout)

    def _advance(self, until: Optional[float]) -> Optional[Message]:
        while True:
            if self._each is not None:
                for message in self._each:
                    return message
                self._each = None
            batch = self._take(until)
            if batch is None:
                return None
            self._iterating = threading.get_ident()
            self._each = batch.each()

    def _take(self, until: Optional[float]) -> Optional[Batch]:
        """Waits for a batch. None when the consumer is stopped, or the time is over."""
        if self._thread.forked:
            self._thread.check()
        if not self._started:
            self._started = True
            self._thread.soon(self._core.start)
        hands = self._hands
        with self._ready:
            while True:
                if hands.stopped:
                    if hands.fatal is not None:
                        raise hands.fatal
                    return None
                batch, wait = hands.take()
                if batch is not None:
                    return batch
                if until is not None:
                    left = until - monotonic()
                    if left <= 0:
                        return None
                    wait = left if wait is None else min(wait, left)
                self._ready.wait(wait)

    def run(
        self,
        handler: Callable[[Message], object],
        *,
        workers: int = 1,
        retry: Optional[Retry] = None,
        dead: Optional[Callable[[Message, Exception], object]] = None,
    ) -> None:
        """Calls a handler for each message until the consumer is stopped or closed. A message is done when the handler has returned. With several workers
        messages of so many partitions are handled at the same time, each in a thread; of each partition it is one at a time, in order.

        When the handler fails and there is a `retry`, or a `dead` handler, it gets the message again after pauses; its partition waits, others go on. Then
        the dead handler gets it, with the error, and it counts as done. Without a dead handler the error is raised here; the message comes again."""
        handling = Handling(retry, dead, workers)
        if workers == 1:
            self._work(handler, handling, lambda: False)
            return
        failures: list[BaseException] = []
        ending = threading.Event()

        def work() -> None:
            try:
                self._work(handler, handling, ending.is_set)
            except BaseException as err:
                failures.append(err)
            finally:
                ending.set()  # one that ends has a reason that is one for all
                self._wake()

        threads = [threading.Thread(target=work, name=f"metaq-worker-{n}", daemon=True) for n in range(workers)]
        for thread in threads:
            thread.start()
        try:
            ending.wait()
        finally:  # also when this thread is interrupted: what is in hand is finished
            ending.set()
            self._wake()
            for thread in threads:
                thread.join()
        if failures:
            raise failures[0]

    def _work(self, handler: Callable[[Message], object], handling: Handling, ending: Callable[[], bool]) -> None:
        """Handles one batch after the other."""
        while not ending():
            batch = self._take(monotonic() + 1.0)
            if batch is None:
                if self._hands.stopped:
                    return
                continue
            each = batch.each()
            try:
                for message in each:
                    if ending() or not self._handle(handler, handling, batch, message):
                        break
            finally:
                each.close()  # puts down what is not done

    def _handle(self, handler: Callable[[Message], object], handling: Handling, batch: Batch, message: Message) -> bool:
        """Whether a message is done."""
        try:
            handler(message)
            return True
        except Exception as err:
            if not handling.failed(batch, message, err):
                return False
            if handling.dead is None:
                raise
            try:
                handling.dead(message, err)
                return True
            except Exception as again:
                handling.dead_failed(batch, message, again)
                return False

    # Offsets and places.

    def commit(self, message: Optional[Message] = None) -> None:
        """Keeps how far the group has come, and waits until that is done. With a message that one is done as well."""
        if message is not None:
            self.done(message)
        self._thread.call(self._core.commit())

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

    def seek(self, position: Position, topic: Optional[str] = None, partition: Union[Partition, int, None] = None) -> int:
        """Goes on elsewhere: "earliest", "latest", an offset, or a datetime. In all partitions that are read, or those of a topic, or one. It tells in how
        many, once it is known where that is. TimedOutError: brokers of some are away, and those go there later."""
        return self._thread.call(self._core.seek(position_of(position), topic, partition_of(partition)))

    def pause(self, places: Iterable[TopicPartition]) -> None:
        """Hands over nothing of some partitions until `resume`."""
        self._core.pause(places, True)

    def resume(self, places: Iterable[TopicPartition]) -> None:
        """Goes on with partitions that were paused."""
        self._core.pause(places, False)

    # The end.

    def stop(self) -> None:
        """Ends iterations and `run` once what is in hand is done. It may be called by a handler, by a signal handler and from any thread."""
        self._hands.stopped = True
        self._thread.soon(self._hands.stop)

    def close(self, timeout: Optional[float] = None) -> None:
        """Commits what is done and ends the consumer. A member of a group gives up its partitions first: it waits until messages in the hands of other
        threads are done, at most for the time-out of the session, so a handler calls `stop` instead. TimedOutError if it takes longer than the timeout: the
        consumer ends all the same, a little later, and what is not committed comes again."""
        if self._thread.ending:
            return
        self._thread.check()
        if self._each is not None and self._iterating == threading.get_ident():
            each, self._each = self._each, None
            each.close()
        self._thread.end(self._core.close(), timeout)

    def __enter__(self) -> Consumer:
        return self

    def __exit__(self, kind: Optional[type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]) -> None:
        self.close()
