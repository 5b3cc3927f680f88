"""Which number leads to which deployment: shown, checked and changed for a person at a terminal."""

import sys
from collections.abc import Mapping

from services.gateway.twilio.account import Account
from services.gateway.twilio.deployment import Deployment, Unfit
from services.gateway.twilio.number import Number, destination, rows


def tell_numbers(account: Account) -> None:
    """Each number of the account, and where its calls go. Raises AccountError."""
    numbers = account.numbers()
    for number in numbers:
        print(f"{number.number:<16} {destination(number.fields) if number.takes_calls else 'messages only'}")
    if not numbers:
        print("the account has no numbers: buy one in Twilio's console")


class Assignment:
    """One number that shall lead to one deployment."""

    def __init__(self, account: Account, deployment: Deployment, base_url: str) -> None:
        """`base_url` is the deployment's, without a slash at its end."""
        self._account = account
        self._deployment = deployment
        self._base_url = base_url

    def make(self, number: str, *, dry_run: bool, force: bool) -> None:
        """Point `number` (E.164) at the deployment if it does not lead there. Raises AccountError, Unfit.

        `dry_run`: only tell what would be set. `force`: also when the deployment does not answer as it should.
        """
        found = self._account.number(number)
        if not found.takes_calls:
            raise Unfit(f"{number} is for messages only: choose a number with the capability Voice")
        self._check(force=force)
        changes = found.changes(self._base_url)
        self._tell(found, changes)
        if not changes:
            print("nothing to change")
        elif dry_run:
            print("dry run: nothing was changed")
        else:
            self._account.update(found, changes)
            print("set; what stands left of an arrow is what it was")

    def _check(self, *, force: bool) -> None:
        try:
            self._deployment.check()
        except Unfit as error:
            if not force:
                raise Unfit(f"{error} (--force sets the number all the same)") from error
            print(f"trunkline: {error}", file=sys.stderr)
            return
        print(f"{self._base_url} answers, and trusts this account's signature")

    def _tell(self, number: Number, changes: Mapping[str, str]) -> None:
        print(number.number)
        after = rows({**number.fields, **changes})
        for label, value in rows(number.fields).items():
            print(f"  {label:<16} {value}" + (f"  →  {after[label]}" if after[label] != value else ""))
