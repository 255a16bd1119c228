"""The answers' bodies of the trading interface, field by field as Alpaca has them: amounts are text, flags are flags."""

from datetime import timedelta
from decimal import Decimal
from hashlib import sha256
from typing import Any
from uuid import NAMESPACE_DNS, uuid5

from tests.fake_alpaca import actions
from tests.fake_alpaca.books import Account, Order, held_for_orders, iso, position_symbol, settled_cash, size_of, text
from tests.fake_alpaca.market import NEW_YORK, Session, is_crypto, is_option, new_york
from tests.fake_alpaca.trading import Broker

Body = dict[str, Any]
ZERO = Decimal(0)


def asset_class(symbol: str) -> str:
    return "crypto" if is_crypto(symbol) else "us_option" if is_option(symbol) else "us_equity"


def asset_id(symbol: str) -> str:
    return str(uuid5(NAMESPACE_DNS, f"{symbol}.fake-alpaca"))


def cusip(symbol: str) -> str:
    """Nine characters that stand for a security; made up."""
    return sha256(symbol.encode()).hexdigest()[:9].upper()


def account(broker: Broker, of: Account) -> Body:
    today = new_york(broker.clock)
    power = broker.buying_power(of)
    long = sum((v for s in of.lots if (v := broker.value(of, s)) > 0), ZERO)
    short = sum((v for s in of.lots if (v := broker.value(of, s)) < 0), ZERO)
    margin = broker.initial_margin(of)
    maintenance = ZERO if of.multiplier == 1 else (long - short) * Decimal("0.3")
    free = max(settled_cash(of, today) - held_for_orders(of), ZERO)
    return {
        "id": of.id,
        "account_number": of.number,
        "status": "ACTIVE",
        "crypto_status": "ACTIVE",
        "currency": "USD",
        "buying_power": text(power),
        "regt_buying_power": text(power),
        "daytrading_buying_power": text(power if of.multiplier == 4 else ZERO),
        "effective_buying_power": text(power),
        "non_marginable_buying_power": text(max(of.cash - held_for_orders(of), ZERO)),
        "options_buying_power": text(max(of.cash - held_for_orders(of), ZERO)),
        "options_approved_level": of.configurations["max_options_trading_level"],
        "options_trading_level": of.configurations["max_options_trading_level"],
        "bod_dtbp": "0",
        "cash": text(of.cash),
        "cash_withdrawable": text(free),
        "cash_transferable": text(free),
        "accrued_fees": "0",
        "pending_transfer_in": "0",
        "pending_transfer_out": "0",
        "portfolio_value": text(broker.equity(of)),
        "pattern_day_trader": False,
        "trading_blocked": False,
        "transfers_blocked": False,
        "account_blocked": False,
        "created_at": iso(of.opened_at),
        "trade_suspended_by_user": of.configurations["suspend_trade"],
        "multiplier": str(of.multiplier),
        "shorting_enabled": of.shorting,
        "equity": text(broker.equity(of)),
        "last_equity": text(of.last_equity),
        "long_market_value": text(long),
        "short_market_value": text(short),
        "position_market_value": text(long + short),
        "initial_margin": text(margin),
        "maintenance_margin": text(maintenance),
        "last_maintenance_margin": text(maintenance),
        "sma": "0",
        "daytrade_count": _day_trades(broker, of),
        "balance_asof": str(today - timedelta(days=1)),
        "crypto_tier": 0,
        "intraday_adjustments": "0",
        "pending_reg_taf_fees": "0",
    }


def _day_trades(broker: Broker, of: Account) -> int:
    """Securities bought and sold on one day, over the last five sessions."""
    today = new_york(broker.clock)
    days = [s.date for s in broker.market.exchange.between(today - timedelta(days=12), today)][-5:]
    return sum(len(sides) == 2 for day in days for sides in of.traded.get(day, {}).values())


def position(broker: Broker, of: Account, symbol: str) -> Body:
    quantity, cost = of.quantity(symbol), of.cost(symbol)
    price, before = broker.price(symbol), broker.market.close_before(symbol, broker.clock)
    value = broker.value(of, symbol)
    size = size_of(symbol)
    base = before if before is not None else price
    today = ZERO if price is None or base is None else (price - base) * quantity * size
    return {
        "asset_id": asset_id(symbol),
        "symbol": position_symbol(symbol),
        "exchange": _venue(symbol),
        "asset_class": asset_class(symbol),
        "asset_marginable": not is_crypto(symbol) and not is_option(symbol),
        "qty": text(quantity),
        "qty_available": text(broker.available(of, symbol).copy_sign(quantity)),
        "avg_entry_price": text((cost / quantity / size).quantize(Decimal("1e-9"))),
        "side": "long" if quantity > 0 else "short",
        "market_value": text(value),
        "cost_basis": text(cost),
        "unrealized_pl": text(value - cost),
        "unrealized_plpc": _rate(value - cost, abs(cost)),
        "unrealized_intraday_pl": text(today),
        "unrealized_intraday_plpc": _rate(today, abs(cost)),
        "current_price": text(price),
        "lastday_price": text(base),
        "change_today": _rate(price - base if price is not None and base is not None else ZERO, base or ZERO),
    }


def _rate(part: Decimal, of: Decimal) -> str | None:
    return text((part / of).quantize(Decimal("1e-16"))) if of else "0"


def _venue(symbol: str) -> str:
    return "CRYPTO" if is_crypto(symbol) else "" if is_option(symbol) else "NASDAQ"


def order(of: Order) -> Body:
    average = (of.filled_value / of.filled_qty).quantize(Decimal("1e-9")) if of.filled_qty else None
    return {
        "id": of.id,
        "client_order_id": of.client_order_id,
        "created_at": iso(of.submitted_at),
        "updated_at": iso(of.updated_at),
        "submitted_at": iso(of.submitted_at),
        "filled_at": iso(of.ended_at.get("filled")),
        "expired_at": iso(of.ended_at.get("expired")),
        "canceled_at": iso(of.ended_at.get("canceled")),
        "failed_at": iso(of.ended_at.get("rejected")),
        "replaced_at": iso(of.ended_at.get("replaced")),
        "replaced_by": of.replaced_by,
        "replaces": of.replaces,
        "asset_id": asset_id(of.symbol),
        "symbol": of.symbol,
        "asset_class": asset_class(of.symbol),
        "notional": text(of.notional),
        "qty": text(of.qty),
        "filled_qty": text(of.filled_qty),
        "filled_avg_price": text(average),
        "order_class": "",
        "order_type": of.type,
        "type": of.type,
        "side": of.side,
        "time_in_force": of.time_in_force,
        "limit_price": text(of.limit_price),
        "stop_price": text(of.stop_price),
        "status": of.status,
        "extended_hours": of.extended_hours,
        "legs": None,
        "trail_percent": None,
        "trail_price": None,
        "hwm": None,
        "position_intent": of.position_intent,
        "subtag": None,
        "source": None,
        "expires_at": iso(of.expires_at),
    }


def asset(broker: Broker, symbol: str) -> Body:
    stock = asset_class(symbol) == "us_equity"
    price, before = broker.price(symbol), broker.market.close_before(symbol, broker.clock)
    return {
        "id": asset_id(symbol),
        "class": asset_class(symbol),
        "exchange": _venue(symbol),
        "symbol": symbol,
        "name": f"{symbol} (made up)",
        "status": "active",
        "tradable": True,
        "marginable": stock,
        "maintenance_margin_requirement": 30 if stock else 100,
        "margin_requirement_long": "30" if stock else "100",
        "margin_requirement_short": "30" if stock else "",
        "shortable": stock,
        "easy_to_borrow": stock,
        "fractionable": not is_option(symbol),
        "last_price": text(price),
        "last_close_pct_change": _rate(price - before, before) if price and before else "0",
        "attributes": [],
    }


def clock(broker: Broker) -> Body:
    exchange, now = broker.market.exchange, broker.clock
    return {
        "timestamp": now.astimezone(NEW_YORK).isoformat(),
        "is_open": exchange.is_open(now),
        "next_open": exchange.next_to_open(now).opens.astimezone(NEW_YORK).isoformat(),
        "next_close": exchange.next_to_close(now).closes.astimezone(NEW_YORK).isoformat(),
    }


def calendar_day(session: Session) -> Body:
    opens, closes = (at.astimezone(NEW_YORK) for at in (session.opens, session.closes))
    return {
        "date": str(session.date),
        "open": f"{opens:%H:%M}",
        "close": f"{closes:%H:%M}",
        "session_open": "0400",
        "session_close": "2000" if closes.hour == 16 else "1700",
    }


def option_contract(broker: Broker, symbol: str) -> Body:
    underlying, kind, strike = actions.contract(symbol)
    expires = actions.expires_on(symbol)
    before = broker.market.close_before(symbol, broker.clock)
    style = "Call" if kind == "C" else "Put"
    return {
        "id": asset_id(symbol),
        "symbol": symbol,
        "name": f"{underlying} {expires:%b %d %Y} {text(strike)} {style}",
        "status": "active" if expires >= new_york(broker.clock) else "inactive",
        "tradable": expires >= new_york(broker.clock),
        "expiration_date": str(expires),
        "root_symbol": underlying,
        "underlying_symbol": underlying,
        "underlying_asset_id": asset_id(underlying),
        "type": style.lower(),
        "style": "american",
        "strike_price": text(strike),
        "size": "100",
        "open_interest": "0",
        "open_interest_date": str(new_york(broker.clock)),
        "close_price": text(before),
        "close_price_date": None if before is None else str(new_york(broker.clock)),
    }


def announcement(action: Body) -> Body:
    """An action as /v2/corporate_actions/announcements tells it."""
    kind = action["type"]
    ca_type, sub_type = ANNOUNCED[kind]
    source = action[actions.KINDS[kind][2]]
    target = action.get("new_symbol") or action.get("acquirer_symbol") or source
    rates = {
        "old_rate": action.get("old_rate") or action.get("source_rate") or action.get("acquiree_rate") or "1",
        "new_rate": action.get("new_rate") or action.get("acquirer_rate") or "1",
    }
    if kind == "stock_dividend":
        rates["new_rate"] = text(1 + Decimal(action["rate"])) or "1"
    cash = action.get("cash_rate") or (action.get("rate") if kind in ("cash_dividend", "cash_merger") else None)
    ex_date = action[actions.KINDS[kind][1]]
    return {
        "id": action["id"],
        "corporate_action_id": f"{cusip(source)}_{action['id'][:4].upper()}",
        "ca_type": ca_type,
        "ca_sub_type": sub_type,
        "initiating_symbol": source,
        "initiating_original_cusip": cusip(source),
        "target_symbol": target,
        "target_original_cusip": cusip(target),
        "declaration_date": action.get("declaration_date"),
        "ex_date": ex_date,
        "record_date": action.get("record_date") or ex_date,
        "payable_date": action.get("payable_date") or ex_date,
        "cash": cash or "0",
        **rates,
    }


ANNOUNCED = {
    "forward_split": ("split", "stock_split"),
    "reverse_split": ("split", "reverse_split"),
    "stock_dividend": ("dividend", "stock"),
    "cash_dividend": ("dividend", "cash"),
    "spin_off": ("spinoff", "spinoff"),
    "cash_merger": ("merger", "merger_completion"),
    "stock_merger": ("merger", "merger_completion"),
    "stock_and_cash_merger": ("merger", "merger_completion"),
    "name_change": ("merger", "merger_update"),
    "worthless_removal": ("merger", "merger_update"),
}
CUSIPS = ("symbol", "source_symbol", "new_symbol", "old_symbol", "acquirer_symbol", "acquiree_symbol")
OURS = {"type", "basis_rate", "new_price", "withholding_rate", "activity_type", "declaration_date", "announced_at"}


def action(told: Body) -> Body:
    """An action as the corporate-actions feed tells it: rates are numbers there."""
    body = {name: value for name, value in told.items() if name not in OURS}
    body |= {name: _plain(value) for name, value in body.items() if name.endswith("rate")}
    for name in CUSIPS:
        if name in body:
            body[name.replace("symbol", "cusip")] = cusip(body[name])
    if told["type"] == "reverse_split":
        body |= {"old_cusip": body.pop("cusip"), "new_cusip": cusip(f"{told['symbol']} {told['ex_date']}")}
    return body


def _plain(value: str) -> int | float:
    return int(value) if "." not in value else float(value)
