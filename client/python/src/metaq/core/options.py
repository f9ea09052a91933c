"""Settings that only handlers have."""

from __future__ import annotations

from dataclasses import dataclass

from metaq.errors import UsageError


@dataclass(frozen=True)
class Retry:
    """How often and when a handler that fails gets the same message again: pauses from `first` seconds, doubling to `longest`. Its partition waits
    meanwhile, others go on."""

    attempts: int = 5
    first: float = 0.1
    longest: float = 2.0

    def __post_init__(self) -> None:
        if self.attempts < 1 or not 0 <= self.first <= self.longest:
            raise UsageError(f"{self}: at least one attempt, and pauses from 0 on, the first not longer than the longest")

    def pause(self, failed: int) -> float:
        """How long to wait after so many tries have failed."""
        return min(self.first * 2.0 ** min(failed - 1, 60), self.longest)


STOPPED_FOR = 1.0
"""Seconds that a partition waits whose message neither the handler nor the dead handler takes."""
