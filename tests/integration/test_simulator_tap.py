"""Listening to one call, or all, on a real broker."""

import asyncio
from uuid import uuid4

from shared import subjects
from shared.channel import CallChannel
from shared.messages import Message, Playback, TranscriptAgent, TranscriptCaller, TurnCompleted
from shared.nats_bus import NatsBus
from simulator.tap import Exchange, Tap


def timing(turn_id: int) -> TurnCompleted:
    return TurnCompleted(
        turn_id=turn_id,
        generation=turn_id,
        endpointing_ms=1,
        stt_ms=1,
        llm_first_token_ms=1,
        first_clause_ms=1,
        tts_first_audio_ms=1,
        gateway_ms=1,
        bus_ms=1,
        line_ms=1,
        total_ms=8,
    )


def caller(turn_id: int, text: str) -> TranscriptCaller:
    return TranscriptCaller(turn_id=turn_id, text=text)


def agent(turn_id: int, text: str) -> TranscriptAgent:
    return TranscriptAgent(turn_id=turn_id, generation=turn_id, text=text, interrupted=False)


async def test_a_tap_hears_its_call_and_no_other(bus: NatsBus) -> None:
    mine, other = f"sim-{uuid4().hex}", f"sim-{uuid4().hex}"
    at_once: list[Message] = []
    tap = Tap(at_once.append)
    await tap.open(bus, mine)
    for call_id in (other, mine):
        channel = CallChannel(bus, call_id, "llm", 1)
        await channel.send(caller(1, f"I am {call_id}"))
        await channel.send(timing(1))
        await channel.send(agent(1, "hello"))
    assert await tap.until(lambda: tap.since(0).complete, 5)
    exchange = tap.since(0)
    assert (exchange.caller, exchange.agent) == (f"I am {mine}", "hello")
    assert exchange.timing is not None and exchange.timing.total_ms == 8.0
    assert {message.call_id for message in at_once} == {mine}
    await tap.close()


async def test_a_tap_on_all_calls_hears_each_as_it_comes(bus: NatsBus) -> None:
    tap, calls = Tap(), [f"sim-{uuid4().hex}" for _ in range(3)]
    await tap.open(bus)
    heard: list[str] = []

    async def listen() -> None:
        async for message in tap:
            if message.call_id in calls:
                heard.append(message.call_id)
            if len(heard) == 3:
                return

    listening = asyncio.create_task(listen())
    for call_id in calls:
        await CallChannel(bus, call_id, "llm", 1).send(caller(1, "hello"))
    await asyncio.wait_for(listening, 5)
    assert heard == calls
    await tap.close()


async def test_a_tap_hears_the_agents_audio_and_more_when_it_is_asked_to(bus: NatsBus) -> None:
    call_id, plain, curious = f"sim-{uuid4().hex}", Tap(), Tap(clock=lambda: 7.0)
    await plain.open(bus, call_id)
    await curious.open(bus, call_id, ("audio.out", "playback"))
    channel = CallChannel(bus, call_id, "tts", 1)
    await channel.send_audio_out(1, 0, b"\x10" * 800, "Hello ", last=False, turn_id=0, asked_at=0.0)
    await CallChannel(bus, call_id, "gateway", 1).send(Playback(generation=1, state="paused", heard_ms=5, heard=""))
    await CallChannel(bus, call_id, "llm", 1).send(agent(1, "hello"))
    assert await curious.until(lambda: len(curious.messages) == 2, 5)
    assert await plain.until(lambda: bool(plain.messages), 5)
    [piece] = curious.pieces
    assert (piece.came, piece.frame.text, len(piece.frame.payload)) == (7.0, "Hello ", 800)
    assert {type(message) for message in curious.messages} == {Playback, TranscriptAgent}
    assert (plain.pieces, [type(message) for message in plain.messages]) == ([], [TranscriptAgent])
    await plain.close()
    await curious.close()


async def test_what_is_no_message_is_dropped(bus: NatsBus) -> None:
    call_id, tap = f"sim-{uuid4().hex}", Tap()
    await tap.open(bus, call_id)
    await bus.publish(subjects.call(call_id, "transcript.caller"), b"not json")
    await bus.publish(subjects.call(call_id, "transcript.nobody"), b"{}")
    await CallChannel(bus, call_id, "llm", 1).send(agent(1, "hello"))
    assert await tap.until(lambda: bool(tap.messages), 5)
    assert [type(message) for message in tap.messages] == [TranscriptAgent]
    assert not await tap.until(lambda: False, 0.0)
    await tap.close()


def test_an_exchange_is_complete_when_every_turn_was_answered_and_measured() -> None:
    messages: list[Message] = []
    steps = (caller(1, "one"), timing(1), caller(2, "two"), agent(1, "a"), timing(2), agent(2, "b"))
    complete = []
    for message in steps:
        messages.append(message)
        complete.append(Exchange(messages).complete)
    assert complete == [False, False, False, False, False, True]
    assert (Exchange(messages).caller, Exchange(messages).agent) == ("one two", "a b")
    assert not Exchange([]).complete
    assert Exchange([]).timing is None
