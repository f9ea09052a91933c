"""How retries are spaced."""

from __future__ import annotations

import random


class Backoff:
    """Pauses from 20 ms, doubling to 1 s, each half of it shorter or longer by chance, so that many clients do not come back at the same moment."""

    def __init__(self, first: float = 0.02, longest: float = 1.0) -> None:
        self._first, self._longest = first, longest
        self._next = first

    def reset(self) -> None:
        """Begins again with the shortest."""
        self._next = self._first

    def pause(self) -> float:
        """The next pause in seconds."""
        pause = self._next
        self._next = min(2 * pause, self._longest)
        return pause * random.uniform(0.5, 1.5)
