"""Shortlists leave out no phrase that the exact score would choose."""

import numpy as np
import pytest

from shared.mel import BANDS, Array
from simulator import ear
from simulator.shortlist import PIECE, Shortlist

LENGTHS = (9, PIECE, 17, 40, 64, 65, 90, 90, 96, 101)


def sounds(seed: int) -> list[Array]:
    """Phrases of which some begin alike."""
    random = np.random.default_rng(seed)
    first = random.random((120, BANDS), dtype=np.float32) * 8
    phrases = []
    for index, length in enumerate(LENGTHS):
        phrase = random.random((length, BANDS), dtype=np.float32) * 8
        if index % 2:
            same = min(length, 50)
            phrase[:same] = first[:same] + random.random((same, BANDS), dtype=np.float32) * index
        phrases.append(phrase)
    return phrases


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("threshold", [0.0, 0.3, 0.6, 0.88])
def test_the_best_beginning_is_on_the_list(seed: int, threshold: float) -> None:
    phrases = sounds(seed)
    chosen = 0
    for phrase in phrases[3:]:
        for length in (37, 48, 49, len(phrase) - 1):
            audio = phrase[: min(length, len(phrase) - 1)]
            scores = {i: ear._score(audio, said, 0) for i, said in enumerate(phrases) if len(said) > len(audio)}
            best = max(scores, key=lambda index: (scores[index], -index))
            listed = Shortlist(phrases).beginning(audio, threshold)
            assert listed == sorted(set(listed))
            assert all(scores[index] >= scores[best] - 0.001 for index in listed)
            assert (best in listed) == (scores[best] >= threshold)
            chosen += best in listed
    assert chosen > 0


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("threshold", [0.0, 0.3, 0.6, 0.88])
def test_every_phrase_that_fits_is_on_the_list(seed: int, threshold: float) -> None:
    random = np.random.default_rng(seed)
    phrases = sounds(seed)
    struck_off = 0
    for phrase in phrases:
        noisy = phrase + random.random(phrase.shape, dtype=np.float32) * 3
        audio = np.vstack([np.zeros((5, BANDS), dtype=np.float32), noisy, np.zeros((5, BANDS), dtype=np.float32)])
        lengths = (len(phrase) - 12, len(phrase) + 12)
        compared = [index for index, said in enumerate(phrases) if lengths[0] <= len(said) <= lengths[1]]
        fitting = [index for index in compared if ear._match(phrases[index], audio).score >= threshold]
        listed = Shortlist(phrases).whole(audio, lengths, threshold)
        assert set(fitting) <= set(listed) <= set(compared)
        assert listed == sorted(set(listed))
        struck_off += len(compared) - len(listed)
    assert (struck_off > 0) == (threshold > 0)


@pytest.mark.parametrize("seed", range(5))
def test_a_phrase_is_listed_up_to_its_own_score(seed: int) -> None:
    random = np.random.default_rng(seed)
    phrases = sounds(seed)
    gap = np.zeros((5, BANDS), dtype=np.float32)
    for phrase in phrases:
        for noise in (1, 5):
            noisy = phrase + random.random(phrase.shape, dtype=np.float32) * noise
            # The syllables do not lie quite where they should.
            noisy = np.vstack([noisy[: len(phrase) // 2], noisy[len(phrase) // 2 + noise - 1 :], gap[: noise - 1]])
            audio = np.vstack([gap, noisy, gap])
            shortlist, lengths = Shortlist(phrases), (len(phrase) - 12, len(phrase) + 12)
            for index in shortlist.whole(audio, lengths, 0):
                score = ear._match(phrases[index], audio).score
                assert index in shortlist.whole(audio, lengths, score)
                if phrases[index] is phrase and PIECE < len(phrase) <= len(audio):
                    assert index not in shortlist.whole(audio, lengths, score + 0.001)


def test_a_place_that_is_not_clear_keeps_a_phrase_on_the_list() -> None:
    one = np.random.default_rng(1).random((40, BANDS), dtype=np.float32) * 8
    twice = np.vstack([one, one])
    # Below the threshold at the one place, and as near to it at the other.
    assert Shortlist([one]).whole(twice, (30, 50), 1.1) == [0]
    assert Shortlist([one]).whole(one, (30, 50), 1.1) == []


def test_an_empty_list_is_no_error() -> None:
    audio = np.ones((50, BANDS), dtype=np.float32)
    assert Shortlist([]).beginning(audio, 0.5) == []
    assert Shortlist([]).whole(audio, (0, 100), 0.5) == []
    assert len(Shortlist([audio])) == 1
