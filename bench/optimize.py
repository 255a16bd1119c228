"""The optimizer, timed in a process of its own: `python -m bench.optimize SECURITIES LOTS [plain]`; a line of JSON.

An account made up by a seed: a market and nineteen more factors, target weights as uneven as a capitalisation-weighted index's,
lots of five years, a third of them at a loss; every 17th security was bought lately, every 23rd sold at a loss. The year
has gains of both terms. Capped tracking error, taxes by lot, wash windows, whole shares.

Ours is the whole decision: do nothing, buy only and full, sides, whole shares. `plain` is the convex core alone, said in cvxpy
with the year's gains and losses each taxed at their own rate; our core on the same region is beside it.
"""

import gc
import json
import resource
import sys
from decimal import Decimal

import numpy as np

from bench.figures import RSS_UNIT, own_use
from transforms.exact import NANO
from transforms.harvest.benefit import Rates
from transforms.index.constraints import TrackingErrorCap, WashWindows
from transforms.index.core import nothing_fixed, optimum
from transforms.index.optimizer import solve
from transforms.index.problem import BPS, Costs, Lots, Problem, Taxes, later_rate
from transforms.index.program import program
from transforms.index.risk_model import RiskModel
from transforms.index.tax_pieces import pieces

FACTORS, ROUNDS, CAP = 20, 3, 0.01
VALUE_USD = 2_000  # a security: small accounts are not asked to hold thousands


def problem(securities: int, lots: int) -> Problem:
    draw = np.random.default_rng(securities)
    names = tuple(f"S{at:04}" for at in range(securities))
    exposures = np.column_stack([np.full(securities, 0.16), draw.normal(0, 0.04, (securities, FACTORS - 1))])
    target = draw.pareto(1.2, securities) + 0.1
    target *= 0.98 / target.sum()
    prices = draw.uniform(10, 500, securities).round(2)
    security = np.sort(np.concatenate([np.arange(securities), draw.integers(0, securities, lots - securities)]))
    value = VALUE_USD * securities
    usd = target[security] * value / np.bincount(security)[security] * draw.uniform(0.7, 1.3, lots)
    quantity = np.maximum(1, (usd / prices[security] * 10_000).astype(np.int64)) * (NANO // 10_000)
    days = draw.integers(1, 2000, lots)
    basis = prices[security] * np.exp(draw.normal(-0.15, 0.3, lots))
    held = Lots(
        tuple(f"L{at}" for at in range(lots)), security, quantity, basis, days > 365, days, np.maximum(0, 366 - days),
        np.ones(lots),
    )  # fmt: skip
    rates = Rates(Decimal("0.408"), Decimal("0.238"), Decimal("0.37"), Decimal(3000))
    year = Taxes(rates, Decimal(value) / 125, Decimal(value) / 80, 0.15, later_rate(0.238, 10, 0.05))
    costs = Costs(np.full(securities, 2.0), np.zeros(securities), np.full(securities, np.inf))
    wash = WashWindows(frozenset(names[5::23]), frozenset(names[::17]))
    return Problem(
        names, prices, target, held, Decimal(value // 50), RiskModel(names, exposures, draw.uniform(0.15, 0.4, securities)), year,
        costs, 10.0, 1.0, {"tracking error": TrackingErrorCap(CAP), "wash windows": wash},
    )  # fmt: skip


def plain(asked: Problem) -> float:
    """The core said in cvxpy, with the year's gains and losses each taxed at their own rate, which is where small losses end.

    Returns the optimum in basis points.
    """
    import cvxpy as cp

    made = program(asked)
    fixed = nothing_fixed(made)
    sold, bought = cp.Variable(len(asked.lots.lot_ids), nonneg=True), cp.Variable(len(asked.securities), nonneg=True)
    owned = made.equal[: len(asked.securities), made.start["sales"] : made.start["buys"]]
    active = asked.held - owned @ sold + bought - asked.target
    risk = cp.hstack([asked.risk.exposures.T @ active, cp.multiply(asked.risk.specific, active)])
    spread = asked.costs.half_spread_bps / BPS
    gains, is_long = cp.multiply(sold, asked.gain_rate), asked.lots.is_long.astype(float)
    rates, value = [float(rate) for rate in asked.taxes.rates[:2]], asked.value_usd
    short, long = gains @ (1 - is_long), gains @ is_long
    tax = rates[0] * short + rates[1] * long - asked.taxes.later_rate * cp.sum(gains)
    cost = spread @ (owned @ sold + bought)
    rules = [
        sold <= asked.lot_usd / value, cp.norm(risk) <= CAP, sold[fixed.no_sale] == 0, bought[fixed.no_buy] == 0,
        float(asked.cash_usd) / value + (1 - spread[asked.lots.security]) @ sold >= (1 + spread) @ bought,
        short >= -float(asked.taxes.short_usd) / value, long >= -float(asked.taxes.long_usd) / value,
    ]  # fmt: skip
    stated = cp.Problem(cp.Minimize(BPS * (asked.risk_aversion * cp.sum_squares(risk) + tax + cost)), rules)
    stated.solve(solver="CLARABEL")
    return float(stated.value)


def ours(asked: Problem) -> float:
    """The same region, ours."""
    made = program(asked)
    fixed = nothing_fixed(made)
    core = optimum(made, pieces(asked, fixed.no_sale)[0]._replace(within=((0, -1, 0), (-1, 0, 0))), fixed)
    return core.objective_bps if core else float("nan")


def main(securities: int, lots: int, *, is_plain: bool) -> None:
    asked = problem(securities, lots)
    _ = plain(problem(20, 60)) if is_plain else solve(problem(20, 60))  # libraries loaded
    took = []
    gc.collect()
    gc.freeze()
    for _ in range(1 if is_plain else ROUNDS):
        before = own_use()
        if is_plain:
            found: dict[str, float] = {"plain bps": plain(asked)}
        else:
            plan = solve(asked)
            worth = {"objective": plan.objective_bps, "bound": plan.bound_bps, **plan.losses}
            found = {**worth, "tracking error": plan.tracking_error}
        took.append([after - earlier for after, earlier in zip(own_use(), before, strict=True)])
    if is_plain:
        found["core bps"] = ours(asked)
    else:  # the core by itself
        made = program(asked)
        fixed = nothing_fixed(made)
        before = own_use()
        optimum(made, pieces(asked, fixed.no_sale)[0], fixed)
        found["core ms"] = (own_use()[1] - before[1]) * 1000
    seconds, user, system = min(took)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * RSS_UNIT
    print(json.dumps({"seconds": seconds, "user": user, "system": system, "memory": memory, "parts": found}))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), is_plain=sys.argv[3:] == ["plain"])
