"""An account that is known by its statements only: files that a broker lets people export, and no orders.

The file, or files, are in the format of the account (flows/connectors/formats). What is held comes from the same files
where they say it, else from a `positions` file in our own columns; where neither says it, there is nothing to compare
the books with, and the account is as fresh as its newest file.
"""

from datetime import date, datetime
from functools import cached_property
from pathlib import Path

import polars as pl

from flows.connectors import BALANCES, Delivery, LotsTaken, Order, OrderRejected, OrderState, no_rows, text_rows, up_to
from flows.connectors.formats import ACTIVITY_COLUMNS, POSITION_COLUMNS, Statement
from flows.connectors.formats.gathered import Source, gathered, rows, through
from flows.connectors.formats.numbers import value

__all__ = ["ACTIVITY_COLUMNS", "Statements"]


class Statements:
    def __init__(self, source: Source, positions: Path | None, today: date):
        self.account_id, self._source, self._positions, self._today = source.id, source, positions, today

    @cached_property
    def _files(self) -> list[Statement]:
        return gathered(self._source, "activities")

    def activities(self, until: date) -> Delivery:
        delivered = up_to(rows(self._source, self._files, "activities"), "at", until, self._today)
        return Delivery(self.account_id, "activities", self._stated_on(until), delivered)

    def positions(self, until: date) -> Delivery:
        stated = self._held_on(until)
        held = (
            self._told.filter(pl.col("as_of").str.to_date("%Y-%m-%d", strict=False) == stated)
            if stated
            else self._told.clear()
        )
        if self._positions is None:
            held = _once_a_symbol(held)
        return Delivery(self.account_id, "positions", stated or self._through(until), held)

    def balances(self, until: date) -> Delivery:
        return no_rows(self.account_id, "balances", self._stated_on(until), *BALANCES)

    def now(self) -> datetime | None:
        return None

    def place_order(self, order: Order) -> OrderState:
        raise OrderRejected(
            f"{self.account_id} is known by its statements only; place the order at the broker yourself"
        )

    def cancel_order(self, client_order_id: str) -> None:
        raise OrderRejected(
            f"{self.account_id} is known by its statements only; cancel the order at the broker yourself"
        )

    def order_states(self, until: date) -> list[OrderState]:
        return []

    def tell_lots(self, client_order_id: str, lots: str, on: date) -> LotsTaken:
        raise OrderRejected(f"{self.account_id} is known by its statements only; tell the broker the lots yourself")

    def _stated_on(self, until: date) -> date | None:
        """How far the activities speak: as far as the positions file that stands beside them, or as the files say."""
        return self._held_on(until) if self._positions is not None else self._through(until)

    def _through(self, until: date) -> date | None:
        return None if self._positions is not None else through(self._files, "activities", until, self._today)

    @cached_property
    def _told(self) -> pl.DataFrame:
        """All positions that were ever stated; of a day told twice, those of the newest file."""
        if self._positions is not None:
            return text_rows(self._positions, POSITION_COLUMNS)
        told = [one.positions for one in reversed(self._files)]
        frames, days = [told[0]], set(told[0]["as_of"])
        for frame in told[1:]:
            frames.append(frame.filter(~pl.col("as_of").is_in(days)))
            days |= set(frame["as_of"])
        return pl.concat(frames, how="diagonal").drop("account")

    def _held_on(self, until: date) -> date | None:
        """The newest day of which positions are stated that had come on that day."""
        stated = self._told["as_of"].str.to_date("%Y-%m-%d", strict=False)
        return stated.filter(stated <= until).max()  # type: ignore[return-value]


def _once_a_symbol(held: pl.DataFrame) -> pl.DataFrame:
    """Some brokers state a security once for each part of the account: those are one position."""
    if held["symbol"].is_unique().all():
        return held
    made: dict[str, dict[str, object]] = {}
    for row in held.iter_rows(named=True):
        first = made.setdefault(row["symbol"], row)
        if first is not row:
            for name in ("quantity", "cost_usd"):
                parts = value(str(first[name])), value(row[name])
                first[name] = f"{parts[0] + parts[1]:f}" if parts[0] is not None and parts[1] is not None else ""
    return pl.DataFrame(list(made.values()), schema=held.schema)
