"""What all JSON messages of a call have in common."""

from typing import ClassVar

from pydantic import BaseModel, ConfigDict


class Message(BaseModel):
    """One JSON message on `call.<call_id>.<suffix>`.

    The sender's channel fills `call_id`, `epoch` and `at`; the rest is the message's own.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    suffix: ClassVar[str]
    """The subject after `call.<id>.`"""
    sender: ClassVar[tuple[str, ...]]
    """The stages that publish it."""
    receiver: ClassVar[str]
    """Who listens, in words, for the subject table."""

    call_id: str = ""
    stage: str = ""
    """The stage that published the message."""
    epoch: int = 0
    """The number of the sender's lease; messages of an older lease are dropped."""
    at: float = 0.0
    """Unix time in seconds at which the message was published."""
