"""Audio frames: a message of several words says where each of them is over."""

import copy
import pickle

import msgpack
import pytest

from shared.messages import AudioOut, BadFrame
from shared.messages.audio import Spoken, WordEnd, pack, unpack_out

WORDS = (WordEnd(2, "Good "), WordEnd(5, ""), WordEnd(8, "day!"))


def frame(text: str) -> AudioOut:
    return AudioOut(1, 2, 3, 4, 5.0, 6.0, b"\x01" * 8, text, last=False)


def test_words_travel_with_their_ends() -> None:
    received = unpack_out(pack(frame(Spoken(WORDS))))
    assert received.text == "Good day!"
    assert received.words == WORDS
    assert msgpack.unpackb(pack(frame(Spoken(WORDS))))[7] == [[2, "Good "], [5, ""], [8, "day!"]]


def test_words_that_tell_no_end_are_over_with_the_payload() -> None:
    received = unpack_out(pack(frame("Good day!")))
    assert received == frame("Good day!")
    assert received.words == (WordEnd(8, "Good day!"),)


@pytest.mark.parametrize(
    "words",
    [
        [],
        [[2, "Good "], [7, "day!"]],
        [[2, "Good "], [9, "day!"]],
        [[9, "Good "], [8, "day!"]],
        [[-1, "Good "], [8, "day!"]],
        [[2, "Good "], [8]],
        [["2", "Good "], [8, "day!"]],
        None,
    ],
)
def test_words_that_do_not_fit_the_payload_are_no_frame(words: object) -> None:
    with pytest.raises(BadFrame):
        unpack_out(msgpack.packb([1, 2, 3, 4, 5.0, 6.0, b"\x01" * 8, words, False]))


def test_only_frames_are_packed() -> None:
    with pytest.raises(NotImplementedError):
        pack(frame(object()))  # type: ignore[arg-type]


def test_words_stay_words_when_they_are_pickled_or_copied() -> None:
    spoken = Spoken([WordEnd(100, "Good "), WordEnd(160, "day.")])
    # The chaos campaign hands what it recorded to another process.
    for again in (pickle.loads(pickle.dumps(spoken)), copy.copy(spoken)):  # noqa: S301 - our own bytes
        assert (again, again.words) == ("Good day.", spoken.words)
