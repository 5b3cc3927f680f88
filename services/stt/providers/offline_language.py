"""What the offline recogniser expects to hear: grammar, trigrams and dictionary of one scenario.

Grammar: JSpeech Grammar Format, W3C Note, 5 June 2000.
"""

import io
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import cycle, islice
from threading import Lock

import numpy as np
import structlog
from pocketsphinx.lm import ArpaBoLM

from services.stt.providers import offline_words
from services.stt.providers.offline_words import NOISES
from shared import phrases, scenario

log = structlog.get_logger()

_making = Lock()

_BIGRAMS = "\\2-grams:"
_UNIGRAM = re.compile(r"^(?P<probability>-[\d.]+)\s+(?P<word>\S+)", re.MULTILINE)
_SAMPLE = 100
"""Sentences for each phrase: four digits alone would make ten thousand."""
_INTERJECTION_SAMPLE = 60
_NOISE_SAMPLE = 100
_WITH_STOP_WORDS = 0.2
"""Sentences with stop words before them, for each one without."""
_UNLIKELY = -8.0
"""log10 of the probability that an interjection or a noise stands where no sentence has it: "at ten" was "uh-huh"."""
_ALONE = 0.3
_NOISE = 0.1
_STOP_WORD = 0.01
_TWO_STOP_WORDS = 0.0025
"""Weights in the grammar; a sentence has 1. More, and breaths are taken for stop words."""


@dataclass(frozen=True, slots=True)
class Language:
    """One scenario's language, as pocketsphinx reads it."""

    grammar: str
    """JSGF."""
    trigrams: str
    """ARPA."""
    dictionary: str
    sentence: re.Pattern[str]
    """Matches every sentence of the grammar, with a space at its end, and no other."""
    stop_words: frozenset[str]
    backchannels: frozenset[str]
    interjections: Mapping[str, str]
    """How the profile writes the stop words and backchannels; each is one word here."""

    def covers(self, text: str) -> bool:
        """Whether `text` is a whole sentence of the grammar."""
        return self.sentence.fullmatch(text + " ") is not None

    def transcript(self, words: Sequence[str]) -> str:
        """The decoder's words as they are told to others."""
        return " ".join(self.interjections.get(word, word) for word in words)


class _Interjections:
    """Stop words and backchannels, each as one word of the recogniser."""

    def __init__(self, stop_words: Sequence[str], backchannels: Sequence[str]) -> None:
        self.sounds: dict[str, tuple[str, ...]] = {}
        self.written: dict[str, str] = {}
        self.left_out: list[str] = []
        self._by_sound: dict[str, str] = {}
        self.stop_words = self._words(stop_words)
        self.backchannels = [word for word in self._words(backchannels) if word not in self.stop_words]

    def _words(self, texts: Sequence[str]) -> list[str]:
        """The words for `texts`; of those that sound alike ("okay", "ok") the first."""
        words: dict[str, None] = {}
        for text in texts:
            if not (sounds := offline_words.sounds_of_interjection(text)):
                self.left_out.append(text)
                continue
            word = self._by_sound.setdefault(sounds[0], "_".join(text.lower().split()))
            self.sounds.setdefault(word, sounds)
            self.written.setdefault(word, text)
            words[word] = None
        return list(words)


def _grammar(trees: Sequence[phrases.Sequence_], slots: phrases.Slots, said: _Interjections) -> str:
    rules = {name: " | ".join(values) for name, values in slots.items()}
    rules["a-sentence"] = " | ".join(phrases.to_jsgf(tree) for tree in trees)
    rules["a-noise"] = " | ".join(NOISES)
    whole, alone = "<a-sentence>", [f"/{_NOISE}/ <a-noise>"]
    if said.backchannels:
        rules["a-backchannel"] = " | ".join(said.backchannels)
        alone.append(f"/{_ALONE}/ <a-backchannel>")
    if said.stop_words:
        rules["a-stop"] = " | ".join(said.stop_words)
        rules["before-it"] = f"/1/ <NULL> | /{_STOP_WORD}/ <a-stop> | /{_TWO_STOP_WORDS}/ <a-stop> <a-stop>"
        whole = "<before-it> <a-sentence>"
        alone.append(f"/{_ALONE}/ <a-stop> [ <a-stop> ]")
    lines = [f"<{name}> = {rule};" for name, rule in rules.items()]
    said_lines = f"public <all-that-is-said> = {' | '.join([f'/1/ {whole}', *alone])};"
    return "\n".join(["#JSGF V1.0;", "grammar scenario;", *lines, said_lines, ""])


def _pattern(trees: Sequence[phrases.Sequence_], slots: phrases.Slots, said: _Interjections) -> re.Pattern[str]:
    sentence = "|".join(phrases.to_regex(tree, slots, []) for tree in trees)
    stop, back = ("|".join(re.escape(word) for word in words) for words in (said.stop_words, said.backchannels))
    alternatives = [f"(?:{sentence})"]
    if stop:
        alternatives.append(f"(?:(?:{stop}) ){{1,2}}(?:{sentence})?")
    if back:
        alternatives.append(f"(?:{back}) ")
    return re.compile("|".join(alternatives))


def _sentences(trees: Sequence[phrases.Sequence_], slots: phrases.Slots) -> Iterator[str]:
    """A fixed sample of every phrase, equally large for each: a short one is as likely as one of many forms."""
    generator = np.random.default_rng(0)
    names = {name: [f"<{name}>"] for name in slots}
    for tree in trees:
        templates = list(islice(phrases.expand(tree, names), _SAMPLE))
        for template in islice(cycle(templates), _SAMPLE):
            words = template.split()
            yield " ".join(str(generator.choice(slots[w[1:-1]])) if w.startswith("<") else w for w in words)


def _exclaimed(sentences: Sequence[str], said: _Interjections) -> Iterator[str]:
    """Interjections and noises alone, and stop words before some of the `sentences`."""
    for word in (*said.stop_words, *said.backchannels):
        yield from [word] * _INTERJECTION_SAMPLE
    for word in NOISES:
        yield from [word] * _NOISE_SAMPLE
    if said.stop_words:
        generator = np.random.default_rng(0)
        for sentence in generator.choice(list(sentences), int(len(sentences) * _WITH_STOP_WORDS)):
            before = generator.choice(said.stop_words, generator.choice([1, 1, 2]))
            yield " ".join([*before, sentence])


def _trigrams(sentences: Iterable[str], alone: Collection[str]) -> str:
    """A model of `sentences`; the words `alone` come only where a sentence has them."""
    model = ArpaBoLM(text="\n".join(f"<s> {sentence} </s>" for sentence in sentences))
    model.compute()
    written = io.StringIO()
    model.write(written)
    unigrams, longer = written.getvalue().split(_BIGRAMS, 1)
    return _BIGRAMS.join(
        [_UNIGRAM.sub(lambda line: _unlikely(line) if line["word"] in alone else line[0], unigrams), longer]
    )


def _unlikely(unigram: re.Match[str]) -> str:
    return f"{min(float(unigram['probability']), _UNLIKELY)} {unigram['word']}"


def load(name: str, stop_words: tuple[str, ...] = (), backchannels: tuple[str, ...] = ()) -> Language:
    """The language of the scenario `name` and of an agent's interjections; made once, which takes a second.

    An interjection that cannot be pronounced is left out. Raises ScenarioError, InvalidId or UnknownWord.
    """
    # Many calls ask at the same moment, each in a thread of its own: one of them makes it for all.
    with _making:
        return _make(name, stop_words, backchannels)


@cache
def _make(name: str, stop_words: tuple[str, ...], backchannels: tuple[str, ...]) -> Language:
    loaded = scenario.load(name)
    slots = {slot: [value.lower() for value in values] for slot, values in loaded.slots.items()}
    trees = [tree for several in loaded.trees().values() for tree in several]
    sentences = list(_sentences(trees, slots))
    words = {word for text in [*sentences, *(v for values in slots.values() for v in values)] for word in text.split()}
    said = _Interjections(stop_words, backchannels)
    if said.left_out:
        log.info("interjections_left_out", scenario=name, words=said.left_out)
    return Language(
        grammar=_grammar(trees, slots, said),
        trigrams=_trigrams([*sentences, *_exclaimed(sentences, said)], {*said.sounds, *NOISES} - words),
        dictionary=offline_words.dictionary({**said.sounds, **{word: offline_words.sounds_of(word) for word in words}}),
        sentence=_pattern(trees, slots, said),
        stop_words=frozenset(said.stop_words),
        backchannels=frozenset(said.backchannels),
        interjections=said.written,
    )
