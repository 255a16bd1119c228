"""What an account should sell, lot by lot, and buy: risk, tax, cost and rules in one decision.

The problem. Tracking a target, harvesting losses, keeping gains and trading little pull against each other, lot by lot.
What can be weighed is weighed in one unit, basis points of the portfolio; what may not be done is a named constraint.

The choice. A convex core (`transforms/index/program.py`) and three steps around it for what is not convex:

  one side       a security is bought or sold, and where a lot is sold at a loss nothing identical is bought the same day
                 (26 USC 1091). The core sells and buys back at once; where it does, one side is barred: the purchase
                 when going without costs less in variance than the harvest is worth, else the sale. Decided again
                 at the prices that come out, as long as it gets better.
  minimum trade  a smaller trade is raised to the minimum, or not made, whichever is nearer.
  whole shares   `transforms/index/rounding.py`.

Each adds to the objective; how much is in `Solution.losses`, and their sum is the distance to a bound that no plan can
beat. So the plan may not be the best one, but it is known how far it can be off.

*Do nothing*, *buy only* and *full* are compared as they would be carried out, and the simplest stands until a
less simple one is better by the threshold. A plan that breaches a hard constraint is none: when there is no plan, the
smallest set of constraints that cannot be kept together is named.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import NamedTuple

import numpy as np

from transforms.exact import shares
from transforms.index.constraints import MinimumTrade, TrackingErrorCap, WashWindows
from transforms.index.problem import BPS, Costs, Lots, Problem, Taxes, later_rate
from transforms.index.program import (
    CASH,
    Core,
    Fixed,
    Piece,
    Program,
    after_rows,
    breaches,
    is_inside,
    nothing_fixed,
    optimum,
    pieces,
    program,
    soft_rows,
    tracking_cap,
    tracking_error,
    year_tax,
)
from transforms.index.rounding import Whole, rounded

__all__ = ["Costs", "Lots", "Problem", "Solution", "Taxes", "later_rate", "parts", "solve"]

DO_NOTHING, BUY_ONLY, FULL = CHOICES = ("do nothing", "buy only", "full")
STEPS = ("one side", "minimum trade", "whole shares")
TRIES, BETTER = 4, 0.1  # of deciding the sides, as long as one is better by so many basis points
IDLE = 10.0  # basis points a weight: a sale so much too dear is left out until its price says otherwise
Prices = tuple[float, float, float]  # of variance, of one more dollar of short and of long gain
DUST = 1e-7  # a weight that is none: what the solver leaves where nothing is traded


@dataclass(frozen=True)
class Solution:
    """What to do, why, and how good it can be said to be.

    Shape    sold (lots,) and bought (securities,) in nano-shares; sold_weight and bought_weight the same before rounding.
    Units    basis points of the portfolio; `objectives` by choice, of those that are possible; `losses` by step;
             bound_bps is below every plan's objective.
    """

    status: str  # optimal, or infeasible
    choice: str
    sold: np.ndarray
    bought: np.ndarray
    sold_weight: np.ndarray
    bought_weight: np.ndarray
    parts: dict[str, float] = field(default_factory=dict)
    objectives: dict[str, float] = field(default_factory=dict)
    losses: dict[str, float] = field(default_factory=dict)
    bound_bps: float = float("nan")
    tracking_error: float = float("nan")
    binding: dict[str, tuple[str, ...]] = field(default_factory=dict)
    conflict: tuple[str, ...] = ()
    reason: str = ""

    @property
    def objective_bps(self) -> float:
        return sum(self.parts.values()) if self.parts else float("nan")


class Order(NamedTuple):
    """One order to be. Units: shares; of a sale the lots that are meant."""

    side: str
    security_id: str
    quantity: Decimal
    lots: tuple[tuple[str, Decimal], ...]


class _Plan(NamedTuple):
    """A plan before and after rounding, and what it is worth after each step. Units: basis points."""

    core: Core
    whole: Whole
    relaxed: Core
    losses: dict[str, float]
    objective_bps: float


class _Settled(NamedTuple):
    """What the steps came to before rounding, and what it was worth after the first."""

    core: Core
    fixed: Fixed
    one_sided_bps: float


def solve(problem: Problem) -> Solution:
    """The best of doing nothing, only buying, and all.

    Order    deterministic: the same problem gives the same plan, bit for bit.
    Units    nano-shares; basis points of the portfolio's value.
    Errors   Unsolved when the solver gives up. That there is no plan is no error but a Solution that says so.
    Omits    purchases in other accounts the same day; impact in the cash that is left; tax paid out of this account.
    """
    made = program(problem)
    count, size = len(problem.securities), len(problem.lots.lot_ids)
    start = nothing_fixed(made)
    nothing = np.zeros(size), np.zeros(count)
    objectives, plans = {}, {}
    if not list(breaches(made, *nothing)):
        objectives[DO_NOTHING] = sum(parts(made, *nothing).values())
    failures: list[tuple[str, ...]] = []
    idle = None
    for choice, fixed in ((BUY_ONLY, start._replace(no_sale=np.ones(size, bool))), (FULL, start)):
        plan = _plan(made, fixed, failures, idle)
        if plan is not None:
            idle = plan.relaxed.sale_price > IDLE  # nobody would sell these, as it seems from here
            plans[choice], objectives[choice] = plan, plan.objective_bps
    if not objectives:
        return _none(problem, made, start, failures)
    choice = next(name for name in CHOICES if name in objectives)
    for name in CHOICES:
        if name in objectives and objectives[name] < objectives[choice] - problem.threshold_bps:
            choice = name
    if choice == DO_NOTHING:
        as_it_is, full = parts(made, *nothing), plans.get(FULL)
        none = np.zeros(size, np.int64), np.zeros(count, np.int64)
        bound = full.relaxed.objective_bps if full else objectives[choice]
        return Solution(
            "optimal", choice, *none, *nothing, as_it_is, objectives, {}, bound, tracking_error(problem, *nothing), {}, (),
            f"no plan is better by the threshold of {problem.threshold_bps:g} bps",
        )  # fmt: skip
    plan = plans[choice]
    whole = plan.whole
    return Solution(
        "optimal", choice, whole.sold, whole.bought, plan.core.sold, plan.core.bought,
        parts(made, *whole.weights(problem)), objectives, plan.losses, plan.relaxed.objective_bps,
        tracking_error(problem, *whole.weights(problem)), plan.core.binding, (), _said(objectives, choice),
    )  # fmt: skip


def orders(problem: Problem, solution: Solution) -> list[Order]:
    """The plan as orders: sales with their lots, then purchases."""
    lots, made = problem.lots, []
    for at, name in enumerate(problem.securities):
        picked = np.flatnonzero((lots.security == at) & (solution.sold > 0))
        if picked.size:
            quantity = shares(int(solution.sold[picked].sum()))
            picks = tuple((lots.lot_ids[lot], shares(int(solution.sold[lot]))) for lot in picked)
            made.append(Order("sell", name, quantity, picks))
    bought = np.flatnonzero(solution.bought)
    return made + [Order("buy", problem.securities[at], shares(int(solution.bought[at])), ()) for at in bought]


def parts(made: Program, sold: np.ndarray, bought: np.ndarray) -> dict[str, float]:
    """What the objective is made of, for any sales and purchases.

    Units    weights in; basis points out. `tax` is this year's with the worth of what is carried over, `later tax` what a
             sale today spares (a gain) or adds (a loss) one day.
    """
    problem = made.problem
    lots, value, costs = problem.lots, problem.value_usd, problem.costs
    gains, is_long = sold * problem.gain_rate, lots.is_long.astype(bool)
    short, long = (float(gains[mask].sum()) * value for mask in (~is_long, is_long))
    of_security = np.bincount(lots.security, sold, len(problem.securities))
    volume = np.where(costs.impact_bps > 0, costs.volume_usd, 1.0)
    over = np.maximum(0, after_rows(made, sold, bought) - made.upper)[soft_rows(made)]
    slack_prices = made.linear[made.start["slack"] :]
    return {
        "risk": problem.risk_aversion * BPS * tracking_error(problem, sold, bought) ** 2,
        "tax": BPS * (year_tax(problem, short, long) - year_tax(problem, 0.0, 0.0)),
        "later tax": -BPS * float((gains * lots.taxed).sum()) * problem.taxes.later_rate,
        "spread": float(costs.half_spread_bps @ (of_security + bought)),
        "impact": float(costs.impact_bps * value / volume @ (bought - of_security) ** 2),
        "slack": float(slack_prices @ over),
    }


def _plan(made: Program, fixed: Fixed, failures: list[tuple[str, ...]], idle: np.ndarray | None = None) -> _Plan | None:
    """The best plan over the pieces of the tax that these sales could reach; none when there is none.

    A failure is noted by the names of what stopped it.
    """
    relaxed: list[tuple[float, int, Core]] = []
    known = pieces(made.problem, fixed.no_sale)
    for at, piece in enumerate(known):
        if any(
            is_inside(made.problem, piece, core) and is_inside(made.problem, known[of], core) for _, of, core in relaxed
        ):
            continue  # an optimum inside both is the optimum of both
        if core := optimum(made, piece, fixed, idle):
            relaxed.append((core.objective_bps, at, core))
    if not relaxed:
        return None
    relaxed.sort(key=lambda found: found[:2])
    bound, best = relaxed[0][0], None
    for objective, at, core in relaxed:
        if best is not None and objective >= best.core.objective_bps - 1e-6:
            break  # no plan on this piece can be better, but for luck in rounding
        settled = _settled(made, known[at], fixed, core, failures)
        if settled is None:
            continue
        whole, settled = _whole(made, known[at], settled, failures)
        if whole is None:
            continue
        at_last = sum(parts(made, *whole.weights(made.problem)).values())
        after = (settled.one_sided_bps, settled.core.objective_bps, at_last)
        losses = dict(zip(STEPS, np.diff([bound, *after]).tolist(), strict=True))
        if best is None or at_last < best.objective_bps:
            best = _Plan(settled.core, whole, relaxed[0][2], losses, at_last)
    return best


def _whole(
    made: Program, piece: Piece, settled: _Settled, failures: list[tuple[str, ...]]
) -> tuple[Whole | None, _Settled]:
    """The plan in whole steps; where that breaches a limit, once more with a little of the cap and the cash kept free."""
    tighter, broken = 0.0, tuple[str, ...]()
    for _ in range(4):
        whole, broken = rounded(made, settled.core, settled.fixed)
        if not broken:
            return whole, settled
        tighter = 4 * tighter or 1e-4
        core = optimum(made, piece, settled.fixed._replace(tighter=tighter))
        if core is None:
            break
        settled = settled._replace(core=core)
    failures.append(("whole shares", *broken))
    return None, settled


# The steps around the core ----------------------------------------------------------------------------


def _settled(
    made: Program, piece: Piece, fixed: Fixed, relaxed: Core, failures: list[tuple[str, ...]]
) -> _Settled | None:
    """The sides decided, then the minimum trade kept."""
    best = _best_sides(made, piece, fixed, relaxed)
    if best is None:
        failures.append(("one side",))
        return None
    smallest = [one.min_usd for one in made.problem.constraints.values() if isinstance(one, MinimumTrade)]
    if not smallest:
        return _Settled(*best, best[0].objective_bps)
    large = _large_enough(made, piece, *best, max(smallest) / made.problem.value_usd)
    if large is None:
        failures.append(tuple(name for name, one in made.problem.constraints.items() if isinstance(one, MinimumTrade)))
        return None
    return _Settled(*large, best[0].objective_bps)


def _best_sides(made: Program, piece: Piece, fixed: Fixed, relaxed: Core) -> tuple[Core, Fixed] | None:
    """Sides decided at the relaxed plan's prices, then between those and the ones that came out, while it gets better."""
    prices: Prices | None = relaxed.prices
    best = None
    for tried in range(TRIES):
        found = _one_sided(made, piece, fixed, relaxed, prices)
        if found is None and tried == 0:
            found = _one_sided(made, piece, fixed, relaxed, None)
        if found is None or (best is not None and found[0].objective_bps > best[0].objective_bps - BETTER):
            return best if found is None or best is None or found[0].objective_bps > best[0].objective_bps else found
        best, came = found, found[0].prices
        if found[0] is relaxed:
            return best
        before = prices or relaxed.prices
        prices = (float(np.sqrt(before[0] * came[0])), (before[1] + came[1]) / 2, (before[2] + came[2]) / 2)
    return best


def _one_sided(
    made: Program, piece: Piece, fixed: Fixed, core: Core, prices: Prices | None
) -> tuple[Core, Fixed] | None:
    """Bar one side wherever both are traded; where that moves others to both sides, everyone keeps the side that it is on."""
    idle, is_first = core.sale_price > IDLE, True
    while (
        barred := _barred_sides(made, core, prices if is_first else core.prices, prices is None, not is_first)
    ) is not None:
        no_sale, no_buy = fixed.no_sale | barred[0], fixed.no_buy | barred[1]
        if np.any(no_buy & (fixed.least_buy > 0)):
            return None
        fixed, is_first = fixed._replace(no_sale=no_sale, no_buy=no_buy), False
        found = optimum(made, piece, fixed, idle)
        if found is None:
            return None
        core = found
    return core, fixed


def _barred_sides(
    made: Program, core: Core, prices: Prices | None, by_net: bool, all_settle: bool
) -> tuple[np.ndarray, np.ndarray] | None:
    """Which sales and purchases are barred where both stand against each other; none when they do nowhere.

    The estimate holds everything else still: without the purchase of b of a security of variance v the portfolio carries
    price x v x b^2 more, or gives up a part of the harvest instead; without the sales their worth is lost. `by_net`: each
    goes on in the direction in which it goes on balance, which changes no weight and so keeps every limit on weights.
    """
    problem = made.problem
    lots, count, group = problem.lots, len(problem.securities), groups(problem)
    of_lot = group[lots.security]
    is_loss, sold, bought = problem.gain_rate < 0, core.sold > DUST, core.bought > DUST

    def by_group(amounts: np.ndarray, index: np.ndarray) -> np.ndarray:
        return np.bincount(index, amounts, count)

    loss_is_sold = by_group(sold & is_loss, of_lot) > 0
    against = bought & ((by_group(sold, lots.security) > 0) | loss_is_sold[group])
    if not against.any():
        return None
    lots_against = sold & (against[lots.security] | (is_loss & (by_group(bought, group) > 0)[of_lot]))
    amount = by_group(core.sold * lots_against, of_lot)
    unmatched = np.maximum(0, amount - by_group(core.bought * against, group))
    keeps_sale = unmatched > 0
    if not by_net:
        variance, short, long = prices or core.prices
        dearer = np.where(lots.is_long, long - core.prices[2], short - core.prices[1])
        worth = np.maximum(0, -core.sale_price - BPS * problem.gain_rate * dearer) * core.sold * lots_against
        harvest, curve = by_group(worth, of_lot), variance * problem.risk.specific**2
        rate = np.divide(harvest, amount, out=np.zeros(count), where=amount > 0)[group]
        gap = np.divide(rate, 2 * curve, out=np.full(count, np.inf), where=curve > 0)  # that the harvest is worth
        left = np.minimum(core.bought, gap)
        no_buy_costs = by_group((curve * left**2 + rate * (core.bought - left)) * against, group)
        keeps_sale = no_buy_costs < harvest + by_group(curve * against, group) * unmatched**2
    is_open = by_group(against, group) > 0
    settles, keeps_sale = is_open | all_settle, keeps_sale & is_open
    no_buy = settles[group] & (keeps_sale[group] | ~bought)
    no_sale = (settles & ~keeps_sale)[of_lot] & (
        bought[lots.security] | (is_loss & (by_group(bought, group) > 0)[of_lot])
    )
    return no_sale, no_buy


def groups(problem: Problem) -> np.ndarray:
    """For each security the first one of its group of identical ones.

    Shape    (securities,).
    """
    identical: dict[str, str] = {}
    for one in problem.constraints.values():
        if isinstance(one, WashWindows):
            identical |= one.identical
    first: dict[str, int] = {}
    return np.array([first.setdefault(identical.get(name, name), at) for at, name in enumerate(problem.securities)])


def _large_enough(made: Program, piece: Piece, core: Core, fixed: Fixed, least: float) -> tuple[Core, Fixed] | None:
    """Raise trades to the minimum or drop them, whichever is nearer, until none is below it; and keep them one-sided."""
    problem = made.problem
    lots, count = problem.lots, len(problem.securities)
    weight = problem.lot_usd / problem.value_usd
    raises_all = False
    while True:
        sold = np.bincount(lots.security, core.sold, count)
        can = np.bincount(lots.security, weight * ~fixed.no_sale, count)
        closes = sold > problem.held - DUST
        small_sale = (sold > DUST) & (sold < least * (1 - 1e-6)) & ~closes
        small_buy = (core.bought > DUST) & (core.bought < least * (1 - 1e-6))
        if not (small_sale.any() or small_buy.any()):
            return core, fixed
        lifts = small_sale & (can >= least) & (raises_all | (sold >= least / 2))
        lifts_buy = small_buy & (raises_all | (core.bought >= least / 2))
        tried = fixed._replace(
            no_sale=fixed.no_sale | (small_sale & ~lifts)[lots.security],
            no_buy=fixed.no_buy | (small_buy & ~lifts_buy),
            least_sale=np.where(lifts, least, fixed.least_sale),
            least_buy=np.where(lifts_buy, least, fixed.least_buy),
        )
        found = optimum(made, piece, tried)
        found_sides = _one_sided(made, piece, tried, found, found.prices) if found else None
        if found_sides is not None:
            core, fixed = found_sides
        elif raises_all:
            return None
        else:
            raises_all = True  # dropping them leaves no plan


# No plan ----------------------------------------------------------------------------------------------


def _none(problem: Problem, made: Program, start: Fixed, failures: list[tuple[str, ...]]) -> Solution:
    """Which constraints cannot be kept together, and by how much the cap is out of reach."""
    none = np.zeros(len(problem.lots.lot_ids), np.int64), np.zeros(len(problem.securities), np.int64)
    nothing = none[0].astype(float), none[1].astype(float)
    if failures:
        conflict = tuple(dict.fromkeys(name for names in failures for name in names))
    else:
        conflict = conflicting(problem)
    said = "no plan was found, though there may be one, that keeps" if failures else "no plan keeps together"
    reason = f"{said}: {', '.join(conflict)}"
    cap = tracking_cap(problem)
    capped = {name for name, one in problem.constraints.items() if isinstance(one, TrackingErrorCap)}
    if cap is not None and capped & set(conflict) and (least := _least_error(problem)) is not None:
        reason += f"; the least tracking error within the others is {least:.3%}, the cap is {cap:.3%}"
    return Solution("infeasible", "", *none, *nothing, conflict=conflict, reason=reason)


def conflicting(problem: Problem) -> tuple[str, ...]:
    """The constraints that cannot be kept together; without any one of them there would be a plan.

    Order    as they are named in the problem; cash, which always counts, comes last.
    """
    kept = dict(problem.constraints)
    for name in list(kept):
        fewer = {other: one for other, one in kept.items() if other != name}
        if _is_impossible(problem, fewer):
            kept = fewer
    with_money = _changed(problem, kept, cash_floor_usd=problem.cash_usd - Decimal(10) * Decimal(problem.value_usd))
    return (*kept, *((CASH,) if not _has_none(with_money) or not kept else ()))


def _is_impossible(problem: Problem, constraints: Mapping[str, object]) -> bool:
    return _has_none(_changed(problem, constraints))


def _has_none(problem: Problem) -> bool:
    made = program(problem)
    fixed = nothing_fixed(made)
    return all(optimum(made, piece, fixed) is None for piece in pieces(problem, fixed.no_sale))


def _changed(problem: Problem, constraints: Mapping[str, object], **more: object) -> Problem:
    from dataclasses import replace

    return replace(problem, constraints=constraints, **more)  # type: ignore[arg-type]


def _least_error(problem: Problem) -> float | None:
    """The least tracking error that the other constraints leave."""
    others = {name: one for name, one in problem.constraints.items() if not isinstance(one, TrackingErrorCap)}
    free = _changed(problem, others, risk_aversion=1e6)
    made = program(free)
    fixed = nothing_fixed(made)
    found = [core for piece in pieces(free, fixed.no_sale) if (core := optimum(made, piece, fixed))]
    return min((tracking_error(free, core.sold, core.bought) for core in found), default=None)


def _said(objectives: Mapping[str, float], choice: str) -> str:
    others = [f"{name} {value:,.2f}" for name, value in objectives.items() if name != choice]
    return f"{choice} costs {objectives[choice]:,.2f} bps" + (f", against {', '.join(others)}" if others else "")
