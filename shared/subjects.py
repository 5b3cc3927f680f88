"""Where every message travels: the subjects of a call, of leases and of workers."""

from dataclasses import dataclass

from shared.ids import check_call_id

AUDIO_IN = "audio.in"
AUDIO_OUT = "audio.out"
EVENTS = "call.*.event.>"
"""What the JetStream stream `CALLS` keeps."""


def call(call_id: str, suffix: str) -> str:
    """`call.<id>.<suffix>`. Raises InvalidId for an id that may not reach a subject."""
    return f"call.{check_call_id(call_id)}.{suffix}"


def lease(stage: str) -> str:
    """Where a gateway asks for a worker of `stage` (queue group)."""
    return f"lease.{stage}"


def lease_of(stage: str, worker: str) -> str:
    """Where a gateway asks one worker of `stage`."""
    return f"lease.{stage}.{worker}"


def knock(stage: str, worker: str) -> str:
    """Request/reply: the worker answers with nothing; without a worker the broker says so at once."""
    return f"knock.{stage}.{worker}"


def heartbeat(stage: str, worker: str) -> str:
    """Where one worker says that it lives; `worker.>` hears them all."""
    return f"worker.{stage}.{worker}"


HEARTBEATS = "worker.*.*"
LIVE_CALLS = "gateway.calls"
"""Request/reply: the live calls as JSON (`nats req gateway.calls ''`)."""


@dataclass(frozen=True, slots=True)
class Parsed:
    """A subject of a call taken apart: `call.<call_id>.<suffix>`."""

    call_id: str
    suffix: str


def parse(subject: str) -> Parsed:
    """Take a call's subject apart. Raises ValueError for any other subject."""
    head, _, rest = subject.partition(".")
    call_id, _, suffix = rest.partition(".")
    if head != "call" or not suffix:
        raise ValueError(f"not a subject of a call: {subject!r}")
    return Parsed(check_call_id(call_id), suffix)
