"""The playback clock under random orders of pieces, marks, pauses, resumes and clears, against a carrier that plays."""

from collections import deque
from dataclasses import dataclass, field
from itertools import accumulate, groupby
from operator import itemgetter

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from services.gateway.playback import PlaybackClock, Step
from services.gateway.reply import Outgoing
from shared.messages import AudioOut, Playback
from shared.messages.audio import Spoken, WordEnd


class Carrier:
    """Plays what it is sent, sample by sample in time, and returns marks; a clear returns all that are left."""

    def __init__(self) -> None:
        self.queue: deque[tuple[int, Outgoing]] = deque()
        """What is not wholly played, with the moment in ms at which it will be."""
        self.marks: deque[str] = deque()
        """On their way to the gateway."""

    def play(self, audio: Outgoing, now_ms: int) -> None:
        free_ms = self.queue[-1][0] if self.queue else now_ms
        self.queue.append((free_ms + len(audio.payload) // 8, audio))

    def listen(self, now_ms: int) -> None:
        while self.queue and self.queue[0][0] <= now_ms:
            self.marks.append(self.queue.popleft()[1].mark)

    def clear(self) -> None:
        self.marks.extend(audio.mark for _, audio in self.queue)
        self.queue.clear()


@dataclass
class Said:
    """One reply as tts made it and as the caller heard it."""

    pieces: list[tuple[bytes, str]] = field(default_factory=list)
    messages: list[int] = field(default_factory=list)
    """The message with which each of the pieces came."""
    complete: bool = False
    paused: bool = False
    over: bool = False
    ear_ms: int = 0
    """How far into the reply the caller's ear has come."""
    reported_ms: int = 0
    reported: str = ""

    @property
    def sent_ms(self) -> int:
        return sum(len(payload) // 8 for payload, _ in self.pieces)

    def words_until(self, ms: int) -> str:
        end_ms, words = 0, ""
        for payload, text in self.pieces:
            end_ms += len(payload) // 8
            words += text if end_ms <= ms else ""
        return words

    @property
    def unheard(self) -> list[bytes]:
        """The audio after the last word that was reported as heard, message by message."""
        after = 0
        said = ""
        for index, (_, text) in enumerate(self.pieces):
            said += text
            if text and len(said) <= len(self.reported):
                after = index + 1
        left = zip(self.messages[after:], self.pieces[after:], strict=True)
        together = (b"".join(payload for _, (payload, _) in group) for _, group in groupby(left, key=itemgetter(0)))
        return [payload for payload in together if payload]


class Orders(RuleBasedStateMachine):
    """Every rule is something that may happen next in a call."""

    @initialize()
    def connect(self) -> None:
        self.clock = PlaybackClock()
        self.carrier = Carrier()
        self.now_ms = 0
        self.generation = 1
        self.count = 0
        self.spoken = {1: Said()}

    @property
    def now(self) -> float:
        return 1_700_000_000 + self.now_ms / 1000

    @property
    def reply(self) -> Said:
        return self.spoken[self.generation]

    def follow(self, step: Step) -> list[str]:
        """What the line does with a step; returns the states told."""
        if step.clear:
            self.carrier.clear()
        for audio in step.play:
            assert not self.reply.paused, "nothing is sent while paused"
            assert self.clock.awaits(audio.mark)
            self.carrier.play(audio, self.now_ms)
        for report in step.reports:
            self.check(report)
        return [report.state for report in step.reports]

    def check(self, report: Playback) -> None:
        reply = self.spoken[report.generation]
        assert not reply.over, "nothing is told of a reply that is over"
        assert reply.reported_ms <= report.heard_ms <= reply.sent_ms
        assert report.heard == reply.words_until(report.heard_ms), "whole words, from the first one on"
        assert report.heard_ms <= reply.ear_ms, "no word that was never heard"
        assert report.heard.startswith(reply.reported)
        reply.reported_ms, reply.reported = report.heard_ms, report.heard
        reply.over = report.state in ("finished", "cleared")
        if report.state == "finished":
            assert reply.complete
            assert report.heard == "".join(text for _, text in reply.pieces)

    @rule(ms=st.sampled_from([0, 20, 90, 130, 200, 250, 1000]))
    def time_passes(self, ms: int) -> None:
        for _ in range(ms):
            self.now_ms += 1
            self.carrier.listen(self.now_ms - 1)
            if self.carrier.queue:
                end_ms, audio = self.carrier.queue[0]
                reply_end = int(audio.mark.rsplit(":", 1)[1])
                self.reply.ear_ms = max(self.reply.ear_ms, reply_end - (end_ms - self.now_ms))
        self.carrier.listen(self.now_ms)

    @rule(
        parts=st.lists(st.tuples(st.integers(20, 250), st.booleans()), min_size=1, max_size=4),
        last=st.sampled_from([False, False, False, True]),
    )
    def words_come(self, parts: list[tuple[int, bool]], last: bool) -> None:
        reply = self.reply
        pieces = []
        for index, (ms, ends_word) in enumerate(parts, 1):
            self.count += 1
            text = f"word{self.count} " if ends_word or (last and index == len(parts)) else ""
            pieces.append((self.count.to_bytes(4) * 2 * ms, text))
        payload = b"".join(audio for audio, _ in pieces)
        ends = accumulate(len(audio) for audio, _ in pieces)
        words = Spoken(WordEnd(end, text) for end, (_, text) in zip(ends, pieces, strict=True))
        accepted = not reply.complete and not reply.over
        if accepted:
            reply.pieces += pieces
            reply.messages += [self.count] * len(pieces)
            reply.complete = last
        said = words if len(pieces) > 1 else str(words)
        step = self.clock.admit(AudioOut(1, self.generation, 1, 0, 1.0, 2.0, payload, said, last), self.now)
        self.follow(step)
        assert [audio.payload for audio in step.play] == ([payload] if accepted and not reply.paused else [])

    @precondition(lambda self: not self.reply.complete)
    @rule()
    def reply_ends_without_audio(self) -> None:
        self.reply.complete = True
        self.follow(self.clock.admit(AudioOut(1, self.generation, 1, 0, 1.0, 2.0, b"", "", True), self.now))

    @rule(generation=st.integers(0, 3))
    def piece_of_an_older_reply_comes(self, generation: int) -> None:
        if generation < self.generation:
            late = AudioOut(1, generation, 1, 0, 1.0, 2.0, b"\x00" * 800, "late", False)
            assert self.clock.admit(late, self.now) == Step()

    @precondition(lambda self: self.carrier.marks)
    @rule()
    def mark_arrives(self) -> None:
        self.follow(self.clock.mark(self.carrier.marks.popleft(), self.now))

    @rule(generation=st.integers(0, 3), take=st.integers(0, 3), position=st.integers(0, 400))
    def stale_mark_arrives(self, generation: int, take: int, position: int) -> None:
        name = f"{generation}:{take}:{position}"
        if not self.clock.awaits(name):
            assert self.clock.mark(name, self.now) == Step()

    @rule()
    def dialogue_pauses(self) -> None:
        reply = self.reply
        already = reply.paused or reply.over
        held = bool(self.carrier.queue)
        step = self.clock.pause(self.generation, self.now)
        states = self.follow(step)
        if already:
            assert step == Step()
        else:
            assert states in (["paused"], ["finished"])
            assert step.clear or not held
        reply.paused = reply.paused or states == ["paused"]

    @rule()
    def dialogue_resumes(self) -> None:
        reply = self.reply
        resumed, reply.paused = reply.paused and not reply.over, False
        rest = reply.unheard
        step = self.clock.resume(self.generation, self.now)
        self.follow(step)
        assert [audio.payload for audio in step.play] == (rest if resumed else [])
        assert (step.reports != ()) == resumed

    @rule(orders=st.sampled_from(["pause", "resume", "clear"]), back=st.integers(1, 3))
    def order_for_an_older_reply_comes_late(self, orders: str, back: int) -> None:
        order = {"pause": self.clock.pause, "resume": self.clock.resume, "clear": self.clock.clear}[orders]
        assert order(self.generation - back, self.now) == Step()

    @rule(steps=st.integers(1, 2))
    def dialogue_clears(self, steps: int) -> None:
        reply = self.reply
        self.spoken[self.generation + steps] = Said()
        step = self.clock.clear(self.generation + steps, self.now)
        held = bool(self.carrier.queue)
        assert not (step.clear and reply.paused), "the carrier is silent already"
        self.follow(step)
        self.generation += steps
        assert step.clear or not held
        assert not self.carrier.queue

    @invariant()
    def a_paused_reply_is_silent(self) -> None:
        if self.reply.paused:
            assert not self.carrier.queue
            assert not self.clock.speaking

    @invariant()
    def the_clock_knows_that_the_agent_speaks(self) -> None:
        assert self.clock.speaking or not self.carrier.queue

    def teardown(self) -> None:
        """A reply that is let go to its end is finished."""
        reply = self.reply
        if not reply.pieces:
            return
        self.dialogue_resumes()
        if not reply.complete:
            self.reply_ends_without_audio()
        while self.carrier.queue:
            self.time_passes(250)
        while self.carrier.marks:
            self.mark_arrives()
        assert reply.over
        assert reply.reported == "".join(text for _, text in reply.pieces)


Orders.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
TestOrders = Orders.TestCase
