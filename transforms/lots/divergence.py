"""What it costs that the broker relieved other lots than we intended.

The books follow the broker. What would have been is the same history booked once more with the lots intended in that
one sale, so both sides are exact, wash sales included. Only the family of the security is booked again.
"""

from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from typing import NamedTuple

from transforms.exact import shares_text
from transforms.lots.book import book
from transforms.lots.groups import families, united
from transforms.lots.methods import Asked, Choice, picked
from transforms.lots.relief import trade_order
from transforms.lots.rules import Rules
from transforms.model import Disposal, Event, Lot, Trade

Picks = tuple[tuple[str, int], ...]


class Intended(NamedTuple):
    """What was meant for a sale: lots, or the method that chooses them from the lots as they stood before it."""

    lots: Picks
    method: str
    asked: Asked | None


class Side(NamedTuple):
    """A sale's lots and what comes of them. Units: cents."""

    lots: Picks
    basis: int
    short_gain: int
    long_gain: int


class Divergence(NamedTuple):
    """A sale as intended and as relieved; without `intended` the lots meant were not there any more."""

    sale: Trade
    method: str
    meant: Picks
    intended: Side | None
    relieved: Side


def divergences(
    events: Iterable[Event],
    intended: Mapping[str, Intended],
    relieved: Sequence[Disposal],
    rules: Rules,
    identical: Mapping[str, str] | None = None,
) -> list[Divergence]:
    """Every sale of which we know the lots that were intended, with those that the broker relieved.

    Law      Treas. Reg. 1.1012-1(c): without an adequate identification the shares are sold first in, first out.
    Order    by trade_order of the sales.
    Omits    what the other lots would have changed in later sales: each sale is looked at by itself.
    """
    ordered = sorted(events, key=lambda event: trade_order(event, rules.same_time_taxable_first))
    groups = united(ordered, identical or {})
    rows: dict[str, list[Disposal]] = {name: [] for name in intended}
    for row in relieved:
        if row.trade_id in rows:
            rows[row.trade_id].append(row)
    found = []
    for family in families(ordered, groups):
        for place, event in enumerate(family):
            if isinstance(event, Trade) and rows.get(event.trade_id):
                meant = intended[event.trade_id]
                lots = meant.lots or _chosen(event, meant, family[:place], rules, groups)
                actual = side(rows[event.trade_id])
                if sorted(lots) == sorted(actual.lots) or not lots:
                    found.append(Divergence(event, meant.method, actual.lots, actual, actual))
                    continue
                other = book([*family[:place], event._replace(picks=lots), *family[place + 1 :]], rules, groups)
                sold = [row for row in other.disposals if row.trade_id == event.trade_id]
                found.append(Divergence(event, meant.method, lots, side(sold) if sold else None, actual))
    return sorted(found, key=lambda one: trade_order(one.sale))


def side(rows: Iterable[Disposal]) -> Side:
    """The slices of a sale as one side of a comparison."""
    lots: dict[str, int] = {}
    basis = 0
    gain = {"short": 0, "long": 0}
    for row in rows:
        lots[row.lot_id] = lots.get(row.lot_id, 0) + row.quantity
        basis += row.basis
        gain[row.term] += row.gain
    return Side(tuple(lots.items()), basis, gain["short"], gain["long"])


def choices(lots: Iterable[Lot]) -> tuple[list[Choice], dict[str, int]]:
    """Open lots of one security in one account as a method sees them, and how much is left of each."""
    left: dict[str, int] = {}
    basis: dict[str, int] = {}
    first: dict[str, Lot] = {}
    for lot in lots:
        first.setdefault(lot.lot_id, lot)
        left[lot.lot_id] = left.get(lot.lot_id, 0) + lot.quantity
        basis[lot.lot_id] = basis.get(lot.lot_id, 0) + lot.basis
    made = [
        Choice(name, lot.acquired_on, lot.holding_since, Fraction(basis[name] * 10**7, left[name]))
        for name, lot in first.items()
    ]
    return made, left


def picks_text(picks: Picks) -> str:
    """LOT:QTY;LOT:QTY, as read_picks reads it.

    >>> picks_text((("P-1", 2_500_000_000), ("P-7", 10**9)))
    'P-1:2.5;P-7:1'
    """
    return ";".join(f"{lot_id}:{shares_text(quantity)}" for lot_id, quantity in picks)


def _chosen(sale: Trade, meant: Intended, before: Sequence[Event], rules: Rules, groups: Mapping[str, str]) -> Picks:
    """The lots that a method would have taken, from the books as they stood before the sale."""
    books = book(before, rules, groups)
    own = [lot for lot in books.lots if (lot.account_id, lot.security_id) == (sale.account_id, sale.security_id)]
    made, left = choices(lot for lot in own if lot.quantity > 0)
    return picked(made, left, sale.quantity, meant.method, meant.asked)
