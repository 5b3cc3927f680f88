"""What the offline recogniser expects to hear: grammar, trigrams and dictionary of one scenario.

Grammar: JSpeech Grammar Format, W3C Note, 5 June 2000. Dictionary: CMUdict, as pocketsphinx brings it.
"""

import io
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import cycle, islice
from pathlib import Path

import numpy as np
import pocketsphinx
from pocketsphinx.lm import ArpaBoLM

from shared import phrases, scenario

MODEL = Path(pocketsphinx.get_model_path()) / "en-us"
_SAMPLE = 100
"""Sentences for each phrase: four digits alone would make ten thousand."""


class UnknownWord(ValueError):
    """A scenario uses a word that the dictionary does not have; the message names it."""


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

    def covers(self, text: str) -> bool:
        """Whether `text` is a whole sentence of the grammar."""
        return self.sentence.fullmatch(text + " ") is not None


def _grammar(trees: Sequence[phrases.Sequence_], slots: phrases.Slots) -> str:
    rules = [f"<{name}> = {' | '.join(values)};" for name, values in slots.items()]
    sentences = " | ".join(phrases.to_jsgf(tree) for tree in trees)
    return "\n".join(["#JSGF V1.0;", "grammar scenario;", *rules, f"public <sentence> = {sentences};", ""])


def _sentences(trees: Sequence[phrases.Sequence_], slots: phrases.Slots) -> Iterator[str]:
    """A fixed sample of every phrase, equally large for each: a short one is as likely as one of many forms."""
    generator = np.random.default_rng(0)
    names = {name: [f"<{name}>"] for name in slots}
    for tree in trees:
        templates = list(islice(phrases.expand(tree, names), _SAMPLE))
        for template in islice(cycle(templates), _SAMPLE):
            words = template.split()
            yield " ".join(str(generator.choice(slots[w[1:-1]])) if w.startswith("<") else w for w in words)


def _trigrams(sentences: Iterator[str]) -> str:
    model = ArpaBoLM(text="\n".join(f"<s> {sentence} </s>" for sentence in sentences))
    model.compute()
    written = io.StringIO()
    model.write(written)
    return written.getvalue()


@cache
def _cmudict() -> Mapping[str, tuple[str, ...]]:
    """All pronunciations by word."""
    words: dict[str, tuple[str, ...]] = {}
    for line in (MODEL / "cmudict-en-us.dict").read_text().splitlines():
        spelled, _, phones = line.partition(" ")
        word = spelled.partition("(")[0]
        words[word] = (*words.get(word, ()), phones.strip())
    return words


def _on_the_telephone(phones: str) -> Iterator[str]:
    """How a word sounds at 8 kHz to a model of wideband speech.

    The energy of /s/ lies above 4 kHz; what is left of it is like /f/ ("six" was heard as "three"). The model
    hears an initial /n/ as /m/ ("nine" as "one"), and a final /t/ without its burst is like /d/ ("eight" was
    heard as "six"). Measured with espeak-ng: wrong order numbers fell from 50 % to 9 %.
    """
    parts = phones.split()
    yield phones
    yield " ".join("F" if part == "S" else part for part in parts)
    yield " ".join(["M" if parts[0] == "N" else parts[0], *parts[1:]])
    yield " ".join([*parts[:-1], "D" if parts[-1] == "T" else parts[-1]])


def _dictionary(words: set[str]) -> str:
    known = _cmudict()
    missing = sorted(word for word in words if word not in known)
    if missing:
        raise UnknownWord(f"the dictionary has no word {missing[0]!r}: use another word in the scenario")
    lines: list[str] = []
    for word in sorted(words):
        sounds = dict.fromkeys(sound for phones in known[word] for sound in _on_the_telephone(phones))
        lines += [f"{word}{f'({number})' if number > 1 else ''} {sound}" for number, sound in enumerate(sounds, 1)]
    return "\n".join([*lines, ""])


@cache
def load(name: str) -> Language:
    """The language of the scenario `name`. Raises ScenarioError, InvalidId or UnknownWord."""
    loaded = scenario.load(name)
    slots = {slot: [value.lower() for value in values] for slot, values in loaded.slots.items()}
    trees = [tree for several in loaded.trees().values() for tree in several]
    sentences = list(_sentences(trees, slots))
    said = [*sentences, *(value for values in slots.values() for value in values)]
    pattern = "|".join(phrases.to_regex(tree, slots, []) for tree in trees)
    return Language(
        grammar=_grammar(trees, slots),
        trigrams=_trigrams(iter(sentences)),
        dictionary=_dictionary({word for sentence in said for word in sentence.split()}),
        sentence=re.compile(pattern),
    )
