"""What a reader hands over, and the hands that take it. Here the loop and the program meet.

The loop appends batches to `Hands.ready`, and the program takes them, in the same thread (`metaq.aio`) or in others. No lock is taken for a message. Where both
sides have to agree, each first sets a flag of its own and then looks at that of the other: a batch sets `in_hand`, then looks at `released`; whoever
releases a reader sets `released`, then looks at `in_hand`. So at least one of them sees the other, and nothing is handed over after a release has seen
that nothing is in hand."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator
from time import monotonic
from typing import TYPE_CHECKING, Callable, Optional

from metaq.errors import MetaQError
from metaq.model import Message

if TYPE_CHECKING:
    from metaq.core.reader import Reader

_UNSURE_FOR = 0.1
"""Seconds after which a claim that was not valid is looked at again."""


class Batch:
    """The messages of one answer that are not done with. Until they are, their reader hands over no other batch: that keeps the messages of a partition in
    order, however many threads or tasks handle messages."""

    __slots__ = ("at", "messages", "reader", "resume", "tries")

    def __init__(self, reader: Reader, messages: list[Message]) -> None:
        self.reader = reader
        self.messages = messages
        self.at = 0  # of the first message that is not done
        self.resume = 0.0  # not before, if it is set aside
        self.tries = 0  # of the first message, which have failed

    def each(self) -> Generator[Message, None, None]:
        """Hands over one message after the other, while they are this consumer's for sure. A message is done when the next one is asked for, and not when
        this generator is closed instead."""
        reader = self.reader
        hands, valid, manual = reader.hands, reader.valid, reader.manual
        try:
            for message in self.messages[self.at :]:
                reader.in_hand = not manual
                if reader.released or reader.paused or hands.stopped:
                    break
                if valid is not None and not valid():
                    self.resume = monotonic() + _UNSURE_FOR  # unless the partition is released meanwhile
                    break
                yield message
                if not manual:
                    reader.position = message
                self.at += 1
                self.tries = 0
        finally:
            self.put_down()

    def put_down(self) -> None:
        """Nobody has a message of it any more. What is left goes on when messages are asked for, at its time."""
        reader = self.reader
        if not reader.released:
            if self.at == len(self.messages):
                reader.hands.call(reader.turn.set)
            else:
                reader.hands.aside.append(self)
        reader.in_hand = False
        if reader.released:
            reader.hands.call(reader.put_down.set)


class Hands:
    """Where batches wait for the program. `wake` tells it that there is something to look at, and `call` has something done on the loop; both may be called
    from any thread."""

    def __init__(self, wake: Callable[[], None], call: Callable[[Callable[[], None]], None]) -> None:
        self.ready: deque[Batch] = deque()
        self.aside: list[Batch] = []  # not done with; they go on when messages are asked for, at their times
        self.wake = wake
        self.call = call
        self.stopped = False  # nothing more is handed over
        self.fatal: Optional[MetaQError] = None  # why, if no retry mends it

    def take(self) -> tuple[Optional[Batch], Optional[float]]:
        """A batch, or how long it is until one goes on that is set aside; None if there is nothing. One thread at a time calls it."""
        wait: Optional[float] = None
        now = 0.0
        for batch in list(self.aside):
            reader = batch.reader
            if reader.released:
                self.aside.remove(batch)
            elif not reader.paused:
                now = now or monotonic()
                left = batch.resume - now
                if left <= 0:
                    self.aside.remove(batch)
                    return batch, None
                wait = left if wait is None else min(wait, left)
        while self.ready:
            batch = self.ready.popleft()
            if not batch.reader.released:
                return batch, None
        return None, wait

    def fail(self, error: MetaQError) -> None:
        """Ends the consumer with an error that no retry mends."""
        if self.fatal is None:
            self.fatal = error
        self.stop()

    def stop(self) -> None:
        """Nothing more is handed over."""
        self.stopped = True
        self.wake()
