"""Sentences that Twilio fetches and plays: `/twilio/sounds/<name>.wav`."""

import struct
from pathlib import Path

from fastapi import APIRouter, Response

from shared.audio import RATE

BUSY = "busy.wav"
HOLD = "hold.wav"
_FOLDER = Path(__file__).parents[1] / "sounds"
_MULAW = 7
"""WAVE_FORMAT_MULAW."""


def wav(mulaw: bytes) -> bytes:
    """8 kHz μ-law in a WAV file; the module `wave` only writes linear samples."""
    padding = b"\xff" * (len(mulaw) % 2)
    form = struct.pack("<4sIHHIIHHH", b"fmt ", 18, _MULAW, 1, RATE, RATE, 1, 8, 0)
    body = b"WAVE" + form + struct.pack("<4sII", b"fact", 4, len(mulaw))
    body += struct.pack("<4sI", b"data", len(mulaw)) + mulaw + padding
    return struct.pack("<4sI", b"RIFF", len(body)) + body


class SoundRoutes:
    """Serves these files and no others; they hold nothing that is secret."""

    def __init__(self) -> None:
        """Reads the sentences."""
        self._files = {name: wav((_FOLDER / name).with_suffix(".ulaw").read_bytes()) for name in (BUSY, HOLD)}
        self.router = APIRouter(prefix="/twilio/sounds")
        self.router.add_api_route("/{name}", self.sound, methods=["GET", "HEAD"])

    async def sound(self, name: str) -> Response:
        """One of the files."""
        file = self._files.get(name)
        if file is None:
            return Response(status_code=404)
        return Response(file, media_type="audio/wav", headers={"Cache-Control": "public, max-age=86400"})
