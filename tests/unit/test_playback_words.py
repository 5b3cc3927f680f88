"""The playback clock and messages of several words: one mark each, and still exact to the word."""

from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.gateway.playback import PlaybackClock, Step
from shared.messages import Playback
from tests.playback_phone import START, Phone, lengths, message, told

ONE_TWO_THREE = ((200, "One "), (300, "two "), (100, "three. "))
GROUPS = st.lists(
    st.lists(st.tuples(st.integers(1, 400), st.sampled_from(["word ", ""])), min_size=1, max_size=4),
    min_size=1,
    max_size=6,
)
SCRIPT = st.lists(
    st.tuples(st.sampled_from(["come", "come", "mark", "mark", "pause", "resume", "clear"]), st.integers(0, 900)),
    max_size=40,
)


@pytest.fixture
def phone() -> Phone:
    return Phone()


def test_a_message_costs_one_mark(phone: Phone) -> None:
    step = phone.words(*ONE_TWO_THREE, last=True)
    assert lengths(step) == [600]
    assert told(phone.at(600).played(step)) == [(1, "finished", 600, "One two three. ")]


@pytest.mark.parametrize(("ms", "heard"), [(199, ""), (200, "One "), (499, "One "), (500, "One two ")])
def test_within_a_message_the_time_tells_the_words(phone: Phone, ms: int, heard: str) -> None:
    phone.words(*ONE_TWO_THREE)
    assert told(phone.at(ms).clear()) == [(1, "cleared", ms, heard)]


@pytest.mark.parametrize(("ms", "heard"), [(0, "One "), (99, "One "), (299, "One "), (300, "One two ")])
def test_after_a_mark_only_the_time_since_then_counts(phone: Phone, ms: int, heard: str) -> None:
    first = phone.words((200, "One "))
    phone.words((300, "two "), (300, "three "))
    # The mark is 150 ms late: the caller hears "two" as late.
    phone.at(350).played(first)
    assert told(phone.at(350 + ms).clear()) == [(1, "cleared", 200 + ms, heard)]


def test_a_paused_message_goes_on_at_the_word_where_it_stopped(phone: Phone) -> None:
    phone.words(*ONE_TWO_THREE)
    phone.words((150, "Four "), (150, "five."), last=True)
    assert told(phone.at(450).pause()) == [(1, "paused", 450, "One ")]
    step = phone.at(1000).resume()
    assert lengths(step) == [400, 300]
    assert told(phone.at(1000 + 300).pause()) == [(1, "paused", 500, "One two ")]
    assert lengths(phone.at(2000).resume()) == [100, 300]


def test_words_that_were_heard_to_the_end_of_a_message_do_not_come_again(phone: Phone) -> None:
    phone.words((150, "One "), (150, "two "))
    phone.words((150, "three "), (150, "four."), last=True)
    phone.at(300).pause()
    assert lengths(phone.at(1000).resume()) == [300]


def test_a_message_may_end_with_words_that_have_no_sound(phone: Phone) -> None:
    step = phone.words((150, "One "), (0, "…"), last=True)
    assert lengths(step) == [150]
    assert told(phone.at(150).played(step)) == [(1, "finished", 150, "One …")]


@dataclass
class Played:
    """A clock, and what it had the line do."""

    clock: PlaybackClock = field(default_factory=PlaybackClock)
    marks: list[str] = field(default_factory=list)
    audio: bytes = b""
    reports: list[Playback] = field(default_factory=list)

    def follow(self, step: Step) -> None:
        for outgoing in step.play:
            self.audio += outgoing.payload
            self.marks.append(outgoing.mark)
        self.reports += step.reports


@given(GROUPS, SCRIPT)
def test_how_words_travel_changes_nothing_of_what_was_heard(
    groups: list[list[tuple[int, str]]], script: list[tuple[str, int]]
) -> None:
    """Word by word and in groups, with marks at the ends of the groups."""
    alone, together, now, waiting = Played(), Played(), START, list(groups)
    marks: list[str] = []
    for order, ms in script:
        now += ms / 1000
        if order == "come" and waiting:
            group = waiting.pop(0)
            together.follow(together.clock.admit(message(group, now, last=not waiting), now))
            for index, word in enumerate(group, 1):
                alone.follow(alone.clock.admit(message([word], now, last=not waiting and index == len(group)), now))
        elif order == "mark" and marks:
            mark = marks.pop(0)
            together.follow(together.clock.mark(mark, now))
            alone.follow(alone.clock.mark(mark, now))
        elif order in ("pause", "resume", "clear"):
            for played in (alone, together):
                clock = played.clock
                orders = {"pause": clock.pause, "resume": clock.resume, "clear": clock.clear}
                played.follow(orders[order](2 if order == "clear" else 1, now))
        marks += together.marks
        assert set(together.marks) <= set(alone.marks)
        together.marks, alone.marks = [], []
        assert alone.clock.reply == together.clock.reply
        assert alone.clock.speaking == together.clock.speaking
    assert alone.audio == together.audio
    assert alone.reports == together.reports
