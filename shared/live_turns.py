"""A call's turn-taking as it is now: the profile's, and what was changed during the call."""

from collections.abc import Callable

import structlog
from pydantic import ValidationError

from shared.call import Call
from shared.messages import Message, TurnsChanged
from shared.turn_taking import TurnProfile

log = structlog.get_logger()


class LiveTurns:
    """Follows `call.<id>.turns`."""

    def __init__(self, call: Call, changed: Callable[[TurnProfile], None] | None = None) -> None:
        """`changed` is called with each profile after the first."""
        self.profile = call.profile.turns
        self._call = call
        self._changed = changed

    async def listen(self) -> None:
        """Take changes from now on."""
        await self._call.channel.on(self._on_changed, TurnsChanged)

    async def _on_changed(self, message: Message) -> None:
        if not isinstance(message, TurnsChanged):
            return
        try:
            self.profile = self.profile.changed(message.turns)
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(str(part) for part in first["loc"])
            log.warning("turns_not_changed", call_id=self._call.id, place=place, reason=first["msg"])
            return
        if self._changed is not None:
            self._changed(self.profile)
