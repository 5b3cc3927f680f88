"""From Flux's messages to hypotheses."""

from typing import Any

import msgspec

from services.stt.provider import Hypothesis
from services.stt.providers.deepgram_messages import TurnInfo
from services.stt.providers.deepgram_turns import LATE_MS, FluxTurns

NOTHING = Hypothesis("", final=True, complete=True)


def info(event: str, text: str, end_ms: int, *, start_ms: int = 0, timed: bool = True) -> TurnInfo:
    """Each word takes 200 ms."""
    words: list[dict[str, Any]] = []
    for index, word in enumerate(text.split()):
        start = (start_ms + index * 200) / 1000
        words.append({"word": word, "confidence": 0.9, **({"start": start, "end": start + 0.2} if timed else {})})
    return msgspec.convert(
        {
            "type": "TurnInfo",
            "request_id": "r",
            "sequence_id": 1,
            "event": event,
            "turn_index": 0,
            "audio_window_start": 0.0,
            "audio_window_end": end_ms / 1000,
            "transcript": text,
            "words": words,
            "end_of_turn_confidence": 0.4,
        },
        TurnInfo,
    )


def texts(hypotheses: list[Hypothesis]) -> list[tuple[str, bool, bool]]:
    return [(hypothesis.text, hypothesis.complete, hypothesis.turn_over) for hypothesis in hypotheses]


def test_a_turn_grows_is_likely_over_goes_on_and_is_over() -> None:
    turns = FluxTurns()
    told = [
        *turns.hear(info("StartOfTurn", "A", 400)),
        *turns.hear(info("Update", "A table", 640)),
        *turns.hear(info("EagerEndOfTurn", "A table", 840)),
        *turns.hear(info("TurnResumed", "A table", 1000)),
        *turns.hear(info("Update", "A table please", 1240)),
        *turns.hear(info("EagerEndOfTurn", "A table please", 1400)),
        *turns.hear(info("EndOfTurn", "A table please", 1600)),
    ]
    assert [(hypothesis.text, hypothesis.likely_over, hypothesis.final) for hypothesis in told] == [
        ("A", False, False),
        ("A table", False, False),
        ("A table", True, False),
        ("A table", False, False),
        ("A table please", False, False),
        ("A table please", True, False),
        ("A table please", False, True),
    ]
    assert told[-1].complete
    assert told[-1].turn_over


def test_words_carry_their_times_and_the_confidence_is_that_of_the_words() -> None:
    (over,) = FluxTurns().hear(info("EndOfTurn", "A table", 1600, start_ms=1000))
    assert [(word.text, word.start_ms, word.end_ms) for word in over.words] == [
        ("A", 1000, 1200),
        ("table", 1200, 1400),
    ]
    assert over.confidence == 0.9


def test_interim_text_tells_where_it_begins_and_ends() -> None:
    turns = FluxTurns()
    (grown,) = turns.hear(info("StartOfTurn", "A table for two", 1600, start_ms=1000))
    assert [(word.text, word.start_ms, word.end_ms) for word in grown.words] == [("A", 1000, 1200), ("two", 1600, 1800)]
    (over,) = turns.hear(info("EndOfTurn", "A table for two", 1600, start_ms=1000))
    assert len(over.words) == 4


def test_words_without_times_are_left_out_and_the_text_is_not() -> None:
    (over,) = FluxTurns().hear(info("EndOfTurn", "A table", 1600, timed=False))
    assert (over.text, over.words) == ("A table", ())


def test_an_update_that_says_nothing_new_is_not_told() -> None:
    turns = FluxTurns()
    assert turns.hear(info("Update", "", 240)) == []
    turns.hear(info("StartOfTurn", "A", 480))
    assert turns.hear(info("Update", "A", 720)) == []


def test_a_likely_end_stays_one_until_the_turn_is_resumed() -> None:
    turns = FluxTurns()
    turns.hear(info("StartOfTurn", "A table", 480))
    (likely,) = turns.hear(info("EagerEndOfTurn", "A table", 700))
    assert likely.likely_over
    assert turns.hear(info("Update", "A table", 940)) == []
    (resumed,) = turns.hear(info("TurnResumed", "A table", 1000))
    assert not resumed.likely_over


def test_a_finish_in_an_open_turn_is_answered_by_its_end() -> None:
    turns = FluxTurns()
    turns.hear(info("StartOfTurn", "A table", 480))
    turns.finish(700)
    assert turns.hear(info("Update", "A table", 3000)) == []
    assert turns.waiting
    assert texts(turns.hear(info("EndOfTurn", "A table", 3200))) == [("A table", True, True)]
    assert not turns.waiting


def test_the_text_of_a_turn_with_a_pause_comes_with_the_answer_to_the_last_finish() -> None:
    turns = FluxTurns()
    turns.hear(info("StartOfTurn", "A table", 480))
    turns.finish(700)
    turns.hear(info("Update", "A table please", 1600))
    turns.finish(1800)
    assert texts(turns.hear(info("EndOfTurn", "A table please", 2000))) == [
        ("", True, False),
        ("A table please", True, True),
    ]


def test_the_end_of_a_turn_does_not_answer_a_finish_of_the_next_one() -> None:
    turns = FluxTurns()
    turns.hear(info("StartOfTurn", "Yes", 480))
    turns.finish(700)
    turns.finish(2500)
    assert texts(turns.hear(info("EndOfTurn", "Yes", 900))) == [("Yes", True, True)]
    assert turns.waiting
    turns.hear(info("StartOfTurn", "No", 2480, start_ms=2200))
    assert texts(turns.hear(info("EndOfTurn", "No", 2700, start_ms=2200))) == [("No", True, True)]
    assert not turns.waiting


def test_a_finish_after_a_noise_is_answered_when_flux_has_heard_enough_silence() -> None:
    turns = FluxTurns()
    turns.finish(1000)
    assert turns.hear(info("Update", "", 1000 + LATE_MS - 1)) == []
    assert turns.hear(info("Update", "", 1000 + LATE_MS)) == [NOTHING]
    assert turns.hear(info("Update", "", 2000)) == []


def test_words_after_a_noise_do_not_answer_for_it_and_are_not_kept_from_the_next_utterance() -> None:
    turns = FluxTurns()
    turns.finish(1000)
    first = turns.hear(info("StartOfTurn", "Hello", 1280, start_ms=1050))
    assert texts(first) == [("", True, False), ("Hello", False, False)]
    assert not turns.waiting


def test_a_turn_without_words_answers_and_is_no_turn() -> None:
    turns = FluxTurns()
    assert turns.hear(info("StartOfTurn", "", 480)) == []
    turns.finish(700)
    assert turns.hear(info("EndOfTurn", "", 2000)) == [NOTHING]
    assert turns.hear(info("EndOfTurn", "", 4000)) == []


def test_giving_up_answers_with_what_was_said_so_far() -> None:
    turns = FluxTurns()
    turns.hear(info("StartOfTurn", "A table", 480))
    turns.finish(700)
    turns.finish(1500)
    assert texts(turns.give_up()) == [("", True, False), ("A table", True, False)]
    assert not turns.waiting


def test_after_giving_up_only_what_is_new_is_told() -> None:
    turns = FluxTurns()
    turns.hear(info("StartOfTurn", "A table", 480))
    turns.finish(700)
    turns.give_up()
    assert turns.hear(info("Update", "A table", 4000)) == []
    assert texts(turns.hear(info("Update", "A table please", 4240))) == [("please", False, False)]
    (over,) = turns.hear(info("EndOfTurn", "A table please", 4500))
    assert (over.text, over.turn_over, [word.text for word in over.words]) == ("please", True, ["please"])
    assert texts(turns.hear(info("EndOfTurn", "Thank you", 9000))) == [("Thank you", True, True)]


def test_giving_up_without_a_turn_answers_with_nothing() -> None:
    turns = FluxTurns()
    turns.finish(700)
    assert turns.give_up() == [NOTHING]
    assert turns.give_up() == []
