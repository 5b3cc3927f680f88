"""What may name a call, and where its messages travel."""

import pytest

from shared import subjects
from shared.ids import InvalidId, check_call_id, check_name
from shared.memory_bus import matches


@pytest.mark.parametrize("call_id", ["CA0123456789abcdef0123456789abcdef", "sim-1", "web_2", "a" * 64])
def test_a_call_id(call_id: str) -> None:
    assert check_call_id(call_id) == call_id
    assert subjects.call(call_id, "audio.in") == f"call.{call_id}.audio.in"
    assert subjects.parse(f"call.{call_id}.speech.final") == subjects.Parsed(call_id, "speech.final")


@pytest.mark.parametrize("call_id", ["", "a.b", "a>", "*", "a b", "a\n", "a\r\nPUB x 0", "ä", "a" * 65, "../x"])
def test_not_a_call_id(call_id: str) -> None:
    with pytest.raises(InvalidId):
        subjects.call(call_id, "audio.in")


@pytest.mark.parametrize("name", ["", "../bella", "Bella", "a/b", "-a", "a.yaml"])
def test_not_a_name(name: str) -> None:
    with pytest.raises(InvalidId):
        check_name(name)


@pytest.mark.parametrize("subject", ["", "call", "call.x", "worker.stt.1", "call.a>.x"])
def test_not_a_subject_of_a_call(subject: str) -> None:
    with pytest.raises(ValueError, match="call"):
        subjects.parse(subject)


@pytest.mark.parametrize(
    ("pattern", "subject", "covered"),
    [
        ("call.1.speech.*", "call.1.speech.final", True),
        ("call.1.speech.*", "call.1.speech", False),
        ("call.1.speech.*", "call.1.speech.final.x", False),
        ("call.*.event.>", "call.1.event.started", True),
        ("call.>", "call", False),
        ("a.b", "a.b", True),
        ("a.b", "a", False),
    ],
)
def test_the_bus_in_memory_matches_as_nats_does(pattern: str, subject: str, covered: bool) -> None:
    assert matches(pattern, subject) is covered
