"""Drift and risk of what the household holds tonight, over all accounts."""

from datetime import timedelta

import numpy as np
import polars as pl

from flows.day import Day
from transforms import tables
from transforms.portfolio.drift import drift
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
    """Fill core.drift and core.risk."""
    portfolio = day.settings.portfolio
    held = warehouse.rows(
        "SELECT coalesce(asset_class, 'Unknown') AS asset_class, value_usd FROM mart.positions WHERE value_usd IS NOT NULL "
        "UNION ALL SELECT 'Cash', cash_usd FROM mart.cash"
    )
    warehouse.replace("core.drift", drift(held, portfolio.targets, portfolio.bands.absolute))
    warehouse.replace("core.risk", _risk(warehouse, day))


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
