"""`python -m services.llm`: the worker that holds the dialogues."""

from services.llm.models import Models
from services.llm.stage import LlmStage
from shared.breakers import Breakers
from shared.service import run
from shared.settings import Settings


def build(settings: Settings, breakers: Breakers) -> LlmStage:
    """The stage as the settings want it."""
    models = Models(settings, breakers)
    return LlmStage(models.open, models.close)


if __name__ == "__main__":
    run("llm", "The dialogue: turn-taking, memory and replies.", build)
