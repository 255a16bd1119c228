"""An optimum of the convex core on one piece of the tax, by Clarabel, with the prices of what is held back."""

from typing import NamedTuple

import numpy as np
from scipy import sparse

from transforms.index.problem import BPS
from transforms.index.program import Program, after_rows, tracking_cap
from transforms.index.tax_pieces import Piece, reaches, year_tax

IDLE = 10.0  # basis points a weight: a sale so much too dear is left out until its price says otherwise
Prices = tuple[float, float, float]  # of variance, of one more dollar of short and of long gain


class Unsolved(Exception):
    """The solver found neither an optimum nor that there is none."""


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
    def prices(self) -> Prices:
        return self.variance_price, *self.tax_rates


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
    if not reaches(problem, piece, out):
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
        return optimum(made, piece, fixed, idle & (price[sales] > IDLE))
    cap_dual = max(0.0, float(duals[-made.cone.shape[0]])) if made.cone is not None else 0.0
    on_variance = cap_dual / (2 * made.cone_to[0]) if cap_dual else 0.0
    of_short, of_long = (-duals[: made.equal.shape[0]][-2:] / BPS).tolist()
    core = Core(
        answer[2] + made.constant, np.clip(values[sales], 0, weight), np.maximum(values[buys], 0),
        price[sales], price[buys], problem.risk_aversion * BPS + on_variance, (of_short, of_long), {},
    )  # fmt: skip
    return core._replace(binding=_binding(made, core, duals[made.equal.shape[0] :], cap_dual))


def _tax_rows(made: Program, piece: Piece) -> tuple[sparse.csr_matrix, np.ndarray]:
    """Where the piece is, and that tax is no less than each of its lines; both from the year so far."""
    problem, start = made.problem, made.start
    lines = np.array([(*each, 0.0) for each in piece.within] + [(*each, -1.0) for each in piece.tax])
    so_far = np.array([float(problem.taxes.short_usd), float(problem.taxes.long_usd)]) / problem.value_usd
    to = -(lines[:, :2] @ so_far + lines[:, 2] + lines[:, 3] * year_tax(problem, 0.0, 0.0))
    columns = np.tile([start["short"], start["long"], start["tax"]], len(lines))
    at = (np.repeat(np.arange(len(lines)), 3), columns)
    return sparse.csr_matrix((lines[:, [0, 1, 3]].ravel(), at), (len(lines), made.linear.size)), to


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


def _binding(made: Program, core: Core, duals: np.ndarray, cap_dual: float) -> dict[str, tuple[str, ...]]:
    """What would be done otherwise: rows at their limit that have a price, and what is barred and wanted."""
    problem, binding = made.problem, {}
    tight = made.upper - after_rows(made, core.sold, core.bought) < 1e-6
    priced = (duals[: made.rows.shape[0]] > 1e-3) & tight
    for name, (begin, labels) in made.names.items():
        found = tuple(label for offset, label in enumerate(labels) if priced[begin + offset])
        if found:
            binding[name] = found
    if (cap := tracking_cap(problem)) is not None and cap_dual > 1e-3:
        binding[cap[0]] = (f"{cap[1]:.2%}",)
    for name, (sales, buys) in made.barred.items():
        wanted = [problem.lots.lot_ids[at] for at in np.flatnonzero(sales & (core.sale_price < -1e-3))]
        wanted += [problem.securities[at] for at in np.flatnonzero(buys & (core.buy_price < -1e-3))]
        if wanted:
            binding[name] = (*binding.get(name, ()), *wanted)
    return binding


def _picked(columns: np.ndarray, width: int, sign: float) -> sparse.csr_matrix:
    """A row for each of these columns."""
    return sparse.csr_matrix((np.full(columns.size, sign), (np.arange(columns.size), columns)), (columns.size, width))


def _only(rows: sparse.csr_matrix, begin: int, end: int) -> sparse.csr_matrix:
    """The rows with nothing outside these columns."""
    inside = np.zeros(rows.shape[1])
    inside[begin:end] = 1
    return sparse.csr_matrix(rows @ sparse.diags(inside))
