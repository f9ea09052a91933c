"""Whether a broker of a cluster is avoided by messages that may go elsewhere."""

from __future__ import annotations

from time import monotonic
from typing import Callable

SLOW_AFTER = 1.0
"""Seconds that an answer may take until the broker counts as slow."""

AVOID_FOR = 2.0
"""Seconds for which a broker is avoided until one message tries it again."""

# So many failures in a row make that a broker is avoided, and so do those that are more than half of at least LOOKED_AT tries within a window.
_IN_ROW, _LOOKED_AT, _WINDOW = 5, 20, 10.0


class Breaker:
    """closed --failures--> open --AVOID_FOR--> half-open --one success--> closed, or --one failure--> open."""

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._close()

    def _close(self) -> None:
        self._opened = -1.0  # < 0: closed
        self._probing = False
        self._begin_window()

    def _begin_window(self) -> None:
        self._window = self._clock() + _WINDOW
        self._tries = self._failures = self._in_row = 0

    @property
    def state(self) -> str:
        """closed, open or half-open."""
        if self._opened < 0:
            return "closed"
        return "open" if self._clock() < self._opened + AVOID_FOR else "half-open"

    def admits(self) -> bool:
        """Whether a message that may go elsewhere may go here."""
        state = self.state
        return state == "closed" or (state == "half-open" and not self._probing)

    def chosen(self) -> None:
        """Such a message goes here."""
        self._probing = self.state == "half-open"

    def ended(self, ok: bool) -> None:
        """Takes the end of a try."""
        state = self.state
        if state == "open":
            return  # it was sent all the same, and says nothing
        if state == "half-open":
            if ok:
                self._close()
            else:
                self.trip()
            return
        if self._clock() > self._window:
            self._begin_window()
        self._tries += 1
        if ok:
            self._in_row = 0
            return
        self._failures += 1
        self._in_row += 1
        if self._in_row >= _IN_ROW or (self._tries >= _LOOKED_AT and 2 * self._failures > self._tries):
            self.trip()

    def trip(self) -> None:
        """Opens it: the broker says nothing, or was tried and failed."""
        self._opened = self._clock()
        self._probing = False
