"""What can go wrong, as a tree under MetaQError, and whether doing the same again may help."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from metaq.model import TopicPartition


class MetaQError(Exception):
    """Everything that this package raises on purpose."""


class UsageError(MetaQError, ValueError):
    """An argument that can never work: it is wrong before anything is sent."""


class ClosedError(MetaQError):
    """Something is used after it was closed."""

    def __init__(self, what: str = "it is closed") -> None:
        super().__init__(what)


class TooLargeError(UsageError):
    """A message that can never fit into the buffer of the producer."""


class TimedOutError(MetaQError, TimeoutError):
    """The time that the caller gave is over. What was sent may be stored all the same."""


class NoBrokerError(MetaQError):
    """No broker is known for a topic or a partition."""


class ConnectionLostError(MetaQError, ConnectionError):
    """The connection to a broker cannot be made, or it broke."""


class ProtocolError(MetaQError):
    """An answer that no broker gives: whoever answers there is none."""


class ChecksumError(ProtocolError):
    """The bytes of a message do not have the checksum that came with them."""


class OffsetStoreError(MetaQError):
    """The store of offsets fails. The error of the store is the cause."""


class OffsetsMovedError(MetaQError):
    """Somebody else has changed offsets, so they are not saved. All others of the same call are."""

    def __init__(self, places: Sequence[TopicPartition]) -> None:
        super().__init__("somebody else has changed the offsets of " + ", ".join(map(str, places)))
        self.places = tuple(places)

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.places,)


class StatusError(MetaQError):
    """An answer of the broker other than 200. `text` is the broker's sentence."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(f"{status} {text}")
        self.status = status
        self.text = text

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.status, self.text)


class MovedError(StatusError):
    """301: an offset is not the beginning of a message. `offset` is where to go on."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(status, text)
        self.offset = int(text)


class BadRequestError(StatusError):
    """400: the command is wrong, and stays so."""


class UnauthorizedError(StatusError):
    """401: not authenticated."""


class ForbiddenError(StatusError):
    """403: the partition is closed, or the client has no right to this."""


class NotFoundError(StatusError):
    """404: nothing is there, or not yet."""


class FailedError(StatusError):
    """500: the broker refuses, and says why."""


class UnavailableError(StatusError):
    """503: not now. It may be taken a little later."""


class BrokerTimeoutError(StatusError):
    """504: it is not known whether the command was carried out."""


_BY_STATUS: dict[int, type[StatusError]] = {
    400: BadRequestError,
    401: UnauthorizedError,
    403: ForbiddenError,
    404: NotFoundError,
    500: FailedError,
    503: UnavailableError,
    504: BrokerTimeoutError,
}


def from_status(status: int, text: str) -> StatusError:
    """The error of an answer that is not 200."""
    if status == 301:
        try:
            return MovedError(status, text)
        except ValueError:
            return StatusError(status, text)
    return _BY_STATUS.get(status, StatusError)(status, text)


def retriable(error: BaseException) -> bool:
    """Whether doing the same again may help. It is the one place that decides this."""
    if isinstance(error, StatusError):
        # The broker says that it cannot now: full, busy, draining. 400 and 401 stay wrong. 403 is a closed partition: somebody has to open it. 404 is an
        # answer, not a failure. 500 is a refusal for good, or a log that takes no more until somebody restarts the broker.
        return isinstance(error, (UnavailableError, BrokerTimeoutError))
    # A broken connection may be had anew, and only the store of offsets knows what is wrong with it.
    return isinstance(error, (ConnectionLostError, OffsetStoreError))


def refused_here(error: BaseException) -> bool:
    """Whether the same message may be taken elsewhere: this partition is closed (403), or something is wrong with this broker (500)."""
    return isinstance(error, (ForbiddenError, FailedError))
