"""The order of a reply that changes voices."""

from services.tts.resumption import Order, Resumption
from shared.messages import ReplyEnd, ReplyText


def say(sequence: int, text: str = "", generation: int = 1) -> ReplyText:
    return ReplyText(generation=generation, turn_id=1, sequence=sequence, text=text)


def end(pieces: int, generation: int = 1) -> ReplyEnd:
    return ReplyEnd(generation=generation, turn_id=1, pieces=pieces)


def taken(resumption: Resumption, *orders: Order) -> list[Order]:
    return [ready for order in orders for ready in resumption.take(order)]


def test_what_begins_at_the_beginning_passes() -> None:
    orders: list[Order] = [say(0), say(1), end(2)]
    resumption = Resumption()
    assert taken(resumption, *orders) == orders
    assert resumption.settle() == []


def test_what_begins_in_the_middle_waits() -> None:
    resumption = Resumption()
    assert taken(resumption, say(3), say(4), end(5)) == []
    assert resumption.settle() == [say(3), say(4), end(5)]


def test_what_came_too_early_follows_what_belongs_before_it() -> None:
    resumption = Resumption()
    assert taken(resumption, say(2), end(3), say(0), say(1)) == [say(0), say(1), say(2), end(3)]


def test_what_comes_again_replaces_what_waits_and_not_what_has_passed() -> None:
    resumption = Resumption()
    assert taken(resumption, say(0, "a"), say(0, "b"), say(4, "whole"), say(3), say(4, "rest")) == [say(0, "a")]
    assert resumption.settle() == [say(3), say(4, "rest")]


def test_the_end_is_never_lost() -> None:
    resumption = Resumption()
    assert taken(resumption, say(0), say(1), end(1), end(1)) == [say(0), say(1), end(1), end(1)]
    assert taken(resumption, end(9)) == []
    assert resumption.settle() == [end(9)]


def test_a_newer_reply_makes_the_older_one_void() -> None:
    resumption = Resumption()
    assert taken(resumption, say(3), say(0, generation=2), say(2)) == [say(0, generation=2)]
    assert resumption.settle() == []
