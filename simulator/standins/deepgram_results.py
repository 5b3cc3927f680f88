"""The messages of the Deepgram stand-in, as the vendor writes them."""

import hashlib
import uuid
from datetime import UTC, datetime
from typing import Any

from shared.phrases import normalize
from simulator.standins.deepgram_hearing import Segment, seconds
from simulator.standins.deepgram_scribe import Transcript, Word


class Messages:
    """The messages of one stream."""

    def __init__(self, model: str, *, formatted: bool) -> None:
        """`formatted`: transcripts carry capitals and punctuation."""
        self.request_id = str(uuid.uuid4())
        self._formatted = formatted
        uuid_of_model = str(uuid.uuid5(uuid.NAMESPACE_DNS, model))
        self._metadata = {
            "request_id": self.request_id,
            "model_info": {"name": f"{model}-stand-in", "version": "2026-01-01.0", "arch": model},
            "model_uuid": uuid_of_model,
        }
        self._sha = hashlib.sha256()

    def results(self, segment: Segment, transcript: Transcript) -> dict[str, Any]:
        """What was understood of a segment."""
        alternative = {
            "transcript": transcript.text if self._formatted else normalize(transcript.text),
            "confidence": round(transcript.confidence, 4),
            "words": [self._word(word, transcript.confidence) for word in transcript.words],
        }
        return {
            "type": "Results",
            "channel_index": [0, 1],
            "duration": seconds(segment.end - segment.start),
            "start": seconds(segment.start),
            "is_final": segment.is_final,
            "speech_final": segment.speech_final,
            "channel": {"alternatives": [alternative]},
            "metadata": self._metadata,
            "from_finalize": segment.from_finalize,
        }

    def _word(self, word: Word, confidence: float) -> dict[str, Any]:
        said: dict[str, Any] = {
            "word": normalize(word.text),
            "start": seconds(word.start),
            "end": seconds(word.end),
            "confidence": round(confidence, 4),
        }
        return {**said, "punctuated_word": word.text} if self._formatted else said

    def speech_started(self, at: int) -> dict[str, Any]:
        """Speech began at a position in the stream (bytes)."""
        return {"type": "SpeechStarted", "channel": [0, 1], "timestamp": seconds(at)}

    def utterance_end(self, at: int) -> dict[str, Any]:
        """The last word ended at a position in the stream (bytes)."""
        return {"type": "UtteranceEnd", "channel": [0, 1], "last_word_end": seconds(at)}

    def error(self, text: str) -> dict[str, Any]:
        """A text message was not understood."""
        description = "Could not deserialize last text message"
        return {"type": "Error", "variant": "SchemaError", "description": description, "message": text}

    def audio(self, data: bytes) -> None:
        """Counts for the checksum at the end."""
        self._sha.update(data)

    def metadata(self, length: int) -> dict[str, Any]:
        """The summary after `length` bytes of audio."""
        return {
            "type": "Metadata",
            "transaction_key": "deprecated",
            "request_id": self.request_id,
            "sha256": self._sha.hexdigest(),
            "created": datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "duration": seconds(length),
            "channels": 1,
        }
