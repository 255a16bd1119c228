"""An account that is known by its statements only: two CSV files, and no orders.

The positions file says how far the statements speak (column as_of); the activities file is the same as the
simulated broker's history. Any broker whose export is brought into these columns can be read.
"""

from datetime import date
from pathlib import Path

import polars as pl

from flows.connectors import Delivery, LotsTaken, Order, OrderRejected, OrderState, text_rows, up_to

ACTIVITY_COLUMNS = ("id", "at", "kind", "side", "symbol", "quantity", "price_usd", "fee_usd", "amount_usd", "lots")
POSITION_COLUMNS = ("symbol", "quantity", "as_of")


class Statements:
    def __init__(self, account_id: str, activities: Path, positions: Path, today: date):
        self.account_id = account_id
        self._activities, self._positions, self._today = activities, positions, today

    def activities(self, until: date) -> Delivery:
        rows = up_to(text_rows(self._activities, ACTIVITY_COLUMNS), "at", until, self._today)
        return Delivery(self.account_id, "activities", self._stated_on(until), rows)

    def positions(self, until: date) -> Delivery:
        rows = text_rows(self._positions, POSITION_COLUMNS)
        stated = self._stated_on(until)
        latest = (
            rows.filter(pl.col("as_of").str.to_date("%Y-%m-%d", strict=False) == stated) if stated else rows.clear()
        )
        return Delivery(self.account_id, "positions", stated, latest)

    def place_order(self, order: Order) -> OrderState:
        raise OrderRejected(
            f"{self.account_id} is known by its statements only; place the order at the broker yourself"
        )

    def order_states(self, until: date) -> list[OrderState]:
        return []

    def tell_lots(self, client_order_id: str, lots: str, on: date) -> LotsTaken:
        raise OrderRejected(f"{self.account_id} is known by its statements only; tell the broker the lots yourself")

    def _stated_on(self, until: date) -> date | None:
        """The newest statement that existed on that day."""
        rows = text_rows(self._positions, POSITION_COLUMNS)
        stated = rows["as_of"].str.to_date("%Y-%m-%d", strict=False)
        return stated.filter(stated <= until).max()  # type: ignore[return-value]
