"""Points a Twilio number at a deployment: `python -m services.gateway.twilio`."""

import argparse
import re
import ssl
import sys
from collections.abc import Sequence
from contextlib import closing
from urllib.parse import urlsplit

from twilio.http import HttpClient
from twilio.http.http_client import TwilioHttpClient

from services.gateway.twilio.account import Account, AccountError
from services.gateway.twilio.assignment import Assignment, tell_numbers
from services.gateway.twilio.deployment import Deployment, Unfit
from shared import settings as configuration
from shared.settings import Settings

_INTERRUPTED = 130
_API_TIMEOUT_S = 20.0
_DECORATION = re.compile(r"[\s().-]")
_E164 = re.compile(r"\+[1-9][0-9]{3,14}")
_ACCOUNT_SID = re.compile(r"AC[0-9a-fA-F]{32}")


class WrongUse(ValueError):
    """The command line or a setting cannot be followed; the message names it. Ends with status 2."""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(
        prog="python -m services.gateway.twilio",
        description="Points a Twilio number's calls at a deployment: its voice webhook, the fallback when that fails, "
        "and its status callback. What the number does with messages stays as it is. "
        "Without --number, the account's numbers and where their calls go.",
        epilog="TWILIO_ACCOUNT_SID and TWILIO_AUTH_TOKEN come from the environment or .env. Before anything is "
        "changed the deployment must answer, with the same credentials and this address as its PUBLIC_URL. "
        "Exit status: 0 all right, 1 Twilio or the deployment refuses or does not answer, 2 wrong use.",
    )
    made.add_argument("--number", metavar="NUMBER", help="the number, as in +15551234567")
    made.add_argument("--url", help="the deployment's address, https://host (default: PUBLIC_URL)")
    made.add_argument("--dry-run", action="store_true", help="check, show what would be set, and change nothing")
    made.add_argument("--force", action="store_true", help="set it even if the deployment does not answer as it should")
    return made


def e164(text: str) -> str:
    """`text` without what people write between digits. Raises WrongUse."""
    number = _DECORATION.sub("", text)
    if not _E164.fullmatch(number):
        raise WrongUse(f"--number {text}: + and the country code expected, as in +15551234567")
    return number


def base_url(option: str | None, public_url: str) -> str:
    """The deployment's address, from --url or PUBLIC_URL, without a slash at its end. Raises WrongUse."""
    url, name = (option, "--url") if option is not None else (public_url, "PUBLIC_URL")
    if not url:
        raise WrongUse(f"{name}: not set; the https address under which Twilio reaches the gateway is needed")
    try:
        parts = urlsplit(url.rstrip("/"))
        host = f"{parts.hostname or ''}{'' if parts.port is None else f':{parts.port}'}"
    except ValueError as error:
        raise WrongUse(f"{name} {url}: {error}") from error
    if parts.scheme != "https":
        raise WrongUse(f"{name} {url}: https://… expected, Twilio streams calls over TLS only")
    if not host or parts.netloc.lower() != host or parts.path or parts.query or parts.fragment:
        raise WrongUse(f"{name}: https://host expected, with nothing behind the host but a port")
    return f"https://{parts.netloc}"


def credentials(settings: Settings) -> tuple[str, str]:
    """The account's SID and its auth token. Raises WrongUse."""
    account_sid, auth_token = settings.twilio_account_sid, settings.twilio_auth_token.get_secret_value()
    for name, value in (("TWILIO_ACCOUNT_SID", account_sid), ("TWILIO_AUTH_TOKEN", auth_token)):
        if not value:
            raise WrongUse(f'{name}: not set; Twilio\'s console shows it under "Account Info"')
    if not _ACCOUNT_SID.fullmatch(account_sid):
        raise WrongUse("TWILIO_ACCOUNT_SID: AC and 32 hexadecimal digits expected; an API key (SK…) signs no webhooks")
    return account_sid, auth_token


def run(args: argparse.Namespace, settings: Settings, api: HttpClient, trust: ssl.SSLContext | None = None) -> None:
    """Do what `args` say; `api` reaches Twilio, `trust` is the Deployment's. Raises WrongUse, AccountError, Unfit."""
    if args.number is None and (args.url is not None or args.dry_run or args.force):
        raise WrongUse("--number: needed, since the other options are about one number")
    account_sid, auth_token = credentials(settings)
    account = Account(account_sid, auth_token, api)
    if args.number is None:
        tell_numbers(account)
        return
    number, url = e164(args.number), base_url(args.url, settings.public_url)
    deployment = Deployment(url, account_sid, auth_token, trust)
    Assignment(account, deployment, url).make(number, dry_run=args.dry_run, force=args.force)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    args = parser().parse_args(argv)
    try:
        api = TwilioHttpClient(timeout=_API_TIMEOUT_S)
        with closing(api.session):
            run(args, configuration.load(), api)
    except WrongUse as error:
        configuration.stop(str(error))
    except (AccountError, Unfit) as error:
        print(f"trunkline: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return _INTERRUPTED
    return 0


if __name__ == "__main__":
    sys.exit(main())
