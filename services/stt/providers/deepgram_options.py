"""What a call asks of Deepgram. Pure.

Source: Deepgram's pages on Endpointing, Utterance End, and "End-of-Turn Detection Parameters" (Flux).
"""

from typing import Any

from shared.agents import AgentProfile
from shared.audio import RATE
from shared.stage import CannotServe

FLUX = "flux-"
"""What the names of the models begin with that find the end of a turn by themselves."""

_SHORTEST_ENDPOINTING_MS = 300
"""Longer than the VAD's hang-over: Finalize ends an utterance first, and numbers and names stay whole."""
_SHORTEST_UTTERANCE_END_MS = 1000
_EOT_THRESHOLD, _EAGER_EOT_THRESHOLD = 0.7, 0.5
_EOT_TIMEOUT_MS = (500, 10_000)
"""What older Flux accepts; newer goes up to 60 s."""


def nova_options(profile: AgentProfile) -> dict[str, Any]:
    """The parameters of a listen v1 stream.

    Finalize ends the utterances. Where noise keeps the VAD from hearing the silence, Deepgram's own endpointing
    does, and where noise keeps that from it too, the gap between the words.
    """
    silence_ms = profile.turns.endpointing_ms
    return {
        "model": profile.stt.model,
        "language": profile.stt.language,
        "keyterm": list(profile.stt.keyterms) or None,
        "encoding": "mulaw",
        "sample_rate": RATE,
        "channels": 1,
        "interim_results": True,
        "smart_format": True,
        "endpointing": max(silence_ms, _SHORTEST_ENDPOINTING_MS),
        "utterance_end_ms": max(silence_ms, _SHORTEST_UTTERANCE_END_MS),
    }


def flux_options(profile: AgentProfile) -> dict[str, Any]:
    """The parameters of a listen v2 stream. Raises CannotServe for a language that the model does not hear."""
    stt = profile.stt
    language = stt.language.partition("-")[0]
    multilingual = stt.model.endswith("-multi")
    if not multilingual and language != "en":
        raise CannotServe(
            f"Deepgram's {stt.model} hears English only: set stt.model of the agent to flux-general-multi "
            "or stt.language to en"
        )
    return {
        "model": stt.model,
        "encoding": "mulaw",
        "sample_rate": RATE,
        "keyterm": list(stt.keyterms) or None,
        "language_hint": [language] if multilingual and language != "multi" else None,
        "eot_threshold": _EOT_THRESHOLD,
        "eager_eot_threshold": _EAGER_EOT_THRESHOLD if profile.turns.speculation else None,
        "eot_timeout_ms": eot_timeout_ms(profile),
    }


def eot_timeout_ms(profile: AgentProfile) -> int:
    """Silence after which Flux ends a turn even if what was said is not finished."""
    shortest, longest = _EOT_TIMEOUT_MS
    return min(max(profile.turns.patience_ms, shortest), longest)
