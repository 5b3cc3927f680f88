"""What two decoders' words are worth: the grammar's are believed when the trigrams heard much the same. Pure."""

from collections import deque
from difflib import SequenceMatcher
from itertools import takewhile

from services.stt.providers.offline_language import Language
from services.stt.providers.offline_words import NOISES

_AGREEMENT = 0.34
"""Off-topic speech is forced into the grammar's words; trigrams hear other ones then."""
_INTERIM_AGREEMENT = 0.5
"""Less of the sentence is there to compare."""
_LOOKS = 3
"""An interim's words stand in so many looks, 60 ms apart: at first "wait" is heard as "when"."""
_INTERIM_MS = 180
"""The shortest time between two interims."""
_NOISE_MS = 900
"""Shorter than this, pre-roll and hang-over included, it was a noise or half a word."""


def agreement(one: list[str], other: list[str]) -> float:
    """How alike two lists of words are, 0 to 1."""
    return SequenceMatcher(None, one, other, autojunk=False).ratio()


def judge(language: Language, grammar: str, free: str) -> str:
    """The transcript, from the words of the grammar and of the trigrams; empty when nothing known was said."""
    words, others = grammar.split(), [word for word in free.split() if word not in NOISES]
    if others and all(word in language.interjections for word in others):
        return language.transcript(others) if _interjects(language, words, others) else ""
    if language.covers(grammar):
        words = _without_doubtful_stop_words(language, words, others)
        return language.transcript(words) if agreement(words, free.split()) >= _AGREEMENT else ""
    # The grammar's search was cut off in the middle of a sentence.
    return language.transcript(free.split()) if language.covers(free) else ""


def _interjects(language: Language, grammar: list[str], free: list[str]) -> bool:
    """Whether the trigrams' interjections were said; they know better than the grammar what so short a sound was."""
    if grammar == free:
        return True
    if len(free) > 1:
        return False
    if free[0] in language.stop_words:
        return grammar[:1] in ([], free)
    # The grammar may have taken it for other words, but a single word of a sentence was a noise.
    return len(grammar) > 1 or (grammar != [] and grammar[0] in language.interjections)


def _without_doubtful_stop_words(language: Language, words: list[str], free: list[str]) -> list[str]:
    """The grammar takes a breath before the sentence for a stop word; the trigrams do not."""
    said = list(words)
    while said[0] in language.stop_words and said[0] not in free[:2] and language.covers(" ".join(said[1:])):
        del said[0]
    return said


def is_speech(free: str, length_ms: int) -> bool:
    """Whether an utterance that nothing was understood of is speech nevertheless, not a cough."""
    words = [word for word in free.split() if word not in NOISES]
    return length_ms >= _NOISE_MS and len(words) > 1


class Interims:
    """When and what to tell of one utterance while it goes on."""

    def __init__(self, language: Language) -> None:
        """Nothing was heard yet."""
        self._language = language
        self._grammar: deque[list[str]] = deque(maxlen=_LOOKS)
        self._free: deque[list[str]] = deque(maxlen=_LOOKS)
        self._told = ""
        self._due_ms = 0

    def look(self, grammar: str, free: str, heard_ms: int) -> str:
        """The interim text to tell now, from both decoders' words after `heard_ms`; empty for none."""
        self._grammar.append(grammar.split())
        self._free.append(free.split())
        if heard_ms < self._due_ms or len(self._grammar) < _LOOKS:
            return ""
        places = zip(*self._grammar, strict=False)
        words = [words[0] for words in takewhile(lambda words: len(set(words)) == 1, places)]
        text = self._language.transcript(words) if self._plausible(words) else ""
        if text in ("", self._told):
            return ""
        self._told, self._due_ms = text, heard_ms + _INTERIM_MS
        return text

    def _plausible(self, words: list[str]) -> bool:
        """Whether `words` are the beginning of a sentence; a backchannel is none."""
        if not words or words[0] in NOISES or words[0] in self._language.backchannels:
            return False
        if len(words) > 2 and agreement(words, self._free[-1]) >= _INTERIM_AGREEMENT:
            return True
        looks = 2 if len(words) > 1 or words[0] in self._language.stop_words else _LOOKS
        began_alike = all(free[:1] == words[:1] for free in list(self._free)[-looks:])
        return began_alike and self._free[-1][: len(words)][:2] == words[:2]
