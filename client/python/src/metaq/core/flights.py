"""What a spout has in flight, see metaq.storm."""

from __future__ import annotations

import heapq
from collections import deque
from typing import Callable, Optional

from metaq.model import Message, Offset, TopicPartition

_MAX_AHEAD = 20_000
"""Messages of a partition that are done while one before them is not; as many may come again after a crash."""

_READY, _EMITTED, _PAUSING, _DYING, _DONE, _DROPPED = range(6)


class Flight:
    """A message from when the consumer has handed it over until it is done or dropped."""

    __slots__ = ("due", "failures", "id", "message", "place", "plain", "state", "why", "window")

    def __init__(self, message: Message, place: TopicPartition, window: _Window) -> None:
        self.message = message
        self.place = place
        self.window = window
        self.state = _READY
        self.failures = 0
        self.why = ""
        self.id = ""  # of the last tuple
        self.due = 0.0
        self.plain = False  # it does not fit into the dead-letter topic with what would be said of it

    def dying(self) -> bool:
        """Whether it is on its way to the dead-letter topic."""
        return self.state == _DYING


class _Window:
    """The messages of a partition, from the first that is not done on. `open` of them are in flight."""

    __slots__ = ("flights", "last", "open")

    def __init__(self) -> None:
        self.flights: deque[Flight] = deque()
        self.open = 0
        self.last = -1  # offset of the last one


class InFlight:
    """Says of each message in flight where it is. It does no I/O and reads no clock; `done` is told where a partition goes on."""

    def __init__(self, done: Callable[[TopicPartition, Offset], object], *, tries: int, retry_from: float, retry_to: float, answer_in: float, most: int) -> None:
        self.tries, self.retry_from, self.retry_to, self.answer_in, self.most = tries, retry_from, retry_to, answer_in, most
        self.emitted: dict[str, Flight] = {}
        self.bytes = 0
        self.counts = dict.fromkeys(("received", "emitted", "replayed", "acked", "failed", "timedOut", "unreadable", "dead", "dropped", "late", "inFlight"), 0)
        self._done = done
        self._windows: dict[TopicPartition, _Window] = {}
        self._again: deque[Flight] = deque()  # ready, after a failure
        self._fresh: deque[Flight] = deque()
        self._due: list[tuple[float, int, Flight]] = []  # a heap; what does not match its flight any more counts for nothing
        self._scheduled = 0

    def add(self, message: Message) -> None:
        """Takes a message over."""
        place = TopicPartition(message.topic, message.partition)
        window = self._windows.get(place)
        if window is not None and message.offset <= window.last:
            self.drop(place)  # the partition was another's in between, or is read again from elsewhere
            window = None
        if window is None:
            window = self._windows[place] = _Window()
        flight = Flight(message, place, window)
        window.flights.append(flight)
        window.open += 1
        window.last = message.offset
        self._fresh.append(flight)
        self.bytes += len(message.body)
        self.counts["received"] += 1
        self.counts["inFlight"] += 1

    def room(self, place: TopicPartition, most: int) -> bool:
        """Whether a partition may have more in flight."""
        window = self._windows.get(place)
        return window is None or (window.open < most and len(window.flights) < _MAX_AHEAD)

    def next(self) -> Optional[Flight]:
        """A message that Storm may have now: what has failed first, then in the order of its partition."""
        if self.most and len(self.emitted) >= self.most:
            return None
        for queue in (self._again, self._fresh):
            while queue:
                flight = queue.popleft()
                if flight.state == _READY:
                    return flight
        return None

    def emit(self, flight: Flight, now: float) -> str:
        """Notes that Storm has got a message, and names the tuple."""
        m = flight.message
        flight.id = f"{m.topic}:{m.partition}:{m.offset}#{flight.failures + 1}"
        flight.state = _EMITTED
        self.emitted[flight.id] = flight
        if self.answer_in:
            self._at(flight, now + self.answer_in)
        self.counts["emitted"] += 1
        if flight.failures:
            self.counts["replayed"] += 1
        return flight.id

    def ack(self, tuple_id: object) -> None:
        """Takes Storm's word that a tuple is dealt with. An answer that comes too late for its tuple counts for nothing."""
        flight = self._answered(tuple_id)
        if flight is not None:
            self.counts["acked"] += 1
            self._finish(flight)

    def fail(self, tuple_id: object, now: float) -> Optional[Flight]:
        """Takes Storm's word that a tuple has failed. Returns the message if it is to go to the dead-letter topic."""
        flight = self._answered(tuple_id)
        if flight is None:
            return None
        self.counts["failed"] += 1
        return self._failed(flight, "it failed in the topology", now)

    def _answered(self, tuple_id: object) -> Optional[Flight]:
        flight = self.emitted.get(tuple_id) if isinstance(tuple_id, str) else None
        if flight is None:
            self.counts["late"] += 1
        return flight

    def _failed(self, flight: Flight, why: str, now: float) -> Optional[Flight]:
        del self.emitted[flight.id]
        flight.failures += 1
        if self.tries and flight.failures >= self.tries:
            self.bury(flight, why)
            return flight
        flight.state = _PAUSING
        self._at(flight, now + min(self.retry_from * 2 ** min(flight.failures - 1, 60), self.retry_to))
        return None

    def unreadable(self, flight: Flight, why: str) -> None:
        """Notes that the scheme does not read a message."""
        self.counts["unreadable"] += 1
        self.bury(flight, why)

    def bury(self, flight: Flight, why: str) -> None:
        """Notes that a message is on its way to the dead-letter topic."""
        flight.state, flight.why, flight.due = _DYING, why, 0.0

    def bury_again(self, flight: Flight, at: float) -> None:
        """Notes that the dead-letter topic did not take a message; `expire` returns it at its time."""
        if flight.state == _DYING:
            self._at(flight, at)

    def buried(self, flight: Flight) -> None:
        """Notes that the dead-letter topic has a message."""
        if flight.state == _DYING:
            self.counts["dead"] += 1
            self._finish(flight)

    def expire(self, now: float) -> list[Flight]:
        """Lets those whose pause is over be ready, and takes those for failed that Storm has not answered for. Returns what is to go to the dead-letter topic."""
        dead = []
        while self._due and self._due[0][0] <= now:
            due, _, flight = heapq.heappop(self._due)
            if flight.due != due or flight.state in (_DONE, _DROPPED):
                continue
            flight.due = 0.0
            if flight.state == _PAUSING:
                flight.state = _READY
                self._again.append(flight)
            elif flight.state == _DYING:
                dead.append(flight)
            elif flight.state == _EMITTED:
                self.counts["timedOut"] += 1
                if self._failed(flight, f"Storm gave no answer for it in {self.answer_in:g} s", now) is not None:
                    dead.append(flight)
        return dead

    def _at(self, flight: Flight, due: float) -> None:
        self._scheduled += 1
        flight.due = due
        heapq.heappush(self._due, (due, self._scheduled, flight))
        if len(self._due) > 4 * self.counts["inFlight"] + 1000:  # mostly what counts for nothing
            self._due = [entry for entry in self._due if entry[2].due == entry[0] and entry[2].state not in (_DONE, _DROPPED)]
            heapq.heapify(self._due)

    def _finish(self, flight: Flight) -> None:
        """A message is done. The group goes on before the first of its partition that is not."""
        self._forget(flight, _DONE)
        last: Optional[Message] = None
        flights = flight.window.flights
        while flights and flights[0].state == _DONE:
            last = flights.popleft().message
        if last is not None and self._windows.get(flight.place) is flight.window:
            self._done(flight.place, Offset(last.next_offset, last.id))

    def _forget(self, flight: Flight, state: int) -> None:
        if self.emitted.get(flight.id) is flight:
            del self.emitted[flight.id]
        flight.state = state
        flight.window.open -= 1
        self.bytes -= len(flight.message.body)
        self.counts["inFlight"] -= 1
        flight.message = flight.message._replace(body=b"")

    def drop(self, place: TopicPartition) -> None:
        """Forgets what is in flight of a partition: the next owner gets it."""
        window = self._windows.pop(place, None)
        for flight in window.flights if window is not None else ():
            self._drop(flight)

    def drop_unemitted(self) -> None:
        """Forgets what Storm does not have."""
        for window in self._windows.values():
            for flight in window.flights:
                if flight.state in (_READY, _PAUSING):
                    self._drop(flight)

    def drop_all(self) -> None:
        """Forgets everything."""
        for place in list(self._windows):
            self.drop(place)

    def _drop(self, flight: Flight) -> None:
        if flight.state not in (_DONE, _DROPPED):
            self.counts["dropped"] += 1
            self._forget(flight, _DROPPED)
