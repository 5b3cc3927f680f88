"""A recogniser that outlives its providers: one after the other hears the call, and what one did not finish is
played to the next."""

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from services.stt.provider import Failure, Hypothesis, Listener, Open, Transcriber, Usage
from services.stt.tape import Item, Sound, Tape
from shared.agents import AgentProfile
from shared.audio import RATE
from shared.breakers import Breakers
from shared.deadline import Deadline
from shared.failover import Failover, Link, Pace
from shared.messages import Word
from shared.provider_errors import ProviderLost

_IDLE_S = 10.0
"""A provider that hangs up after so long without audio does so because of that."""
_BATCH = 50
"""Frames that are replayed before other calls have their turn."""


@dataclass(frozen=True, slots=True)
class Choice:
    """A provider, and the agent's profile as that one is asked for it."""

    provider: str
    profile: AgentProfile
    open: Open


@dataclass(eq=False, slots=True)
class Stream:
    """One provider at work."""

    transcriber: Transcriber
    begin: int = 0
    """Which byte of all that was fed is the first that it hears."""
    queue: deque[Item] = field(default_factory=deque)
    delivering: bool = False

    async def close(self) -> None:
        await self.transcriber.close()


class ResilientTranscriber:
    """One call's recognition by the first of its choices that serves. Positions count what was fed to this one."""

    def __init__(
        self,
        call_id: str,
        choices: Sequence[Choice],
        breakers: Breakers,
        failure: Failure,
        answer_s: float,
        pace: Pace | None = None,
    ) -> None:
        """Use `open`, and give `listener`. `answer_s`: a `finish` is answered by then, or the provider is lost."""
        self._choices = choices
        self._answer_s = answer_s + max((choice.profile.turns.patience_ms for choice in choices), default=0) / 1000
        self._tape = Tape()
        self._pace = pace or Pace()
        self._fed_at = self._pace.clock()
        self._given_up = 0
        """How often the oldest utterance was given up."""
        self._overdue: Deadline | None = None
        self._usage: dict[tuple[str, str], int] = {}
        providers = [choice.provider for choice in choices]
        self._failover: Failover[Stream] = Failover("stt", call_id, providers, self._connect, breakers, self._pace)
        self._failover.on_link = self._replay
        self._failover.on_end = failure
        self._over = False
        self.model = ""
        """Of the provider that serves, or did last."""
        self.listener: Listener = lambda hypothesis: None

    @property
    def provider(self) -> str:
        """Who serves, or did last."""
        return self._failover.provider

    async def open(self) -> None:
        """Raises CannotServe when none of the choices serves."""
        await self._failover.open()
        self._note_model()

    def _note_model(self) -> None:
        if (link := self._failover.link) is not None and link.made is not None:
            self.model = link.made.transcriber.model

    async def _connect(self, index: int, link: Link[Stream]) -> Stream:
        choice = self._choices[index]
        transcriber = await choice.open(choice.profile, partial(self._hear, link), partial(self._lose, link))
        return Stream(transcriber)

    async def feed(self, mulaw: bytes) -> None:
        self._fed_at = self._pace.clock()
        await self._take(self._tape.add(mulaw))

    async def begin(self) -> None:
        await self._take(self._tape.mark("begin"))

    async def finish(self) -> None:
        mark = self._tape.mark("finish")
        self._watch()
        await self._take(mark)

    async def _take(self, item: Item) -> None:
        link = self._failover.link
        if link is not None and link.made is not None:
            link.made.queue.append(item)
            await self._deliver(link, link.made)
        else:
            self._failover.resume()

    async def _replay(self, link: Link[Stream]) -> None:
        """Another provider serves: it hears what the tape holds, and goes on from there."""
        if link.made is None:
            return
        self._note_model()
        items = self._tape.items()
        link.made.queue.extend(items)
        link.made.begin = next((item.at for item in items if isinstance(item, Sound)), self._tape.fed)
        self._watch()
        await self._deliver(link, link.made)

    async def _deliver(self, link: Link[Stream], stream: Stream) -> None:
        if stream.delivering:
            return
        stream.delivering = True
        try:
            delivered = 0
            while stream.queue and link is self._failover.link:
                await self._pass_on(stream, stream.queue.popleft())
                delivered += 1
                if delivered % _BATCH == 0:
                    await asyncio.sleep(0)
        finally:
            stream.delivering = False

    async def _pass_on(self, stream: Stream, item: Item) -> None:
        if isinstance(item, Sound):
            used = (self.provider, self.model)
            self._usage[used] = self._usage.get(used, 0) + len(item.mulaw)
            await stream.transcriber.feed(item.mulaw)
        elif item.kind == "begin":
            await stream.transcriber.begin()
        else:
            await stream.transcriber.finish()

    def _hear(self, link: Link[Stream], hypothesis: Hypothesis) -> None:
        if link is not self._failover.link or link.made is None or self._over:
            return
        if hypothesis.given_up and (self._tape.unsettled or self._given_up < len(self._choices)):
            # Another connection must hear it before it counts as no words. That there were some is known by their
            # interim text; without any it may have been a cough, which is no failure of the provider.
            self._given_up += 1
            blame = self._tape.unsettled or self._given_up > 1
            self._failover.lose(link, ProviderLost("no answer to what was said", "timeout"), blame=blame)
            return
        if not hypothesis.given_up:
            self._failover.answered(link)
        if hypothesis.final:
            self._given_up = 0
        if hypothesis.given_up:
            hypothesis = replace(hypothesis, given_up=False)
        placed = _shifted(hypothesis, link.made.begin * 1000 // RATE)
        self._tape.hear(placed)
        self._watch()
        self.listener(placed)

    def _lose(self, link: Link[Stream], error: Exception) -> None:
        if self._pace.clock() - self._fed_at > _IDLE_S and link is self._failover.link:
            # The next audio opens another one.
            self._failover.leave()
        else:
            self._failover.lose(link, error)

    def _watch(self) -> None:
        """A provider that owes an answer says something before long."""
        if self._overdue is not None:
            self._overdue.cancel()
        link = self._failover.link
        self._overdue = None
        if link is not None and self._tape.owed:
            lost = ProviderLost("no answer to what was said", "timeout")
            self._overdue = Deadline(self._answer_s, partial(self._failover.lose, link, lost))

    def usage(self) -> list[Usage]:
        """For the bill."""
        return [Usage(*used, audio_s=round(count / RATE, 2)) for used, count in self._usage.items()]

    async def close(self) -> None:
        self._over = True
        if self._overdue is not None:
            self._overdue.cancel()
        await self._failover.close()


def _shifted(hypothesis: Hypothesis, by_ms: int) -> Hypothesis:
    """Counted in what was fed to the call's transcriber, instead of to one of its providers."""
    if not by_ms:
        return hypothesis
    silent_ms = hypothesis.silent_from_ms
    return replace(
        hypothesis,
        words=tuple(_moved(word, by_ms) for word in hypothesis.words),
        silent_from_ms=None if silent_ms is None else silent_ms + by_ms,
    )


def _moved(word: Word, by_ms: int) -> Word:
    return word.model_copy(update={"start_ms": word.start_ms + by_ms, "end_ms": word.end_ms + by_ms})
