"""The blocking producer."""

from __future__ import annotations

import atexit
import logging
import threading
from time import monotonic
from types import TracebackType
from typing import Callable, Optional, Union

from metaq.core.producing import ProducerOptions, Producing
from metaq.core.sending import Sending, data_of, partition_of
from metaq.core.thread import LoopThread, made
from metaq.errors import ClosedError, TimedOutError
from metaq.model import Body, Partition, Receipt, Selector
from metaq.protocol import check_topic
from metaq.selector import round_robin

log = logging.getLogger("metaq.producer")

_callbacks_lock = threading.Lock()  # of all deliveries: callbacks are rare and short to note

_MAX_KNOWN = 10_000  # names of topics that are not checked again


class Delivery(Sending):
    """A message that was accepted by send_async. Like a Future: `result` waits for the receipt."""

    __slots__ = ("_callbacks", "_done", "_event")

    def __init__(self, topic: str, data: bytes, key: Optional[str], attribute: str, partition: Optional[Partition]) -> None:
        super().__init__(topic, data, key, attribute, partition)
        self._done = False
        self._event: Optional[threading.Event] = None
        self._callbacks: Optional[list[Callable[[Delivery], object]]] = None

    def done(self) -> bool:
        """Whether it is stored, or has failed for good."""
        return self._done

    def result(self, timeout: Optional[float] = None) -> Receipt:
        """Waits for the receipt; raises what has become of the message otherwise. TimedOutError when the time is over: it may be stored yet."""
        self._wait(timeout)
        return self.receipt()

    def exception(self, timeout: Optional[float] = None) -> Optional[BaseException]:
        """Waits, and returns the error, None if the message is stored."""
        self._wait(timeout)
        return self.error

    def add_done_callback(self, fn: Callable[[Delivery], object]) -> None:
        """Has a function called with this delivery once it is done, in a thread of the producer, or in this one if it is done already. It must not block."""
        with _callbacks_lock:
            self._callbacks = [*(self._callbacks or ()), fn]
        if self._done:
            self._call_back()

    def _wait(self, timeout: Optional[float]) -> None:
        if self._done:
            return
        with _callbacks_lock:
            event = self._event = self._event or threading.Event()
        # Whoever settles it sets _done first and looks for the event then; so one of both sees the other.
        if not self._done and not event.wait(timeout):
            raise TimedOutError(f"not acknowledged within {timeout:g} s; it may be stored all the same")

    def settled(self) -> None:
        """On the loop."""
        self._done = True
        if self._event is not None:
            self._event.set()
        if self._callbacks is not None:
            self._call_back()

    def _call_back(self) -> None:
        with _callbacks_lock:
            callbacks, self._callbacks = self._callbacks or (), None
        for fn in callbacks:
            try:
                fn(self)
            except Exception:
                log.exception("a callback of a delivery fails")


class Producer:
    """Sends messages to a broker at host:port, or to a cluster: zk://host:2181,host:2181[/chroot][?root=/meta]. Brokers are connected at the first message for
    them. All methods may be called from any thread.

        with Producer("127.0.0.1:8123") as producer:
            receipt = producer.send("orders", b"hello")

    selector         chooses partitions, see metaq.selector; round robin by default
    window           messages that are sent and not answered yet; with 1 the order of messages holds even when the broker refuses one for a while
    buffer_messages, buffer_bytes   bound what waits in the producer; beyond it send and send_async block
    retry_for        seconds for which a message is tried again before it fails; 0: it is sent once
    timeout          seconds that a broker may leave everything without an answer, before what was on its way is sent again over a new connection
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
        self._lock = threading.Lock()
        self._room = threading.Condition(self._lock)
        self._waiting = 0  # threads that wait for room
        self._messages = 0  # accepted and not finished
        self._bytes = 0
        self._inbox: list[Sending] = []  # accepted, and not yet seen by the loop
        self._closing = False
        self._known: set[str] = set()
        self._thread = LoopThread("metaq-producer")
        try:
            self._core = self._thread.call(made(lambda: Producing(address, self._options, self._finished)))
        except BaseException:
            self._thread.stop()
            raise
        # A program that forgets to close still gets sent what it was told was accepted.
        atexit.register(self.close)

    def send(
        self,
        topic: str,
        body: Body,
        *,
        key: Optional[str] = None,
        attribute: str = "",
        partition: Union[Partition, int, None] = None,
        timeout: Optional[float] = None,
    ) -> Receipt:
        """Stores a message and waits until the broker has acknowledged it. Messages of one key go to one partition, if none is given. When the
        timeout is over first (TimedOutError), the message may be stored all the same."""
        self._thread.check()
        until = None if timeout is None else monotonic() + timeout
        delivery = self.send_async(topic, body, key=key, attribute=attribute, partition=partition, timeout=timeout)
        return delivery.result(None if until is None else max(0.0, until - monotonic()))

    def send_async(
        self,
        topic: str,
        body: Body,
        *,
        key: Optional[str] = None,
        attribute: str = "",
        partition: Union[Partition, int, None] = None,
        timeout: Optional[float] = None,
    ) -> Delivery:
        """Accepts a message and returns at once; `result()` of what it returns waits for the receipt. It blocks while the buffer is full, no longer than
        the timeout (TimedOutError: the message was not accepted)."""
        if self._thread.forked:
            self._thread.check()
        if topic not in self._known:
            self._learn(topic)
        delivery = Delivery(topic, data_of(body, attribute, self._options.buffer_bytes), key, attribute, partition_of(partition))
        size = len(delivery.data)
        with self._lock:
            if self._closing or self._messages >= self._options.buffer_messages or self._bytes + size > self._options.buffer_bytes:
                self._await_room(size, timeout)
            self._messages += 1
            self._bytes += size
            first = not self._inbox  # otherwise somebody else has told the loop
            self._inbox.append(delivery)
        if first:
            self._thread.soon(self._drain)
        return delivery

    def _learn(self, topic: str) -> None:
        check_topic(topic)
        if len(self._known) >= _MAX_KNOWN:
            self._known.clear()
        self._known.add(topic)

    def _await_room(self, size: int, timeout: Optional[float]) -> None:
        o = self._options
        self._thread.check()
        self._waiting += 1
        try:
            room = self._room.wait_for(lambda: self._closing or (self._messages < o.buffer_messages and self._bytes + size <= o.buffer_bytes), timeout)
        finally:
            self._waiting -= 1
        if self._closing:
            raise ClosedError("the producer is closed")
        if not room:
            raise TimedOutError(f"no room for the message within {timeout:g} s: {self._messages} messages and {self._bytes} bytes wait for brokers")

    def _drain(self) -> None:
        """On the loop: takes what was accepted."""
        with self._lock:
            accepted, self._inbox = self._inbox, []
        self._core.submit(accepted)

    def _finished(self, messages: int, size: int) -> None:
        """On the loop. Who waits for room is woken when there is some to spare: a thread for each message would cost more than the message."""
        o = self._options
        with self._lock:
            self._messages -= messages
            self._bytes -= size
            if self._waiting and (self._messages <= o.buffer_messages // 2 and self._bytes <= o.buffer_bytes // 2):
                self._room.notify_all()

    def flush(self, timeout: Optional[float] = None) -> None:
        """Waits until everything that was accepted so far is stored or has failed."""
        self._thread.call(self._flush(), timeout)

    async def _flush(self) -> None:
        self._drain()
        await self._core.flush()

    def close(self, timeout: Optional[float] = None) -> None:
        """Sends what was accepted, waits until all of it is stored or has failed, and ends the producer. When the time is over, what is left fails with
        ClosedError, and TimedOutError is raised."""
        if self._thread.ending:  # or this is the end of a child, for which the parent sends what was accepted
            return
        self._thread.check()
        with self._lock:
            again, self._closing = self._closing, True
            self._room.notify_all()
        if again:
            return
        atexit.unregister(self.close)
        flushed = self._thread.end(self._close(timeout))
        if not flushed:
            raise TimedOutError(f"not everything was sent within {timeout:g} s")

    async def _close(self, timeout: Optional[float]) -> bool:
        self._drain()
        return await self._core.close(timeout)

    def __enter__(self) -> Producer:
        return self

    def __exit__(self, kind: Optional[type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]) -> None:
        self.close()
