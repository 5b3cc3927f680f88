"""Words compared, silences measured: what the judgement on a call under a fault is made of."""

from simulator.chaos.silence import gaps, longest_ms
from simulator.chaos.words import compare, contains


def test_words_that_are_all_there_miss_nothing() -> None:
    result = compare(["a", "table", "for", "four"], ["a", "table", "for", "four"])
    assert (result.found, result.missing, result.more) == (4, (), ())


def test_words_that_are_not_there_are_named_by_their_place() -> None:
    result = compare(["a", "table", "for", "four", "please"], ["a", "for", "please"])
    assert (result.found, result.missing, result.more) == (3, (1, 3), ())


def test_words_that_are_there_besides_are_more() -> None:
    result = compare(["a", "table", "for", "four"], ["a", "table", "a", "table", "for", "four", "now"])
    assert result.found == 4 and result.missing == ()
    assert sorted(result.more) == ["a", "now", "table"]


def test_the_order_of_words_matters() -> None:
    assert compare(["four", "two"], ["two", "four"]).found == 1


def test_nothing_expected_and_nothing_there() -> None:
    assert compare([], ["hello"]).more == ("hello",)
    assert compare(["hello"], []).missing == (0,)


def test_a_phrase_is_contained_only_without_a_break() -> None:
    words = ["oh", "are", "you", "still", "there"]
    assert contains(words, ["are", "you", "still", "there"])
    assert not contains(words, ["are", "you", "there"])
    assert not contains(words, [])


def test_the_wait_for_an_answer_and_its_pauses_are_silences() -> None:
    found = list(gaps(10.0, 20.0, [(10.5, 12.0), (14.0, 15.0)], complete=True))
    assert found == [(10.0, 10.5), (12.0, 14.0)]


def test_the_end_of_an_answer_that_broke_off_is_silence_too() -> None:
    assert list(gaps(10.0, 20.0, [(10.5, 12.0)], complete=False)) == [(10.0, 10.5), (12.0, 20.0)]


def test_no_answer_is_silence_until_the_caller_gives_up() -> None:
    assert list(gaps(10.0, 25.0, [], complete=False)) == [(10.0, 25.0)]


def test_the_agents_voice_over_the_callers_last_word_leaves_no_wait() -> None:
    assert list(gaps(10.0, 20.0, [(9.0, 11.0), (10.5, 12.0)], complete=True)) == []


def test_the_longest_silence_is_one_that_the_fault_can_have_made() -> None:
    silences = [(1.0, 9.0), (10.0, 12.0), (20.0, 21.0)]
    assert longest_ms(silences, since=11.0) == 2000
    assert longest_ms(silences, since=15.0) == 1000
    assert longest_ms(silences, since=30.0) == 0
