"""What `python -m broker` prints is what nats-server needs, on one machine and in a cluster."""

import re
import subprocess
import sys

from broker import users
from tests.fakes import ROOT


def printed() -> dict[str, str]:
    """The variables, as a process makes them."""
    done = subprocess.run([sys.executable, "-m", "broker"], cwd=ROOT, capture_output=True, text=True, check=True)
    return dict(line.split("=", 1) for line in done.stdout.splitlines())


def test_every_user_and_the_routes_have_a_password_of_their_own() -> None:
    names = {users.variable(name) for name in (*users.USERS, users.ROUTE)}
    made = printed()
    assert set(made) == names
    assert len(set(made.values())) == len(names)
    # nats-server would take digits in front for a number.
    assert all(re.fullmatch(r"p[0-9a-f]{40}", password) for password in made.values())


def test_the_configuration_asks_for_the_users_and_not_for_the_routes() -> None:
    asked = set(re.findall(r"password: \$(\w+)", users.CONFIG.read_text()))
    assert asked == {users.variable(name) for name in users.USERS}


def test_two_sets_have_nothing_in_common() -> None:
    assert not set(printed().values()) & set(printed().values())
