"""How a gateway asks a worker to take a call."""

from typing import Literal

from pydantic import BaseModel, ConfigDict

from shared.agents import AgentProfile


class LeaseRequest(BaseModel):
    """A request on `lease.<stage>`: take this call."""

    model_config = ConfigDict(frozen=True)

    call_id: str
    stage: str
    epoch: int
    """The number of this lease; it grows with every lease of the stage in this call."""
    gateway: str
    """The gateway that asks; a worker lets go of calls whose gateway fell silent."""
    profile: AgentProfile
    line: int = 0
    """The number of the call's open line; 0: the call has no line yet, and `event.started` is still to come."""
    line_opened_at: float = 0.0
    """Unix time in seconds of the beginning of the caller's timeline on that line: audio that is sent again after a
    takeover reached the system then and not now."""


class LeaseReply(BaseModel):
    """The worker's answer, given after it has subscribed to the call's subjects."""

    model_config = ConfigDict(frozen=True)

    state: Literal["granted", "busy", "refused"]
    """`busy`: no free slot here, ask another. `refused`: this call cannot be served, `reason` says why."""
    worker: str
    reason: str = ""
