"""The catalogue of faults, what callers say under them, and the table of the results."""

import re

import pytest

from simulator.chaos import catalogue, table
from simulator.chaos.lines import asks, scripts
from simulator.chaos.needs import with_fallbacks
from simulator.chaos.residue import Holding, Memory, grown
from simulator.chaos.trial import Trial
from simulator.chaos.verdict import CallVerdict
from tests.fakes import profile


def trial(**changes: object) -> Trial:
    calls = [CallVerdict("agent", silence_ms=ms) for ms in (500, 700, 1900)]
    return Trial("stt-kill", calls, calls[1:], seconds=30.4, **changes)  # type: ignore[arg-type]


def test_every_fault_has_a_name_of_its_own() -> None:
    names = [entry.name for entry in catalogue.CATALOGUE]
    assert len(set(names)) == len(names)
    assert all(re.fullmatch(r"[a-z0-9-]+", name) for name in names)


def test_faults_are_chosen_by_globs_in_the_catalogues_order() -> None:
    assert [entry.name for entry in catalogue.chosen(["tts-kill", "stt-[ks]*"])] == ["stt-kill", "stt-stop", "tts-kill"]
    assert catalogue.chosen([]) == list(catalogue.CATALOGUE)
    with pytest.raises(KeyError, match="fire"):
        catalogue.chosen(["stt-kill", "fire"])


def test_each_role_of_each_provider_fails_in_each_way() -> None:
    names = {entry.name for entry in catalogue.chosen(["*-provider-*"])}
    assert names == {f"{role}-provider-{how}" for role in catalogue.ROLES for how in catalogue.PROVIDER_FAULTS}


def test_the_answers_of_one_call_belong_to_it_alone() -> None:
    written = scripts(profile(), 5, seed=3)
    answers = [script.lines[0].expected.text for script in written]
    assert len(set(answers)) == 5
    for script in written:
        number = script.lines[0].said.removeprefix("my order number is ")
        assert number in script.lines[1].expected.text
        assert [line.said for line in script.lines] == [
            line.said for line in scripts(profile(), 5, seed=3)[written.index(script)].lines
        ]


def test_what_an_agent_asks_is_known_by_its_last_words() -> None:
    known = asks(profile())
    assert "I am sorry, I did not understand that. Could you say it again?" in known.texts
    assert all(known.sounds)


def test_cascades_fall_back_on_the_offline_providers() -> None:
    document = {"default": "a", "agents": {"a": {"stt": {"model": "m"}}, "b": {"pipeline": "echo"}}}
    agents = with_fallbacks(document)["agents"]
    assert isinstance(agents, dict)
    assert agents["a"]["stt"] == {"model": "m", "fallbacks": [{"provider": "offline"}]}
    assert set(agents["a"]) == {"stt", "llm", "tts"}
    assert agents["b"] == {"pipeline": "echo"}


def test_the_silences_are_those_of_the_calls_that_were_hit() -> None:
    assert table.silences(trial()) == [700, 1900, 1900]
    assert table.row(trial())[:4] == ("stt-kill", "3", "2", "3")


def test_a_fault_is_right_only_if_every_call_went_on_with_nothing_wrong() -> None:
    assert trial().right
    assert not trial(failures=["stt did not end"]).right
    assert not Trial("none").right
    wrong, gone = trial(), trial()
    wrong.calls[0].wrong = 1
    gone.calls[0].went_on = False
    assert not wrong.right and not gone.right
    assert table.row(gone)[3] == "2"


def test_lost_words_are_told_by_who_said_them() -> None:
    result = trial()
    result.calls[0].caller_words_lost, result.calls[2].agent_words_lost = 2, 3
    assert table.words_lost(result) == "5 (2 + 3)"
    assert table.machine(result)["words_lost"] == 5


def test_the_table_is_put_between_its_marks() -> None:
    document = f"# Title\n{table.BEGIN}\nold\n{table.END}\nbehind\n"
    placed = table.placed(document, table.markdown([trial()]))
    assert placed.startswith(f"# Title\n{table.BEGIN}\n| fault |")
    assert placed.endswith(f"|\n{table.END}\nbehind\n")
    assert "old" not in placed
    assert table.placed(placed, table.markdown([trial()])) == placed
    with pytest.raises(ValueError, match="chaos"):
        table.placed("no marks", [])


def test_the_table_for_people_has_columns() -> None:
    head, row = table.text([trial()])
    assert head.index("went on") == row.index("3", head.index("hit") + 1)


def test_processes_that_hold_more_than_before_are_named() -> None:
    before = [Holding("stt", 20, 5, 100.0, 9), Holding("llm", 20, 5, 100.0, 9)]
    after = [Holding("stt", 21, 5, 900.0, 11), Holding("llm", 19, 14, 100.0, 12), Holding("tts-1", 99, 99, 1.0, 99)]
    told = list(grown(before, after, threads=8))
    assert told == [
        "stt holds 21 files and sockets, 20 before",
        "llm has 14 threads, 5 before",
        "llm has 12 tasks, 9 before",
    ]
    assert list(grown(before, before, threads=0)) == []


def test_the_slope_of_memory_is_that_of_the_best_line() -> None:
    memory = Memory()
    assert memory.slope == 0
    for calls, mb in ((0, 100.0), (100, 103.0), (200, 106.0)):
        memory.note(calls, mb)
    assert memory.slope == pytest.approx(3.0)
