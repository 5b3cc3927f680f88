"""Scripts of calls: what may stand in them, and what a mistake is called."""

from pathlib import Path

import pytest

from simulator.commands.scenario import shipped
from simulator.rehearsal.screenplay import Screenplay, ScreenplayError, load


def play(folder: Path, text: str) -> Screenplay:
    path = folder / "call.yaml"
    path.write_text(text)
    return load(path)


def steps(folder: Path, text: str) -> Screenplay:
    return play(folder, f"title: t\nsteps:\n{text}")


def test_every_action_has_a_short_form_for_people(tmp_path: Path) -> None:
    script = """
  - hear_greeting
  - cough
  - throat: {ms: 600}
  - hum:
  - noise: {seed: 3}
  - hold_music: {s: 6}
  - press: "12#"
  - silence: {s: 3}
  - echo: {delay_ms: 200}
  - echo: off
  - turns: {endpointing_ms: 900}
  - {say: [I would like, 800, a table], over_reply_ms: 500}
  - expect: {said: [one, two], interrupted: false}
  - hang_up
"""
    assert [str(step) for step in steps(tmp_path, script).steps] == [
        "hear_greeting",
        "cough",
        "throat ms: 600",
        "hum",
        "noise seed: 3",
        "hold_music s: 6.0",
        "press 12#",
        "silence s: 3.0",
        "echo delay_ms: 200",
        "echo off",
        "turns endpointing_ms: 900",
        "say “I would like … a table” (over_reply_ms 500)",
        "expect said: one | two, interrupted: false",
        "hang_up",
    ]


@pytest.mark.parametrize(
    ("step", "complaint"),
    [
        ("- dance", "step 1: dance: Extra inputs are not permitted"),
        ("- {say: hello, press: '1'}", "step 1: Value error, one action or `expect` expected, not say and press"),
        ("- {at_once: true}", "step 1: Value error, one action or `expect` expected, not none"),
        ("- say: no", "step 1: say"),
        ("- say: '…'", "step 1: say: Value error, words to say expected"),
        ("- say: [hello, 5]", "step 1: say: Value error, a pause lasts 20 to 60000 ms"),
        ("- hear_greeting\n  - expect: {}", "step 2: expect: Value error, nothing is expected"),
        ("- expect: {wait_s: 3}", "step 1: expect: Value error, nothing is expected"),
        ("- expect: {hears: hello}", "step 1: expect.hears: Extra inputs are not permitted"),
        ("- expect: {heard: {starts: a, contains: b}}", "step 1: expect.heard"),
        ("- {expect: {silent: true}, at_once: true}", "`expect` takes no over_reply_ms and no at_once"),
        ("- press: '12e'", "step 1: press"),
        ("- echo: {delay_ms: 0}", "step 1: echo"),
        ("- turns: {barge_in: {min_words: none}}", "step 1: turns: Value error, barge_in.min_words"),
        ("- turns: {bargein: {}}", "step 1: turns: Value error, bargein: Extra inputs"),
    ],
)
def test_a_mistake_is_named_by_file_step_and_key(step: str, complaint: str, tmp_path: Path) -> None:
    with pytest.raises(ScreenplayError) as wrong:
        steps(tmp_path, f"  {step}\n")
    assert str(wrong.value).startswith(f"{tmp_path}/call.yaml: ")
    assert complaint in str(wrong.value)


def test_a_file_that_is_no_script_says_so(tmp_path: Path) -> None:
    with pytest.raises(ScreenplayError, match=r"none\.yaml: No such file"):
        load(tmp_path / "none.yaml")
    with pytest.raises(ScreenplayError, match="line 2: "):
        play(tmp_path, "title: t\nsteps: {[")
    with pytest.raises(ScreenplayError, match="title: Field required"):
        play(tmp_path, "steps: [hang_up]")


def test_all_that_is_said_is_known_piece_by_piece_and_as_a_whole(tmp_path: Path) -> None:
    script = "  - say: [I would like, 800, a table]\n  - say: hello\n  - say: hello\n"
    assert steps(tmp_path, script).texts() == ["I would like", "a table", "I would like a table", "hello"]


def test_at_least_a_dozen_scripts_ship_and_can_be_read() -> None:
    titles = {load(path).title for path in shipped()}
    assert len(titles) == len(shipped()) >= 12
