"""When a broker of a cluster is avoided."""

from __future__ import annotations

from metaq.core.breaker import AVOID_FOR, Breaker


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_five_failures_in_a_row_open_it_and_one_success_closes_it() -> None:
    clock = Clock()
    breaker = Breaker(clock)
    for _ in range(4):
        breaker.ended(False)
    assert breaker.admits()
    breaker.ended(False)
    assert breaker.state == "open" and not breaker.admits()
    breaker.ended(True)  # of what was sent before
    assert breaker.state == "open"
    clock.now += AVOID_FOR
    assert breaker.state == "half-open" and breaker.admits()
    breaker.chosen()
    assert not breaker.admits(), "one message tries it"
    breaker.ended(False)
    assert breaker.state == "open"
    clock.now += AVOID_FOR
    breaker.chosen()
    breaker.ended(True)
    assert breaker.state == "closed" and breaker.admits()


def test_more_failures_than_successes_open_it() -> None:
    breaker = Breaker(Clock())
    for n in range(19):
        breaker.ended(n % 5 == 0 or n % 2 == 0)
    assert breaker.state == "closed"
    for n in range(40):
        breaker.ended(n % 4 == 0)
    assert breaker.state == "open"


def test_old_failures_do_not_count() -> None:
    clock = Clock()
    breaker = Breaker(clock)
    for _ in range(30):
        breaker.ended(True)
        breaker.ended(False)
        clock.now += 11
    assert breaker.state == "closed"
