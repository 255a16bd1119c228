"""The world, behind one Protocol for brokers, one for banks and one for markets.

A connector delivers rows as they come, every value as text, and says how far its source speaks. It judges
nothing: names, units and rules come later (sql/stg, transforms/tables.py).
"""

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
    kind: str  # activities, positions, bank_lines, prices, securities
    stated_on: date | None
    rows: pl.DataFrame


class Order(NamedTuple):
    """Units: quantity in shares. `lots` are identified to the broker where it takes them."""

    client_order_id: str
    side: str
    security_id: str
    quantity: Decimal
    lots: str
    placed_after: date  # the last completed session when it is placed


class OrderState(NamedTuple):
    """What the broker says of an order; a fill's transaction arrives among the activities under the same id."""

    client_order_id: str
    event: str  # accepted, rejected, filled
    transaction_id: str
    note: str


class LotsTaken(NamedTuple):
    """When a broker took the lots of a fill, and until when it would have. New York."""

    at: datetime
    until: datetime


class Broker(Protocol):
    """One account at one broker."""

    def activities(self, until: date) -> Delivery: ...

    def positions(self, until: date) -> Delivery: ...

    def place_order(self, order: Order) -> OrderState:
        """Place it; placing the same client_order_id again returns the first answer.

        Errors   OrderRejected.
        """
        ...

    def order_states(self, until: date) -> list[OrderState]: ...

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
