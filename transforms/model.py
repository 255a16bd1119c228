"""The frozen nouns that go row by row. Everything else travels in frames (tables.py)."""

from datetime import date, time
from decimal import Decimal
from fractions import Fraction
from typing import NamedTuple

IRAS = frozenset(("traditional_ira", "roth_ira", "sep_ira", "simple_ira", "inherited_ira"))
DEFERRED = IRAS | {"401k", "hsa"}
TAXABLE = frozenset(("taxable", "utma", "trust"))
OWNERS = frozenset(("self", "spouse", "joint", "corporation"))  # a corporation that the household controls


class Option(NamedTuple):
    """The terms of a listed option. Units: strike_usd a share; `per` shares a contract."""

    underlying_id: str
    right: str  # 'call' | 'put'
    strike_usd: Decimal
    per: int
    is_deep: bool = False  # written so deep in the money that it counts as a contract to acquire (policy)


class Trade(NamedTuple):
    """Shares that come or go for money, and what the law treats alike.

    Units    quantity in nano-shares; amount in cents: cost with fees, or proceeds net of them.
    """

    trade_id: str
    account_id: str
    security_id: str
    is_buy: bool
    quantity: int
    amount: int
    traded_on: date
    traded_at: time | None  # New York; None where the source knows the day only
    is_deferred: bool  # an IRA or another account whose basis the law never adjusts
    picks: tuple[tuple[str, int], ...] = ()  # (lot_id, nano-shares); empty is `method`
    method: str = "fifo"  # of a sale without picks: see methods.py
    replaces: bool = True  # a purchase in the sense of 26 USC 1091; a gift or an inheritance is none
    holding_since: date | None = None  # where the holding period is older than the purchase
    loss_amount: int | None = None  # of a gift: the basis for a loss, where it is lower
    is_short: bool = False  # a sale opens and a purchase closes a position that is owed
    is_digital: bool = False  # a digital asset that is no security
    option: Option | None = None

    @property
    def opens(self) -> bool:
        return self.is_buy != self.is_short


class Move(NamedTuple):
    """Shares that leave an account and are not sold: to another account, or (without one) given away.

    `amount` is their market value in cents where a deferred account distributes them in kind; else 0.
    """

    trade_id: str
    account_id: str
    security_id: str
    quantity: int
    traded_on: date
    traded_at: time | None
    is_deferred: bool
    to_account_id: str | None
    to_is_deferred: bool
    amount: int = 0
    picks: tuple[tuple[str, int], ...] = ()
    method: str = "fifo"


class Exercise(NamedTuple):
    """Contracts that become a purchase or a sale of their underlying: exercised by us, or (is_short) assigned to us.

    Units    quantity in nano-contracts; amount in cents: strike x shares, with the fee of a purchase, net of it of a sale.
    """

    trade_id: str
    account_id: str
    security_id: str  # of the option
    quantity: int
    amount: int
    traded_on: date
    traded_at: time | None
    is_deferred: bool
    is_short: bool
    option: Option
    picks: tuple[tuple[str, int], ...] = ()  # of the shares that are delivered
    method: str = "fifo"

    @property
    def is_buy(self) -> bool:
        """A call exercised and a put assigned bring shares; the other two deliver them."""
        return (self.option.right == "call") != self.is_short

    @property
    def shares(self) -> int:
        return self.quantity * self.option.per


class Action(NamedTuple):
    """What a company does to its shares, in every account at once, before the day's trading.

    Units    ratio in new shares an old one; basis_rate is the part of the basis that moves; cash_usd and price_usd a share
             (cash for an old one, the price of a new one).
    """

    trade_id: str
    kind: str  # 'split' | 'symbol_change' | 'spin_off' | 'merger' | 'return_of_capital'
    security_id: str
    traded_on: date
    ratio: Fraction = Fraction(1)
    new_security_id: str = ""
    basis_rate: Fraction = Fraction(0)
    cash_usd: Decimal = Decimal(0)
    price_usd: Decimal = Decimal(0)


Event = Trade | Move | Exercise | Action


class Disposal(NamedTuple):
    """One slice of one lot sold in one sale: a row of Form 8949. Units as in Trade; cents.

    A gain without a sale (cash in a merger, a return of capital above the basis) is a row of no shares. Of a position
    that was owed, `acquired_on` is the day on which it was closed.
    """

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
    """An open slice of a lot. Units as in Trade; cents. What is owed is negative: its shares, and its proceeds as basis."""

    lot_id: str
    account_id: str
    security_id: str
    quantity: int
    acquired_on: date
    holding_since: date
    basis: int
    is_deferred: bool


RULES = {
    "purchase": "26 USC 1091(a), (d); Treas. Reg. 1.1091-1, 1.1091-2",
    "deferred": "26 USC 1091(a); Rev. Rul. 2008-5",
    "option": "26 USC 1091(a), (d), 1223(3) (an option to acquire)",
    "written put": "26 USC 1091(a), (d); Rev. Rul. 85-87 (a contract to acquire; policy deep_put_moneyness)",
    "short sale": "26 USC 1091(e); Treas. Reg. 1.1091-1(g)",
}


class WashSale(NamedTuple):
    """A loss slice and the purchase that replaced it. Units: nano-shares, cents; disallowed is positive."""

    trade_id: str
    sold_lot_id: str
    replacement_lot_id: str
    quantity: int  # of the shares sold
    disallowed: int
    permanent: int
    days: int  # from the sale to the purchase; negative is before
    rule: str  # a key of RULES
    replacement_quantity: int  # of the replacement: another number across a split, or of contracts

    @property
    def citation(self) -> str:
        return RULES[self.rule]


class Refused(NamedTuple):
    """A trade that cannot be booked, and why."""

    trade_id: str
    reason: str


class Books(NamedTuple):
    disposals: list[Disposal]
    lots: list[Lot]
    wash_sales: list[WashSale]
    refused: list[Refused]
