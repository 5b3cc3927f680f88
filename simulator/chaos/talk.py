"""One call under a fault: a patient caller says his lines until the call has shown that it went on."""

import asyncio
import contextlib
from collections.abc import Callable
from itertools import cycle

from shared.messages import TranscriptCaller
from simulator.caller import Caller
from simulator.chaos.ears import Ears
from simulator.chaos.lines import Asks, Script
from simulator.chaos.recording import Recording, Said
from simulator.conversation import Line, Setup
from simulator.mouth import Spoken
from simulator.phone import CallOver, Phone
from simulator.tap import Tap

REPLY_S = 15.0
"""The caller waits so long for any answer …"""
REST_S = 5.0
"""… and so long for the rest of one that broke off."""
_TRIES = 2
"""A line that the agent did not understand is said again."""
_AFTERWORD_S = 1.0
"""How long after the last answer its transcript may come."""


class Talk:
    """Holds one call. The caller hears when an answer is over: he knows its last words."""

    def __init__(
        self,
        setup: Setup,
        script: Script,
        asks: Asks,
        ears: Ears,
        enough: Callable[[float], bool],
        caller: str,
        *,
        echo: bool,
    ) -> None:
        """`enough` tells of a line that was answered, by the time at which it began, that the call may end.

        `caller` is the caller's number, E.164. `setup.bus` is needed.
        """
        self._setup = setup
        self._script = script
        self._asks = asks
        self._ears = ears
        self._enough = enough
        self._echo = echo
        self._phone = Phone(setup.http, setup.gateway, setup.dialled, caller)
        self._tap = Tap()
        self.id = self._phone.id
        self.begun = asyncio.Event()
        """Set when the first line begins, or the call is over."""
        self.recording = Recording(self._phone.playback)
        self._marks: list[int] = []
        self._given_up = ""

    async def hold(self) -> Recording:
        """Place the call, talk, hang up. What goes wrong is in the recording."""
        bus = self._setup.bus
        if bus is None:
            raise ValueError("a call under a fault is judged with the broker's help")
        try:
            await self._tap.open(bus, self.id, () if self._echo else ("audio.out",))
            await self._phone.dial()
            self.recording.playback = self._phone.playback
            await self._talk()
        except CallOver as over:
            self.recording.failure = self._given_up or f"the call ended early: {over}"
        finally:
            self.begun.set()
            await self._end()
        return self.recording

    async def give_up(self, reason: str) -> None:
        """Hang up in the middle of it all; `hold` returns soon."""
        self._given_up = reason
        with contextlib.suppress(CallOver):
            await self._phone.hang_up()

    async def _talk(self) -> None:
        caller = Caller(self._phone, self._setup.patience)
        if not self._echo:
            await caller.hear_greeting()
        for line in cycle(self._script.lines):
            for _ in range(_TRIES):
                said = await self._say(line)
                if not await self._asked(said):
                    break
            if self._enough(said.began):
                return

    async def _say(self, line: Line) -> Said:
        self.begun.set()
        began = self._phone.clock()
        said = Said(line, began, float("inf"), float("inf"))
        self.recording.said.append(said)
        self._marks.append(len(self._tap.messages))
        try:
            spoken = await self._phone.speak(line.mulaw)
            said.began, said.ended = spoken.began, spoken.ended
            await self._listen(line, spoken)
        finally:
            said.until = self._phone.clock()
            said.ended = min(said.ended, said.until)
        if self._phone.over:
            raise CallOver(self._phone.record.ended)
        return said

    async def _listen(self, line: Line, spoken: Spoken) -> None:
        """Return when the answer is over, or the caller no longer believes in it."""
        phone, quiet_s = self._phone, self._setup.patience.quiet_s
        since = spoken.began if self._echo else spoken.ended
        checked = 0.0
        while not phone.over:
            now = phone.clock()
            last = phone.playback.silent_from
            heard = last > since
            quiet = now - max(last, spoken.ended)
            if heard and quiet >= quiet_s and checked != last:
                checked = last
                if await self._ends(line, phone.playback.between(since, min(last, now))):
                    return
            patience = REST_S if heard else REPLY_S
            if quiet >= patience:
                return
            await phone.changed(quiet_s - quiet if quiet < quiet_s else patience - quiet)

    async def _ends(self, line: Line, audio: bytes) -> bool:
        """Whether `audio` holds the last words of the right answer, or of a question to say it again."""
        return await self._ears.hear([*line.expected.sounds[-1:], *self._asks.sounds], audio)

    async def _asked(self, said: Said) -> bool:
        audio = self._phone.playback.between(said.ended, said.until)
        return not self._echo and await self._ears.hear(self._asks.sounds, audio)

    async def _end(self) -> None:
        messages = self._tap.messages
        if not self._echo and not self._phone.over and self._marks:
            mark = self._marks[-1]
            await self._tap.until(lambda: self._tap.since(mark).complete, _AFTERWORD_S)
        with contextlib.suppress(CallOver):
            await self._phone.hang_up()
        await self._tap.close()
        for place, (said, mark) in enumerate(zip(self.recording.said, self._marks, strict=True)):
            end = self._marks[place + 1] if place + 1 < len(self._marks) else len(messages)
            told = [message.text for message in messages[mark:end] if isinstance(message, TranscriptCaller)]
            said.understood = " ".join(told)
        self.recording.pieces = self._tap.pieces
        self.recording.faults = self._phone.record.faults
