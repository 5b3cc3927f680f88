"""Every JSON message of a call, by the subject it travels on."""

from shared.messages.audio import AudioIn, AudioOut, BadFrame
from shared.messages.base import Message
from shared.messages.control import Control, Digit
from shared.messages.event import (
    CallEnded,
    CallStarted,
    ErrorHappened,
    LeaseChanged,
    TurnCompleted,
    UsageCounted,
)
from shared.messages.playback import Playback
from shared.messages.reply import ReplyEnd, ReplyText
from shared.messages.speech import SpeechFinal, SpeechPartial, SpeechStarted, SpeechStopped, SpeechSustained, Word
from shared.messages.takeover import ReplyOnLine, StageTaken
from shared.messages.transcript import TranscriptAgent, TranscriptCaller
from shared.messages.turns import TurnsChanged

MESSAGES: dict[str, type[Message]] = {
    message.suffix: message
    for message in (
        SpeechStarted,
        SpeechSustained,
        SpeechStopped,
        SpeechPartial,
        SpeechFinal,
        ReplyText,
        ReplyEnd,
        Playback,
        Control,
        Digit,
        TurnsChanged,
        StageTaken,
        TranscriptCaller,
        TranscriptAgent,
        CallStarted,
        LeaseChanged,
        TurnCompleted,
        UsageCounted,
        ErrorHappened,
        CallEnded,
    )
}

__all__ = [
    "MESSAGES",
    "AudioIn",
    "AudioOut",
    "BadFrame",
    "CallEnded",
    "CallStarted",
    "Control",
    "Digit",
    "ErrorHappened",
    "LeaseChanged",
    "Message",
    "Playback",
    "ReplyEnd",
    "ReplyOnLine",
    "ReplyText",
    "SpeechFinal",
    "SpeechPartial",
    "SpeechStarted",
    "SpeechStopped",
    "SpeechSustained",
    "StageTaken",
    "TranscriptAgent",
    "TranscriptCaller",
    "TurnCompleted",
    "TurnsChanged",
    "UsageCounted",
    "Word",
]
