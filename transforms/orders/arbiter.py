"""What becomes of all proposals together: one list of trades, in as few orders as possible.

The problem. Several methods look at the same accounts and each is right by itself: bands sell what a harvest buys, an
IRA buys what the taxable account sells at a loss, two methods buy the same fund on one day.

The choice. Each part of the portfolio, a sleeve, names the one method that may trade it; harvesting goes besides where
the sleeve lets it. Proposals stand in one order of rank: by the methods as they are listed, then by tax saved. A proposal
that would trade against one of higher rank, in the same account and the same security or one that counts as identical,
is left out, and so is a harvest that the others' purchases, in any account, would wash: the purchase is what the
household wants, the harvest is only a way of paying less; a purchase that is itself only that (a move of asset location, a
switch back) gives way to the harvest instead. What is left is netted: one order for an account, security
and side. A proposal is in the decision whole or not at all.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from itertools import count
from typing import NamedTuple

from transforms.lots.divergence import picks_text
from transforms.lots.relief import read_picks


class Proposed(NamedTuple):
    """One trade of a proposal. Units: shares, USD a share, USD."""

    proposal: str
    method: str
    account_id: str
    side: str
    security_id: str
    quantity: Decimal
    price_usd: Decimal
    lots: str
    loss_usd: Decimal
    tax_saved_usd: Decimal
    reason: str


class Sleeve(NamedTuple):
    """A part of the portfolio and the method that trades it; empty accounts or securities: all of them."""

    name: str
    method: str
    accounts: frozenset[str]
    securities: frozenset[str]
    harvests: bool

    def holds(self, trade: Proposed) -> bool:
        return (not self.accounts or trade.account_id in self.accounts) and (
            not self.securities or trade.security_id in self.securities
        )


class Netted(NamedTuple):
    """One order to be: trades of one account, security and side together. Those of one pair go together or not at all."""

    pair: int
    method: str
    account_id: str
    side: str
    security_id: str
    quantity: Decimal
    price_usd: Decimal
    lots: str
    loss_usd: Decimal
    tax_saved_usd: Decimal
    reason: str


ONLY_FOR_TAX = frozenset(("location", "switch_back"))
Proposals = Mapping[str, Sequence[Proposed]]
Washes = Callable[[Sequence[Proposed]], Mapping[int, str]]


def arbitrate(
    proposals: Proposals, sleeves: Iterable[Sleeve], rank: Sequence[str], identical: Mapping[str, str], washes: Washes
) -> tuple[list[Netted], dict[str, str]]:
    """The orders of a decision, and why the proposals that are not in it were left out.

    Order    sells before buys; within them by rank.
    """
    order = sorted(proposals, key=lambda name: (_rank(proposals[name], rank), -_saved(proposals[name]), name))
    refused = {name: reason for name in order if (reason := _not_its_sleeve(proposals[name], list(sleeves)))}
    taken: dict[tuple[str, str], tuple[str, str, str]] = {}
    for name in order:
        if name in refused:
            continue
        if reason := _against(proposals[name], taken, identical):
            refused[name] = reason
            continue
        for trade in proposals[name]:
            taken[trade.account_id, identical.get(trade.security_id, trade.security_id)] = (
                trade.side, trade.method, trade.security_id,
            )  # fmt: skip
    while True:  # what is refused no longer washes, or takes up, what stays
        kept = [trade for name in order if name not in refused for trade in proposals[name]]
        found = washes(kept)
        if not found:
            return _net(kept), refused
        for_tax = {i: why for i, why in found.items() if kept[i].side == "buy" and kept[i].method in ONLY_FOR_TAX}
        harvests = {i: why for i, why in found.items() if kept[i].side == "sell"}
        refused |= {kept[i].proposal: why for i, why in (for_tax or harvests or found).items()}


def _rank(trades: Sequence[Proposed], rank: Sequence[str]) -> int:
    return rank.index(trades[0].method) if trades[0].method in rank else len(rank)


def _saved(trades: Sequence[Proposed]) -> Decimal:
    return sum((trade.tax_saved_usd for trade in trades), Decimal(0))


def _not_its_sleeve(trades: Sequence[Proposed], sleeves: Sequence[Sleeve]) -> str:
    for trade in trades:
        sleeve = next((sleeve for sleeve in sleeves if sleeve.holds(trade)), None)
        if sleeve is None or trade.method in (sleeve.method, "hand", "leverage"):
            continue
        if trade.method not in ("harvest", "switch_back"):
            return (
                f"{trade.security_id} in {trade.account_id} is the sleeve {sleeve.name}, which {sleeve.method} trades"
            )
        if not sleeve.harvests:
            return f"{trade.security_id} in {trade.account_id} is the sleeve {sleeve.name}, which is not harvested"
    return ""


def _against(
    trades: Sequence[Proposed], taken: Mapping[tuple[str, str], tuple[str, str, str]], identical: Mapping[str, str]
) -> str:
    for trade in trades:
        side, method, security = taken.get(
            (trade.account_id, identical.get(trade.security_id, trade.security_id)), (trade.side, "", "")
        )
        if side != trade.side:
            return f"{trade.side} {trade.security_id} against the {method} that is to {side} {security} in {trade.account_id}"
    return ""


def _net(trades: Sequence[Proposed]) -> list[Netted]:
    """Trades of one account, security and side become one order; proposals that share an order become one pair."""
    pair: dict[str, int] = {}
    numbers = count(1)
    orders: dict[tuple[str, str, str], list[Proposed]] = {}
    for trade in trades:
        orders.setdefault((trade.account_id, trade.security_id, trade.side), []).append(trade)
        if trade.proposal not in pair:
            pair[trade.proposal] = next(numbers)
    for together in orders.values():
        pairs = {pair[trade.proposal] for trade in together}
        pair |= {name: min(pairs) for name, number in pair.items() if number in pairs}
    made = [
        Netted(
            pair[first.proposal], ", ".join(dict.fromkeys(trade.method for trade in together)), *key[:1], first.side, key[1],
            sum((trade.quantity for trade in together), Decimal(0)), first.price_usd,
            _lots([trade.lots for trade in together]),
            sum((trade.loss_usd for trade in together), Decimal(0)),
            sum((trade.tax_saved_usd for trade in together), Decimal(0)),
            "; ".join(dict.fromkeys(trade.reason for trade in together)),
        )
        for key, together in orders.items()
        if (first := together[0])
    ]  # fmt: skip
    return sorted(made, key=lambda order: (order.account_id, order.pair, order.side == "buy"))


def _lots(texts: Sequence[str]) -> str:
    """Picks of several trades as one; none where one of them leaves the lots to the broker.

    >>> _lots(["a:1;b:2", "b:3"]), _lots(["a:1", ""])
    ('a:1;b:5', '')
    """
    if not all(texts):
        return ""
    picks: dict[str, int] = {}
    for text in texts:
        for lot_id, quantity in read_picks(text):
            picks[lot_id] = picks.get(lot_id, 0) + quantity
    return picks_text(tuple(picks.items()))
