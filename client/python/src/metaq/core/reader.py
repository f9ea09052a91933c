"""Follows one partition."""

from __future__ import annotations

import asyncio
import logging
from datetime import datetime
from time import monotonic
from typing import TYPE_CHECKING, Callable, Optional, Union

from metaq import protocol
from metaq.cluster import Claim
from metaq.core.backoff import Backoff
from metaq.core.batch import Batch
from metaq.core.connection import DIAL_TIMEOUT, Connection
from metaq.errors import FailedError, ForbiddenError, MetaQError, MovedError, NoBrokerError, NotFoundError, OffsetStoreError, ProtocolError, retriable
from metaq.model import MAX_OFFSET, Message, Offset, Position, TopicPartition

if TYPE_CHECKING:
    from metaq.core.consuming import Consuming

log = logging.getLogger("metaq.consumer")

_MASTER_AGAIN = 2.0
"""Seconds for which a master that did not answer is left alone while there is a slave."""


class _Later(MetaQError):
    """Something may be known a little later."""


class Reader:
    """A task that asks for messages and hands them over before it asks for more, so that at most two answers are held. Others look at what has no underscore:
    `released`, `in_hand`, `paused` and `position` are set and read by several threads, see batch.py."""

    def __init__(self, consuming: Consuming, place: TopicPartition, claim: Optional[Claim], start: Optional[Position] = None, first: bool = False) -> None:
        self.place = place
        self.claim = claim
        self.valid: Optional[Callable[[], bool]] = claim.valid if claim is not None else None  # None: for ever
        self.hands = consuming.hands
        self.manual = consuming.options.manual
        self.released = False  # from now on nothing of it is handed over
        self.in_hand = False  # a message has been handed over and is not done
        self.paused = place in consuming.paused
        self.begun = asyncio.Event()  # it is known where it begins, or it is released
        self.put_down = asyncio.Event()  # after a release: nothing is in hand
        self.turn = asyncio.Event()  # a batch may be handed over: the one before is done with
        self.turn.set()
        self.position: Union[Message, Offset, None] = None  # done with; where the group goes on
        self._saved: Union[Message, Offset, None] = None
        self._stored = False  # the store has, or had, an offset of the partition
        self._start = start  # given by seek: what the store says does not count
        self._first = first  # it was found when the consumer began, and nothing has failed since
        self._kept = False  # it goes on where the group was before
        self._beyond = False  # that is beyond the end, which was told
        self._consuming = consuming
        self._size = consuming.options.fetch_size
        self._address = ""
        self._master = True
        self._avoid_master = 0.0
        self._slave = 0  # the next one to be asked
        self._last: tuple[str, tuple[str, ...]] = ("", ())  # where the partition was, for when ZooKeeper knows nothing
        self.task = asyncio.get_running_loop().create_task(self._run())

    # Positions.

    def offset(self) -> Optional[Offset]:
        """Where the group goes on."""
        at = self.position
        return Offset(at.next_offset, at.id) if isinstance(at, Message) else at

    def unsaved(self) -> Union[Message, Offset, None]:
        """The position, if it is to be saved and this consumer still may."""
        return self.position if self.position is not self._saved and (self.valid is None or self.valid()) else None

    def restorable(self) -> Optional[Offset]:
        """Where the group goes on, if the store should know that. A place to begin that was never stored is none: it would undo what the next owner of the
        partition is about to store."""
        return self.offset() if self._stored or self.position is not self._saved else None

    def saved(self, position: Union[Message, Offset, None]) -> None:
        """A position is kept."""
        self._saved = position
        self._stored = True

    def release(self) -> None:
        """Ends it: nothing of it is handed over any more."""
        self.released = True
        self.begun.set()
        self.task.cancel()

    async def idle(self) -> None:
        """Waits until a released one has nothing in hand."""
        while self.in_hand:
            self.put_down.clear()
            if self.in_hand:
                await self.put_down.wait()

    # The task.

    async def _run(self) -> None:
        pause = Backoff()
        told = ""  # the last error, which is not logged again and again
        offset: Optional[int] = None
        while not self.released:
            try:
                connection = await self._connect()
                if offset is None:
                    offset = await self._begin(connection)
                    self.begun.set()
                messages, offset = await self._fetch(connection, offset)
                if messages:
                    pause.reset()
                    told = ""
                    await self.turn.wait()
                    self.turn.clear()
                    self.hands.ready.append(Batch(self, messages))
                    self.hands.wake()
                continue
            except (NotFoundError, ForbiddenError, NoBrokerError, _Later):
                pass  # not written yet, or closed for a while
            except MetaQError as err:
                if not self._elsewhere(err) and not retriable(err):
                    self.hands.fail(err)
                    return
                if str(err) != told:
                    told = str(err)
                    log.info("%s: %s", self.place, told)
            except Exception as err:
                log.exception("%s", self.place)
                self.hands.fail(MetaQError(f"{self.place}: {err!r}"))
                return
            self._first = False
            await asyncio.sleep(pause.pause())

    async def _connect(self) -> Connection:
        """Chooses who is asked, the master if that is possible and otherwise a slave, and yields the connection."""
        master, slaves = self._consuming.replicas(self.place)
        if not master and not slaves:
            master, slaves = self._last  # it may be there all the same, and register again when ZooKeeper has lost everything
        self._last = (master, slaves)
        before = self._address
        self._master = not slaves or (bool(master) and monotonic() > self._avoid_master)
        self._address = master if self._master else slaves[self._slave % len(slaves)]
        if not self._address:
            raise NoBrokerError(f"{self.place}: no broker is known")
        if before and before != self._address:
            log.info("%s: the broker at %s is asked", self.place, self._address)
        return await self._consuming.ways.to(self._address)

    def _elsewhere(self, error: MetaQError) -> bool:
        """Lets another replica be asked the next time, if there are several, and says whether the error is one of this replica alone."""
        if isinstance(error, OffsetStoreError) or not (retriable(error) or isinstance(error, FailedError)):
            return False
        if self._master:
            self._avoid_master = monotonic() + _MASTER_AGAIN
        else:
            self._slave += 1
        return not self._consuming.alone

    async def _begin(self, connection: Connection) -> int:
        """Where the group goes on, or where a new one starts."""
        if self._start is None:
            kept = await self._consuming.load(self)
            if kept is not None:
                self._kept = True
                return kept.offset
        start = self._consuming.options.start if self._start is None else self._start
        since = self._start is None and start == "latest" and not (self._first and self._consuming.promptly())
        at = await resolve(connection, self.place, self._consuming.began if since else start)
        self.position = Offset(at)
        if self._start is None and not (self.claim is not None and start == "latest"):
            # It is no other place when this partition is begun again. After "latest" the next member of the group would leave out what has come meanwhile.
            self._saved = self.position
        return at

    async def _fetch(self, connection: Connection, offset: int) -> tuple[list[Message], int]:
        """Asks once. Returns messages, perhaps none, and the offset behind them."""
        options = self._consuming.options
        wait = options.wait if self._master else min(options.wait, _MASTER_AGAIN)  # to look for the master
        topic, partition = self.place
        group, size, wait_ms = self._consuming.group, self._size, int(wait * 1000)
        try:
            # The answer comes at the latest after the wait; a broker that says nothing for much longer is gone.
            data = await connection.call(lambda opaque: protocol.get(topic, group, partition.number, offset, size, wait_ms, opaque), wait + DIAL_TIMEOUT)
        except MovedError as moved:
            if moved.offset == offset:
                raise
            if moved.offset < offset and not self._master:
                raise _Later("a slave that is behind its master has an earlier end") from None
            if self._kept:
                text = "%s in %s: no message begins at offset %d, where the group goes on; what was there may have been removed before it was read. It goes on at %d"
                log.warning(text, group, self.place, offset, moved.offset)
            return [], moved.offset
        except NotFoundError:
            if await self._written(connection, offset):
                return [], offset  # the wait is over, ask again
            raise
        messages, used = protocol.decode(self.place, offset, data)
        if messages:
            self._size = options.fetch_size
            self._kept = True
        else:
            # The message is larger than what was asked for.
            self._size = min(protocol.message_size(data) or 2 * self._size, 0x7FFFFFFF)
        return messages, offset + used

    async def _written(self, connection: Connection, offset: int) -> bool:
        """Tells a wait that is over from a partition that nobody has written yet, which is answered at once."""
        try:
            ends = await end(connection, self.place)
        except NotFoundError:
            return False
        if ends < offset and self._master and not self._beyond:
            self._beyond = True
            text = (
                "%s in %s: offset %d, where the group goes on, lies beyond the end of the partition, %d: nothing is read before the end has passed it, and what "
                "comes until then is left out. Has the broker lost its messages? seek, or 'metaq offsets reset', moves the group"
            )
            log.error(text, self._consuming.group, self.place, offset, ends)
        return True


async def resolve(connection: Connection, place: TopicPartition, position: Position) -> int:
    """The offset of a place to begin. In a partition that nobody has written yet it is 0."""
    topic, partition = place
    try:
        if position == "latest":
            return await end(connection, place)
        if isinstance(position, datetime):
            unix_ms = int(position.timestamp() * 1000)
            return protocol.parse_offset(await connection.call(lambda opaque: protocol.seek(topic, partition.number, unix_ms, opaque)))
    except NotFoundError:
        return 0
    return position if isinstance(position, int) else 0  # of the oldest message the broker tells when it is asked for 0


async def end(connection: Connection, place: TopicPartition) -> int:
    """Where the next message of a partition will begin."""
    topic, partition = place
    try:
        await connection.call(lambda opaque: protocol.get(topic, "-", partition.number, MAX_OFFSET, 1, -1, opaque))
    except MovedError as moved:
        return moved.offset
    raise ProtocolError(f"{place}: there is a message at the largest offset")
