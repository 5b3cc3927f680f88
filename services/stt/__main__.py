"""`python -m services.stt`: a worker that hears the callers of many calls."""

from services.stt.stage import SttStage
from shared.service import run

if __name__ == "__main__":
    run("stt", "Speech to text: hears the callers of the calls leased to it.", SttStage)
