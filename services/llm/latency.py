"""Where the time of a turn goes, from the caller's last speech sample to the first one that the caller hears."""

from dataclasses import dataclass

from services.llm.actions import Commit
from shared.messages import Playback, TurnCompleted
from shared.metrics import TURNS

_PARTS = ("endpointing", "stt", "llm_first_token", "first_clause", "tts_first_audio", "gateway", "bus", "line", "total")


@dataclass(slots=True)
class Latency:
    """The moments of one turn, in Unix seconds."""

    commit: Commit
    decided_at: float
    """When the message that allowed the commit was published; of a timer: when it was due."""
    committed_at: float
    speculated: bool = False
    """The reply was prepared before the commit."""
    first_text_at: float | None = None
    """The model's first text, perhaps before the commit; None when the words are not the model's."""
    first_piece_at: float | None = None
    """The first clause was sent to tts."""
    _started: Playback | None = None

    def started(self, playback: Playback) -> None:
        """The reply's first audio was handed to the carrier."""
        self._started = self._started or playback

    def audible(self, playback: Playback, turn_id: int) -> TurnCompleted | None:
        """The spans up to the first sample that the caller heard; None as long as they are not known.

        They add up to the total. With clocks that differ between hosts a span may be negative.
        """
        started, first_piece_at = self._started, self.first_piece_at
        if started is None or first_piece_at is None or not playback.audible_at:
            return None
        ended_at, due_at = self.commit.ended_at, self.commit.due_at
        decided_at = max(self.decided_at, due_at)
        first_text_at = max(first_piece_at if self.first_text_at is None else self.first_text_at, self.committed_at)
        # A stage that does not tell when it was asked or reached: the way there counts as its own time.
        asked_at = started.asked_at or first_piece_at
        received_at = started.received_at or started.synthesized_at
        on_the_bus = (self.committed_at - decided_at, asked_at - first_piece_at, received_at - started.synthesized_at)
        return TurnCompleted(
            turn_id=turn_id,
            generation=started.generation,
            utterances=self.commit.utterances,
            speculated=self.speculated,
            endpointing_ms=(due_at - ended_at) * 1000,
            stt_ms=(decided_at - due_at) * 1000,
            llm_first_token_ms=(first_text_at - self.committed_at) * 1000,
            first_clause_ms=(first_piece_at - first_text_at) * 1000,
            tts_first_audio_ms=(started.synthesized_at - asked_at) * 1000,
            gateway_ms=(started.at - received_at) * 1000,
            bus_ms=sum(on_the_bus) * 1000,
            line_ms=(playback.audible_at - started.at) * 1000,
            total_ms=(playback.audible_at - ended_at) * 1000,
        )


class Stopwatch:
    """Measures the newest reply until it is heard."""

    def __init__(self) -> None:
        """Nothing is measured."""
        self._generation = 0
        self._latency: Latency | None = None

    def start(self, generation: int, latency: Latency) -> None:
        """`latency` is that of the reply `generation`."""
        self._generation, self._latency = generation, latency

    def drop(self) -> None:
        """What was measured means nothing: the reply has another line."""
        self._latency = None

    def follow(self, playback: Playback, turn_id: int) -> TurnCompleted | None:
        """The turn, once its reply is heard; it is counted."""
        latency = self._latency
        if latency is None or playback.generation != self._generation:
            return None
        if playback.state == "started":
            latency.started(playback)
        turn = latency.audible(playback, turn_id)
        if turn is not None:
            self._latency = None
            observe(turn)
        return turn


def observe(turn: TurnCompleted) -> None:
    """Add the turn to the histogram, by part; `platform` is what the platform itself took."""
    spans = {part: getattr(turn, f"{part}_ms") for part in _PARTS}
    for part, span_ms in {**spans, "platform": turn.bus_ms + turn.gateway_ms}.items():
        TURNS.labels(part).observe(max(0.0, span_ms / 1000))
