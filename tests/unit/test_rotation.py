"""Which provider is asked next, and how long before it."""

import pytest

from shared.rotation import Rotation, backoff_s


def best(rotation: Rotation) -> tuple[int, int]:
    return next(iter(rotation.order()))


def test_the_first_loss_is_forgiven_and_the_next_choice_follows() -> None:
    rotation = Rotation(2)
    rotation.lost(0)
    assert best(rotation) == (0, 0)
    rotation.failed(0)
    assert best(rotation) == (0, 1)
    rotation.failed(1)
    assert list(rotation.order()) == [(1, 0), (1, 1)]


def test_a_choice_that_fell_silent_makes_way_at_once() -> None:
    rotation = Rotation(2)
    rotation.lost(0, silent=True)
    assert list(rotation.order()) == [(0, 1), (1, 0)]


def test_a_choice_that_is_lost_before_it_did_anything_is_not_forgiven() -> None:
    rotation = Rotation(2)
    rotation.lost(0)
    rotation.lost(0)
    assert best(rotation) == (0, 1)


def test_the_only_choice_is_asked_again_with_growing_waits() -> None:
    rotation = Rotation(1)
    rotation.lost(0)
    steps = []
    for _ in range(4):
        steps.append(best(rotation)[0])
        rotation.failed(0)
    assert steps == [0, 1, 2, 3]


def test_whoever_answered_is_asked_again_first_when_it_is_lost() -> None:
    rotation = Rotation(2)
    rotation.lost(0)
    rotation.failed(0)
    rotation.answered()
    rotation.lost(1)
    assert list(rotation.order()) == [(0, 1), (0, 0)]


def test_a_choice_that_refused_is_not_asked_again() -> None:
    rotation = Rotation(2)
    rotation.refused(0)
    assert [index for _, index in rotation.order()] == [1]
    rotation.refused(1)
    assert list(rotation.order()) == []


@pytest.mark.parametrize(("step", "most_s"), [(0, 0.0), (1, 0.2), (2, 0.4), (5, 3.2), (6, 5.0), (60, 5.0)])
def test_waits_grow_up_to_five_seconds_and_are_spread_from_nothing(step: int, most_s: float) -> None:
    assert backoff_s(step, 1.0) == pytest.approx(most_s)
    assert backoff_s(step, 0.5) == pytest.approx(most_s / 2)
    assert backoff_s(step, 0.0) == 0.0
