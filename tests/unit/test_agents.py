"""Agent profiles: which number gets which agent, and what a bad file says."""

import os
from pathlib import Path

import pytest

from shared.agents import AgentsFile, AgentsFileError, load

TWO = """
default: front
agents:
  front: {numbers: ["+1"], greeting: Hello}
  mirror: {numbers: ["+2"], pipeline: echo}
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "agents.yaml"
    path.write_text(text)
    return path


def test_the_number_picks_the_agent(tmp_path: Path) -> None:
    directory = load(written(tmp_path, TWO))
    assert directory.by_number("+2").name == "mirror"
    assert directory.by_number("+2").stages == ("speech",)
    assert directory.by_number("+1").stages == ("stt", "llm", "tts")
    assert directory.by_number("+3").name == "front"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "agents.yaml"),
        ("[]", "agents.yaml"),
        ("default: a\nagents: {", "agents.yaml"),
        ("default: b\nagents: {a: {}}", "default agent 'b' is not among a"),
        ("default: a\nagents: {}", "at least 1 item"),
        ("default: a\nagents: {a: {colour: red}}", "agents.0.colour"),
        ("default: a\nagents: {a: {numbers: ['+1']}, b: {numbers: ['+1']}}", "number given twice: +1"),
        ("default: ../a\nagents: {../a: {}}", "does not match"),
        ("default: a\nagents: {a: {stt: {provider: whisper}}}", "agents.0.stt.provider"),
        ("default: a\nagents: {a: {turns: {endpointing_ms: 1}}}", "agents.0.turns.endpointing_ms"),
        ("default: a\nagents: {a: {scenario: ../../etc/passwd}}", "agents.0.scenario"),
    ],
)
def test_a_bad_file_is_named_with_the_place(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(AgentsFileError, match=r"agents\.yaml") as error:
        load(written(tmp_path, text))
    assert said in str(error.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(AgentsFileError, match=r"nothing\.yaml"):
        load(tmp_path / "nothing.yaml")


def test_an_edit_takes_effect_and_a_bad_edit_changes_nothing(tmp_path: Path) -> None:
    path = written(tmp_path, TWO)
    agents = AgentsFile(path)
    path.write_text(TWO.replace("Hello", "Good day"))
    os.utime(path, (1, 1))
    assert agents.refresh().by_number("+1").greeting == "Good day"
    path.write_text("broken: [")
    os.utime(path, (2, 2))
    with pytest.raises(AgentsFileError):
        agents.refresh()
    assert agents.refresh().by_number("+1").greeting == "Good day"
