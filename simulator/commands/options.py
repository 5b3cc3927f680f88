"""Options that several commands take."""

import argparse
import os
from pathlib import Path

from shared.agents import AgentProfile, AgentsFileError, Directory, load
from simulator.caller import Patience, Voice
from simulator.plan import ROOT
from simulator.script import Writer

VENDORS = ("offline", "standins", "configured")
_BELLA = "+15550100"


class WrongUse(Exception):
    """The command line cannot be followed; ends with status 2."""


def add_call(parser: argparse.ArgumentParser) -> None:
    """Who calls whom, and how."""
    parser.add_argument("--to", metavar="NUMBER", default=_BELLA, help="dialled number (%(default)s: bella)")
    add_caller(parser)


def add_caller(parser: argparse.ArgumentParser) -> None:
    """How the caller is."""
    parser.add_argument("--voice", default="en-us", help="the caller's espeak-ng voice (%(default)s)")
    parser.add_argument("--wpm", type=int, default=165, help="the caller's words per minute (%(default)s)")
    parser.add_argument(
        "--any-answer", action="store_true", help="any answer is right: real providers choose their own words and voice"
    )
    parser.add_argument("--greeting-s", type=float, default=5.0, help="wait for a greeting (%(default)s s)")
    parser.add_argument("--reply-s", type=float, default=10.0, help="wait for each reply (%(default)s s)")
    parser.add_argument("--quiet-ms", type=int, default=700, help="silence that ends a reply (%(default)s ms)")


def add_lines(parser: argparse.ArgumentParser) -> None:
    """What is said."""
    said = parser.add_mutually_exclusive_group()
    said.add_argument("--say", metavar="TEXT", action="append", help="say this (repeat for more turns)")
    said.add_argument("--file", metavar="WAV", type=Path, help="play this recording (16-bit PCM)")
    parser.add_argument("--out", metavar="FOLDER", type=Path, default=Path("recordings"), help="for the stereo WAV")


def add_system(parser: argparse.ArgumentParser, *, required: bool = False) -> None:
    """Which running system is called."""
    parser.add_argument("--url", required=required, help="base URL of a running gateway, http(s)://host[:port]")
    parser.add_argument(
        "--nats", metavar="URL", help="its broker, for transcripts (default: NATS_URL or the local one)"
    )
    parser.add_argument("--token", help="its TWILIO_AUTH_TOKEN (default: the variable of that name)")
    parser.add_argument(
        "--standins", metavar="URL", help="the stand-ins that serve it, to be told what the callers will say"
    )


def add_ring(parser: argparse.ArgumentParser) -> None:
    """What is started when no running system is given."""
    parser.add_argument(
        "--vendors",
        choices=VENDORS,
        default="offline",
        help="who serves the system that is started: no vendor (%(default)s), stand-ins called through the vendors' "
        "SDKs, or what the environment and .env configure",
    )
    parser.add_argument("--logs", metavar="FOLDER", type=Path, help="where the processes' logs go")


def agents_file() -> Path:
    """The agents file here."""
    return Path(os.environ.get("AGENTS_FILE") or ROOT / "agents.yaml").resolve()


def _directory() -> Directory:
    try:
        return load(agents_file())
    except AgentsFileError as error:
        raise WrongUse(str(error)) from error


def agent(dialled: str) -> AgentProfile:
    """The agent that answers `dialled`, by the agents file here. Raises WrongUse."""
    return _directory().by_number(dialled)


def agent_named(name: str) -> tuple[AgentProfile, str]:
    """The agent of that name, empty: the default one, and a number that it answers. Raises WrongUse."""
    directory = _directory()
    agents = {profile.name: profile for profile in directory.agents}
    profile = agents.get(name or directory.default)
    if profile is None:
        raise WrongUse(f"no agent {name!r} in {agents_file()}, only {', '.join(agents)}")
    for number in (*profile.numbers, _BELLA):
        if directory.by_number(number).name == profile.name:
            return profile, number
    raise WrongUse(f"the agent {profile.name!r} has no number in {agents_file()} that could be called")


def writer(args: argparse.Namespace, *, any_answer: bool) -> Writer:
    """Writes the lines of these calls. Raises WrongUse."""
    return Writer(agent(args.to), voice(args), any_answer or args.any_answer)


def voice(args: argparse.Namespace) -> Voice:
    """The caller's voice. Raises WrongUse."""
    if not 80 <= args.wpm <= 450:
        raise WrongUse("--wpm: espeak-ng speaks 80 to 450 words per minute")
    return Voice(args.voice, args.wpm)


def patience(args: argparse.Namespace) -> Patience:
    """How long the caller waits."""
    return Patience(greeting_s=args.greeting_s, reply_s=args.reply_s, quiet_s=args.quiet_ms / 1000)
