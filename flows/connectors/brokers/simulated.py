"""A broker that is a program of its own: history from a file, orders in a journal, fills by itself.

An order placed after the close of one session fills in the next one, at that session's price: never at the
close that decided it. Nothing but the journal is stored: fills, dividends, positions and cash follow from the history,
the journal and the prices, so the same question always gets the same answer. How an order fills is in
simulation/fills.py.
"""

from collections.abc import Callable, Iterator
from datetime import date, datetime, time
from decimal import Decimal
from functools import cached_property
from pathlib import Path

import polars as pl

from flows.accounts import Simulation
from flows.connectors import BALANCES, Delivery, LotsTaken, Order, OrderRejected, OrderState, no_rows, text_rows, up_to
from flows.connectors.brokers.simulation.books import Books, booked, past, price_text
from flows.connectors.brokers.simulation.fills import Fill, Life, Session, commission, life, lots_of, price_of
from flows.connectors.brokers.simulation.journal import Journal
from flows.connectors.brokers.simulation.prices import RECENT, PriceTable
from flows.connectors.formats import ACTIVITY_COLUMNS
from transforms.exact import nano_shares

__all__ = ["PriceTable", "Simulated"]

EVENING = time(18)


class Simulated:
    """One account. What it has read of the history it remembers; ask a new one after that has changed.

    Omits    settlement, interest, margin, borrowing, regulatory fees; orders that a split overtakes are not restated; a purchase
             is filled at the close of the sale that pays for it, and may cost more than that brought.
    """

    def __init__(
        self, account_id: str, history: Path, journal: Path, prices: PriceTable, today: date, *, takes_lots: bool,
        takes_lots_until: time | None = None, simulation: Simulation | None = None, as_of: date | None = None,
    ):  # fmt: skip
        self.account_id = account_id
        self._history, self._prices, self._today = history, prices, today
        self._takes_lots = takes_lots
        self._takes_lots_until = takes_lots_until  # after the fill, on its day
        self._rules = simulation or Simulation()
        self._now = as_of or date.min  # what it has told up to here stays as it was told
        self._written = Journal(journal, account_id)
        prices.look_again()
        self._lives: dict[str, tuple[date, Life]] = {}
        self._books: dict[date, Books] = {}
        self._waiting: dict[date, Decimal] = {}

    @cached_property
    def _rows(self) -> pl.DataFrame:
        rows = text_rows(self._history, ACTIVITY_COLUMNS)
        always = ("note", *(("identified_at",) if self._takes_lots_until is not None else ()))
        missing = [pl.lit("").alias(name) for name in always if name not in rows.columns]
        return rows.with_columns(missing)  # a row is the same row before and after a fill

    def activities(self, until: date) -> Delivery:
        history = up_to(self._rows, "at", until, self._today)
        made = [self._row(fill) for fill in self._fills(until)] + self._books_on(until).made
        if made:
            rows = pl.DataFrame(made, infer_schema_length=None).with_row_index("line", offset=history.height + 2)
            rows = rows.with_columns(pl.col("line").cast(pl.Int64))
            history = pl.concat([history, rows], how="diagonal").with_columns(pl.exclude("line").fill_null(""))
        return Delivery(self.account_id, "activities", until, history)

    def positions(self, until: date) -> Delivery:
        held = self._books_on(until).held
        rows = [{"line": i, "symbol": s, "quantity": f"{q:f}"} for i, (s, q) in enumerate(sorted(held.items()), 2) if q]
        schema = {"line": pl.Int64, "symbol": pl.String, "quantity": pl.String}
        return Delivery(self.account_id, "positions", until, pl.DataFrame(rows, schema=schema))

    def balances(self, until: date) -> Delivery:
        """What may still be bought, where the account minds its cash."""
        if self._rules.buying_power == "unlimited":
            return no_rows(self.account_id, "balances", until, *BALANCES)
        self._read_on(until)
        there = self._books_on(until).held.get("USD", Decimal(0))
        there += sum((self._to_come_usd(known, until, until) for known in self._open(until)), Decimal(0))
        rows = [(2, "buying_power_usd", f"{max(there, Decimal(0)):f}")]
        schema = {"line": pl.Int64} | dict.fromkeys(BALANCES, pl.String)
        return Delivery(self.account_id, "balances", until, pl.DataFrame(rows, schema=schema, orient="row"))

    def now(self) -> datetime | None:
        return None

    def place_order(self, order: Order) -> OrderState:
        self._read_on(order.placed_after)
        if order.client_order_id in self._written.orders:
            known = self._written.orders[order.client_order_id]
            return list(self._states_of(known, max(self._now, known.placed_after)))[-1][1]
        if reason := self._refusal(order):
            raise OrderRejected(reason)
        self._written.add(**order._asdict())
        waiting = self._waiting.get(order.placed_after)
        self._forget(order.placed_after)
        if waiting is not None:
            self._waiting[order.placed_after] = waiting + self._to_come_usd(order, order.placed_after)
        return OrderState(order.client_order_id, "accepted", "", Decimal(0), "fills in the next session")

    def cancel_order(self, client_order_id: str) -> None:
        """It counts after the last day that this broker was asked about: what it has told stays told.

        Errors   OrderRejected when it knows no such order.
        """
        self._read_on(date.min)
        if (order := self._written.orders.get(client_order_id)) is None:
            raise OrderRejected(f"{self.account_id} knows no order {client_order_id}")
        after = max(order.placed_after, self._now)
        if not self._life(order, after).event and client_order_id not in self._written.cancels:
            self._written.add(cancels=client_order_id, after=after)
            self._lives.pop(client_order_id, None)
            self._forget(after)

    def order_states(self, until: date) -> list[OrderState]:
        self._read_on(until)
        told = [
            (when, number, state)
            for number, order in enumerate(self._written.orders.values())
            for when, state in self._states_of(order, until)
        ]
        return [state for _, _, state in sorted(told, key=lambda one: one[:2])]

    def tell_lots(self, client_order_id: str, lots: str, on: date) -> LotsTaken:
        """Its clock is the evening of the day, or of the fill where that is later: 18:00, when the day's run has seen it."""
        self._read_on(date.min)
        order = self._written.orders.get(client_order_id)
        filled = self._life(order, max(on, order.placed_after + RECENT)).fills if order else ()
        filled = tuple(fill for fill in filled if fill.session_on <= on) or filled[:1]
        if self._takes_lots_until is None or not filled:
            raise OrderRejected(f"{self.account_id} takes no lots for {client_order_id}")
        at = datetime.combine(max(on, filled[-1].session_on), EVENING)
        until = datetime.combine(filled[-1].session_on, self._takes_lots_until)
        if at > until:
            raise OrderRejected(f"too late: {self.account_id} took the lots of {client_order_id} until {until}")
        self._written.add(lots_of=client_order_id, lots=lots, identified_at=str(at))
        return LotsTaken(at, until)

    def _read_on(self, until: date) -> None:
        """Take in what other parts of the run wrote, and remember how far this broker has told."""
        orders, cancels = len(self._written.orders), len(self._written.cancels)
        self._written.read_on()
        for order in list(self._written.orders.values())[orders:]:
            self._forget(order.placed_after)
        for name in list(self._written.cancels)[cancels:]:
            self._lives.pop(name, None)
            self._forget(self._written.cancels[name])
        self._now = max(self._now, until)

    def _forget(self, after: date) -> None:
        """An order or a cancel changes nothing up to the day after which it counts."""
        self._books = {day: books for day, books in self._books.items() if day <= after}
        self._waiting = {day: usd for day, usd in self._waiting.items() if day < after}

    def _life(self, order: Order, until: date) -> Life:
        """An order up to a day; one of the day that finds no session of its security for two weeks expires."""
        name = order.client_order_id
        seen_to, known = self._lives.get(name, (date.min, Life()))
        if until > seen_to and not known.event:
            waits_until = date.max if order.time_in_force == "gtc" else order.placed_after + RECENT
            canceled_after = self._written.cancels.get(name)
            last = min(max(until, canceled_after or until), waits_until)
            sessions = self._prices.sessions(order.security_id, order.placed_after, last)
            known = life(order, sessions, self._rules, canceled_after)
            if not known.event and waits_until <= until:
                known = Life((), "expired", waits_until)
            self._lives[name] = until, known
        return known.until(until)

    def _fills(self, until: date) -> list[Fill]:
        self._read_on(until)
        return [fill for order in self._written.orders.values() for fill in self._life(order, until).fills]

    def _states_of(self, order: Order, until: date) -> Iterator[tuple[tuple[date, int], OrderState]]:
        """What had come about by a day, with when: fills come at a close, orders and cancels after it."""
        if order.placed_after > until:
            return
        name, lived = order.client_order_id, self._life(order, until)
        yield (order.placed_after, 1), OrderState(name, "accepted", "", Decimal(0), "fills in the next session")
        for fill in lived.fills:
            note = f"{fill.quantity:f} at {price_text(fill.price_usd)} on {fill.session_on}"
            yield (fill.session_on, 0), OrderState(name, "fill", fill.transaction_id, fill.quantity, note)
        if lived.ended_on:
            note = f"{lived.quantity:f} filled by {lived.ended_on}"
            rank = 2 if lived.event == "canceled" else 0
            yield (lived.ended_on, rank), OrderState(name, lived.event, "", lived.quantity, note)

    def _row(self, fill: Fill) -> dict[str, str]:
        order = fill.order
        row = {
            "id": fill.transaction_id,
            "at": str(fill.session_on),
            "kind": "trade",
            "side": order.side,
            "symbol": order.security_id,
            "quantity": f"{fill.quantity:f}",
            "price_usd": price_text(fill.price_usd),
            "fee_usd": f"{fill.fee_usd:f}" if fill.fee_usd else "0",
            "amount_usd": f"{fill.amount_usd:f}",
            "lots": lots_of(fill, order.lots) if self._takes_lots else "",
            "note": f"order {order.client_order_id}",
        }
        told = self._written.told.get(order.client_order_id)
        if told is None or self._takes_lots_until is None:
            return row
        is_in_time = datetime.fromisoformat(told["identified_at"]) <= datetime.combine(
            fill.session_on, self._takes_lots_until
        )
        return row | {**told, "lots": lots_of(fill, told["lots"])} if is_in_time else row

    # What it will not take ------------------------------------------------------------------------------

    def _refusal(self, order: Order) -> str:
        """Why the broker does not take an order; empty when it does."""
        rules: list[tuple[bool, Callable[[], str]]] = [
            (order.side not in ("buy", "sell"), lambda: f"side {order.side!r} is not buy or sell"),
            (order.time_in_force not in ("day", "gtc"), lambda: f"{order.time_in_force!r} is not day or gtc"),
            (not _is_countable(order.quantity), lambda: f"quantity {order.quantity} is not above zero with 9 decimals"),
            (
                any(usd is not None and not _is_countable(usd) for usd in (order.limit_usd, order.notional_usd)),
                lambda: "a limit and an amount in dollars are above zero, with 9 decimals",
            ),
            (order.side == "sell" and order.notional_usd is not None, lambda: "only a purchase can be in dollars"),
        ]
        if wrong := next((say() for is_wrong, say in rules if is_wrong), ""):
            return f"{self.account_id}: {wrong}"
        held = self._books_on(order.placed_after).held  # asked of a purchase too: whose history is away takes no order
        symbol = order.security_id
        return (
            self._oversold(order, held.get(symbol, Decimal(0))) if order.side == "sell" else self._unaffordable(order)
        )

    def _oversold(self, order: Order, held: Decimal) -> str:
        day, symbol = order.placed_after, order.security_id
        if order.quantity > held:
            return f"{self.account_id} does not hold {order.quantity} of {symbol}"
        waiting = sum(  # those of later days too: they were promised the shares before this one
            (
                self._coming(known, day)
                for known in self._written.orders.values()
                if (known.side, known.security_id) == ("sell", symbol)
            ),
            Decimal(0),
        )
        if order.quantity > held - waiting:
            return f"{self.account_id} holds {held:f} of {symbol}, and other orders sell {waiting:f} of them"
        return ""

    def _unaffordable(self, order: Order) -> str:
        if self._rules.buying_power == "unlimited":
            return ""
        there, effect = self._buying_power(order.placed_after), self._expected_usd(order, order.quantity)
        if effect is None:
            return f"{self.account_id}: {order.security_id} has no price to reckon with; give a limit"
        if -effect <= there:
            return ""
        return f"{self.account_id} can buy for {there:f} USD, and {order.client_order_id} would cost about {-effect:f}"

    def _buying_power(self, day: date) -> Decimal:
        """Cash, with what open sales are expected to bring and without what open purchases are expected to cost."""
        cash = self._books_on(day).held.get("USD", Decimal(0))
        if day not in self._waiting:
            self._waiting[day] = sum((self._to_come_usd(known, day) for known in self._open(day)), Decimal(0))
        return cash + self._waiting[day]

    def _to_come_usd(self, order: Order, day: date, seen_to: date | None = None) -> Decimal:
        return self._expected_usd(order, self._coming(order, day, seen_to)) or Decimal(0)

    def _open(self, day: date) -> Iterator[Order]:
        return (known for known in self._written.orders.values() if known.placed_after <= day)

    def _coming(self, order: Order, day: date, seen_to: date | None = None) -> Decimal:
        """The shares that an order moves after a day, as far as was seen.

        When an order is placed its session is looked at already: one that the session ends unfilled holds nothing back, so that it
        may be tried again in the same session.
        """
        lived, filled = self._life(order, seen_to or day + RECENT), self._life(order, day).quantity
        if lived.event == "canceled" and lived.ended_on and lived.ended_on > day:
            return order.quantity - filled  # nobody knows on that day that it will be canceled
        return (lived.quantity if lived.event else max(order.quantity, lived.quantity)) - filled

    def _expected_usd(self, order: Order, quantity: Decimal) -> Decimal | None:
        """What so much of an order would do to the cash, at its limit or the last price known; none where nobody can tell."""
        if not quantity:
            return Decimal(0)
        last = self._prices.latest(order.security_id, order.placed_after)
        if order.notional_usd is not None:
            price, quantity = order.notional_usd, Decimal(1)
        elif order.limit_usd is not None:
            price = order.limit_usd
        elif last is not None:
            price = price_of(order, Session(order.placed_after, last, None), quantity, self._rules)
        else:
            return None
        fee = commission(quantity, self._rules)
        return Fill(order, 0, order.placed_after, quantity, Decimal(0), price, fee).amount_usd

    # Its own books --------------------------------------------------------------------------------------

    def _books_on(self, until: date) -> Books:
        self._read_on(date.min)
        if until not in self._books:
            history, fills = past(up_to(self._rows, "at", until, self._today), until), self._fills(until)
            self._books[until] = booked(self.account_id, history, fills, self._prices, self._rules.dividends, until)
        return self._books[until]


def _is_countable(quantity: Decimal) -> bool:
    try:
        return quantity.is_finite() and nano_shares(quantity) > 0
    except ValueError:
        return False
