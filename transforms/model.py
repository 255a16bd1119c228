"""The frozen nouns that go row by row. Everything else travels in frames (tables.py)."""

from datetime import date, time
from typing import NamedTuple

DEFERRED = frozenset(("traditional_ira", "roth_ira", "401k", "hsa", "sep_ira", "simple_ira", "inherited_ira"))
TAXABLE = frozenset(("taxable", "utma", "trust"))
OWNERS = frozenset(("self", "spouse", "joint"))


class Trade(NamedTuple):
    """A buy or a sell. Units: quantity in nano-shares; amount in cents: cost with fees, or proceeds net of them."""

    trade_id: str
    account_id: str
    security_id: str
    is_buy: bool
    quantity: int
    amount: int
    traded_on: date
    traded_at: time | None  # New York; None where the source knows the day only
    is_deferred: bool  # an IRA or another account whose basis the law never adjusts
    picks: tuple[tuple[str, int], ...] = ()  # (lot_id, nano-shares); empty is FIFO


class Disposal(NamedTuple):
    """One slice of one lot sold in one sale: a row of Form 8949. Units as in Trade; cents."""

    trade_id: str
    lot_id: str
    account_id: str
    security_id: str
    quantity: int
    acquired_on: date
    holding_since: date  # the day that is not counted
    sold_on: date
    proceeds: int
    basis: int
    disallowed: int
    permanent: int
    term: str  # 'short' | 'long'

    @property
    def gain(self) -> int:
        return self.proceeds - self.basis + self.disallowed


class Lot(NamedTuple):
    """An open slice of a lot. Units as in Trade; cents."""

    lot_id: str
    account_id: str
    security_id: str
    quantity: int
    acquired_on: date
    holding_since: date
    basis: int
    is_deferred: bool


class WashSale(NamedTuple):
    """A loss slice and the purchase that replaced it. Units: nano-shares, cents; disallowed is positive."""

    trade_id: str
    sold_lot_id: str
    replacement_lot_id: str
    quantity: int
    disallowed: int
    permanent: int
    days: int  # from the sale to the purchase; negative is before
    citation: str


class Refused(NamedTuple):
    """A trade that cannot be booked, and why."""

    trade_id: str
    reason: str


class Books(NamedTuple):
    disposals: list[Disposal]
    lots: list[Lot]
    wash_sales: list[WashSale]
    refused: list[Refused]
