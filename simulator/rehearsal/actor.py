"""Plays the caller's part: one action of a script at a time, on a phone."""

from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from shared.audio import SILENCE, bytes_of
from shared.turn_taking import TurnProfile
from simulator import sounds
from simulator.caller import Caller, OnThePhone, Patience, Voice
from simulator.echo import Echo
from simulator.mouth import Spoken
from simulator.phone import CallOver
from simulator.rehearsal.judge import Sound
from simulator.rehearsal.screenplay import Sentence, Step

_KEY_S = 0.2
_BEGINS_S = 15.0
"""How long a caller who wants to speak over a reply waits for it, beyond the time into it."""


class CannotAct(Exception):
    """An action of the script was not possible; the message says why."""


class Handset(OnThePhone, Protocol):
    """What an actor needs of a phone."""

    echo: Echo | None

    async def press(self, digit: str) -> None: ...

    async def hang_up(self) -> None: ...


class Actor:
    """One caller."""

    def __init__(
        self,
        phone: Handset,
        voice: Voice,
        patience: Patience,
        turns: TurnProfile,
        change_turns: Callable[[dict[str, Any]], Awaitable[None]],
    ) -> None:
        """`phone` has been dialled; `change_turns` publishes settings for the call, which begins with `turns`."""
        self._phone = phone
        self._caller = Caller(phone, patience)
        self._voice = voice
        self._patience = patience
        self._turns = turns
        self._change_turns = change_turns
        self.sound: Sound | None = None
        """The last that the caller let hear."""
        self._owed_since: float | None = None
        """The caller said something, and its reply has not been waited for."""

    def answered(self) -> None:
        """The script has waited for the reply to what was said."""
        self._owed_since = None

    async def act(self, step: Step) -> None:
        """Do one action, at once; returns when it is done. Raises CannotAct, or CallOver when the call is over."""
        if self._phone.over and step.hang_up is None:
            raise CallOver("the call is over")
        mulaw = self._audio(step)
        if mulaw is not None:
            await self._let_hear(mulaw)
            self._owed_since = self.sound.ended if step.say and self.sound else None
        elif step.press is not None:
            await self._press(step.press)
        elif step.silence is not None:
            await self._wait(step.silence.s)
        elif step.turns is not None:
            await self.change(step.turns)
        elif step.echo is not None:
            self._phone.echo = Echo(**step.echo.model_dump()) if step.echo else None
        elif step.hear_greeting is not None:
            if not await self._caller.hear_greeting():
                raise CannotAct(f"no greeting was heard within {self._patience.greeting_s:g} s")
        elif step.hang_up is not None:
            await self._phone.hang_up()

    async def change(self, turns: dict[str, Any]) -> None:
        """From now on the agent takes turns so."""
        self._turns = self._turns.changed(turns)
        await self._change_turns(turns)

    async def cue(self, step: Step) -> None:
        """Wait for the moment at which an action begins. Raises CannotAct when it does not come."""
        if step.over_reply_ms is not None:
            timeout_s = step.over_reply_ms / 1000 + _BEGINS_S
            if not await self._caller.wait_playing(step.over_reply_ms, timeout_s):
                raise CannotAct(f"no reply was heard for {step.over_reply_ms} ms")
        elif step.say is not None and not step.at_once:
            if self._owed_since is not None:
                await self._caller.wait_for_reply(self._owed_since, self._patience.reply_s)
            if not await self._caller.wait_until_quiet(self._patience.reply_ends_s):
                raise CannotAct(f"the agent did not fall silent within {self._patience.reply_ends_s:g} s")

    def _audio(self, step: Step) -> bytes | None:
        if step.say is not None:
            return self._spoken(step.say)
        if step.cough is not None:
            return sounds.cough(step.cough.ms, seed=step.cough.seed)
        if step.throat is not None:
            return sounds.throat(step.throat.ms)
        if step.hum is not None:
            return sounds.hum(step.hum.ms)
        if step.noise is not None:
            return sounds.noise(step.noise.ms, seed=step.noise.seed)
        return sounds.hold_music(step.hold_music.s) if step.hold_music is not None else None

    def _spoken(self, sentence: Sentence) -> bytes:
        parts = [self._voice.render(part) if isinstance(part, str) else SILENCE * bytes_of(part) for part in sentence]
        return b"".join(parts)

    async def _let_hear(self, mulaw: bytes) -> None:
        began = self._phone.clock()
        try:
            spoken: Spoken = await self._phone.speak(mulaw)
        except CallOver:
            # The agent may well hang up on hold music; what follows in the script says whether it may.
            now = self._phone.clock()
            self.sound = Sound(began, now, now)
            return
        voiced_at = spoken.voice_at(self._turns.barge_in.min_speech_ms)
        self.sound = Sound(spoken.began, spoken.ended, voiced_at)

    async def _press(self, digits: str) -> None:
        began = self._phone.clock()
        for count, digit in enumerate(digits):
            if count:
                await self._wait(_KEY_S)
            await self._phone.press(digit)
        now = self._phone.clock()
        self.sound = Sound(began, now, began)
        self._owed_since = now

    async def _wait(self, seconds: float) -> None:
        until = self._phone.clock() + seconds
        while not self._phone.over and (left := until - self._phone.clock()) > 0:
            await self._phone.changed(left)
