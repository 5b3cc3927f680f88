"""Clips that are found again by their bytes."""

import numpy as np
import pytest

from shared.audio import SILENCE, bytes_of
from shared.espeak import speak, trim
from simulator import telegraph
from simulator.clips import Clips, Found
from simulator.ear import PhraseBook, Recalled

TEXT = "I would like to book a table for four"


def clip(text: str) -> bytes:
    return SILENCE * 37 + speak(text).mulaw + SILENCE * 400


def taught(*texts: str) -> tuple[Clips, dict[str, bytes]]:
    clips, sounds = Clips(), {text: clip(text) for text in texts}
    for text, sound in sounds.items():
        clips.teach(text, sound)
    return clips, sounds


def test_a_clip_is_found_however_much_silence_lies_around_it() -> None:
    clips, sounds = taught(TEXT, "goodbye")
    for before, after in ((0, 0), (1, 79), (4000, 160)):
        padded = SILENCE * before + trim(sounds[TEXT]) + SILENCE * after
        assert clips.find(padded) == Found(TEXT, whole=True)


def test_a_clip_is_found_when_what_cannot_be_heard_was_replaced() -> None:
    hiss = np.random.default_rng(1).choice(np.frombuffer(b"\xfe\xff\x7e\x7d", np.uint8), 2000).tobytes()
    sound = trim(clip("yes")) + hiss + trim(clip("please"))
    clips = Clips()
    clips.teach("yes please", sound)
    assert clips.find(sound.replace(hiss, SILENCE * len(hiss))) == Found("yes please", whole=True)


def test_a_beginning_is_in_whole_words() -> None:
    clips, sounds = taught(TEXT)
    speech = trim(sounds[TEXT])
    told = [clips.find(speech[:cut]) for cut in range(bytes_of(100), len(speech) - bytes_of(100), 77)]
    assert all(found is not None and not found.whole for found in told)
    texts = [found.text for found in told if found is not None]
    assert texts == sorted(texts, key=len)
    assert all(f"{TEXT} ".startswith(f"{text} ") for text in texts if text)
    assert len(texts[0].split()) <= 1
    assert len(set(texts)) >= len(TEXT.split()) - 1


def test_one_wrong_sample_is_another_sound() -> None:
    clips, sounds = taught(TEXT)
    speech = trim(sounds[TEXT])
    middle = len(speech) // 2
    assert clips.find(speech[:middle] + bytes([speech[middle] ^ 0x40]) + speech[middle + 1 :]) is None
    assert clips.find(speech + speech) is None
    assert clips.find(speech[bytes_of(40) :]) is None
    assert clips.find(b"") is None
    assert Clips().find(speech) is None


def noise(seed: int, ms: int) -> bytes:
    return np.random.default_rng(seed).integers(0x90, 0xB0, bytes_of(ms), np.uint8).tobytes()


def test_words_that_could_still_be_others_are_not_told() -> None:
    clips, begin = Clips(), noise(1, 800)
    clips.teach("my number is four five", begin + noise(2, 200))
    assert clips.find(begin) == Found("my number is four", whole=False)
    clips.teach("my number is nine", begin + noise(3, 200))
    clips.teach("my number was six", begin + noise(4, 200))
    assert clips.find(begin) == Found("my number", whole=False)
    assert clips.find(begin + noise(2, 100)) == Found("my number is four", whole=False)


def test_what_is_learned_later_does_not_change_what_was_known() -> None:
    clips = Clips()
    sounds = sorted(noise(seed, 900) for seed in (1, 2))
    clips.teach("good morning", sounds[1])
    assert clips.find(sounds[1][: bytes_of(800)]) == Found("good", whole=False)
    clips.teach("my number is four five", sounds[0])
    assert clips.find(sounds[0][: bytes_of(800)]) == Found("my number is four", whole=False)


def test_a_clip_may_be_the_beginning_of_another() -> None:
    clips = Clips()
    yes, more = telegraph.speak("yes").mulaw, telegraph.speak("yes please").mulaw
    clips.teach("yes please", more)
    clips.teach("yes", yes)
    assert clips.find(yes) == Found("yes", whole=True)
    assert clips.find(more) == Found("yes please", whole=True)


def test_the_last_lesson_counts() -> None:
    clips, sounds = taught("yes")
    clips.teach("no", sounds["yes"])
    assert clips.find(sounds["yes"]) == Found("no", whole=True)
    assert len(clips) == 1


def test_what_cannot_be_heard_is_no_clip() -> None:
    for text, sound in (("yes", SILENCE * 8000), ("yes", b""), (" ", clip("yes"))):
        with pytest.raises(ValueError, match="no speech"):
            Clips().teach(text, sound)


def test_each_of_two_thousand_clips_is_found_by_looking_at_a_few(monkeypatch: pytest.MonkeyPatch) -> None:
    clips = Clips()
    texts = [f"my order number is {number}" for number in range(2000)]
    for text in texts:
        clips.teach(text, telegraph.speak(text).mulaw)
    for text in texts[::100]:
        assert clips.find(telegraph.speak(text).mulaw) == Found(text, whole=True)
    looked_at = _Counted(clips._sounds)
    monkeypatch.setattr(clips, "_sounds", looked_at)
    assert clips.find(telegraph.speak(texts[777]).mulaw[:-3000]) is not None
    assert 0 < looked_at.looked < 40


class _Counted(list[bytes]):
    """Counts how many of its items are looked at."""

    looked = 0

    def __getitem__(self, index):  # type: ignore[no-untyped-def]
        self.looked += 1
        return super().__getitem__(index)

    def __iter__(self):  # type: ignore[no-untyped-def]
        self.looked += len(self)
        return super().__iter__()


def test_the_book_finds_clips_without_comparing_sounds(monkeypatch: pytest.MonkeyPatch) -> None:
    book = PhraseBook()
    sound = trim(clip(TEXT))
    book.learn_clip(TEXT, sound)
    monkeypatch.setattr("simulator.ear.spectrogram", None)
    heard = book.recognise(sound)
    beginning = book.recognise_beginning(sound[: len(sound) // 2])
    assert heard is not None
    assert beginning is not None
    assert (heard.text, heard.score) == (TEXT, 1.0)
    assert TEXT.startswith(f"{beginning.text} ")
    assert book.recall(sound) == Recalled(heard, whole=True)
    assert book.recall(sound[: len(sound) // 2]) == Recalled(beginning, whole=False)


def test_the_book_compares_sounds_when_no_clip_is_found() -> None:
    book = PhraseBook()
    book.learn(TEXT)
    book.learn_clip("goodbye", clip("goodbye"))
    heard = book.recognise(SILENCE * 100 + speak(TEXT).mulaw)
    assert heard is not None
    assert heard.text == TEXT
    assert book.recall(speak(TEXT).mulaw) is None
