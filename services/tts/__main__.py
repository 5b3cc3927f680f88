"""`python -m services.tts`: a worker that speaks the replies of many calls."""

from services.tts.stage import TtsStage
from shared.service import run

if __name__ == "__main__":
    run("tts", "Text to speech: speaks the replies of the calls leased to it.", TtsStage)
