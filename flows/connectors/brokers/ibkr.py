"""An account at Interactive Brokers: statements by a Flex query, today by the gateway.

The problem: the gateway knows only the day, and says of a position its average cost; a Flex statement knows everything,
from the day before. The choice: the ledger is fed by the statement, and by the executions that it does not speak of yet.
A fill has the id of its execution in both, so that the statement's row restates the gateway's.

Exactly once: IBKR lets any number of orders have the same orderRef, so before one is placed its name is looked for among
open orders, completed orders and executions. What remains is a race between two that look at the same moment; the one
writer's lock (warehouse/db.py) closes it, because only who holds it places orders. An order of an earlier day is not
told any more; its name contains its session and is not used again.

Omits    lots told by an API: IBKR has none. Live rows for what is no share: the statement tells them the day after.
"""

import asyncio
from collections import defaultdict
from collections.abc import Iterable
from datetime import UTC, date, datetime
from decimal import Decimal

import polars as pl
from ib_async import IB, Contract, ExecutionFilter, Fill, Trade

from flows.accounts import Account
from flows.calendar import NEW_YORK, next_session
from flows.connectors import BALANCES, Delivery, LotsTaken, Order, OrderRejected, OrderState, Unavailable, no_rows
from flows.connectors.brokers.flex_service import newest
from flows.connectors.brokers.ibkr_gateway import account_of, ask, contract
from flows.connectors.brokers.ibkr_rows import (
    ENDED,
    TAKEN,
    Execution,
    exact,
    execution,
    how_it_ended,
    ib_order,
    security_of,
    shares_filled,
    stands,
    still_to_sell,
    words_of,
)  # fmt: skip
from flows.connectors.formats import Statement
from flows.connectors.formats.flex_rows import Row
from flows.connectors.formats.flex_xml import execution_id

POSITIONS = ("symbol", "quantity", "cost_usd")
TICK, MOMENT = 0.02, 100  # seconds between two looks, and how often is looked for what comes by itself
VALUES = {"NetLiquidation": "equity_usd", "BuyingPower": "buying_power_usd"}
BY_HAND = (
    "Interactive Brokers takes lots by no API: match them by hand in the Tax Optimizer of the Client Portal "
    "(Performance & Reports, Tax Optimizer) until 20:30 New York of the trade day"
)


class IbkrBroker:
    """One account. It is asked anew each time; only the Flex statement is remembered for a while."""

    def __init__(self, account: Account):
        self.account_id, self._ibkr, self._shares = account.id, account.ibkr, account.shares

    def activities(self, until: date) -> Delivery:
        """The statement's rows, and the executions of the sessions after it as far as the gateway knows them.

        Errors   Unavailable.
        """
        statement, number = self._statement()
        told = statement.activities.filter(pl.col("account") == number)
        on = pl.col("at").str.slice(0, 10).str.to_date("%Y-%m-%d", strict=False)
        rows = told.filter((on <= until) | on.is_null())
        stated_on = statement.stated_on
        assert stated_on is not None, "a Flex statement without a last day is refused when it is read"
        if stated_on >= until:
            return Delivery(self.account_id, "activities", until, rows)
        self._same_ids(told)
        now, executions = ask(self._ibkr, self._executions)
        known = set(rows["id"])
        fresh = [e.row for e in executions if stated_on < e.on <= until and e.row["id"] not in known]
        if fresh:
            last = max(rows["line"], default=0)
            numbered = [{**row, "line": line} for line, row in enumerate(fresh, last + 1)]
            rows = pl.concat([rows, pl.DataFrame(numbered, schema=rows.schema)])
        speaks = now.astimezone(NEW_YORK).date() == until and next_session(stated_on) >= until
        return Delivery(self.account_id, "activities", until if speaks else stated_on, rows)

    def positions(self, until: date) -> Delivery:
        """The statement's where it is of that day, else the gateway's, without what was executed after that day.

        Errors   Unavailable, also where the day is too long ago for the gateway.
        """
        if self._ibkr.flex_query:
            statement, number = self._statement()
            if statement.stated_on == until and statement.positions.height:
                held = statement.positions.filter(pl.col("account") == number).select("line", *POSITIONS)
                return Delivery(self.account_id, "positions", until, held)
        return Delivery(self.account_id, "positions", until, _frame(ask(self._ibkr, lambda ib: self._held(ib, until))))

    def balances(self, until: date) -> Delivery:
        values = dict(ask(self._ibkr, self._values))
        rows = [
            {"line": line, "name": VALUES[tag], "value": values[tag]}
            for line, tag in enumerate(VALUES, 1)
            if tag in values
        ]
        empty = no_rows(self.account_id, "balances", until, *BALANCES)
        return empty._replace(rows=pl.DataFrame(rows, schema=empty.rows.schema))

    def now(self) -> datetime:
        told: datetime = ask(self._ibkr, lambda ib: ib.reqCurrentTimeAsync())
        return told.astimezone(UTC).replace(tzinfo=None)

    def place_order(self, order: Order) -> OrderState:
        if self._shares == "whole" and order.quantity % 1:
            raise OrderRejected(f"{self.account_id} takes whole shares, not {order.quantity:f} of {order.security_id}")
        if order.notional_usd is not None and self._shares != "notional":
            raise OrderRejected(f"{self.account_id} takes no purchases in dollars: set shares to notional if it does")
        return ask(self._ibkr, lambda ib: self._placed(ib, order), again=False)

    def cancel_order(self, client_order_id: str) -> None:
        ask(self._ibkr, lambda ib: self._canceled(ib, client_order_id))

    def order_states(self, until: date) -> list[OrderState]:
        return ask(self._ibkr, lambda ib: self._states(ib, until))

    def tell_lots(self, client_order_id: str, lots: str, on: date) -> LotsTaken:
        raise OrderRejected(f"{BY_HAND}: {lots or 'the lots'} of {client_order_id} on {on}")

    def _statement(self) -> tuple[Statement, str]:
        """The newest statement, and the number of our account in it."""
        query = self._ibkr.flex_query
        if not query:
            raise Unavailable(
                f"{self.account_id}: flex_query is empty, and the gateway alone tells today's executions only: make an "
                "Activity Flex Query (docs/ibkr.md) and set ibkr.flex_query"
            )
        statement = newest(query)
        number = self._ibkr.account or (statement.accounts[0] if len(statement.accounts) == 1 else "")
        if number not in statement.accounts:
            known = ", ".join(statement.accounts)
            raise Unavailable(
                f"{self.account_id}: Flex query {query} tells of {known}; name one of them in ibkr.account"
            )
        return statement, number

    def _same_ids(self, told: pl.DataFrame) -> None:
        """A statement that leaves out the execution's id would book each fill again the day after."""
        trades = told.filter(pl.col("kind").is_in(["trade", "short_open", "short_close"]))
        without = trades.filter(pl.col("id").str.contains("^(trade|transaction|flex)-"))
        if without.height and without.height == trades.height:
            raise Unavailable(
                f"{self.account_id}: Flex query {self._ibkr.flex_query} leaves out ibExecID (line {without['line'][0]}): tick "
                "IB Execution ID in its section Trades, so that a fill is known again when the statement tells it"
            )

    async def _executions(self, ib: IB) -> tuple[datetime, list[Execution]]:
        """What time it is at the gateway, and its fills in their last revision."""
        now = await ib.reqCurrentTimeAsync()
        number = await account_of(ib, self._ibkr)
        return now.astimezone(UTC), [execution(fill, number) for fill in await _fills(ib, number)]

    async def _held(self, ib: IB, until: date) -> list[Row]:
        now, executions = await self._executions(ib)
        today = now.astimezone(NEW_YORK).date()
        if not until <= today <= next_session(until):
            raise Unavailable(f"the gateway tells what is held now, {today}, and not on {until}: a Flex statement does")
        number = await account_of(ib, self._ibkr)
        values = await self._values(ib)
        held: dict[str, list[Decimal]] = {}
        for position in ib.positions(number):  # the connection began with them
            quantity = exact(position.position)
            held[security_of(position.contract)] = [quantity, quantity * exact(position.avgCost)]
        cash = {name: Decimal(value) for tag, name in (("CashBalance", "USD"), ("SettledCash", "USD.settled"))
                for known, value in values if known == tag}  # fmt: skip
        for later in (e for e in executions if e.on > until):
            moved = Decimal(str(later.row["quantity"])) * (1 if later.row["side"] == "buy" else -1)
            name = str(later.row["symbol"])
            before, _ = held.pop(name, [Decimal(0), Decimal(0)])
            if before - moved:  # what it cost then the gateway does not tell
                held[name] = [before - moved, Decimal(0)]
            cash["USD"] = cash.get("USD", Decimal(0)) - Decimal(str(later.row["amount_usd"]))
        rows = [(name, f"{quantity:f}", f"{cost:f}" if cost else "") for name, (quantity, cost) in sorted(held.items())]
        rows += [(name, f"{usd:f}", "") for name, usd in cash.items()]
        return [{"line": line, **dict(zip(POSITIONS, row, strict=True))} for line, row in enumerate(rows, 1)]

    async def _values(self, ib: IB) -> list[tuple[str, str]]:
        """The account's values in dollars."""
        number = await account_of(ib, self._ibkr)
        return [(v.tag, v.value) for v in await ib.accountSummaryAsync(number) if v.currency == "USD"]

    async def _placed(self, ib: IB, order: Order) -> OrderState:
        number = await account_of(ib, self._ibkr)
        orders = await _orders(ib, number)
        for known in orders:
            if known.order.orderRef == order.client_order_id:
                if (known.order.action.lower(), security_of(known.contract)) != (order.side, order.security_id):
                    raise OrderRejected(f"Interactive Brokers has another order under the name {order.client_order_id}")
                return stands(known)
        for fill in await ib.reqExecutionsAsync(ExecutionFilter(acctCode=number)):  # its commission or not
            if fill.execution.orderRef == order.client_order_id:
                return OrderState(order.client_order_id, "accepted", "", Decimal(0), "it was there already")
        [found] = await ib.qualifyContractsAsync(contract(order.security_id))
        if not isinstance(found, Contract):
            raise OrderRejected(f"Interactive Brokers knows no security {order.security_id} in USD")
        if found.secType == "STK" and order.side == "sell":
            of_it = (exact(p.position) for p in ib.positions(number) if p.contract.conId == found.conId)
            on_sale = (still_to_sell(one) for one in orders if one.contract.conId == found.conId)
            free = sum(of_it, Decimal(0)) - sum(on_sale, Decimal(0))
            if order.quantity > free:  # the gateway would sell them short
                raise OrderRejected(
                    f"{self.account_id} has {free:f} of {order.security_id} to sell, not {order.quantity:f}"
                )
        trade = ib.placeOrder(found, ib_order(order, number))
        while trade.orderStatus.status not in TAKEN and ib.isConnected():
            await asyncio.sleep(TICK)
        return stands(trade)

    async def _canceled(self, ib: IB, client_order_id: str) -> None:
        number = await account_of(ib, self._ibkr)
        known = [one for one in await _orders(ib, number) if one.order.orderRef == client_order_id]
        if not known:
            raise OrderRejected(f"Interactive Brokers tells of no order {client_order_id}")
        if known[0].orderStatus.status in ENDED:
            return
        if known[0].order.clientId != self._ibkr.client_id:
            raise OrderRejected(
                f"{client_order_id} was placed by client {known[0].order.clientId}, and only that one may cancel it: "
                "cancel it in TWS"
            )
        ib.cancelOrder(known[0].order)
        for _ in range(MOMENT):  # the answer may take long; then it is among the states
            if known[0].orderStatus.status in ENDED:
                return
            await asyncio.sleep(TICK)

    async def _states(self, ib: IB, until: date) -> list[OrderState]:
        """Accepted, fills by time, end; of an order that is filled only when the commission of every fill is known.

        Omits    when an order was cancelled: its end is told from the gateway's own day on.
        """
        now, executions = await self._executions(ib)
        number = await account_of(ib, self._ibkr)
        fills: dict[str, list[Execution]] = defaultdict(list)
        for one in sorted((e for e in executions if e.on <= until), key=lambda e: e.at):
            fills[one.order].append(one)
        orders = {o.order.orderRef: o for o in await _orders(ib, number) if o.order.orderRef}
        states: list[OrderState] = []
        for name in dict.fromkeys((*orders, *(name for name in fills if name))):
            came = [(str(one.row["id"]), Decimal(str(one.row["quantity"])), one.at) for one in fills[name]]
            states.append(OrderState(name, "accepted", "", Decimal(0), ""))
            states += [OrderState(name, "fill", id_, quantity, f"at {at:%H:%M:%S} UTC") for id_, quantity, at in came]
            filled = sum((quantity for _, quantity, _ in came), Decimal(0))
            trade = orders.get(name)
            ended = how_it_ended(trade) if trade else ""
            is_of_then = ended == "filled" or now.astimezone(NEW_YORK).date() <= until
            if trade and ended and is_of_then and filled >= exact(shares_filled(trade)):
                states.append(OrderState(name, ended, "", filled, words_of(trade)))
        return states


async def _fills(ib: IB, number: str) -> list[Fill]:
    """The day's fills, each in its last revision, whose commission came; it comes by itself, a moment after the fill."""
    told = await ib.reqExecutionsAsync(ExecutionFilter(acctCode=number))
    for _ in range(MOMENT):
        if all(fill.commissionReport.execId for fill in told):
            break
        await asyncio.sleep(TICK)
    last: dict[str, Fill] = {}
    for fill in sorted(told, key=lambda f: f.execution.execId):
        if fill.execution.acctNumber == number:
            last[execution_id(fill.execution.execId)] = fill
    return [fill for fill in last.values() if fill.commissionReport.execId]


async def _orders(ib: IB, number: str) -> list[Trade]:
    """Open orders, of every client, and those of the day that have ended."""
    told = [*await ib.reqAllOpenOrdersAsync(), *await ib.reqCompletedOrdersAsync(False)]
    return sorted((trade for trade in told if trade.order.account == number), key=lambda trade: trade.order.permId)


def _frame(rows: Iterable[Row]) -> pl.DataFrame:
    return pl.DataFrame(list(rows), schema={"line": pl.Int64} | dict.fromkeys(POSITIONS, pl.String), orient="row")
