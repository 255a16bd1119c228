"""The contract of `thresher lots` once more, slow and obvious, to hold the engine against.

It imports nothing of the project. Shares are fractions, amounts are whole cents, and nothing is indexed or
remembered that can be counted again: for every slice sold at a loss, every purchase is looked at.

Law      26 USC 1091(a), (d), 1222, 1223(3); Treas. Reg. 1.1091-1, 1.1091-2; Rev. Rul. 56-602, 66-7, 2008-5.
Order    first how many shares each sale takes from each lot, which depends on quantities only;
         then the dispositions from the first to the last, each with its losses by order of acquisition.
Omits    every kind but the plain buy and sell (rejected by name).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from functools import cached_property
from math import floor
from zoneinfo import ZoneInfo

NEW_YORK = ZoneInfo("America/New_York")
DEFERRED = {"traditional_ira", "roth_ira", "401k", "hsa", "sep_ira", "simple_ira", "inherited_ira"}
TAXABLE = {"taxable", "utma", "trust"}
OWNERS = {"self", "spouse", "joint"}
WINDOW_DAYS = 30

COLUMNS = (
    "trade_id",
    "account_id",
    "account_type",
    "owner",
    "security_id",
    "side",
    "quantity",
    "price_usd",
    "fee_usd",
    "traded_at",
    "lots",
)

Row = dict[str, object]


class RefusedError(Exception):
    """The row cannot be booked; the message says why."""


@dataclass(frozen=True)
class Trade:
    line: int
    trade_id: str
    account_id: str
    account_type: str
    owner: str
    security_id: str
    side: str
    quantity: Fraction
    cents: int  # cost of a buy, proceeds of a sell
    day: date
    instant: datetime | None  # None when only the date is known
    picks: tuple[tuple[str, Fraction], ...]

    @property
    def is_deferred(self) -> bool:
        return self.account_type in DEFERRED

    @cached_property
    def clock(self) -> tuple[date, int, float]:
        """The time of the trade: date-only buys before, date-only sells after the timed rows of the day."""
        if self.instant is not None:
            return self.day, 1, self.instant.timestamp()
        return self.day, 0 if self.side == "buy" else 2, 0.0

    @cached_property
    def order(self) -> tuple[date, int, float, int, bytes]:
        return *self.clock, 0 if self.side == "buy" else 1, self.trade_id.encode()

    @cached_property
    def replacement_order(self) -> tuple[date, int, float, bool, bytes]:
        """By trade time; at equal times the taxable account first."""
        return *self.clock, self.is_deferred, self.trade_id.encode()


@dataclass
class Pool:
    """Shares that left or will leave one by one, and an amount that goes with them by cumulative rounding."""

    shares: Fraction
    cents: int
    holding_since: date
    gone: Fraction = Fraction(0)
    held_for_sale_of: date | None = None  # matched because still held at the end of this day

    @property
    def left(self) -> Fraction:
        return self.shares - self.gone

    @property
    def cents_left(self) -> int:
        return self.cents - share_of(self.cents, self.gone, self.shares)

    def take(self, quantity: Fraction) -> int:
        before = share_of(self.cents, self.gone, self.shares)
        self.gone += quantity
        assert self.gone <= self.shares
        return share_of(self.cents, self.gone, self.shares) - before


@dataclass
class Lot:
    buy: Trade
    rest: Pool
    matched: list[Pool] = field(default_factory=list)
    deferred_matched: Fraction = Fraction(0)

    @property
    def acquisition_order(self) -> tuple[date, bytes]:
        return self.buy.day, self.buy.trade_id.encode()


@dataclass
class Slice:
    lot: Lot
    quantity: Fraction
    basis_cents: int
    holding_since: date
    proceeds_cents: int = 0


def half_up(value: Fraction) -> int:
    """The nearest whole number, a half by its size upwards: proceeds below zero round as a cost does.

    >>> half_up(Fraction(5, 2)), half_up(Fraction(-5, 2)), half_up(Fraction(-49, 20))
    (3, -3, -2)
    """
    return floor(value + Fraction(1, 2)) if value >= 0 else -floor(-value + Fraction(1, 2))


def share_of(cents: int, part: Fraction, whole: Fraction) -> int:
    return half_up(Fraction(cents) * part / whole)


def is_long(holding_since: date, sold_on: date) -> bool:
    """
    >>> is_long(date(2023, 2, 28), date(2024, 2, 29)), is_long(date(2023, 2, 28), date(2024, 3, 1))
    (False, True)
    """
    if holding_since >= date.max - timedelta(days=365):  # the calendar ends before a year has passed
        return False
    start = holding_since + timedelta(days=1)
    if (start.month, start.day) == (2, 29):
        anniversary = date(start.year + 1, 3, 1)
    else:
        anniversary = start.replace(year=start.year + 1)
    return sold_on >= anniversary


# Reading


def number(text: str, name: str) -> Fraction:
    try:
        value = Decimal(text)
    except InvalidOperation as error:
        raise RefusedError(f"{name} {text!r} is no number") from error
    if not value.is_finite():
        raise RefusedError(f"{name} {text!r} is no number")
    return Fraction(value)


def shares(text: str, name: str) -> Fraction:
    value = number(text, name)
    if value <= 0:
        raise RefusedError(f"{name} {text} is not above zero")
    if (value * 10**9).denominator != 1:
        raise RefusedError(f"{name} {text} has more than 9 decimals")
    return value


def when(text: str) -> tuple[date, datetime | None]:
    """The New York date, and the instant when there is one."""
    try:
        if len(text) == 10:
            return date.fromisoformat(text), None
        moment = datetime.fromisoformat(text)
        moment = moment.replace(tzinfo=NEW_YORK) if moment.tzinfo is None else moment.astimezone(NEW_YORK)
    except (ValueError, OverflowError) as error:
        raise RefusedError(f"traded_at {text!r} is no date") from error
    return moment.date(), moment


def read(row: dict[str, str], line: int) -> Trade:
    if not row["trade_id"]:
        raise RefusedError("no trade_id")
    if row.get("kind"):
        raise RefusedError(f"kind {row['kind']} is not modelled")
    if row["account_type"] not in DEFERRED | TAXABLE:
        raise RefusedError(f"unknown account_type {row['account_type']}")
    if row["owner"] not in OWNERS:
        raise RefusedError(f"unknown owner {row['owner']}")
    if row["side"] not in ("buy", "sell"):
        raise RefusedError(f"unknown side {row['side']}")
    quantity = shares(row["quantity"], "quantity")
    price, fee = number(row["price_usd"], "price_usd"), number(row["fee_usd"], "fee_usd")
    if price < 0 or fee < 0:
        raise RefusedError("price_usd or fee_usd is below zero")
    amount = quantity * price + (fee if row["side"] == "buy" else -fee)
    day, instant = when(row["traded_at"])
    picks = []
    for pick in filter(None, (row.get("lots") or "").split(";")):
        lot_id, colon, text = pick.rpartition(":")
        if not colon:
            raise RefusedError(f"pick {pick!r} is not LOT:QTY")
        picks.append((lot_id, shares(text, "pick")))
    return Trade(
        line=line,
        trade_id=row["trade_id"],
        account_id=row["account_id"],
        account_type=row["account_type"],
        owner=row["owner"],
        security_id=row["security_id"],
        side=row["side"],
        quantity=quantity,
        cents=half_up(amount * 100),
        day=day,
        instant=instant,
        picks=tuple(picks),
    )


# Quantities: which sale takes how much from which lot


def fifo(open_lots: list[tuple[Trade, Fraction]], quantity: Fraction) -> dict[str, Fraction]:
    taken: dict[str, Fraction] = {}
    for buy, left in sorted(open_lots, key=lambda lot: (lot[0].day, lot[0].trade_id.encode())):
        if quantity > 0 and left > 0:
            taken[buy.trade_id] = min(quantity, left)
            quantity -= taken[buy.trade_id]
    return taken


def relieve(trades: list[Trade]) -> tuple[list[tuple[Trade, dict[str, Fraction]]], list[tuple[Trade, str]]]:
    """Each sale with what it takes of each lot, in the order of trading; and the sales that cannot be."""
    sales: list[tuple[Trade, dict[str, Fraction]]] = []
    refused: list[tuple[Trade, str]] = []
    bought: list[Trade] = []
    for trade in sorted(trades, key=lambda trade: trade.order):
        if trade.side == "buy":
            bought.append(trade)
            continue
        open_lots = [
            (buy, buy.quantity - sum(taken[buy.trade_id] for _, taken in sales if buy.trade_id in taken))
            for buy in bought
            if (buy.account_id, buy.security_id) == (trade.account_id, trade.security_id)
        ]
        picked: dict[str, Fraction] = {}
        for lot_id, quantity in trade.picks:
            picked[lot_id] = picked.get(lot_id, Fraction(0)) + quantity
        held = {buy.trade_id: left for buy, left in open_lots}
        if sum(held.values()) < trade.quantity:
            refused.append((trade, "oversell"))
        elif picked and sum(picked.values()) != trade.quantity:
            refused.append((trade, "the picks do not add up to the sale"))
        elif any(held.get(lot_id, 0) < quantity for lot_id, quantity in picked.items()):
            refused.append((trade, "a pick is not open with enough shares in this account and security"))
        elif picked and not trade.is_deferred:
            sales.append((trade, picked))
        else:
            sales.append((trade, fifo(open_lots, trade.quantity)))
    return sales, refused


# Amounts and wash sales


class Books:
    def __init__(self, trades: list[Trade], identical: dict[str, str], as_of: date) -> None:
        self.sales, self.refused = relieve(trades)
        self.group = lambda security_id: identical.get(security_id, security_id)
        self.as_of = as_of
        self.lots = {
            trade.trade_id: Lot(trade, Pool(trade.quantity, trade.cents, trade.day))
            for trade in trades
            if trade.side == "buy"
        }
        self.disposals: list[Row] = []
        self.wash_sales: list[Row] = []
        for sale, taken in self.sales:
            self.sell(sale, taken)

    def sell(self, sale: Trade, taken: dict[str, Fraction]) -> None:
        slices = self.slices(taken)
        if sale.is_deferred:
            return
        sold = Fraction(0)
        for piece in slices:
            piece.proceeds_cents = -share_of(sale.cents, sold, sale.quantity)
            sold += piece.quantity
            piece.proceeds_cents += share_of(sale.cents, sold, sale.quantity)
        for piece in slices:
            self.dispose(sale, piece)

    def slices(self, taken: dict[str, Fraction]) -> list[Slice]:
        """What the sale takes, by order of acquisition; of one lot matched slices first, then the rest."""
        slices = []
        for lot in sorted((self.lots[lot_id] for lot_id in taken), key=lambda lot: lot.acquisition_order):
            quantity = taken[lot.buy.trade_id]
            for pool in [*lot.matched, lot.rest]:
                part = min(quantity, pool.left)
                if part > 0:
                    slices.append(Slice(lot, part, pool.take(part), pool.holding_since))
                    quantity -= part
            assert quantity == 0
        return slices

    def dispose(self, sale: Trade, piece: Slice) -> None:
        loss_cents = piece.basis_cents - piece.proceeds_cents
        disallowed = permanent = 0
        if loss_cents > 0:
            disallowed, permanent = self.match(sale, piece, loss_cents)
        self.disposals.append(
            {
                "trade_id": sale.trade_id,
                "lot_id": piece.lot.buy.trade_id,
                "account_id": sale.account_id,
                "security_id": sale.security_id,
                "quantity": decimal(piece.quantity),
                "acquired_on": piece.lot.buy.day,
                "holding_since": piece.holding_since,
                "sold_on": sale.day,
                "proceeds_usd": usd(piece.proceeds_cents),
                "basis_usd": usd(piece.basis_cents),
                "adjustment_code": "W" if disallowed else "",
                "adjustment_usd": usd(disallowed),
                "permanent_usd": usd(permanent),
                "gain_usd": usd(disallowed - loss_cents),
                "term": "long" if is_long(piece.holding_since, sale.day) else "short",
                "is_provisional": loss_cents > 0 and (self.as_of - sale.day).days <= WINDOW_DAYS,
            }
        )

    def match(self, sale: Trade, piece: Slice, loss_cents: int) -> tuple[int, int]:
        """Give the loss to the purchases that replace it: (disallowed, lost for good), in cents."""
        matched = Fraction(0)
        permanent = 0
        for lot in sorted(self.lots.values(), key=lambda lot: lot.buy.replacement_order):
            if lot is piece.lot or abs((lot.buy.day - sale.day).days) > WINDOW_DAYS:
                continue
            if self.group(lot.buy.security_id) != self.group(sale.security_id):
                continue
            quantity = min(piece.quantity - matched, self.replaceable(lot, sale))
            if quantity <= 0:
                continue
            disallowed = -share_of(loss_cents, matched, piece.quantity)
            matched += quantity
            disallowed += share_of(loss_cents, matched, piece.quantity)
            if lot.buy.is_deferred:
                lot.deferred_matched += quantity
                permanent += disallowed
            else:
                held = min(sale.day - piece.holding_since, lot.buy.day - date.min)  # the calendar begins there
                cents = lot.rest.take(quantity) + disallowed
                pool = Pool(quantity, cents, lot.buy.day - held)
                pool.held_for_sale_of = sale.day if lot.buy.order < sale.order else None
                lot.matched.append(pool)
            self.wash_sales.append(
                {
                    "trade_id": sale.trade_id,
                    "sold_lot_id": piece.lot.buy.trade_id,
                    "replacement_lot_id": lot.buy.trade_id,
                    "quantity": decimal(quantity),
                    "disallowed_usd": usd(disallowed),
                    "permanent_usd": usd(disallowed if lot.buy.is_deferred else 0),
                }
            )
        return share_of(loss_cents, matched, piece.quantity), permanent

    def replaceable(self, lot: Lot, sale: Trade) -> Fraction:
        """How many shares of the lot may still replace shares of the sale."""
        if lot.buy.is_deferred:
            return lot.buy.quantity - lot.deferred_matched
        if lot.buy.order > sale.order:
            return lot.rest.left
        today = [pool for pool in lot.matched if pool.held_for_sale_of == sale.day]
        matched_before = sum((pool.left for pool in lot.matched if pool not in today), Fraction(0))
        matched_today = sum((pool.shares for pool in today), Fraction(0))
        leaving_today = self.sold(lot, lambda other: other.day == sale.day and other.order > sale.order)
        held_tonight = lot.buy.quantity - self.sold(lot, lambda other: other.day <= sale.day)
        return min(lot.rest.left, held_tonight - max(Fraction(0), matched_before - leaving_today) - matched_today)

    def sold(self, lot: Lot, counts) -> Fraction:
        lot_id = lot.buy.trade_id
        return sum((taken[lot_id] for sale, taken in self.sales if lot_id in taken and counts(sale)), Fraction(0))

    def open_lots(self) -> list[Row]:
        return [
            {
                "lot_id": lot.buy.trade_id,
                "account_id": lot.buy.account_id,
                "security_id": lot.buy.security_id,
                "quantity": decimal(pool.left),
                "acquired_on": lot.buy.day,
                "holding_since": pool.holding_since,
                "basis_usd": usd(pool.cents_left),
            }
            for lot in self.lots.values()
            for pool in [*lot.matched, lot.rest]
            if pool.left > 0
        ]


def decimal(quantity: Fraction) -> Decimal:
    return Decimal(int(quantity * 10**9)) / 10**9


def usd(cents: int) -> Decimal:
    return Decimal(cents) / 100


def is_later(traded_at: str, as_of: date) -> bool:
    """Rows after as_of are left out, whatever else they say; a date that cannot be read is not after it."""
    try:
        return when(traded_at)[0] > as_of
    except RefusedError:
        return False


def run(
    trades: list[dict[str, str]], identical: dict[str, str], as_of: date
) -> tuple[list[Row], list[Row], list[Row], list[Row]]:
    """Book the rows of a trades file: (disposals, open_lots, wash_sales, rejects).

    >>> row = dict(account_id="a", account_type="taxable", owner="self", security_id="X", fee_usd="0")
    >>> buy = row | dict(trade_id="A", side="buy", quantity="2", price_usd="5", traded_at="2025-01-02")
    >>> sell = row | dict(trade_id="S", side="sell", quantity="2", price_usd="4", traded_at="2025-01-03")
    >>> [sold], open_lots, wash_sales, rejects = run([sell, buy], {}, date(2025, 12, 31))
    >>> sold["gain_usd"], open_lots, wash_sales, rejects
    (Decimal('-2'), [], [], [])
    """
    accepted: list[Trade] = []
    rejects: list[Row] = []
    seen: set[str] = set()
    accounts: dict[str, tuple[str, str]] = {}
    for line, row in enumerate(trades, start=2):
        try:
            is_duplicate = row["trade_id"] in seen
            seen.add(row["trade_id"])
            if is_later(row["traded_at"], as_of):
                continue
            if is_duplicate:
                raise RefusedError("duplicate trade_id")
            trade = read(row, line)
            kind = trade.account_type, trade.owner
            if accounts.setdefault(trade.account_id, kind) != kind:
                raise RefusedError(f"account {trade.account_id} contradicts its first row")
            accepted.append(trade)
        except RefusedError as refused:
            rejects.append({"line": line, "trade_id": row["trade_id"], "reason": str(refused)})
    books = Books(accepted, identical, as_of)
    rejects += [{"line": sale.line, "trade_id": sale.trade_id, "reason": why} for sale, why in books.refused]
    return books.disposals, books.open_lots(), books.wash_sales, sorted(rejects, key=lambda row: row["line"])
