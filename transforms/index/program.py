"""The convex core: one quadratic program with a cone, in sparse matrices, solved by Clarabel.

The problem. minimise, in basis points of the portfolio,

    aversion x (|y|^2 + |specific x active|^2)        tracking variance, y = exposures' x active
    + tax(short, long) - tax(so far) - later tax      by lot and term
    + spread x traded + impact x traded^2 + slack

over sales by lot and purchases by security. With the factors as variables of their own every row but those of the
factors is short, so that the work grows with the lots about linearly.

The choice. A year's tax is not convex in its short and long result: a long loss that has used up the long gains goes
against short ones, which are taxed higher, and the first dollar of a net loss is worth the ordinary rate, where the last
dollar of net gain saved the long one. It is convex on each of three pieces (`PIECES`); every piece that the sales could
reach is solved, and the best of them is the exact optimum. Nothing is lost here. The limit on losses is a convex kink.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import NamedTuple

import numpy as np
from scipy import sparse

from transforms.harvest.benefit import tax_on, unused
from transforms.index.constraints import TrackingErrorCap
from transforms.index.problem import BPS, Problem

Affine = tuple[float, float, float]  # of (net short, net long, 1), as fractions of the portfolio
CASH = "cash"


class Unsolved(Exception):
    """The solver found neither an optimum nor that there is none."""


class Piece(NamedTuple):
    """Where tax is convex: `within` <= 0 says where, and the tax is the largest of `tax`."""

    within: tuple[Affine, ...]
    tax: tuple[Affine, ...]


class Fixed(NamedTuple):
    """What the steps around the core have settled.

    Shape    no_sale (lots,), no_buy, least_sale and least_buy (securities,), the latter two in weights.
    Units    `tighter` is a fraction of the cap and a weight of cash, kept free for rounding.
    """

    no_sale: np.ndarray
    no_buy: np.ndarray
    least_sale: np.ndarray
    least_buy: np.ndarray
    tighter: float = 0.0


class Core(NamedTuple):
    """An optimum of the core.

    Shape    sold, sale_price (lots,), bought, buy_price (securities,).
    Units    weights; the prices are what one more unit of weight would cost, in basis points: below zero it is wanted.
             `variance_price` is the aversion to variance, that of the cap included, in basis points; `tax_rates` what the tax
             on one more dollar of short and of long gain is here.
    """

    objective_bps: float
    sold: np.ndarray
    bought: np.ndarray
    sale_price: np.ndarray
    buy_price: np.ndarray
    variance_price: float
    tax_rates: tuple[float, float]
    binding: dict[str, tuple[str, ...]]

    @property
    def prices(self) -> tuple[float, float, float]:
        """Of variance, of one more dollar of short and of long gain."""
        return self.variance_price, *self.tax_rates


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


def pieces(problem: Problem, no_sale: np.ndarray) -> list[Piece]:
    """The pieces on which a year's tax is convex, those only that sales of the other lots could reach.

    Law      26 USC 1211(b), 1222; the same tax as `transforms/harvest/benefit.py`, to which a test holds it.
    """
    rates, value = problem.taxes.rates, problem.value_usd
    short, long, ordinary, carried = *(float(rate) for rate in rates[:3]), problem.taxes.carried_rate
    limit = float(rates.loss_limit_usd) / value
    used: Affine = (ordinary, ordinary, 0.0)
    beyond: Affine = (carried, carried, -(ordinary - carried) * limit)
    gains = Piece(((0, -1, 0), (-1, -1, 0)), ((short, long, 0), (long, long, 0)))
    long_loss = Piece(((0, 1, 0),), ((short, short, 0), used, beyond))
    net_loss = Piece(((1, 1, 0),), (used, beyond))
    sold = np.where(no_sale, 0.0, problem.gain_rate * problem.lot_usd / value)
    is_long, net = problem.lots.is_long.astype(bool), float(problem.taxes.short_usd + problem.taxes.long_usd) / value
    longs = float(problem.taxes.long_usd) / value
    least_long, most_long = longs + sold[is_long & (sold < 0)].sum(), longs + sold[is_long & (sold > 0)].sum()
    least_net, most_net = net + sold[sold < 0].sum(), net + sold[sold > 0].sum()
    reached = [
        (gains, most_long >= 0 and most_net >= 0),
        (long_loss, least_long < 0 and (most_net > 0 or most_long < 0)),
        (net_loss, least_net < 0 and most_long >= 0),
    ]
    return [piece for piece, is_reached in reached if is_reached]


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
    paid = {"sales": sparse.csr_matrix(spread[lots.security] - 1), "buys": sparse.csr_matrix(1 + spread)}
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
        cone_to = np.concatenate([[cap], np.zeros(factors + count)])
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


def nothing_fixed(made: Program) -> Fixed:
    """Only what the constraints bar themselves."""
    count, size = len(made.problem.securities), len(made.problem.lots.lot_ids)
    no_sale, no_buy = np.zeros(size, bool), np.zeros(count, bool)
    for sales, buys in made.barred.values():
        no_sale, no_buy = no_sale | sales, no_buy | buys
    return Fixed(no_sale, no_buy, np.zeros(count), np.zeros(count))


def optimum(made: Program, piece: Piece, fixed: Fixed, idle: np.ndarray | None = None) -> Core | None:
    """The optimum on one piece of the tax; none when there is no plan at all.

    Errors   Unsolved when the solver gives up.

    `idle` are lots that nobody seems to want to sell: left out, and taken in again when their price says otherwise.
    """
    problem, start, width = made.problem, made.start, made.linear.size
    out = fixed.no_sale if idle is None else fixed.no_sale | idle
    if not _reaches(problem, piece, out):
        return None if idle is None else optimum(made, piece, fixed)
    sales, buys = np.arange(start["sales"], start["buys"]), np.arange(start["buys"], start["short"])
    weight = problem.lot_usd / problem.value_usd
    least = np.flatnonzero(fixed.least_sale)
    tax_rows, tax_to = _tax_rows(made, piece)
    sold_at_least = -_only(made.equal[least], start["sales"], start["buys"])
    body = sparse.vstack([made.equal, made.rows, tax_rows, sold_at_least], "csr")
    upper = made.upper - fixed.tighter * (np.arange(made.upper.size) == 0)
    to = np.concatenate([made.equal_to, upper, tax_to, -fixed.least_sale[least]])
    lower = np.concatenate([sales[~out], buys[~fixed.no_buy], np.arange(start["slack"], width)])
    floor = np.zeros(width)
    floor[buys] = fixed.least_buy
    rows = [body, _picked(lower, width, -1.0), _picked(sales[~out], width, 1.0)]
    right = [to, -floor[lower], weight[~out]]
    if made.cone is not None:
        rows.append(made.cone)
        right.append(made.cone_to * (1 - fixed.tighter))
    keep = np.ones(width, bool)
    keep[sales[out]] = keep[buys[fixed.no_buy]] = False
    answer = _solved(made, sparse.vstack(rows, "csc")[:, keep], np.concatenate(right), keep)
    if answer is None:
        return None if idle is None else optimum(made, piece, fixed)
    values, duals = np.zeros(width), answer[1]
    values[keep] = answer[0]
    price = made.linear + body.T @ duals[: body.shape[0]]  # without the duals of the bounds: what the bounds hold back
    if idle is not None and np.any(price[sales][idle & ~fixed.no_sale] < -1e-6):
        return optimum(made, piece, fixed)
    cap_dual = max(0.0, float(duals[-made.cone.shape[0]])) if made.cone is not None else 0.0
    on_variance = cap_dual / (2 * made.cone_to[0]) if cap_dual else 0.0
    of_short, of_long = (-duals[: made.equal.shape[0]][-2:] / BPS).tolist()
    core = Core(
        answer[2] + made.constant, np.clip(values[sales], 0, weight), np.maximum(values[buys], 0),
        price[sales], price[buys], problem.risk_aversion * BPS + on_variance, (of_short, of_long), {},
    )  # fmt: skip
    return core._replace(binding=_binding(made, core, duals[made.equal.shape[0] :], cap_dual))


def is_inside(problem: Problem, piece: Piece, core: Core) -> bool:
    """Whether the year's result after a plan lies inside a piece, off its borders."""
    gains, is_long = core.sold * problem.gain_rate, problem.lots.is_long.astype(bool)
    short, long = (
        float(so_far) / problem.value_usd + float(gains[mask].sum())
        for so_far, mask in ((problem.taxes.short_usd, ~is_long), (problem.taxes.long_usd, is_long))
    )
    return all(a * short + b * long + c < -1e-7 for a, b, c in piece.within)


def _tax_rows(made: Program, piece: Piece) -> tuple[sparse.csr_matrix, np.ndarray]:
    """Where the piece is, and that tax is no less than each of its lines; both from the year so far."""
    problem, start = made.problem, made.start
    lines = np.array([(*each, 0.0) for each in piece.within] + [(*each, -1.0) for each in piece.tax])
    so_far = np.array([float(problem.taxes.short_usd), float(problem.taxes.long_usd)]) / problem.value_usd
    to = -(lines[:, :2] @ so_far + lines[:, 2] + lines[:, 3] * year_tax(problem, 0.0, 0.0))
    columns = np.tile([start["short"], start["long"], start["tax"]], len(lines))
    at = (np.repeat(np.arange(len(lines)), 3), columns)
    return sparse.csr_matrix((lines[:, [0, 1, 3]].ravel(), at), (len(lines), made.linear.size)), to


def _reaches(problem: Problem, piece: Piece, out: np.ndarray) -> bool:
    """Whether sales of the lots that are not out could bring the year's result to a piece at all."""
    gains, is_long = problem.gain_rate * problem.lot_usd / problem.value_usd * ~out, problem.lots.is_long.astype(bool)
    so_far = (float(problem.taxes.short_usd) / problem.value_usd, float(problem.taxes.long_usd) / problem.value_usd)
    return all(
        a * so_far[0] + b * so_far[1] + c + np.minimum(0, np.where(is_long, b, a) * gains).sum() <= 1e-12
        for a, b, c in piece.within
    )


def _solved(
    made: Program, matrix: sparse.csc_matrix, right: np.ndarray, keep: np.ndarray
) -> tuple[np.ndarray, np.ndarray, float] | None:
    """Clarabel's values, duals and objective, on one thread: the same to the same problem, bit for bit. None: no plan.

    Close to what cannot be the solver may lose its way; it is asked again in percent and in basis points, then it is an error.
    """
    import clarabel

    settings = clarabel.DefaultSettings()
    settings.verbose, settings.max_threads, settings.direct_solve_method = False, 1, "qdldl"
    equal, cone = made.equal.shape[0], 0 if made.cone is None else made.cone.shape[0]
    cones = [clarabel.ZeroConeT(equal), clarabel.NonnegativeConeT(right.size - equal - cone)]
    cones += [clarabel.SecondOrderConeT(cone)] if cone else []
    for unit in (1.0, 100.0, BPS):
        quadratic = sparse.diags(made.quadratic[keep] / unit**2, format="csc")
        answer = clarabel.DefaultSolver(
            quadratic, made.linear[keep] / unit, matrix, right * unit, cones, settings
        ).solve()
        status = str(answer.status)
        if status == "Solved":
            return np.array(answer.x) / unit, np.array(answer.z), float(answer.obj_val)
        if status == "PrimalInfeasible":
            return None
    raise Unsolved(f"the solver stopped with {status} after {answer.iterations} iterations")


def tracking_cap(problem: Problem) -> float | None:
    """The cap on tracking error, if there is one; the tightest."""
    return min(
        (one.max_rate for one in problem.constraints.values() if isinstance(one, TrackingErrorCap)), default=None
    )


def year_tax(problem: Problem, short_usd: float, long_usd: float) -> float:
    """Tax on the year's results with these besides, less what the loss left over is worth, as a fraction of the portfolio."""
    taxes = problem.taxes
    short, long = taxes.short_usd + Decimal(short_usd), taxes.long_usd + Decimal(long_usd)
    left = float(unused(short, long, taxes.rates))
    return (float(tax_on(short, long, taxes.rates)) - left * taxes.carried_rate) / problem.value_usd


def breaches(made: Program, sold: np.ndarray, bought: np.ndarray, tolerance: float = 1e-9) -> Iterator[str]:
    """The hard constraints that a plan would breach; the names, with what of it."""
    after = after_rows(made, sold, bought)
    hard = ~soft_rows(made)
    for name, (begin, labels) in made.names.items():
        for offset, label in enumerate(labels):
            if hard[begin + offset] and after[begin + offset] > made.upper[begin + offset] + tolerance:
                yield f"{name} {label}".strip()
    cap = tracking_cap(made.problem)
    if cap is not None and tracking_error(made.problem, sold, bought) > cap * (1 + tolerance):
        yield next(name for name, one in made.problem.constraints.items() if isinstance(one, TrackingErrorCap))


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


def _binding(made: Program, core: Core, duals: np.ndarray, cap_dual: float) -> dict[str, tuple[str, ...]]:
    """What would be done otherwise: rows at their limit that have a price, and what is barred and wanted."""
    problem, binding = made.problem, {}
    tight = made.upper - after_rows(made, core.sold, core.bought) < 1e-6
    priced = (duals[: made.rows.shape[0]] > 1e-3) & tight
    for name, (begin, labels) in made.names.items():
        found = tuple(label for offset, label in enumerate(labels) if priced[begin + offset])
        if found:
            binding[name] = found
    for name, one in problem.constraints.items():
        if isinstance(one, TrackingErrorCap) and one.max_rate == tracking_cap(problem) and cap_dual > 1e-3:
            binding[name] = (f"{one.max_rate:.2%}",)
        sales, buys = made.barred[name]
        wanted = [problem.lots.lot_ids[at] for at in np.flatnonzero(sales & (core.sale_price < -1e-3))]
        wanted += [problem.securities[at] for at in np.flatnonzero(buys & (core.buy_price < -1e-3))]
        if wanted:
            binding[name] = (*binding.get(name, ()), *wanted)
    return binding


def _free_cash(problem: Problem) -> float:
    return float(problem.cash_usd - problem.cash_floor_usd) / problem.value_usd


def _picked(columns: np.ndarray, width: int, sign: float) -> sparse.csr_matrix:
    """A row for each of these columns."""
    return sparse.csr_matrix((np.full(columns.size, sign), (np.arange(columns.size), columns)), (columns.size, width))


def _only(rows: sparse.csr_matrix, begin: int, end: int) -> sparse.csr_matrix:
    """The rows with nothing outside these columns."""
    inside = np.zeros(rows.shape[1])
    inside[begin:end] = 1
    return sparse.csr_matrix(rows @ sparse.diags(inside))
