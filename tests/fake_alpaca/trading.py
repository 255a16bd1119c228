"""Which orders are taken, and when they are filled.

The clock is the broker's own. It stands still until it is moved, or follows the real one; when it moves, everything that
was due on the way happens in time order: sessions open and close, prices come, orders are filled piece by piece, companies
act. An order that is taken while the exchange is open is answered as pending_new and meets the market right after.

Liquidity: an order is filled whole or, one in three, in a few pieces minutes apart, by a seed and the order's own id; a plan
told for a symbol replaces that (`[[0, "0.4"], [300, "0.6"]]`: 40% at once, the rest five minutes later).

Omits    orders of several legs (bracket, oco, oto, mleg), trailing stops, trading outside the regular hours.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, time, timedelta
from decimal import ROUND_DOWN, Decimal
from hashlib import md5, sha256
from random import Random
from typing import Any
from uuid import UUID

from tests.fake_alpaca import actions, orders
from tests.fake_alpaca.books import (
    NANO,
    Account,
    Books,
    Order,
    cents,
    held_for_orders,
    iso,
    relieved,
    size_of,
    text,
)
from tests.fake_alpaca.journal import Journal
from tests.fake_alpaca.market import NEW_YORK, Market, is_crypto, is_option, new_york
from tests.fake_alpaca.orders import Refused, unprocessable

LIVE = ("new", "partially_filled")


class Broker:
    def __init__(self, journal: Journal, market: Market, *, clock: datetime | None, seed: str, partial: float = 0.3):
        self.journal, self.market, self.books = journal, market, Books(market)
        self.standing, self.partial = clock is not None, partial
        self._unwritten: list[dict] = []
        for event in journal.events:
            self.books.apply(event)
        self.clock = max(filter(None, (clock, self.books.now)), default=datetime.now(UTC))
        if not journal.events:
            self.emit("began", seed=seed)
        elif self.standing:
            moved = [event["to"] for event in journal.events if event["kind"] == "clock"]
            self.clock = max(filter(None, (clock, *map(datetime.fromisoformat, moved[-1:]))))
        self.flush()

    # The journal --------------------------------------------------------------------------------------

    def emit(self, kind: str, account: Account | None = None, **rest: Any) -> dict:
        """Note what happened and let it happen; moments that follow each other never bear the same time."""
        at = max(self.clock, (self.books.now or self.clock) + timedelta(microseconds=1))
        event = {
            "n": self.books.count + 1,
            "at": iso(at),
            "kind": kind,
            **({"account": account.name} if account else {}),
            **rest,
        }
        self._unwritten.append(event)
        self.books.apply(event)
        return event

    def flush(self) -> None:
        if self._unwritten:
            events, self._unwritten = self._unwritten, []
            self.journal.write(events)

    def new_id(self) -> str:
        return str(UUID(bytes=md5(f"{self.books.seed}:{self.books.count}:{len(self._unwritten)}".encode()).digest()))

    # Time ---------------------------------------------------------------------------------------------

    def catch_up(self) -> None:
        """Follow the real clock, where the broker's does."""
        if not self.standing:
            self.advance(datetime.now(UTC))

    def move_clock(self, to: datetime) -> None:
        if to < self.clock:
            raise unprocessable(f"the clock stands at {iso(self.clock)} and does not go back to {iso(to)}")
        self.advance(to)
        self.emit("clock", to=iso(to))

    def advance(self, until: datetime) -> None:
        """Let happen what is due until then, in time order."""
        while (moment := self._next_moment(until)) is not None:
            self.clock = moment
            self._meanwhile(until)
        self.clock = max(self.clock, until)

    def _next_moment(self, until: datetime) -> datetime | None:
        exchange, now = self.market.exchange, self.clock
        found = [at for _, at, _ in self.books.pending.values()]
        if (closed := exchange.last_closed(until)) is not None:
            found.append(closed.closes)
        working = [order for account in self.books.accounts.values() for order in account.working.values()]
        if working or any(is_option(s) for account in self.books.accounts.values() for s in account.lots):
            session = exchange.next_to_close(now)
            found += [session.opens, session.closes]
        for symbol in {order.symbol for order in working if order.status in LIVE}:
            found.append(self.market.next_point(symbol, now) or until)
        found += [order.due_at for order in working if order.due_at]
        return min((at for at in found if now < at <= until), default=None)

    def _meanwhile(self, until: datetime) -> None:
        """What happens at this moment."""
        exchange = self.market.exchange
        self.act()
        ends = exchange.last_closed(self.clock)
        is_close = ends is not None and ends.closes == self.clock
        if exchange.next_to_close(self.clock).opens == self.clock:
            for account, order in self._working():
                if order.status == "accepted":
                    self.release(account, order)
        for account, order in self._working():
            self.match(account, order, at_close=is_close)
        if is_close:
            for account, order in self._working():
                if not is_crypto(order.symbol) and order.status != "accepted":
                    self._end_of_day(account, order)
            actions.expire_options(self)
            if exchange.last_closed(until) == ends:
                for account in self.books.accounts.values():
                    if (equity := self.equity(account)) != account.last_equity:
                        self.emit("closed", account, equity=text(equity))

    def _working(self) -> Iterator[tuple[Account, Order]]:
        for account in self.books.accounts.values():
            for order in list(account.working.values()):
                if order.is_open:
                    yield account, order

    def _end_of_day(self, account: Account, order: Order) -> None:
        if order.expires_at and order.expires_at <= self.clock:
            self.end(account, order, "canceled" if order.time_in_force == "cls" else "expired")

    def due_actions(self, until: datetime) -> list[tuple[dict, datetime, str]]:
        return [due for due in self.books.pending.values() if due[1] <= until]

    def act(self) -> None:
        """Do what companies do by now."""
        for action, _, step in sorted(self.due_actions(self.clock), key=lambda due: due[1]):
            actions.act(self, action, step)
            self.emit("applied", step=f"{action['id']}:{step}")

    # What an account is worth -------------------------------------------------------------------------

    def price(self, symbol: str) -> Decimal | None:
        return self.market.price(symbol, self.clock)

    def value(self, account: Account, symbol: str) -> Decimal:
        """Of a position, by the last price; at cost where there is none."""
        price = self.price(symbol)
        return account.cost(symbol) if price is None else account.quantity(symbol) * price * size_of(symbol)

    def equity(self, account: Account) -> Decimal:
        return account.cash + sum((self.value(account, symbol) for symbol in account.lots), Decimal(0))

    def initial_margin(self, account: Account) -> Decimal:
        rate = Decimal(1) if account.multiplier == 1 else Decimal("0.5")
        return rate * sum((abs(self.value(account, symbol)) for symbol in account.lots), Decimal(0))

    def buying_power(self, account: Account) -> Decimal:
        """Cash where nothing is lent, else what the margin supports; less what the open purchases may cost."""
        if account.multiplier == 1:
            return max(account.cash - held_for_orders(account), Decimal(0))
        free = max(self.equity(account) - self.initial_margin(account), Decimal(0)) * account.multiplier
        return max(free - held_for_orders(account), Decimal(0))

    def available(self, account: Account, symbol: str) -> Decimal:
        """Shares of a position that no open order is going to close."""
        held = account.quantity(symbol)
        closing = (o.leaves for o in account.working.values() if o.symbol == symbol and o.sign * held < 0)
        return abs(held) - sum(closing, Decimal(0))

    # Orders -------------------------------------------------------------------------------------------

    def is_open_for(self, symbol: str) -> bool:
        return is_crypto(symbol) or self.market.exchange.is_open(self.clock)

    def place(self, account: Account, asked: dict, replaces: Order | None = None) -> Order:
        """Take an order or refuse it; whoever calls releases it to the market.

        Errors   Refused.
        """
        order = orders.read(asked)
        symbol, side = order["symbol"], order["side"]
        if not symbol or not self.market.knows(symbol):
            raise Refused(422, 42210000, f'asset "{symbol}" not found')
        if account.configurations["suspend_trade"]:
            raise Refused(403, 40310000, "new orders are rejected by user request")
        client_id = order["client_order_id"] or self.new_id()
        if len(client_id) > 128:
            raise unprocessable("client_order_id must be no more than 128 characters")
        if client_id in account.by_client_id:
            raise unprocessable("client_order_id must be unique")
        orders.check_time(self, order)
        orders.check_fraction(account, order)
        held = account.quantity(symbol)
        price = order["limit_price"] or order["stop_price"] or self.price(symbol)
        if price is None:
            raise Refused(422, 42210000, f'asset "{symbol}" has no price yet')
        orders.check_wash_trade(self, account, order, replaces)
        if held * (1 if side == "buy" else -1) < 0:
            orders.check_position(self, account, order, held)
        elif side == "sell":
            orders.check_short(self, account, order, price)
        else:
            orders.check_buying_power(self, account, order, price)
        session = self.market.exchange.next_to_close(self.clock)
        is_open = self.is_open_for(symbol)
        expires = {"gtc": datetime.combine(new_york(self.clock) + timedelta(days=90), time(16), NEW_YORK)}
        opening = held * (1 if side == "buy" else -1) >= 0
        order |= {
            "id": self.new_id(),
            "client_order_id": client_id,
            "status": "pending_new" if is_open else "accepted",
            "position_intent": f"{side}_to_{'open' if opening else 'close'}",
            "expires_at": iso(None if is_crypto(symbol) else expires.get(order["time_in_force"], session.closes)),
            "reserve_price": text(price),
            "plan": self._plan(account, order | {"client_order_id": client_id}),
            "replaces": replaces.id if replaces else None,
        }
        told = {name: text(value) if isinstance(value, Decimal) else value for name, value in order.items()}
        uses = next((name for name in (symbol, "*") if name in self.books.to_reject), None)
        told["to_reject"] = self.books.to_reject.get(uses or "")
        self.emit("order", account, order=told, **({"uses": uses} if uses else {}))
        return account.orders[order["id"]]

    def _plan(self, account: Account, order: dict) -> list[list]:
        """After how many seconds how much of it is filled, piece by piece."""
        quantity = order["qty"]
        told = self.books.liquidity.get(order["symbol"]) or self.books.liquidity.get("*")
        if quantity is None:
            return [[told[0][0] if told else 0, None]]
        unit = Decimal(1) if quantity % 1 == 0 else NANO
        if told:
            parts = [(seconds, Decimal(part)) for seconds, part in told]
        else:
            draw = Random(
                int(sha256(f"{self.books.seed}:{account.name}:{order['client_order_id']}".encode()).hexdigest(), 16)
            )
            pieces = draw.randint(2, 4) if draw.random() < self.partial else 1
            parts = [(60 * draw.randint(1, 15) if n else 0, Decimal(1) / pieces) for n in range(pieces)]
        plan: list[list] = []
        reached, waited, share = Decimal(0), 0, Decimal(0)
        for n, (seconds, part) in enumerate(parts):
            share += part
            target = quantity if n == len(parts) - 1 else min(quantity, (quantity * share).quantize(unit, ROUND_DOWN))
            waited += seconds
            if target > reached:
                plan.append([waited, text(target - reached)])
                reached, waited = target, 0
        return plan

    def release(self, account: Account, order: Order) -> None:
        """The order meets the market."""
        if order.to_reject:
            self.end(account, order, "rejected", reason=order.to_reject)
        elif self.is_open_for(order.symbol):
            due = self.clock + timedelta(seconds=order.plan[0][0])
            self.emit("order_state", account, order_id=order.id, status="new", due_at=iso(due))
            self.match(account, order)

    def match(self, account: Account, order: Order, *, at_close: bool = False) -> None:
        """Fill what the price and the liquidity of this moment allow."""
        if not (self.is_open_for(order.symbol) or at_close) or (order.time_in_force == "cls" and not at_close):
            return
        while order.status in LIVE and (price := self._crosses(account, order)) is not None:
            if order.time_in_force == "fok" and len(order.plan) > 1:
                break
            if order.due_at and order.due_at > self.clock and order.time_in_force != "cls":
                break
            whole = order.time_in_force in ("opg", "cls", "fok")
            self._execute(account, order, price, whole=whole)
        if order.is_open and order.status in LIVE and order.time_in_force in ("ioc", "fok", "opg"):
            self.end(account, order, "canceled")

    def _crosses(self, account: Account, order: Order) -> Decimal | None:
        """The price it would be filled at now."""
        price = self.price(order.symbol)
        if price is None:
            return None
        if order.stop_price is not None and not order.is_triggered:
            if (price - order.stop_price) * order.sign < 0:
                return None
            self.emit("order_state", account, order_id=order.id, status=order.status, is_triggered=True)
        if order.limit_price is not None and (order.limit_price - price) * order.sign < 0:
            return None
        return price

    def _execute(self, account: Account, order: Order, price: Decimal, *, whole: bool) -> None:
        piece = order.plan[order.executions][1] if not whole else None
        if order.qty is None:
            quantity = ((order.notional or Decimal(0)) / price).quantize(NANO, ROUND_DOWN)
            if order.side == "sell":
                quantity = min(quantity, account.quantity(order.symbol))
            leaves = Decimal(0)
        else:
            quantity = Decimal(piece) if piece else order.leaves
            leaves = order.leaves - quantity
        amount = cents(quantity * price * size_of(order.symbol)) * -order.sign
        at = max(self.clock, (self.books.now or self.clock) + timedelta(microseconds=1))
        is_last = leaves == 0
        execution_id = self.new_id()
        stamp = at.astimezone(NEW_YORK).strftime("%Y%m%d%H%M%S%f")[:17]
        following = None if is_last else self.clock + timedelta(seconds=order.plan[order.executions + 1][0])
        _, taken = relieved(account.lots.get(order.symbol, []), quantity * order.sign, -amount, "", "")
        self.emit(
            "execution",
            account,
            execution_id=execution_id,
            order_id=order.id,
            client_order_id=order.client_order_id,
            next_at=iso(following),
            cash=text(amount),
            settles_on=str(new_york(at) if is_crypto(order.symbol) else self.market.exchange.settles_on(self.clock)),
            shares={order.symbol: text(quantity * order.sign)},
            relieved=[[lot.lot_id, text(lot.quantity), text(lot.cost)] for lot in taken],
            activity={
                "id": f"{stamp}::{execution_id}",
                "activity_type": "FILL",
                "transaction_time": iso(at),
                "type": "fill" if is_last else "partial_fill",
                "price": text(price),
                "qty": text(quantity),
                "side": order.side,
                "symbol": order.symbol,
                "leaves_qty": text(leaves),
                "order_id": order.id,
                "cum_qty": text(order.filled_qty + quantity),
                "order_status": "filled" if is_last else "partially_filled",
            },
        )

    def end(self, account: Account, order: Order, status: str, **more: Any) -> None:
        self.emit("order_state", account, order_id=order.id, status=status, **more)

    def cancel(self, account: Account, order: Order) -> None:
        if not order.is_open:
            raise Refused(422, 42210000, f'order is already in "{order.status}" state')
        self.end(account, order, "canceled")

    def replace(self, account: Account, order: Order, asked: dict) -> Order:
        """A new order in its place, for what is left of it."""
        if not order.is_open:
            raise Refused(422, 42210000, f'order is already in "{order.status}" state')
        if order.qty is None:
            raise Refused(422, 42210000, "notional orders cannot be replaced")
        quantity = orders.decimal(asked, "qty") or order.qty
        if quantity <= order.filled_qty:
            raise Refused(422, 42210000, f"qty must be > filled_qty {text(order.filled_qty)}")
        wanted = {
            "symbol": order.symbol,
            "side": order.side,
            "type": order.type,
            "qty": text(quantity - order.filled_qty),
            "time_in_force": asked.get("time_in_force") or order.time_in_force,
            "limit_price": asked.get("limit_price") or text(order.limit_price),
            "stop_price": asked.get("stop_price") or text(order.stop_price),
            "client_order_id": asked.get("client_order_id"),
        }
        del account.working[order.id]  # what it holds is free for its successor
        try:
            new = self.place(account, wanted, replaces=order)
        finally:
            account.working[order.id] = order
        self.end(account, order, "replaced", replaced_by=new.id)
        return new
