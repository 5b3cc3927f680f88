"""Pieces of a reply that travel together: the first ones alone, then as many as the caller's ear allows."""

from hypothesis import given
from hypothesis import strategies as st

from services.tts.gathering import Gathering, Message
from services.tts.provider import Piece
from shared.audio import bytes_of, duration_ms
from shared.messages import AudioOut

PIECES = st.lists(st.tuples(st.integers(1, 500), st.sampled_from(["word ", ""]), st.integers(0, 700)), max_size=30)


def piece(ms: int, text: str = "word ", *, last: bool = False) -> Piece:
    return Piece(1, b"\x01" * bytes_of(ms), text, last)


def words(message: Message) -> list[tuple[int, str]]:
    frame = AudioOut(1, 1, 1, 0, 0.0, 0.0, message.mulaw, message.text, message.last)
    return [(end // 8, text) for end, text in frame.words]


def lengths(messages: list[Message]) -> list[int]:
    return [duration_ms(message.mulaw) for message in messages]


def ahead() -> Gathering:
    """Of a reply of which the caller has 600 ms to hear at the time 0."""
    gathering = Gathering()
    gathering.add(piece(500), 0.0)
    gathering.add(piece(100), 0.0)
    return gathering


def test_the_first_words_leave_one_by_one() -> None:
    gathering = Gathering()
    assert [lengths(gathering.add(piece(ms), 0.0)) for ms in (200, 250, 150)] == [[200], [250], [150]]
    assert gathering.due_at is None


def test_words_wait_for_others_while_the_caller_has_enough_to_hear() -> None:
    gathering = ahead()
    assert gathering.add(piece(200, "One "), 0.0) == []
    assert gathering.add(piece(250, "two "), 0.0) == []
    (message,) = gathering.add(piece(150, "three. "), 0.0)
    assert words(message) == [(200, "One "), (450, "two "), (600, "three. ")]
    assert message.text == "One two three. "


def test_a_message_that_would_be_too_long_leaves_before() -> None:
    gathering = ahead()
    gathering.add(piece(400), 0.0)
    assert lengths(gathering.add(piece(450), 0.0)) == [400]
    assert lengths(gathering.add(piece(300), 0.0)) == [750]


def test_a_long_word_waits_for_nothing() -> None:
    assert lengths(ahead().add(piece(500), 0.0)) == [500]


def test_the_end_of_the_reply_waits_for_nothing() -> None:
    gathering = ahead()
    gathering.add(piece(200, "bye"), 0.0)
    (message,) = gathering.add(piece(0, ".", last=True), 0.0)
    assert (words(message), message.last) == ([(200, "bye"), (200, ".")], True)


def test_what_waits_leaves_with_the_next_word_when_the_caller_has_less_to_hear() -> None:
    gathering = ahead()
    gathering.add(piece(100), 0.0)
    assert lengths(gathering.add(piece(150), 0.1)) == [250]


def test_what_waits_is_due_before_the_caller_has_heard_all_else() -> None:
    gathering = ahead()
    gathering.add(piece(200), 0.0)
    assert gathering.due_at == 0.3
    assert lengths([gathering.release(0.3)]) == [200]
    assert gathering.due_at is None


def test_after_a_silence_the_words_leave_one_by_one_again() -> None:
    gathering = ahead()
    assert [lengths(gathering.add(piece(ms), 5.0)) for ms in (500, 200)] == [[500], [200]]
    assert gathering.add(piece(100), 5.0) == []


@given(PIECES)
def test_nothing_is_lost_and_nothing_is_heard_later(script: list[tuple[int, str, int]]) -> None:
    """`script`: the length of each piece, its text, and how long after the one before it comes."""
    gathering, sent = Gathering(), list[tuple[float, Message]]()
    now, given_ms, alone_until, together_until = 0.0, 0, 0.0, 0.0
    for index, (ms, text, wait_ms) in enumerate(script):
        now += wait_ms / 1000
        if gathering.due_at is not None and gathering.due_at <= now:
            sent.append((gathering.due_at, gathering.release(gathering.due_at)))
        sent += [(now, message) for message in gathering.add(piece(ms, text, last=index == len(script) - 1), now)]
        given_ms += ms
        alone_until = max(alone_until, now) + ms / 1000
    for at, message in sent:
        assert at <= together_until or len(words(message)) == 1
        together_until = max(together_until, at) + duration_ms(message.mulaw) / 1000
    messages = [message for _, message in sent]
    assert all(length <= 800 for length in lengths(messages))
    assert sum(lengths(messages)) == given_ms
    assert "".join(message.text for message in messages) == "".join(text for _, text, _ in script)
    assert [text for message in messages for _, text in words(message)] == [text for _, text, _ in script]
    assert abs(together_until - alone_until) < 1e-6
