"""Turn-taking as it is changed during a call."""

from typing import Any

from shared.messages.base import Message


class TurnsChanged(Message):
    """From now on this call takes turns so: `{"turns": {"barge_in": {"min_words": 3}}}`.

    Anyone may publish it; what is not named stays as it is, and a value that cannot be used changes nothing.
    """

    suffix = "turns"
    sender = ("anyone",)
    receiver = "llm, stt, gateway"

    turns: dict[str, Any]
    """Keys as under `turns` of the agent's profile."""
