"""How much of an utterance is the caller's own voice: scripts of windows and judgements."""

import pytest

from services.stt.voice import Voice

WINDOW = 32
MIN_MS = 250


def listen(echoes: str, min_ms: int = MIN_MS, windows: int = 60) -> tuple[Voice, list[int]]:
    """What becomes of `windows` windows when the judgements are `echoes` (e: echo, c: caller; the last one goes on),
    and after how much voice each of them was made."""
    voice = Voice(1)
    judged: list[int] = []
    for index in range(windows):
        voice.add(index * WINDOW, (index + 1) * WINDOW)
        next_ms = None if voice.sustained_ms else min_ms
        if voice.due(next_ms) is not None:
            echo = echoes[min(len(judged), len(echoes) - 1)] == "e"
            judged.append((index + 1) * WINDOW)
            voice.judge(echo=echo)
        if next_ms is not None and voice.long_enough(next_ms):
            voice.sustained_ms = voice.own_ms
    return voice, judged


def test_the_callers_voice_is_sustained_after_exactly_so_much() -> None:
    for windows in range(1, 20):
        voice, _ = listen("c", windows=windows)
        assert bool(voice.sustained_ms) == (windows * WINDOW >= MIN_MS)


def test_pauses_between_the_windows_do_not_count() -> None:
    voice = Voice(1)
    for begin_ms in (0, 200, 400):
        voice.add(begin_ms, begin_ms + WINDOW)
    assert voice.own_ms == 3 * WINDOW


@pytest.mark.parametrize("min_ms", [64, 250, 1000])
def test_echo_is_never_sustained_however_long_it_is(min_ms: int) -> None:
    voice, judged = listen("e", min_ms)
    assert not voice.sustained_ms
    assert not voice.own
    assert voice.suspect
    assert voice.certainly_echo
    assert judged[0] >= 64


def test_it_is_judged_every_tenth_of_a_second_until_the_caller_is_known() -> None:
    assert listen("e")[1][:4] == [160, 256, 352, 448]
    voice, judged = listen("c")
    assert voice.own
    assert judged[-1] < 600


def test_one_judgement_that_misses_the_echo_is_not_the_caller() -> None:
    voice, _ = listen("eeecee", windows=25)
    assert not voice.sustained_ms
    assert voice.certainly_echo


def test_a_caller_over_the_echo_is_sustained_as_if_there_were_none() -> None:
    # Echo up to 640 ms, then the caller: the newest windows of an echo are not held against him.
    voice, _ = listen("eeeeeec", windows=(640 + 256) // WINDOW)
    assert voice.sustained_ms >= MIN_MS
    assert voice.own
    assert not voice.suspect


def test_what_was_never_echo_is_not_suspect() -> None:
    voice, _ = listen("c", windows=4)
    assert not voice.suspect
    assert not voice.certainly_echo
