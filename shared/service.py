"""A worker process from start to drain: `python -m services.<stage>`."""

import argparse
import asyncio
import os
import secrets
import signal
import socket
from collections.abc import Callable

import structlog
import uvloop

from shared import health, heap, log, nats_bus
from shared import settings as configuration
from shared.breakers import Breakers
from shared.metrics import CALLS, CAPACITY, LOOP_LAG, SHEDDING
from shared.nats_bus import NatsBus
from shared.nats_connection import Broker, WrongTlsFiles
from shared.operator_key import OperatorKey
from shared.settings import Settings
from shared.stage import ClosingStage, Stage, StageWorker
from shared.watchdog import watched

logger = structlog.get_logger()


def process_id(stage: str) -> str:
    """A name for this process that is unique in the fleet and fit for a subject."""
    host = "".join(c if c.isalnum() else "-" for c in socket.gethostname())[:40]
    return f"{stage}-{host}-{os.getpid()}-{secrets.token_hex(2)}"


async def _waiting_for_broker(reason: str) -> None:
    """Say once a second why there is no connection."""
    logger.warning("waiting_for_broker", reason=reason)


def stop_signal() -> asyncio.Event:
    """Set by SIGTERM or SIGINT: the process drains and ends."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    return stop


async def connect(settings: Settings, name: str, stop: asyncio.Event) -> NatsBus | None:
    """The bus, as soon as a broker answers; None when the process shall stop before that.

    Files for TLS that cannot be used stop the process with one line.
    """
    connecting = asyncio.create_task(nats_bus.connect(Broker.of(settings), name, _waiting_for_broker))
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait((connecting, stopping), return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if stop.is_set():
        connecting.cancel()
        return None
    try:
        return connecting.result()
    except WrongTlsFiles as error:
        configuration.stop(str(error))


async def _work(stage: Stage, settings: Settings, breakers: Breakers) -> None:
    stop = stop_signal()
    bus = await connect(settings, stage.name, stop)
    if bus is None:
        return
    await breakers.open(bus)
    worker = StageWorker(bus, stage, process_id(stage.name), settings.max_calls, shed_lag_ms=settings.shed_lag_ms)
    CALLS.labels(stage.name).set_function(lambda: worker.calls)
    CAPACITY.labels(stage.name).set(settings.max_calls)
    SHEDDING.labels(stage.name).set_function(lambda: int(worker.shedding))
    LOOP_LAG.labels(stage.name).set_function(lambda: worker.pulse.loop_lag_ms / 1000)

    def probe() -> dict[str, object]:
        return {
            "ready": bus.connected and not worker.draining and not worker.shedding,
            "stage": stage.name,
            "worker": worker.worker,
            "broker": bus.connected,
            "calls": worker.calls,
            "capacity": settings.max_calls,
            "draining": worker.draining,
            "shedding": worker.shedding,
            "gaps": bus.gaps,
            "tasks": len(asyncio.all_tasks()),
            "breakers": breakers.states(),
        }

    stop_http = await health.serve(settings.host, settings.port, probe, OperatorKey(settings.api_key))
    await worker.start()
    heap.settle()
    logger.info("worker_ready", stage=stage.name, worker=worker.worker, capacity=settings.max_calls)
    await stop.wait()
    logger.info("worker_draining", stage=stage.name, calls=worker.calls)
    await worker.drain(settings.drain_timeout_s)
    if isinstance(stage, ClosingStage):
        await stage.close()
    await stop_http()
    await breakers.close()
    await bus.close()
    logger.info("worker_stopped", stage=stage.name)


def run(name: str, description: str, build: Callable[[Settings, Breakers], Stage]) -> None:
    """The main function of a worker. `build` makes the stage from the settings and the providers' breakers."""
    parser = argparse.ArgumentParser(
        prog=f"python -m services.{name}",
        description=description,
        epilog="Configuration comes from environment variables and .env; .env.example documents each.",
    )
    parser.parse_args()
    settings = configuration.load()
    log.configure(settings, name)
    try:
        breakers = Breakers(settings)
        stage = build(settings, breakers)
        uvloop.run(watched(_work(stage, settings, breakers), settings.hang_exit_s))
    except OSError as error:
        configuration.stop(f"PORT: {error}")
