"""Harvests worth doing, each with what to hold instead; and those refused, each with the reason.

A loss becomes a proposal when it passes a threshold of the policy, the broker can reach its lots, no purchase in
any account of the household, made, proposed or known to come, would wash more of it than the limits let pass, every
account that could have made one has a fresh statement, and a replacement is there that no loss of the household bars.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import date, timedelta
from decimal import ROUND_DOWN, Decimal

import numpy as np

from flows.calendar import next_session
from flows.day import Day
from flows.measure import price_history
from flows.pre_trade import Known, known, show
from flows.settings import Portfolio
from transforms import tables
from transforms.exact import nano_shares, trade_cents, usd
from transforms.harvest.benefit import tax_on, unused
from transforms.harvest.candidates import Candidate, OpenLot, candidates, cents
from transforms.harvest.replacement import Replacement, replacements
from transforms.lots.check import Effect, Limits, beyond, within
from transforms.model import Trade
from warehouse.db import Warehouse
from warehouse.law import wash_rules

CASH_CUSHION = Decimal("0.98")  # a replacement is bought for a little less than the sale brings: prices move overnight
SHARE = Decimal("0.0001")


def propose(warehouse: Warehouse, day: Day) -> None:
    """Fill core.proposals for the session after `day.as_of`, and what the views of today's wash sales read."""
    policy, on = day.settings.portfolio, next_session(day.as_of)
    seen = known(warehouse, day, on)
    show(warehouse, seen)
    prices = dict(warehouse.rows("SELECT security_id, price_usd FROM core.latest_prices").iter_rows())
    found = candidates(
        _open_lots(warehouse, prices),
        prices,
        {account.id: account.reaches_any_lot for account in policy.accounts},
        policy.harvest.min_loss_usd,
        policy.harvest.min_loss_rate,
        on,
    )
    found.sort(key=lambda one: (-one.short_loss_usd, -one.loss_usd, one.account_id, one.security_id))
    funds = set(
        warehouse.rows(
            "SELECT account_id, security_id FROM core.lots JOIN core.accounts USING (account_id) "
            "JOIN stg.securities AS s USING (security_id) WHERE relief = 'average' AND s.kind = 'fund'"
        ).iter_rows()
    )
    found, alone = _clear(found, seen, policy.wash_limits, lambda one: [_sale(one, on, funds)])
    unsafe = [*_unsafe_accounts(warehouse, day), *_unsized(seen)]
    found = [one._replace(refusal=one.refusal or _unseen(one, unsafe, policy.cautious_groups)) for one in found]
    choose = _replacements(warehouse, day, {one.security_id for one in found if not one.refusal}, on)
    instead = {_name(one): next(iter(choose(one.security_id)), None) for one in found if not one.refusal}
    found = [one if one.refusal or instead[_name(one)] else one._replace(refusal=_no_replacement(day)) for one in found]
    bought = {
        _name(one): (swap, *_swapped(one, swap, prices))
        for one in found
        if not one.refusal and (swap := instead[_name(one)])
    }
    found, together = _clear(
        found, seen, policy.wash_limits, lambda one: [_sale(one, on, funds), _purchase(one, *bought[_name(one)], on)]
    )
    told = alone | together  # what was refused is as it was when it was refused
    short, long, household = seen.year.short_usd, seen.year.long_usd, seen.year.rates
    without = tax_on(short, long, household)
    rows = []
    for one in found:
        effect = told.get(_name(one))
        saved = left = Decimal(0)
        if not one.refusal and effect:
            before = short, long
            short -= one.short_loss_usd - usd(effect.disallowed_of("short"))
            long -= one.long_loss_usd - usd(effect.disallowed_of("long"))
            saved = cents(without - tax_on(short, long, household)) - cents(without - tax_on(*before, household))
            left = unused(short, long, household) - unused(*before, household)
        rows.append(_row(one, bought.get(_name(one)), effect, saved, left, _unlinked(one, policy)))
    warehouse.replace("core.proposals", tables.core("proposals", rows))


def _clear(
    found: list[Candidate], seen: Known, limits: Limits, trades: Callable[[Candidate], Iterable[Trade]]
) -> tuple[list[Candidate], dict[str, Effect]]:
    """Refuse what a batch would wash beyond the limits, until what is left passes together; and what each would do.

    A sale that is refused no longer takes up the purchases that would have washed it: they may wash another.
    """
    told: dict[str, Effect] = {}
    while True:
        batch = {_name(one): list(trades(one)) for one in found if not one.refusal}
        checked = seen.effects(trade for pair in batch.values() for trade in pair)
        told |= checked
        reasons = {
            name: reason
            for name, pair in batch.items()
            for trade in pair
            if (reason := beyond(checked[trade.trade_id], limits))
        }
        if not reasons:
            return found, told
        found = [one._replace(refusal=one.refusal or reasons.get(_name(one), "")) for one in found]


def _open_lots(warehouse: Warehouse, prices: Mapping[str, Decimal]) -> list[OpenLot]:
    rows = warehouse.rows(
        "SELECT account_id, security_id, acquired_on, lot_id, slice, quantity, basis_usd, long_term_from FROM core.lots "
        "WHERE NOT is_deferred AND quantity > 0"
    )
    return [lot for lot in map(OpenLot._make, rows.iter_rows()) if lot.security_id in prices]


def _name(one: Candidate) -> str:
    return f"sell {one.account_id} {one.security_id} from {one.lots[0][0]}"


def _sale(one: Candidate, on: date, funds: Collection[tuple[str, str]]) -> Trade:
    """The proposed sale as the ledger would see it; `funds` are the holdings that are sold at average cost."""
    is_average = (one.account_id, one.security_id) in funds
    picks = () if is_average else tuple((lot_id, nano_shares(quantity)) for lot_id, quantity in one.lots)
    amount = trade_cents(one.quantity, one.price_usd, Decimal(0))
    return Trade(
        _name(one), one.account_id, one.security_id, False, nano_shares(one.quantity), amount, on, None, False, picks,
        "average" if is_average else "fifo",
    )  # fmt: skip


def _swapped(one: Candidate, instead: Replacement, prices: Mapping[str, Decimal]) -> tuple[Decimal, Decimal]:
    """Shares of the replacement and their price."""
    price = prices[instead.security_id]
    return (one.value_usd * CASH_CUSHION / price).quantize(SHARE, ROUND_DOWN), price


def _purchase(one: Candidate, instead: Replacement, quantity: Decimal, price: Decimal, on: date) -> Trade:
    return Trade(
        f"instead of {_name(one)}", one.account_id, instead.security_id, True,
        nano_shares(quantity), trade_cents(quantity, price, Decimal(0)), on, None, False,
    )  # fmt: skip


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
        "WHERE kind = 'activities' "
        "AND payload ->> 'kind' IN ('trade', 'dividend_reinvested', 'award', 'option_open') "
        "AND payload ->> 'side' IS DISTINCT FROM 'sell' "
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


def _unsized(seen: Known) -> list[tuple[tuple[str, ...], str]]:
    return [
        (
            (plan.security_id,),
            f"{plan.account_id} buys {plan.security_id} on {on} ({plan.name}), nobody can tell how many shares: "
            "say quantity or amount_usd, and see that it has a price",
        )
        for plan, on in seen.unsized
    ]


def _unlinked(one: Candidate, policy: Portfolio) -> str:
    """The accounts that nobody sees and that could hold what would wash it."""
    group = policy.cautious_groups
    mine = group.get(one.security_id, one.security_id)
    return "; ".join(
        account.name
        for account in policy.not_linked
        if not account.can_hold or mine in {group.get(name, name) for name in account.can_hold}
    )


def _unseen(one: Candidate, unsafe: list[tuple[tuple[str, ...], str]], identical: Mapping[str, str]) -> str:
    group = identical.get(one.security_id, one.security_id)
    missing = [
        fault for can_hold, fault in unsafe if not can_hold or group in {identical.get(name, name) for name in can_hold}
    ]
    return f"a purchase that nobody has seen yet could wash it: {'; '.join(missing)}" if missing else ""


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
    group = policy.cautious_groups  # another fund on the same index is no replacement
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
    bought: tuple[Replacement, Decimal, Decimal] | None,
    effect: Effect | None,
    saved: Decimal,
    left: Decimal,
    unlinked: str,
) -> tuple:
    instead, quantity, price = bought or (None, Decimal(0), Decimal(0))
    if one.refusal:
        instead, quantity, price = None, Decimal(0), Decimal(0)
    rate = one.loss_usd / one.basis_usd if one.basis_usd else Decimal(0)
    reason = one.refusal or "; ".join(
        filter(
            None,
            (
                f"a loss of ${one.loss_usd:,.2f} ({rate:.1%} of its basis) saves ${saved:,.2f} of tax this year"
                + (f", ${left:,.2f} of it left for later years" if left else ""),
                within(effect) if effect else "",
                f"confidence lowered: not linked and could wash it unseen: {unlinked}" if unlinked else "",
            ),
        )
    )
    disallowed, permanent = (effect.disallowed, effect.permanent) if effect else (0, 0)
    return (
        one.account_id, one.security_id, one.quantity, ";".join(f"{lot}:{quantity:f}" for lot, quantity in _plain(one)),
        one.price_usd, one.basis_usd, one.value_usd, one.short_loss_usd, one.long_loss_usd, saved,
        instead.security_id if instead else "", quantity, price, instead.correlation if instead else 0.0,
        instead.beta if instead else 0.0, usd(disallowed), usd(permanent), unlinked, bool(one.refusal), reason,
    )  # fmt: skip


def _plain(one: Candidate) -> list[tuple[str, Decimal]]:
    return [(lot_id, quantity.normalize()) for lot_id, quantity in one.lots]
