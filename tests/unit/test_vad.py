"""The voice activity detector: the model in batches, and the hysteresis behind it."""

from collections.abc import Callable

import numpy as np
import pytest

from services.stt import vad
from services.stt.detector import SpeechDetector, Started, Stopped
from services.stt.silero import Silero
from services.stt.silero_weights import Array
from services.stt.vad import WINDOW_MS, VadBatcher, VadStream
from shared.audio import FRAME_BYTES, SILENCE, bytes_of
from shared.espeak import speak, trim
from shared.pcm import Pcm, decode, encode


@pytest.fixture(scope="module")
def silero() -> Silero:
    return Silero()


class Listening:
    """A stream, and what was heard on it."""

    def __init__(self, batcher: VadBatcher) -> None:
        self.windows: list[tuple[float, int]] = []
        self.stream: VadStream = batcher.stream(lambda probability, at: self.windows.append((probability, at)))

    @property
    def probabilities(self) -> list[float]:
        return [probability for probability, _ in self.windows]

    def feed(self, mulaw: bytes, frame_bytes: int = FRAME_BYTES) -> None:
        for start in range(0, len(mulaw), frame_bytes):
            self.stream.feed(start // 8, mulaw[start : start + frame_bytes])

    def events(self) -> list[Started | Stopped]:
        detector = SpeechDetector()
        heard = [detector.hear(*window) for window in self.windows]
        return [event for event in heard if event is not None]


def listen(silero: Silero, mulaw: bytes) -> Listening:
    batcher = VadBatcher(silero, lambda work: None)
    listening = Listening(batcher)
    listening.feed(mulaw)
    batcher.run()
    return listening


def silence(ms: int) -> bytes:
    return SILENCE * bytes_of(ms)


def noise(ms: int, rms: float) -> bytes:
    samples = np.random.default_rng(1).standard_normal(bytes_of(ms)) * rms
    return encode(samples.astype(np.int16))


HISS = noise(1000, 1000)


@pytest.mark.parametrize("background", [silence(3000), noise(3000, 30), noise(3000, 1000)])
def test_silence_and_noise_are_not_speech(silero: Silero, background: bytes) -> None:
    assert listen(silero, background).events() == []


@pytest.mark.parametrize("text", ["what are your opening hours", "goodbye", "my order number is one two three four"])
def test_speech_is_found_where_it_is(silero: Silero, text: str) -> None:
    speech = trim(speak(text).mulaw, keep_ms=0)
    listening = listen(silero, silence(700) + speech + silence(600))
    started, *_, stopped = listening.events()
    assert isinstance(started, Started)
    assert isinstance(stopped, Stopped)
    assert abs(started.t_ms - 700) <= 80
    assert abs(stopped.t_ms - (700 + len(speech) // 8)) <= 80


def test_speech_is_found_in_noise(silero: Silero) -> None:
    speech = trim(speak("what are your opening hours").mulaw)
    mixed = silence(500) + speech + silence(500)
    loud = np.frombuffer(noise(len(mixed) // 8 + 1, 300), dtype=np.uint8)[: len(mixed)]
    together = decode(mixed).astype(np.int32) + decode(loud.tobytes())
    events = listen(silero, encode(np.clip(together, -32768, 32767).astype(np.int16))).events()
    assert [type(event) for event in events] == [Started, Stopped]


def test_a_batch_gives_what_the_calls_give_one_by_one(silero: Silero) -> None:
    texts = ["what did I book", "my order number is one two three four", "goodbye"]
    audio = [silence(100 * delay) + speak(text).mulaw for delay, text in enumerate(texts)]
    alone = [listen(silero, mulaw).probabilities for mulaw in audio]
    sizes: list[int] = []

    def counting(windows: Pcm, states: Array) -> tuple[Array, Array]:
        sizes.append(len(windows))
        return silero(windows, states)

    batcher = VadBatcher(counting, lambda work: None)
    together = [Listening(batcher) for _ in audio]
    for start in range(0, max(map(len, audio)), FRAME_BYTES):
        for listening, mulaw in zip(together, audio, strict=True):
            if frame := mulaw[start : start + FRAME_BYTES]:
                listening.stream.feed(start // 8, frame)
        batcher.run()
    assert max(sizes) == 3
    for listening, probabilities in zip(together, alone, strict=True):
        assert listening.probabilities == pytest.approx(probabilities, abs=1e-4)


class CountingModel:
    """A model that only counts its windows."""

    def __init__(self) -> None:
        self.batches: list[int] = []

    def __call__(self, windows: Pcm, states: Array) -> tuple[Array, Array]:
        self.batches.append(len(windows))
        return np.zeros(len(windows), dtype=np.float32), states


def test_all_calls_with_a_window_share_one_inference() -> None:
    model = CountingModel()
    batcher = VadBatcher(model, lambda work: None)
    for _ in range(20):
        Listening(batcher).feed(silence(WINDOW_MS))
    batcher.run()
    assert model.batches == [20]


def test_a_large_batch_is_split() -> None:
    model = CountingModel()
    batcher = VadBatcher(model, lambda work: None)
    for _ in range(100):
        Listening(batcher).feed(silence(WINDOW_MS + 8))
    batcher.run()
    assert sum(model.batches) == 100
    assert max(model.batches) <= 64


def test_work_is_scheduled_once_until_it_is_done() -> None:
    scheduled: list[Callable[[], None]] = []
    batcher = VadBatcher(CountingModel(), scheduled.append)
    listening, other = Listening(batcher), Listening(batcher)
    listening.feed(silence(WINDOW_MS))
    other.feed(silence(WINDOW_MS))
    assert len(scheduled) == 1
    scheduled.pop()()
    listening.feed(silence(WINDOW_MS))
    assert len(scheduled) == 1


def test_a_burst_of_audio_does_not_wait() -> None:
    batcher = VadBatcher(CountingModel(), lambda work: None)
    listening = Listening(batcher)
    listening.feed(HISS[: bytes_of(10 * WINDOW_MS)])
    assert listening.windows == []
    listening.stream.catch_up()
    assert len(listening.windows) == 10


def test_bursts_of_many_calls_share_their_inferences() -> None:
    model = CountingModel()
    batcher = VadBatcher(model, lambda work: None)
    calls = [Listening(batcher) for _ in range(20)]
    for listening in calls:
        listening.feed(HISS[: bytes_of(10 * WINDOW_MS)])
    for listening in calls:
        listening.stream.catch_up()
    assert model.batches == [20] * 10


def test_what_one_message_brings_is_no_burst() -> None:
    model = CountingModel()
    listening = Listening(VadBatcher(model, lambda work: None))
    listening.feed(HISS[: bytes_of(2 * WINDOW_MS)])
    listening.stream.catch_up()
    assert model.batches == []


def test_seconds_of_audio_do_not_wait_to_be_used() -> None:
    listening = Listening(VadBatcher(CountingModel(), lambda work: None))
    listening.feed(HISS + HISS)
    assert len(listening.windows) * WINDOW_MS >= 500


def test_the_two_windows_of_a_long_frame_wait_for_those_of_other_calls() -> None:
    model = CountingModel()
    batcher = VadBatcher(model, lambda work: None)
    for _ in range(3):
        Listening(batcher).stream.feed(0, HISS[: bytes_of(2 * WINDOW_MS)])
    assert model.batches == []
    batcher.run()
    assert model.batches == [3, 3]


@pytest.mark.parametrize("frame_ms", [40, 60, 200])
def test_frames_of_any_length_give_the_same_windows(silero: Silero, frame_ms: int) -> None:
    mulaw = silence(600) + speak("goodbye").mulaw + silence(600)
    mulaw = mulaw[: len(mulaw) // bytes_of(200) * bytes_of(200)]
    batcher = VadBatcher(silero, lambda work: None)
    longer = Listening(batcher)
    longer.feed(mulaw, bytes_of(frame_ms))
    batcher.run()
    short = listen(silero, mulaw)
    assert [at for _, at in longer.windows] == [at for _, at in short.windows]
    assert longer.probabilities == pytest.approx(short.probabilities, abs=1e-4)


def test_long_silence_is_not_shown_to_the_model_and_still_told_in_order() -> None:
    model = CountingModel()
    batcher = VadBatcher(model, lambda work: None)
    listening = Listening(batcher)
    listening.feed(HISS[: bytes_of(320)] + noise(1600, 10) + HISS[: bytes_of(320)])
    batcher.run()
    assert [at for _, at in listening.windows] == list(range(0, 2240, WINDOW_MS))
    # The loud ones, the first faint ones, and one that begins with the end of a loud one.
    assert sum(model.batches) == 10 + 1 + 8 + 10


def test_a_gated_window_does_not_overtake_one_that_waits() -> None:
    batcher = VadBatcher(CountingModel(), lambda work: None)
    listening = Listening(batcher)
    listening.feed(silence(8 * WINDOW_MS))
    listening.stream.feed(256, silence(WINDOW_MS))
    batcher.run()
    assert [at for _, at in listening.windows] == list(range(0, 288, WINDOW_MS))


@pytest.mark.parametrize("gain_db", [0, -20])
@pytest.mark.parametrize("text", ["what are your opening hours", "goodbye", "she sells fish"])
def test_after_long_silence_speech_is_found_no_later_than_without_the_gate(
    silero: Silero, text: str, gain_db: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    quiet = (decode(trim(speak(text).mulaw, keep_ms=0)) * 10 ** (gain_db / 20)).astype(np.int16)
    mulaw = silence(700) + encode(quiet) + silence(4000) + encode(quiet) + silence(600)
    began_ms = 4700 + len(quiet) // 8
    gated = listen(silero, mulaw).events()
    monkeypatch.setattr(vad, "_FAINT_RUN", 1_000_000)
    open_ = listen(silero, mulaw).events()
    [*_, first] = [event for event in gated if isinstance(event, Started) and event.t_ms >= began_ms - 100]
    found = [event.t_ms for event in open_ if isinstance(event, Started) and event.t_ms >= began_ms - 100]
    assert began_ms - WINDOW_MS <= first.t_ms <= began_ms + 120
    assert all(first.t_ms <= t_ms + WINDOW_MS for t_ms in found)


class Remembering:
    """A model that tells how many windows its state has seen."""

    def __call__(self, windows: Pcm, states: Array) -> tuple[Array, Array]:
        return states[0, :, 0], states + 1


def test_a_new_call_begins_anew_where_another_has_ended() -> None:
    batcher = VadBatcher(Remembering(), lambda work: None)
    first, second = Listening(batcher), Listening(batcher)
    for listening in (first, second):
        listening.feed(HISS[: bytes_of(3 * WINDOW_MS)])
    batcher.run()
    first.stream.close()
    first.stream.close()
    third, fourth = Listening(batcher), Listening(batcher)
    for listening in (second, third, fourth):
        listening.feed(HISS[: bytes_of(2 * WINDOW_MS)])
    batcher.run()
    assert [len({stream.slot for stream in (second.stream, third.stream, fourth.stream)})] == [3]
    assert second.probabilities == [0, 1, 2, 3, 4]
    assert third.probabilities == fourth.probabilities == [0, 1]


def test_more_calls_than_there_are_slots_keep_their_states() -> None:
    batcher = VadBatcher(Remembering(), lambda work: None)
    calls = [Listening(batcher) for _ in range(60)]
    for _ in range(2):
        calls += [Listening(batcher) for _ in range(40)]
        for listening in calls:
            listening.feed(HISS[: bytes_of(WINDOW_MS)])
        batcher.run()
    assert all(listening.probabilities == [0, 1] for listening in calls[:100])
    assert all(listening.probabilities == [0] for listening in calls[100:])


def test_a_closed_stream_hears_nothing_more() -> None:
    model = CountingModel()
    batcher = VadBatcher(model, lambda work: None)
    closed, other = Listening(batcher), Listening(batcher)
    for listening in (closed, other):
        listening.feed(silence(WINDOW_MS + 8))
    closed.stream.close()
    batcher.run()
    assert closed.windows == []
    assert len(other.windows) == 1


def test_windows_keep_their_place_across_lost_frames() -> None:
    batcher = VadBatcher(CountingModel(), lambda work: None)
    listening = Listening(batcher)
    for at in [0, 20, 40, 60, 200, 220, 240, 260]:
        listening.stream.feed(at, silence(20))
    batcher.run()
    assert [at for _, at in listening.windows] == [0, 32, 200 - 16, 200 + 16, 200 + 48]


LOUD, SOFT, QUIET = 0.9, 0.5, 0.1


def events(*probabilities: float, **settings: float) -> list[Started | Stopped]:
    detector = SpeechDetector(**settings)  # type: ignore[arg-type]
    heard = [detector.hear(probability, index * WINDOW_MS) for index, probability in enumerate(probabilities)]
    return [event for event in heard if event is not None]


@pytest.mark.parametrize(
    ("probabilities", "expected"),
    [
        ([QUIET] * 20, []),
        ([LOUD], []),
        ([QUIET, LOUD, QUIET, LOUD, QUIET], []),
        ([SOFT] * 20, []),
        ([QUIET, LOUD, LOUD], [Started(32)]),
        ([LOUD, SOFT, LOUD], [Started(0)]),
        ([LOUD, LOUD, *[SOFT] * 20], [Started(0)]),
        ([LOUD, LOUD, *[QUIET] * 6, LOUD, *[QUIET] * 6], [Started(0)]),
        ([LOUD, LOUD, *[QUIET] * 7], [Started(0), Stopped(64)]),
        ([LOUD, LOUD, SOFT, *[QUIET] * 7], [Started(0), Stopped(96)]),
        ([LOUD, LOUD, *[QUIET] * 7, LOUD, LOUD], [Started(0), Stopped(64), Started(288)]),
    ],
)
def test_speech_starts_after_the_onset_and_stops_after_the_hang_over(
    probabilities: list[float], expected: list[Started | Stopped]
) -> None:
    assert events(*probabilities) == expected


def test_the_thresholds_are_settable() -> None:
    assert events(SOFT, start=0.5, onset_ms=32) == [Started(0)]
    assert events(LOUD, LOUD, QUIET, hang_over_ms=32) == [Started(0), Stopped(64)]


def test_a_gap_in_the_audio_counts_as_silence() -> None:
    detector = SpeechDetector()
    assert [detector.hear(LOUD, at) for at in (0, 32)] == [None, Started(0)]
    assert detector.hear(QUIET, 400) == Stopped(64)


def test_a_jump_back_in_time_ends_the_utterance() -> None:
    detector = SpeechDetector()
    assert [detector.hear(LOUD, at) for at in (60_000, 60_032)] == [None, Started(60_000)]
    assert detector.hear(LOUD, 0) == Stopped(60_064)
    assert [detector.hear(LOUD, at) for at in (32, 64)] == [None, Started(32)]
