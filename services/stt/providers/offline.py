"""The offline recogniser: pocketsphinx, told what to expect by the agent's scenario. No key, no network.

It hears what the scenario's phrases cover, and nothing else: a free dictation of telephone audio is beyond it.
"""

import asyncio
from pathlib import Path
from tempfile import TemporaryDirectory

import structlog
from pocketsphinx import Config, Decoder

from services.stt.provider import Failure, Hypothesis, Listener
from services.stt.providers import offline_hearing, offline_language
from services.stt.providers.offline_audio import LONGEST_MS, Upsampler
from services.stt.providers.offline_hearing import Interims
from services.stt.providers.offline_language import Language
from services.stt.providers.offline_words import MODEL, NOISES, UnknownWord
from shared import scenario
from shared.agents import AgentProfile
from shared.audio import SILENCE, bytes_of, duration_ms
from shared.ids import InvalidId
from shared.scenario import ScenarioError
from shared.stage import CannotServe
from shared.turn_taking import BargeInProfile

log = structlog.get_logger()

_PRE_ROLL = bytes_of(300)
"""The VAD tells of an utterance some 100 ms after its first sound, which may be a soft one."""
_CHUNK = bytes_of(60)
_SHELVED = 50
"""18 MB each."""
UNINTELLIGIBLE = "[unintelligible]"
"""The transcript of speech that is none of the scenario's sentences: the agent can ask again."""
Decoders = tuple[Decoder, Decoder]
"""One for the scenario's sentences, one for its words in any order."""
_CONTINUES_S = 0.2
"""How long the rest of a cut sentence may take to begin; less than what is left of the endpointing."""
_CEPSTRAL_MEAN = "57.6,-1.2,-9.1,17.5,-4.0,-5.0,-2.2,-18.1,-3.4,-5.7,-0.8,3.9,-8.1"
"""Of telephone speech through Upsampler, set before each utterance: it must not depend on the ones before."""


def _decoders(language: Language) -> Decoders:
    """Decoders for the grammar and for the trigrams (some 35 ms each)."""
    with TemporaryDirectory(prefix="trunkline-stt-") as folder:
        dictionary, trigrams = Path(folder, "words.dict"), Path(folder, "trigrams.arpa")
        dictionary.write_text(language.dictionary)
        trigrams.write_text(language.trigrams)
        # Every other frame is scored (ds): half the cost, and no more errors in 162 sentences than with all.
        common = {
            "hmm": str(MODEL / "en-us"),
            "dict": str(dictionary),
            "cmn": "live",
            "topn": 8,
            "ds": 2,
            "loglevel": "FATAL",
        }
        # At the default (7e-29) "do you" is lost among the sounds of the interjections.
        grammar = Decoder(Config(lm=None, wip=0.2, wbeam=1e-33, **common))
        grammar.add_jsgf_string("scenario", language.grammar)
        grammar.activate_search("scenario")
        # One pass is enough to tell whether the grammar's words are right.
        free = Decoder(Config(lm=str(trigrams), fwdflat=False, bestpath=False, **common))
    for decoder in (grammar, free):
        _accustom(decoder)
    return grammar, free


def _accustom(decoder: Decoder) -> None:
    """Let the decoder's noise removal learn what silence sounds like, as it does over several utterances.

    Without it a call's first sentence is misheard more often than the others: 23 instead of 14 of 108.
    """
    silence = Upsampler()(SILENCE * bytes_of(1000))
    search = decoder.current_search()
    decoder.add_jsgf_string("silence", f"#JSGF V1.0; grammar silence; public <nothing> = {' | '.join(NOISES)};")
    decoder.activate_search("silence")
    for _ in range(3):
        decoder.set_cmn(_CEPSTRAL_MEAN)
        decoder.start_utt()
        decoder.process_raw(silence, False, False)
        decoder.end_utt()
    decoder.activate_search(search)


class _Shelf:
    """Decoders that no call needs now: to make them takes a third of a second, and memory that is slow to come back."""

    def __init__(self) -> None:
        """Empty."""
        self._idle: dict[str, list[Decoders]] = {}
        """By grammar."""

    async def take(self, language: Language) -> Decoders:
        """Decoders for one call of `language`."""
        idle = self._idle.get(language.grammar)
        return idle.pop() if idle else await asyncio.to_thread(_decoders, language)

    def put(self, language: Language, decoders: Decoders) -> None:
        """The call that had them is over."""
        idle = self._idle.setdefault(language.grammar, [])
        if len(idle) < _SHELVED:
            idle.append(decoders)


_shelf = _Shelf()


def _text(decoder: Decoder) -> str:
    hypothesis = decoder.hyp()
    return hypothesis.hypstr if hypothesis is not None else ""


class OfflineTranscriber:
    """One call's recognition."""

    model = "pocketsphinx"

    def __init__(self, language: Language, decoders: Decoders, listener: Listener) -> None:
        """Use `open_transcriber`."""
        self._language = language
        self._grammar, self._free = decoders
        self._closed = False
        self._listener = listener
        self._pre_roll = bytearray()
        self._upsample: Upsampler | None = None
        """None between utterances."""
        self._waiting = b""
        self._heard_ms = 0
        self._interims = Interims(language)
        self._said: list[bytes] = []
        """All audio since the beginning of the sentence, pauses in it included; empty between sentences."""
        self._giving_up: asyncio.TimerHandle | None = None
        """Runs while the answer to `finish` waits for the rest of the sentence."""

    async def feed(self, mulaw: bytes) -> None:
        self._pre_roll += mulaw
        del self._pre_roll[:-_PRE_ROLL]
        if self._said:
            self._said.append(mulaw)
        if self._upsample is None or self._heard_ms >= LONGEST_MS or self._closed:
            return
        self._waiting += mulaw
        while len(self._waiting) >= _CHUNK and not self._closed:
            self._decode(self._upsample)
            # A burst of frames must not hold up the other calls.
            await asyncio.sleep(0)

    async def begin(self) -> None:
        if self._upsample is not None or self._closed:
            return
        if self._giving_up is not None:
            # The caller goes on after a pause: the words so far come with the rest of the sentence.
            self._answer("")
        else:
            self._said = [bytes(self._pre_roll)]
        self._start()
        self._waiting = bytes(self._pre_roll)

    def _start(self) -> None:
        self._upsample = Upsampler()
        self._heard_ms, self._interims = 0, Interims(self._language)
        for decoder in (self._grammar, self._free):
            decoder.set_cmn(_CEPSTRAL_MEAN)
            decoder.start_utt()

    def _decode(self, upsample: Upsampler) -> None:
        chunk, self._waiting = self._waiting[:_CHUNK], self._waiting[_CHUNK:]
        samples = upsample(chunk)
        self._heard_ms += duration_ms(chunk)
        for decoder in (self._grammar, self._free):
            decoder.process_raw(samples, False, False)
        if interim := self._interims.look(_text(self._grammar), _text(self._free), self._heard_ms):
            self._listener(Hypothesis(interim, final=False))

    async def finish(self) -> None:
        if self._giving_up is not None:
            self._answer("")
        if self._upsample is None:
            self._answer("")
            return
        length_ms = self._heard_ms + duration_ms(self._waiting)
        text = await self._end(self._upsample)
        said = b"".join(self._said)[: bytes_of(LONGEST_MS)]
        if self._closed:
            return
        if not text and duration_ms(said) > length_ms:
            # One sentence, cut in two by a pause.
            self._start()
            self._waiting = said
            text = await self._end(self._upsample)
            if self._closed:
                return
        if text or not offline_hearing.is_speech(_text(self._free), length_ms):
            self._said = []
            self._answer(text)
        else:
            self._giving_up = asyncio.get_running_loop().call_later(_CONTINUES_S, self._give_up)

    async def _end(self, upsample: Upsampler) -> str:
        """Decode what waits and end the utterance: its sentence, or nothing."""
        while self._waiting and not self._closed:
            self._decode(upsample)
            await asyncio.sleep(0)
        if self._closed:
            return ""
        self._stop()
        return offline_hearing.judge(self._language, _text(self._grammar), _text(self._free))

    def _stop(self) -> None:
        self._upsample = None
        self._grammar.end_utt()
        self._free.end_utt()

    def _give_up(self) -> None:
        self._said = []
        self._answer(UNINTELLIGIBLE)

    def _answer(self, text: str) -> None:
        if self._giving_up is not None:
            self._giving_up.cancel()
            self._giving_up = None
        confidence = 0.0 if text == UNINTELLIGIBLE else 1.0
        self._listener(Hypothesis(text, final=True, complete=True, confidence=confidence))

    async def close(self) -> None:
        if self._giving_up is not None:
            self._giving_up.cancel()
            self._giving_up = None
        if self._upsample is not None:
            self._stop()
        if not self._closed:
            self._closed = True
            _shelf.put(self._language, (self._grammar, self._free))


def prepare() -> None:
    """Make the language of each scenario, for an agent with the usual interjections: some seconds on a busy machine,
    for which the first call would have to wait otherwise."""
    usual = BargeInProfile()
    for name in scenario.names():
        try:
            offline_language.load(name, usual.stop_words, usual.backchannels)
        except (ScenarioError, InvalidId, UnknownWord) as error:
            log.warning("scenario_unusable", scenario=name, reason=str(error))


async def open_transcriber(profile: AgentProfile, listener: Listener, failure: Failure) -> OfflineTranscriber:
    """A recogniser for the profile's scenario; it never fails in mid-call. Raises CannotServe."""
    interjections = profile.turns.barge_in
    try:
        language = await asyncio.to_thread(
            offline_language.load, profile.scenario, interjections.stop_words, interjections.backchannels
        )
    except (ScenarioError, InvalidId, UnknownWord) as error:
        raise CannotServe(f"scenario {profile.scenario!r}: {error}") from error
    return OfflineTranscriber(language, await _shelf.take(language), listener)
