"""How long the messages are that the caller's frames become."""

import pytest

from services.gateway.joining import JOINED_MS, LONG_MS, PROMPT_MS, Joining
from shared.audio import FRAME_BYTES, FRAME_MS, SILENCE, is_faint

SOUND, QUIET = b"\x10" * FRAME_BYTES, SILENCE * FRAME_BYTES


def lengths(line: str, *, agent_speaks: bool = False) -> list[tuple[int, int]]:
    """(end, length) in ms of the messages that a caller's frames become: s is a sound, q none."""
    joining, made = Joining(lambda: agent_speaks), []
    for index, kind in enumerate(line):
        joining.add(index * FRAME_MS, SOUND if kind == "s" else QUIET)
        if joining.length_ms >= joining.wanted_ms:
            made.append((joining.ends_ms, joining.length_ms))
            joining.take()
    return made


def test_a_caller_who_speaks_is_sent_in_messages_of_four_frames() -> None:
    assert lengths("s" * 8) == [(80, JOINED_MS), (160, JOINED_MS)]


def test_a_caller_who_speaks_while_the_agent_does_in_shorter_ones() -> None:
    assert lengths("s" * 8, agent_speaks=True) == [(40, 40), (80, 40), (120, 40), (160, 40)]


def test_the_second_after_a_sound_is_as_the_sound() -> None:
    assert {length for _, length in lengths("s" + "q" * 49)} == {JOINED_MS}


def test_a_silence_is_sent_in_long_ones() -> None:
    assert lengths("q" * 80)[-3:] == [(1160, LONG_MS), (1360, LONG_MS), (1560, LONG_MS)]


def test_while_the_agent_speaks_a_silence_begins_sooner() -> None:
    assert lengths("s" + "q" * 40, agent_speaks=True)[-3:] == [(320, PROMPT_MS), (520, LONG_MS), (720, LONG_MS)]


@pytest.mark.parametrize("held", range(2, 10))
def test_a_sound_after_a_silence_does_not_wait(held: int) -> None:
    # A silence of 280 ms in short messages comes first.
    messages = lengths("q" * (14 + held) + "sss", agent_speaks=True)
    assert messages[-2:] == [(300 + 20 * held, 20 + 20 * held), (340 + 20 * held, PROMPT_MS)]


def test_faint_is_what_nobody_can_hear() -> None:
    assert is_faint(QUIET)
    assert is_faint(b"")
    assert not is_faint(QUIET + b"\x10")
    # 56 of 32768 is -55 dBFS; the step above it is 64.
    assert is_faint(b"\xf8\x78")
    assert not is_faint(b"\xf7")
