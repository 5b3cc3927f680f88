"""A real broker for every integration test."""

from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio

from shared import nats_bus
from shared.nats_bus import NatsBus
from tests.nats_server import serve


@pytest.fixture(scope="session")
def nats_url(request: pytest.FixtureRequest) -> Iterator[str]:
    """The URL of a real nats-server with JetStream."""
    reporter = request.config.pluginmanager.getplugin("terminalreporter")
    capture = request.config.pluginmanager.getplugin("capturemanager")

    def announce(text: str) -> None:
        with capture.global_and_fixture_disabled():
            reporter.write_line(f"\n{text}")

    with serve(announce) as url:
        yield url


@pytest_asyncio.fixture
async def bus(nats_url: str) -> AsyncIterator[NatsBus]:
    """A connection to the real nats-server."""
    connected = await nats_bus.connect(nats_url, "test")
    yield connected
    await connected.close()
