"""What the agent is about to say: text on its way from llm to tts."""

from shared.messages.base import Message


class ReplyText(Message):
    """One clause or sentence of a reply, to be spoken as soon as it comes."""

    suffix = "reply.text"
    sender = ("llm",)
    receiver = "tts"

    generation: int
    turn_id: int
    sequence: int
    """Counts the pieces of the reply from 0."""
    text: str
    """The piece with its trailing white space; the reply is the concatenation of its pieces."""


class ReplyEnd(Message):
    """The reply is complete: `pieces` ReplyText messages were sent."""

    suffix = "reply.end"
    sender = ("llm",)
    receiver = "tts"

    generation: int
    turn_id: int
    pieces: int
