"""Which words a stretch of a reply's audio says."""

from hypothesis import given
from hypothesis import strategies as st

from services.tts.captions import Captions

MS = 50
"""Each character of these tests lasts so long."""


def told(captions: Captions, chars: str) -> None:
    captions.align(list(chars), [index * MS for index in range(len(chars))], [MS] * len(chars))


def test_words_come_when_their_last_character_was_said() -> None:
    captions = Captions()
    captions.add("One two. ")
    told(captions, "One two. ")
    assert captions.until(2 * MS) == ""
    assert captions.until(3 * MS) == "One "
    assert captions.until(7 * MS) == ""
    assert captions.until(8 * MS) == "two. "
    assert captions.rest() == ""


def test_times_are_relative_to_the_stretch_before() -> None:
    captions = Captions()
    captions.add("One two. ")
    told(captions, "One ")
    told(captions, "two. ")
    assert captions.until(4 * MS) == "One "
    assert captions.until(7 * MS) == ""
    assert captions.until(8 * MS) == "two. "


def test_a_character_that_reaches_into_the_next_stretch_shifts_nothing() -> None:
    captions = Captions()
    captions.add("One two. ")
    captions.align("One", [0, 50, 100], [50, 50, 120])
    captions.align(" two. ", [20, 50, 100, 150, 200, 250], [30, 50, 50, 50, 50, 50])
    assert captions.word_ends() == [220, 450]


def test_times_may_count_from_the_beginning_of_the_reply() -> None:
    captions = Captions()
    captions.add("One two. ")
    captions.align("One ", [0, 50, 100, 150], [50] * 4)
    captions.align("two. ", [200, 250, 300, 350, 400], [50] * 5)
    assert captions.word_ends() == [150, 400]


def test_the_word_ends_are_those_that_were_not_passed_yet() -> None:
    captions = Captions()
    assert captions.word_ends() == []
    captions.add("One two. Thr")
    told(captions, "One two. Th")
    assert captions.word_ends() == [3 * MS, 8 * MS]
    captions.until(3 * MS)
    assert captions.word_ends() == [8 * MS]


def test_all_is_said_when_every_character_was_found_and_passed() -> None:
    captions = Captions()
    assert captions.all_said(0)
    captions.add("One two. ")
    told(captions, "One two")
    assert not captions.all_said(1000)
    captions.align(".", [0], [MS])
    assert captions.all_said(1000)
    assert not captions.all_said(7 * MS)


def test_a_word_split_between_messages_stays_whole() -> None:
    captions = Captions()
    captions.add("another one")
    told(captions, "ano")
    assert captions.until(3 * MS) == ""
    told(captions, "ther one")
    assert captions.until(7 * MS) == "another "
    assert captions.until(11 * MS) == "one"


def test_white_space_that_the_provider_adds_or_drops_does_not_matter() -> None:
    captions = Captions()
    captions.add("One,  two.\nThree")
    told(captions, " One, two.Three ")
    assert captions.until(20 * MS) == "One,  two.\nThree"


def test_a_stretch_that_is_told_twice_counts_once() -> None:
    captions = Captions()
    captions.add("One two three four. ")
    told(captions, "One two ")
    told(captions, "One two three four. ")
    assert captions.until(7 * MS) == "One two "
    assert captions.until(12 * MS) == ""
    assert captions.until(13 * MS) == "three "
    assert captions.until(19 * MS) == "four. "


def test_text_without_times_is_estimated_by_words() -> None:
    captions = Captions(chars_per_s=10)
    captions.add("One two three. ")
    assert captions.until(299) == ""
    assert captions.until(300) == "One "
    assert captions.until(1000) == "two "
    assert captions.rest() == "three. "


def test_a_reading_that_differs_from_the_text_is_estimated_and_loses_nothing() -> None:
    captions = Captions(chars_per_s=1000 / MS)
    captions.add("At 9 we open. ")
    told(captions, "At nine we open. ")
    said = captions.until(9 * MS)
    assert said == "At 9 we "
    assert said + captions.rest() == "At 9 we open. "


def test_times_that_come_back_after_an_estimate_are_used_again() -> None:
    captions = Captions(chars_per_s=1)
    captions.add("One two. ")
    assert captions.until(100) == ""
    told(captions, "One two. ")
    assert captions.until(3 * MS) == "One "


@given(
    st.lists(st.text(alphabet="ab .,é1", max_size=12), max_size=6),
    st.lists(st.text(alphabet="ab .,é1", max_size=12), max_size=6),
    st.lists(st.integers(0, 3000), max_size=10),
)
def test_nothing_is_lost_or_said_twice(pieces: list[str], heard: list[str], times: list[int]) -> None:
    captions = Captions()
    for piece in pieces:
        captions.add(piece)
    for chars in heard:
        told(captions, chars)
    given_out = [captions.until(ms) for ms in sorted(times)]
    assert "".join(given_out) + captions.rest() == "".join(pieces)
