"""A process's heartbeat, and how late its event loop runs."""

import asyncio
import time
from collections.abc import Callable

from shared import subjects
from shared.bus import Bus, BusError
from shared.messages.worker import Heartbeat

BEAT_S = 0.25


class Pulse:
    """Beats every 0.25 s on `worker.<stage>.<worker>` until stopped."""

    def __init__(
        self,
        bus: Bus,
        beat: Callable[[float], Heartbeat],
        each_beat: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`beat` makes the heartbeat from the loop's lag in ms; `each_beat` runs after it, for periodic duties."""
        self.loop_lag_ms = 0.0
        self._bus = bus
        self._beat = beat
        self._each_beat = each_beat
        self._clock = clock
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to beat, now."""
        self._task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        while True:
            await self.send()
            due = self._clock() + BEAT_S
            await asyncio.sleep(BEAT_S)
            self.loop_lag_ms = max(0.0, (self._clock() - due) * 1000)
            self._each_beat()

    async def send(self) -> None:
        """Beat once, out of turn: something changed that others should know."""
        beat = self._beat(self.loop_lag_ms)
        if not self._bus.connected:
            return
        try:
            await self._bus.publish(subjects.heartbeat(beat.stage, beat.worker), beat.model_dump_json().encode())
        except BusError:
            # The connection was lost in between; the beats go on when it is back.
            return

    def stop(self) -> None:
        """Beat no more."""
        if self._task is not None:
            self._task.cancel()
