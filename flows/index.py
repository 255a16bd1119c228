"""Direct indexing of the accounts of the sleeves that ask for it: the wanted weights, and the optimizer over their lots.

The problem. What an account should hold is a file of constituents less what the household leaves out, tilted, in so many
names; what it should do about it today depends on every lot, on the household's year, and on what other accounts just did.

The choice. The weights come from `transforms/index/`, the trades from its optimizer, and whether they wash anything is asked
of the pre-trade check, as with every method: what it refuses is barred and the plan made anew. The cap on tracking error is meant to
the index of the file: exclusions, tilts and the sample use up a part of it, and only the rest is left to the account
(the triangle inequality). Where they use up all of it, or the plan is infeasible, nothing is proposed and core.left_alone
says why. A plan is one proposal: its tracking error is that of all its trades together.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from typing import NamedTuple

import numpy as np
import polars as pl

from flows.calendar import next_session
from flows.csv_file import Unreadable, csv_rows
from flows.day import Day
from flows.measure import Locks, locks
from flows.pre_trade import Known, known
from flows.settings import Account, Index, SettingsError
from transforms import tables
from transforms.exact import NANO, nano_shares, trade_cents, usd
from transforms.harvest.benefit import Rates
from transforms.index.constraints import Constraint, DoNotBuy, DoNotSell, MinimumTrade, TrackingErrorCap, WashWindows
from transforms.index.optimizer import Costs, Lots, Order, Problem, Taxes, later_rate, orders, solve
from transforms.index.risk_model import RiskModel, statistical
from transforms.index.target import Target, target
from transforms.index.tilts import TiltError
from transforms.index.universe import Constituent, Exclusions, UniverseError, constituents, largest
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


class LotRow(NamedTuple):
    """An open lot with a price. Units: shares, USD."""

    account_id: str
    security_id: str
    lot_id: str
    quantity: Decimal
    basis_usd: Decimal
    acquired_on: date
    long_term_from: date


class Scene(NamedTuple):
    """What the accounts that follow the index are decided on. Units: USD."""

    day: Day
    on: date
    policy: Index
    target: Target
    model: RiskModel
    prices: Mapping[str, Decimal]
    lots: list[LotRow]
    cash_usd: Mapping[str, Decimal]
    locked: Locks
    washes: set[tuple[str, str]]  # accounts and securities whose sale at a loss a purchase would wash
    seen: Known


class Barred(NamedTuple):
    """What the pre-trade check has sent back."""

    purchases: set[str]
    sales: set[str]


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
    scene, left_alone = _scene(warehouse, day, portfolio.index, followers)
    for account in portfolio.accounts:
        if account.id not in followers:
            continue
        made = scene.locked.accounts.get(account.id) or _planned(scene, account)
        if isinstance(made, str):
            left_alone.append((METHOD, account.id, "", "", ZERO, made))
        else:
            yield from made
    warehouse.append("core.left_alone", tables.core("left_alone", left_alone))


# What there is ----------------------------------------------------------------------------------------


def _scene(warehouse: Warehouse, day: Day, policy: Index, followers: set[str]) -> tuple[Scene, list[tuple]]:
    """What is decided on; and the constituents that cannot be bought, as rows of core.left_alone."""
    on = next_session(day.as_of)
    prices = dict(warehouse.rows("SELECT security_id, price_usd FROM core.latest_prices").iter_rows())
    lots = [lot for lot in _lots(warehouse) if lot.account_id in followers and lot.security_id in prices]
    names = _constituents(day, policy)
    missing = [one.symbol for one in names if one.symbol not in prices]
    securities = tuple(sorted({lot.security_id for lot in lots} | {one.symbol for one in names} - {*missing}))
    sectors = dict(warehouse.rows("SELECT security_id, coalesce(asset_class, '') FROM stg.securities").iter_rows())
    sectors |= {one.symbol: one.sector for one in names}
    closes = _closes(warehouse, day, securities, policy.lookback_sessions)
    tilts = {str(name): power for name, power in policy.tilts.items()}
    left_out = (policy.exclude_sectors, policy.exclude_industries, (*policy.exclude, *missing), policy.employer)
    try:
        model = statistical(
            closes[1:] / closes[:-1] - 1, securities, [sectors.get(name, "") for name in securities]
        ).model
        wanted = target(
            names, Exclusions(*map(frozenset, left_out)), tilts, policy.names, model, closes, sector_neutral=policy.sector_neutral,
        )  # fmt: skip
    except (UniverseError, TiltError) as wrong:
        raise SettingsError(f"[index]: {wrong}") from wrong
    except ValueError as wrong:
        raise SettingsError(f"[index]: the prices carry no risk model: {wrong}") from wrong
    washes = warehouse.rows(
        "SELECT DISTINCT account_id, security_id FROM mart.cannot_sell_at_a_loss_today WHERE until_on >= $on", on=on
    )
    scene = Scene(
        day, on, policy, wanted, model, prices, lots,
        dict(warehouse.rows("SELECT account_id, cash_usd FROM mart.cash").iter_rows()),
        locks(warehouse, day), set(washes.iter_rows()), known(warehouse, day, on),
    )  # fmt: skip
    return scene, [
        (METHOD, "", "", name, ZERO, "has no price: its weight is spread over its sector") for name in missing
    ]


def _constituents(day: Day, policy: Index) -> list[Constituent]:
    try:
        names = constituents(csv_rows(day.settings.beside(policy.constituents), []), policy.constituents)
        return largest(names, policy.top) if policy.top else names
    except (Unreadable, UniverseError) as wrong:
        raise SettingsError(f"[index]: {wrong}") from wrong


def _lots(warehouse: Warehouse) -> list[LotRow]:
    """Oldest first; a lot of several slices is one, and long-term when all of it is."""
    rows = warehouse.rows(
        "SELECT account_id, security_id, lot_id, sum(quantity)::DECIMAL(28, 9), sum(basis_usd)::DECIMAL(28, 6), "
        "min(acquired_on) AS acquired_on, max(long_term_from) FROM core.lots WHERE quantity > 0 "
        "GROUP BY account_id, security_id, lot_id ORDER BY account_id, security_id, acquired_on, lot_id"
    )
    return [LotRow._make(row) for row in rows.iter_rows()]


def _closes(warehouse: Warehouse, day: Day, securities: tuple[str, ...], sessions: int) -> np.ndarray:
    """Adjusted closes, newest last, NaN where there is none.

    Shape    (up to sessions + 1, securities).
    """
    rows = warehouse.rows(
        "SELECT security_id, session_on, adjusted_price_usd::DOUBLE AS price FROM stg.prices "
        "WHERE session_on > $after AND session_on <= $as_of",  # plain bounds, so that only these days are read
        after=day.as_of - timedelta(days=2 * sessions),
        as_of=day.as_of,
    )
    days = rows["session_on"].unique().sort().tail(sessions + 1)
    rows = rows.join(pl.DataFrame({"session_on": days}).with_row_index("row"), on="session_on")
    rows = rows.join(pl.DataFrame({"security_id": securities}).with_row_index("column"), on="security_id")
    made = np.full((len(days), len(securities)), np.nan)
    made[rows["row"].to_numpy(), rows["column"].to_numpy()] = rows["price"].to_numpy()
    return made


# What is done -----------------------------------------------------------------------------------------


def _planned(scene: Scene, account: Account) -> list[Proposed] | str:
    """The account's trades, none where nothing is worth doing; or why there is no plan."""
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
        problem = _problem(scene, account, barred)
        plan = solve(problem)
        if plan.status != "optimal":
            return plan.reason
        wanted = orders(problem, plan)
        trades = [_trade(scene, account, order) for order in wanted]
        effects = scene.seen.effects(trades)
        in_part = scene.seen.beyond_in_part(trades, limits)
        refused = [one for one in trades if beyond(effects[one.trade_id], limits) or in_part.get(one.trade_id)]
        if not refused:
            cap = f"predicted tracking error at most {used + plan.tracking_error:.2%}, cap {policy.max_tracking_error:.2%}"
            return [
                _proposed(scene, account, order, effects[_name(account, order)], f"{plan.reason}; {cap}")
                for order in wanted
            ]
        for one in refused:
            (barred.purchases if one.is_buy else barred.sales).add(one.security_id)
    return f"the pre-trade check sent {TRIES} plans back: they would wash more than the limits let pass"


def _own(scene: Scene, account: Account) -> list[LotRow]:
    return [lot for lot in scene.lots if lot.account_id == account.id]


def _problem(scene: Scene, account: Account, barred: Barred) -> Problem:
    portfolio, policy, on, names = scene.day.settings.portfolio, scene.policy, scene.on, scene.model.securities
    place, own, count = {name: at for at, name in enumerate(names)}, _own(scene, account), len(names)
    return Problem(
        names,
        np.array([float(scene.prices[name]) for name in names]),
        scene.target.weights,
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
        scene.model,
        _taxes(scene, account),
        Costs(np.full(count, float(policy.half_spread_bps)), np.zeros(count), np.full(count, np.inf)),
        policy.risk_aversion,
        policy.threshold_bps,
        _constraints(scene, account, barred),
        portfolio.cash_flow.keep_usd,
        NANO if account.shares == "whole" else FRACTION,
    )


def _taxes(scene: Scene, account: Account) -> Taxes:
    """The household's year and rates; of a deferred account no sale is taxed. A loss carried over counts a year from now."""
    year, benefit = scene.seen.year, scene.day.settings.portfolio.harvest.benefit
    if account.is_deferred:
        return Taxes(Rates(ZERO, ZERO, ZERO, year.rates.loss_limit_usd), year.short_usd, year.long_usd, 0.0, 0.0)
    one_day = float(year.rates.long if benefit.later_rate is None else benefit.later_rate)
    carried = later_rate(float(min(year.rates.long, year.rates.ordinary)), 1, benefit.growth_rate)
    later = later_rate(one_day, benefit.horizon_years, benefit.growth_rate)
    return Taxes(year.rates, year.short_usd, year.long_usd, carried, later)


def _constraints(scene: Scene, account: Account, barred: Barred) -> dict[str, Constraint]:
    portfolio, names = scene.day.settings.portfolio, scene.model.securities
    since = scene.on - timedelta(days=wash_rules(scene.on, portfolio.law_policy).window_days)
    young = {lot.security_id for lot in _own(scene, account) if lot.acquired_on >= since}
    young |= {name for where, name in scene.washes if where == account.id}
    sold = {name for where, name in scene.locked.purchases if where == account.id}
    foreign = set(names) - set(account.can_hold) if account.can_hold else set()
    made: dict[str, Constraint] = {
        "max_tracking_error": TrackingErrorCap(scene.policy.max_tracking_error - scene.target.tracking_error),
        "wash windows": WashWindows(
            frozenset(sold), frozenset() if account.is_deferred else frozenset(young), portfolio.cautious_groups
        ),
        "do not buy": DoNotBuy(frozenset({*scene.locked.securities, *foreign, *barred.purchases})),
        "do not sell": DoNotSell(frozenset({*scene.locked.securities, *barred.sales})),
    }
    if scene.policy.min_trade_usd:
        made["min_trade_usd"] = MinimumTrade(float(scene.policy.min_trade_usd))
    if not account.reaches_any_lot:
        made["first in, first out"] = OldestOnly()
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
