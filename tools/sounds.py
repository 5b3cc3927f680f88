"""Renders the gateway's fixed sentences: `python -m tools.sounds` writes services/gateway/sounds/*.ulaw."""

from pathlib import Path

from shared.espeak import speak

SENTENCES = {
    "busy": "All our lines are busy right now. Please call again in a few minutes. Goodbye.",
    "hold": "All our lines are busy right now. Please hold the line.",
}
FOLDER = Path(__file__).parents[1] / "services" / "gateway" / "sounds"


def main() -> None:
    """Write every sentence as 8 kHz μ-law."""
    for name, sentence in SENTENCES.items():
        (FOLDER / f"{name}.ulaw").write_bytes(speak(sentence).mulaw)


if __name__ == "__main__":
    main()
