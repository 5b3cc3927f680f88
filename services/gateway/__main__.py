"""The gateway process: `python -m services.gateway`."""

import argparse
import asyncio
import socket

import structlog
import uvloop

from services.gateway.app import build
from services.gateway.departure import Surroundings, leave
from services.gateway.server import HttpServer, listen
from shared import heap, log
from shared import settings as configuration
from shared.agents import AgentsFile, AgentsFileError
from shared.service import connect, process_id, stop_signal
from shared.settings import Settings
from shared.watchdog import watched

logger = structlog.get_logger()


async def _serve(settings: Settings, listener: socket.socket) -> None:
    stop = stop_signal()
    bus = await connect(settings, "gateway", stop)
    if bus is None:
        return
    gateway = await build(bus, settings, process_id("gateway"))
    server = HttpServer(gateway.app, gateway.web_sockets, listener, settings.trusted_proxies)
    serving = server.start()
    heap.settle()
    logger.info("gateway_ready", port=server.port, gateway=gateway.switchboard.gateway)
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait((serving, stopping), return_when=asyncio.FIRST_COMPLETED)
    logger.info("gateway_draining", calls=len(gateway.switchboard.lines))
    await leave(
        gateway.switchboard,
        settings.drain_timeout_s,
        Surroundings(gateway.fellows.take_calls, server.stop_listening, gateway.pulse.send),
    )
    server.stop()
    await serving
    gateway.pulse.stop()
    await gateway.breakers.close()
    await bus.close()
    logger.info("gateway_stopped")


def check(settings: Settings) -> None:
    """Refuse to start on what would only fail later. Ends the process with one line."""
    if not settings.twilio_auth_token.get_secret_value() and not settings.allow_unsigned:
        configuration.stop(
            "TWILIO_AUTH_TOKEN: not set, so anybody could place calls on your bill; "
            "set it, or set ALLOW_UNSIGNED=true on a machine that nobody else can reach"
        )
    try:
        AgentsFile(settings.agents_file)
    except AgentsFileError as error:
        configuration.stop(f"AGENTS_FILE: {error}")


def main() -> None:
    """Serve until SIGTERM, then drain."""
    parser = argparse.ArgumentParser(
        prog="python -m services.gateway",
        description="Answers phone calls: Twilio's webhooks and media sockets on one side, NATS on the other.",
        epilog="Configuration comes from environment variables and .env; .env.example documents each.",
    )
    parser.add_argument("--check", action="store_true", help="only check the settings")
    only_check = parser.parse_args().check
    settings = configuration.load()
    log.configure(settings, "gateway")
    check(settings)
    if only_check:
        return
    try:
        listener = listen(settings.host, settings.port)
    except OSError as error:
        configuration.stop(f"PORT: cannot listen on {settings.host}:{settings.port}: {error.strerror}")
    uvloop.run(watched(_serve(settings, listener), settings.hang_exit_s))


if __name__ == "__main__":
    main()
