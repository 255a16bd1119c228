"""What the brokers will report: the same history with a broker's eyes.

The problem. A 1099-B knows one account. Its wash sales are those of the same security bought and sold there; the
spouse's purchase, the IRA's and an option's are not on it, and shares that came from elsewhere take no part.

The choice. The same engine walks the same events; only the matching is narrowed. So both views differ where the law
differs and nowhere else, and a difference always has a purchase that explains it.
"""

from collections.abc import Iterable, Mapping
from datetime import date

from transforms.lots.book import Loss, Walk, book
from transforms.lots.held import Held
from transforms.lots.rules import Rules
from transforms.model import Books, Event, Move


class BrokerWalk(Walk):
    """A walk that matches a loss with purchases of the very security in the very account, both bought there."""

    def _match(self, loss: Loss, held: Held, free: int, held_on: date | None) -> None:
        sold = loss.sold
        is_of_the_account = held.account_id == sold.account_id and held.security_id == loss.security_id
        if is_of_the_account and not (_came(sold) or _came(held)):
            super()._match(loss, held, free, held_on)

    def _there(self, held: Held, move: Move) -> Held:
        there = super()._there(held, move)
        there.rule = CAME
        return there


CAME = "transferred in"


def _came(held: Held) -> bool:
    return held.rule == CAME


def broker_books(events: Iterable[Event], rules: Rules, groups: Mapping[str, str] | None = None) -> Books:
    """The books as each broker keeps them.

    Law      Treas. Reg. 1.6045-1(d)(6)(iii)(A), (B): a broker reports a wash sale of covered securities with the same
             CUSIP number in the same account; securities that were transferred in are left out, and so are other
             accounts, options on the shares and what is substantially identical under another number.
    Units    as in `book`.
    Omits    securities that are not covered: the broker reports no basis for them, and its figures here are not filed.

    A loss that the IRA's purchase washes, and the broker of the taxable account does not see:

    >>> from transforms.model import Trade
    >>> def trade(name, account, is_buy, usd, day):
    ...     return Trade(name, account, "XYZ", is_buy, 10**9, usd * 100, date(2025, 3, day), None, account == "ira")
    >>> events = [trade("A", "joint", True, 100, 3), trade("S", "joint", False, 90, 20), trade("I", "ira", True, 90, 21)]
    >>> book(events, Rules()).disposals[0].disallowed, broker_books(events, Rules()).disposals[0].disallowed
    (1000, 0)
    """
    return book(events, rules, groups, walk=BrokerWalk)
