"""What a call asks of Deepgram, by its agent's profile."""

import pytest

from services.stt.providers.deepgram_options import flux_options, nova_options
from shared.agents import AgentProfile, SttProfile
from shared.stage import CannotServe
from shared.turn_taking import TurnProfile


def agent(model: str, language: str = "en", turns: TurnProfile | None = None) -> AgentProfile:
    return AgentProfile(name="test", stt=SttProfile(model=model, language=language), turns=turns or TurnProfile())


@pytest.mark.parametrize(("ours", "endpointing", "gap"), [(100, 300, 1000), (500, 500, 1000), (1500, 1500, 1500)])
def test_nova_ends_an_utterance_no_sooner_than_the_vad_would(ours: int, endpointing: int, gap: int) -> None:
    options = nova_options(agent("nova-3", turns=TurnProfile(endpointing_ms=ours)))
    assert (options["endpointing"], options["utterance_end_ms"]) == (endpointing, gap)


@pytest.mark.parametrize(("patience", "timeout"), [(100, 500), (1200, 1200), (10_000, 10_000)])
def test_flux_ends_a_turn_after_the_agents_patience_as_far_as_it_goes(patience: int, timeout: int) -> None:
    options = flux_options(agent("flux-general-en", turns=TurnProfile(patience_ms=patience)))
    assert options["eot_timeout_ms"] == timeout


@pytest.mark.parametrize(("speculation", "threshold"), [(True, 0.5), (False, None)])
def test_flux_tells_of_likely_ends_only_to_an_agent_that_speculates(speculation: bool, threshold: float) -> None:
    options = flux_options(agent("flux-general-en", turns=TurnProfile(speculation=speculation)))
    assert options["eager_eot_threshold"] == threshold


def test_a_language_is_a_hint_for_the_multilingual_model_only() -> None:
    assert flux_options(agent("flux-general-multi", "es-MX"))["language_hint"] == ["es"]
    assert flux_options(agent("flux-general-multi", "multi"))["language_hint"] is None
    assert flux_options(agent("flux-general-en", "en-US"))["language_hint"] is None


def test_the_english_model_does_not_serve_another_language() -> None:
    with pytest.raises(CannotServe, match="flux-general-multi"):
        flux_options(agent("flux-general-en", "es"))
