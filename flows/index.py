"""Direct indexing of the accounts of the sleeves that ask for it: the wanted weights, and the optimizer over their lots.

The problem. What an account should hold is a file of constituents less what the household leaves out, tilted, in so many
names; what it should do about it today depends on every lot, on the household's year, and on what other accounts just did.

The choice. The weights come from `transforms/index/`, the trades from its optimizer, and whether they wash anything is asked
of the pre-trade check, as with every method: what it refuses is barred and the plan made anew. The cap on tracking error is meant to
the index of the file: exclusions, tilts and the sample use up a part of it, and only the rest is left to the account
(the triangle inequality). Where they use up all of it, or the plan is infeasible, nothing is proposed and core.left_alone
says why. A plan is one proposal: its tracking error is that of all its trades together.

Several accounts are decided one after another, taxable ones first, because a loss counts only there. Each knows what those before
it do that day: it does not buy what they sell at a loss, sells nothing at a loss that they buy, and has the year that they leave.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import NamedTuple

import numpy as np

from flows.accounts import Account
from flows.day import Day
from flows.index_scene import LotRow, NoRiskModel, Scene, scene_of
from transforms import tables
from transforms.exact import NANO, nano_shares, trade_cents, usd
from transforms.harvest.benefit import Rates
from transforms.index.constraints import (
    Constraint,
    DoNotBuy,
    DoNotSell,
    FactorLimit,
    GainBudget,
    HoldingTime,
    MinimumTrade,
    SectorLimit,
    TrackingErrorCap,
    Turnover,
    WashWindows,
)
from transforms.index.core import Unsolved
from transforms.index.optimizer import Order, orders, solve
from transforms.index.problem import Costs, Lots, NotMeant, Problem, Taxes, later_rate
from transforms.lots.check import Effect, beyond
from transforms.lots.divergence import picks_text
from transforms.model import Trade
from transforms.orders.arbiter import Proposed
from warehouse.db import Warehouse
from warehouse.law import wash_rules

METHOD = "index"
ZERO = Decimal(0)
TRIES = 5  # plans that the pre-trade check may send back
FRACTION = NANO // 1_000_000  # the step where fractions are taken


class Barred(NamedTuple):
    """What the pre-trade check has sent back."""

    purchases: set[str]
    sales: set[str]


class Done(NamedTuple):
    """What the accounts before this one do the same day. Units: USD, signed."""

    trades: list[Trade]
    short_usd: Decimal = ZERO
    long_usd: Decimal = ZERO
    sold_at_a_loss: frozenset[str] = frozenset()  # groups of identical securities
    bought: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class OldestOnly(Constraint):
    """Where the broker relieves first in, first out, only the oldest lot of a security can be reached."""

    def barred_sales(self, problem: Problem) -> np.ndarray:
        order = np.lexsort((np.arange(problem.lots.security.size), -problem.lots.days_held, problem.lots.security))
        _, first = np.unique(problem.lots.security[order], return_index=True)
        barred = np.ones(problem.lots.security.size, bool)
        barred[order[first]] = False
        return barred


def index(warehouse: Warehouse, day: Day) -> Iterator[Proposed]:
    """The trades of every account that follows the index, an account a proposal."""
    portfolio = day.settings.portfolio
    others = warehouse.rows("FROM core.left_alone WHERE method <> $method", method=METHOD)
    warehouse.replace("core.left_alone", others)
    followers = {name for sleeve in portfolio.sleeves if sleeve.method == METHOD for name in sleeve.accounts}
    if portfolio.index is None or not followers:
        return
    accounts = sorted((one for one in portfolio.accounts if one.id in followers), key=lambda one: one.is_deferred)
    try:
        scene, told = scene_of(warehouse, day, portfolio.index, followers)
    except NoRiskModel as wrong:
        told, accounts = [(account.id, "", str(wrong)) for account in accounts], []
    done = Done([])
    for account in accounts:
        made = scene.locked.accounts.get(account.id) or _planned(scene, account, done)
        if isinstance(made, str):
            told.append((account.id, "", made))
        else:
            proposed, done = made
            yield from proposed
    left_alone = [(METHOD, account, "", security, ZERO, why) for account, security, why in told]
    warehouse.append("core.left_alone", tables.core("left_alone", left_alone))


def _planned(scene: Scene, account: Account, done: Done) -> tuple[list[Proposed], Done] | str:
    """The account's trades, none where nothing is worth doing, and what is done then; or why there is no plan."""
    policy, limits = scene.policy, scene.day.settings.portfolio.wash_limits
    used, barred = scene.target.tracking_error, Barred(set(), set())
    if used >= policy.max_tracking_error:
        return (
            f"exclusions, tilts and the sample alone have a predicted tracking error of {used:.2%}, "
            f"max_tracking_error is {policy.max_tracking_error:.2%}: ask for less of them, or raise it"
        )
    if scene.cash_usd.get(account.id, ZERO) <= 0 and not _own(scene, account):
        return "it holds nothing, and no cash"
    for _ in range(TRIES):
        try:
            problem = _problem(scene, account, barred, done)
            plan = solve(problem)
        except (NotMeant, Unsolved) as wrong:
            return f"no plan was looked for: {wrong}"
        if plan.status != "optimal":
            return plan.reason
        wanted = orders(problem, plan)
        trades = [_trade(scene, account, order) for order in wanted]
        together = [*done.trades, *trades]
        effects = scene.seen.effects(together)
        in_part = scene.seen.beyond_in_part(together, limits)
        refused = [one for one in trades if beyond(effects[one.trade_id], limits) or in_part.get(one.trade_id)]
        if not refused:
            cap = f"predicted tracking error at most {used + plan.tracking_error:.2%}, cap {policy.max_tracking_error:.2%}"
            return [
                _proposed(scene, account, order, effects[_name(account, order)], f"{plan.reason}; {cap}")
                for order in wanted
            ], _after(scene, account, done, trades, effects)
        for one in refused:
            (barred.purchases if one.is_buy else barred.sales).add(one.security_id)
    return f"the pre-trade check sent {TRIES} plans back: they would wash more than the limits let pass"


def _after(scene: Scene, account: Account, done: Done, trades: list[Trade], effects: dict[str, Effect]) -> Done:
    """What is done with this account's plan too. A sale in a deferred account is no gain and no loss."""
    alike = scene.day.settings.portfolio.cautious_groups
    sales = [effects[one.trade_id] for one in trades if not one.is_buy and not account.is_deferred]
    losses = {one.trade_id for one in sales if one.loss}
    return Done(
        [*done.trades, *trades],
        done.short_usd + usd(sum(one.short_gain for one in sales)),
        done.long_usd + usd(sum(one.long_gain for one in sales)),
        done.sold_at_a_loss | {alike.get(one.security_id, one.security_id) for one in trades if one.trade_id in losses},
        done.bought | {alike.get(one.security_id, one.security_id) for one in trades if one.is_buy},
    )


def _own(scene: Scene, account: Account) -> list[LotRow]:
    return [lot for lot in scene.lots if lot.account_id == account.id]


def _problem(scene: Scene, account: Account, barred: Barred, done: Done) -> Problem:
    """Over what is wanted and what the account holds."""
    portfolio, policy, on, own = scene.day.settings.portfolio, scene.policy, scene.on, _own(scene, account)
    weights, held = scene.target.weights, {lot.security_id for lot in own}
    places = np.array([at for at, name in enumerate(scene.model.securities) if weights[at] > 0 or name in held])
    model, weights, count = scene.model.only(places), weights[places], len(places)
    place = {name: at for at, name in enumerate(model.securities)}
    return Problem(
        model.securities,
        np.array([float(scene.prices[name]) for name in model.securities]),
        weights,
        Lots(
            tuple(lot.lot_id for lot in own),
            np.array([place[lot.security_id] for lot in own], np.int64),
            np.array([nano_shares(lot.quantity) for lot in own], np.int64),
            np.array([float(lot.basis_usd / lot.quantity) for lot in own], float),
            np.array([on >= lot.long_term_from for lot in own], bool),
            np.array([(on - lot.acquired_on).days for lot in own], np.int64),
            np.array([max(0, (lot.long_term_from - on).days) for lot in own], np.int64),
            np.full(len(own), 1 - portfolio.harvest.benefit.never_taxed),
        ),
        scene.cash_usd.get(account.id, ZERO),
        model,
        _taxes(scene, account, done),
        Costs(np.full(count, float(policy.half_spread_bps)), np.zeros(count), np.full(count, np.inf)),
        policy.risk_aversion,
        policy.threshold_bps,
        {
            **_locked(scene, account, barred, done, model.securities, weights),
            **_asked(scene, account, done, model.securities),
        },
        portfolio.cash_flow.keep_usd,
        NANO if account.shares == "whole" else FRACTION,
        cushion_rate=float(portfolio.cash_flow.cushion_rate),
    )


def _taxes(scene: Scene, account: Account, done: Done) -> Taxes:
    """The household's year and rates; of a deferred account no sale is taxed. A loss carried over counts a year from now."""
    year, benefit = scene.seen.year, scene.day.settings.portfolio.harvest.benefit
    short, long = year.short_usd + done.short_usd, year.long_usd + done.long_usd
    if account.is_deferred:
        return Taxes(Rates(ZERO, ZERO, ZERO, year.rates.loss_limit_usd), short, long, 0.0, 0.0)
    one_day = float(year.rates.long if benefit.later_rate is None else benefit.later_rate)
    carried = later_rate(float(min(year.rates.long, year.rates.ordinary)), 1, benefit.growth_rate)
    later = later_rate(one_day, benefit.horizon_years, benefit.growth_rate)
    return Taxes(year.rates, short, long, carried, later)


def _locked(
    scene: Scene, account: Account, barred: Barred, done: Done, names: tuple[str, ...], weights: np.ndarray
) -> dict[str, Constraint]:
    """What always holds."""
    portfolio = scene.day.settings.portfolio
    alike = portfolio.cautious_groups
    since = scene.on - timedelta(days=wash_rules(scene.on, portfolio.law_policy).window_days)
    young = {lot.security_id for lot in _own(scene, account) if lot.acquired_on >= since}
    young |= {name for where, name in scene.washes if where == account.id}
    young |= {name for name in names if alike.get(name, name) in done.bought}
    sold = {name for where, name in scene.locked.purchases if where == account.id}
    sold |= {name for name in names if alike.get(name, name) in done.sold_at_a_loss}
    foreign = set(names) - set(account.can_hold) if account.can_hold else set()
    made: dict[str, Constraint] = {
        "max_tracking_error": TrackingErrorCap(scene.policy.max_tracking_error - scene.target.tracking_error),
        "wash windows": WashWindows(frozenset(sold), frozenset() if account.is_deferred else frozenset(young), alike),
        "left out": DoNotBuy(frozenset(name for name, weight in zip(names, weights, strict=True) if not weight > 0)),
        "do not buy": DoNotBuy(frozenset({*scene.locked.securities, *foreign, *barred.purchases})),
        "do not sell": DoNotSell(frozenset({*scene.locked.securities, *barred.sales})),
    }
    if not account.reaches_any_lot:
        made["first in, first out"] = OldestOnly()
    return made


def _asked(scene: Scene, account: Account, done: Done, names: tuple[str, ...]) -> dict[str, Constraint]:
    """What the policy asks for besides, by the names that it has there; what is about tax is asked of taxable accounts."""
    policy, made = scene.policy, dict[str, Constraint]()
    if policy.min_trade_usd:
        made["min_trade_usd"] = MinimumTrade(float(policy.min_trade_usd))
    if policy.max_turnover is not None:
        made["max_turnover"] = Turnover(policy.max_turnover)
    if policy.max_sector_drift is not None:
        made["max_sector_drift"] = SectorLimit(
            tuple(scene.sectors.get(name, "") for name in names), policy.max_sector_drift
        )
    if policy.max_factor_drift:
        place = {name: at for at, name in enumerate(scene.model.securities)}
        there = [place[name] for name in names]
        exposures = np.column_stack([scene.target.scores[factor][there] for factor in policy.max_factor_drift])
        made["max_factor_drift"] = FactorLimit(
            tuple(policy.max_factor_drift), exposures, np.array(list(policy.max_factor_drift.values()))
        )
    if account.is_deferred:
        return made
    gates = scene.day.settings.portfolio.gates
    daily = {
        "max_short_usd": (gates.max_daily_short_gain_usd, done.short_usd),
        "max_long_usd": (gates.max_daily_long_gain_usd, done.long_usd),
    }
    made["gates.max_daily_short_gain_usd and max_daily_long_gain_usd"] = GainBudget(
        **{name: float(most - max(ZERO, gained)) for name, (most, gained) in daily.items() if most is not None},
        is_gross=True,
    )
    if policy.min_days or policy.wait_days:
        made["min_days and wait_days"] = HoldingTime(policy.min_days, policy.wait_days)
    if policy.max_short_gain_usd is not None:
        made["max_short_gain_usd"] = GainBudget(max_short_usd=float(policy.max_short_gain_usd - done.short_usd))
    if policy.max_long_gain_usd is not None:
        made["max_long_gain_usd"] = GainBudget(max_long_usd=float(policy.max_long_gain_usd - done.long_usd))
    return made


def _name(account: Account, order: Order) -> str:
    return f"{account.id} {order.side} {order.security_id}"


def _picks(order: Order) -> tuple[tuple[str, int], ...]:
    return tuple((lot_id, nano_shares(part)) for lot_id, part in order.lots)


def _trade(scene: Scene, account: Account, order: Order) -> Trade:
    """An order as the ledger would see it."""
    return Trade(
        _name(account, order), account.id, order.security_id, order.side == "buy", nano_shares(order.quantity),
        trade_cents(order.quantity, scene.prices[order.security_id], ZERO), scene.on, None, account.is_deferred,
        _picks(order) if account.reaches_any_lot else (),
    )  # fmt: skip


def _proposed(scene: Scene, account: Account, order: Order, effect: Effect, reason: str) -> Proposed:
    is_sale = order.side == "sell"
    return Proposed(
        f"{METHOD} {account.id}", METHOD, account.id, order.side, order.security_id, order.quantity,
        scene.prices[order.security_id], picks_text(_picks(order)),
        usd(max(0, -(effect.short_gain + effect.long_gain))) if is_sale else ZERO,
        usd(max(0, -effect.tax)) if is_sale else ZERO, reason,
    )  # fmt: skip
