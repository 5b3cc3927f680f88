"""How processes tell each other that they live."""

from pydantic import BaseModel, ConfigDict


class Heartbeat(BaseModel):
    """Sent by every worker (and gateway) on `worker.<stage>.<worker>` 2-4 times a second."""

    model_config = ConfigDict(frozen=True)

    stage: str
    worker: str
    calls: int
    capacity: int
    draining: bool
    loop_lag_ms: float
    """How late the worker's event loop ran since the last beat, at worst."""
    shedding: bool = False
    """It takes no new leases because its event loop lags."""
    gaps: int = 0
    """How often it has lost the broker and found it again: each time messages for it may have been lost."""
