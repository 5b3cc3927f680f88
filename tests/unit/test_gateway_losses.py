"""Which stages are leased again, and why: heartbeats, knocks, gaps, drains and failures."""

import pytest

from services.gateway.calls import Lease
from services.gateway.knocking import Misses
from services.gateway.losses import DRAIN_WITHIN_S, Held, Judge
from shared.messages.worker import Heartbeat
from shared.roster import DEAD_AFTER_S, Roster


class Watch:
    """A gateway that watches the worker stt-1; both beat every 0.25 s unless told otherwise."""

    def __init__(self) -> None:
        self.now = 100.0
        self.own_gaps = 0
        self.quiet = False
        self.roster = Roster(lambda: self.now, own="gw-1")
        self.misses = Misses()
        self.judge = Judge(self.roster, self.misses, "gw-1", lambda: self.own_gaps)

    def beat(self, worker: str = "stt-1", *, gaps: int = 0, draining: bool = False) -> None:
        stage = worker.split("-")[0]
        beat = Heartbeat(stage=stage, worker=worker, calls=0, capacity=5, draining=draining, loop_lag_ms=0, gaps=gaps)
        self.roster.note(beat)

    def go(self, seconds: float, *workers: str) -> None:
        """Let time pass, in which `workers` beat."""
        for _ in range(round(seconds / 0.25)):
            self.now += 0.25
            for worker in workers:
                self.beat(worker)

    def hold(self, gaps: int | None = 0) -> Held:
        return self.judge.hold(Lease(worker="stt-1", epoch=1, gaps=gaps), self.own_gaps)

    def at_ease(self, held: Held) -> bool:
        return self.judge.at_ease(held, self.judge.sound([held.lease.worker]))

    def reason(self, held: Held) -> str | None:
        at_ease, reason = self.at_ease(held), self.judge.reason(held, lambda: self.quiet)
        assert not (at_ease and reason), "the quick look has missed it"
        return reason


@pytest.fixture
def watch() -> Watch:
    made = Watch()
    made.go(3, "gw-1", "stt-1")
    return made


def test_a_worker_that_beats_is_kept(watch: Watch) -> None:
    held = watch.hold()
    watch.go(10, "gw-1", "stt-1")
    assert watch.reason(held) is None
    assert watch.at_ease(held)


def test_a_worker_without_a_heartbeat_is_lost(watch: Watch) -> None:
    held = watch.hold()
    watch.go(1.0, "gw-1")
    assert watch.reason(held) is None
    watch.go(0.25, "gw-1")
    assert watch.reason(held) == "lost"
    assert watch.judge.unsure_s(held, "lost") == pytest.approx(1.25)


def test_a_worker_that_was_never_heard_is_lost_after_the_same_time(watch: Watch) -> None:
    held = watch.judge.hold(Lease(worker="stt-9", epoch=1), 0)
    watch.go(1.0, "gw-1")
    assert watch.reason(held) is None
    watch.go(0.25, "gw-1")
    assert watch.reason(held) == "lost"
    assert watch.judge.unsure_s(held, "lost") == pytest.approx(1.25)


def test_nobody_is_judged_by_a_gateway_that_does_not_hear_itself(watch: Watch) -> None:
    held = watch.hold()
    watch.go(5)
    watch.misses.missed("stt-1", watch.now)
    watch.misses.missed("stt-1", watch.now + 0.2)
    watch.misses.missed("stt-1", watch.now + 0.4)
    assert watch.reason(held) is None
    watch.go(DEAD_AFTER_S - 0.2, "gw-1")
    assert watch.reason(held) is None
    watch.go(0.5, "gw-1")
    assert watch.reason(held) == "gone"


def test_a_worker_that_the_broker_does_not_know_is_gone(watch: Watch) -> None:
    held = watch.hold()
    watch.beat("gw-1")
    for _ in range(3):
        watch.now += 0.13
        watch.beat("gw-1")
        assert watch.reason(held) is None
        watch.misses.missed("stt-1", watch.now)
    assert watch.reason(held) == "gone"
    assert watch.judge.unsure_s(held, "gone") == pytest.approx(0.39)


def test_a_heartbeat_is_stronger_than_the_brokers_word(watch: Watch) -> None:
    held = watch.hold()
    for _ in range(4):
        watch.now += 0.1
        watch.misses.missed("stt-1", watch.now)
    watch.beat("gw-1")
    watch.beat("stt-1")
    assert watch.reason(held) is None


@pytest.mark.parametrize("misses", [[0.0, 0.2], [0.0, 0.1, 0.2]])
def test_a_few_misses_mean_nothing(misses: list[float]) -> None:
    watched = Misses()
    for now in misses:
        watched.missed("stt-1", now)
    assert watched.gone_since("stt-1") is None


def test_an_answer_makes_the_misses_void() -> None:
    watched = Misses()
    for now in (0.0, 0.2, 0.4):
        watched.missed("stt-1", now)
    assert watched.gone_since("stt-1") == 0.0
    watched.there("stt-1")
    assert watched.gone_since("stt-1") is None
    watched.missed("stt-1", 0.5)
    watched.only([])
    watched.missed("stt-1", 0.9)
    watched.missed("stt-1", 1.0)
    assert watched.gone_since("stt-1") is None


def test_a_worker_that_lost_the_broker_may_have_missed_something(watch: Watch) -> None:
    held = watch.hold()
    watch.now += 0.25
    watch.beat("gw-1")
    watch.now += 0.25
    watch.beat("gw-1")
    watch.beat(gaps=1)
    assert watch.reason(held) == "gap"
    assert watch.judge.unsure_s(held, "gap") == pytest.approx(0.5)
    assert watch.reason(watch.hold(gaps=1)) is None


def test_gaps_that_were_not_known_are_those_of_the_next_heartbeat(watch: Watch) -> None:
    held = watch.hold(gaps=None)
    watch.beat("stt-1")
    watch.now += 0.25
    watch.beat(gaps=2)
    assert watch.reason(held) is None
    watch.now += 0.25
    watch.beat(gaps=3)
    assert watch.reason(held) == "gap"


def test_a_gateway_that_lost_the_broker_leases_everything_anew(watch: Watch) -> None:
    held = watch.hold()
    watch.go(4)
    watch.own_gaps = 1
    assert watch.reason(held) == "gap"
    assert watch.judge.unsure_s(held, "gap") == pytest.approx(4)
    assert watch.reason(watch.hold()) is None


def test_a_draining_worker_keeps_the_call_until_a_quiet_moment(watch: Watch) -> None:
    held = watch.hold()
    watch.beat("stt-2")
    watch.beat(draining=True)
    assert watch.reason(held) is None
    watch.quiet = True
    assert watch.reason(held) == "draining"
    assert watch.judge.unsure_s(held, "draining") == 0


def test_a_draining_worker_does_not_keep_the_call_for_long(watch: Watch) -> None:
    held = watch.hold()
    watch.beat("stt-2")
    watch.beat(draining=True)
    assert watch.reason(held) is None
    for _ in range(round(DRAIN_WITHIN_S / 0.25)):
        watch.now += 0.25
        watch.beat("gw-1")
        watch.beat("stt-2")
        watch.beat(draining=True)
    assert watch.reason(held) == "draining"


def test_a_draining_worker_keeps_the_call_when_it_is_the_only_one(watch: Watch) -> None:
    held = watch.hold()
    watch.quiet = True
    watch.beat(draining=True)
    assert watch.reason(held) is None


def test_a_drain_that_nobody_could_help_is_put_off(watch: Watch) -> None:
    held = watch.hold()
    watch.quiet = True
    watch.beat("stt-2")
    watch.beat(draining=True)
    watch.judge.put_off(held)
    assert watch.reason(held) is None
    watch.now += 1.0
    watch.beat("stt-2")
    watch.beat(draining=True)
    assert watch.reason(held) == "draining"


def test_a_stage_that_cannot_go_on_has_failed(watch: Watch) -> None:
    held = watch.hold()
    watch.judge.fail(held)
    watch.now += 0.1
    assert watch.reason(held) == "failed"
    assert watch.judge.unsure_s(held, "failed") == pytest.approx(0.1)


def test_a_call_that_comes_back_gets_other_workers_for_those_that_do_not_answer(watch: Watch) -> None:
    lease = Lease(worker="stt-1", epoch=1)
    assert not watch.judge.unfit(lease)
    watch.go(0.75, "gw-1")
    assert watch.judge.unfit(lease)
    assert watch.judge.unfit(Lease(worker="never-1", epoch=1))
    watch.beat(draining=True)
    assert watch.judge.unfit(lease)
