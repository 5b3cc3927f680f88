"""Who lives, by heartbeats."""

from shared import subjects
from shared.memory_bus import MemoryBus
from shared.messages.worker import Heartbeat
from shared.roster import DEAD_AFTER_S, Roster


class Time:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def beat(worker: str, stage: str = "stt") -> Heartbeat:
    return Heartbeat(stage=stage, worker=worker, calls=0, capacity=1, draining=False, loop_lag_ms=0)


def test_a_worker_lives_while_it_beats() -> None:
    time = Time()
    roster = Roster(time)
    roster.note(beat("a"))
    time.now = 1.0
    roster.note(beat("b"))
    assert {seen.worker for seen in roster.alive("stt")} == {"a", "b"}
    time.now = DEAD_AFTER_S + 0.5
    assert {seen.worker for seen in roster.alive("stt")} == {"b"}
    assert roster.alive("tts") == []
    assert roster.silent_s("a") == DEAD_AFTER_S + 0.5
    assert roster.silent_s("never") is None


def test_the_dead_are_forgotten() -> None:
    time = Time()
    roster = Roster(time)
    roster.note(beat("a"))
    time.now = 60
    assert roster.forget(30) == ["a"]
    assert roster.silent_s("a") is None


async def test_heartbeats_are_heard_and_garbage_is_not() -> None:
    bus, roster = MemoryBus(), Roster()
    await roster.listen(bus)
    await bus.publish(subjects.heartbeat("stt", "a"), b"garbage")
    await bus.publish(subjects.heartbeat("stt", "b"), beat("b").model_dump_json().encode())
    await bus.settle()
    assert [seen.worker for seen in roster.alive("stt")] == ["b"]
