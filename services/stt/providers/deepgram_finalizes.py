"""Which answer belongs to which Finalize. Pure.

Deepgram answers a Finalize with a final transcript marked `from_finalize`, but not when little audio was left,
and maybe late. So an answer is known by how far it reaches in the stream, not by counting.
"""

from collections import deque
from dataclasses import dataclass

_REMEMBERED = 8
"""Finalizes whose late answer is still recognised."""


@dataclass(slots=True, eq=False)
class Finalize:
    """One request; `position_ms`: how much audio was sent before it."""

    position_ms: int
    silent_from_ms: int | None = None
    """Deepgram noticed the silence, which began here; None: the session did, and waits for the answer."""
    open: bool = True
    """Nobody has been told yet that the utterance is complete."""


class Finalizes:
    """The Finalizes of one stream."""

    def __init__(self) -> None:
        """None so far."""
        self._asked: deque[Finalize] = deque(maxlen=_REMEMBERED)
        self._final_ms = 0
        """All audio before has its final transcript."""

    @property
    def waiting(self) -> bool:
        """Whether an answer is to come."""
        return any(finalize.open for finalize in self._asked)

    def ask(self, position_ms: int, silent_from_ms: int | None = None) -> Finalize:
        """The next one. It comes back settled when all the audio before it is final already."""
        finalize = Finalize(position_ms, silent_from_ms)
        self._asked.append(finalize)
        if self._final_ms >= position_ms:
            finalize.open = False
        return finalize

    def settle(self, end_ms: int, *, from_finalize: bool) -> list[Finalize]:
        """The open ones that a final transcript up to `end_ms` answers, oldest first; they are settled."""
        self._final_ms = max(self._final_ms, end_ms)
        upto_ms = end_ms
        if from_finalize and self._asked:
            # The end may be a little off; the Finalizes of two utterances are far apart.
            nearest = min(self._asked, key=lambda finalize: abs(finalize.position_ms - end_ms))
            upto_ms = max(end_ms, nearest.position_ms)
        return self._settle([finalize for finalize in self._asked if finalize.position_ms <= upto_ms])

    def expire(self, finalize: Finalize) -> list[Finalize]:
        """The open ones that are not waited for any more when `finalize` is not, oldest first; they are settled."""
        return self._settle([other for other in self._asked if other.position_ms <= finalize.position_ms])

    def _settle(self, finalizes: list[Finalize]) -> list[Finalize]:
        settled = [finalize for finalize in finalizes if finalize.open]
        for finalize in settled:
            finalize.open = False
        return settled
