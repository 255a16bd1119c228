"""The world, behind one Protocol for brokers, one for banks and one for markets.

A connector delivers rows as they come, every value as text, and says how far its source speaks. It judges
nothing: names, units and rules come later (sql/stg, transforms/tables.py).
"""

from collections.abc import Collection
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple, Protocol

import polars as pl

from flows.csv_file import SURPLUS, Unreadable, csv_rows


class Unavailable(Exception):
    """A source cannot be read now; the day goes on without it. `may_pass`: trying again can help."""

    def __init__(self, message: str, *, may_pass: bool = False):
        super().__init__(message)
        self.may_pass = may_pass


class OrderRejected(Exception):
    """The broker will not take the order; its words."""


class Delivery(NamedTuple):
    """What a source delivered of one kind.

    Rows     a column `line`, then the source's own columns, all text (prices: typed, without `line`).
    """

    source: str
    kind: str  # activities, positions, balances, bank_lines, prices, securities, corporate_actions
    stated_on: date | None
    rows: pl.DataFrame


class Order(NamedTuple):
    """Units: quantity in shares, prices in USD a share. `lots` are identified to the broker where it takes them."""

    client_order_id: str
    side: str
    security_id: str
    quantity: Decimal
    lots: str
    placed_after: date  # the last completed session when it is placed
    limit_usd: Decimal | None = None  # none: at the market
    notional_usd: Decimal | None = None  # a purchase in dollars; `quantity` is then what it is expected to buy
    time_in_force: str = "day"


FINAL = ("rejected", "filled", "canceled", "expired")  # an order that says one of these moves no more


class OrderState(NamedTuple):
    """What the broker says of an order: that it was accepted, each of its fills, and how it ended.

    A fill's transaction arrives among the activities under the same id.
    """

    client_order_id: str
    event: str  # accepted, fill, or one of FINAL
    transaction_id: str  # of a fill, else empty
    quantity: Decimal  # shares of this fill; of an ended order those filled in all
    note: str


class LotsTaken(NamedTuple):
    """When a broker took the lots of a fill, and until when it would have. New York."""

    at: datetime
    until: datetime


class Quote(NamedTuple):
    """What a security trades at now. Units: USD a share; `at` is UTC."""

    security_id: str
    price_usd: Decimal
    at: datetime


class Broker(Protocol):
    """One account at one broker. Anything that asks it may raise Unavailable."""

    def activities(self, until: date) -> Delivery: ...

    def positions(self, until: date) -> Delivery:
        """symbol, quantity, and cost_usd where the broker says it. Cash by trade date is the symbol USD, settled
        cash the symbol USD.settled where the broker tells the two apart.
        """
        ...

    def balances(self, until: date) -> Delivery:
        """What else the broker says of the account: rows of name and value. Empty where it says nothing.

        The names: equity_usd, buying_power_usd, long_usd, short_usd, options_level (0 to 4), is_blocked (true, false),
        day_trades (of the last five sessions).
        """
        ...

    def now(self) -> datetime | None:
        """The time there, UTC; the clock of this machine may be wrong. None where the account keeps no time of its own."""
        ...

    def place_order(self, order: Order) -> OrderState:
        """Place it; placing the same client_order_id again places nothing and answers how the first one stands.

        Errors   OrderRejected.
        """
        ...

    def cancel_order(self, client_order_id: str) -> None:
        """Ask to cancel what is left of an order; how it ended is among its states. One that has ended stays so."""
        ...

    def order_states(self, until: date) -> list[OrderState]:
        """Every state of every order that the broker still tells of, in the order in which they came about."""
        ...

    def tell_lots(self, client_order_id: str, lots: str, on: date) -> LotsTaken:
        """Tell it the lots of an order that was filled, on the evening of a day.

        Errors   OrderRejected when it takes none, or none any more.
        """
        ...


class Bank(Protocol):
    def lines(self, until: date) -> Delivery: ...


class Market(Protocol):
    def securities(self) -> Delivery: ...

    def prices(self, since: date | None, until: date) -> Delivery: ...

    def corporate_actions(self, since: date, until: date) -> Delivery:
        """id, kind (split, dividend, spin_off, merger, symbol_change), symbol, on (the ex-date), ratio, new_symbol, cash_usd.

        Rows     none where the source has no such feed.
        """
        ...

    def quotes(self, symbols: Collection[str]) -> list[Quote]:
        """What they trade at now; one that does not trade is left out.

        Errors   Unavailable where the source has closes only.
        """
        ...


def no_rows(source: str, kind: str, stated_on: date | None, *columns: str) -> Delivery:
    """A delivery of a kind that the source has nothing of."""
    schema = {"line": pl.Int64} | dict.fromkeys(columns, pl.String)
    return Delivery(source, kind, stated_on, pl.DataFrame(schema=schema))


BALANCES = ("name", "value")
CORPORATE_ACTIONS = ("id", "kind", "symbol", "on", "ratio", "new_symbol", "cash_usd")


def text_rows(path: Path, expected: tuple[str, ...]) -> pl.DataFrame:
    """A CSV file as text with its line numbers; the header is line 1. What a row has beyond the header is in SURPLUS.

    Errors   Unavailable names the file, what was expected and what to do.
    """
    try:
        rows = [{"line": line, **row} for line, row in csv_rows(path, list(expected))]
    except Unreadable as wrong:
        raise Unavailable(str(wrong)) from wrong
    columns = dict.fromkeys((*(rows[0] if rows else ("line", *expected)), *(SURPLUS for row in rows if SURPLUS in row)))
    schema = {name: pl.Int64 if name == "line" else pl.String for name in columns}
    return pl.DataFrame(rows, schema=schema, orient="row").with_columns(pl.col(pl.String).fill_null(""))


def up_to(rows: pl.DataFrame, column: str, until: date, today: date) -> pl.DataFrame:
    """Leave out what lies between the day worked on and today: it is not known yet on that day.

    A date that cannot be read, or that lies after today, stays: it is for the contract to set aside.
    """
    day = pl.col(column).str.slice(0, 10).str.to_date("%Y-%m-%d", strict=False)
    return rows.filter(((day > until) & (day <= today)).not_() | day.is_null())
