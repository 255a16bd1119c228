"""The matrices of the convex core: one quadratic program with a cone, which `core.py` solves.

The problem. minimise, in basis points of the portfolio,

    aversion x (|y|^2 + |specific x active|^2)        tracking variance, y = exposures' x active
    + tax(short, long) - tax(so far) - later tax      by lot and term
    + spread x traded + impact x traded^2 + slack

over sales by lot and purchases by security.

The choice. With the factors as variables of their own every row but those of the factors is short, so that the work grows
with the lots about linearly.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import sparse

from transforms.index.constraints import TrackingErrorCap, WashWindows
from transforms.index.problem import BPS, Problem
from transforms.index.tax_pieces import year_tax

CASH = "cash"


@dataclass(frozen=True)
class Program:
    """Matrices that all solves of a problem share. Columns: active weights, factors, sales, buys, short, long, tax, slack.

    All are changes, from the target, from no trade and from the year so far: what is small stays small in the solver.
    """

    problem: Problem
    equal: sparse.csr_matrix
    equal_to: np.ndarray
    rows: sparse.csr_matrix
    upper: np.ndarray
    names: dict[str, tuple[int, tuple[str, ...]]]  # where a constraint's rows begin, and what they are
    cone: sparse.csr_matrix | None
    cone_to: np.ndarray
    quadratic: np.ndarray
    linear: np.ndarray
    constant: float
    barred: dict[str, tuple[np.ndarray, np.ndarray]]
    start: dict[str, int]

    @cached_property
    def group(self) -> np.ndarray:
        """For each security the first one of its group of identical ones.

        Shape    (securities,).
        """
        identical: dict[str, str] = {}
        for one in self.problem.constraints.values():
            if isinstance(one, WashWindows):
                identical |= one.identical
        first: dict[str, int] = {}
        names = enumerate(self.problem.securities)
        return np.array([first.setdefault(identical.get(name, name), at) for at, name in names])


def program(problem: Problem) -> Program:
    """The matrices of a problem."""
    count, size, factors = len(problem.securities), len(problem.lots.lot_ids), problem.risk.exposures.shape[1]
    found = {name: rows for name, one in problem.constraints.items() if (rows := one.rows(problem)) is not None}
    soft = [(name, rows) for name, rows in found.items() if rows.slack_rate is not None]
    widths = {"active": count, "factors": factors, "sales": size, "buys": count, "short": 1, "long": 1, "tax": 1,
              "slack": sum(len(rows.labels) for _, rows in soft)}  # fmt: skip
    start, width = {}, 0
    for name, each in widths.items():
        start[name], width = width, width + each

    def at(height: int, **blocks: sparse.spmatrix | None) -> sparse.csr_matrix:
        """Rows of the whole width with these blocks in their columns."""
        made = [
            block if (block := blocks.get(name)) is not None else sparse.csr_matrix((height, each))
            for name, each in widths.items()
        ]
        return sparse.hstack(made, "csr")

    lots, one, every = problem.lots, sparse.csr_matrix([[1.0]]), sparse.identity(count, format="csr")
    per_security = sparse.csr_matrix((np.ones(size), (lots.security, np.arange(size))), (count, size))
    is_long, gain = lots.is_long.astype(bool), problem.gain_rate
    exposures = sparse.csr_matrix(problem.risk.exposures.T)
    equal = sparse.vstack(
        [
            at(count, active=every, sales=per_security, buys=-every),
            at(factors, active=-exposures, factors=sparse.identity(factors, format="csr")),
            at(1, sales=sparse.csr_matrix(-gain * ~is_long), short=one),
            at(1, sales=sparse.csr_matrix(-gain * is_long), long=one),
        ],
        "csr",
    )
    equal_to = np.concatenate([problem.held - problem.target, np.zeros(factors + 2)])

    spread = problem.costs.half_spread_bps / BPS
    paid = {
        "sales": sparse.csr_matrix(spread[lots.security] - 1),
        "buys": sparse.csr_matrix(1 + spread + problem.cushion_rate),
    }
    table, upper = [at(1, **paid)], [np.array([_free_cash(problem)])]
    names: dict[str, tuple[int, tuple[str, ...]]] = {CASH: (0, ("",))}
    height, slack_at, slack_cost = 1, 0, np.zeros(widths["slack"])
    for name, each in found.items():
        here = len(each.labels)
        slack = None
        if each.slack_rate is not None:
            shape = (here, widths["slack"])
            slack = sparse.csr_matrix((-np.ones(here), (np.arange(here), slack_at + np.arange(here))), shape)
            slack_cost[slack_at : slack_at + here] = each.slack_rate * BPS
            slack_at += here
        table.append(at(here, active=each.weights, sales=each.sales, buys=each.buys, slack=slack))
        upper.append(each.upper)
        names[name] = (height, each.labels)
        height += here

    quadratic, linear, constant = _costs(problem, start, width, slack_cost)
    cone, cone_to = None, np.zeros(0)
    if (cap := tracking_cap(problem)) is not None:
        own = sparse.diags(problem.risk.specific)
        cone = -sparse.vstack([at(1), at(factors, factors=sparse.identity(factors)), at(count, active=own)], "csr")
        cone_to = np.concatenate([[cap[1]], np.zeros(factors + count)])
    barred = {name: (one.barred_sales(problem), one.barred_buys(problem)) for name, one in problem.constraints.items()}
    return Program(
        problem, equal, equal_to, sparse.vstack(table, "csr"), np.concatenate(upper), names, cone, cone_to, quadratic, linear,
        constant, barred, start,
    )  # fmt: skip


def _costs(
    problem: Problem, start: Mapping[str, int], width: int, slack_cost: np.ndarray
) -> tuple[np.ndarray, np.ndarray, float]:
    """The objective: its squares, its lines, and what is there without any trade, in basis points."""
    lots, count = problem.lots, len(problem.securities)
    specific, aversion = problem.risk.specific, problem.risk_aversion * BPS
    volume = np.where(problem.costs.impact_bps > 0, problem.costs.volume_usd, 1.0)
    impact = problem.costs.impact_bps * problem.value_usd / volume
    from_held = problem.target - problem.held
    quadratic, linear = np.zeros(width), np.zeros(width)
    quadratic[:count] = 2 * (aversion * specific**2 + impact)
    linear[:count] = 2 * impact * from_held
    quadratic[start["factors"] : start["sales"]] = 2 * aversion
    spread = problem.costs.half_spread_bps
    later = BPS * problem.gain_rate * problem.taxes.later_rate * lots.taxed
    linear[start["sales"] : start["buys"]] = spread[lots.security] - later
    linear[start["buys"] : start["short"]] = spread
    linear[start["tax"]] = BPS
    linear[start["slack"] :] = slack_cost
    return quadratic, linear, float(impact @ from_held**2)


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


def tracking_cap(problem: Problem) -> tuple[str, float] | None:
    """The tightest cap on tracking error by its name, if there is one."""
    caps = [(name, one.max_rate) for name, one in problem.constraints.items() if isinstance(one, TrackingErrorCap)]
    return min(caps, key=lambda cap: cap[1], default=None)


def breaches(made: Program, sold: np.ndarray, bought: np.ndarray, tolerance: float = 1e-9) -> Iterator[str]:
    """The hard constraints that a plan would breach; the names, with what of it."""
    after = after_rows(made, sold, bought)
    hard = ~soft_rows(made)
    for name, (begin, labels) in made.names.items():
        for offset, label in enumerate(labels):
            if hard[begin + offset] and after[begin + offset] > made.upper[begin + offset] + tolerance:
                yield f"{name} {label}".strip()
    cap = tracking_cap(made.problem)
    if cap is not None and tracking_error(made.problem, sold, bought) > cap[1] * (1 + tolerance):
        yield cap[0]


def after_rows(made: Program, sold: np.ndarray, bought: np.ndarray) -> np.ndarray:
    """The left sides of all rows, without slack."""
    values = np.zeros(made.linear.size)
    start = made.start
    values[: len(made.problem.securities)] = weights_after(made.problem, sold, bought) - made.problem.target
    values[start["sales"] : start["buys"]], values[start["buys"] : start["short"]] = sold, bought
    return made.rows @ values


def soft_rows(made: Program) -> np.ndarray:
    """Which rows bend."""
    return np.asarray(abs(made.rows[:, made.start["slack"] :]).sum(axis=1)).ravel() > 0


def weights_after(problem: Problem, sold: np.ndarray, bought: np.ndarray) -> np.ndarray:
    return problem.held - np.bincount(problem.lots.security, sold, len(problem.securities)) + bought


def tracking_error(problem: Problem, sold: np.ndarray, bought: np.ndarray) -> float:
    return problem.risk.tracking_error(weights_after(problem, sold, bought) - problem.target)


def _free_cash(problem: Problem) -> float:
    return float(problem.cash_usd - problem.cash_floor_usd) / problem.value_usd
