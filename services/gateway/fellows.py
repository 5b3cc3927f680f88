"""The other gateways of the fleet, as their heartbeats tell."""

from shared.roster import Roster


class Fellows:
    """Every gateway but this one."""

    def __init__(self, roster: Roster, gateway: str) -> None:
        """`roster` hears the heartbeats of all; `gateway` is this process's id."""
        self.gateway = gateway
        self._roster = roster

    def alive(self) -> set[str]:
        """Those that live, also those that leave."""
        return {beat.worker for beat in self._roster.alive("gateway")} - {self.gateway}

    def take_calls(self) -> bool:
        """Whether one of them lives and does not leave."""
        return any(not beat.draining and beat.worker != self.gateway for beat in self._roster.alive("gateway"))

    def hears_itself(self) -> bool:
        """Whether this gateway's own heartbeats come back: else the silence of others tells nothing."""
        return any(beat.worker == self.gateway for beat in self._roster.alive("gateway"))

    def silent_s(self, gateway: str) -> float | None:
        """For how long another gateway has said nothing; None when it was never heard or was forgotten."""
        return self._roster.silent_s(gateway)
