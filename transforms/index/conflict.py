"""Why there is no plan: the constraints that cannot be kept together, and how far off the cap is."""

from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal

from transforms.index.constraints import TrackingErrorCap
from transforms.index.core import nothing_fixed, optimum
from transforms.index.problem import Problem
from transforms.index.program import CASH, program, tracking_cap, tracking_error
from transforms.index.tax_pieces import pieces

ERROR_ALONE = 1e6  # an aversion to variance beside which nothing else counts


def no_plan(problem: Problem, failures: Sequence[tuple[str, ...]]) -> tuple[tuple[str, ...], str]:
    """The constraints, and why in words; `failures` are what stopped the steps around a core that has a plan."""
    conflict = tuple(dict.fromkeys(name for names in failures for name in names)) or conflicting(problem)
    said = "no plan was found, though there may be one, that keeps" if failures else "no plan keeps together"
    reason = f"{said}: {', '.join(conflict)}"
    cap = tracking_cap(problem)
    if cap is not None and cap[0] in conflict and (least := least_error(problem)) is not None:
        reason += f"; the least tracking error within the others is {least:.3%}, the cap is {cap[1]:.3%}"
    return conflict, reason


def conflicting(problem: Problem) -> tuple[str, ...]:
    """The constraints that cannot be kept together; without any one of them there would be a plan.

    Order    as they are named in the problem; cash, which always counts, comes last.
    """
    kept = dict(problem.constraints)
    for name in list(kept):
        fewer = {other: one for other, one in kept.items() if other != name}
        if not _has_plan(replace(problem, constraints=fewer)):
            kept = fewer
    with_money = problem.cash_usd - Decimal(10) * Decimal(problem.value_usd)
    is_money = not kept or _has_plan(replace(problem, constraints=kept, cash_floor_usd=with_money))
    return (*kept, *((CASH,) if is_money else ()))


def least_error(problem: Problem) -> float | None:
    """The least tracking error that the other constraints leave; none where they leave no plan."""
    others = {name: one for name, one in problem.constraints.items() if not isinstance(one, TrackingErrorCap)}
    free = replace(problem, constraints=others, risk_aversion=ERROR_ALONE)
    made = program(free)
    fixed = nothing_fixed(made)
    found = [core for piece in pieces(free, fixed.no_sale) if (core := optimum(made, piece, fixed))]
    return min((tracking_error(free, core.sold, core.bought) for core in found), default=None)


def _has_plan(problem: Problem) -> bool:
    made = program(problem)
    fixed = nothing_fixed(made)
    return any(optimum(made, piece, fixed) for piece in pieces(problem, fixed.no_sale))
