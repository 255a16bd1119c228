"""Faults planted on purpose, in the child only: each replaces a function, and each has to be found."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from decimal import Decimal
from typing import Any, NamedTuple

import flows.daily
import flows.fills
import flows.orders
from flows.connectors import OrderRejected, OrderState, Unavailable
from flows.connectors.alpaca import Refused
from flows.connectors.brokers.alpaca import AlpacaBroker, _request
from flows.decide import lines_of
from flows.pre_trade import Known
from transforms.lots.ahead import Ahead
from warehouse.db import Warehouse


class Bug(NamedTuple):
    plant: Callable[[], None]
    words: str
    faults: tuple[str, ...] = ()  # those that it takes, where they are too rare among all to wait for


def _intent_after_the_order() -> None:
    send, add = flows.orders._send, Warehouse.add
    held: list[tuple] = []

    def adding(self: Warehouse, table: str, *rows: tuple) -> None:
        return held.extend(rows) if table == "ledger.intents" else add(self, table, *rows)

    def sending(warehouse: Warehouse, day: Any, lines: list) -> None:
        by_key = {line.key: line for line in lines}
        for row in sorted(held, key=lambda row: by_key[row[1], row[2]].side == "buy"):
            line = by_key[row[1], row[2]]
            broker = next(day.broker(a) for a in day.settings.portfolio.accounts if a.id == line.account_id)
            order = flows.orders.Order(
                row[0], line.side, line.security_id, flows.orders._plain(row[4]), "", day.as_of, row[5]
            )
            try:
                broker.place_order(order)
            except (OrderRejected, Unavailable):
                continue
        add(warehouse, "ledger.intents", *held)
        held.clear()
        send(warehouse, day, lines)

    Warehouse.add, flows.orders._send = adding, sending  # type: ignore[method-assign]


def _name_from_the_time() -> None:
    place = AlpacaBroker.place_order

    def placing(self: AlpacaBroker, order: Any) -> Any:
        from time import time_ns

        return place(self, order._replace(client_order_id=f"{order.client_order_id.rpartition('.')[0]}.{time_ns()}"))

    AlpacaBroker.place_order = placing  # type: ignore[method-assign]


def _fill_with_another_id() -> None:
    activities = AlpacaBroker.activities

    def changing(self: AlpacaBroker, until: Any) -> Any:
        import polars as pl

        told = activities(self, until)
        rows = told.rows
        if "alpaca_activity_type" not in rows.columns:
            return told
        is_fill = pl.col("alpaca_activity_type") == "FILL"
        named = pl.when(is_fill).then(pl.format("{}#{}", "id", pl.lit(str(until)))).otherwise("id")
        return told._replace(rows=rows.with_columns(id=named))

    AlpacaBroker.activities = changing  # type: ignore[method-assign]


def _post(self: AlpacaBroker, order: Any) -> OrderState:
    return self._standing(self._object(self._client.post("/orders", _request(order)), "/orders"))


def _duplicate_is_a_rejection() -> None:
    def placing(self: AlpacaBroker, order: Any) -> OrderState:
        for _ in range(2):
            try:
                return _post(self, order)
            except Unavailable as no:
                if isinstance(no, Refused) and no.status != 422:
                    raise OrderRejected(no.words) from None
                if isinstance(no, Refused):
                    order = order._replace(client_order_id=f"{order.client_order_id}b")
        return _post(self, order)

    AlpacaBroker.place_order = placing  # type: ignore[method-assign]


def _lost_is_not_placed() -> None:
    send = flows.orders._send
    lost: list[str] = []

    def placing(self: AlpacaBroker, order: Any) -> OrderState:
        try:
            return _post(self, order)
        except Refused as no:
            raise OrderRejected(no.words) from None
        except Unavailable:
            lost.append(order.client_order_id)
            raise

    def sending(warehouse: Warehouse, day: Any, lines: list) -> None:
        send(warehouse, day, lines)
        warehouse.add(
            "ledger.order_events", *((name, "canceled", "", Decimal(0), "no answer", day.clock.now()) for name in lost)
        )
        lost.clear()

    AlpacaBroker.place_order, flows.orders._send = placing, sending  # type: ignore[method-assign]


def _nobody_asks() -> None:
    flows.orders.note_states = flows.daily.note_states = lambda *_: None  # type: ignore[assignment]


def _alike_fills_are_one() -> None:
    activities = AlpacaBroker._activities

    def fewer(self: AlpacaBroker, kind: str = "", *, after: Any = None) -> Iterator[dict]:
        seen = set()
        for one in activities(self, kind, after=after):
            key = (one.get("transaction_time", one["id"])[:10], one.get("symbol"), one.get("qty"), one.get("side"))
            if one.get("activity_type") != "FILL" or key not in seen:
                yield one
            seen.add(key)

    AlpacaBroker._activities = fewer  # type: ignore[method-assign,assignment]


def _all_of_it_again() -> None:
    """After the gates: they would refuse it."""
    attempts, intent = flows.orders.attempts_of, flows.orders._intent
    whole: dict[Any, Decimal] = {}

    def remembering(day: Any, lines: list, *given: Any) -> list:
        whole.update({line.key: line.quantity for line in lines})
        return attempts(day, lines, *given)

    def again(day: Any, attempt: Any) -> tuple:
        return intent(day, attempt._replace(line=attempt.line._replace(quantity=whole[attempt.line.key])))

    flows.orders.attempts_of, flows.orders._intent = remembering, again


def _each_account_by_itself() -> None:
    def effects(self: Known, proposed: Any) -> dict:
        trades, told = list(proposed), {}
        for account in {trade.account_id for trade in trades}:
            own = [event for event in self.events if getattr(event, "account_id", account) == account]
            coming = [trade for trade in self.coming if trade.account_id == account]
            on = trades[0].traded_on
            ahead = Ahead(own, coming, self.rules, self.year, self.identical, self.cautious, on)
            told |= ahead.effects([trade for trade in trades if trade.account_id == account])
        return told

    Known.effects = effects  # type: ignore[method-assign]


def _positions_of_before() -> None:
    positions = AlpacaBroker.positions
    first: dict[str, Any] = {}

    def before(self: AlpacaBroker, until: Any) -> Any:
        if self.account_id not in first:
            first[self.account_id] = positions(self, until)
        return first[self.account_id]._replace(stated_on=until)

    execute = flows.daily.execute

    def executing(warehouse: Warehouse, day: Any) -> bool:
        for account in day.settings.portfolio.accounts:
            day.broker(account).positions(day.clock.now().date())
        return execute(warehouse, day)

    AlpacaBroker.positions, flows.daily.execute = before, executing  # type: ignore[method-assign]


def _no_transactions() -> None:
    @contextmanager
    def each_by_itself(self: Warehouse) -> Iterator[None]:
        yield

    Warehouse.transaction = each_by_itself  # type: ignore[method-assign,assignment]


def _expired_is_sent() -> None:
    open_intents, send = flows.fills._open_intents, flows.orders._send

    def later(warehouse: Warehouse) -> list:
        return [(name, account, at + timedelta(days=7)) for name, account, at in open_intents(warehouse)]

    def sending(warehouse: Warehouse, day: Any, lines: list) -> None:
        days = warehouse.rows("SELECT DISTINCT session_on FROM ledger.batches")["session_on"]
        all_lines = [line for on in days for line in lines_of(warehouse, on)]
        send(warehouse, day, [line._replace(expires_at=line.expires_at + timedelta(days=7)) for line in all_lines])

    flows.fills._open_intents, flows.orders._send = later, sending


BUGS = {
    "intent-after": Bug(_intent_after_the_order, "the intent is stored after the order is sent"),
    "time-name": Bug(_name_from_the_time, "an order's name comes from the clock instead of batch, line and attempt"),
    "fill-id": Bug(_fill_with_another_id, "a fill has another id in another delivery: it is booked twice"),
    "duplicate": Bug(_duplicate_is_a_rejection, "a duplicate (422) is taken for a rejection and sent under a new name"),
    "lost": Bug(_lost_is_not_placed, "a lost answer is taken for an order that was not placed: the next attempt is"),
    "unasked": Bug(_nobody_asks, "nobody asks how open orders stand"),
    "alike": Bug(_alike_fills_are_one, "fills of one day, security and quantity are taken for one"),
    "in-full": Bug(_all_of_it_again, "what is left of a partial fill is ordered in full again"),
    "per-account": Bug(_each_account_by_itself, "the wash check looks at each account by itself"),
    "positions-first": Bug(_positions_of_before, "positions are read before the fills are told"),
    "no-transaction": Bug(
        _no_transactions,
        "what belongs together is written one by one",
        ("killed before a write", "killed after a write"),
    ),
    "expired": Bug(
        _expired_is_sent,
        "an intent whose session is over is sent the next day",
        ("killed before an order", "503 to an order"),
    ),
}
