"""How the stand-ins behave: their delays and failures, as a vendor's would be."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Fault = Literal["", "hang", "429", "500", "drop", "garbage"]
"""How a vendor fails, requests and open sockets alike. `hang`: nothing is answered any more. `429`, `500`: requests are
refused with that status, sockets closed with the vendor's error. `drop`: connections break off in the middle.
`garbage`: what is sent cannot be read."""

TtsVoice = Literal["espeak", "telegraph"]
"""Who speaks. `telegraph`: words that `simulator.telegraph.read` finds again, at hardly any cost."""


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
    tts_voice: TtsVoice = "espeak"
    stt_fault: Fault = ""
    llm_fault: Fault = ""
    llm_fault_tokens: int = Field(default=0, ge=0, le=10_000)
    """Tokens of an answer that come before the fault; 0: there is no answer at all."""
    tts_fault: Fault = ""
    api_key: str = "stand-in"
    """The key that the stand-ins accept; any other gets the vendor's refusal."""
