"""The stage llm: opens a dialogue for each call that is leased to the worker."""

from collections.abc import Awaitable, Callable

from services.llm.dialogue import Dialogue
from services.llm.memory import Memory
from services.llm.provider import ChatModel
from services.llm.store import BUCKET, KEEP_S, MemoryStore, Superseded
from shared.agents import AgentProfile
from shared.bus import BusError
from shared.call import Call
from shared.stage import CannotServe

OpenModel = Callable[[AgentProfile], Awaitable[tuple[str, ChatModel]]]
"""The provider's name and a model for one call. Raises CannotServe."""
CloseModels = Callable[[], Awaitable[None]]


class LlmStage:
    """Knows where models and memories come from."""

    name = "llm"

    def __init__(self, open_model: OpenModel, close_models: CloseModels | None = None) -> None:
        """`open_model` chooses the provider by the agent's profile; `close_models` ends what its calls shared."""
        self._open_model = open_model
        self._close_models = close_models

    async def open(self, call: Call) -> Dialogue:
        """Load what was said before and listen. Raises CannotServe."""
        try:
            bucket = await call.channel.bucket(BUCKET, KEEP_S)
            store = MemoryStore(bucket, call.id, call.channel.epoch, call.spawn)
            record = await store.load()
        except Superseded as error:
            raise CannotServe("a newer lease has the dialogue") from error
        except BusError as error:
            # Without it the generations would start again, and nobody would hear the replies.
            raise CannotServe(f"the dialogue cannot be loaded: {error}") from error
        provider, model = await self._open_model(call.profile)
        memory = Memory(record, call.profile.llm.max_memory_turns)
        dialogue = Dialogue(call, provider, model, memory, store)
        await dialogue.listen()
        return dialogue

    async def close(self) -> None:
        """The worker stops; all its calls are over."""
        if self._close_models is not None:
            await self._close_models()
