"""What README.md says of the code is so."""

import re

from shared.agents import AgentProfile
from shared.messages import MESSAGES
from tests.fakes import ROOT
from tools.subject_table import update

README = (ROOT / "README.md").read_text()


def test_the_subject_table_is_that_of_the_code() -> None:
    assert update(README) == README, "run `python -m tools.subject_table`"


def test_every_message_travels_on_a_subject_of_its_own() -> None:
    assert len(MESSAGES) == len({message.__name__ for message in MESSAGES.values()})
    assert all(re.fullmatch(r"[a-z]+(\.[a-z]+)?", suffix) for suffix in MESSAGES)


def test_every_make_target_of_the_readme_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"(?:`|^|=true )make ([a-z-]+)", README, re.MULTILINE))
    assert "call" in named
    assert named <= targets


def test_every_part_of_a_profile_is_in_the_table() -> None:
    table = README[README.index("## Agents") : README.index("## The simulator")]
    for name in AgentProfile.model_fields:
        assert f"`{name}" in table or f".{name}" in table or name == "name", name


def test_every_room_is_in_the_house() -> None:
    house = README[README.index("## The house") :]
    for folder in ("services/gateway", "services/stt", "services/llm", "services/tts", "services/speech", "simulator"):
        assert f"{folder}/" in house
        assert (ROOT / folder).is_dir()


def test_every_metric_is_in_the_readme() -> None:
    source = "".join(path.read_text() for room in ("services", "shared") for path in (ROOT / room).rglob("*.py"))
    metrics = set(re.findall(r'"trunkline_([a-z_]+)"', source))
    assert metrics
    assert {name for name in metrics if f"`{name}`" not in README} == set()
