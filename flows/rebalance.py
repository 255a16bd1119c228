"""Rebalancing of the sleeves that ask for it: withdrawals first, then cash, then bands.

The problem. What a class needs is one number of the whole household; what can be traded for it depends on the accounts, on
losses of the last days anywhere, on what a harvest does today, and on the tax of each lot.

The choice. `bands.py` and `cash_flow.py` say the dollars of each class, `trades.py` the trades. Cash is steered first, so
that nothing is sold while cash covers it. The trades go through the pre-trade check together; whatever it refuses, and
whatever would be too small an order, is barred and they are made again, until nothing is. What one account sells of one
class and buys for it is one proposal; a purchase with cash, and a sale for a withdrawal, is one by itself. Both methods
look at the same household and make the same trades (household.py); each proposes what is its own. Without such a sleeve
nothing is proposed.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from decimal import Decimal
from typing import NamedTuple

from flows.calendar import next_session
from flows.day import Day
from flows.household import METHODS, Household, choices, household, owner, steers
from flows.pre_trade import Known, known
from flows.rebalance_reasons import band_reason, cash_reason, left, withdrawal_reason
from transforms import tables
from transforms.exact import nano_shares, trade_cents, usd
from transforms.harvest.benefit import tax_on
from transforms.lots.check import Effect, beyond
from transforms.lots.divergence import picks_text
from transforms.model import Trade
from transforms.orders.arbiter import Proposed
from transforms.portfolio import bands as rules
from transforms.portfolio import cash_flow as cash_rules
from transforms.portfolio import trades
from transforms.portfolio.bands import CASH
from transforms.portfolio.cash_flow import ZERO
from transforms.portfolio.desk import DOLLAR, Account, Desk, Policy, Purchase, Sale, Swap
from warehouse.db import Warehouse

SHARE = Decimal("0.0001")
CENT = Decimal("0.01")
Barred = dict[
    tuple[str, str, str], str
]  # account, security and "buy", "sell" or "swap" (sold for what is below) -> why


class Made(NamedTuple):
    """The swaps of a rebalance, the cash that was missing before it, and the desk that they were made from."""

    withdrawn: list[Swap]
    invested: list[Swap]
    swapped: list[Swap]
    lacking: dict[str, Decimal]
    desk: Desk

    @property
    def all(self) -> list[Swap]:
        return [*self.withdrawn, *self.invested, *self.swapped]


def bands(warehouse: Warehouse, day: Day) -> Iterator[Proposed]:
    """Cash to the underweight; then what is outside its band brought back, where that is worth its tax and cost."""
    return _proposed(warehouse, day, "bands")


def cash_flow(warehouse: Warehouse, day: Day) -> Iterator[Proposed]:
    """Cash to the underweight, and withdrawals from the overweight; nothing else is sold."""
    return _proposed(warehouse, day, "cash_flow")


def _proposed(warehouse: Warehouse, day: Day, method: str) -> Iterator[Proposed]:
    policy = day.settings.portfolio
    others = warehouse.rows("FROM core.left_alone WHERE method <> $method", method=method)
    warehouse.replace("core.left_alone", others)
    own = {sleeve.method for sleeve in policy.sleeves}
    if not policy.targets or method not in own:
        return
    seen, there = known(warehouse, day, next_session(day.as_of)), household(warehouse, day)
    looks, barred = _looks(warehouse, day), Barred()
    while True:
        made = _made(there, day, seen, barred, looks)
        effects, more = _refused(there, day, seen, made)
        if not more.keys() - barred.keys():
            break
        barred |= more
    if method == next(name for name in METHODS if name in own):  # one of them tells it
        told = [(method, *one) for one in left(there, day, made.desk, made.withdrawn, made.lacking)]
        warehouse.append("core.left_alone", tables.core("left_alone", told))
    yield from (one for one in _as_proposed(there, day, made, effects) if one.method == method)


def _looks(warehouse: Warehouse, day: Day) -> bool:
    """Are the bands looked at today? Cash is looked at every day."""
    on = next_session(day.as_of)
    last_on = warehouse.value(
        "SELECT max(session_on) FROM ledger.batches WHERE kind = 'daily' AND session_on < $on", on=on
    )
    return rules.is_due(day.settings.portfolio.bands.look, on, last_on)


# What is done -----------------------------------------------------------------------------------------


def _made(there: Household, day: Day, seen: Known, barred: Barred, looks: bool) -> Made:
    """Withdrawals, then purchases with cash, then what is still outside its band."""
    policy = day.settings.portfolio
    desk = _desk(there, day, seen, barred)
    due, cash = there.leaving_usd, there.cash_usd
    ours = {name: usd for name, usd in cash.items() if steers(day, name) and name not in there.locks.accounts}
    lacking = cash_rules.missing(ours, {name: usd for name, usd in due.items() if name in ours})
    withdrawn = trades.raise_cash(desk, lacking)
    may_buy = {account for (account, _), likely in desk.choices.items() if likely}
    able = {name: usd for name, usd in ours.items() if name in may_buy}
    elsewhere = sum((max(ZERO, usd - due.get(name, ZERO)) for name, usd in cash.items() if name not in able), ZERO)
    money = cash_rules.spare(able, due, policy.cash_flow.keep_usd, there.target_usd(CASH), elsewhere)
    invested = trades.invest(desk, money)
    swapped = _swapped(there, day, desk, barred) if looks else []
    return Made(withdrawn, invested, swapped, lacking, desk)


def _swapped(there: Household, day: Day, desk: Desk, barred: Barred) -> list[Swap]:
    """What is outside its band brought back, of what the sleeves of `bands` hold and may buy."""
    policy = day.settings.portfolio
    choices_of_bands = {
        (account, name): [one for one in likely if owner(day, account, one) == "bands"]
        for (account, name), likely in desk.choices.items()
    }
    lots = []
    for lot in desk.lots:
        if owner(day, lot.account_id, lot.security_id) != "bands":
            continue
        if why := barred.get((lot.account_id, lot.security_id, "swap")):
            trades.leave(desk, lot, why)
        else:
            lots.append(lot)
    desk = replace(desk, lots=lots, choices=choices_of_bands)
    sellable: dict[str, Decimal] = {}
    for lot in lots:
        sellable[lot.asset_class] = sellable.get(lot.asset_class, ZERO) + lot.quantity * desk.prices[lot.security_id]
    sells, buys = rules.trade_back(
        {
            name: one._replace(value_usd=there.target_usd(name) + desk.distance_usd[name])
            for name, one in there.held.items()
        },
        policy.bands.trade_back,
        policy.cash_flow.cushion_rate,
        there.resting.keys(),
        {
            name
            for name in there.held
            if name != CASH and not any(desk.choices.get((account.id, name)) for account in policy.accounts)
        },
        sellable,
    )
    least = desk.policy.least_purchase_usd
    return trades.swap(desk, sells, {name: usd for name, usd in buys.items() if usd >= least or name == CASH})


def _desk(there: Household, day: Day, seen: Known, barred: Barred) -> Desk:
    policy = day.settings.portfolio
    gates, cash, whole = policy.gates, policy.cash_flow, there.whole_usd
    desk = Desk(
        accounts={
            account.id: Account(
                account.is_deferred, account.reaches_any_lot, Decimal(1) if account.shares == "whole" else SHARE,
                there.worth_usd.get(account.id, ZERO) * Decimal(repr(gates.max_order_weight)),
            )
            for account in policy.accounts
        },
        prices=there.prices,
        lots=[],
        choices=choices(there, day, lambda account, name: _why_not(there, account, name, "buy", barred)),
        distance_usd={name: there.distance_usd(name) for name in there.held},
        policy=Policy(cash.min_trade_usd, cash.cushion_rate, cash.spread_bps),
        rates=seen.year.rates,
        gains_usd=[seen.year.short_usd, seen.year.long_usd],
        gains_left_usd=[gates.max_daily_short_gain_usd, gates.max_daily_long_gain_usd],
        turnover_left_usd=whole * Decimal(repr(gates.max_daily_turnover)) - there.harvest_usd,
        position_left_usd={
            name: whole * Decimal(repr(gates.max_position_weight)) - there.positions_usd.get(name, ZERO)
            for name in there.prices
        },
        drift_cost=there.drift_cost,
        unmeasured=there.unmeasured,
    )  # fmt: skip
    lots = []
    for lot in there.lots:
        if why := _why_not(there, lot.account_id, lot.security_id, "sell", barred):
            trades.leave(desk, lot, why)
        else:
            lots.append(lot)
    desk.lots = lots
    return desk


def _why_not(there: Household, account_id: str, security_id: str, side: str, barred: Barred) -> str:
    """Why something may not be traded today; empty where it may."""
    locked = there.locks
    key = account_id, security_id
    return (
        locked.accounts.get(account_id)
        or locked.securities.get(security_id)
        or there.harvested.get(key)
        or barred.get((*key, side))
        or (side == "buy" and (locked.purchases.get(key) or there.harvested.get(("", security_id))))
        or ""
    )


# What is refused --------------------------------------------------------------------------------------


def _refused(there: Household, day: Day, seen: Known, made: Made) -> tuple[dict[str, Effect], Barred]:
    """What every trade would do, and those that may not be made: too small, beyond the wash limits, not worth their exact tax."""
    least = made.desk.policy.least_sale_usd
    barred: Barred = {
        (*key, "sell"): "it is less than a dollar, and brokers take no such order"
        for key in trades.too_small(made.all, DOLLAR)
    }
    raised = {(one.account_id, sale.security_id) for one in made.withdrawn for sale in one.sales}
    for key in trades.too_small(made.all, least):
        if key not in raised:
            barred[*key, "swap"] = f"what would be sold of it is less than ${least:,.0f} (cash_flow.min_trade_usd)"
    if barred:
        return {}, barred
    asked = {name: trade for one in made.all for name, trade in _trades(there, day, one).items()}
    effects = seen.effects(asked.values())
    limits = day.settings.portfolio.wash_limits
    in_part = seen.beyond_in_part(asked.values(), limits)
    for name, trade in asked.items():
        if why := beyond(effects[name], limits) or in_part.get(name):
            barred[trade.account_id, trade.security_id, "buy" if trade.is_buy else "sell"] = why
    if not barred:
        for one in made.swapped:
            tax = _tax(one, effects, seen)
            if one.worth_usd is not None and tax + one.cost_usd > max(one.worth_usd, one.tax_usd + one.cost_usd):
                why = f"its sale would cost ${tax + one.cost_usd:,.2f} of tax and spread, less drift is worth ${one.worth_usd:,.2f}"
                barred |= {(one.account_id, sale.security_id, "swap"): why for sale in one.sales}
    return effects, barred


def _name(one: Swap, side: str, security_id: str) -> str:
    return f"{one.account_id} {one.asset_class} {side} {security_id}"


def _trades(there: Household, day: Day, one: Swap) -> dict[str, Trade]:
    """A swap's trades as the ledger would see them, by name."""
    account = next(account for account in day.settings.portfolio.accounts if account.id == one.account_id)
    legs: list[tuple[str, Sale | Purchase, tuple[tuple[str, int], ...]]] = [
        ("sell", sale, _nano(sale) if account.reaches_any_lot else ()) for sale in one.sales
    ]
    legs += [("buy", bought, ()) for bought in one.purchases]
    found = {}
    for side, leg, picks in legs:
        name = _name(one, side, leg.security_id)
        found[name] = Trade(
            name, account.id, leg.security_id, side == "buy", nano_shares(leg.quantity),
            trade_cents(leg.quantity, leg.price_usd, ZERO), there.on, None, account.is_deferred, picks,
        )  # fmt: skip
    return found


def _nano(sale: Sale) -> tuple[tuple[str, int], ...]:
    return tuple((lot, nano_shares(part)) for lot, part in sale.picks)


def _tax(one: Swap, effects: Mapping[str, Effect], seen: Known) -> Decimal:
    """The exact tax of a swap by itself, wash sales included."""
    told = [effects[_name(one, "sell", sale.security_id)] for sale in one.sales]
    short, long = usd(sum(effect.short_gain for effect in told)), usd(sum(effect.long_gain for effect in told))
    year = seen.year
    tax = tax_on(year.short_usd + short, year.long_usd + long, year.rates) - tax_on(
        year.short_usd, year.long_usd, year.rates
    )
    return tax.quantize(CENT)


# What is proposed -------------------------------------------------------------------------------------


def _as_proposed(there: Household, day: Day, made: Made, effects: Mapping[str, Effect]) -> Iterator[Proposed]:
    for kind, reason_of, swaps in (
        ("withdrawal", withdrawal_reason, made.withdrawn),
        ("cash", cash_reason, made.invested),
        ("drift", band_reason, made.swapped),
    ):
        for one in swaps:
            reason = reason_of(there, day, one, made.lacking)
            for sale in one.sales:
                name, method = _proposal(day, kind, one, sale.security_id)
                effect = effects[_name(one, "sell", sale.security_id)]
                loss, saved = usd(max(0, -(effect.short_gain + effect.long_gain))), usd(max(0, -effect.tax))
                yield Proposed(
                    name, method, one.account_id, "sell", sale.security_id, sale.quantity, sale.price_usd,
                    picks_text(_nano(sale)), loss, saved, reason,
                )  # fmt: skip
            for bought in one.purchases:
                name, method = _proposal(day, kind, one, bought.security_id)
                yield Proposed(
                    name, method, one.account_id, "buy", bought.security_id, bought.quantity, bought.price_usd, "",
                    ZERO, ZERO, f"{there.stands(bought.asset_class)}; {reason}",
                )  # fmt: skip


def _proposal(day: Day, kind: str, one: Swap, security_id: str) -> tuple[str, str]:
    """The proposal that a trade is a part of, and whose it is."""
    method = owner(day, one.account_id, security_id)
    return f"{method} {kind} {one.account_id} {one.asset_class if kind == 'drift' else security_id}", method
