"""What a consumer is, on the loop. The faces hand out what lies in `hands`."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from time import monotonic
from typing import Any, Callable, Optional, Union

from metaq import protocol
from metaq.cluster import Claim, Cluster, Following, Membership, Offer
from metaq.core.batch import Hands
from metaq.core.connection import Connection, split_address
from metaq.core.offsets import BrokerOffsets, Offsets, StoredOffsets
from metaq.core.place import is_cluster, open_cluster
from metaq.core.reader import Reader
from metaq.core.ways import Ways
from metaq.core.work import in_thread
from metaq.errors import ClosedError, MetaQError, NotFoundError, OffsetsMovedError, TimedOutError, UsageError, retriable
from metaq.model import Message, Offset, OffsetStore, Partition, Position, TopicPartition, position_of
from metaq.protocol import RECORD_HEADER, check_group, check_topic

log = logging.getLogger("metaq.consumer")

_REFRESH = 5.0  # seconds until a broker that stands alone is asked for new partitions
_PROMPTLY = 2.0  # seconds after the beginning for which the end of a partition counts as where it was then
_LAST_COMMIT = 5.0  # seconds that the offsets of partitions may take that are given up

Revoked = Callable[[Sequence[TopicPartition]], None]


@dataclass(frozen=True)
class ConsumerOptions:
    """The settings of a consumer; the faces have the defaults."""

    start: Position
    fetch_size: int
    wait: float
    commit_every: float
    offsets: Optional[OffsetStore]
    broadcast: bool
    consumer_id: Optional[str]
    assignment: str
    manual: bool
    on_revoked: Optional[Revoked]

    def __post_init__(self) -> None:
        position_of(self.start)
        if not RECORD_HEADER <= self.fetch_size <= 0x7FFFFFFF:
            raise UsageError(f"a fetch size of {self.fetch_size} bytes: it goes from {RECORD_HEADER}, the header of a message, to {0x7FFFFFFF}")
        if not self.wait >= 0 or not self.commit_every >= 0:
            raise UsageError(f"a wait of {self.wait} s, commits every {self.commit_every} s: neither may be negative")
        if self.consumer_id is not None and (not self.consumer_id or any(c <= " " or c in "/\x7f" for c in self.consumer_id)):
            raise UsageError(f"the consumer id {self.consumer_id!r}: it is one word without a slash")
        if self.broadcast and self.offsets is None:
            raise UsageError("each broadcast consumer keeps its own offsets: give it a store of its own (offsets), for example metaq.FileOffsets")


class Consuming:
    """Reads topics for a group. Which partitions: all of a broker that stands alone; in a cluster those that it has got as a member of the group, or
    all that there are if it is a broadcast consumer. It is the Holder of its membership."""

    def __init__(self, address: str, group: str, topics: Sequence[str], options: ConsumerOptions, hands: Hands) -> None:
        self.options = options
        self.group = check_group(group)
        if isinstance(topics, str) or not topics:
            raise UsageError("a consumer needs a list of topics")
        self.topics = list(dict.fromkeys(check_topic(t) for t in topics))
        self.hands = hands
        self.ways = Ways()
        self.readers: dict[TopicPartition, Reader] = {}
        self.paused: set[TopicPartition] = set()
        self.alone = not is_cluster(address)
        self._address = address
        self._loop = asyncio.get_running_loop()
        self._been: dict[TopicPartition, Offset] = {}  # where this consumer was in partitions that it no longer reads
        self._offers: dict[str, Sequence[Offer]] = {}
        self._following: list[Following] = []
        self._membership: Optional[Membership] = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._committing = asyncio.Lock()
        self._discovered = asyncio.Event()
        self._started = False
        self.began = datetime.now(timezone.utc)  # when messages were asked for first
        self._began = monotonic()
        self._acquired = False  # something, as a member
        self._closing = False
        self._cluster: Optional[Cluster] = None
        self._offsets: Offsets
        if self.alone:
            split_address(address)
        else:
            self._cluster = open_cluster(address)
        if options.offsets is not None:
            self._offsets = StoredOffsets(options.offsets, group)
        elif self._cluster is not None:
            self._offsets = StoredOffsets(self._cluster.offsets(group), group)
        else:
            self._offsets = BrokerOffsets(self.ways, address, group)

    def start(self) -> None:
        """Begins, when messages are asked for the first time."""
        if self._started or self._closing:
            return
        self._started = True
        self.began, self._began = datetime.now(timezone.utc), monotonic()
        if self._cluster is None:
            self._go(self._discover())
        else:
            for topic in self.topics:
                self._following.append(self._cluster.subscribers(topic, self._tell_of(topic)))
            if not self.options.broadcast:
                self._go(self._join(self._cluster))
        if self.options.commit_every > 0:
            self._go(self._commit_often())

    def _go(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # Which partitions are read.

    async def _discover(self) -> None:
        """Finds the partitions of a broker that stands alone, new ones too."""
        found: set[TopicPartition] = set()
        first = True
        told = ""  # the last error, which is not logged again and again
        while True:
            pause = _REFRESH
            try:
                connection = await self.ways.to(self._address)
                for topic in self.topics:
                    for place in await partitions(connection, topic):
                        if place not in found:
                            found.add(place)
                            self._begin(place, None, first=first)
            except MetaQError as err:
                if not retriable(err):
                    self.hands.fail(err)
                    return
                if str(err) != told:
                    told = str(err)
                    log.info("the partitions are not known: %s", told)
                pause = 1.0
            else:
                told = ""
                self._discovered.set()
            first = False
            await asyncio.sleep(pause)

    async def _join(self, cluster: Cluster) -> None:
        """Becomes a member of the group."""
        o = self.options

        def join() -> Membership:
            return cluster.join(self.group, self.topics, self, consumer_id=o.consumer_id, assignment=o.assignment)

        try:
            self._membership = await in_thread(join)
        except MetaQError as err:
            self.hands.fail(err)

    def _tell_of(self, topic: str) -> Callable[[Sequence[Offer]], None]:
        def tell(offers: Sequence[Offer]) -> None:
            try:
                self._loop.call_soon_threadsafe(self._learn, topic, list(offers))
            except RuntimeError:
                log.debug("the brokers of %s are told after the consumer has ended", topic)

        return tell

    def _learn(self, topic: str, offers: Sequence[Offer]) -> None:
        """Takes what ZooKeeper says of a topic. When it knows nobody, a broadcast consumer reads on where it was: ZooKeeper may have lost everything, and the
        brokers register again."""
        first = topic not in self._offers
        self._offers[topic] = offers
        if not self.options.broadcast or self._closing:
            return
        there = {TopicPartition(topic, Partition(o.broker, n)) for o in offers for n in range(o.partitions)}
        if there:
            for place in there - self.readers.keys():
                self._begin(place, None, first=first)
            gone = [r for p, r in self.readers.items() if p.topic == topic and p not in there]
            if gone:
                self._go(self._release(gone, self._cluster.session_timeout if self._cluster is not None else None))

    def replicas(self, place: TopicPartition) -> tuple[str, tuple[str, ...]]:
        """Where a partition can be read: the master's address, if there is a master, and those of slaves."""
        if self.alone:
            return self._address, ()
        master, slaves = "", []
        for offer in self._offers.get(place.topic, ()):
            if offer.broker == place.partition.broker:
                if offer.slave is None:
                    master = offer.address
                else:
                    slaves.append(offer.address)
        return master, tuple(slaves)

    def _begin(self, place: TopicPartition, claim: Optional[Claim], start: Optional[Position] = None, first: bool = False) -> None:
        if not self._closing:
            self.readers[place] = Reader(self, place, claim, start, first)

    def promptly(self) -> bool:
        """Whether the end of a partition is where it was when the consumer began: no clocks have to agree then."""
        return monotonic() - self._began < _PROMPTLY

    def _end(self, reader: Reader) -> None:
        reader.release()
        if self.readers.get(reader.place) is reader:
            del self.readers[reader.place]
        self._note(reader)

    def _note(self, reader: Reader) -> None:
        at = reader.offset()
        if at is not None:
            self._been[reader.place] = at

    # Of the Holder; called from any thread.

    def acquire(self, claims: Sequence[Claim]) -> None:
        """Begins to read partitions."""

        def begin() -> None:
            for claim in claims:
                if claim.place in self.readers:
                    self._end(self.readers[claim.place])
                self._begin(claim.place, claim, first=not self._acquired)
            self._acquired = True

        self._loop.call_soon_threadsafe(begin)

    def release(self, claims: Sequence[Claim]) -> None:
        """Stops reading, waits until nothing is in somebody's hands, and saves how far the valid ones came."""
        try:
            asyncio.run_coroutine_threadsafe(self._give_up(claims), self._loop).result()
        except Exception as err:
            log.warning("partitions are given up, and not all is done or committed: %s", err)

    async def _give_up(self, claims: Sequence[Claim]) -> None:
        lost: list[Reader] = []
        mine: list[Reader] = []
        for claim in claims:
            reader = self.readers.get(claim.place)
            if reader is not None and reader.claim is claim:
                (mine if claim.valid() else lost).append(reader)
        for reader in lost:
            self._end(reader)
        self._revoked(lost)
        if lost and self.options.offsets is None and not self._closing:
            self._go(self._restore({r.place: at for r in lost if (at := r.restorable()) is not None}))
        assert self._cluster is not None
        await self._release(mine, self._cluster.session_timeout)

    async def _release(self, readers: Sequence[Reader], timeout: Optional[float]) -> None:
        for reader in readers:
            self._end(reader)
        self._revoked(readers)
        waiting = [asyncio.ensure_future(r.idle()) for r in readers]
        if waiting:
            _, late = await asyncio.wait(waiting, timeout=timeout)
            for task in late:
                task.cancel()
            if late:
                log.warning("%d partitions are given up while their messages are in somebody's hands", len(late))
        for reader in readers:
            self._note(reader)
        committing = self._loop.create_task(self._commit(readers))
        done, _ = await asyncio.wait([committing], timeout=_LAST_COMMIT)
        err = committing.exception() if done else TimedOutError(f"the store of offsets has not answered for {_LAST_COMMIT:g} s")
        if err is not None:
            log.warning("partitions are given up, and their offsets are not committed: %s", err)
        # The next owner may have saved something by the time when a store that hangs goes on.
        for reader in readers:
            reader.valid = _given_up

    def _revoked(self, readers: Sequence[Reader]) -> None:
        if readers and self.options.on_revoked is not None:
            try:
                self.options.on_revoked([r.place for r in readers])
            except Exception:
                log.exception("on_revoked")

    async def _restore(self, been: dict[TopicPartition, Offset]) -> None:
        """Sees to it that a ZooKeeper that comes back without anything does not make the group begin again: the consumer that read a partition when the
        session was lost keeps how far it came there, if there is no offset at all."""
        pause = 0.1
        while been:
            for place, at in list(been.items()):
                try:
                    # A partition that is read again is its reader's affair.
                    if place not in self.readers and await self._offsets.load(place) is None:
                        await self._offsets.save({place: at})
                except OffsetsMovedError:
                    pass  # there is one now
                except MetaQError:
                    continue
                del been[place]
            await asyncio.sleep(pause)
            pause = min(2 * pause, 1.0)

    # Offsets.

    async def load(self, reader: Reader) -> Optional[Offset]:
        """Asks where the group goes on. What the store does not know and this consumer does, because it has been there before, is saved anew: an offset that
        got lost does not let the group begin again."""
        kept = await self._offsets.load(reader.place)
        if kept is not None:
            reader.position = kept
            reader.saved(kept)
            return kept
        kept = reader.position = self._been.get(reader.place)
        others = self._membership if self.options.offsets is None else None
        if kept is None and reader.claim is not None and others is not None and others.offset_may_come(reader.claim):
            raise NotFoundError(404, "the offset may still come")
        return kept

    async def commit(self) -> None:
        """Keeps how far the group has come, what has changed only."""
        await self._commit(list(self.readers.values()))

    async def _commit(self, readers: Sequence[Reader]) -> None:
        if not readers:
            return  # and does not wait for another save, which may hang
        async with self._committing:  # an older offset must not be saved after a newer one
            todo: dict[TopicPartition, tuple[Reader, Union[Message, Offset], Offset]] = {}
            for reader in readers:
                position = reader.unsaved()
                if position is not None:
                    at = Offset(position.next_offset, position.id) if isinstance(position, Message) else position
                    todo[reader.place] = (reader, position, at)
            if not todo:
                return
            moved: Sequence[TopicPartition] = ()
            try:
                await self._offsets.save({place: at for place, (_, _, at) in todo.items()})
            except OffsetsMovedError as err:
                moved = err.places
            for place, (reader, position, _) in todo.items():
                if place not in moved:
                    reader.saved(position)
                    continue
                # It goes on where it was told to by whoever changed the offset.
                log.warning("somebody else has changed the offset of %s in %s", self.group, place)
                reader.saved(reader.position)
                if not reader.released and (reader.valid is None or reader.valid()):
                    self._end(reader)
                    self._been.pop(place, None)
                    self._begin(place, reader.claim)

    async def _commit_often(self) -> None:
        while True:
            await asyncio.sleep(self.options.commit_every)
            try:
                await self.commit()
            except MetaQError as err:
                log.warning("offsets are not committed: %s", err)

    def done(self, place: TopicPartition, at: Offset) -> bool:
        """Sets where the group goes on. False if the partition is not this consumer's any more."""
        reader = self.readers.get(place)
        if reader is None:
            return False
        # Also while the session is in doubt: it may be had back, and until then nothing is saved.
        reader.position = at
        return True

    def positions(self) -> dict[TopicPartition, Offset]:
        """Where the group goes on in what is read; it may be asked from any thread."""
        return {place: at for place, reader in list(self.readers.items()) if (at := reader.offset()) is not None}

    async def seek(self, position: Position, topic: Optional[str], partition: Optional[Partition]) -> int:
        """Goes on elsewhere, in all partitions that match, and tells how many they are. What is there already is forgotten. Where that is
        is known then, so that a commit keeps it."""
        if self._closing:
            raise ClosedError("the consumer is closed")
        self.start()
        if self.alone:
            try:
                await asyncio.wait_for(self._discovered.wait(), _REFRESH)
            except asyncio.TimeoutError:
                raise TimedOutError(f"the partitions are not known after {_REFRESH:g} s: the broker at {self._address} is away") from None
        moving: list[asyncio.Task[Any]] = []
        for place, reader in list(self.readers.items()):
            if topic in (None, place.topic) and partition in (None, place.partition):
                self._end(reader)
                self._begin(place, reader.claim, position)
                moving.append(self._loop.create_task(self.readers[place].begun.wait()))
        try:
            if moving:
                _, late = await asyncio.wait(moving, timeout=_REFRESH)
                if late:
                    raise TimedOutError(f"{len(late)} of {len(moving)} partitions are not there after {_REFRESH:g} s: they go there when their brokers are back")
        finally:
            for task in moving:
                task.cancel()
        return len(moving)

    def pause(self, places: Iterable[TopicPartition], paused: bool) -> None:
        """Hands over nothing of some partitions, or goes on."""
        for place in places:
            (self.paused.add if paused else self.paused.discard)(place)
            reader = self.readers.get(place)
            if reader is not None:
                reader.paused = paused
        self.hands.wake()

    async def close(self) -> None:
        """Commits and ends. A member of a group gives up its partitions."""
        if self._closing:
            return
        self._closing = True
        self.hands.stop()
        for reader in self.readers.values():
            if not reader.begun.is_set():
                reader.release()  # what it asks a store for, perhaps one that is away, would be waited for before anything else
        try:
            if self._membership is not None and self._cluster is not None:
                timeout = self._cluster.session_timeout
                try:
                    await asyncio.wait_for(asyncio.shield(self._commit(list(self.readers.values()))), timeout)
                except (MetaQError, asyncio.TimeoutError) as err:
                    log.warning("the offsets of %s are not committed: %s", self.group, err)
                await in_thread(self._membership.leave, timeout)
            await self._commit(list(self.readers.values()))
        finally:
            for reader in list(self.readers.values()):
                reader.release()
            tasks = [*self._tasks, *(r.task for r in self.readers.values())]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            for following in self._following:
                following.close()
            await self.ways.close()
            if self._cluster is not None:
                await in_thread(self._cluster.close)


def _given_up() -> bool:
    """What a reader asks whose partition may have another owner."""
    return False


async def partitions(connection: Connection, topic: str) -> list[TopicPartition]:
    """The partitions that a broker that stands alone has of a topic; none while nobody has made it."""
    try:
        body = await connection.call(lambda opaque: protocol.route(topic, opaque))
    except NotFoundError:
        return []
    return [TopicPartition(topic, Partition(0, r.number)) for r in protocol.parse_route(body)]
