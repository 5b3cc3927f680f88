"""The conversation as it really was, for people."""

from shared.messages.base import Message


class TranscriptCaller(Message):
    """What the caller said in one committed turn."""

    suffix = "transcript.caller"
    sender = ("llm",)
    receiver = "anyone"

    turn_id: int
    text: str


class TranscriptAgent(Message):
    """What the caller heard the agent say, sent when the reply ended or was cut short."""

    suffix = "transcript.agent"
    sender = ("llm",)
    receiver = "anyone"

    turn_id: int
    generation: int
    text: str
    interrupted: bool
