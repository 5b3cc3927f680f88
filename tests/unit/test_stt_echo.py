"""The agent's voice is known when it comes back, and the caller's is not taken for it. Real speech."""

from collections.abc import Iterator

import numpy as np
import pytest

from services.stt.caller_line import CallerLine
from services.stt.echo import STRETCH_MS, EchoGuard
from services.stt.playout import LATEST_MS, Playout
from services.stt.spectrum import SILENT, likeness, spectrogram
from shared.audio import FRAME_BYTES, FRAME_MS, bytes_of, duration_ms
from shared.espeak import speak, trim
from shared.mel import HOP_MS
from shared.messages import AudioOut, Playback
from shared.pcm import decode, encode
from tests.stt_booth import mixed, noisy, silence

AGENT_SAYS = "Thank you for calling Bella's, your table for four people is booked for Friday at seven"
CALLER_SAYS = "no wait, I asked about something else, can you cancel my reservation for tomorrow please"
AGENT = trim(speak(AGENT_SAYS, "en-us+f3").mulaw, keep_ms=0)
T0 = 5000.0
"""When the caller's line and the reply begin."""


def piece(offset_ms: int, mulaw: bytes, generation: int = 1, epoch: int = 1) -> AudioOut:
    return AudioOut(epoch, generation, 0, offset_ms, 0.0, 0.0, mulaw, "", False)


def report(state: str, heard_ms: int = 0, generation: int = 1) -> Playback:
    return Playback.model_validate({"generation": generation, "state": state, "heard_ms": heard_ms, "heard": ""})


def speaking(mulaw: bytes = AGENT) -> EchoGuard:
    """A guard for an agent who began to say `mulaw` at T0; all of it came at once, and marks come every 250 ms."""

    guard = EchoGuard(CallerLine())
    for start in range(0, len(mulaw), bytes_of(200)):
        guard.agent_said(piece(start // 8, mulaw[start : start + bytes_of(200)]))
    guard.agent_heard(report("started"), T0)
    return guard


def judgements(guard: EchoGuard, line: bytes, until_ms: int, wobble_ms: float = 0.0) -> Iterator[tuple[int, bool]]:
    """(end in ms, whether it is echo) of each stretch with enough sound, a tenth of a second apart."""
    pcm = decode(line).astype(np.float64)
    loud = np.sqrt((pcm[: len(pcm) // 256 * 256].reshape(-1, 256) ** 2).mean(axis=1))
    loud_enough = loud > 0.25 * np.sqrt((pcm[np.abs(pcm) > 100] ** 2).mean())
    random = np.random.default_rng(3)
    for at_ms in range(0, min(duration_ms(line), until_ms), FRAME_MS):
        guard.line.add(at_ms, line[bytes_of(at_ms) : bytes_of(at_ms) + FRAME_BYTES])
        end_ms = at_ms + FRAME_MS
        if end_ms % 250 < FRAME_MS and end_ms < duration_ms(AGENT):
            guard.agent_heard(report("playing", end_ms), T0 + end_ms / 1000 + random.uniform(0, wobble_ms) / 1000)
        windows = loud_enough[(end_ms - STRETCH_MS) // 32 : end_ms // 32]
        if end_ms % 100 == 0 and end_ms > STRETCH_MS and windows.mean() >= 0.6:
            yield end_ms, guard.is_echo(end_ms - STRETCH_MS, end_ms, T0 + end_ms / 1000)


@pytest.mark.parametrize("noise_db", [None, -20.0])
@pytest.mark.parametrize("gain_db", [-6.0, -14.0, -20.0, -26.0])
@pytest.mark.parametrize("delay_ms", [20, 187, 600])
def test_echo_is_known(delay_ms: int, gain_db: float, noise_db: float | None) -> None:
    level = float(np.sqrt((decode(AGENT).astype(np.float64) ** 2).mean())) * 10 ** (gain_db / 20)
    line = noisy(mixed((delay_ms, gain_db, AGENT)), 0.0 if noise_db is None else level * 10 ** (noise_db / 20))
    found = [echo for _, echo in judgements(speaking(), line, 10_000)]
    assert len(found) > 20
    assert np.mean(found) >= 0.95


def test_echo_is_known_although_the_reports_wobble() -> None:
    found = [echo for _, echo in judgements(speaking(), mixed((150, -12, AGENT)), 10_000, wobble_ms=60)]
    assert np.mean(found) >= 0.95


@pytest.mark.parametrize("voice", ["en-us", "en-us+m7", "en-us+f5", "en-us+f3"])
@pytest.mark.parametrize("echo_db", [None, -20.0, -10.0])
def test_a_caller_is_not_taken_for_the_agent(voice: str, echo_db: float | None) -> None:
    caller = trim(speak(CALLER_SAYS, voice).mulaw, keep_ms=0)
    tracks = [(0, 0.0, caller), *([(180, echo_db, AGENT)] if echo_db is not None else [])]
    found = [echo for _, echo in judgements(speaking(), mixed(*tracks), duration_ms(caller))]
    assert len(found) > 20
    # One stretch costs a tenth of a second. With an echo, pauses in the caller's speech are nothing else, in fact.
    assert sum(found) <= (1 if echo_db is None else 3)


def test_echo_that_a_room_has_smeared_is_known_at_the_delay_it_had_before() -> None:
    length = bytes_of(200)
    decay = np.random.default_rng(2).standard_normal(length) * np.exp(-6.9 * np.arange(length) / length)
    decay *= 0.5 / np.sqrt((decay**2).sum())
    decay[0] += 1
    smeared = np.convolve(decode(AGENT), decay)[: len(AGENT)]
    room = encode(np.clip(smeared, -32768, 32767).astype(np.int16))
    found = [echo for _, echo in judgements(speaking(), mixed((150, -12, room)), 10_000)]
    assert np.mean(found) >= 0.95


def test_nothing_is_echo_while_the_agent_is_silent() -> None:

    guard = EchoGuard(CallerLine())
    assert not any(echo for _, echo in judgements(guard, AGENT, 1000))


def test_nothing_is_echo_long_after_the_agent_has_spoken() -> None:
    guard = speaking()
    guard.agent_heard(report("cleared", 300), T0 + 0.3)
    line = mixed((1500, -10, AGENT))
    assert not any(echo for end_ms, echo in judgements(guard, line, 3000) if end_ms - STRETCH_MS > 300 + LATEST_MS)


def test_the_tail_of_a_cleared_reply_is_echo() -> None:
    guard = speaking()
    line = mixed((400, -10, AGENT[: bytes_of(1200)]))
    for at_ms in range(0, duration_ms(line), FRAME_MS):
        guard.line.add(at_ms, line[bytes_of(at_ms) : bytes_of(at_ms) + FRAME_BYTES])
        if at_ms == 1200:
            guard.agent_heard(report("cleared", 1200), T0 + 1.2)
    assert guard.is_echo(1220, 1580, T0 + 1.58)


def test_what_the_caller_said_before_lost_frames_keeps_its_place() -> None:
    guard = speaking()
    line = mixed((100, -10, AGENT))
    for at_ms in range(0, 2000, FRAME_MS):
        if not 600 <= at_ms < 900:
            guard.line.add(at_ms, line[bytes_of(at_ms) : bytes_of(at_ms) + FRAME_BYTES])
    assert guard.is_echo(1200, 1800, T0 + 1.8)


def test_a_line_that_begins_anew_forgets_the_one_before() -> None:
    guard = speaking()
    for at_ms in range(0, 2000, FRAME_MS):
        guard.line.add(at_ms, AGENT[bytes_of(at_ms) : bytes_of(at_ms) + FRAME_BYTES])
    guard.line.add(0, silence(FRAME_MS))
    assert not guard.is_echo(0, 320, T0 + 2.02)


def test_a_stretch_is_like_itself_wherever_it_lies_and_however_loud_it_is() -> None:
    rows = spectrogram(AGENT)
    stretch = spectrogram(mixed((0, -15, AGENT)))[120:150]
    scores = likeness(stretch, rows)
    assert int(scores.argmax()) == 120
    assert scores[120] > 0.95
    assert np.quantile(scores, 0.9) < 0.7


def test_silence_is_like_nothing() -> None:
    assert likeness(spectrogram(silence(400)), spectrogram(AGENT)).max() == pytest.approx(0)


class TestPlayout:
    """Which part of which reply may be heard when."""

    def rows_at(self, playout: Playout, at: float) -> dict[float, np.ndarray]:
        """The first row of each candidate for a stretch from `at` on, by its lag."""
        found = playout.candidates(at, 10)
        return {
            candidate.lag_ms - place * HOP_MS: row for candidate in found for place, row in enumerate(candidate.rows)
        }

    def test_a_reply_is_looked_for_where_it_plays(self) -> None:
        playout = Playout()
        playout.add(piece(0, AGENT))
        playout.report(report("started"), T0)
        playout.report(report("playing", 1000), T0 + 1.0)
        expected = spectrogram(AGENT)
        rows = self.rows_at(playout, T0 + 1.5)
        for lag_ms in (0, 100, 690, -90):
            row = min(rows, key=lambda lag: abs(lag - lag_ms))
            assert abs(row - lag_ms) < HOP_MS
            near = expected[150 - lag_ms // HOP_MS - 1 : 150 - lag_ms // HOP_MS + 2]
            assert any(np.allclose(rows[row], other, atol=1e-4) for other in near)

    def test_what_has_not_come_is_silence(self) -> None:
        playout = Playout()
        playout.add(piece(0, AGENT[: bytes_of(400)]))
        playout.report(report("started"), T0)
        [candidate] = playout.candidates(T0 + 0.4, 32)
        assert candidate.rows.max() > SILENT
        assert (candidate.rows[-30:] == SILENT).all()
        playout.add(piece(400, AGENT[bytes_of(400) : bytes_of(1200)]))
        [later] = playout.candidates(T0 + 0.4, 32)
        assert later.rows[-30:].max() > SILENT

    def test_a_reply_that_was_joined_in_the_middle_is_known_from_there(self) -> None:
        playout = Playout()
        playout.add(piece(1000, AGENT[bytes_of(1000) :]))
        playout.report(report("playing", 1200), T0)
        [candidate] = playout.candidates(T0 + 0.2, 32)
        expected = spectrogram(AGENT)[100 : 100 + 20]
        begin = next(index for index, row in enumerate(candidate.rows) if (row != SILENT).any())
        assert np.allclose(candidate.rows[begin : begin + 20], expected, atol=1e-4)

    def test_another_voice_goes_on_with_a_reply_and_counts_from_its_own_beginning(self) -> None:
        playout = Playout()
        for offset_ms in (0, 200, 400):
            playout.add(piece(offset_ms, AGENT[bytes_of(offset_ms) : bytes_of(offset_ms + 200)]))
        for offset_ms in range(0, 800, 200):
            mulaw = AGENT[bytes_of(600 + offset_ms) : bytes_of(800 + offset_ms)]
            playout.add(piece(offset_ms, mulaw, epoch=2))
        playout.report(report("playing", 600), T0)
        [candidate] = playout.candidates(T0 + 0.1, 10)
        # From 700 ms before the place of the playback on: the beginning of the reply.
        assert len(candidate.rows) == 90
        assert np.allclose(candidate.rows, spectrogram(AGENT)[:90], atol=1e-4)

    def test_old_pieces_of_a_long_reply_are_forgotten_and_the_newest_two_replies_are_kept(self) -> None:
        playout = Playout()
        playout.add(piece(0, AGENT * 4))
        playout.report(report("playing", 15_000), T0)
        assert playout.candidates(T0 + 0.1, 32)[0].rows.max() > SILENT
        for generation in (2, 3):
            playout.add(piece(0, AGENT, generation))
            playout.report(report("started", 0, generation), T0 + generation / 10)
        assert len(playout.candidates(T0 + 0.4, 32)) == 2
        playout.add(piece(0, AGENT, 1))
        assert len(playout.candidates(T0 + 0.4, 32)) == 2

    def test_a_pause_stops_the_voice_and_a_resume_goes_on(self) -> None:
        playout = Playout()
        playout.add(piece(0, AGENT))
        playout.report(report("started"), T0)
        playout.report(report("paused", 500), T0 + 0.5)
        assert playout.audible(T0 + 0.9, T0 + 1.0)
        assert not playout.audible(T0 + 1.3, T0 + 1.4)
        playout.report(report("resumed", 400), T0 + 2.0)
        assert playout.audible(T0 + 2.1, T0 + 2.2)
        [candidate] = playout.candidates(T0 + 2.1, 10)
        # At T0 + 2.1 the reply is at 500 ms.
        assert candidate.lag_ms == pytest.approx(LATEST_MS, abs=HOP_MS)


def test_a_line_from_which_nothing_came_back_has_no_echo() -> None:
    guard = speaking()
    # What was said up to 700 ms ago may still be on its way; reports are exact to 100 ms.
    assert not guard.excluded(T0 - 5, T0 + 1.19)
    assert guard.excluded(T0 - 5, T0 + 1.21)
    assert not guard.excluded(T0 + 0.5, T0 + 1.7)
    assert guard.excluded(T0 + 0.5, T0 + 1.9)


def test_what_a_reply_before_has_proven_does_not_count() -> None:
    guard = speaking()
    guard.agent_heard(report("finished", 4000), T0 + 4)
    assert guard.excluded(T0, T0 + 6)
    guard.agent_heard(report("started", generation=2), T0 + 6)
    assert not guard.excluded(T0, T0 + 7)
    assert guard.excluded(T0, T0 + 7.3)
    assert not EchoGuard(CallerLine()).excluded(T0, T0 + 10)
