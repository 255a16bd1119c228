"""A person's own orders: a CSV file of them, checked and decided like every other.

Columns  account, side, symbol, quantity; lots (LOT:QTY;LOT:QTY) where the broker sells the lots that it is told.
"""

from decimal import Decimal
from pathlib import Path

from flows.calendar import closes, next_session
from flows.csv_file import Unreadable, csv_rows
from flows.day import REAL, Clock, Day, day_of
from flows.decide import as_trades, decide_now, waiting
from flows.pre_trade import known
from flows.runs import last_booked, publish
from flows.settings import Settings
from transforms.exact import decimal, nano_shares
from transforms.lots.check import Effect, beyond, dollars, within
from transforms.lots.relief import read_picks
from transforms.orders.arbiter import Proposed
from warehouse.db import Warehouse, reader, writer

COLUMNS = ["account", "side", "symbol", "quantity"]


def order(settings: Settings, file: Path, *, only_check: bool, clock: Clock = REAL) -> str:
    """Say what the orders of a file would do; store them as a decision of kind hand unless only checked.

    Errors   Unreadable names the file, the line, what was expected and what to do.
    """
    if only_check:
        with reader(settings.snapshot) as warehouse:
            day = _day(warehouse, settings, clock)
            return "\n".join(_effects(warehouse, day, _read(warehouse, day, file)))
    with writer(settings.warehouse) as warehouse:
        day = _day(warehouse, settings, clock)
        wanted = _read(warehouse, day, file)
        said = _effects(warehouse, day, wanted)
        batches = decide_now(warehouse, day, wanted, "hand")
        refused = warehouse.rows(
            "SELECT side || ' ' || security_id || ' in ' || account_id || ': ' || refusal FROM core.proposed_trades WHERE refusal <> ''"
        )
        publish(warehouse, day)
    said += [f"left out: {row}" for row in refused.to_series()]
    return "\n".join([*said, *(f"decided: {batch}, for {next_session(day.as_of)}" for batch in batches)])


def _day(warehouse: Warehouse, settings: Settings, clock: Clock) -> Day:
    as_of = last_booked(warehouse)
    booked_to = warehouse.value("SELECT max(booked_to) FROM core.accounts")
    if as_of is None or booked_to is None or booked_to < as_of:
        raise Unreadable("the books are not those of the last session: thresher run first")
    day = day_of(settings, as_of, clock.now(), clock)
    session_on = next_session(as_of)
    if all(day.now_at(account) >= closes(session_on) for account in settings.portfolio.accounts):
        raise Unreadable(f"the session of {session_on} is over: thresher run first, it books it")
    return day


def _read(warehouse: Warehouse, day: Day, file: Path) -> list[Proposed]:
    prices = dict(warehouse.rows("SELECT security_id, price_usd FROM core.latest_prices").iter_rows())
    accounts = {account.id: account for account in day.settings.portfolio.accounts}
    found = []
    for line, row in csv_rows(file, COLUMNS):
        account, side, symbol, lots = row["account"], row["side"], row["symbol"], row.get("lots", "")
        wrong = ""
        try:
            quantity = decimal(row["quantity"])
            nano_shares(quantity)
            read_picks(lots)
        except ValueError as why:
            quantity, wrong = Decimal(0), str(why)
        if account not in accounts:
            wrong = f"account {account!r} is not in portfolio.toml; there is {', '.join(accounts)}"
        elif side not in ("buy", "sell"):
            wrong = f"side {side!r} is not buy or sell"
        elif symbol not in prices:
            wrong = f"there is no price of {symbol!r}: correct the symbol, or add it to the securities"
        elif not wrong and quantity <= 0:
            wrong = f"quantity {row['quantity']!r} is not above zero"
        elif lots and not accounts[account].reaches_any_lot:
            wrong = f"{account} sells first in, first out whatever it is told: leave lots empty"
        if wrong:
            raise Unreadable(f"{file}:{line}: {wrong}; nothing was decided")
        zero = Decimal(0)
        reason = f"wanted by hand, {file.name} line {line}"
        found.append(
            Proposed(f"hand {line}", "hand", account, side, symbol, quantity, prices[symbol], lots, zero, zero, reason)
        )
    return found


def _effects(warehouse: Warehouse, day: Day, wanted: list[Proposed]) -> list[str]:
    """What each order would realise, wash and cost in tax, the whole file together with what is decided and known to come."""
    trades = as_trades(warehouse, day, [*wanted, *waiting(warehouse, day)])
    seen, limits = known(warehouse, day, next_session(day.as_of)), day.settings.portfolio.wash_limits
    told, in_part = seen.effects(trades), seen.beyond_in_part(trades[: len(wanted)], limits)
    said = []
    for t, trade in zip(wanted, trades, strict=False):
        effect = told[trade.trade_id]
        why = beyond(effect, limits) or in_part.get(trade.trade_id) or within(effect)
        done = (
            f"{t.side} {t.quantity:f} {t.security_id} in {t.account_id} at {t.price_usd:,.2f}: {_said(effect, t.side)}"
        )
        said.append(done + (f"; {why}" if why else ""))
    return said or ["the file has no orders"]


def _said(effect: Effect, side: str) -> str:
    if side == "buy":
        return "washes nothing" if not effect.disallowed else f"washes {dollars(effect.disallowed)} of loss"
    return f"realises {dollars(effect.short_gain)} short-term and {dollars(effect.long_gain)} long-term, tax {dollars(effect.tax)}"
