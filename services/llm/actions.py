"""What turn-taking decides: orders to the dialogue."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Commit:
    """The caller's turn is over and wants an answer."""

    text: str
    ended_at: float
    """The caller's last speech sample, or key; Unix seconds."""
    due_at: float
    """The end of the deliberate wait; a commit after it waited for the transcript."""
    utterances: tuple[int, ...] = ()
    """The numbers of the utterances in it."""


@dataclass(frozen=True, slots=True)
class Speculate:
    """The turn is probably over with this text: prepare the reply, let nobody hear it."""

    text: str


@dataclass(frozen=True, slots=True)
class Pause:
    """The caller makes a sound over the reply: keep silent until it is known what it was."""

    generation: int


@dataclass(frozen=True, slots=True)
class Resume:
    """It was nothing: go on where the reply stopped."""

    generation: int


@dataclass(frozen=True, slots=True)
class Interrupt:
    """The caller speaks over the reply: it is void from now on."""


@dataclass(frozen=True, slots=True)
class Say:
    """The agent speaks without being asked: a reprompt, or the farewell before it hangs up."""

    text: str
    farewell: bool = False


@dataclass(frozen=True, slots=True)
class HangUp:
    """The call is over now; `reason` is for the log."""

    reason: str


Action = Commit | Speculate | Pause | Resume | Interrupt | Say | HangUp
