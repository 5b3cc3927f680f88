"""The judgement on a whole call under a fault: real speech in a synthetic recording, times in seconds."""

from collections.abc import Iterable
from dataclasses import replace

from shared.audio import RATE
from shared.messages import AudioOut
from shared.phrases import normalize
from simulator.chaos import captions
from simulator.chaos.recording import Recording, Said
from simulator.chaos.verdict import CallVerdict, Fault, Judge
from simulator.conversation import Line
from simulator.playback import Playback
from simulator.tap import Piece
from simulator.verdict import Expected
from tests.simulator_reply import TEXT, pieces

ASKED = "what is on your menu"
STALE = "Half of them are vegetarian."
FAULT = Fault(struck=105.0, settled=112.0)
JUDGE = Judge(("Are you still there?",), count=lambda clip, audio: 1)


class Tape:
    """A call that is put together piece by piece; it begins at 100."""

    def __init__(self) -> None:
        self.playback = Playback(100.0)
        self.published: list[Piece] = []
        self.said: list[Said] = []

    def say(self, began: float, ended: float, until: float, understood: str = ASKED) -> "Tape":
        """The caller asks, and listens `until`."""
        self.said.append(Said(Line(ASKED, b"", Expected(TEXT)), began, ended, until, understood))
        return self

    def publish(self, at: float, frames: Iterable[AudioOut], *, played: bool = True) -> float:
        """Pieces come at `at`; returns when they have been played."""
        for frame in frames:
            self.published.append(Piece(at, frame))
            if played:
                self.playback.append(at, frame.payload)
        return self.playback.ends

    def verdict(self, fault: Fault = FAULT, failure: str = "") -> CallVerdict:
        recording = Recording(self.playback, self.said, self.published, failure)
        return JUDGE.call(recording, fault)


def answered(tape: Tape, began: float, generation: int, wait_s: float = 0.5) -> float:
    """A line and its whole answer; returns when the caller has heard it."""
    ended = began + 1.0
    finish = tape.publish(ended + wait_s, pieces(generation=generation)) + 0.7
    tape.say(began, ended, finish)
    return finish


def test_a_call_that_noticed_nothing_went_on() -> None:
    tape = Tape()
    answered(tape, 103.0, 1)
    answered(tape, 113.0, 2)
    verdict = tape.verdict()
    assert verdict.reasons == []
    assert verdict.went_on
    assert verdict.phase == "agent"
    assert (verdict.words_lost, verdict.wrong, verdict.words_repeated) == (0, 0, 0)
    assert 490 <= verdict.silence_ms <= 520


def test_the_words_that_the_carrier_played_are_known_in_their_order() -> None:
    tape = Tape()
    tape.publish(101.0, pieces())
    words = captions.heard(tape.published, tape.playback)
    assert [word.text for word in words] == normalize(TEXT).split()
    assert 101.0 <= words[0].start < words[-1].end <= tape.playback.ends + 0.001


def test_what_two_workers_published_and_the_carrier_played_once_was_heard_once() -> None:
    tape = Tape()
    tape.publish(101.0, pieces())
    tape.publish(101.2, [replace_epoch(frame, 2) for frame in pieces()], played=False)
    assert len(captions.heard(tape.published, tape.playback)) == len(normalize(TEXT).split())


def replace_epoch(frame: AudioOut, epoch: int) -> AudioOut:
    return frame._replace(epoch=epoch)


def test_a_reply_that_another_worker_went_on_with_is_right_and_its_gap_a_silence() -> None:
    tape, frames = Tape(), pieces()
    middle = len(frames) // 2
    stopped = tape.publish(104.5, frames[:middle])
    finish = tape.publish(stopped + 1.2, [replace_epoch(frame, 2) for frame in frames[middle:]])
    tape.say(103.0, 104.0, finish + 0.7)
    answered(tape, 113.0, 2)
    verdict = tape.verdict()
    assert verdict.went_on and not verdict.wrong
    assert verdict.words_lost == 0
    assert 1190 <= verdict.silence_ms <= 1400


def test_a_reply_that_nobody_went_on_with_has_lost_its_words() -> None:
    tape, frames = Tape(), pieces()
    middle = len(frames) // 2
    tape.publish(104.5, frames[:middle])
    tape.publish(104.5, frames[middle:], played=False)
    tape.say(103.0, 104.0, 112.0)
    answered(tape, 113.0, 2)
    verdict = tape.verdict()
    assert verdict.agent_words_lost == len(normalize(TEXT).split()) - middle // 2
    assert verdict.went_on
    assert verdict.silence_ms > 4000
    assert "cut" in verdict.reasons[0]


def test_a_reply_that_was_said_again_from_its_beginning_is_twice() -> None:
    tape = Tape()
    first = tape.publish(104.5, pieces(generation=1))
    finish = tape.publish(first + 0.4, pieces(generation=2))
    tape.say(103.0, 104.0, finish)
    answered(tape, finish + 2, 3)
    verdict = tape.verdict()
    assert verdict.wrong == 1
    assert not verdict.went_on
    assert "twice" in verdict.reasons[0]


def test_stale_audio_after_the_fault_is_wrong() -> None:
    tape = Tape()
    answered(tape, 103.0, 1)
    tape.publish(114.5, pieces(STALE, 2))
    finish = tape.publish(114.6, pieces(generation=3))
    tape.say(113.0, 114.0, finish)
    verdict = tape.verdict()
    assert verdict.wrong == 1
    assert not verdict.went_on


def test_words_that_reached_no_transcript_are_lost() -> None:
    tape = Tape()
    answered(tape, 103.0, 1)
    tape.said[0] = replace(tape.said[0], understood="what on menu")
    answered(tape, 113.0, 2)
    assert tape.verdict().caller_words_lost == 2


def test_a_transcript_that_the_judge_never_got_is_no_loss_when_the_answer_is_right() -> None:
    tape = Tape()
    answered(tape, 103.0, 1)
    tape.said[0] = replace(tape.said[0], understood="")
    answered(tape, 113.0, 2)
    assert tape.verdict().caller_words_lost == 0


def test_a_line_without_an_answer_ends_the_conversation_for_the_judge() -> None:
    tape = Tape()
    tape.say(103.0, 104.0, 119.0, understood="")
    answered(tape, 120.0, 1)
    verdict = tape.verdict()
    assert not verdict.went_on
    assert verdict.phase == "waiting"
    assert verdict.silence_ms == 15_000
    assert verdict.caller_words_lost == len(ASKED.split())
    assert verdict.agent_words_lost == len(normalize(TEXT).split())


def test_a_line_after_the_fault_is_forgiven_nothing() -> None:
    for began, went_on in ((106.0, True), (112.5, False)):
        tape = Tape()
        finish = tape.publish(began + 1.5, pieces("Are you still there?"))
        tape.say(began, began + 1, finish + 0.7, understood="what is")
        answered(tape, finish + 10, 2)
        verdict = tape.verdict()
        assert verdict.asked == 1
        assert verdict.went_on is went_on


def test_a_call_that_ended_did_not_go_on() -> None:
    tape = Tape()
    answered(tape, 113.0, 1)
    verdict = tape.verdict(failure="the call ended early: the agent hung up")
    assert not verdict.went_on
    assert verdict.reasons == ["the call ended early: the agent hung up"]


def test_a_call_in_which_nothing_was_said_after_the_fault_shows_nothing() -> None:
    tape = Tape()
    answered(tape, 103.0, 1)
    assert not tape.verdict().went_on


def test_lines_before_the_fault_are_not_judged() -> None:
    tape = Tape()
    tape.say(100.5, 101.0, 104.0, understood="")
    answered(tape, 113.0, 1)
    verdict = tape.verdict()
    assert verdict.went_on and verdict.words_lost == 0


def test_the_phase_of_a_call_is_what_it_is_at() -> None:
    tape = Tape()
    tape.publish(104.5, pieces())
    ends = tape.playback.silent_from
    tape.say(103.0, 104.0, ends + 0.7)
    recording = Recording(tape.playback, tape.said)
    times = {103.5: "caller", 104.2: "waiting", 105.5: "agent", ends + 0.4: "between", 200.0: "between"}
    assert {at: recording.phase(at) for at in times} == times


def test_an_echo_is_judged_by_its_own_sound_while_the_caller_speaks() -> None:
    frames = pieces()
    sound = b"".join(frame.payload for frame in frames)
    line = Line(TEXT, sound, Expected(sounds=(sound,), dialogue=False))
    recording = Recording(Playback(100.0))
    for began in (104.0, 113.0):
        recording.playback.append(began + 0.1, sound)
        ended = began + len(sound) / RATE
        recording.said.append(Said(line, began, ended, ended + 0.8))
    verdict = Judge((), echo=True).call(recording, FAULT)
    assert verdict.reasons == []
    assert verdict.went_on
    assert verdict.words_lost == 0
    assert verdict.silence_ms < 300
