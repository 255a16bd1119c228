"""Between ib_async's nouns and ours: executions, orders, how an order stands.

Units    what the gateway sends is a float of its text; it goes back through its text, and into dollars as the ledger's.
"""

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import NamedTuple

from ib_async import Contract, Fill, LimitOrder, MarketOrder, Trade
from ib_async import Order as IbOrder
from ib_async.util import UNSET_DOUBLE

from flows.calendar import NEW_YORK
from flows.connectors import Order, OrderRejected, OrderState
from flows.connectors.formats.flex_rows import COLUMNS, Row, micro, symbol, with_rebate
from flows.connectors.formats.flex_xml import execution_id

ENDED = {"Filled": "filled", "Cancelled": "canceled", "ApiCancelled": "canceled", "Inactive": "rejected"}
TAKEN = ("PreSubmitted", "Submitted", *ENDED)
CANCELED = 202  # the code under which a cancellation is told, as if it were an error


class Execution(NamedTuple):
    """A fill whose commission is known."""

    row: Row
    order: str
    on: date
    at: datetime


def exact(number: float | Decimal) -> Decimal:
    """
    >>> exact(10.0), exact(0.33125725)
    (Decimal('10'), Decimal('0.33125725'))
    """
    plain = Decimal(str(number))
    return plain.quantize(Decimal(1)) if plain == plain.to_integral_value() else plain


def execution(fill: Fill, number: str) -> Execution:
    ran, paid, what = fill.execution, fill.commissionReport, fill.contract
    at = ran.time.astimezone(NEW_YORK)
    side = {"BOT": "buy", "SLD": "sell"}.get(ran.side, ran.side)
    quantity, price, fee = exact(ran.shares), exact(ran.price), exact(paid.commission)
    row: Row = {
        **dict.fromkeys(COLUMNS, ""), "id": execution_id(ran.execId), "at": f"{at:%Y-%m-%dT%H:%M:%S}", "side": side,
        "symbol": security_of(what), "quantity": f"{quantity:f}", "account": number,
    }  # fmt: skip
    currencies = {what.currency, paid.currency} - {"USD"}
    if what.secType != "STK" or currencies:
        why = f"in {', '.join(sorted(currencies))}, and not in USD" if currencies else "the statement tells it tomorrow"
        said = f"price {price:f} {what.currency}; commission {fee:f} {paid.currency}"
        row |= {"kind": f"Execution of {what.secType}: {why}", "said": said}
    else:
        worth = quantity * price * (-1 if side == "buy" else 1)
        net = worth - fee
        price, fee = with_rebate(side, quantity, price, fee)
        row |= {"kind": "trade", "price_usd": f"{price:f}", "fee_usd": micro(fee), "amount_usd": micro(net)}
    return Execution(row, ran.orderRef, at.date(), ran.time.astimezone(UTC))


def ib_order(order: Order, number: str) -> IbOrder:
    quantity = int(order.quantity) if order.quantity == int(order.quantity) else float(order.quantity)
    action = order.side.upper()
    made = (
        LimitOrder(action, quantity, float(order.limit_usd))
        if order.limit_usd is not None
        else MarketOrder(action, quantity)
    )
    if order.notional_usd is not None:
        made.totalQuantity, made.cashQty = 0, float(order.notional_usd)
    made.orderRef, made.account, made.tif = order.client_order_id, number, order.time_in_force.upper()
    return made


def stands(trade: Trade) -> OrderState:
    """How an order stands that was placed now, or was there already.

    Errors   OrderRejected with the gateway's words.
    """
    status = trade.orderStatus.status
    if status not in TAKEN:
        raise ConnectionError("drops the connection")
    refused = next((entry for entry in trade.log if entry.errorCode not in (0, CANCELED)), None)
    if status in ("Cancelled", "Inactive") and refused:
        raise OrderRejected(refused.message)
    ended = how_it_ended(trade)
    return OrderState(
        trade.order.orderRef,
        ended or "accepted",
        "",
        exact(shares_filled(trade)) if ended else Decimal(0),
        words_of(trade),
    )


def how_it_ended(trade: Trade) -> str:
    return ENDED.get(trade.orderStatus.status, "")


def shares_filled(trade: Trade) -> float | Decimal:
    """What was filled in all: a completed order says it in another place than an open one."""
    said = trade.order.filledQuantity
    return trade.orderStatus.filled if said == UNSET_DOUBLE else said


def still_to_sell(trade: Trade) -> Decimal:
    """Shares that an open order may yet sell."""
    if trade.order.action != "SELL" or how_it_ended(trade):
        return Decimal(0)
    return exact(trade.order.totalQuantity) - exact(trade.orderStatus.filled)


def words_of(trade: Trade) -> str:
    return trade.log[-1].message if trade.log else ""


def security_of(what: Contract) -> str:
    return symbol(what.localSymbol or what.symbol)
