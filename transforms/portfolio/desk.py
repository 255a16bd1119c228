"""What trades are made from: accounts, open lots, what may be bought, and what is left of every limit while they are made."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import NamedTuple

from transforms.harvest.benefit import Rates
from transforms.portfolio.cash_flow import ZERO

DOLLAR = Decimal(1)  # brokers take no smaller order


class Account(NamedTuple):
    """What an account is to a trade. Units: USD; `unit` is the smallest part of a share that it takes."""

    is_deferred: bool
    reaches_any_lot: bool
    unit: Decimal
    max_order_usd: Decimal


class OpenLot(NamedTuple):
    """A lot that may be sold, or a piece of several. Units: shares; unrealised gains by term in USD, signed."""

    account_id: str
    security_id: str
    asset_class: str
    lot_id: str
    quantity: Decimal
    short_gain_usd: Decimal
    long_gain_usd: Decimal
    parts: tuple[tuple[str, Decimal], ...] = ()  # of a piece its lots in their order, with the shares of each


class Sale(NamedTuple):
    security_id: str
    quantity: Decimal
    price_usd: Decimal
    picks: tuple[tuple[str, Decimal], ...]


class Purchase(NamedTuple):
    security_id: str
    asset_class: str
    quantity: Decimal
    price_usd: Decimal


class Swap(NamedTuple):
    """What one account sells of one class (or the cash that it spends) and what it buys for it. Units: USD.

    `tax_usd` is what the year's return would show; `worth_usd` what less drift is worth, None where nobody can tell.
    """

    account_id: str
    asset_class: str
    sales: tuple[Sale, ...]
    purchases: tuple[Purchase, ...]
    tax_usd: Decimal
    cost_usd: Decimal
    worth_usd: Decimal | None

    @property
    def sold_usd(self) -> Decimal:
        return sum((one.quantity * one.price_usd for one in self.sales), ZERO)

    @property
    def bought_usd(self) -> Decimal:
        return sum((one.quantity * one.price_usd for one in self.purchases), ZERO)


class LeftAlone(NamedTuple):
    """A holding that would be sold and is not, and why. Units: USD."""

    account_id: str
    asset_class: str
    security_id: str
    value_usd: Decimal
    reason: str


class Policy(NamedTuple):
    """Units: USD; fractions; basis points of what is traded."""

    min_trade_usd: Decimal
    cushion_rate: Decimal
    spread_bps: Decimal

    @property
    def left(self) -> Decimal:
        """The part of money that may be spent."""
        return 1 - self.cushion_rate

    @property
    def least_sale_usd(self) -> Decimal:
        return max(DOLLAR, self.min_trade_usd)

    @property
    def least_purchase_usd(self) -> Decimal:
        """What the smallest sale pays for."""
        return max(DOLLAR, self.min_trade_usd * self.left)


@dataclass
class Desk:
    """What trades are made from, and what is left of it while they are made. Units: USD.

    `distance_usd` is value less target of every class; `drift_cost` says what such distances cost, or None; of the classes
    `unmeasured` nobody can tell. `choices` are the securities that an account may buy of a class, the best first.
    """

    accounts: Mapping[str, Account]
    prices: Mapping[str, Decimal]
    lots: Sequence[OpenLot]  # of a holding oldest first
    choices: Mapping[tuple[str, str], Sequence[str]]
    distance_usd: dict[str, Decimal]
    policy: Policy
    rates: Rates
    gains_usd: list[Decimal]  # short and long, of the year so far
    gains_left_usd: list[Decimal | None]  # that a day's sales may still realise
    turnover_left_usd: Decimal
    position_left_usd: Mapping[str, Decimal]  # that may be bought of a security; one that is not named: any
    drift_cost: Callable[[Mapping[str, Decimal]], Decimal] | None = None
    unmeasured: Collection[str] = ()
    left_alone: list[LeftAlone] = field(default_factory=list)
    _ordered: dict[tuple[str, str, str], Decimal] = field(default_factory=dict)  # by account, security and side
    _bought: dict[str, Decimal] = field(default_factory=dict)

    def room(self, account_id: str, security_id: str, side: str) -> Decimal:
        """How much more of a security an account's order may be about."""
        left = self.accounts[account_id].max_order_usd - self._ordered.get((account_id, security_id, side), ZERO)
        if side == "buy" and security_id in self.position_left_usd:
            left = min(left, self.position_left_usd[security_id] - self._bought.get(security_id, ZERO))
        return max(ZERO, left)

    def moved(self, asset_class: str, usd: Decimal) -> None:
        self.distance_usd[asset_class] = self.distance_usd.get(asset_class, ZERO) + usd

    def book(self, account_id: str, security_id: str, side: str, usd: Decimal) -> None:
        key = account_id, security_id, side
        self._ordered[key] = self._ordered.get(key, ZERO) + usd
        self.turnover_left_usd -= usd
        if side == "buy":
            self._bought[security_id] = self._bought.get(security_id, ZERO) + usd
