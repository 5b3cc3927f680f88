"""Whose turn it is: the state machine of a call's turn-taking.

Pure: events in, actions out, the time passed in (Unix seconds). An event only changes what is known; everything
that follows from it, at once or later, is one of the `_deadlines`. Whether the agent is to be heard is what the
gateway's playback clock says, and nothing else.
"""

from collections import deque
from collections.abc import Callable, Iterator
from functools import partial
from operator import itemgetter

from services.llm import barge_in, wording
from services.llm.actions import Action, Commit, HangUp, Interrupt, Pause, Resume, Say
from services.llm.caller_turn import CallerTurn, SpeechEvent
from services.llm.keys import Keys
from services.llm.live_reply import LiveReply
from services.llm.record import Spoken
from services.llm.silence import Silence
from services.llm.speculation import Speculation
from services.llm.standing import Standing
from services.llm.understood import Understood, understood
from shared.messages import Digit, Playback, ReplyOnLine
from shared.turn_taking import TurnProfile

Event = SpeechEvent | Playback | Digit
Deadline = tuple[float, Callable[[float], list[Action]]]

_NOW = 0.0
"""A deadline that has passed."""
_AGENT_WORDS = 120
_FALSE_ALARMS = 2
"""So often a sound may pause one reply; on a noisy line only words count then."""
_LOST_S = 20.0
"""A reply of which nothing is heard for so long has got lost."""
_LONG_TURNS = 2
"""Nobody talks through two turns on end: it is a radio, or another machine."""


class Turns:
    """The turn-taking of one call."""

    def __init__(self, profile: TurnProfile, standing: Standing | None = None) -> None:
        """Nobody is waited for yet. `standing` is what another worker left."""
        left = standing or Standing()
        self._profile = profile
        self._caller = CallerTurn(left.told)
        self._keys = Keys(left.keys)
        self._reply: LiveReply | None = None
        self._agent_words: deque[str] = deque(maxlen=_AGENT_WORDS)
        self._free_at = 0.0
        """When the last reply was over."""
        self._silence = Silence(left.reprompts)
        self._long_turns = 0
        self._hold_since = left.hold_since
        self._speculation = Speculation()
        self._over = False
        self._known: Understood | None = None
        self._due: Deadline | None = None
        self._due_known = False

    def _changed(self) -> None:
        """What follows from all that is known is found anew."""
        self._known, self._due_known = None, False

    @property
    def profile(self) -> TurnProfile:
        """May be replaced during the call."""
        return self._profile

    @profile.setter
    def profile(self, profile: TurnProfile) -> None:
        self._profile = profile
        self._changed()

    @property
    def standing(self) -> Standing:
        """What a successor has to know."""
        return Standing(
            told=self._caller.told,
            keys=self._keys.pressed,
            reprompts=self._silence.broken,
            hold_since=self._hold_since,
        )

    def begin(self, now: float) -> None:
        """The line is open, and nothing of the agent's is to be heard."""
        self._reply = None
        self._caller.new_line()
        self.resume(now, None, ReplyOnLine())

    def resume(self, now: float, reply: Spoken | None, line: ReplyOnLine) -> None:
        """Take over from another worker in mid-call; `reply` is the one that lives, `line` how far it is."""
        if reply is not None:
            self._reply = LiveReply.taken_over(reply, line, now)
            self.agent_said(reply.text, now)
        self._keys.pressed_at = now
        self._silence.begin(now)
        self._changed()

    def reply_began(self, generation: int, now: float, *, protected: bool = False) -> None:
        """The agent has begun to answer, to greet or to ask; the reply lives until its playback is over."""
        self._reply = LiveReply(now, generation, protected)
        self._changed()

    def agent_said(self, text: str, now: float) -> None:
        """`text` is on its way to the caller."""
        self._agent_words.extend(wording.words(text))
        if self._reply is not None:
            self._reply.seen_at = now
        self._changed()

    def stt_lost(self, epoch: int) -> None:
        """The stt worker with this lease is gone."""
        self._caller.lost(epoch)
        self._changed()

    def stt_taken(self, epoch: int, now: float) -> None:
        """Another stt worker has the lease `epoch`."""
        self._caller.taken(epoch, now)
        self._changed()

    def handle(self, event: Event, now: float) -> list[Action]:
        """What `event` leads to at once."""
        if self._over:
            return []
        self._due_known = False
        if isinstance(event, Playback):
            self._follow(event, now)
        elif isinstance(event, Digit):
            self._keys.press(event.digit, self._profile.digits, now)
        else:
            self._known = None
            self._caller.hear(event, now)
        return self.tick(now) + self._speculate()

    def tick(self, now: float) -> list[Action]:
        """What the time alone leads to; to be called at `deadline`."""
        actions: list[Action] = []
        while (due := self._next()) is not None and due[0] <= now:
            actions += due[1](now)
            self._changed()
        return actions

    @property
    def deadline(self) -> float | None:
        """When `tick` has something to do, if nothing else happens before."""
        return None if (due := self._next()) is None else due[0]

    def _next(self) -> Deadline | None:
        # The dialogue has to begin a reply before anything can become of it.
        if self._over or (self._reply is not None and self._reply.generation is None):
            return None
        if not self._due_known:
            self._due, self._due_known = min(self._deadlines(), key=itemgetter(0), default=None), True
        return self._due

    def _deadlines(self) -> list[Deadline]:
        said, reply = self._said, self._reply
        due = [*(self._while_silent(said) if reply is None else self._while_replying(reply, said))]
        if said.utterances and said.nothing_said:
            due.append((said.due_at(self._profile), self._drop))
        if self._hold_since is not None:
            due.append((self._hold_since + self._profile.hold.max_s, partial(self._hang_up, "on_hold")))
        if said.utterances and (retold_by := self._caller.retold_by) is not None:
            due.append((retold_by, self._settle))
        return due

    def _while_silent(self, said: Understood) -> Iterator[Deadline]:
        """The agent says nothing: the caller's turn ends, or never begins."""
        if self._keys:
            yield self._keys.due_at(self._profile.digits), self._commit_keys
        elif said.relevant and not said.speaking and not self._caller.retold:
            yield max(said.due_at(self._profile), said.told_at(self._profile)), self._end_turn
        if said.utterances:
            yield said.utterances[0].began_at + self._profile.max_turn_s, self._cut_turn
        waited = not self._keys and not said.relevant and self._hold_since is None
        if waited and (ends_at := self._silence.ends_at(self._profile.silence)) is not None:
            yield max(ends_at, said.wordless_at), self._break_silence

    def _while_replying(self, reply: LiveReply, said: Understood) -> Iterator[Deadline]:
        """The agent prepares a reply, speaks or has paused: the caller may interrupt."""
        profile = self._profile.barge_in
        if reply.paused_at is None:
            yield reply.seen_at + _LOST_S, self._interrupt
        elif said.nothing_said:
            yield reply.silent_until, self._resume
        else:
            yield reply.paused_at + profile.resume_ms / 1000, self._resume
        if reply.protected or not profile.enabled or not (said.utterances or self._keys):
            return
        if self._keys or barge_in.confirms(said.relevant, profile, audible=reply.audible):
            yield _NOW, self._interrupt
        paused = reply.paused_at is not None or reply.alarms >= _FALSE_ALARMS
        if not paused and barge_in.alarms(said.utterances, profile):
            yield _NOW, self._pause

    @property
    def _said(self) -> Understood:
        """What the caller says to the agent."""
        if self._known is None:
            agent = None if self._reply is None else self._agent_words
            self._known = understood(self._caller.utterances, agent, self._profile.barge_in)
        return self._known

    def _follow(self, event: Playback, now: float) -> None:
        reply = self._reply
        if reply is not None and event.generation == reply.generation and reply.follow(event, now):
            self._free(now)

    def _free(self, now: float, *, interrupted: bool = False) -> None:
        self._reply = self._known = None
        self._free_at = now
        self._silence.begin(now, interrupted=interrupted)

    def _pause(self, now: float) -> list[Action]:
        for utterance in self._said.utterances:
            utterance.sustained = False
        reply = self._reply
        if reply is None or reply.generation is None:
            return []
        reply.pause(now)
        return [Pause(reply.generation)]

    def _resume(self, now: float) -> list[Action]:
        reply = self._reply
        if reply is None or reply.generation is None:
            return []
        reply.resume(now)
        return [Resume(reply.generation)]

    def _interrupt(self, now: float) -> list[Action]:
        self._free(now, interrupted=True)
        return [Interrupt()]

    def _speculate(self) -> list[Action]:
        if not self.profile.speculation or self._reply is not None or self._keys or self._over:
            return []
        return [*self._speculation.guess(self._said.utterances, self._said.text)]

    def _end_turn(self, now: float) -> list[Action]:
        text, hold = self._said.text, self.profile.hold
        if wording.contains(text, hold.voicemail):
            return self._hang_up("voicemail", now)
        if wording.contains(text, hold.phrases):
            self._hold_since = now if self._hold_since is None else self._hold_since
            return self._drop(now)
        self._long_turns = 0
        return self._commit(text, now)

    def _commit(self, text: str, now: float) -> list[Action]:
        said, relevant = self._said, self._said.relevant
        ended_at = max([u.ended_at or now for u in relevant] or [self._keys.pressed_at])
        due_at = min(now, said.due_at(self.profile)) if relevant and not said.speaking else now
        commit = Commit(text, ended_at, max(due_at, min(self._free_at, now)), tuple(u.number for u in relevant))
        self._caller.clear(now)
        self._hold_since = None
        self._speculation.forget()
        self._silence.forget()
        self._reply = LiveReply(now)
        return [commit]

    def _commit_keys(self, now: float) -> list[Action]:
        spoken, keys = self._said.text, self._keys.take()
        return self._commit(f"{spoken} {keys}".strip(), now)

    def _cut_turn(self, now: float) -> list[Action]:
        """The caller does not stop."""
        if self._keys:
            return self._commit_keys(now)
        if not self._said.relevant:
            return self._drop(now)
        self._long_turns += 1
        if self._long_turns < _LONG_TURNS:
            return self._commit(self._said.text, now)
        self._caller.clear(now)
        return self._unasked(self._silence.leave(self.profile.silence), now)

    def _drop(self, now: float) -> list[Action]:
        self._caller.clear(now)
        return []

    def _settle(self, now: float) -> list[Action]:
        self._caller.settle(now)
        return []

    def _break_silence(self, now: float) -> list[Action]:
        return self._unasked(self._silence.break_(self.profile.silence), now)

    def _unasked(self, action: Say | HangUp, now: float) -> list[Action]:
        if isinstance(action, HangUp):
            return self._hang_up(action.reason, now)
        self._reply = LiveReply(now)
        return [action]

    def _hang_up(self, reason: str, now: float) -> list[Action]:
        self._caller.clear(now)
        self._over = True
        return [HangUp(reason)]
