"""How much of one utterance is the caller's own voice, and not the agent's that comes back. Pure."""

from services.stt.echo import STRETCH_MS

_EVERY_MS = 96
"""After so much more voice it is judged again whether it is echo."""
_FIRST_MS = 160
"""Less is not worth a judgement by itself."""
_OWN_MS = 224
"""So much voice in a row that is no echo is the caller's, after echo: about one short word."""
_OWN_AT_FIRST_MS = 448
"""The same as long as there was no echo: its first judgements, at a delay not yet known, are the least sure."""
_ECHOES = 2
"""So many judgements make it certain that there was echo."""


class Voice:
    """The voice in one utterance; it is all the caller's as long as nobody judges otherwise."""

    def __init__(self, utterance: int) -> None:
        """Nothing of it was heard yet."""
        self.utterance = utterance
        self.sustained_ms = 0
        """It has lasted so long, and that was told."""
        self.own = False
        """There is so much of the caller's voice that no echo can make the utterance void any more."""
        self._windows: list[tuple[int, int]] = []
        """(begin, end) in ms of the windows with voice since the last that was echo."""
        self._heard_ms = 0
        self._judged_ms = 0
        """How much voice there was at the last judgement."""
        self._echoes = 0
        self._last_was_echo = False

    def add(self, begin_ms: int, end_ms: int) -> None:
        """The next window with voice."""
        self._windows.append((begin_ms, end_ms))
        self._heard_ms += end_ms - begin_ms

    @property
    def own_ms(self) -> int:
        """How much of the voice may be the caller's."""
        return sum(end_ms - begin_ms for begin_ms, end_ms in self._windows)

    @property
    def suspect(self) -> bool:
        """There was echo in it, and not enough of the caller's voice."""
        return self._echoes > 0 and not self.own

    @property
    def certainly_echo(self) -> bool:
        """There was echo more than once, and never enough of the caller's voice."""
        return self._echoes >= _ECHOES and not self.own

    def long_enough(self, min_ms: int) -> bool:
        """Whether the caller's voice has lasted `min_ms`, as it was judged last."""
        return self.own_ms >= min_ms and not self._last_was_echo

    def due(self, min_ms: int | None) -> tuple[int, int] | None:
        """The stretch (from, to) in ms that is to be judged now; None: nothing depends on it yet.

        `min_ms`: what `long_enough` will be asked with, None for not at all.
        """
        unjudged_ms = self._heard_ms - self._judged_ms
        if self.own or not unjudged_ms:
            return None
        decides = min_ms is not None and self.own_ms >= min_ms
        if not decides and (unjudged_ms < _EVERY_MS or self._heard_ms < _FIRST_MS):
            return None
        end_ms = self._windows[-1][1]
        return end_ms - STRETCH_MS, end_ms

    def judge(self, *, echo: bool) -> None:
        """What `due` gave is echo, or is not. Its newest part stays open: the caller may just have begun over it."""
        self._judged_ms = self._heard_ms
        self._last_was_echo = echo
        if echo:
            self._echoes += 1
            open_ms = self._windows[-1][1] - _EVERY_MS
            self._windows = [window for window in self._windows if window[0] >= open_ms]
        else:
            self.own = self.own_ms >= (_OWN_MS if self._echoes else _OWN_AT_FIRST_MS)
