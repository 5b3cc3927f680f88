"""What callers may ask, and what the agent then says."""

from itertools import islice
from pathlib import Path

import pytest

from shared import phrases, scenario
from shared.ids import InvalidId
from shared.scenario import Intent, Scenario, ScenarioError

BELLA = scenario.load("bella")


def test_the_script_is_answered_word_for_word() -> None:
    said: list[str] = []
    for line in BELLA.script:
        said.append(line.say)
        assert BELLA.respond(said) == line.hear
    assert len(said) >= 3


@pytest.mark.parametrize("intent", [intent.name for intent in BELLA.intents])
def test_every_phrase_leads_to_its_intent(intent: str) -> None:
    for tree in BELLA.trees()[intent]:
        for sentence in islice(phrases.expand(tree, BELLA.slots), 300):
            understood = BELLA.understand(sentence)
            assert understood is not None
            assert understood[0].name == intent, sentence


@pytest.mark.parametrize(
    ("said", "intent", "slots"),
    [
        ("Um, what are your opening hours, please?", "hours", {}),
        ("Hello! I'd say a table for two, please.", "book", {"party": "two"}),
        ("on Friday at eight o'clock please", "when", {"day": "friday", "hour": "eight"}),
        ("Where is my order four seven one one?", "order", {"digit": "four seven one one"}),
        ("My order number is 4 7 1 1.", "order", {"digit": "four seven one one"}),
        ("keys 4 7 1 1", "order", {"digit": "four seven one one"}),
        ("What's on it? Tell me about the menu!", "menu", {}),
    ],
)
def test_a_phrase_is_found_within_what_was_said(said: str, intent: str, slots: dict[str, str]) -> None:
    understood = BELLA.understand(said)
    assert understood is not None
    assert (understood[0].name, understood[1]) == (intent, slots)


@pytest.mark.parametrize(
    "said", ["", "what is the meaning of life", "what are your opening", "address", "keys 4 7 1", "keys 4 7 1 1 9"]
)
def test_anything_else_is_not_understood(said: str) -> None:
    assert BELLA.understand(said) is None
    assert BELLA.respond([said]) == BELLA.fallback


def test_words_that_only_contain_a_phrase_do_not_match() -> None:
    words = Scenario(name="x", intents=(Intent(name="a", phrases=("open",), reply="Yes."),), fallback="No.")
    assert words.respond(["reopen opening"]) == "No."
    assert words.respond(["is it open now"]) == "Yes."


def test_keys_are_understood_and_never_said() -> None:
    assert BELLA.respond(["keys 0 7 1 1"]) == BELLA.respond(["where is my order zero seven one one"])
    sentences = {
        sentence
        for trees in BELLA.trees().values()
        for tree in trees
        for sentence in phrases.expand(tree, dict.fromkeys(BELLA.slots, ("x",)))
    }
    assert sentences
    assert not any("keys" in sentence for sentence in sentences)


@pytest.mark.parametrize(
    ("said", "ends"),
    [
        (("thank you very much goodbye",), True),
        (("goodbye", "what are your opening hours"), False),
        (("what are your opening hours", "Goodbye!"), True),
        (("mumble mumble",), False),
        ((), False),
    ],
)
def test_the_call_ends_with_the_intent_that_says_so(said: tuple[str, ...], ends: bool) -> None:
    assert BELLA.ends_call(said) is ends


def test_the_longer_phrase_wins() -> None:
    longer = Intent(name="long", phrases=("are you open today",), reply="Today.")
    shorter = Intent(name="short", phrases=("are you open",), reply="Always.")
    words = Scenario(name="x", intents=(shorter, longer), fallback="No.")
    assert words.respond(["are you open today"]) == "Today."
    assert words.respond(["are you open"]) == "Always."


def test_a_slot_that_was_not_heard_yet_is_asked_for() -> None:
    assert "how many people" in BELLA.respond(["on friday at eight"])
    assert BELLA.respond(["what was my order number"]) == "You have not told me your order number yet."


def test_a_later_value_of_a_slot_replaces_the_earlier_one() -> None:
    said = ["a table for two please", "a table for five please", "on friday at eight"]
    assert BELLA.respond(said) == "Done. Your table for five is booked for friday at eight o'clock."


def test_a_turn_that_was_not_understood_changes_nothing() -> None:
    said = ["a table for two please", "mumble mumble", "on friday at eight"]
    assert "Your table for two" in BELLA.respond(said)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "x.yaml"),
        ("name: [", "x.yaml"),
        ("name: x\nfallback: sorry\nintents: []", "x.yaml: intents"),
        ("name: x\nfallback: sorry\nintents: [{name: a, phrases: ['(b'], reply: c}]", "not closed"),
        ("name: x\nfallback: sorry\nintents: [{name: a, phrases: ['{b}'], reply: c}]", "the slot 'b'"),
        ("name: x\nfallback: sorry\nintents: [{name: a, phrases: [b], keys: ['{c}'], reply: d}]", "the slot 'c'"),
        ("name: x\nfallback: sorry\nintents: [{name: a, phrases: [b], keys: ['[d'], reply: d}]", "not closed"),
        ("name: x\nfallback: sorry\nintents: [{name: a, phrases: [b], reply: 'For {c}.'}]", "names the slot 'c'"),
        ("name: x\nfallback: sorry\nslots: {c: [Two]}\nintents: [{name: a, phrases: [b], reply: c}]", "never be heard"),
    ],
)
def test_a_file_that_cannot_be_used_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, why: str
) -> None:
    (tmp_path / "x.yaml").write_text(text)
    monkeypatch.setattr(scenario, "FOLDER", tmp_path)
    with pytest.raises(ScenarioError, match=why):
        scenario.load("x")


def test_a_scenario_that_is_not_there_says_which() -> None:
    with pytest.raises(ScenarioError, match=r"nowhere\.yaml"):
        scenario.load("nowhere")
    with pytest.raises(InvalidId):
        scenario.load("../agents")
