"""A gateway without sockets on a bus in memory, its workers, and a clock that a test moves."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

from services.gateway.calls import CallStore
from services.gateway.keeper import Keeper
from services.gateway.knocking import Knocks
from services.gateway.leases import LeaseDesk
from services.gateway.lines import OpenLine
from services.gateway.losses import Judge
from services.gateway.switchboard import Connect, Switchboard
from services.gateway.takeover import Patience, Takeovers
from shared import subjects
from shared.agents import AgentsFile
from shared.bus import Subscription
from shared.channel import CallChannel
from shared.memory_bus import MemoryBus
from shared.messages import AudioIn
from shared.messages.lease import LeaseReply, LeaseRequest
from shared.messages.worker import Heartbeat
from shared.roster import Roster
from tests.fakes import ROOT, FakeMedia

STEP_S = 0.1
APOLOGY = b"\x10" * 80
MOMENT = b"\x20" * 80
IMPATIENT = Patience(retry_s=0.01, longest_retry_s=0.02, moment_s=0.1, give_up_s=2.0)


class Hand:
    """A worker that grants what it is asked, until a test lets it drain, hang or die."""

    def __init__(self, bus: MemoryBus, stage: str, name: str) -> None:
        self.bus = bus
        self.stage = stage
        self.name = name
        self.state = "granted"
        self.draining = False
        self.beats = True
        self.gaps = 0
        self.before_grant: Callable[[], Awaitable[None]] | None = None
        self.requests: list[LeaseRequest] = []
        self.channels: list[CallChannel] = []
        self.frames: list[AudioIn] = []
        self._awake = asyncio.Event()
        self._awake.set()
        self._doors: list[Subscription] = []

    async def start(self) -> "Hand":
        own, stage = self.name, self.stage
        self._doors = [
            await self.bus.respond(subjects.knock(stage, own), self._open_door, queue=own),
            await self.bus.respond(subjects.lease_of(stage, own), self._take, queue=own),
            await self.bus.respond(subjects.lease(stage), self._take, queue=stage),
        ]
        return self

    async def _open_door(self, payload: bytes) -> bytes:
        await self._awake.wait()
        return b""

    async def _take(self, payload: bytes) -> bytes:
        request = LeaseRequest.model_validate_json(payload)
        self.requests.append(request)
        await self._awake.wait()
        if self.before_grant is not None:
            await self.before_grant()
        if self.state == "granted":
            channel = CallChannel(self.bus, request.call_id, self.stage, request.epoch)
            self.channels.append(channel)
            if self.stage == "stt":
                await channel.on_audio_in(self.frames.append)
        reply = LeaseReply.model_validate({"state": self.state, "worker": self.name})
        return reply.model_dump_json().encode()

    def hang(self) -> None:
        """As SIGSTOP: everything is still connected, and nothing happens."""
        self._awake.clear()
        self.beats = False

    def wake(self) -> None:
        """As SIGCONT."""
        self._awake.set()
        self.beats = True

    async def die(self) -> None:
        self.beats = False
        for door in self._doors:
            await door.drain()

    async def drain(self) -> None:
        self.draining = True
        await self._doors[2].drain()


class Exchange:
    """A switchboard with its keeper, and one worker of each stage of a cascade."""

    def __init__(self, patience: Patience = IMPATIENT, lease_timeout_s: float = 0.05) -> None:
        self.now = 100.0
        self.bus = MemoryBus()
        self.beats = True
        self.hands: dict[str, Hand] = {}
        self.roster = Roster(lambda: self.now, own="gw-1")
        self.knocks = Knocks(self.bus, lambda: self.now)
        self.judge = Judge(self.roster, self.knocks.misses, "gw-1", lambda: self.bus.gaps)
        self.desk = LeaseDesk(self.bus, "gw-1", lease_timeout_s, self.roster)
        self.patience = patience
        self.store: CallStore
        self.switchboard: Switchboard
        self.keeper: Keeper
        self._carrying: list[asyncio.Task[str]] = []

    async def start(self) -> None:
        self.store = await CallStore.open(self.bus)
        agents = AgentsFile(Path(ROOT / "agents.yaml"))
        self.switchboard = Switchboard(
            self.bus, self.store, self.desk, self.roster, agents, "gw-1", APOLOGY, 3600, MOMENT, self.judge
        )
        takeovers = Takeovers(self.bus, self.store, self.desk, self.judge, self.patience)
        self.keeper = Keeper(self.bus, self.switchboard.lines, self.knocks, self.judge, takeovers)
        for name in ("stt-1", "llm-1", "tts-1"):
            await self.hire(name)
        await self.go(2)

    async def hire(self, name: str) -> Hand:
        hand = self.hands[name] = await Hand(self.bus, name.split("-")[0], name).start()
        self.beat()
        return hand

    def beat(self) -> None:
        """Everybody beats who is able to."""
        if self.beats:
            self.roster.note(_heartbeat("gateway", "gw-1", self.bus.gaps))
        for hand in self.hands.values():
            if hand.beats:
                self.roster.note(_heartbeat(hand.stage, hand.name, hand.gaps, draining=hand.draining))

    async def go(self, seconds: float) -> None:
        """Let time pass; the keeper looks at each step."""
        for _ in range(round(seconds / STEP_S)):
            self.now += STEP_S
            self.beat()
            self.keeper.round()
            await self.settle()

    async def settle(self) -> None:
        """Let everything happen that waits for nothing but its turn."""
        for _ in range(30):
            await asyncio.sleep(0)
        await self.bus.settle()

    async def until(self, done: Callable[[], object]) -> None:
        """Return when `done`, while the keeper looks and time stands still."""
        async with asyncio.timeout(5):
            while not done():
                self.keeper.round()
                await asyncio.sleep(0.001)

    async def ring(self, call_id: str = "c1") -> Connect:
        answer = await self.switchboard.answer(call_id, "+4912345", "+15550100")
        assert isinstance(answer, Connect)
        return answer

    async def connect(self, call_id: str = "c1") -> tuple[OpenLine, FakeMedia]:
        """A call whose line is open."""
        media = FakeMedia()
        opened = await self.switchboard.connect(call_id, (await self.ring(call_id)).token, media)
        assert opened is not None
        self._carrying.append(asyncio.create_task(self.switchboard.carry(opened)))
        return opened, media

    async def stop(self) -> None:
        for opened in self.switchboard.lines.all():
            opened.line.close("max_duration")
        await asyncio.wait_for(asyncio.gather(*self._carrying), 5)
        self.keeper.stop()
        self.switchboard.endings.stop()


def _heartbeat(stage: str, worker: str, gaps: int, *, draining: bool = False) -> Heartbeat:
    return Heartbeat(stage=stage, worker=worker, calls=0, capacity=5, draining=draining, loop_lag_ms=0, gaps=gaps)
