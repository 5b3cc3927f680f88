"""Where the time of a turn goes, from the caller's last speech sample to the first audio at the carrier."""

from dataclasses import dataclass

from services.llm.actions import Commit
from shared.messages import Playback, TurnCompleted
from shared.metrics import TURNS


@dataclass(slots=True)
class Latency:
    """The moments of one turn, in Unix seconds."""

    commit: Commit
    committed_at: float
    first_text_at: float | None = None
    """The model's first text; None when only an apology was said."""
    first_piece_at: float | None = None
    """The first clause was sent to tts."""

    def completed(self, turn_id: int, playback: Playback) -> TurnCompleted | None:
        """The spans up to `playback`, the start of the reply's audio; None when the reply never began here.

        They add up to the total. With clocks that differ between hosts a span may be negative.
        """
        if self.first_piece_at is None:
            return None
        first_text_at = self.first_piece_at if self.first_text_at is None else self.first_text_at
        ended_at, due_at = self.commit.ended_at, self.commit.due_at
        return TurnCompleted(
            turn_id=turn_id,
            generation=playback.generation,
            endpointing_ms=(due_at - ended_at) * 1000,
            stt_ms=(self.committed_at - due_at) * 1000,
            llm_first_token_ms=(first_text_at - self.committed_at) * 1000,
            first_clause_ms=(self.first_piece_at - first_text_at) * 1000,
            tts_first_audio_ms=(playback.synthesized_at - self.first_piece_at) * 1000,
            gateway_ms=(playback.at - playback.synthesized_at) * 1000,
            bus_ms=0.0,
            line_ms=0.0,
            total_ms=(playback.at - ended_at) * 1000,
        )


def observe(turn: TurnCompleted) -> None:
    """Add the turn to the histogram, by part."""
    for part in ("endpointing", "stt", "llm_first_token", "first_clause", "tts_first_audio", "gateway", "total"):
        TURNS.labels(part).observe(max(0.0, getattr(turn, f"{part}_ms") / 1000))
