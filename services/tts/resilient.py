"""A voice that outlives its providers: what one of them has not said of a reply is said by the next."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

from services.tts.provider import Failure, Listener, Open, Piece, Synthesizer, Usage
from shared.agents import TtsProfile
from shared.breakers import Breakers
from shared.deadline import Deadline
from shared.failover import Failover, Link, Pace
from shared.provider_errors import ProviderLost


@dataclass(frozen=True, slots=True)
class Choice:
    """A provider, and what it is asked for."""

    provider: str
    profile: TtsProfile
    open: Open


@dataclass(slots=True)
class _Speech:
    """One reply."""

    text: str = ""
    ended: bool = False
    said: int = 0
    """How many characters came with the pieces so far."""
    waiting: bool = False
    """Its next piece is overdue before long."""


@dataclass(eq=False, slots=True)
class Speaker:
    """One provider at work."""

    synthesizer: Synthesizer
    told: dict[int, int] = field(default_factory=dict)
    """Up to which character it has got each reply."""
    ended: set[int] = field(default_factory=set)
    telling: bool = False

    def forget(self, generation: int) -> None:
        """The reply is complete."""
        self.told.pop(generation, None)
        self.ended.discard(generation)

    async def close(self) -> None:
        await self.synthesizer.close()


async def _nobody(piece: Piece) -> None:
    """Nobody listens yet."""


class ResilientVoice:
    """One call's voice by the first of its choices that serves."""

    def __init__(
        self,
        call_id: str,
        choices: Sequence[Choice],
        breakers: Breakers,
        failure: Failure,
        answer_s: float,
        pace: Pace | None = None,
    ) -> None:
        """Use `open`, and give `listener`. `answer_s`: text is audible by then, or the provider is lost."""
        self._choices = choices
        self._answer_s = answer_s
        self._speeches: dict[int, _Speech] = {}
        """Those that somebody still wants to hear."""
        self._oldest = -1
        self._overdue: Deadline | None = None
        self._usage: dict[tuple[str, str], int] = {}
        providers = [choice.provider for choice in choices]
        self._failover: Failover[Speaker] = Failover("tts", call_id, providers, self._connect, breakers, pace or Pace())
        self._failover.on_link = self._say_again
        self._failover.on_end = failure
        self._over = False
        self.model = ""
        """Of the provider that serves, or did last."""
        self.listener: Listener = _nobody

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
            self.model = link.made.synthesizer.model

    async def _connect(self, index: int, link: Link[Speaker]) -> Speaker:
        choice = self._choices[index]
        lose = partial(self._failover.lose, link)
        return Speaker(await choice.open(choice.profile, partial(self._deliver, link), lose))

    async def speak(self, generation: int, text: str) -> None:
        if generation < self._oldest:
            return
        speech = self._speeches.setdefault(generation, _Speech())
        speech.text += text
        speech.waiting = speech.waiting or any(char.isalnum() for char in text)
        self._watch()
        await self._tell()

    async def end(self, generation: int) -> None:
        if generation < self._oldest:
            return
        speech = self._speeches.setdefault(generation, _Speech())
        speech.ended = speech.waiting = True
        self._watch()
        await self._tell()

    async def cancel(self, generation: int) -> None:
        self._oldest = max(self._oldest, generation)
        self._speeches = {number: speech for number, speech in self._speeches.items() if number >= generation}
        self._watch()
        if (link := self._failover.link) is not None and link.made is not None:
            await link.made.synthesizer.cancel(generation)

    async def _say_again(self, link: Link[Speaker]) -> None:
        """Another provider serves: it gets what was not said."""
        if link.made is not None:
            self._note_model()
            link.made.told = {number: speech.said for number, speech in self._speeches.items()}
            self._watch()
            await self._tell()

    async def _tell(self) -> None:
        """Tell the one that serves what it does not know yet, in order."""
        link = self._failover.link
        if link is None or link.made is None:
            self._failover.resume()
            return
        speaker = link.made
        if speaker.telling:
            return
        speaker.telling = True
        try:
            while link is self._failover.link and await self._tell_next(speaker):
                pass
        finally:
            speaker.telling = False

    async def _tell_next(self, speaker: Speaker) -> bool:
        for generation, speech in sorted(self._speeches.items()):
            told = speaker.told.get(generation, 0)
            if told < len(speech.text):
                speaker.told[generation] = len(speech.text)
                used = (self.provider, self.model)
                self._usage[used] = self._usage.get(used, 0) + len(speech.text) - told
                await speaker.synthesizer.speak(generation, speech.text[told:])
                return True
            if speech.ended and generation not in speaker.ended:
                speaker.ended.add(generation)
                await speaker.synthesizer.end(generation)
                return True
        return False

    async def _deliver(self, link: Link[Speaker], piece: Piece) -> None:
        speech = self._speeches.get(piece.generation)
        if link is not self._failover.link or speech is None or self._over:
            return
        speech.said += len(piece.text)
        # Text that is not complete may have no more sound; of a reply that is, the end is owed.
        speech.waiting = speech.ended
        if piece.last and link.made is not None:
            del self._speeches[piece.generation]
            link.made.forget(piece.generation)
        if piece.mulaw:
            self._failover.answered(link)
        self._watch()
        await self.listener(piece)

    def _watch(self) -> None:
        """A provider that owes audio sends some before long."""
        if self._failover.link is None or not any(speech.waiting for speech in self._speeches.values()):
            self._rest()
        elif self._overdue is None:
            self._overdue = Deadline(self._answer_s, self._give_up)
        else:
            self._overdue.renew()

    def _rest(self) -> None:
        """Nothing is owed."""
        if self._overdue is not None:
            self._overdue.cancel()
            self._overdue = None

    def _give_up(self) -> None:
        self._overdue = None
        if (link := self._failover.link) is not None:
            self._failover.lose(link, ProviderLost(f"no audio for {self._answer_s} s", "timeout"))

    def usage(self) -> list[Usage]:
        """For the bill."""
        return [Usage(*used, characters=count) for used, count in self._usage.items()]

    async def close(self) -> None:
        self._over = True
        self._rest()
        await self._failover.close()
