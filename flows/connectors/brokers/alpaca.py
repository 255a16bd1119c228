"""An account at Alpaca: what it holds, what happened in it, and orders that cannot be placed twice.

The problem: an answer can be lost after the order was taken. The choice: our name of an order (`client_order_id`) is unique at
Alpaca, so after every doubt the order is looked up by that name before anything else is done; it is posted again only when
Alpaca says that it does not know it, and if two posts should meet, the second is refused. Alpaca tells positions of
now only; those of an earlier day are today's less what the activities moved since. An order is told as ended only
once its fills are among the activities and add up: Alpaca's list of orders may be ahead of them.

Alpaca relieves lots first in, first out and takes no other choice.
"""

import re
import time
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from functools import cached_property

import polars as pl
from alpaca.trading.client import TradingClient

from flows.accounts import Account
from flows.calendar import NEW_YORK
from flows.connectors import BALANCES, Delivery, LotsTaken, Order, OrderRejected, OrderState, Unavailable
from flows.connectors.alpaca import LIVE, PAPER, WAITS, Body, Refused, Sleep, as_text, base_url, client, needed
from flows.connectors.brokers.alpaca_rows import COIN, COLUMNS, OCC, activity_rows, day_of, moved, security_id
from transforms.exact import decimal

TOLD_OF = timedelta(days=100)  # orders are told so long; Alpaca cancels the oldest open ones after 90 days
ACTIVITY_PAGE, ORDER_PAGE = 100, 500
ENDS = {  # Alpaca's status of an order that moves no more -> ours, and the field with its time
    "filled": ("filled", "filled_at"),
    "canceled": ("canceled", "canceled_at"),
    "expired": ("expired", "expired_at"),
    "rejected": ("rejected", "failed_at"),
    "replaced": ("canceled", "replaced_at"),
}
POSITION_COLUMNS = ("symbol", "quantity", "cost_usd")


class AlpacaBroker:
    """Errors   whatever asks Alpaca raises Unavailable; a missing key does too, so that only this account waits."""

    def __init__(self, account: Account, sleep: Sleep = time.sleep):
        self.account_id = account.id
        self._account, self._sleep = account, sleep
        self._ours = re.compile(rf"\d{{4}}-\d\d-\d\d\.{re.escape(account.id)}\.")

    @cached_property
    def _client(self) -> TradingClient:
        url = base_url("THRESHER_ALPACA_URL", PAPER if self._account.alpaca.paper else LIVE)
        return client(TradingClient, url, self._account.alpaca.key_name, self._sleep)

    def activities(self, until: date) -> Delivery:
        told = [activity for activity in self._activities() if _day(day_of(activity)) <= until]
        rows = [{"line": line, **row} for line, row in enumerate(activity_rows(told), 1)]
        columns = dict.fromkeys(name for row in rows for name in row) or dict.fromkeys(("line", *COLUMNS))
        schema = {name: pl.Int64 if name == "line" else pl.String for name in columns}
        frame = pl.DataFrame(rows, schema=schema, orient="row").with_columns(pl.col(pl.String).fill_null(""))
        return Delivery(self.account_id, "activities", until, frame)

    def positions(self, until: date) -> Delivery:
        account, held = self._get("/account"), self._list("/positions")
        since = [one for one in self._activities(after=until) if _day(day_of(one)) > until]
        shares: dict[str, Decimal] = {}
        costs: dict[str, str] = {}
        for position in held:
            symbol = security_id(needed(position, "symbol", "a position"))
            quantity = _exact(needed(position, "qty", f"the position {symbol}"), f"qty of {symbol}")
            is_short = as_text(position.get("side")) == "short"
            shares[symbol] = -abs(quantity) if is_short else quantity
            costs[symbol] = as_text(position.get("cost_basis"))
        shares["USD"] = _exact(needed(account, "cash", "the account"), "cash of the account")
        for activity in since:
            try:
                symbol, quantity, dollars = moved(activity)
            except (ValueError, KeyError) as wrong:
                raise Unavailable(
                    f"positions of {until}: activity {activity['id']} since then cannot be read: {wrong}"
                ) from None
            if quantity:
                shares[symbol] = shares.get(symbol, Decimal(0)) - quantity
                costs[symbol] = ""
            shares["USD"] -= dollars
        rows = [
            {"line": line, "symbol": symbol, "quantity": f"{quantity:f}", "cost_usd": costs.get(symbol, "")}
            for line, (symbol, quantity) in enumerate(sorted(shares.items()), 1)
            if quantity or symbol == "USD"
        ]
        schema = {"line": pl.Int64} | dict.fromkeys(POSITION_COLUMNS, pl.String)
        return Delivery(self.account_id, "positions", until, pl.DataFrame(rows, schema=schema, orient="row"))

    def balances(self, until: date) -> Delivery:
        account = self._get("/account")
        stopped = ("account_blocked", "trading_blocked", "trade_suspended_by_user")
        is_blocked = any(account.get(name) is True for name in stopped) or account.get("status", "ACTIVE") != "ACTIVE"
        said = {
            "equity_usd": needed(account, "equity", "the account"),
            "buying_power_usd": needed(account, "buying_power", "the account"),
            "long_usd": as_text(account.get("long_market_value")),
            "short_usd": as_text(account.get("short_market_value")),
            "options_level": as_text(account.get("options_trading_level") or account.get("options_approved_level")),
            "is_blocked": as_text(is_blocked),
            "day_trades": as_text(account.get("daytrade_count")),
        }
        rows = [{"name": name, "value": value} for name, value in said.items() if value]
        frame = pl.DataFrame(rows, schema=dict.fromkeys(BALANCES, pl.String), orient="row")
        return Delivery(self.account_id, "balances", until, frame.with_row_index("line", 1).cast({"line": pl.Int64}))

    def now(self) -> datetime:
        return _at(needed(self._get("/clock"), "timestamp", "the clock")).astimezone(UTC).replace(tzinfo=None)

    def place_order(self, order: Order) -> OrderState:
        body = _request(order)
        if order.side == "sell" and not self._holds(order):  # unless it was placed before, and has sold them
            if (known := self._find(order.client_order_id)) is not None:
                return self._standing(_same(order, known))
            raise OrderRejected(
                f"{self.account_id} does not hold {order.quantity:f} of {order.security_id} free at Alpaca"
            )
        is_doubtful = False
        for pause in (*WAITS, None):
            try:
                return self._standing(self._object(self._client.post("/orders", body), "/orders"))
            except Refused as no:
                if (no.status == 422 or is_doubtful) and (known := self._find(order.client_order_id)) is not None:
                    return self._standing(_same(order, known))
                if is_doubtful or "client_order_id" in no.words:  # it may be there and not be told of yet
                    break
                raise OrderRejected(no.words) from None
            except Unavailable as lost:
                if not lost.may_pass:
                    raise
                is_doubtful = True
                if (known := self._find(order.client_order_id)) is not None:
                    return self._standing(_same(order, known))
                if pause is None:
                    break
                self._sleep(pause)
        raise Unavailable(
            f"{self.account_id}: no answer whether Alpaca took {order.client_order_id}; ask again", may_pass=True
        )

    def cancel_order(self, client_order_id: str) -> None:
        known = self._find(client_order_id)
        if known is None:
            raise OrderRejected(f"{self.account_id}: Alpaca knows no order {client_order_id}")
        if as_text(known.get("status")) in ENDS:
            return
        try:
            self._client.delete(f"/orders/{needed(known, 'id', 'an order')}")
        except Refused as no:
            if no.status not in (404, 422):  # it ended while we asked
                raise

    def order_states(self, until: date) -> list[OrderState]:
        since = until - TOLD_OF
        fills: dict[str, list[Body]] = {}
        for activity in self._activities("/FILL", after=since):
            fills.setdefault(needed(activity, "order_id", f"fill {activity['id']}"), []).append(activity)
        told = [
            (at, number, state)
            for number, order in enumerate(self._orders(since))
            if self._ours.match(as_text(order.get("client_order_id")))
            for at, state in _states(order, fills.get(needed(order, "id", "an order"), []))
            if at.astimezone(NEW_YORK).date() <= until
        ]
        return [state for _, _, state in sorted(told, key=lambda one: one[:2])]

    def tell_lots(self, client_order_id: str, lots: str, on: date) -> LotsTaken:
        raise OrderRejected(f"{self.account_id}: Alpaca takes no lots, it relieves the first in first out")

    # Asking --------------------------------------------------------------------------------------------

    def _get(self, path: str) -> Body:
        return self._object(self._client.get(path), path)

    def _object(self, answer: object, path: str) -> Body:
        """An answer that has to be an object. Of an order it may have been taken all the same: it is looked up."""
        if not isinstance(answer, dict):
            raise Unavailable(f"{path} of {self.account_id} is no object, as Alpaca documents it", may_pass=True)
        return answer

    def _list(self, path: str, **asked: str | int) -> list[Body]:
        answer = self._client.get(path, asked or None)
        if answer == {}:
            return []
        if not isinstance(answer, list) or not all(isinstance(one, dict) for one in answer):
            raise Unavailable(f"{path} of {self.account_id} is no list, as Alpaca documents it")
        return answer

    def _activities(self, kind: str = "", *, after: date | None = None) -> Iterator[Body]:
        """Activities in the order of their ids, page by page to the end."""
        since = {} if after is None else {"after": f"{after}T00:00:00Z"}
        seen: set[tuple[str, str]] = set()
        token: dict[str, str] = {}
        while True:
            page = self._list(f"/account/activities{kind}", page_size=ACTIVITY_PAGE, direction="asc", **since, **token)
            named = {(needed(one, "id", "an activity"), as_text(one.get("activity_type"))): one for one in page}
            yield from (one for name, one in named.items() if name not in seen)
            if len(page) < ACTIVITY_PAGE or named.keys() <= seen:
                return
            seen |= named.keys()
            token = {"page_token": as_text(page[-1]["id"])}

    def _orders(self, since: date) -> Iterator[Body]:
        """Orders as they were submitted. A page begins just before the last one ended: several may share a moment."""
        seen: set[str] = set()
        after = f"{since}T00:00:00Z"
        while True:
            page = self._list("/orders", status="all", limit=ORDER_PAGE, direction="asc", nested="false", after=after)
            fresh = [order for order in page if needed(order, "id", "an order") not in seen]
            yield from fresh
            seen |= {as_text(order["id"]) for order in fresh}
            if len(page) < ORDER_PAGE:
                return
            if not fresh:
                raise Unavailable(
                    f"{ORDER_PAGE} orders of {self.account_id} share the moment {after}: they cannot be paged"
                )
            last = datetime.fromisoformat(needed(page[-1], "submitted_at", "an order"))
            after = (last - timedelta(microseconds=1)).astimezone(UTC).isoformat().replace("+00:00", "Z")

    def _find(self, client_order_id: str) -> Body | None:
        """An order by our name; None where Alpaca says that it does not know it."""
        try:
            path = "/orders:by_client_order_id"
            return self._object(self._client.get(path, {"client_order_id": client_order_id}), path)
        except Refused as no:
            if no.status == 404:
                return None
            raise

    def _standing(self, order: Body) -> OrderState:
        """The last of an order's states."""
        filled = _exact(as_text(order.get("filled_qty")) or "0", "filled_qty")
        fills: list[Body] = []
        if filled:
            since = _day(needed(order, "submitted_at", "an order")) - timedelta(days=1)
            fills = [one for one in self._activities("/FILL", after=since) if one.get("order_id") == order.get("id")]
        return list(_states(order, fills))[-1][1]

    def _holds(self, order: Order) -> bool:
        """Are the shares of a sale there? Alpaca would sell short what is not; options may be written, coins it checks."""
        if OCC.fullmatch(order.security_id) or "/" in order.security_id:
            return True
        try:
            held = self._get(f"/positions/{order.security_id}")
        except Refused as no:
            if no.status == 404:
                return False
            raise
        return _exact(needed(held, "qty", "a position"), "qty") >= order.quantity


def _same(order: Order, known: Body) -> Body:
    """An order under our name is ours only if it says the same.

    Errors   OrderRejected.
    """
    told = as_text(known.get("side")) or order.side, security_id(needed(known, "symbol", "an order"))
    if told != (order.side, order.security_id):
        raise OrderRejected(f"Alpaca has another order under the name {order.client_order_id}: {' '.join(told)}")
    return known


def _request(order: Order) -> dict[str, str]:
    """An order in Alpaca's words. A limit is brought to the prices it takes, never to a worse one; a coin knows no day."""
    is_coin = COIN.fullmatch(order.security_id) is not None and "/" in order.security_id
    body = {
        "symbol": order.security_id,
        "side": order.side,
        "type": "market" if order.limit_usd is None else "limit",
        "time_in_force": "ioc" if is_coin and order.time_in_force == "day" else order.time_in_force,
        "client_order_id": order.client_order_id,
    }
    if order.notional_usd is not None:
        body["notional"] = f"{order.notional_usd.quantize(Decimal('0.01'), ROUND_FLOOR):f}"
    else:
        body["qty"] = f"{order.quantity.normalize():f}"
    if order.limit_usd is not None:
        step = Decimal("0.01") if order.limit_usd >= 1 else Decimal("0.0001")
        body["limit_price"] = (
            f"{order.limit_usd.quantize(step, ROUND_FLOOR if order.side == 'buy' else ROUND_CEILING):f}"
        )
    return body


def _states(order: Body, fills: list[Body]) -> Iterator[tuple[datetime, OrderState]]:
    """All that is told of an order, each with its time. The end comes last, and once the fills add up to it."""
    name, number, status = (needed(order, field, "an order") for field in ("client_order_id", "id", "status"))
    filled = _exact(as_text(order.get("filled_qty")) or "0", f"filled_qty of {name}")
    last, told = _at(needed(order, "submitted_at", f"order {name}")), Decimal(0)
    if status != "rejected":
        yield last, OrderState(name, "accepted", "", Decimal(0), f"Alpaca's order {number}")
    for fill in sorted(fills, key=lambda one: (_at(day_of(one)), as_text(one["id"]))):
        quantity = _exact(needed(fill, "qty", f"fill {fill['id']}"), f"qty of fill {fill['id']}")
        told, last = told + quantity, max(last, _at(day_of(fill)))
        note = f"{as_text(fill['qty'])} at {as_text(fill.get('price'))} on {day_of(fill)}"
        yield last, OrderState(name, "fill", as_text(fill["id"]), quantity, note)
    if status in ENDS and told == filled:
        event, field = ENDS[status]
        at = as_text(order.get(field)) or needed(order, "updated_at", f"order {name}")
        by = f" by {order.get('replaced_by')}" if status == "replaced" else ""
        yield max(last, _at(at)), OrderState(name, event, "", filled, f"Alpaca: {status}{by} at {at}")


def _day(at: str) -> date:
    """The day in New York of what Alpaca writes, a date or a moment."""
    return _at(at).date() if len(at) == 10 else _at(at).astimezone(NEW_YORK).date()


def _at(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        raise Unavailable(f"{text[:40]!r} is not a time as Alpaca documents it") from None


def _exact(text: str, what: str) -> Decimal:
    try:
        return decimal(text)
    except ValueError as wrong:
        raise Unavailable(f"{what} of Alpaca: {wrong}") from None
