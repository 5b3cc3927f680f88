"""`python -m services.speech`: a worker that answers speech with speech."""

from services.speech.stage import SpeechStage
from shared.service import run

if __name__ == "__main__":
    run("speech", "Speech to speech: the echo, for the calls leased to it.", SpeechStage)
