"""How words sound on the telephone: the offline recogniser's dictionary.

Format: CMUdict, as pocketsphinx brings it. Sounds: its ARPAbet phones, with spaces between them.
"""

import re
from collections.abc import Iterator, Mapping
from functools import cache
from itertools import product
from pathlib import Path

import pocketsphinx

MODEL = Path(pocketsphinx.get_model_path()) / "en-us"

NOISES: Mapping[str, tuple[str, ...]] = {
    "_ah": ("AH", "AA", "EH", "ER", "OW", "DH AE F", "DH AE"),
    "_mm": ("M", "AH M", "UH M", "HH M", "IH M", "N"),
}
"""Words that mean nothing: a cough or a hum is heard as one of them, and not as the nearest word that means something.

With what a hiss has in common with "that", and without AO, which is most of "stop".
"""

_BY_HAND: Mapping[str, tuple[str, ...]] = {
    "uh-huh": ("AH HH ER", "AH HH AO", "OW HH AO", "AH P AH", "AH HH AH T", "AH TH AH T"),
    "mm-hmm": ("M HH M", "AH M HH M"),
    "yeah": ("Y EH", "IY AE", "IY AO"),
    "okay": ("AH K EY", "AH G EY", "OW G EY", "L K EY"),
    "no": ("N EH UW", "N ER UW"),
    "hold": ("HH OW L", "HH EH L D"),
    "goodbye": ("G UH B AY", "TH UH F AY", "UH B AY"),
    "sure": ("SH AO", "SH UH OW"),
    "stop": ("S T AO P",),
}
"""What CMUdict does not have, and what the model hears when voices other than the American one say it."""
_SPOKEN = re.compile(r"[a-z0-9' -]+")
_ASPIRATION = re.compile(r"\bHH\b")
_LEAST_SOUNDS = 2


class UnknownWord(ValueError):
    """A scenario uses a word that the dictionary does not have; the message names it."""


@cache
def _cmudict() -> Mapping[str, tuple[str, ...]]:
    """All pronunciations by word."""
    words: dict[str, tuple[str, ...]] = {}
    for line in (MODEL / "cmudict-en-us.dict").read_text().splitlines():
        spelled, _, phones = line.partition(" ")
        word = spelled.partition("(")[0]
        words[word] = (*words.get(word, ()), phones.strip())
    return words


def _known(word: str) -> tuple[str, ...]:
    return (*_cmudict().get(word, ()), *_BY_HAND.get(word, ()))


def sounds_of(word: str) -> tuple[str, ...]:
    """The pronunciations of one word of a scenario. Raises UnknownWord."""
    if not (sounds := _known(word)):
        raise UnknownWord(f"the dictionary has no word {word!r}: use another word in the scenario")
    return sounds


def sounds_of_interjection(text: str) -> tuple[str, ...]:
    """The pronunciations of `text`, one or more words, said as one; none when they are not known.

    None either for a single sound ("ah"): it cannot be told from a cough.
    """
    spoken = text.lower()
    if _SPOKEN.fullmatch(spoken) is None:
        return ()
    words = spoken.split() if all(_known(word) for word in spoken.split()) else spoken.replace("-", " ").split()
    whole = tuple(" ".join(parts) for parts in product(*(_known(word) for word in words)))
    return whole if all(len(_ASPIRATION.sub("", sounds).split()) >= _LEAST_SOUNDS for sounds in whole) else ()


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


def dictionary(words: Mapping[str, tuple[str, ...]]) -> str:
    """The dictionary of `words` with their pronunciations, and of NOISES."""
    heard = {word: [heard for one in sounds for heard in _on_the_telephone(one)] for word, sounds in words.items()}
    lines: list[str] = []
    for word, sounds in sorted({**heard, **NOISES}.items()):
        numbered = enumerate(dict.fromkeys(sounds), 1)
        lines += [f"{word}{f'({number})' if number > 1 else ''} {sound}" for number, sound in numbered]
    return "\n".join([*lines, ""])
