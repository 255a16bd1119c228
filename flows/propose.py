"""Harvests worth doing, each with what to hold instead; and those refused, each with the reason.

What they are is decided in transforms/harvest/scan.py. Here is gathered what they have to do with, from the warehouse or
from its published copy: the evening looks at it with the closes, a scan in market hours with live prices.
"""

from collections.abc import Collection, Mapping
from datetime import timedelta
from decimal import Decimal

import numpy as np
import polars as pl

from flows.calendar import next_session
from flows.day import Day
from flows.fund_pairs import pairs_of
from flows.measure import price_history
from flows.policy import Harvest
from flows.pre_trade import Known, known, show
from transforms import tables
from transforms.harvest.candidates import OpenLot, holdings
from transforms.harvest.replacement import Replacement, replacements
from transforms.harvest.scan import Concerned, Scan, Thresholds, proposals, row
from transforms.harvest.worth import Economics, Outlook
from transforms.risk.measures import SESSIONS_A_YEAR
from warehouse.db import Warehouse
from warehouse.law import wash_rules

MIN_SESSIONS = 60  # of prices: with fewer nothing is said of how a security moves


def propose(warehouse: Warehouse, day: Day) -> None:
    """Fill core.proposals for the session after `day.as_of`, and what the views of today's wash sales read."""
    seen = known(warehouse, day, next_session(day.as_of))
    show(warehouse, seen)
    prices = dict(warehouse.rows("SELECT security_id, price_usd FROM core.latest_prices").iter_rows())
    warehouse.replace("core.proposals", proposed(gather(warehouse, day, seen), prices))


def proposed(scan: Scan, prices: Mapping[str, Decimal]) -> pl.DataFrame:
    """The harvests at these prices as rows of core.proposals."""
    return tables.core("proposals", [row(one) for one in proposals(scan, prices)])


def gather(warehouse: Warehouse, day: Day, seen: Known, left_out: Collection[str] = ()) -> Scan:
    """What the harvests for the session after `day.as_of` have to do with; the accounts `left_out` sell nothing."""
    policy, on = day.settings.portfolio, next_session(day.as_of)
    group = policy.cautious_groups
    averaged = warehouse.rows(
        "SELECT DISTINCT account_id, security_id FROM core.lots JOIN core.accounts USING (account_id) "
        "JOIN stg.securities AS s USING (security_id) WHERE relief = 'average' AND s.kind = 'fund'"
    )
    at_a_loss = warehouse.rows("SELECT security_id FROM mart.cannot_buy_today WHERE until_on >= $on", on=on)
    low, high = policy.replacement.beta_range
    alike = _alike(warehouse, day)
    return Scan(
        on=on,
        holdings=holdings(_open_lots(warehouse, left_out)),
        reaches_any_lot={account.id: account.reaches_any_lot for account in policy.accounts},
        averaged=set(averaged.iter_rows()),
        thresholds=_thresholds(policy.harvest),
        effects=seen.effects,
        limits=policy.wash_limits,
        year=seen.year,
        unsafe=[*unsafe_accounts(warehouse, day), *_unsized(seen)],
        unlinked=[(account.can_hold, account.name) for account in policy.not_linked],
        identical=group,
        alike=alike,
        barred={group.get(name, name) for name in at_a_loss["security_id"]},
        young=seen.young,
        do_not_trade=policy.gates.do_not_trade,
        economics=_economics(warehouse, day, alike),
        no_replacement="no replacement: nothing in its sector that may be bought today moves with it (correlation "
        f"{policy.replacement.min_correlation} or more, beta {low} to {high}), and no pair of funds is listed for it that has a price "
        "and may be bought today",
    )


def _thresholds(policy: Harvest) -> Thresholds:
    """By benefit every loss is weighed, whatever its size."""
    if policy.by == "benefit":
        return Thresholds(Decimal(0), Decimal(0))
    return Thresholds(policy.min_loss_usd, policy.min_loss_rate)


def _economics(warehouse: Warehouse, day: Day, alike: Mapping[str, list[Replacement]]) -> Economics | None:
    """What losses are weighed by, where the policy asks for it."""
    policy = day.settings.portfolio.harvest
    if policy.by == "thresholds":
        return None
    asked = policy.benefit
    history = price_history(warehouse, day, asked.lookback_sessions) if policy.by == "benefit" else pl.DataFrame()
    names = history.columns[1:] if history.height > MIN_SESSIONS else []
    moves = np.diff(np.log(history.select(names).to_numpy()), axis=0) if names else np.zeros((0, 0))
    spread = moves.std(axis=0, ddof=1) * SESSIONS_A_YEAR**0.5 if names else ()
    held = warehouse.value("SELECT coalesce(sum(value_usd), 0)::DECIMAL(28, 6) FROM mart.positions")
    outlook = Outlook(
        asked.later_rate, asked.horizon_years, asked.growth_rate, asked.never_taxed, float(asked.cost_bps) / 10_000,
        asked.risk_aversion, asked.wait_days, asked.drift_rate, asked.margin_usd,
    )  # fmt: skip
    swap_risk = {name: found[0].tracking_error for name, found in alike.items() if found}
    volatility = dict(zip(names, map(float, spread), strict=True))
    told_of = policy.min_loss_usd, policy.min_loss_rate
    return Economics(policy.by, outlook, volatility, swap_risk, held, told_of)


def _open_lots(warehouse: Warehouse, left_out: Collection[str]) -> list[OpenLot]:
    rows = warehouse.rows(
        "SELECT account_id, security_id, acquired_on, lot_id, slice, quantity, basis_usd, long_term_from FROM core.lots "
        "WHERE NOT is_deferred AND quantity > 0"
    )
    return [lot for lot in map(OpenLot._make, rows.iter_rows()) if lot.account_id not in left_out]


def _alike(warehouse: Warehouse, day: Day) -> dict[str, list[Replacement]]:
    """What could be held instead of every security with a full history, the best first."""
    policy = day.settings.portfolio.replacement
    history = price_history(warehouse, day, policy.lookback_sessions)
    names = history.columns[1:]
    if not names or history.height < 2:
        return {}
    closes = history.select(names).to_numpy()
    moves = closes[1:] / closes[:-1] - 1
    returns = {name: moves[:, i] for i, name in enumerate(names)}
    asset_class = dict(warehouse.rows("SELECT security_id, asset_class FROM stg.securities").iter_rows())
    return replacements(
        returns, asset_class, policy.min_correlation, policy.beta_range, max_correlation=policy.max_correlation,
        max_loading_gap=policy.max_loading_gap, pairs=_pairs(warehouse, day),
    )  # fmt: skip


def _pairs(warehouse: Warehouse, day: Day) -> dict[str, tuple[str, ...]]:
    """What may stand in for every fund that is known to be one; a fund that no table names has nothing."""
    policy = day.settings.portfolio
    funds = warehouse.rows("SELECT security_id FROM stg.securities WHERE kind = 'fund' ORDER BY 1")["security_id"]
    return dict.fromkeys(funds, ()) | pairs_of(policy.replacement.pairs, policy.cautious_groups)


def unsafe_accounts(warehouse: Warehouse, day: Day) -> list[Concerned]:
    """Securities (empty: any) that were perhaps bought unseen, and why: a statement is old, or a row was set aside."""
    faults = dict(
        warehouse.rows(
            "SELECT source, string_agg(reason, '; ' ORDER BY kind) FROM core.source_status "
            "WHERE NOT is_sound AND kind = 'activities' GROUP BY source"
        ).iter_rows()
    )
    unsafe: list[Concerned] = [(a.can_hold, faults[a.id]) for a in day.settings.portfolio.accounts if a.id in faults]
    unread = warehouse.rows(
        "SELECT source, line, reason, payload ->> 'symbol' FROM mart.set_aside "
        "WHERE kind = 'activities' "
        "AND (payload ->> 'kind' IN ('trade', 'dividend_reinvested', 'award', 'option_open') OR (NOT list_contains($kinds, "
        "coalesce(payload ->> 'kind', '')) AND (coalesce(payload ->> 'symbol', '') <> '' OR reason LIKE '%fields than%'))) "
        "AND payload ->> 'side' IS DISTINCT FROM 'sell' "
        "AND coalesce(TRY_CAST(left(payload ->> 'at', 10) AS DATE), $first) >= $first",
        first=day.as_of - timedelta(days=wash_rules(day.as_of).window_days),
        kinds=list(tables.KINDS),
    )
    for source, line, reason, symbol in unread.iter_rows():
        unsafe.append(((symbol,) if symbol else (), f"line {line} of {source} was set aside ({reason})"))
    unexplained = warehouse.rows(
        "SELECT account_id, security_id FROM core.breaks WHERE kind = 'shares' AND broker_quantity > ledger_quantity"
    )
    for account_id, symbol in unexplained.iter_rows():
        unsafe.append(((symbol,), f"{account_id} holds more {symbol} than its ledger explains"))
    return unsafe


def _unsized(seen: Known) -> list[Concerned]:
    return [
        (
            (plan.security_id,),
            f"{plan.account_id} buys {plan.security_id} on {on} ({plan.name}), nobody can tell how many shares: "
            "say quantity or amount_usd, and see that it has a price",
        )
        for plan, on in seen.unsized
    ]
