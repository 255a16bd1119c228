"""Shares in a cash account that were bought with money that is not there yet: they are not to be sold before it is.

A cash account may buy with the proceeds of a sale at once, but what was bought so is paid for only when those proceeds
settle. Sold earlier it is a free ride, and the account must pay in advance for ninety days. A purchase is paid for on its
day when the settled cash of that day, after all of the day's trades, is not below zero; if it is, all of that day's
purchases count as unpaid until the day settles. That errs on the safe side and needs no pairing of dollars.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from datetime import date
from decimal import Decimal
from typing import NamedTuple


class Flow(NamedTuple):
    """A row of the ledger that moved cash. Units: USD, signed; shares."""

    transaction_id: str
    security_id: str
    side: str  # buy, sell, or empty
    quantity: Decimal
    amount_usd: Decimal
    traded_on: date


Unpaid = Mapping[str, Mapping[str, Decimal]]  # security_id -> lot_id -> shares


def unpaid(flows: Iterable[Flow], cash_usd: Decimal, on: date, settles: Callable[[date], date]) -> Unpaid:
    """The purchases that are not paid for on a day. `cash_usd` is the cash by trade date after all flows.

    Law      12 CFR 220.8(a)(1), (c)(1): full cash payment before the sale; 17 CFR 240.15c6-1(a): when a trade settles.
    Omits    deposits that do not clear; securities that are exempt (12 CFR 220.2); options, which settle on days of their own.

    $1,000 of cash all came from Monday's sale, which settles on Wednesday: what Monday's proceeds bought waits for them.

    >>> day = lambda n: date(2024, 3, n)  # two sessions to settle
    >>> sale = Flow("S-1", "HD", "sell", Decimal(3), Decimal(1000), day(4))
    >>> buy = Flow("B-1", "BBY", "buy", Decimal(12), Decimal(-1000), day(4))
    >>> settles = lambda on: date(on.year, on.month, on.day + 2)
    >>> unpaid([sale, buy], Decimal(0), day(5), settles), unpaid([sale, buy], Decimal(0), day(6), settles)
    ({'BBY': {'B-1': Decimal('12')}}, {})
    >>> unpaid([sale, buy], Decimal(1000), day(5), settles)  # another $1,000 was there
    {}
    """
    flows = list(flows)
    found: dict[str, dict[str, Decimal]] = defaultdict(dict)
    for bought_on in sorted({flow.traded_on for flow in flows if flow.side == "buy"}):
        if settles(bought_on) <= on:
            continue
        later = sum((flow.amount_usd for flow in flows if flow.traded_on > bought_on), Decimal(0))
        coming = sum(
            (
                flow.amount_usd
                for flow in flows
                if flow.side == "sell" and flow.traded_on <= bought_on < settles(flow.traded_on)
            ),
            Decimal(0),
        )
        if cash_usd - later - coming < 0:
            for flow in flows:
                if flow.side == "buy" and flow.traded_on == bought_on:
                    found[flow.security_id][flow.transaction_id] = flow.quantity
    return {security: dict(lots) for security, lots in found.items()}
