"""What an llm that takes a call over is told again."""

from services.stt.history import History
from shared.messages import Message, Playback, SpeechFinal, SpeechPartial, SpeechStarted, SpeechStopped


def started(utterance: int) -> SpeechStarted:
    return SpeechStarted(utterance=utterance, t_ms=0)


def stopped(utterance: int) -> SpeechStopped:
    return SpeechStopped(utterance=utterance, t_ms=9, ended_at=1.0)


def partial(utterance: int, text: str) -> SpeechPartial:
    return SpeechPartial(utterance=utterance, text=text)


def final(utterance: int, text: str, *, complete: bool = False) -> SpeechFinal:
    return SpeechFinal(utterance=utterance, text=text, complete=complete)


class Talk:
    """A history and its clock."""

    def __init__(self) -> None:
        self.now = 100.0
        self.history = History(lambda: self.now)

    def tell(self, *messages: Message) -> None:
        for message in messages:
            self.history.add(message)


def test_what_is_open_is_told_again_in_its_order() -> None:
    talk = Talk()
    told = (started(1), stopped(1), started(2), partial(2, "yes"))
    talk.tell(*told)
    talk.now = 500.0
    assert talk.history.since(499.0) == list(told)


def test_only_the_newest_interim_transcript_is_told_again() -> None:
    talk = Talk()
    talk.tell(started(1), partial(1, "a"), partial(1, "a table"), final(1, "a table"), partial(1, "for"))
    assert talk.history.since(0) == [started(1), final(1, "a table"), partial(1, "for")]
    talk.tell(final(1, "for two", complete=True))
    assert talk.history.since(0) == [started(1), final(1, "a table"), final(1, "for two", complete=True)]


def test_what_was_complete_before_is_not_told_again() -> None:
    talk = Talk()
    talk.tell(started(1), final(1, "hello", complete=True))
    talk.now = 110.0
    talk.tell(started(2), final(2, "a table", complete=True))
    assert [message.utterance for message in talk.history.since(105.0)] == [2, 2]
    assert [message.utterance for message in talk.history.since(100.0)] == [1, 1, 2, 2]


def test_nothing_but_speech_is_remembered() -> None:
    talk = Talk()
    talk.tell(Playback(generation=1, state="started", heard_ms=0, heard=""))
    assert talk.history.since(0) == []


def test_the_history_of_a_long_call_is_bounded() -> None:
    talk = Talk()
    for number in range(1, 200):
        talk.now += 10
        talk.tell(started(number), final(number, "yes", complete=True))
    assert {message.utterance for message in talk.history.since(0)} == set(range(193, 200))
    for piece in range(1000):
        talk.tell(final(200, f"{piece} "))
    assert len(talk.history.since(0)) == 300
