"""Circuit breakers for tests: they are what the test says, and remember what they were told."""

from shared.breakers import Breakers
from shared.settings import Settings


class Fleet(Breakers):
    """All are closed, except those in `open_ones`."""

    def __init__(self, *open_ones: str) -> None:
        super().__init__(Settings())
        self.open_ones = set(open_ones)
        self.failures: list[tuple[str, str]] = []
        self.successes: list[str] = []

    def allows(self, provider: str) -> bool:
        return provider not in self.open_ones

    async def succeeded(self, provider: str) -> None:
        self.successes.append(provider)

    async def failed(self, provider: str, reason: str) -> None:
        self.failures.append((provider, reason))
