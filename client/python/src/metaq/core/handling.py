"""What happens when a handler fails, for the `run` of both faces."""

from __future__ import annotations

import logging
from time import monotonic
from typing import Callable, Optional

from metaq.core.batch import Batch
from metaq.core.options import STOPPED_FOR, Retry
from metaq.errors import UsageError
from metaq.model import Message

log = logging.getLogger("metaq.consumer")


class Handling:
    """The message is tried again after pauses; then the dead handler gets it, and it counts as done. Without a dead handler the error ends `run`."""

    def __init__(self, retry: Optional[Retry], dead: Optional[Callable[[Message, Exception], object]], workers: int) -> None:
        if workers < 1:
            raise UsageError(f"{workers} workers: at least one is needed")
        self._retry = retry or (Retry() if dead is not None else Retry(attempts=1))
        self.dead = dead

    def failed(self, batch: Batch, message: Message, error: Exception) -> bool:
        """Notes that a handler has failed. True: the message has been tried often enough; otherwise its batch goes on after a pause."""
        batch.tries += 1
        if batch.tries >= self._retry.attempts:
            return True
        batch.resume = monotonic() + self._retry.pause(batch.tries)
        log.info("%s/%s at %d: try %d fails: %r", message.topic, message.partition, message.offset, batch.tries, error)
        return False

    def dead_failed(self, batch: Batch, message: Message, error: Exception) -> None:
        """Notes that nobody takes a message: losing it would be worse than that its partition waits. Handler and dead handler get it again."""
        batch.resume = monotonic() + STOPPED_FOR
        log.error("%s/%s at %d: the dead handler fails too, the partition waits: %r", message.topic, message.partition, message.offset, error)
