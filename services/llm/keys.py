"""The keys that a caller presses, collected into a turn. Pure."""

from shared.turn_taking import DigitsProfile

_NAMES = {"*": "star", "#": "hash"}


class Keys:
    """The keys of one turn."""

    def __init__(self, pressed: str = "") -> None:
        """`pressed` are those that another worker has seen."""
        self._keys = pressed
        self._ended = False
        self.pressed_at = 0.0
        """When the last one was."""

    @property
    def pressed(self) -> str:
        """Those since the last turn."""
        return self._keys

    def __bool__(self) -> bool:
        return bool(self._keys)

    def press(self, key: str, profile: DigitsProfile, now: float) -> None:
        """The caller pressed `key`; the terminator alone is a key like any other."""
        self.pressed_at = now
        if key == profile.terminator and self._keys:
            self._ended = True
        else:
            self._keys += key
        self._ended = self._ended or len(self._keys) >= profile.max_digits

    def due_at(self, profile: DigitsProfile) -> float:
        """When the input is over, if no key follows."""
        return self.pressed_at if self._ended else self.pressed_at + profile.timeout_ms / 1000

    def take(self) -> str:
        """The turn: `keys 1 2 3 4`."""
        text = " ".join(["keys", *(_NAMES.get(key, key) for key in self._keys)])
        self._keys, self._ended = "", False
        return text
