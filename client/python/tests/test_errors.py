"""Errors travel between processes as they are."""

from __future__ import annotations

import pickle

import pytest

from metaq import MovedError, NotFoundError, OffsetsMovedError, Partition, TopicPartition
from metaq.errors import MetaQError

PLACES = (TopicPartition("orders", Partition(0, 1)), TopicPartition("orders", Partition(0, 2)))


@pytest.mark.parametrize("error", [MovedError(301, "42"), NotFoundError(404, "nothing there"), OffsetsMovedError(PLACES)])
def test_an_error_is_pickled(error: MetaQError) -> None:
    copy = pickle.loads(pickle.dumps(error))
    assert (type(copy), str(copy), vars(copy)) == (type(error), str(error), vars(error))
