"""A call's messages on their way out, in order, from code that cannot wait."""

import asyncio

import structlog

from shared.bus import BusError
from shared.call import Call
from shared.messages import Message

log = structlog.get_logger()


class Outbox:
    """Sends what it is given, one after the other; events go beside, since they wait to be kept."""

    def __init__(self, call: Call) -> None:
        """Sends as long as the call lasts."""
        self._call = call
        self._waiting: asyncio.Queue[Message] = asyncio.Queue()
        call.spawn(self._run())

    def send(self, message: Message) -> None:
        """Publish `message` after those before it."""
        self._waiting.put_nowait(message)

    def record(self, event: Message) -> None:
        """Have JetStream keep `event`; a failure is logged and costs only the event."""
        self._call.spawn(self._record(event))

    async def _run(self) -> None:
        while True:
            message = await self._waiting.get()
            await self._call.channel.send(message)
            self._waiting.task_done()

    async def _record(self, event: Message) -> None:
        try:
            await self._call.channel.send(event)
        except BusError as error:
            log.error("event_not_recorded", call_id=self._call.id, suffix=event.suffix, error=str(error))

    async def close(self, timeout_s: float) -> None:
        """Wait until everything was sent, but not longer than `timeout_s`."""
        try:
            await asyncio.wait_for(self._waiting.join(), timeout_s)
        except TimeoutError:
            log.warning("messages_not_sent", call_id=self._call.id, messages=self._waiting.qsize())
