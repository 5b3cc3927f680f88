"""One call's voice: what travels together, and what never stays behind."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import pytest_asyncio

from services.tts.cutting import Cut
from services.tts.greetings import Greetings, key_of
from shared.audio import bytes_of, duration_ms
from shared.messages import Control
from tests.fakes import profile
from tests.unit.test_tts_session import Booth, end, say

GREETING = "".join(f"word{number} " for number in range(12))


@pytest_asyncio.fixture
async def booth() -> AsyncIterator[Booth]:
    made = Booth()
    await made.session.begin(made.voice)
    yield made
    await made.close()
    await made.bus.close()


async def speak(booth: Booth, generation: int = 1, ms: int = 2000) -> None:
    """The caller gets `ms` to hear."""
    await booth.send(say(generation, "…"))
    for _ in range(0, ms, 500):
        await booth.deliver(generation, 500)
    booth.bus.published.clear()


async def until_published(booth: Booth, count: int) -> None:
    async with asyncio.timeout(5):
        while len(booth.published) < count:
            await asyncio.sleep(0)


def heard(booth: Booth) -> list[tuple[int, int, str]]:
    return [(piece.offset_ms, duration_ms(piece.payload), piece.text) for piece in booth.published]


async def test_words_travel_together_while_the_caller_has_enough_to_hear(booth: Booth) -> None:
    await speak(booth)
    for text, ms in (("One ", 200), ("two ", 250), ("three ", 200), ("four ", 100)):
        await booth.deliver(1, ms, text)
    await booth.deliver(1, 0, last=True)
    assert heard(booth) == [(2000, 650, "One two three "), (2650, 100, "four ")]
    assert [(end // 8, text) for end, text in booth.published[0].words] == [
        (200, "One "),
        (450, "two "),
        (650, "three "),
    ]
    assert [piece.last for piece in booth.published] == [False, True]


async def test_a_word_that_waits_leaves_when_no_other_comes(booth: Booth) -> None:
    await speak(booth, ms=500)
    await booth.deliver(1, 200, "One ")
    await booth.deliver(1, 100, "two ")
    await until_published(booth, 2)
    assert heard(booth) == [(500, 200, "One "), (700, 100, "two ")]
    await booth.deliver(1, 100, "three ")
    await booth.deliver(1, 0, last=True)
    assert "".join(text for _, _, text in heard(booth)) == "One two three "


async def test_words_that_waited_are_not_sent_when_the_reply_was_cleared(booth: Booth) -> None:
    await speak(booth)
    await booth.deliver(1, 200, "Old ")
    await booth.send(Control(action="clear", generation=2), say(2, "New. "))
    await booth.deliver(2, 200, "New. ")
    await booth.deliver(2, 0, last=True)
    assert [(piece.generation, piece.offset_ms, piece.text) for piece in booth.published] == [
        (2, 0, "New. "),
        (2, 200, ""),
    ]


async def test_no_word_is_sent_after_the_end_of_the_call(monkeypatch: pytest.MonkeyPatch) -> None:
    loop, timers = asyncio.get_running_loop(), list[asyncio.TimerHandle]()
    call_at = loop.call_at

    def note(when: float, callback: Callable[..., object], *args: Any, **more: Any) -> asyncio.TimerHandle:
        timer = call_at(when, callback, *args, **more)
        if getattr(callback, "__self__", None) is made.session:
            timers.append(timer)
        return timer

    monkeypatch.setattr(loop, "call_at", note)
    made = Booth()
    await made.session.begin(made.voice)
    await speak(made)
    await made.deliver(1, 200, "One ")
    await made.close()
    await made.bus.close()
    assert [timer.cancelled() for timer in timers] == [True]
    assert made.published == []


async def test_a_recorded_greeting_is_gathered_too() -> None:
    greetings = Greetings()
    booth = Booth(GREETING, greetings)
    key = key_of("scripted", profile().model_copy(update={"greeting": GREETING, "tts": booth.call.profile.tts}))
    texts = [f"{word} " for word in GREETING.split()]
    greetings.keep(booth.call.channel, key, (*(Cut(b"\x01" * bytes_of(250), text) for text in texts), Cut(b"", "")))
    await booth.session.begin(booth.voice)
    await booth.send(say(1, GREETING, turn_id=0), end(1, turn_id=0))
    await until_published(booth, 8)
    assert [length for _, length, _ in heard(booth)] == [250, 250, 250, 500, 500, 500, 500, 250]
    assert "".join(text for _, _, text in heard(booth)) == GREETING
    assert [piece.last for piece in booth.published] == [False] * 7 + [True]
    await booth.close()
    await booth.bus.close()
