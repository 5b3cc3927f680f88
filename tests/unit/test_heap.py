"""The garbage collector leaves alone what was made at the start."""

import gc
import weakref
from collections.abc import Iterator

import pytest

from shared import heap


class Thing:
    """Can be watched."""


@pytest.fixture
def thawed() -> Iterator[None]:
    yield
    gc.unfreeze()


@pytest.mark.usefixtures("thawed")
def test_what_is_there_is_looked_at_no_more_and_what_comes_is() -> None:
    heap.settle()
    assert gc.get_freeze_count() > 1000
    assert len(gc.get_objects()) < 1000
    thing = Thing()
    thing.__dict__["itself"] = thing
    gone = weakref.ref(thing)
    del thing
    gc.collect()
    assert gone() is None
