"""Rebalancing of the sleeves that ask for it: cash first, then bands.

The problem. What a class needs is one number of the whole household; what can be traded for it depends on the accounts, on
losses of the last days anywhere, on what a harvest does today, and on the tax of each lot.

The choice. `bands.py` and `cash_flow.py` say the dollars of each class, `trades.py` the trades. Cash is steered first, so
that nothing is sold while cash covers it. The trades go through the pre-trade check together; whatever it refuses is
barred and they are made again, until it refuses nothing. What one account sells of one class and buys for it is one
proposal. Only what a sleeve with this method holds is traded; without such a sleeve nothing is proposed.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date, timedelta
from decimal import Decimal
from typing import NamedTuple

from flows.calendar import next_session
from flows.day import Day
from flows.measure import Locks, class_histories, locks
from flows.pre_trade import Known, known
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
from transforms.portfolio.bands import CASH, Held, drift_cost, is_due, is_outside
from transforms.portfolio.drift import class_of
from transforms.portfolio.trades import Desk, LeftAlone, OpenLot, Policy, Swap
from transforms.portfolio.volatility_bands import covariance
from warehouse.db import Warehouse

ZERO = Decimal(0)
SHARE = Decimal("0.0001")
Barred = dict[tuple[str, str, str], str]  # account, security and side -> why


class Household(NamedTuple):
    """What a rebalance looks at, whatever it is barred from. Units: USD."""

    method: str
    on: date
    held: dict[str, Held]  # by class
    cash_usd: dict[str, Decimal]  # of the accounts of the sleeves
    lots: list[OpenLot]  # of the sleeves
    worth_usd: dict[str, Decimal]  # of every account with its cash
    positions_usd: dict[str, Decimal]  # by security
    prices: dict[str, Decimal]
    classes: dict[str, str]  # security -> class
    locks: Locks
    harvested: dict[tuple[str, str], str]  # account, security -> why it is left alone today
    harvest_usd: Decimal
    resting: dict[str, date]  # class -> when it was rebalanced last
    drift_cost: Callable[[Mapping[str, Decimal]], Decimal] | None
    unpriced: tuple[str, ...]  # classes whose risk nobody can tell

    @property
    def total_usd(self) -> Decimal:
        return sum((one.value_usd for one in self.held.values()), ZERO)


class Made(NamedTuple):
    """The swaps of a rebalance, what was left alone, and the cash that was missing before it."""

    withdrawn: list[Swap]
    invested: list[Swap]
    swapped: list[Swap]
    left_alone: list[LeftAlone]
    lacking: dict[str, Decimal]

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
    if not policy.targets or not any(sleeve.method == method for sleeve in policy.sleeves):
        return
    seen = known(warehouse, day, next_session(day.as_of))
    household = _household(warehouse, day, method)
    barred: Barred = {}
    while True:
        made = _made(household, day, seen, barred, _looks(warehouse, day, method))
        effects, more = _refused(household, day, seen, made)
        if not more.keys() - barred.keys():
            break
        barred |= more
    left = [(method, *one) for one in _left(household, day, made, barred)]
    warehouse.append("core.left_alone", tables.core("left_alone", left))
    yield from _as_proposed(household, day, made, effects)


# What there is ----------------------------------------------------------------------------------------


def _household(warehouse: Warehouse, day: Day, method: str) -> Household:
    policy, on = day.settings.portfolio, next_session(day.as_of)
    rows = warehouse.rows("SELECT asset_class, value_usd, target_weight, band FROM core.drift").rows()
    held = {name: Held(value, target, band) for name, value, target, band in rows}
    held.setdefault(CASH, Held(ZERO, 0.0, policy.bands.absolute))
    targets = {name: one.target_weight for name, one in held.items() if one.target_weight > 0}
    asset_classes = dict(warehouse.rows("SELECT security_id, asset_class FROM stg.securities").iter_rows())
    lots = _lots(warehouse, on, asset_classes, targets)
    cash = dict(warehouse.rows("SELECT account_id, cash_usd FROM mart.cash").iter_rows())
    positions = warehouse.rows(
        "SELECT account_id, security_id, value_usd FROM mart.positions WHERE value_usd IS NOT NULL"
    ).rows()
    worth, by_security = dict(cash), dict[str, Decimal]()
    for account, name, value in positions:
        worth[account] = worth.get(account, ZERO) + value
        by_security[name] = by_security.get(name, ZERO) + value
    harvested, harvest_usd = _harvested(warehouse)
    cost, unpriced = _drift_cost(warehouse, day, held, targets)
    return Household(
        method=method,
        on=on,
        held=held,
        cash_usd={name: value for name, value in cash.items() if _trades_in(day, method, name)},
        lots=[lot for lot in lots if _owner(day, lot.account_id, lot.security_id) == method],
        worth_usd=worth,
        positions_usd=by_security,
        prices=dict(warehouse.rows("SELECT security_id, price_usd FROM core.latest_prices").iter_rows()),
        classes={name: class_of(name, its, targets) for name, its in asset_classes.items()},
        locks=locks(warehouse, day),
        harvested=harvested,
        harvest_usd=harvest_usd,
        resting=_resting(warehouse, day, method, asset_classes, targets),
        drift_cost=cost,
        unpriced=unpriced,
    )


def _owner(day: Day, account_id: str, security_id: str) -> str:
    """The method that trades a security in an account: that of the first sleeve that holds both; none without one."""
    for sleeve in day.settings.portfolio.sleeves:
        if (not sleeve.accounts or account_id in sleeve.accounts) and (
            not sleeve.securities or security_id in sleeve.securities
        ):
            return sleeve.method
    return ""


def _trades_in(day: Day, method: str, account_id: str) -> bool:
    """Has the method a sleeve in the account, so that it may spend its cash?"""
    return any(
        sleeve.method == method and (not sleeve.accounts or account_id in sleeve.accounts)
        for sleeve in day.settings.portfolio.sleeves
    )


def _lots(
    warehouse: Warehouse, on: date, asset_classes: Mapping[str, str], targets: Mapping[str, float]
) -> list[OpenLot]:
    """Open lots with a price, oldest first; a lot of several slices is one."""
    rows = warehouse.rows(
        "WITH worth AS (SELECT l.*, quantity::DECIMAL(19, 9) * price_usd::DECIMAL(19, 9) - basis_usd AS gain_usd "
        "  FROM core.lots AS l JOIN core.latest_prices USING (security_id) WHERE quantity > 0) "
        "SELECT account_id, security_id, lot_id, sum(quantity)::DECIMAL(28, 9), "
        "  coalesce(sum(gain_usd) FILTER (long_term_from > $on), 0)::DECIMAL(28, 6), "
        "  coalesce(sum(gain_usd) FILTER (long_term_from <= $on), 0)::DECIMAL(28, 6) "
        "FROM worth GROUP BY account_id, security_id, lot_id ORDER BY account_id, security_id, min(acquired_on), lot_id",
        on=on,
    )
    return [
        OpenLot(account, name, class_of(name, asset_classes.get(name), targets), lot, quantity, short, long)
        for account, name, lot, quantity, short, long in rows.iter_rows()
    ]


def _harvested(warehouse: Warehouse) -> tuple[dict[tuple[str, str], str], Decimal]:
    """What a harvest of today trades: two methods do not sell the same lots, nor does one buy what the other sells at a loss."""
    rows = warehouse.rows(
        "SELECT account_id, security_id, value_usd, replacement_id, replacement_quantity, replacement_price_usd "
        "FROM core.proposals WHERE NOT is_refused"
    ).rows()
    found, traded = dict[tuple[str, str], str](), ZERO
    for account, sold, value, bought, quantity, price in rows:
        found[account, sold] = "it is harvested today"
        found[account, bought] = "a harvest of today buys it"
        found["", sold] = "it is harvested today"
        traded += value + quantity * price
    return found, traded


def _resting(
    warehouse: Warehouse, day: Day, method: str, asset_classes: Mapping[str, str], targets: Mapping[str, float]
) -> dict[str, date]:
    """Classes whose last sale, or purchase with the proceeds of one, by this method is too young."""
    rows = warehouse.rows(
        "SELECT o.security_id, max(o.session_on) FROM mart.orders AS o JOIN ledger.batch_lines AS l USING (batch_id, line) "
        "WHERE list_contains(string_split(l.method, ', '), $method) AND o.status IN ('filled', 'partly filled', 'working') "
        "AND EXISTS (SELECT 1 FROM ledger.batch_lines AS s WHERE s.batch_id = l.batch_id AND s.pair = l.pair AND s.side = 'sell') "
        "GROUP BY o.security_id",
        method=method,
    )
    last: dict[str, date] = {}
    for name, on in rows.iter_rows():
        its = class_of(name, asset_classes.get(name), targets)
        last[its] = max(on, last.get(its, on))
    days, today = day.settings.portfolio.bands.cooldown_days, next_session(day.as_of)
    return {name: on for name, on in last.items() if (today - on).days < days}


def _drift_cost(
    warehouse: Warehouse, day: Day, held: Mapping[str, Held], targets: Mapping[str, float]
) -> tuple[Callable[[Mapping[str, Decimal]], Decimal] | None, tuple[str, ...]]:
    """What distances from the targets cost in dollars; None where the policy does not ask, or a class has no history."""
    policy = day.settings.portfolio.bands
    if not policy.cost_benefit:
        return None, ()
    returns = class_histories(warehouse, day, targets, policy.lookback_sessions)
    lacking = tuple(sorted(name for name in held if name != CASH and name not in returns))
    classes, spread = covariance(returns)
    total = sum((one.value_usd for one in held.values()), ZERO)
    if lacking or total <= 0:
        return None, lacking

    def cost(distances: Mapping[str, Decimal]) -> Decimal:
        weights = {name: float(distance / total) for name, distance in distances.items()}
        rate = drift_cost(weights, classes, spread, policy.risk_aversion, policy.horizon_years)
        return (Decimal(repr(round(rate, 15))) * total).quantize(Decimal("0.01"))

    return cost, ()


def _looks(warehouse: Warehouse, day: Day, method: str) -> bool:
    """Are the bands looked at today? Cash is looked at every day."""
    on = next_session(day.as_of)
    last_on = warehouse.value(
        "SELECT max(session_on) FROM ledger.batches WHERE kind = 'daily' AND session_on < $on", on=on
    )
    return method == "bands" and is_due(day.settings.portfolio.bands.look, on, last_on)


# What is done -----------------------------------------------------------------------------------------


def _made(household: Household, day: Day, seen: Known, barred: Barred, looks: bool) -> Made:
    """Withdrawals, then purchases with cash, then what is still outside its band."""
    policy = day.settings.portfolio
    desk = _desk(household, day, seen, barred)
    due = cash_rules.due(
        [cash_rules.Withdrawal(one.account, one.on, one.amount_usd) for one in policy.withdrawals],
        household.on, policy.cash_flow.lead_days,
    )  # fmt: skip
    open_accounts = {name: value for name, value in household.cash_usd.items() if name not in household.locks.accounts}
    lacking = cash_rules.missing(open_accounts, {name: usd for name, usd in due.items() if name in open_accounts})
    withdrawn = trades.raise_cash(desk, lacking)
    target = Decimal(repr(household.held[CASH].target_weight)) * household.total_usd
    money = cash_rules.spare(open_accounts, due, policy.cash_flow.keep_usd, target)
    invested = trades.invest(desk, money)
    swapped: list[Swap] = []
    if looks:
        now = {
            name: one._replace(value_usd=_target(household, name) + desk.distance_usd[name])
            for name, one in household.held.items()
        }
        leaving = sum((min(max(ZERO, usd), due.get(name, ZERO)) for name, usd in open_accounts.items()), ZERO)
        now[CASH] = now[CASH]._replace(value_usd=now[CASH].value_usd - leaving)
        sells, buys = rules.trade_back(
            now,
            policy.bands.trade_back,
            policy.cash_flow.cushion_rate,
            household.resting.keys(),
            {name for name in now if not any(desk.choices.get((account.id, name)) for account in policy.accounts)},
        )
        least = policy.cash_flow.min_trade_usd
        swapped = trades.swap(desk, sells, {name: usd for name, usd in buys.items() if usd >= least or name == CASH})
    return Made(withdrawn, invested, swapped, desk.left_alone, lacking)


def _desk(household: Household, day: Day, seen: Known, barred: Barred) -> Desk:
    policy = day.settings.portfolio
    gates, cash = policy.gates, policy.cash_flow
    total = household.total_usd
    left_alone = []
    lots = []
    for lot in household.lots:
        if why := _why_not(household, lot.account_id, lot.security_id, "sell", barred):
            value = (lot.quantity * household.prices[lot.security_id]).quantize(Decimal("0.01"))
            left_alone.append(LeftAlone(lot.account_id, lot.asset_class, lot.security_id, value, why))
        else:
            lots.append(lot)
    return Desk(
        accounts={
            account.id: trades.Account(
                account.is_deferred, account.reaches_any_lot, Decimal(1) if account.shares == "whole" else SHARE,
                household.worth_usd.get(account.id, ZERO) * Decimal(repr(gates.max_order_weight)),
            )
            for account in policy.accounts
        },
        prices=household.prices,
        lots=lots,
        choices=_choices(household, day, barred),
        distance_usd={name: one.value_usd - _target(household, name) for name, one in household.held.items()},
        policy=Policy(cash.min_trade_usd, cash.cushion_rate, cash.spread_bps),
        rates=seen.year.rates,
        gains_usd=[seen.year.short_usd, seen.year.long_usd],
        gains_left_usd=[gates.max_daily_short_gain_usd, gates.max_daily_long_gain_usd],
        turnover_left_usd=total * Decimal(repr(gates.max_daily_turnover)) - household.harvest_usd,
        position_left_usd={
            name: total * Decimal(repr(gates.max_position_weight)) - household.positions_usd.get(name, ZERO)
            for name in household.prices
        },
        drift_cost=household.drift_cost,
        left_alone=left_alone,
    )  # fmt: skip


def _target(household: Household, asset_class: str) -> Decimal:
    return Decimal(repr(household.held[asset_class].target_weight)) * household.total_usd


def _choices(household: Household, day: Day, barred: Barred) -> dict[tuple[str, str], list[str]]:
    """What an account may buy of every class with a target: what is preferred, else what is held, the most of it first."""
    policy = day.settings.portfolio
    wanted = [name for name, one in household.held.items() if one.target_weight > 0 and name != CASH]
    in_account: dict[tuple[str, str], Decimal] = {}
    for lot in household.lots:
        key = lot.account_id, lot.security_id
        in_account[key] = in_account.get(key, ZERO) + lot.quantity * household.prices[lot.security_id]
    found = {}
    for account in policy.accounts:
        for name in wanted:
            likely: Sequence[str] = policy.preferred.get(name) or ((name,) if name in household.classes else ())
            if not likely:
                likely = sorted(
                    (one for one in household.positions_usd if household.classes.get(one) == name),
                    key=lambda one: (-in_account.get((account.id, one), ZERO), -household.positions_usd[one], one),
                )
            found[account.id, name] = [
                one
                for one in likely
                if one in household.prices
                and household.classes.get(one) == name
                and _owner(day, account.id, one) == household.method
                and (not account.can_hold or one in account.can_hold)
                and not _why_not(household, account.id, one, "buy", barred)
            ]
    return found


def _why_not(household: Household, account_id: str, security_id: str, side: str, barred: Barred) -> str:
    """Why something may not be traded today; empty where it may."""
    locked = household.locks
    key = account_id, security_id
    return (
        locked.accounts.get(account_id)
        or locked.securities.get(security_id)
        or household.harvested.get(key)
        or barred.get((*key, side))
        or (side == "buy" and (locked.purchases.get(key) or household.harvested.get(("", security_id))))
        or ""
    )


# What the pre-trade check says ------------------------------------------------------------------------


def _refused(household: Household, day: Day, seen: Known, made: Made) -> tuple[dict[str, Effect], Barred]:
    """What every trade would do, and those that may not be made: beyond the wash limits, or not worth their exact tax."""
    asked = {name: trade for one in made.all for name, trade in _trades(household, day, one).items()}
    effects = seen.effects(asked.values())
    limits = day.settings.portfolio.wash_limits
    in_part = seen.beyond_in_part(asked.values(), limits)
    barred: Barred = {}
    for name, trade in asked.items():
        if why := beyond(effects[name], limits) or in_part.get(name):
            barred[trade.account_id, trade.security_id, "buy" if trade.is_buy else "sell"] = why
    if not barred:
        for one in made.swapped:
            tax = _tax(one, effects, seen)
            if one.worth_usd is not None and tax + one.cost_usd > max(one.worth_usd, one.tax_usd + one.cost_usd):
                why = f"its sale would cost ${tax + one.cost_usd:,.2f} of tax and spread, less drift is worth ${one.worth_usd:,.2f}"
                barred |= {(one.account_id, sale.security_id, "sell"): why for sale in one.sales}
    return effects, barred


def _name(one: Swap, side: str, security_id: str) -> str:
    return f"{one.account_id} {one.asset_class} {side} {security_id}"


def _trades(household: Household, day: Day, one: Swap) -> dict[str, Trade]:
    """A swap's trades as the ledger would see them, by name."""
    account = next(account for account in day.settings.portfolio.accounts if account.id == one.account_id)
    found = {}
    for sale in one.sales:
        name = _name(one, "sell", sale.security_id)
        picks = tuple((lot, nano_shares(part)) for lot, part in sale.picks) if account.reaches_any_lot else ()
        amount = trade_cents(sale.quantity, sale.price_usd, ZERO)
        found[name] = Trade(
            name, account.id, sale.security_id, False, nano_shares(sale.quantity), amount, household.on, None,
            account.is_deferred, picks,
        )  # fmt: skip
    for bought in one.purchases:
        name = _name(one, "buy", bought.security_id)
        amount = trade_cents(bought.quantity, bought.price_usd, ZERO)
        found[name] = Trade(
            name, account.id, bought.security_id, True, nano_shares(bought.quantity), amount, household.on, None,
            account.is_deferred,
        )  # fmt: skip
    return found


def _gains(one: Swap, effects: Mapping[str, Effect]) -> tuple[Decimal, Decimal]:
    told = [effects[_name(one, "sell", sale.security_id)] for sale in one.sales]
    return usd(sum(effect.short_gain for effect in told)), usd(sum(effect.long_gain for effect in told))


def _tax(one: Swap, effects: Mapping[str, Effect], seen: Known) -> Decimal:
    """The exact tax of a swap by itself, wash sales included."""
    short, long = _gains(one, effects)
    year = seen.year
    tax = tax_on(year.short_usd + short, year.long_usd + long, year.rates) - tax_on(
        year.short_usd, year.long_usd, year.rates
    )
    return tax.quantize(Decimal("0.01"))


# What is said -----------------------------------------------------------------------------------------


def _as_proposed(household: Household, day: Day, made: Made, effects: Mapping[str, Effect]) -> Iterator[Proposed]:
    until = household.on + timedelta(days=day.settings.portfolio.cash_flow.lead_days)
    planned = [one for one in day.settings.portfolio.withdrawals if household.on <= one.on <= until]
    for kind, swaps in (("withdrawal", made.withdrawn), ("cash", made.invested), ("drift", made.swapped)):
        for one in swaps:
            name = f"{household.method} {kind} {one.account_id} {one.asset_class}"
            if kind == "cash":
                reason = f"{_usd(one.bought_usd)} of spare cash in {one.account_id} to what is below its target"
            elif kind == "withdrawal":
                own = [f"{_usd(it.amount_usd)} on {it.on}" for it in planned if it.account == one.account_id]
                what = f"the withdrawal of {', '.join(own)}" if own else "what is overdrawn"
                reason = (
                    f"{_usd(made.lacking[one.account_id])} is missing in {one.account_id} for {what}; "
                    f"{_stands(household, one.asset_class)}: sell {_usd(one.sold_usd)}; {_taxed(one, day)}"
                )
            else:
                reason = _band_reason(household, day, one)
            for sale in one.sales:
                effect = effects[_name(one, "sell", sale.security_id)]
                loss = usd(max(0, -(effect.short_gain + effect.long_gain)))
                lots = picks_text(tuple((lot, nano_shares(part)) for lot, part in sale.picks))
                yield Proposed(
                    name, household.method, one.account_id, "sell", sale.security_id, sale.quantity, sale.price_usd, lots,
                    loss, usd(max(0, -effect.tax)), reason,
                )  # fmt: skip
            for bought in one.purchases:
                said = f"{_stands(household, bought.asset_class)}; {reason}"
                yield Proposed(
                    name, household.method, one.account_id, "buy", bought.security_id, bought.quantity, bought.price_usd, "",
                    ZERO, ZERO, said,
                )  # fmt: skip


def _band_reason(household: Household, day: Day, one: Swap) -> str:
    stand, held = _stands(household, one.asset_class), household.held[one.asset_class]
    to = {"target": "its target", "half": "half the band", "edge": "the edge of the band"}
    strayed = is_outside(float(held.value_usd / household.total_usd), held.target_weight, held.band)
    why = f"to come back to {to[day.settings.portfolio.bands.trade_back]}" if strayed else "for what is below its band"
    bought = sorted({bought.asset_class for bought in one.purchases})
    into = f" and buy {', '.join(bought)}" if bought else ""
    if one.worth_usd is not None:
        years = day.settings.portfolio.bands.horizon_years
        worth = f"less drift is worth {_usd(one.worth_usd)} over {years:g} years, the trades cost {_usd(one.cost_usd)}"
    elif household.unpriced:
        worth = f"not weighed against its cost of {_usd(one.cost_usd)}: no full price history of {', '.join(household.unpriced)}"
    else:
        worth = f"the trades cost {_usd(one.cost_usd)}"
    return f"{stand}, band {held.band:.1%}: sell {_usd(one.sold_usd)} {why}{into}; {_taxed(one, day)}; {worth}"


def _stands(household: Household, asset_class: str) -> str:
    held = household.held[asset_class]
    return f"{asset_class} {float(held.value_usd / household.total_usd):.1%} against {held.target_weight:.1%}"


def _taxed(one: Swap, day: Day) -> str:
    account = next(account for account in day.settings.portfolio.accounts if account.id == one.account_id)
    where = f" ({account.type})" if account.is_deferred else ""
    return f"tax {_usd(one.tax_usd)} in {account.id}{where}"


def _usd(amount: Decimal) -> str:
    return f"{'-' if amount < 0 else ''}${abs(amount):,.0f}"


def _left(household: Household, day: Day, made: Made, barred: Barred) -> Iterator[LeftAlone]:
    """What was left alone of the classes that are above their band; those below that cannot be bought, or rest."""
    outside = {
        name
        for name, one in household.held.items()
        if name != CASH and household.total_usd > 0
        and is_outside(float(one.value_usd / household.total_usd), one.target_weight, one.band)
    }  # fmt: skip
    days: dict[tuple[str, str, str, str], Decimal] = {}
    for one in made.left_alone:
        if one.asset_class in outside and household.held[one.asset_class].value_usd > _target(
            household, one.asset_class
        ):
            key = one.account_id, one.asset_class, one.security_id, one.reason
            days[key] = days.get(key, ZERO) + one.value_usd
    for (account, asset_class, security, reason), value in sorted(days.items()):
        yield LeftAlone(account, asset_class, security, value, reason)
    can_buy = {name for (_, name), choices in _choices(household, day, barred).items() if choices}
    for name in sorted(outside - can_buy):
        if (short := _target(household, name) - household.held[name].value_usd) > 0:
            why = "nothing of it can be bought today: core.drift says what is locked, [preferred] what to buy of it"
            yield LeftAlone("", name, "", short.quantize(Decimal("0.01")), why)
    for name, on in sorted(household.resting.items()):
        if name in outside:
            yield LeftAlone("", name, "", household.held[name].value_usd, f"it rests: it was rebalanced on {on}")
