"""What a producer is, on the loop. The faces bound what it holds, and hand messages to it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from time import monotonic
from typing import Callable, Optional

from metaq import protocol
from metaq.cluster import Cluster, Following, Offer
from metaq.core.breaker import Breaker
from metaq.core.connection import DIAL_TIMEOUT, Connection, split_address
from metaq.core.lane import Lane
from metaq.core.place import is_cluster, open_cluster
from metaq.core.sending import ANY_NUMBER, Sending
from metaq.core.work import in_thread
from metaq.errors import ClosedError, ForbiddenError, MetaQError, NoBrokerError, UsageError, refused_here, retriable
from metaq.model import Partition, Selector

log = logging.getLogger("metaq.producer")

_ROUTE_FOR = 10.0  # seconds for which the partitions of a topic are not asked for again
_LOOK_EVERY = 0.1


@dataclass(frozen=True)
class ProducerOptions:
    """The settings of a producer; the faces have the defaults."""

    selector: Selector
    window: int
    buffer_messages: int
    buffer_bytes: int
    retry_for: float
    timeout: float

    def __post_init__(self) -> None:
        if self.window < 1 or self.buffer_messages < 1 or self.buffer_bytes < 1:
            raise UsageError(f"a window of {self.window} and a buffer of {self.buffer_messages} messages and {self.buffer_bytes} bytes: each must be at least 1")
        if not self.timeout > 0:
            raise UsageError(f"a timeout of {self.timeout} s: it must be more than 0")
        if not self.retry_for >= 0:
            raise UsageError(f"retry_for {self.retry_for} s: it is 0 or more")


class _Publishing:
    """What is known of a topic."""

    def __init__(self) -> None:
        self.partitions: list[Partition] = []  # sorted; empty if nothing is known
        self.until = 0.0  # when a broker that stands alone is asked again
        self.following: Optional[Following] = None  # in a cluster
        self.waiting: list[Sending] = []  # messages for which no broker is known


class Producing:
    """Has a lane for each broker. A message without a partition and without a key may go anywhere: it goes where a broker works, and when it fails there it
    is tried at another partition, where later ones may be before it.

    `room` is called with how many messages and bytes are finished."""

    def __init__(self, address: str, options: ProducerOptions, room: Callable[[int, int], None]) -> None:
        self.options = options
        self.room = room
        self.messages = 0  # accepted and not finished
        self.lanes: dict[int, Lane] = {}
        self.busy = asyncio.Event()  # something is in flight, or waits for its broker to be known
        self._loop = asyncio.get_running_loop()
        self._seq = 0
        self._topics: dict[str, _Publishing] = {}
        self._idle: Optional[asyncio.Future[None]] = None
        self._cluster: Optional[Cluster] = None
        self.alone = not is_cluster(address)
        if self.alone:
            split_address(address)
            self.lanes[0] = Lane(self, 0, address, None)
        else:
            self._cluster = open_cluster(address)
        self._watching = self._loop.create_task(self._watch())

    def submit(self, sendings: list[Sending]) -> None:
        """Accepts messages."""
        give_up = monotonic() + self.options.retry_for
        self.messages += len(sendings)
        for sending in sendings:
            self._seq += 1
            sending.accepted(self._seq, give_up)
            self._place(sending)

    def _place(self, sending: Sending) -> None:
        """Puts a message into the lane of its broker."""
        if self.alone:
            partition = sending.partition
            if partition is not None and partition.broker != 0:
                self.settle(sending, UsageError(f"partition {partition}: a broker that stands alone counts as broker 0"))
            else:
                self.lanes[0].enqueue(sending)
            return
        topic = self._publishing(sending.topic)
        lane: Optional[Lane] = None
        try:
            if topic.partitions:
                if sending.free():
                    lane = self._spread(sending, topic)
                else:
                    if not sending.chosen:
                        sending.partition, sending.chosen = self._select(sending, topic.partitions), True
                    assert sending.partition is not None
                    lane = self.lanes.get(sending.partition.broker)
        except Exception as err:
            self.misled(sending, err)
            return
        if lane is not None:
            lane.enqueue(sending)
        else:
            topic.waiting.append(sending)
            self.busy.set()

    # A broker that stands alone.

    async def ask_partitions(self, connection: Connection, name: str) -> None:
        """Asks for the partitions of a topic if need be."""
        topic = self._publishing(name)
        if monotonic() < topic.until:
            return
        try:
            routes = protocol.parse_route(await connection.call(lambda opaque: protocol.route(name, opaque)))
        except MetaQError as err:
            if retriable(err):
                raise
            routes = []  # the put itself will say what is wrong with the topic
        topic.partitions = [Partition(0, r.number) for r in routes]
        topic.until = monotonic() + _ROUTE_FOR

    def choose(self, sending: Sending) -> None:
        """Picks the partition of a message; without one the broker does."""
        partitions = self._publishing(sending.topic).partitions
        if partitions:
            sending.partition, sending.chosen = self._select(sending, partitions), True

    def _select(self, sending: Sending, offered: Sequence[Partition]) -> Partition:
        chosen = self.options.selector(sending, offered)
        if not isinstance(chosen, Partition):
            raise TypeError(f"{chosen!r} is no Partition")
        return chosen

    def misled(self, sending: Sending, error: Exception) -> None:
        """The selector has failed for a message. Any error may come out of it, and nothing else is to end with that one."""
        self.settle(sending, UsageError(f"the selector fails: {error!r}"), error)

    # A cluster.

    def _publishing(self, name: str) -> _Publishing:
        """What is known of a topic. In a cluster it is followed from now on."""
        topic = self._topics.get(name)
        if topic is None:
            topic = self._topics[name] = _Publishing()
            if self._cluster is not None:
                topic.following = self._cluster.publishers(name, lambda offers: self._tell(name, list(offers)))
        return topic

    def _tell(self, name: str, offers: list[Offer]) -> None:
        try:
            self._loop.call_soon_threadsafe(self._learn, name, offers)
        except RuntimeError:
            log.debug("the brokers of %s are told after the producer has ended", name)

    def _learn(self, name: str, offers: Sequence[Offer]) -> None:
        """Takes what ZooKeeper says. When it knows nobody, those that were there last are tried on: they may be there, and register again after ZooKeeper has
        lost everything."""
        masters = [o for o in offers if o.slave is None]
        if not masters or self._watching.done():
            return
        topic = self._topics[name]
        topic.partitions = []
        for offer in masters:
            lane = self.lanes.get(offer.broker)
            if lane is None:
                lane = self.lanes[offer.broker] = Lane(self, offer.broker, offer.address, Breaker())
            lane.address = offer.address
            topic.partitions.extend(Partition(offer.broker, n) for n in range(offer.partitions))
        topic.partitions.sort()
        waiting, topic.waiting = topic.waiting, []
        for sending in waiting:
            self._place(sending)

    def _spread(self, sending: Sending, topic: _Publishing) -> Optional[Lane]:
        """Chooses the partition of a message that may go anywhere, where it has not been, and tells its lane: among the brokers that work and, if there
        are none, among all. None if there is nothing to choose from."""
        for avoid in (True, False):
            avoided = {broker for broker in self.lanes if avoid and not self._admits(broker)}
            avoided.update(p.broker for p in sending.tried if p.number == ANY_NUMBER)
            offered = topic.partitions
            if avoided or sending.tried:
                offered = [p for p in offered if p.broker not in avoided and p not in sending.tried]
            if not offered:
                continue
            chosen = self._select(sending, offered)
            if sending.tried and chosen not in offered:
                return None
            lane = self.lanes.get(chosen.broker)
            if lane is not None and lane.breaker is not None:
                lane.breaker.chosen()
            sending.partition, sending.chosen = chosen, True
            return lane
        return None

    def _admits(self, broker: int) -> bool:
        lane = self.lanes.get(broker)
        return lane is None or lane.breaker is None or lane.breaker.admits()

    def again(self, lane: Lane, sending: Sending, error: MetaQError) -> bool:
        """Whether a message that failed is tried again; it sees to where."""
        try:
            return self._again(lane, sending, error)
        except Exception as err:
            self.misled(sending, err)
            return True

    def _again(self, lane: Lane, sending: Sending, error: MetaQError) -> bool:
        here = retriable(error) or isinstance(error, NoBrokerError)
        topic = self._topics.get(sending.topic)
        if not self.alone and topic is not None and topic.partitions and sending.partition is not None:
            sending.may_help = sending.may_help or here
            if sending.free() and (here or refused_here(error)):
                closed = isinstance(error, ForbiddenError)
                sending.tried.append(sending.partition if closed else Partition(sending.partition.broker, ANY_NUMBER))
                to = self._spread(sending, topic)
                if to is not None:
                    to.enqueue(sending)
                    return True
                here, sending.tried, sending.may_help = sending.may_help, [], False
            elif here and not sending.fixed and sending.partition not in topic.partitions:
                # Its partition is no longer one of the topic: the key goes elsewhere now.
                sending.partition = self._select(sending, topic.partitions)
                to = self.lanes.get(sending.partition.broker)
                if to is not None and to is not lane:
                    to.enqueue(sending)
                    return True
        if here:
            lane.failed.append(sending)
        return here

    def move_queue(self, lane: Lane) -> None:
        """Moves what has not been sent yet, and may go elsewhere, away from a broker that says nothing."""
        staying = []
        for sending in lane.queue:
            topic = self._topics[sending.topic]
            others = any(p.broker != lane.broker and self._admits(p.broker) for p in topic.partitions)
            try:
                to = self._spread(sending, topic) if sending.free() and others else None
            except Exception as err:
                self.misled(sending, err)
                continue
            if to is None or to is lane:
                staying.append(sending)
            else:
                to.enqueue(sending)
        lane.queue.clear()
        lane.queue.extend(staying)

    # The end of messages, and of the producer.

    def settle(self, sending: Sending, error: BaseException, cause: Optional[BaseException] = None) -> None:
        """A message has failed for good."""
        if cause is not None:
            error.__cause__ = cause
        sending.fail(error)
        self.finished(1, len(sending.data))

    def finished(self, messages: int, size: int) -> None:
        """Makes room."""
        self.messages -= messages
        self.room(messages, size)
        if self.messages == 0 and self._idle is not None and not self._idle.done():
            self._idle.set_result(None)

    async def _watch(self) -> None:
        """Sees to brokers that say nothing, and to messages whose broker does not become known."""
        patience = max(0.0, DIAL_TIMEOUT - self.options.retry_for)
        while True:
            await self.busy.wait()
            await asyncio.sleep(_LOOK_EVERY)
            now, busy = monotonic(), False
            for lane in list(self.lanes.values()):
                lane.look(now)
                busy = busy or lane.in_flight > 0
            for name, topic in self._topics.items():
                for sending in [s for s in topic.waiting if now >= s.give_up + patience]:
                    topic.waiting.remove(sending)
                    self.settle(sending, _nobody(name, sending))
                busy = busy or bool(topic.waiting)
            if not busy:
                self.busy.clear()

    async def flush(self) -> None:
        """Waits until nothing is under way."""
        while self.messages > 0:
            if self._idle is None or self._idle.done():
                self._idle = self._loop.create_future()
            await asyncio.shield(self._idle)

    async def close(self, timeout: Optional[float] = None) -> bool:
        """Sends what was accepted, waits until all of it is settled, and ends. When the time is over, what is left fails with ClosedError, and the answer is
        False."""
        flushed = True
        try:
            await asyncio.wait_for(self.flush(), timeout)
        except asyncio.TimeoutError:
            flushed = False
        finally:
            tasks = [self._watching, *(lane.task for lane in self.lanes.values())]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            closed = ClosedError("the producer is closed")
            for topic in self._topics.values():
                if topic.following is not None:
                    topic.following.close()
                waiting, topic.waiting = topic.waiting, []
                for sending in waiting:
                    self.settle(sending, closed)
            if self._cluster is not None:
                await in_thread(self._cluster.close)
        return flushed


def _nobody(topic: str, sending: Sending) -> NoBrokerError:
    if sending.partition is not None:
        return NoBrokerError(f"partition {sending.partition} of {topic}: there is no broker {sending.partition.broker}")
    return NoBrokerError(f"no broker takes messages of {topic}")
