"""The stand-ins of all vendors on one port; their paths do not collide."""

from aiohttp import web

from shared import scenario
from simulator.caller import Voice
from simulator.ear import PhraseBook
from simulator.standins import control, deepgram, elevenlabs, openai
from simulator.standins.behaviour import Behaviour
from simulator.standins.environment import vendor_env

_LONGEST_LESSON = 256 * 1024 * 1024
"""Bytes of a request: clips of thousands of phrases are taught at once."""


def application(behaviour: Behaviour, script: scenario.Scenario) -> web.Application:
    """The routes of all vendors, `/health` and `/standins/behaviour`.

    The callers of the scenario's script are understood from the start.
    """

    async def health(request: web.Request) -> web.Response:
        return web.json_response({"status": "alive"})

    app = web.Application(client_max_size=_LONGEST_LESSON)
    app.router.add_get("/health", health)
    control.add_routes(app, behaviour)
    book = PhraseBook()
    for line in script.script:
        book.learn(line.say, Voice().name, Voice().words_per_minute)
    deepgram.add_routes(app, behaviour, book)
    elevenlabs.add_routes(app, behaviour)
    openai.add_routes(app, behaviour, script)
    return app


class Standins:
    """Use as `async with Standins() as standins`, or start and stop it by hand."""

    def __init__(self, behaviour: Behaviour | None = None, scenario_name: str = "bella") -> None:
        """`behaviour` may be changed while they run. Raises ScenarioError or InvalidId."""
        self.behaviour = behaviour or Behaviour()
        self.url = ""
        """Their base, known after `start`."""
        app = application(self.behaviour, scenario.load(scenario_name))
        # A client that went away stops its answer, as at the vendor.
        self._runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=1.0)

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> None:
        """Listen; port 0 is any free one. Raises OSError."""
        await self._runner.setup()
        await web.TCPSite(self._runner, host, port).start()
        self.url = f"http://{host}:{self._runner.addresses[0][1]}"

    async def stop(self) -> None:
        """Close all connections."""
        await self._runner.cleanup()

    async def __aenter__(self) -> "Standins":
        await self.start()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.stop()

    def env(self) -> dict[str, str]:
        """The settings that make the services call these stand-ins."""
        return vendor_env(self.url, self.behaviour.api_key)
