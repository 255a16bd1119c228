"""Drift and risk of what the household holds tonight, over all accounts."""

from collections import defaultdict
from collections.abc import Mapping
from datetime import timedelta
from decimal import Decimal
from typing import NamedTuple

import numpy as np
import polars as pl

from flows.calendar import next_session
from flows.day import Day
from flows.margin_accounts import measure_leverage
from flows.risk_targets import target_weights
from transforms import tables
from transforms.portfolio.bands import CASH, half_width
from transforms.portfolio.drift import class_of, drift
from transforms.portfolio.volatility_bands import class_returns, recent, scales, volatilities
from transforms.risk.measures import (
    drawdown,
    historical_var,
    max_drawdown,
    portfolio_returns,
    sharpe_ratio,
    volatility,
)
from warehouse.db import Warehouse


def measure(warehouse: Warehouse, day: Day) -> None:
    """Fill core.target_weights, core.drift, core.risk and core.leverage."""
    warehouse.replace("core.drift", _drift(warehouse, day, target_weights(warehouse, day)))
    warehouse.replace("core.risk", _risk(warehouse, day))
    measure_leverage(warehouse, day)


class Locks(NamedTuple):
    """What may not be traded in the session after `as_of`, each with why."""

    accounts: dict[str, str]
    securities: dict[str, str]
    purchases: dict[tuple[str, str], str]  # account_id, security_id


def locks(warehouse: Warehouse, day: Day) -> Locks:
    """What is locked for every method that rebalances.

    Rows     an account in dry_run takes no orders where another one does; where none does all of them are looked at.
    """
    policy = day.settings.portfolio
    does = {account.id for account in policy.accounts if account.orders != "dry_run"}
    accounts = {account.id: "takes no orders" for account in policy.accounts if does and account.id not in does}
    unsound = warehouse.rows(
        "SELECT source, reason FROM core.source_status WHERE NOT is_sound AND kind IN ('activities', 'positions', 'balances')"
    )
    differs = warehouse.rows("SELECT account_id, 'its broker holds something else' FROM core.breaks WHERE blocks")
    accounts |= dict(unsound.iter_rows()) | dict(differs.iter_rows())
    stale = warehouse.rows(
        "SELECT security_id FROM core.lots ANTI JOIN core.latest_prices USING (security_id) "
        "UNION SELECT security_id FROM core.latest_prices WHERE sessions_old > $age ORDER BY ALL",
        age=policy.gates.max_price_age_sessions,
    )
    securities = dict.fromkeys(stale["security_id"], "has no price")
    securities |= dict.fromkeys(policy.gates.do_not_trade, "is on the do-not-trade list")
    barred = warehouse.rows(
        "SELECT account_id, security_id, max(until_on), arg_max(sold_on, until_on) FROM mart.cannot_buy_today "
        "WHERE until_on >= $on GROUP BY ALL",
        on=next_session(day.as_of),
    )
    return Locks(
        accounts,
        securities,
        {
            (
                account,
                name,
            ): f"not to be bought up to {until}: it, or what counts as identical, was sold at a loss on {sold}"
            for account, name, until, sold in barred.iter_rows()
        },
    )


def class_histories(
    warehouse: Warehouse, day: Day, targets: Mapping[str, float], sessions: int
) -> dict[str, np.ndarray]:
    """Daily returns of every class of the targets by what is held of it tonight; none where that has no full history."""
    history = price_history(warehouse, day, sessions)
    names = history.columns[1:]
    if not names or history.height < 3:
        return {}
    closes = history.select(names).to_numpy()
    moves = closes[1:] / closes[:-1] - 1
    held = warehouse.rows(
        "SELECT security_id, any_value(asset_class), sum(value_usd)::DOUBLE FROM mart.positions "
        "WHERE value_usd IS NOT NULL GROUP BY security_id"
    ).rows()
    return class_returns(
        {name: moves[:, i] for i, name in enumerate(names)},
        {name: value for name, _, value in held},
        {name: class_of(name, asset_class, targets) for name, asset_class, _ in held},
    )


def _drift(warehouse: Warehouse, day: Day, targets: Mapping[str, float]) -> pl.DataFrame:
    policy, locked = day.settings.portfolio.bands, locks(warehouse, day)
    scale: dict[str, float] = {}
    if policy.by_volatility:
        moves = class_histories(warehouse, day, targets, policy.lookback_sessions)
        scale = scales(volatilities(recent(moves)), volatilities(moves), targets, *policy.volatility_range)
    held, why = [], defaultdict[str, dict[str, None]](dict)
    for account, name, asset_class, value in warehouse.rows(
        "SELECT account_id, security_id, asset_class, value_usd FROM mart.positions ORDER BY ALL"
    ).iter_rows():
        its = class_of(name, asset_class, targets)
        if name in locked.securities:
            why[its][f"{name} {locked.securities[name]}"] = None
        if account in locked.accounts:
            why[its][f"{account}: {locked.accounts[account]}"] = None
        if value is not None:
            is_locked = name in locked.securities or account in locked.accounts
            held.append((its, value, value if is_locked else Decimal(0)))
    asset_classes = dict(warehouse.rows("SELECT security_id, asset_class FROM stg.securities").iter_rows())
    for (_, name), reason in locked.purchases.items():
        why[class_of(name, asset_classes.get(name), targets)][f"{name} is {reason}"] = None
    for account, usd in warehouse.rows("SELECT account_id, cash_usd FROM mart.cash ORDER BY ALL").iter_rows():
        held.append((CASH, usd, usd if account in locked.accounts else Decimal(0)))
        if usd and account in locked.accounts:
            why[CASH][f"{account}: {locked.accounts[account]}"] = None
    return drift(
        pl.DataFrame(
            held, schema={"asset_class": pl.String, "value_usd": tables.USD, "locked_usd": tables.USD}, orient="row"
        ),
        targets,
        lambda name, target: half_width(target, policy.absolute, policy.relative, policy.of_both, scale.get(name, 1.0)),
        {name: "; ".join(reasons) for name, reasons in why.items()},
    )


def price_history(warehouse: Warehouse, day: Day, sessions: int) -> pl.DataFrame:
    """Adjusted closes of the last sessions, a row each, a column for every security that has them all.

    Shape    session_on, then one column a security; sessions + 1 rows where the data reach back so far.
    """
    rows = warehouse.rows(
        "SELECT security_id, session_on, adjusted_price_usd::DOUBLE AS price FROM stg.prices "
        "WHERE session_on > $after AND session_on <= $as_of",  # plain bounds, so that only these days are read
        after=day.as_of - timedelta(days=2 * sessions),
        as_of=day.as_of,
    )
    days = rows["session_on"].unique().sort().tail(sessions + 1)
    rows = rows.filter(pl.col("session_on").is_in(days.implode()))
    rows = rows.filter(pl.len().over("security_id") == len(days)).sort("security_id", "session_on")
    closes = rows["price"].to_numpy().reshape(-1, max(1, len(days)))
    return pl.DataFrame({"session_on": days, **dict(zip(rows["security_id"].unique().sort(), closes, strict=True))})


def _risk(warehouse: Warehouse, day: Day) -> pl.DataFrame:
    policy = day.settings.portfolio.risk
    values = dict(
        warehouse.rows(
            "SELECT security_id, sum(value_usd)::DOUBLE FROM mart.positions WHERE value_usd IS NOT NULL GROUP BY ALL"
        ).iter_rows()
    )
    cash = float(warehouse.value("SELECT coalesce(sum(cash_usd), 0) FROM mart.cash"))
    history = price_history(warehouse, day, policy.lookback_sessions)
    held = [name for name in history.columns[1:] if name in values]
    total = sum(values.values()) + cash
    if not held or history.height < 3 or total <= 0:
        return tables.core("risk", [])
    weights = np.array([values[name] for name in held]) / total
    returns = portfolio_returns(history.select(held).to_numpy(), weights)
    left_out = sum(value for name, value in values.items() if name not in held) / total
    span = f"today's holdings over the last {len(returns)} sessions"
    now = drawdown(returns)
    rows = [
        ("volatility", volatility(returns), "fraction a year", False, f"standard deviation, {span}"),
        (
            "value_at_risk", historical_var(returns, policy.var_confidence), "fraction a day", False,
            f"historical, {policy.var_confidence:.0%} confidence, {span}",
        ),
        ("sharpe_ratio", sharpe_ratio(returns, policy.risk_free_rate), "ratio", False, f"above {policy.risk_free_rate:.1%} a year, {span}"),
        ("drawdown", now, "fraction", now > policy.max_drawdown, f"below the high of {span}; limit {policy.max_drawdown:.0%}"),
        ("max_drawdown", max_drawdown(returns), "fraction", False, f"deepest fall, {span}"),
        ("not_measured", left_out, "fraction of the household", left_out > 0.05, "holdings without prices over the whole span"),
    ]  # fmt: skip
    return tables.core("risk", rows)
