"""Harvests worth doing, each with what to hold instead; and those refused, each with the reason.

What they are is decided in transforms/harvest/scan.py. Here is gathered what they have to do with, from the warehouse or
from its published copy: the evening looks at it with the closes, a scan in market hours with live prices.
"""

from collections.abc import Collection, Mapping
from datetime import timedelta
from decimal import Decimal

import polars as pl

from flows.calendar import next_session
from flows.day import Day
from flows.measure import price_history
from flows.pre_trade import Known, known, show
from transforms import tables
from transforms.harvest.candidates import OpenLot, holdings
from transforms.harvest.replacement import Replacement, replacements
from transforms.harvest.scan import Concerned, Scan, Thresholds, proposals, row
from warehouse.db import Warehouse
from warehouse.law import wash_rules


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
    return Scan(
        on=on,
        holdings=holdings(_open_lots(warehouse, left_out)),
        reaches_any_lot={account.id: account.reaches_any_lot for account in policy.accounts},
        averaged=set(averaged.iter_rows()),
        thresholds=Thresholds(policy.harvest.min_loss_usd, policy.harvest.min_loss_rate),
        effects=seen.effects,
        limits=policy.wash_limits,
        year=seen.year,
        unsafe=[*unsafe_accounts(warehouse, day), *_unsized(seen)],
        unlinked=[(account.can_hold, account.name) for account in policy.not_linked],
        identical=group,
        alike=_alike(warehouse, day),
        barred={group.get(name, name) for name in at_a_loss["security_id"]},
        young=seen.young,
        do_not_trade=policy.gates.do_not_trade,
        no_replacement="no replacement: nothing in its sector that may be bought moves with it (correlation "
        f"{policy.replacement.min_correlation} or more, beta {low} to {high})",
    )


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
    return replacements(returns, asset_class, policy.min_correlation, policy.beta_range)


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
