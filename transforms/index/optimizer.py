"""What an account should sell, lot by lot, and buy: risk, tax, cost and rules in one decision.

The problem. Tracking a target, harvesting losses, keeping gains and trading little pull against each other, lot by lot.
What can be weighed is weighed in one unit, basis points of the portfolio; what may not be done is a named constraint.

The choice. A convex core (`program.py` says it, `core.py` solves it) on each piece of the year's tax (`tax_pieces.py`), and three
steps around it for what is not convex: one side (`sides.py`), the minimum trade (`minimum_trade.py`), whole shares (`rounding.py`).
Each adds to the objective; how much is in `Solution.losses`, and their sum is the distance to a bound that no plan can
beat. So the plan may not be the best one, but it is known how far it can be off.

*Do nothing*, *buy only* and *full* are compared as they would be carried out, and the simplest stands until a
less simple one is better by the threshold; what that leaves undone is a loss too, by the name of choice. A plan that breaches
a hard constraint is none: when there is no plan, the smallest set of constraints that cannot be kept together is named.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import NamedTuple

import numpy as np

from transforms.exact import shares
from transforms.index.conflict import no_plan
from transforms.index.constraints import MinimumTrade
from transforms.index.core import IDLE, Core, Fixed, nothing_fixed, optimum
from transforms.index.minimum_trade import large_enough
from transforms.index.problem import Problem
from transforms.index.program import Program, breaches, parts, program, tracking_error
from transforms.index.repair import Whole
from transforms.index.rounding import rounded
from transforms.index.sides import best_sides
from transforms.index.tax_pieces import Piece, is_inside, pieces

DO_NOTHING, BUY_ONLY, FULL = CHOICES = ("do nothing", "buy only", "full")
STEPS = ("one side", "minimum trade", "whole shares")


@dataclass(frozen=True)
class Solution:
    """What to do, why, and how good it can be said to be.

    Shape    sold (lots,) and bought (securities,) in nano-shares; sold_weight and bought_weight the same before rounding.
    Units    basis points of the portfolio; `objectives` by choice, of those that are possible; `losses` by step;
             bound_bps is below every plan's objective, no number where no full plan was found.
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


class _Relaxed(NamedTuple):
    """An optimum of the core on a piece of the tax."""

    piece: Piece
    core: Core

    @property
    def bps(self) -> float:
        return self.core.objective_bps


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
    no_sale = start._replace(no_sale=np.ones(size, bool))
    buying = _relaxed(made, no_sale)
    idle = buying[0].core.sale_price > IDLE if buying else None  # nobody would sell these, as it seems from here
    for choice, fixed, found in ((FULL, start, _relaxed(made, start, idle)), (BUY_ONLY, no_sale, buying)):
        if FULL in plans and all(objectives[FULL] < one.bps - problem.threshold_bps for one in found):
            continue  # however it were carried out
        plan = _plan(made, fixed, found, failures)
        if plan is not None:
            plans[choice], objectives[choice] = plan, plan.objective_bps
    if not objectives:
        none = np.zeros(size, np.int64), np.zeros(count, np.int64)
        conflict, reason = no_plan(problem, failures)
        return Solution("infeasible", "", *none, *nothing, conflict=conflict, reason=reason)
    choice = next(name for name in CHOICES if name in objectives)
    for name in CHOICES:
        if name in objectives and objectives[name] < objectives[choice] - problem.threshold_bps:
            choice = name
    bound = plans[FULL].relaxed.objective_bps if FULL in plans else float("nan")
    if choice == DO_NOTHING:
        as_it_is = parts(made, *nothing)
        none = np.zeros(size, np.int64), np.zeros(count, np.int64)
        return Solution(
            "optimal", choice, *none, *nothing, as_it_is, objectives, {"choice": objectives[choice] - bound}, bound,
            tracking_error(problem, *nothing), {}, (), f"no plan is better by the threshold of {problem.threshold_bps:g} bps",
        )  # fmt: skip
    plan = plans[choice]
    whole = plan.whole
    losses = {"choice": plan.relaxed.objective_bps - bound, **plan.losses}
    return Solution(
        "optimal", choice, whole.sold, whole.bought, plan.core.sold, plan.core.bought,
        parts(made, *whole.weights(problem)), objectives, losses, bound,
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


def _relaxed(made: Program, fixed: Fixed, idle: np.ndarray | None = None) -> list[_Relaxed]:
    """The optima over the pieces of the tax that these sales could reach, the best first; none when there is none."""
    found: list[_Relaxed] = []
    for piece in pieces(made.problem, fixed.no_sale):
        if any(all(is_inside(made.problem, each, one.core.sold) for each in (piece, one.piece)) for one in found):
            continue  # an optimum inside both is the optimum of both
        if core := optimum(made, piece, fixed, idle):
            found.append(_Relaxed(piece, core))
            idle = core.sale_price > IDLE
    return sorted(found, key=lambda one: one.bps)


def _plan(made: Program, fixed: Fixed, relaxed: list[_Relaxed], failures: list[tuple[str, ...]]) -> _Plan | None:
    """The best plan from the optima of the core; none when there is none.

    A failure is noted by the names of what stopped it.
    """
    best = None
    for one in relaxed:
        if best is not None and one.bps >= best.core.objective_bps - 1e-6:
            break  # no plan on this piece can be better, but for luck in rounding
        settled = _settled(made, one.piece, fixed, one.core, failures)
        if settled is None:
            continue
        whole, settled = _whole(made, one.piece, settled, failures)
        if whole is None:
            continue
        at_last = sum(parts(made, *whole.weights(made.problem)).values())
        after = (settled.one_sided_bps, settled.core.objective_bps, at_last)
        losses = dict(zip(STEPS, np.diff([relaxed[0].bps, *after]).tolist(), strict=True))
        if best is None or at_last < best.objective_bps:
            best = _Plan(settled.core, whole, relaxed[0].core, losses, at_last)
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


def _settled(
    made: Program, piece: Piece, fixed: Fixed, relaxed: Core, failures: list[tuple[str, ...]]
) -> _Settled | None:
    """The sides decided, then the minimum trade kept."""
    best = best_sides(made, piece, fixed, relaxed)
    if best is None:
        failures.append(("one side",))
        return None
    smallest = [one.min_usd for one in made.problem.constraints.values() if isinstance(one, MinimumTrade)]
    if not smallest:
        return _Settled(*best, best[0].objective_bps)
    large = large_enough(made, piece, *best, max(smallest) / made.problem.value_usd)
    if large is None:
        failures.append(tuple(name for name, one in made.problem.constraints.items() if isinstance(one, MinimumTrade)))
        return None
    return _Settled(*large, best[0].objective_bps)


def _said(objectives: Mapping[str, float], choice: str) -> str:
    others = [f"{name} {value:,.2f}" for name, value in objectives.items() if name != choice]
    against = f", against {', '.join(others)}" if others else ""
    breach = "" if DO_NOTHING in objectives else "; doing nothing would breach a limit"
    return f"{choice}: {objectives[choice]:,.2f} bps of risk, tax and cost{against}{breach}"
