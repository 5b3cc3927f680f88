"""Handlers that wait, for messages whose delivery does not."""

import asyncio

from shared.in_turn import InTurn


class Handler:
    """Waits with each message until it may go on."""

    def __init__(self) -> None:
        self.begun: list[bytes] = []
        self.done: list[bytes] = []
        self.may_go_on = asyncio.Semaphore(0)

    async def __call__(self, subject: str, payload: bytes) -> None:
        self.begun.append(payload)
        await self.may_go_on.acquire()
        self.done.append(payload)


async def test_one_message_waits_for_the_other_and_the_end_for_all() -> None:
    handler = Handler()
    turns = InTurn(handler)
    for payload in (b"1", b"2", b"3"):
        turns.take("call.c1.audio.out", payload)
    assert handler.begun == []
    draining = asyncio.create_task(turns.drain())
    await asyncio.sleep(0)
    assert handler.begun == [b"1"]
    for _ in range(3):
        assert not draining.done()
        handler.may_go_on.release()
    await draining
    assert handler.done == [b"1", b"2", b"3"]


async def test_who_gives_up_waiting_for_the_end_does_not_stop_the_work() -> None:
    handler = Handler()
    turns = InTurn(handler)
    turns.take("call.c1.audio.out", b"1")
    draining = asyncio.create_task(turns.drain())
    await asyncio.sleep(0)
    draining.cancel()
    handler.may_go_on.release()
    await turns.drain()
    assert handler.done == [b"1"]


async def test_work_begins_anew_after_a_pause() -> None:
    handler = Handler()
    turns = InTurn(handler)
    await turns.drain()
    for payload in (b"1", b"2"):
        handler.may_go_on.release()
        turns.take("call.c1.audio.out", payload)
        await turns.drain()
    assert handler.done == [b"1", b"2"]
