"""A reply that changes voices in its middle: what is asked for comes in order again. Pure.

While the line finds another voice the llm goes on. As soon as it hears of the new one it sends again what the line
has no audio of; but what it has sent just before, the new voice may have heard as well, and first.
"""

from shared.messages import ReplyEnd, ReplyText

Order = ReplyText | ReplyEnd


class Resumption:
    """Passes on what is in its place, and keeps the rest until it is settled that nothing comes before it."""

    def __init__(self) -> None:
        """Nothing was asked for."""
        self._generation = 0
        self._next = 0
        """The sequence number of the piece that is in its place now."""
        self._kept: dict[int, ReplyText] = {}
        """By sequence number."""
        self._end: ReplyEnd | None = None

    def take(self, order: Order) -> list[Order]:
        """What is to be done now that `order` has come."""
        if order.generation > self._generation:
            self._generation, self._next, self._kept, self._end = order.generation, 0, {}, None
        if order.generation < self._generation:
            return []
        if isinstance(order, ReplyEnd):
            self._end = order
        elif order.sequence >= self._next:
            # What comes again replaces what came before: of a piece that was cut only the rest is to be said.
            self._kept[order.sequence] = order
        return self._in_place()

    def _in_place(self) -> list[Order]:
        ready: list[Order] = []
        while (text := self._kept.pop(self._next, None)) is not None:
            ready.append(text)
            self._next += 1
        if self._end is not None and not self._kept and self._next >= self._end.pieces:
            ready.append(self._end)
            self._end = None
        return ready

    def settle(self) -> list[Order]:
        """What is to be done now that nothing will come any more that should have come before."""
        texts = [self._kept[place] for place in sorted(self._kept)]
        end, self._kept, self._end = self._end, {}, None
        return [*texts, *([end] if end is not None else [])]
