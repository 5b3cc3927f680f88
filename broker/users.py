"""The users of `nats.conf` and their passwords."""

import secrets
from pathlib import Path

CONFIG = Path(__file__).parent / "nats.conf"
USERS = ("gateway", "stt", "llm", "tts", "speech", "operator")
ROUTE = "route"
"""What the nodes of a cluster call themselves to each other: above all users, and none of `nats.conf`."""


def variable(user: str) -> str:
    """The environment variable of nats-server that holds the user's password."""
    return f"NATS_PASSWORD_{user.upper()}"


def new_passwords() -> dict[str, str]:
    """A password for each user, and for the routes of a cluster."""
    # nats-server reads a variable as a value of its configuration: digits in front would make it a number.
    return {user: "p" + secrets.token_hex(20) for user in (*USERS, ROUTE)}


def environment(passwords: dict[str, str]) -> dict[str, str]:
    """What nats-server needs in its environment to read `nats.conf`, and the nodes to meet."""
    return {variable(user): password for user, password in passwords.items()}
