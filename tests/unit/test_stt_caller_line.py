from services.stt.caller_line import CallerLine
from shared.audio import FRAME_BYTES, FRAME_MS, RATE, SILENCE, bytes_of
from shared.espeak import speak, trim
from shared.loudness import last_audible

SAID = trim(speak("what are your opening hours", "en-us", 165).mulaw)


def line(audio: bytes, begin_ms: int = 0) -> CallerLine:
    caller = CallerLine()
    for start in range(0, len(audio) - FRAME_BYTES + 1, FRAME_BYTES):
        caller.add(begin_ms + start * FRAME_MS // FRAME_BYTES, audio[start : start + FRAME_BYTES])
    return caller


def test_speech_ends_with_its_last_audible_sample_not_with_the_window_around_it() -> None:
    audio = SAID + SILENCE * bytes_of(400)
    last = last_audible(SAID)
    assert last is not None
    end_ms = last * 1000 // RATE
    for heard_ms in (end_ms + 1, end_ms + 32, end_ms + 80):
        assert abs(line(audio).last_sound(heard_ms) - end_ms) <= 1


def test_where_nothing_can_be_heard_the_end_stays_where_it_was_thought() -> None:
    assert line(SILENCE * bytes_of(1000)).last_sound(640) == 640
    assert CallerLine().last_sound(640) == 640


def test_audio_is_found_by_its_place_also_after_lost_frames() -> None:
    caller = line(b"\x10" * bytes_of(200), 1000)
    caller.add(1300, b"\x20" * FRAME_BYTES)
    assert caller.before(1200, 40) == b"\x10" * bytes_of(40)
    assert caller.before(1320, 40) == SILENCE * bytes_of(20) + b"\x20" * bytes_of(20)
    assert caller.before(1010, 40) == SILENCE * bytes_of(30) + b"\x10" * bytes_of(10)


def test_a_line_that_begins_anew_forgets_the_one_before() -> None:
    caller = line(b"\x10" * bytes_of(2000))
    caller.add(0, b"\x20" * FRAME_BYTES)
    assert caller.before(20, 1000) == b"\x20" * FRAME_BYTES
