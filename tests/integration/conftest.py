"""A real broker for every integration test."""

from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio

from shared import nats_bus
from shared.nats_bus import NatsBus
from tests.nats_server import serve

_ALONE_FIRST = "test_calls"
_ALONE_LAST = ("test_bench", "test_chaos_leaks", "test_chaos_faults")


def _place(item: pytest.Item) -> int:
    name = item.path.stem
    if "integration" not in item.path.parts:
        return len(_ALONE_LAST) + 2
    if name == _ALONE_FIRST:
        return 0
    return 2 + _ALONE_LAST.index(name) if name in _ALONE_LAST else 1


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files that fill the cores with calls run beside small ones: beside each other they would be late."""
    items.sort(key=_place)


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
