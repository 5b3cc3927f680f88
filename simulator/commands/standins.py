"""`standins`: the vendors' APIs on this machine."""

import argparse
import asyncio
from typing import get_args

from shared.scenario import ScenarioError
from simulator.commands import report
from simulator.commands.options import WrongUse
from simulator.standins.behaviour import Behaviour


def add_standins(parser: argparse.ArgumentParser) -> None:
    """Options of `standins`: one for each field of Behaviour."""
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (%(default)s)")
    parser.add_argument("--port", type=int, default=8090, help="port to listen on, 0 for any free one (%(default)s)")
    parser.add_argument("--scenario", default="bella", help="what the language model can answer (%(default)s)")
    for name, field in Behaviour.model_fields.items():
        kind, choices = type(field.default), get_args(field.annotation) or None
        shown = "(%(default)s)" if field.default != "" else "(none)"
        option = f"--{name.replace('_', '-')}"
        parser.add_argument(option, type=kind, choices=choices, default=field.default, help=shown)


async def standins(args: argparse.Namespace) -> int:
    """Serve until the process is stopped."""
    # Imported here: only this command needs the vendors' routes.
    from simulator.standins.server import Standins

    try:
        behaviour = Behaviour(**{name: getattr(args, name) for name in Behaviour.model_fields})
        server = Standins(behaviour, args.scenario)
        await server.start(args.host, args.port)
    except (ValueError, ScenarioError) as error:
        raise WrongUse(str(error)) from error
    except OSError as error:
        raise WrongUse(f"--port {args.port}: {error.strerror}") from error
    report.progress("for .env:")
    for name, value in server.env().items():
        report.tell(f"{name}={value}")
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        # Being stopped is how this command ends.
        return 0
    finally:
        await server.stop()
    return 0
