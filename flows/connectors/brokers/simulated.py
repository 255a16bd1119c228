"""A broker that is a program of its own: history from a file, orders in a journal, fills by itself.

An order placed after the close of one session fills in the next one, at that session's price: never at the
close that decided it. Nothing but the journal is stored: fills, positions and cash follow from the history, the
journal and the prices, so the same question always gets the same answer.
"""

import json
from collections import defaultdict
from collections.abc import Mapping
from datetime import date, datetime, time, timedelta
from decimal import ROUND_HALF_UP, Decimal
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import polars as pl

from flows.connectors import Delivery, LotsTaken, Market, Order, OrderRejected, OrderState, text_rows, up_to
from flows.connectors.brokers.statements import ACTIVITY_COLUMNS

CENT = Decimal("0.01")
EVENING = time(18)
ACTIONS = ("split", "symbol_change", "merger", "spin_off")
MOVES = (
    "trade", "transfer", "gift", "inheritance", "dividend_reinvested", "award", "cash_in_lieu", "option_open", "option_close",
    "option_expire", "short_open", "short_close",
)  # fmt: skip


class PriceTable:
    """The prices that the simulation trades at: the market's own, its future too, read around the days asked for."""

    def __init__(self, market: Market):
        self._market = market
        self._after: dict[date, pl.DataFrame] = {}
        self._next: dict[date, dict[str, tuple[date, float]]] = {}

    def next_after(self, symbol: str, day: date) -> tuple[date, Decimal] | None:
        """The first session after a day, and its price; None while the data end."""
        if day not in self._next:
            rows = self._around(day).sort("session_on", descending=True)  # of a symbol's sessions the first one stays
            self._next[day] = {
                name: (on, price) for name, on, price in rows.select("symbol", "session_on", "price").rows()
            }
        if symbol not in self._next[day]:
            return None
        session_on, price = self._next[day][symbol]
        return session_on, Decimal(str(price)).quantize(CENT, ROUND_HALF_UP)

    def is_adjusted(self, day: date) -> bool:
        """True where the market has adjusted prices only: dividends are inside them and are not cash."""
        return bool(self._around(day - timedelta(days=14))["is_adjusted"].any())

    def _around(self, day: date) -> pl.DataFrame:
        if day not in self._after:
            rows = self._market.prices(day + timedelta(days=1), day + timedelta(days=14)).rows
            price = pl.coalesce("close_usd", "adjusted_close_usd").alias("price")
            self._after[day] = rows.select("symbol", "session_on", price, is_adjusted=pl.col("close_usd").is_null())
        return self._after[day]


class Fill(NamedTuple):
    order: Order
    session_on: date
    price_usd: Decimal

    @property
    def amount_usd(self) -> Decimal:
        worth = (self.order.quantity * self.price_usd).quantize(CENT, ROUND_HALF_UP)
        return worth if self.order.side == "sell" else -worth

    @property
    def transaction_id(self) -> str:
        return f"fill-{self.order.client_order_id}"


class Simulated:
    """One account. What it has read of its files it remembers; ask a new one after they have changed."""

    def __init__(
        self, account_id: str, history: Path, journal: Path, prices: PriceTable, today: date, *, takes_lots: bool,
        takes_lots_until: time | None = None,
    ):  # fmt: skip
        self.account_id = account_id
        self._history, self._journal, self._prices, self._today = history, journal, prices, today
        self._takes_lots = takes_lots
        self._takes_lots_until = takes_lots_until  # after the fill, on its day
        self._held_on: dict[date, dict[str, Decimal]] = {}

    @cached_property
    def _rows(self) -> pl.DataFrame:
        return text_rows(self._history, ACTIVITY_COLUMNS)

    def activities(self, until: date) -> Delivery:
        history = up_to(self._rows, "at", until, self._today)
        if self._takes_lots_until is not None and "identified_at" not in history.columns:
            history = history.with_columns(
                identified_at=pl.lit("")
            )  # always: a row is the same row before and after a fill
        fills = [
            {
                "id": fill.transaction_id,
                "at": str(fill.session_on),
                "kind": "trade",
                "side": fill.order.side,
                "symbol": fill.order.security_id,
                "quantity": str(fill.order.quantity),
                "price_usd": str(fill.price_usd),
                "fee_usd": "0",
                "amount_usd": str(fill.amount_usd),
                "lots": fill.order.lots if self._takes_lots else "",
                "note": f"order {fill.order.client_order_id}",
            }
            | self._said_since(fill.order.client_order_id)
            for fill in self._fills(until)
        ]
        if fills:
            first = history.height + 2
            made = pl.DataFrame(fills).with_row_index("line", offset=first).with_columns(pl.col("line").cast(pl.Int64))
            history = pl.concat([history, made], how="diagonal").with_columns(pl.exclude("line").fill_null(""))
        return Delivery(self.account_id, "activities", until, history)

    def positions(self, until: date) -> Delivery:
        held: Mapping[str, Decimal] = self._held(until)
        rows = [{"line": i, "symbol": s, "quantity": f"{q:f}"} for i, (s, q) in enumerate(sorted(held.items()), 2) if q]
        schema = {"line": pl.Int64, "symbol": pl.String, "quantity": pl.String}
        return Delivery(self.account_id, "positions", until, pl.DataFrame(rows, schema=schema))

    def place_order(self, order: Order) -> OrderState:
        if any(known.client_order_id == order.client_order_id for known in self._orders):
            return OrderState(order.client_order_id, "accepted", "", "it was there already")
        if order.placed_after not in self._held_on:  # an order fills after that day: placing more changes nothing of it
            self._held_on[order.placed_after] = self._held(order.placed_after)
        if order.side == "sell" and order.quantity > self._held_on[order.placed_after].get(
            order.security_id, Decimal(0)
        ):
            raise OrderRejected(f"{self.account_id} does not hold {order.quantity} of {order.security_id}")
        self._journal.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with self._journal.open("a", encoding="utf-8") as journal:
            row = {"account_id": self.account_id, **order._asdict()}
            journal.write(json.dumps(row, default=str) + "\n")
        self._orders.append(order)
        return OrderState(order.client_order_id, "accepted", "", "fills in the next session")

    def order_states(self, until: date) -> list[OrderState]:
        filled = {fill.order.client_order_id: fill for fill in self._fills(until)}
        return [
            OrderState(
                order.client_order_id, "filled", fill.transaction_id,
                f"{order.quantity:f} at {fill.price_usd} on {fill.session_on}",
            )
            if (fill := filled.get(order.client_order_id))
            else OrderState(order.client_order_id, "accepted", "", "fills in the next session")
            for order in self._orders
        ]  # fmt: skip

    def tell_lots(self, client_order_id: str, lots: str, on: date) -> LotsTaken:
        """Its clock is the evening of the day, or of the fill where that is later: 18:00, when the day's run has seen it."""
        fill = next((fill for fill in self._fills(date.max) if fill.order.client_order_id == client_order_id), None)
        if self._takes_lots_until is None or fill is None:
            raise OrderRejected(f"{self.account_id} takes no lots for {client_order_id}")
        at = datetime.combine(max(on, fill.session_on), EVENING)
        until = datetime.combine(fill.session_on, self._takes_lots_until)
        if at > until:
            raise OrderRejected(f"too late: {self.account_id} took the lots of {client_order_id} until {until}")
        with self._journal.open("a", encoding="utf-8") as journal:
            row = {"account_id": self.account_id, "lots_of": client_order_id, "lots": lots, "identified_at": str(at)}
            journal.write(json.dumps(row) + "\n")
        self._told[client_order_id] = (lots, str(at))
        return LotsTaken(at, until)

    def _said_since(self, client_order_id: str) -> dict[str, str]:
        """What a fill's row says of lots that were told after it."""
        if self._takes_lots_until is None:
            return {}
        lots, at = self._told.get(client_order_id, ("", ""))
        return {"lots": lots, "identified_at": at}

    @cached_property
    def _told(self) -> dict[str, tuple[str, str]]:
        """Lots that it was told after the fill, and when, by order."""
        return {row["lots_of"]: (row["lots"], row["identified_at"]) for row in self._journaled if "lots_of" in row}

    @property
    def _journaled(self) -> list[dict[str, str]]:
        if not self._journal.exists():
            return []
        rows = [json.loads(line) for line in self._journal.read_text(encoding="utf-8").splitlines()]
        return [row for row in rows if row["account_id"] == self.account_id]

    @cached_property
    def _orders(self) -> list[Order]:
        return [
            Order(
                row["client_order_id"], row["side"], row["security_id"], Decimal(row["quantity"]), row["lots"],
                date.fromisoformat(row["placed_after"]),
            )
            for row in self._journaled
            if "lots_of" not in row
        ]  # fmt: skip

    def _fills(self, until: date) -> list[Fill]:
        fills = []
        for order in self._orders:
            found = self._prices.next_after(order.security_id, order.placed_after)
            if found and found[0] <= until:
                fills.append(Fill(order, *found))
        return fills

    def _held(self, until: date) -> dict[str, Decimal]:
        """Shares by symbol, and dollars under USD, by the broker's own books."""
        held: dict[str, Decimal] = defaultdict(Decimal)
        rows = up_to(self._rows, "at", until, self._today)
        is_adjusted = self._prices.is_adjusted(until)
        for row in rows.iter_rows(named=True):
            try:
                quantity, amount = Decimal(row["quantity"] or 0), Decimal(row["amount_usd"] or 0)
                is_known = date.fromisoformat(row["at"][:10]) <= until and quantity.is_finite() and amount.is_finite()
            except (ArithmeticError, ValueError):
                continue  # a row that nobody can read is in nobody's books
            if not is_known:
                continue
            _move_shares(held, row, quantity)
            if (
                row["kind"] not in ("dividend", "dividend_reinvested") or not is_adjusted
            ):  # else it is in the price already
                held["USD"] += amount
        for fill in self._fills(until):
            held[fill.order.security_id] += fill.order.quantity * (1 if fill.order.side == "buy" else -1)
            held["USD"] += fill.amount_usd
        return held


def _move_shares(held: dict[str, Decimal], row: Mapping[str, str], quantity: Decimal) -> None:
    """What a row of the history does to the shares, in the order of the file.

    Omits    exercises, and shares that another account transfers in: say those in a statement.
    """
    kind, symbol = row["kind"], row["symbol"]
    if kind in ACTIONS:
        new, _, old = row.get("ratio", "").partition(":")
        made = held[symbol] * (Decimal(new) / Decimal(old) if old else 1)
        to = row.get("new_security_id") or symbol
        if kind != "spin_off":
            held[symbol] = Decimal(0)
        held[to] += made
    elif kind in MOVES:
        held[symbol] += quantity if row["side"] == "buy" else -quantity
