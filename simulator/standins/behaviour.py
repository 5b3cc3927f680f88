"""How the stand-ins behave: their delays, as a vendor's would be."""

from pydantic import BaseModel, ConfigDict, Field


class Behaviour(BaseModel):
    """Settable on the command line of `python -m simulator standins`, and by tests."""

    model_config = ConfigDict(extra="forbid", validate_assignment=True)

    stt_final_ms: int = Field(default=0, ge=0, le=60_000)
    """From the end of an utterance (or Finalize) to its final transcript."""
    stt_eager_ms: int = Field(default=200, ge=10, le=10_000)
    """Silence after which Flux tells that a turn is likely over."""
    stt_turn_ms: int = Field(default=400, ge=10, le=10_000)
    """Silence after which Flux ends a turn, when what was said is a whole sentence."""
    llm_first_token_ms: int = Field(default=0, ge=0, le=60_000)
    """From the request to the first token."""
    llm_token_ms: int = Field(default=0, ge=0, le=10_000)
    """Between tokens."""
    tts_first_audio_ms: int = Field(default=0, ge=0, le=60_000)
    """From the first text that can be spoken to the first audio."""
    api_key: str = "stand-in"
    """The key that the stand-ins accept; any other gets the vendor's refusal."""
