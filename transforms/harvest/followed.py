"""A harvest from its fills on: the lots that it sold, the lots bought instead, and how each part of these ended.

The problem. What a harvest brought depends on what became of the replacement. Sold for good, it gives the tax back. Sold
to go back to what was wanted, or because it fell too and was harvested itself, it does not: the low basis lives on in
what was bought then, and a ledger that counts that sale as an end counts its tax twice.

The choice. A part of a replacement is open, or it ended in one of four ways (`End`), and each has its own tax on our side and
on the twin's. A replacement that is harvested hands over: from that day on its own row follows what came next.
"""

from collections.abc import Callable
from datetime import date
from decimal import Decimal
from typing import Literal, NamedTuple

from transforms.harvest.benefit import Rates
from transforms.lots.term import term

_ZERO, _ONE = Decimal(0), Decimal(1)
OPEN = date.max
End = Literal["open", "sold", "switched", "harvested", "left"]  # left: without a sale, or nothing was bought


class Sold(NamedTuple):
    """A lot that the harvest sold, as booked. Units: shares, USD; `gain_usd` after wash sales, signed."""

    sold_on: date
    term: str
    quantity: Decimal
    proceeds_usd: Decimal
    basis_usd: Decimal
    adjustment_usd: Decimal  # disallowed, positive
    permanent_usd: Decimal
    gain_usd: Decimal
    holding_since: date


class Ended(NamedTuple):
    """A part of a replacement lot that was sold: for good, to go back to what was harvested, or in a harvest of its own."""

    on: date
    term: str
    basis_usd: Decimal
    gain_usd: Decimal
    how: End


class Bought(NamedTuple):
    """A replacement lot, as far as it belongs to the harvest. Units: shares, USD; gains: of what is open, None without a price."""

    security_id: str
    bought_on: date
    quantity: Decimal
    cost_usd: Decimal
    commission_usd: Decimal
    ended: tuple[Ended, ...]
    open_basis_usd: Decimal
    short_gain_usd: Decimal | None
    long_gain_usd: Decimal | None


class Harvest(NamedTuple):
    """A harvest and what it has to do with. Units: USD.

    `saved_usd` in the year of the sale, `used_usd` since, by what was carried over; `left_usd` of the loss is carried still.
    """

    client_order_id: str
    account_id: str
    security_id: str
    sold: tuple[Sold, ...]
    commission_usd: Decimal  # of the sale
    bought: tuple[Bought, ...]
    saved_usd: Decimal
    used_usd: Decimal
    left_usd: Decimal


class Part(NamedTuple):
    """A part of a harvest's replacement: of which lot, how much of it and of the harvest, when and how it ended."""

    lot: Bought | None
    of_lot: Decimal
    weight: Decimal
    on: date
    how: End
    term: str = ""  # of its sale
    gain_usd: Decimal = _ZERO  # of its sale, as booked

    def rate(self, rates: Rates) -> Decimal:
        """At which our side is taxed: a sale's own, else the long-term rate, for what is held on is long-term in the end."""
        if self.how == "left":
            return _ZERO
        return rate_of(rates, self.term) if self.how in ("sold", "switched") else rates.long

    def twin_rate(self, piece: Sold, rates: Rates) -> Decimal:
        """At which the twin is taxed: where we sold for good it sells too, at the term that it has then."""
        if self.how == "left" and self.lot is not None:
            return _ZERO
        return rate_of(rates, term(piece.holding_since, self.on)) if self.how == "sold" else rates.long


RatesOf = Callable[[int], Rates]


def parts(one: Harvest) -> list[Part]:
    """How every part of the harvest's replacement stands; the weights add up to one."""
    cost = sum((lot.cost_usd for lot in one.bought), _ZERO)
    if not cost:
        return [Part(None, _ONE, _ONE, OPEN, "left")]
    found = []
    for lot in one.bought:
        known = lot.open_basis_usd + sum((end.basis_usd for end in lot.ended), _ZERO)
        whole, weight = max(known, lot.cost_usd), lot.cost_usd / cost  # more than cost: a wash sale added to it
        for end in lot.ended:
            of = end.basis_usd / whole
            found.append(Part(lot, of, of * weight, end.on, end.how, end.term, end.gain_usd))
        of_rest: list[tuple[Decimal, End]] = [(lot.open_basis_usd / whole, "open"), (1 - known / whole, "left")]
        found += [Part(lot, of, of * weight, OPEN, how) for of, how in of_rest if of > 0]
    return found


def rate_of(rates: Rates, term_of_gain: str) -> Decimal:
    return rates.long if term_of_gain == "long" else rates.short
