"""The carrier's playback buffer: what is heard when, which marks come back, what a clear takes away."""

import numpy as np
import pytest

from shared.audio import RATE, SILENCE, bytes_of
from shared.loudness import last_audible
from shared.pcm import encode
from simulator.playback import Playback

START = 1000.0


def tone(ms: float) -> bytes:
    """A loud sound: every sample is audible."""
    return encode(np.full(bytes_of(ms), 8000, dtype=np.int16))


def silence(ms: float) -> bytes:
    return SILENCE * bytes_of(ms)


def test_audio_plays_from_when_it_comes() -> None:
    playback = Playback(START)
    playback.append(START + 0.5, tone(100))
    assert playback.ends == pytest.approx(START + 0.6)
    assert playback.between(START + 0.4, START + 0.7) == silence(100) + tone(100) + silence(100)


def test_audio_that_comes_early_waits_for_what_is_queued() -> None:
    playback = Playback(START)
    playback.append(START, tone(200))
    playback.append(START + 0.05, silence(100) + tone(50))
    assert playback.ends == pytest.approx(START + 0.35)
    assert playback.underruns == 0


@pytest.mark.parametrize(("gap_s", "underruns"), [(0.0, 0), (0.001, 1), (0.3, 1), (0.69, 1), (0.7, 0), (5.0, 0)])
def test_a_short_gap_is_an_underrun_and_a_long_one_a_new_reply(gap_s: float, underruns: int) -> None:
    playback = Playback(START)
    playback.append(START, tone(100))
    playback.append(START + 0.1 + gap_s, tone(100))
    assert playback.underruns == underruns
    assert playback.ends == pytest.approx(START + 0.2 + gap_s)


def test_what_follows_a_clear_is_no_underrun() -> None:
    playback = Playback(START)
    playback.append(START, tone(1000))
    playback.clear(START + 0.2)
    playback.append(START + 0.4, tone(100))
    assert playback.underruns == 0


@pytest.mark.parametrize(("now", "due"), [(0.0, []), (0.0999, []), (0.1, ["a"]), (0.25, ["a"]), (0.3, ["a", "b"])])
def test_a_mark_is_due_when_the_audio_before_it_was_played(now: float, due: list[str]) -> None:
    playback = Playback(START)
    playback.append(START, tone(100))
    playback.mark("a")
    playback.append(START + 0.01, tone(200))
    playback.mark("b")
    assert playback.next_mark == pytest.approx(START + 0.1)
    assert playback.due(START + now + 1e-7) == due


def test_a_mark_is_handed_out_once() -> None:
    playback = Playback(START)
    playback.mark("a")
    assert playback.due(START + 1) == ["a"]
    assert playback.due(START + 2) == []
    assert playback.next_mark is None


def test_a_mark_behind_nothing_is_due_at_once() -> None:
    playback = Playback(START)
    playback.append(START, tone(100))
    playback.mark("late")
    assert playback.due(START + 5) == ["late"]
    playback.mark("alone")
    assert playback.due(START + 5) == ["alone"]


def test_a_clear_drops_what_was_not_played_and_returns_all_its_marks() -> None:
    playback = Playback(START)
    playback.append(START, tone(100))
    playback.mark("heard")
    playback.append(START, tone(300))
    playback.mark("unheard")
    playback.mark("unheard too")
    assert playback.due(START + 0.2) == ["heard"]
    assert playback.clear(START + 0.2) == ["unheard", "unheard too"]
    assert playback.ends == pytest.approx(START + 0.2)
    assert (playback.clears, playback.cleared_at) == (1, [START + 0.2])
    assert playback.between(START, START + 0.4) == tone(200) + silence(200)
    assert playback.due(START + 9) == []


def test_dropping_because_the_stream_is_gone_is_not_the_gateways_clear() -> None:
    playback = Playback(START)
    playback.append(START, tone(300))
    assert playback.drop(START + 0.1) == []
    assert (playback.clears, playback.cleared_at) == (0, [])
    assert playback.ends == pytest.approx(START + 0.1)


def test_the_first_audible_sample_is_found_behind_silence_and_in_the_future() -> None:
    playback = Playback(START)
    playback.append(START, silence(500) + tone(100))
    assert playback.first_audible(START) == pytest.approx(START + 0.5)
    assert playback.first_audible(START + 0.55) == pytest.approx(START + 0.55, abs=1 / RATE)
    assert playback.first_audible(START + 0.6) is None
    assert [playback.audible(START + at) for at in (0.0, 0.47, 0.49, 0.55, 0.61)] == [False, False, True, True, False]


def test_nothing_is_audible_before_anything_came() -> None:
    playback = Playback(START)
    assert playback.first_audible(START) is None
    assert playback.ends == START
    assert playback.between(START, START + 0.02) == silence(20)


def test_the_last_audible_sample_is_before_the_silence_at_the_end() -> None:
    assert last_audible(silence(10) + tone(10) + silence(50)) == bytes_of(20) - 1
    assert last_audible(silence(10)) is None
    assert last_audible(b"") is None


def test_the_silence_after_the_last_sound_counts_from_that_sound() -> None:
    playback = Playback(START)
    assert playback.silent_from == START
    playback.append(START, tone(100) + silence(400))
    playback.append(START + 0.1, silence(5000))
    assert playback.silent_from == pytest.approx(START + 0.1)
    playback.append(START + 0.1, tone(100))
    assert playback.silent_from == pytest.approx(START + 5.6)
    playback.clear(START + 0.05)
    assert playback.silent_from == pytest.approx(START + 0.05)


def test_after_a_clear_the_track_goes_on_when_audio_comes() -> None:
    playback = Playback(START)
    playback.append(START, tone(1000))
    playback.clear(START + 0.3)
    playback.append(START + 0.8, tone(200))
    playback.clear(START + 0.9)
    assert playback.cleared_at == [START + 0.3, START + 0.9]
    assert playback.between(START, START + 1.1) == tone(300) + silence(500) + tone(100) + silence(200)


def places(playback: Playback) -> list[tuple[float, float]]:
    return [(round(piece.start - START, 6), round(piece.end - START, 6)) for piece in playback.pieces]


def test_the_pieces_tell_when_what_the_gateway_sent_is_played() -> None:
    playback = Playback(START)
    playback.append(START + 0.1, tone(100))
    playback.append(START + 0.15, b"")
    playback.append(START + 0.15, silence(200))
    playback.append(START + 0.9, tone(50))
    assert places(playback) == [(0.1, 0.2), (0.2, 0.4), (0.9, 0.95)]


def test_after_a_clear_only_what_was_played_counts() -> None:
    playback = Playback(START)
    for _ in range(4):
        playback.append(START, tone(100))
    playback.clear(START + 0.25)
    assert places(playback) == [(0.0, 0.1), (0.1, 0.2), (0.2, 0.25)]
    playback.append(START + 0.5, tone(100))
    playback.drop(START + 0.5)
    assert places(playback) == [(0.0, 0.1), (0.1, 0.2), (0.2, 0.25)]


@pytest.mark.parametrize(("rest_ms", "stretches"), [(0, 1), (250, 1), (299, 1), (301, 2), (2000, 2)])
def test_a_short_rest_is_part_of_what_is_played_and_a_long_one_is_not(rest_ms: int, stretches: int) -> None:
    playback = Playback(START)
    playback.append(START + 1, tone(100) + silence(rest_ms) + tone(100))
    played = playback.played()
    assert len(played) == stretches
    assert played[0][0] == pytest.approx(START + 1)
    assert played[-1][1] == pytest.approx(START + 1.2 + rest_ms / 1000)


def test_what_is_played_ends_with_the_last_sound_before_a_clear() -> None:
    playback = Playback(START)
    assert playback.played() == []
    playback.append(START, silence(500) + tone(1000))
    playback.append(START, silence(400) + tone(1000))
    playback.clear(START + 1.2)
    playback.append(START + 2, silence(300))
    assert playback.played() == [pytest.approx((START + 0.5, START + 1.2))]


def test_sounds_that_come_in_pieces_are_one_stretch_when_the_rests_between_are_short() -> None:
    playback = Playback(START)
    for _ in range(3):
        playback.append(START, tone(100) + silence(100))
    playback.append(START, silence(250) + tone(50))
    assert playback.played() == [pytest.approx((START, START + 0.5)), pytest.approx((START + 0.85, START + 0.9))]


def test_a_clear_within_a_rest_leaves_the_sound_before_it() -> None:
    playback = Playback(START)
    playback.append(START, tone(100) + silence(200) + tone(100))
    playback.clear(START + 0.2)
    assert playback.played() == [pytest.approx((START, START + 0.1))]
    assert playback.silent_from == pytest.approx(START + 0.1)
    playback.append(START + 0.25, tone(100))
    assert playback.played() == [pytest.approx((START, START + 0.35))]


@pytest.mark.parametrize("seed", range(20))
def test_the_stretches_are_those_of_the_whole_track_however_it_came(seed: int) -> None:
    random, playback, now = np.random.default_rng(seed), Playback(START), START
    for _ in range(60):
        now += float(random.exponential(0.15))
        if random.random() < 0.15:
            playback.clear(now)
        else:
            playback.append(now, silence(random.uniform(0, 300)) + tone(random.uniform(0, 80)))
    whole = Playback(START)
    whole.append(START, playback.between(START, playback.ends))
    assert playback.clears > 0
    assert playback.played() == [pytest.approx(stretch) for stretch in whole.played()]
    assert playback.silent_from == whole.silent_from
    for piece, following in zip(playback.pieces, playback.pieces[1:], strict=False):
        assert piece.start < piece.end <= following.start
