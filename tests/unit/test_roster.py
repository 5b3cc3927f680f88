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


def beat(worker: str, stage: str = "stt", **fields: int) -> Heartbeat:
    values = {"calls": 0, "capacity": 1, "draining": False, "loop_lag_ms": 0, **fields}
    return Heartbeat.model_validate({"stage": stage, "worker": worker, **values})


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


async def test_who_needs_one_stage_only_does_not_hear_the_others() -> None:
    bus, roster = MemoryBus(), Roster()
    await roster.listen(bus, "gateway")
    for stage, worker in (("stt", "a"), ("gateway", "g")):
        await bus.publish(subjects.heartbeat(stage, worker), beat(worker, stage).model_dump_json().encode())
    await bus.settle()
    assert (roster.last("a"), roster.silent_s("g") is not None) == (None, True)


def test_a_worker_is_suspected_before_it_is_dead() -> None:
    time = Time()
    roster = Roster(time)
    roster.note(beat("a"))
    roster.note(beat("b", draining=True))
    time.now = 0.7
    assert roster.suspects("stt") == ["a"]
    assert roster.ready("stt") == []
    roster.gone("a")
    assert (roster.suspects("stt"), roster.alive("stt")) == ([], [beat("b", draining=True)])
    roster.note(beat("a"))
    assert (roster.suspects("stt"), roster.ready("stt")) == ([], ["a"])


def test_the_least_loaded_worker_is_asked_first() -> None:
    roster = Roster(Time())
    for worker, calls in (("a", 3), ("b", 1), ("c", 2)):
        roster.note(beat(worker, calls=calls, capacity=4))
    roster.note(beat("d", capacity=4, shedding=True))
    roster.note(beat("e", capacity=4, draining=True))
    assert roster.ready("stt") == ["b", "c", "a", "d"]
    for _ in range(3):
        roster.leased("b")
    assert roster.ready("stt") == ["c", "a", "b", "d"]


def test_others_are_judged_only_while_the_own_heartbeat_comes_back() -> None:
    time = Time()
    roster = Roster(time, own="gw")
    assert not roster.judges()

    def hear(until: float) -> None:
        while time.now < until:
            time.now += 0.25
            roster.note(beat("gw", "gateway"))

    hear(1.25)
    assert not roster.judges()
    hear(1.75)
    assert roster.judges()
    time.now += 0.7
    assert not roster.judges()
    hear(time.now + 1.0)
    assert not roster.judges()
    hear(time.now + 0.5)
    assert roster.judges()


def test_a_gap_tells_until_when_a_worker_heard_everything() -> None:
    time = Time()
    roster = Roster(time)
    for now, gaps in ((1.0, 0), (1.25, 0), (3.0, 1), (3.25, 1)):
        time.now = now
        roster.note(beat("a", gaps=gaps))
    time.now = 3.5
    assert roster.unsure_s("a", gaps=0) == 2.25
    assert roster.unsure_s("a", gaps=1) == 0.25
    assert roster.unsure_s("never", gaps=0) == 0


def test_a_worker_whose_beats_are_late_is_given_more_time() -> None:
    time = Time()
    roster = Roster(time)
    for time.now in (1.0, 1.25, 2.25):
        roster.note(beat("a"))
    time.now += 1.4
    assert (roster.suspects("stt"), roster.ready("stt"), roster.dead("a")) == ([], ["a"], False)
    time.now += 0.2
    assert (roster.suspects("stt"), roster.ready("stt"), roster.dead("a")) == (["a"], [], False)
    time.now += 1.3
    assert not roster.dead("a")
    time.now += 0.2
    assert roster.dead("a")
    assert roster.alive("stt") == []
    # It hung, or the machine did: from a pause of minutes nothing is learnt.
    time.now += 600
    roster.note(beat("a"))
    time.now += 4.6
    assert roster.dead("a")


def test_a_late_beat_is_forgotten_after_a_while() -> None:
    time = Time()
    roster = Roster(time)
    roster.note(beat("a"))
    time.now = 1.5
    for _ in range(60):
        roster.note(beat("a"))
        time.now += 0.25
    time.now += DEAD_AFTER_S
    assert roster.dead("a")
