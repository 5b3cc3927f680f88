"""The delays that the vendors' stand-ins are told, and what the platform adds to them. Pure.

A caller's *response* is by ear: from the last audible sample that he sent to the first audible sample of the answer
that the carrier played. Most of it is none of the platform's doing:

    response = endpointing_ms + stt excess + llm_ms + tts_ms + added

* `endpointing_ms`: the silence that ends a turn, a setting of the agent. It is waited out in every turn, since
  speculation is off: with it, the model would answer within the wait, and the sum would hide what the platform takes.
* stt excess: a recogniser is asked for its last words when the silence has lasted for FINISH_AFTER_MS, and answers
  stt_ms later, side by side with the rest of the endpointing wait. Only what does not fit into that counts:
  max(0, FINISH_AFTER_MS + stt_ms - endpointing_ms).
* `llm_ms`: from the request to the model's first token; the tokens behind it come without delay.
* `tts_ms`: from the first clause to the first audio.
* added: all the rest: the gateway, the bus, each worker's own work and queue, and the vendors' SDKs. A caller's voice
  leaves in frames of 20 ms, which is how exact the end of his words is known; single turns may be below 0.
"""

from dataclasses import dataclass

FINISH_AFTER_MS = 256
"""The hang-over of services.stt.detector and the window in which it ends."""


@dataclass(frozen=True, slots=True)
class Told:
    """The delays of all turns, in ms."""

    endpointing_ms: float = 500.0
    stt_ms: int = 0
    llm_ms: int = 200
    tts_ms: int = 80

    @property
    def stt_excess_ms(self) -> float:
        """What of stt_ms does not fit into the endpointing wait."""
        return max(0.0, FINISH_AFTER_MS + self.stt_ms - self.endpointing_ms)

    def added_ms(self, response_ms: float) -> float:
        """What the platform itself adds to a response of so many ms by ear."""
        return response_ms - self.endpointing_ms - self.stt_excess_ms - self.llm_ms - self.tts_ms

    @property
    def options(self) -> tuple[str, ...]:
        """Options of `python -m simulator standins` that make it so, with words that can be read in the audio."""
        delays = {"stt-final-ms": self.stt_ms, "llm-first-token-ms": self.llm_ms, "tts-first-audio-ms": self.tts_ms}
        told = [word for name, ms in delays.items() for word in (f"--{name}", str(ms))]
        return (*told, "--tts-voice", "telegraph")
