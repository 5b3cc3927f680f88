"""What came of a call under a fault: did it go on, what was lost, how long was it silent. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from shared.phrases import normalize
from simulator.chaos import captions
from simulator.chaos.judge import Answer, Count, LineVerdict, by_spectrogram, judge, judge_echo
from simulator.chaos.recording import Recording, Said
from simulator.chaos.silence import Span, gaps, longest_ms
from simulator.chaos.words import compare

_WRONG = ("wrong", "twice")


@dataclass(frozen=True, slots=True)
class Fault:
    """When the system was broken; times in seconds of the phones' clock."""

    struck: float
    settled: float
    """From now on nothing of it may be noticed."""


@dataclass(slots=True)
class CallVerdict:
    """The judgement on one call, from the fault on."""

    phase: str
    """What it was at when the fault fell."""
    went_on: bool = True
    caller_words_lost: int = 0
    """Words said that reached no transcript."""
    agent_words_lost: int = 0
    """Words of right answers that were never heard."""
    words_repeated: int = 0
    """Words heard again where a reply went on."""
    asked: int = 0
    """Lines that the agent asked for again."""
    wrong: int = 0
    """Answers that were wrong, or came twice."""
    silence_ms: float = 0.0
    """The longest silence of the agent's while it was its turn, or in the middle of what it said."""
    reasons: list[str] = field(default_factory=list)
    """All that was not right, in sentences."""

    @property
    def words_lost(self) -> int:
        """The caller's and the agent's."""
        return self.caller_words_lost + self.agent_words_lost


def _understood(said: Said, outcome: str) -> int:
    """How many words of a line reached no transcript."""
    if not said.understood and outcome == "right":
        # The transcript itself was lost on its way to the judge: the right answer shows that the words were not.
        return 0
    return len(compare(normalize(said.line.said).split(), normalize(said.understood).split()).missing)


class Judge:
    """Judges calls to one agent."""

    def __init__(self, asks: Sequence[str], *, echo: bool = False, count: Count = by_spectrogram) -> None:
        """`asks`: see `judge.judge`. `echo`: the agent gives back what it hears, while it is being said."""
        self._asks = asks
        self._echo = echo
        self._count = count

    def call(self, recording: Recording, fault: Fault) -> CallVerdict:
        """The verdict on one call."""
        verdict = CallVerdict(recording.phase(fault.struck))
        words = captions.heard(recording.pieces, recording.playback)
        silences: list[Span] = []
        after = 0
        for number, said in enumerate(recording.said):
            if said.until <= fault.struck:
                continue
            following = recording.said[number + 1 : number + 2]
            next_at = following[0].began if following else said.until
            line = self._line(recording, said, next_at, words, hit=said.began < fault.settled)
            silences += self._silences(recording, said, line)
            _add(verdict, said, line, hit=said.began < fault.settled, spoken=not self._echo)
            after += said.began >= fault.settled
        verdict.silence_ms = longest_ms(silences, fault.struck)
        if recording.failure:
            verdict.reasons.append(recording.failure)
        elif not after:
            verdict.reasons.append("no line was said after the fault")
        if recording.failure or not after:
            verdict.went_on = False
        return verdict

    def _line(
        self, recording: Recording, said: Said, next_at: float, words: Sequence[captions.Word], *, hit: bool
    ) -> LineVerdict:
        since = said.began if self._echo else said.ended
        audio = recording.playback.between(since, next_at)
        heard = [word.text for word in words if since <= word.start < next_at]
        answer = Answer(heard, audio, bool(recording.stretches(since, next_at)))
        if self._echo:
            return judge_echo(said.line.mulaw, len(normalize(said.line.said).split()), audio)
        return judge(said.line.expected, answer, self._asks, hit=hit, count=self._count)

    def _silences(self, recording: Recording, said: Said, line: LineVerdict) -> Iterator[Span]:
        since = said.began if self._echo else said.ended
        complete = line.outcome in ("right", "twice", "asked")
        return gaps(since, said.until, recording.stretches(since, said.until), complete=complete)


def _add(verdict: CallVerdict, said: Said, line: LineVerdict, *, hit: bool, spoken: bool) -> None:
    """Count one line; `hit`: the fault could be noticed in it; `spoken`: its words are transcribed."""
    verdict.agent_words_lost += line.lost
    verdict.caller_words_lost += _understood(said, line.outcome) if spoken else 0
    verdict.words_repeated += line.repeated
    verdict.asked += line.outcome == "asked"
    verdict.wrong += line.outcome in _WRONG
    forgiven = ("right", "cut", "asked") if hit else ("right",)
    verdict.went_on = verdict.went_on and line.outcome in forgiven
    if line.reason:
        verdict.reasons.append(f"“{said.line.said}”: {line.outcome}: {line.reason}")
