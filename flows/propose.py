"""Harvests worth doing, each with what to hold instead; and those refused, each with the reason.

A loss becomes a proposal when it passes a threshold of the policy, the broker can reach its lots, no purchase in
any account of the household would wash it, every account that could have made one has a fresh statement, and a
replacement is there that no loss of the household bars.
"""

from collections.abc import Callable, Mapping
from datetime import date, timedelta
from decimal import ROUND_DOWN, Decimal

import numpy as np

from flows.book import ledger_trades
from flows.calendar import next_session
from flows.day import Day
from flows.measure import price_history
from transforms import tables
from transforms.exact import nano_shares, trade_cents
from transforms.harvest.benefit import Rates, rates, tax_on, unused
from transforms.harvest.candidates import Candidate, OpenLot, candidates, cents
from transforms.harvest.replacement import Replacement, replacements
from transforms.lots.check import Effect, effect
from transforms.model import Trade, WashSale
from warehouse.db import Warehouse
from warehouse.law import wash_rules

CASH_CUSHION = Decimal("0.98")  # a replacement is bought for a little less than the sale brings: prices move overnight
SHARE = Decimal("0.0001")


def propose(warehouse: Warehouse, day: Day) -> None:
    """Fill core.proposals for the session after `day.as_of`."""
    policy, on = day.settings.portfolio, next_session(day.as_of)
    prices = dict(warehouse.rows("SELECT security_id, price_usd FROM core.latest_prices").iter_rows())
    found = candidates(
        _open_lots(warehouse, prices),
        prices,
        {account.id: account.relief == "on_order" for account in policy.accounts},
        policy.harvest.min_loss_usd,
        policy.harvest.min_loss_rate,
        on,
    )
    found.sort(key=lambda one: (-one.short_loss_usd, -one.loss_usd, one.account_id, one.security_id))
    sales = {_name(one): _sale(one, on) for one in found if not one.refusal}
    trades, _ = ledger_trades(warehouse, day, day.as_of)
    told = effect(trades, sales.values(), wash_rules(on, policy.law_policy), policy.identical)
    unsafe = _unsafe_accounts(warehouse, day)
    found = [
        one._replace(refusal=one.refusal or _washed(told, one, trades) or _unseen(one, unsafe, policy.identical))
        for one in found
    ]
    household = _household_rates(day, on)
    short, long = realized(warehouse, on.year)
    without = tax_on(short, long, household)
    choose = _replacements(warehouse, day, {one.security_id for one in found if not one.refusal}, on)
    rows = []
    for one in found:
        instead = None if one.refusal else next(iter(choose(one.security_id)), None)
        refusal = one.refusal or ("" if instead else _no_replacement(day))
        saved = left = Decimal(0)
        if not refusal:
            before, after = (short, long), (short - one.short_loss_usd, long - one.long_loss_usd)
            saved = cents(without - tax_on(*after, household)) - cents(without - tax_on(*before, household))
            left = unused(*after, household) - unused(*before, household)
            short, long = after
        rows.append(_row(one, instead, prices, saved, left, refusal))
    warehouse.replace("core.proposals", tables.core("proposals", rows))


def _open_lots(warehouse: Warehouse, prices: Mapping[str, Decimal]) -> list[OpenLot]:
    rows = warehouse.rows(
        "SELECT account_id, security_id, acquired_on, lot_id, slice, quantity, basis_usd, long_term_from FROM core.lots "
        "WHERE NOT is_deferred"
    )
    return [lot for lot in map(OpenLot._make, rows.iter_rows()) if lot.security_id in prices]


def _name(one: Candidate) -> str:
    return f"sell {one.account_id} {one.security_id}"


def _sale(one: Candidate, on: date) -> Trade:
    """The proposed sale as the ledger would see it."""
    picks = tuple((lot_id, nano_shares(quantity)) for lot_id, quantity in one.lots)
    amount = trade_cents(one.quantity, one.price_usd, Decimal(0))
    return Trade(
        _name(one), one.account_id, one.security_id, False, nano_shares(one.quantity), amount, on, None, False, picks
    )


def _washed(told: Effect, one: Candidate, trades: list[Trade]) -> str:
    """Which purchases of the household would wash this loss, and how much of it."""
    washed = told.washed.get(_name(one))
    if washed is None:
        return ""
    bought = {trade.trade_id: trade for trade in trades}

    def said(match: WashSale) -> str:
        trade = bought[match.replacement_lot_id]
        return f"{trade.account_id} bought {trade.security_id} on {trade.traded_on} ({match.days:+d} days, {match.citation})"

    lost = f", ${washed.permanent / 100:,.2f} of it for good" if washed.permanent else ""
    return f"${washed.disallowed / 100:,.2f} of the loss would be disallowed{lost}: " + "; ".join(
        map(said, washed.because)
    )


def _unsafe_accounts(warehouse: Warehouse, day: Day) -> list[tuple[tuple[str, ...], str]]:
    """Securities (empty: any) that were perhaps bought unseen, and why: a statement is old, or a row was set aside."""
    faults = dict(
        warehouse.rows(
            "SELECT source, string_agg(reason, '; ' ORDER BY kind) FROM core.source_status "
            "WHERE NOT is_sound AND kind = 'activities' GROUP BY source"
        ).iter_rows()
    )
    unsafe = [(a.can_hold, faults[a.id]) for a in day.settings.portfolio.accounts if a.id in faults]
    unread = warehouse.rows(
        "SELECT source, line, reason, payload ->> 'symbol' FROM mart.set_aside "
        "WHERE kind = 'activities' AND payload ->> 'kind' = 'trade' AND payload ->> 'side' IS DISTINCT FROM 'sell' "
        "AND coalesce(TRY_CAST(left(payload ->> 'at', 10) AS DATE), $first) >= $first",
        first=day.as_of - timedelta(days=wash_rules(day.as_of).window_days),
    )
    for source, line, reason, symbol in unread.iter_rows():
        unsafe.append(((symbol,) if symbol else (), f"line {line} of {source} was set aside ({reason})"))
    unexplained = warehouse.rows(
        "SELECT account_id, security_id FROM core.breaks WHERE security_id <> 'USD' AND broker_quantity > ledger_quantity"
    )
    for account_id, symbol in unexplained.iter_rows():
        unsafe.append(((symbol,), f"{account_id} holds more {symbol} than its ledger explains"))
    return unsafe


def _unseen(one: Candidate, unsafe: list[tuple[tuple[str, ...], str]], identical: Mapping[str, str]) -> str:
    group = identical.get(one.security_id, one.security_id)
    missing = [
        fault for can_hold, fault in unsafe if not can_hold or group in {identical.get(name, name) for name in can_hold}
    ]
    return f"a purchase that nobody has seen yet could wash it: {'; '.join(missing)}" if missing else ""


def _household_rates(day: Day, on: date) -> Rates:
    household = day.settings.portfolio.household
    return rates(day.law(on.year), household.taxable_income_usd, household.state_rate)


def realized(warehouse: Warehouse, year: int) -> tuple[Decimal, Decimal]:
    """Net short-term and long-term results of a tax year so far, USD, signed."""
    rows = warehouse.rows(
        "SELECT coalesce(sum(gain_usd) FILTER (term = 'short'), 0)::DECIMAL(28, 6), "
        "coalesce(sum(gain_usd) FILTER (term = 'long'), 0)::DECIMAL(28, 6) FROM core.disposals WHERE year(sold_on) = $year",
        year=year,
    )
    return rows.row(0)


def _replacements(warehouse: Warehouse, day: Day, sold: set[str], on: date) -> Callable[[str], list[Replacement]]:
    """A function from a security to its replacements, the best first, those left out that a loss bars."""
    policy = day.settings.portfolio
    history = price_history(warehouse, day, policy.replacement.lookback_sessions)
    names = history.columns[1:]
    closes = history.select(names).to_numpy() if names else np.empty((0, 0))
    moves = closes[1:] / closes[:-1] - 1 if len(closes) > 1 else np.empty((0, len(names)))
    returns = {name: moves[:, i] for i, name in enumerate(names)}
    asset_class = dict(warehouse.rows("SELECT security_id, asset_class FROM stg.securities").iter_rows())
    at_a_loss = warehouse.rows("SELECT security_id FROM mart.cannot_buy_today WHERE until_on >= $on", on=on)[
        "security_id"
    ]
    group = policy.identical
    kept = {group.get(name, name) for name in (*sold, *at_a_loss)}
    barred = {name for name in names if group.get(name, name) in kept} | set(policy.gates.do_not_trade)

    def choose(security_id: str) -> list[Replacement]:
        return replacements(
            security_id, returns, asset_class, barred, policy.replacement.min_correlation, policy.replacement.beta_range
        )

    return choose


def _no_replacement(day: Day) -> str:
    policy = day.settings.portfolio.replacement
    low, high = policy.beta_range
    return (
        f"no replacement: nothing in its sector that may be bought moves with it (correlation {policy.min_correlation} "
        f"or more, beta {low} to {high})"
    )


def _row(
    one: Candidate,
    instead: Replacement | None,
    prices: Mapping[str, Decimal],
    saved: Decimal,
    left: Decimal,
    refusal: str,
) -> tuple:
    price = prices[instead.security_id] if instead else Decimal(0)
    quantity = (one.value_usd * CASH_CUSHION / price).quantize(SHARE, ROUND_DOWN) if instead else Decimal(0)
    rate = one.loss_usd / one.basis_usd if one.basis_usd else Decimal(0)
    later = f", ${left:,.2f} of it left for later years" if left else ""
    reason = (
        refusal
        or f"a loss of ${one.loss_usd:,.2f} ({rate:.1%} of its basis) saves ${saved:,.2f} of tax this year{later}"
    )
    return (
        one.account_id, one.security_id, one.quantity, ";".join(f"{lot}:{quantity:f}" for lot, quantity in _plain(one)),
        one.price_usd, one.basis_usd, one.value_usd, one.short_loss_usd, one.long_loss_usd, saved,
        instead.security_id if instead else "", quantity, price, instead.correlation if instead else 0.0,
        instead.beta if instead else 0.0, bool(refusal), reason,
    )  # fmt: skip


def _plain(one: Candidate) -> list[tuple[str, Decimal]]:
    return [(lot_id, quantity.normalize()) for lot_id, quantity in one.lots]
