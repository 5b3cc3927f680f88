"""The circuit breakers of all providers, shared by the whole fleet through the broker."""

import asyncio
import contextlib
import re
import time
from collections.abc import Callable, Iterable
from typing import get_args

import structlog
from pydantic import ValidationError

from shared.agents import LlmChoice, SttChoice, TtsChoice
from shared.breaker import Breaker, Limits, Outcome, Phase, after_all
from shared.bus import Bucket, Bus, BusError, Subscription, WrongRevision
from shared.ids import InvalidId
from shared.metrics import BREAKER_STATE, BREAKER_TRIPS
from shared.settings import Settings

log = structlog.get_logger()

BUCKET = "breakers"
"""Holds one Breaker as JSON for each provider: `nats kv get breakers llm.openai`."""
_CHANGES = f"$KV.{BUCKET}."
"""A put into the bucket is a message behind this prefix. Source: NATS ADR-8, "JetStream based Key-Value Stores"."""
_KEEP_S = 24 * 3600.0
_POLL_S = 5.0
"""What a lost message told is read after so long."""
_MAX_UNWRITTEN = 100
_PROVIDERS = tuple(
    f"{stage}.{provider}"
    for stage, choice in (("stt", SttChoice), ("llm", LlmChoice), ("tts", TtsChoice))
    for provider in get_args(choice.model_fields["provider"].annotation)
    if provider
)
"""What an agent's profile may name; the bucket's keys cannot be listed by every user of the broker."""
_NAME = re.compile(r"(stt|llm|tts|speech)\.[a-z0-9][a-z0-9_-]{0,63}")
_LEVELS: dict[Phase, int] = {"closed": 0, "half-open": 1, "open": 2}


class Breakers:
    """Which providers may be asked now. A provider is named `<stage>.<provider>`, such as `llm.openai`.

    What this process learns counts here at once and is written to the broker behind its back: a broker that is away
    holds up nobody. Methods raise InvalidId for a name that no provider has.
    """

    def __init__(self, settings: Settings, clock: Callable[[], float] = time.time) -> None:
        """All are closed until `open` has read what the fleet knows."""
        self._limits = Limits(settings.breaker_failures, settings.breaker_open_s, settings.breaker_successes)
        self._trial_s = settings.provider_connect_s + settings.provider_answer_s
        self._clock = clock
        self._fleet: dict[str, Breaker] = {}
        """As last heard of or written."""
        self._unwritten: dict[str, list[Outcome]] = {}
        """What the fleet does not know yet, of those that change something."""
        self._writing: dict[str, Breaker | None] = {}
        """What was heard while a write is under way: this write, or one after it."""
        self._phases: dict[str, Phase] = {}
        """As last noticed, of every provider that is known here."""
        self._trials: dict[str, float] = {}
        """Since when one is under way."""
        self._work = asyncio.Event()
        self._following: asyncio.Task[None] | None = None
        self._closed = False
        self._changes: Subscription | None = None

    async def open(self, bus: Bus) -> None:
        """Follow what the fleet knows from now on, or as soon as the broker tells it. Raises BusError."""
        self._changes = await bus.subscribe(f"{_CHANGES}>", self._hear)
        await bus.flush()
        bucket: Bucket | None = None
        try:
            bucket = await self._bucket(bus)
        except BusError as error:
            log.warning("breakers_not_shared", reason=str(error))
        self._following = asyncio.create_task(self._follow(bus, bucket))

    async def close(self) -> None:
        """Follow no longer; what is not written by now stays unknown to the fleet."""
        self._closed = True
        if self._following is not None:
            self._following.cancel()
            await asyncio.wait((self._following,))
        if self._changes is not None:
            await self._changes.drain()

    def allows(self, provider: str) -> bool:
        """Whether the provider may be asked now; half-open it is one request at a time, so ask only to use it."""
        phase = self._notice(_checked(provider))
        if phase != "half-open":
            return phase == "closed"
        now = self._clock()
        # A trial that nobody ever told the end of (its caller hung up) holds its place for a while.
        if now - self._trials.get(provider, float("-inf")) < self._trial_s:
            return False
        self._trials[provider] = now
        return True

    def rests(self, provider: str) -> bool:
        """Whether the provider's breaker is open; half-open it is not, and no trial is used up by asking."""
        return self._notice(_checked(provider)) == "open"

    async def succeeded(self, provider: str) -> None:
        """It did what it was asked. Never fails because of the broker, never waits for it."""
        self._learn(_checked(provider), Outcome(self._clock()))

    async def failed(self, provider: str, reason: str) -> None:
        """It did not; `reason` is a word or two, such as `status_500`. Never waits for the broker either."""
        self._learn(_checked(provider), Outcome(self._clock(), reason[:80] or "failed"))

    def states(self) -> dict[str, str]:
        """`closed`, `open` or `half-open` by provider, of those that were ever asked."""
        return {provider: self._notice(provider) for provider in sorted(self._phases)}

    def _here(self, provider: str) -> Breaker:
        """The breaker as this process sees it."""
        fleet = self._fleet.get(provider, Breaker())
        return after_all(fleet, self._unwritten.get(provider, ()), self._limits)

    def _learn(self, provider: str, outcome: Outcome) -> None:
        self._trials.pop(provider, None)
        before = self._here(provider)
        after = before.after(outcome, self._limits)
        if after == before:
            return
        unwritten = self._unwritten.setdefault(provider, [])
        unwritten.append(outcome)
        # A broker that is away for long shall not fill the memory.
        del unwritten[:-_MAX_UNWRITTEN]
        if after.state == "open":
            BREAKER_TRIPS.labels(provider).inc()
        self._notice(provider)
        self._work.set()

    def _notice(self, provider: str) -> Phase:
        """Where the breaker stands now; a change since the last time is logged."""
        breaker = self._here(provider)
        phase = breaker.phase(self._limits, self._clock())
        known = self._phases.get(provider)
        self._phases[provider] = phase
        if known is None:
            BREAKER_STATE.labels(provider).set_function(lambda: _LEVELS[self._notice(provider)])
        if phase != (known or "closed"):
            level = log.warning if phase == "open" else log.info
            level("breaker_changed", provider=provider, state=phase, reason=breaker.reason)
        return phase

    async def _hear(self, subject: str, payload: bytes) -> None:
        provider = subject.removeprefix(_CHANGES)
        if not _NAME.fullmatch(provider):
            return
        breaker = _parsed(provider, payload)
        if provider in self._writing:
            # Until it is confirmed, what is being written would be counted twice.
            self._writing[provider] = breaker
        else:
            self._adopt(provider, breaker)

    def _adopt(self, provider: str, breaker: Breaker) -> None:
        self._fleet[provider] = breaker
        self._notice(provider)

    async def _bucket(self, bus: Bus) -> Bucket:
        """The bucket, once all that it holds has been read. Raises BusError."""
        bucket = await bus.bucket(BUCKET, _KEEP_S)
        await self._read(bucket, _PROVIDERS)
        return bucket

    async def _follow(self, bus: Bus, bucket: Bucket | None) -> None:
        """Write what this process learns, and read now and then what a lost message may have told."""
        # Not by the cancellation alone: asyncio.wait_for, which nats-py waits with, may lose one in Python 3.11.
        while not self._closed:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_POLL_S):
                    await self._work.wait()
            polls = not self._work.is_set()
            self._work.clear()
            try:
                bucket = bucket or await self._bucket(bus)
                for provider in list(self._unwritten):
                    await self._write(bucket, provider)
                if polls:
                    await self._read(bucket, list(self._phases))
            except BusError as error:
                log.debug("breakers_not_shared", reason=str(error))

    async def _read(self, bucket: Bucket, providers: Iterable[str]) -> None:
        for provider in providers:
            known = self._fleet.get(provider)
            entry = await bucket.get(provider)
            # What was heard in the meantime is newer, and one that nobody asked yet needs no breaker.
            if self._fleet.get(provider) is known and (entry or provider in self._phases):
                self._adopt(provider, _parsed(provider, entry[0] if entry else b""))

    async def _write(self, bucket: Bucket, provider: str) -> None:
        """Tell the fleet what it does not know yet of one provider. Raises BusError."""
        while outcomes := list(self._unwritten.get(provider, ())):
            self._writing[provider] = None
            breaker: Breaker | None = None
            try:
                breaker = await self._written(bucket, provider, outcomes)
                self._unwritten[provider] = [late for late in self._unwritten[provider] if late not in outcomes]
            except WrongRevision:
                continue
            finally:
                newest = self._writing.pop(provider) or breaker
                if newest is not None:
                    self._adopt(provider, newest)

    async def _written(self, bucket: Bucket, provider: str, outcomes: list[Outcome]) -> Breaker:
        """The breaker after `outcomes`, as it is in the bucket now. Raises BusError."""
        entry = await bucket.get(provider)
        stored = _parsed(provider, entry[0] if entry else b"")
        breaker = after_all(stored, outcomes, self._limits)
        if breaker != stored:
            value = breaker.model_dump_json().encode()
            await (bucket.update(provider, value, entry[1]) if entry else bucket.create(provider, value))
        return breaker


def _checked(provider: str) -> str:
    if not _NAME.fullmatch(provider):
        raise InvalidId(f"provider {provider[:80]!r} does not match {_NAME.pattern}")
    return provider


def _parsed(provider: str, value: bytes) -> Breaker:
    """A breaker from the bucket; a key without a value is that of a closed one."""
    if not value:
        return Breaker()
    try:
        return Breaker.model_validate_json(value)
    except ValidationError as error:
        log.warning("breaker_not_readable", provider=provider, reason=error.errors()[0]["msg"])
        return Breaker()
