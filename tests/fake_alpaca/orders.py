"""Which orders are taken: every rule by which Alpaca refuses one, in its words.

Omits    orders of several legs (bracket, oco, oto, mleg), trailing stops; holding the shares under a written call and the cash
         under a written put once they are written.
"""

from datetime import time
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any

from tests.fake_alpaca import actions
from tests.fake_alpaca.books import CENT, NANO, Account, Order, cents, size_of, text
from tests.fake_alpaca.market import NEW_YORK, is_crypto, is_option, new_york

if TYPE_CHECKING:
    from tests.fake_alpaca.trading import Broker

TYPES = ("market", "limit", "stop", "stop_limit")
TIMES_IN_FORCE = ("day", "gtc", "opg", "cls", "ioc", "fok")


class Refused(Exception):
    """A request that is answered with an error, as Alpaca words it."""

    def __init__(self, status: int, code: int, message: str, **more: Any):
        super().__init__(message)
        self.status, self.body = status, {"code": code, "message": message, **more}


def unprocessable(message: str, **more: Any) -> Refused:
    return Refused(422, 40010001, message, **more)


def decimal(asked: dict, name: str) -> Decimal | None:
    """A number of a request, be it text or number.

    Errors   Refused.
    """
    value = asked.get(name)
    if value is None or value == "":
        return None
    try:
        found = Decimal(value if isinstance(value, str) else repr(value))
    except InvalidOperation:
        raise unprocessable(f"{name} is not a number: {value}") from None
    if not found.is_finite() or found <= 0:
        raise unprocessable(f"{name} must be > 0")
    return found


def read(asked: dict) -> dict:
    """An order as it was asked for, its numbers exact.

    Errors   Refused.
    """
    kind, force, side = asked.get("type"), asked.get("time_in_force"), asked.get("side")
    if side not in ("buy", "sell"):
        raise unprocessable("side is required: buy or sell" if not side else f"invalid side: {side}")
    if kind not in TYPES:
        raise unprocessable(f"invalid type: {kind}" if kind else "type is required")
    if force not in TIMES_IN_FORCE:
        raise unprocessable(f"invalid time_in_force: {force}" if force else "time_in_force is required")
    if asked.get("order_class") not in (None, "", "simple"):
        raise unprocessable(f"order_class {asked['order_class']} is not supported here: simple only")
    numbers = {name: decimal(asked, name) for name in ("qty", "notional", "limit_price", "stop_price")}
    if (numbers["qty"] is None) == (numbers["notional"] is None):
        raise unprocessable(
            "qty or notional is required" if numbers["qty"] is None else "only one of qty or notional is accepted"
        )
    for name in ("limit", "stop"):
        if (name in kind) != (numbers[f"{name}_price"] is not None):
            fault = "require" if name in kind else "must not have"
            raise unprocessable(f"{kind} orders {fault} {name} price")
        price = numbers[f"{name}_price"]
        if (
            price is not None
            and not is_crypto(asked.get("symbol") or "")
            and price % (CENT if price >= 1 else CENT / 100)
        ):
            told = f"invalid {name}_price {text(price)}. sub-penny increment does not fulfill minimum pricing criteria"
            raise Refused(422, 42210000, told)
    return {
        "client_order_id": asked.get("client_order_id"),
        "symbol": asked.get("symbol"),
        "side": side,
        "type": kind,
        "time_in_force": force,
        "extended_hours": bool(asked.get("extended_hours")),
        **numbers,
    }


def check_fraction(account: Account, order: dict) -> None:
    """Fractions and dollars: day orders, at the market or with a limit; nine decimals and cents.

    Errors   Refused.
    """
    quantity, notional, crypto = order["qty"], order["notional"], is_crypto(order["symbol"])
    if crypto and order["time_in_force"] not in ("gtc", "ioc"):
        raise Refused(422, 42210000, "invalid crypto time_in_force")
    if notional is not None and notional % CENT:
        raise Refused(422, 42210000, "notional value must be limited to 2 decimal places")
    if quantity is not None and quantity % NANO:
        raise Refused(422, 42210000, "qty must be limited to 9 decimal places")
    is_part = quantity is None or quantity % 1 != 0
    if not is_part or crypto:
        return
    if is_option(order["symbol"]):
        raise Refused(422, 42210000, "option orders are in whole contracts")
    if not account.configurations["fractional_trading"]:
        raise Refused(403, 40310000, "account is not allowed to trade fractional shares")
    if order["time_in_force"] != "day":
        raise Refused(422, 42210000, "fractional orders must be DAY orders")
    if order["type"] not in ("market", "limit"):
        raise Refused(422, 42210000, "fractional orders must be market or limit orders")


def check_time(broker: "Broker", order: dict) -> None:
    """Orders for an auction come in time for it."""
    clock = broker.clock.astimezone(NEW_YORK).time()
    last = {"opg": time(9, 28), "cls": time(15, 50)}.get(order["time_in_force"])
    if last and last <= clock < time(19) and broker.market.exchange.by_date.get(new_york(broker.clock)):
        raise Refused(422, 42210000, f"{order['time_in_force']} orders are not accepted from {last:%H:%M} to 19:00")


def check_wash_trade(broker: "Broker", account: Account, order: dict, replaces: Order | None) -> None:
    """No order that could meet one of the account's own."""
    for other in account.working.values():
        if other.symbol != order["symbol"] or other.side == order["side"] or other is replaces:
            continue
        limits = {order["side"]: order["limit_price"], other.side: other.limit_price}
        if limits["buy"] is None or limits["sell"] is None:
            reason = "opposite side market/stop order exists"
        elif limits["buy"] >= limits["sell"]:
            reason = "opposite side limit order exists"
        else:
            continue
        message = "potential wash trade detected. use complex orders"
        raise Refused(403, 40310000, message, existing_order_id=other.id, reject_reason=reason)


def check_position(broker: "Broker", account: Account, order: dict, held: Decimal) -> None:
    symbol, price = order["symbol"], broker.price(order["symbol"])
    asked = order["qty"] if order["qty"] is not None else order["notional"] / (price or order["notional"])
    available = broker.available(account, symbol)
    if asked > available:
        raise Refused(
            403,
            40310000,
            f"insufficient qty available for order (requested: {text(asked)}, available: {text(available)})",
            available=text(available),
            existing_qty=text(abs(held)),
            held_for_orders=text(abs(held) - available),
            symbol=symbol,
        )


def check_short(broker: "Broker", account: Account, order: dict, price: Decimal) -> None:
    symbol, quantity = order["symbol"], order["qty"]
    if is_option(symbol) and quantity is not None:
        check_written(broker, account, symbol, quantity)
        return
    if is_crypto(symbol) or not account.shorting or account.configurations["no_shorting"]:
        if account.quantity(symbol) == 0 and not account.shorting and quantity is not None:
            raise Refused(
                403,
                40310000,
                f"insufficient qty available for order (requested: {text(quantity)}, available: 0)",
                available="0",
                existing_qty="0",
                held_for_orders="0",
                symbol=symbol,
            )
        raise Refused(403, 40310000, "account is not allowed to short")
    if quantity is None or quantity % 1:
        raise Refused(422, 42210000, "fractional orders cannot be sold short")
    power = broker.buying_power(account)
    if quantity * price * Decimal("1.03") > power:
        basis = text(quantity * price)
        raise Refused(403, 40310000, "insufficient buying power", buying_power=text(power), cost_basis=basis)


def check_written(broker: "Broker", account: Account, symbol: str, quantity: Decimal) -> None:
    """A call is written on shares that are there, a put on cash."""
    underlying, kind, strike = actions.contract(symbol)
    if kind == "P":
        power, basis = broker.buying_power(account), strike * 100 * quantity
        if basis > power:
            raise Refused(403, 40310000, "insufficient buying power", buying_power=text(power), cost_basis=text(basis))
        return
    written = sum(
        (-account.quantity(s) for s in account.lots if is_option(s) and actions.contract(s)[:2] == (underlying, "C")),
        Decimal(0),
    )
    free = broker.available(account, underlying) - 100 * max(written, Decimal(0))
    if 100 * quantity > free:
        message = f"insufficient underlying qty available for covered call (required: {100 * quantity:f}, available: {free:f})"
        raise Refused(
            403, 40310000, message, available_qty=text(free), required_qty=text(100 * quantity), symbol=symbol
        )


def check_buying_power(broker: "Broker", account: Account, order: dict, price: Decimal) -> None:
    cost = order["notional"] if order["notional"] is not None else order["qty"] * price * size_of(order["symbol"])
    power = broker.buying_power(account)
    if cost > power:
        raise Refused(
            403, 40310000, "insufficient buying power", buying_power=text(power), cost_basis=text(cents(cost))
        )
    if cost < 1 and not is_option(order["symbol"]):
        raise Refused(403, 40310000, "cost basis must be >= minimal amount of order 1", cost_basis=text(cost))
