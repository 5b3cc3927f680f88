"""The playback clock: when the agent's last reply was heard, the call is over."""

import pytest

from tests.playback_phone import Phone


@pytest.fixture
def phone() -> Phone:
    return Phone()


def test_the_call_ends_when_the_goodbye_was_heard(phone: Phone) -> None:
    phone.clock.hang_up(1)
    goodbye = phone.piece(200, "Goodbye!", last=True)
    assert not phone.clock.over
    phone.at(200).played(goodbye)
    assert phone.clock.over


def test_a_goodbye_that_was_heard_already_ends_the_call_at_once(phone: Phone) -> None:
    phone.played(phone.piece(200, "Goodbye!", last=True))
    assert not phone.clock.over
    phone.clock.hang_up(1)
    assert phone.clock.over


def test_a_goodbye_without_a_sound_ends_the_call(phone: Phone) -> None:
    phone.clock.hang_up(1)
    phone.piece(0, last=True)
    assert phone.clock.over


def test_a_goodbye_that_a_cough_held_up_ends_the_call_after_all(phone: Phone) -> None:
    phone.clock.hang_up(1)
    phone.piece(200, "Goodbye!", last=True)
    phone.at(100).pause()
    assert not phone.clock.over
    phone.at(1200).played(phone.resume())
    assert phone.clock.over


def test_a_caller_who_interrupts_the_goodbye_keeps_the_call(phone: Phone) -> None:
    phone.clock.hang_up(1)
    phone.piece(200, "Good")
    phone.at(100).clear()
    assert not phone.clock.over
    phone.played(phone.piece(200, "Yes?", generation=3, last=True))
    assert not phone.clock.over


def test_a_clear_before_the_goodbye_leaves_the_order_alone(phone: Phone) -> None:
    phone.piece(200, "old")
    phone.clock.hang_up(3)
    phone.at(100).clear(2)
    phone.played(phone.piece(200, "Goodbye!", generation=3, last=True))
    assert phone.clock.over


@pytest.mark.parametrize("generation", [0, 4])
def test_an_order_for_no_reply_or_an_older_one_ends_the_call_at_once(phone: Phone, generation: int) -> None:
    phone.clear(5)
    phone.clock.hang_up(generation)
    assert phone.clock.over


def test_before_anything_was_said_the_order_for_no_reply_ends_the_call(phone: Phone) -> None:
    phone.clock.hang_up(0)
    assert phone.clock.over
