"""From weights to whole steps: nearest first, then repaired until every limit is kept.

The problem. Rounding hundreds of orders to whole shares spends cash that is not there and moves the tracking error
across its cap.

The choice. Every order goes to the nearest step (a position that is closed is closed to the last fraction). Then single
steps are undone or added: as long as a limit is breached, of the steps that mend at least half of what the best one
mends, the one that costs the objective least; then those that better it and breach nothing. Risk, rows and cash are exact in each
move; tax counts at the margin and exactly at the end. A limit that stays breached is named.
"""

from typing import NamedTuple

import numpy as np
from scipy import sparse

from transforms.exact import NANO
from transforms.index.constraints import MinimumTrade
from transforms.index.problem import BPS, Problem
from transforms.index.program import (
    Core,
    Fixed,
    Program,
    after_rows,
    breaches,
    soft_rows,
    tracking_cap,
    weights_after,
    year_tax,
)

DUST = 1e-7  # a weight that is none
MOVES, POLISH = 2_000, 100  # at most, to mend and to better
BETTER = 1e-6  # basis points: what a polishing move must better
GRAIN = 1e-6  # of the portfolio: a move is at least so much, where a step is next to nothing


class Whole(NamedTuple):
    """A plan in nano-shares.

    Shape    sold (lots,), bought (securities,).
    """

    sold: np.ndarray
    bought: np.ndarray

    def weights(self, problem: Problem) -> tuple[np.ndarray, np.ndarray]:
        """The same as fractions of the portfolio."""
        prices, value = problem.prices_usd, problem.value_usd
        return self.sold / NANO * prices[problem.lots.security] / value, self.bought / NANO * prices / value


class _Side(NamedTuple):
    """The orders that may be moved: security, +1 to buy or -1 to sell, and what bounds them. Units: nano-shares."""

    security: int
    sign: int
    least: int
    most: int
    unit: int
    lots: np.ndarray  # of a sale, in the order in which they are sold
    ends: np.ndarray  # and how much has been sold when each is gone


def rounded(made: Program, core: Core, fixed: Fixed) -> tuple[Whole, tuple[str, ...]]:
    """The plan in whole steps, and the hard limits that it breaches all the same: none, as a rule."""
    problem = made.problem
    sides = _sides(made, core, fixed)
    amounts = np.array([_nearest(problem, core, side) for side in sides], np.int64)
    amounts = _mended(made, sides, amounts)
    whole = _whole(problem, sides, amounts)
    return whole, tuple(breaches(made, *whole.weights(problem)))


def _sides(made: Program, core: Core, fixed: Fixed) -> list[_Side]:
    problem = made.problem
    lots, count, step = problem.lots, len(problem.securities), problem.step
    sold = np.bincount(lots.security, core.sold, count)
    held = np.bincount(lots.security, lots.quantity, count).astype(np.int64)
    smallest = max((one.min_usd for one in problem.constraints.values() if isinstance(one, MinimumTrade)), default=0.0)
    # within a security those first that the plan sold most fully: at an optimum at most one is sold in part
    part_left = 1 - core.sold / (problem.lot_usd / problem.value_usd)
    order = np.lexsort((np.arange(lots.security.size), core.sale_price, part_left.round(6), lots.security))
    order = order[~fixed.no_sale[order]]
    begins = np.searchsorted(lots.security[order], np.arange(count + 1))
    sides = []
    for at in np.flatnonzero((sold > DUST) | (core.bought > DUST)):
        price = problem.prices_usd[at]
        least = -int(-smallest * NANO // price) if smallest else 0
        least = -(-least // step) * step
        unit = step * max(1, int(GRAIN * problem.value_usd / price * NANO) // step)
        if core.bought[at] >= sold[at]:
            sides.append(_Side(int(at), 1, least, 2**62, unit, order[:0], order[:0]))
            continue
        mine = order[begins[at] : begins[at + 1]]
        ends = np.cumsum(lots.quantity[mine])
        most = int(ends[-1])
        if most < held[at]:
            most -= most % step
        sides.append(_Side(int(at), -1, min(least, most), most, unit, mine, ends))
    return sides


def _nearest(problem: Problem, core: Core, side: _Side) -> int:
    """The nearest amount that may be traded; nothing where that is nearer than the least."""
    at, step = side.security, problem.step
    weight = core.bought[at] if side.sign > 0 else core.sold[problem.lots.security == at].sum()
    meant = weight * problem.value_usd / problem.prices_usd[at] * NANO
    if side.sign < 0 and meant >= side.most * (1 - 1e-6):
        return side.most
    amount = min(int(meant / step + 0.5) * step, side.most)
    if amount < side.least:
        amount = side.least if meant >= side.least / 2 else 0
    return amount


def _whole(problem: Problem, sides: list[_Side], amounts: np.ndarray) -> Whole:
    sold = np.zeros(len(problem.lots.lot_ids), np.int64)
    bought = np.zeros(len(problem.securities), np.int64)
    for side, amount in zip(sides, amounts.tolist(), strict=True):
        if side.sign > 0:
            bought[side.security] = amount
        else:
            begins = side.ends - problem.lots.quantity[side.lots]
            sold[side.lots] = np.clip(amount - begins, 0, problem.lots.quantity[side.lots])
    return Whole(sold, bought)


def _mended(made: Program, sides: list[_Side], amounts: np.ndarray) -> np.ndarray:
    """Single steps until no limit is breached, then until none betters the objective."""
    if not sides:
        return amounts
    state = _State(made, sides, amounts)
    for _ in range(MOVES):
        if not state.breach() > 0 or not state.move(mends=True):
            break
    for _ in range(POLISH):
        if state.breach() > 0 or not state.move(mends=False):
            break
    return state.amounts


class _State:
    """A plan in steps with what each further step would change; the moves are all steps up, then all steps down."""

    def __init__(self, made: Program, sides: list[_Side], amounts: np.ndarray) -> None:
        self.sides, self.problem, problem = sides, made.problem, made.problem
        self.amounts = amounts.copy()
        self.security = np.array([side.security for side in sides])
        self.sign = np.tile([side.sign for side in sides], 2)
        self.to_weight = problem.prices_usd[self.security] / NANO / problem.value_usd
        sold, bought = _whole(problem, sides, self.amounts).weights(problem)
        self.active = weights_after(problem, sold, bought) - problem.target
        self.common = problem.risk.exposures.T @ self.active
        self.loadings = problem.risk.exposures[self.security]
        self.variance = (problem.risk.specific**2)[self.security]
        self.length = np.tile((self.loadings**2).sum(axis=1) + self.variance, 2)
        self.variance_now = float(self.common @ self.common + (problem.risk.specific**2 * self.active) @ self.active)
        self.cap = tracking_cap(problem)
        self.lot_cost = _lot_cost(problem, sold)
        self.spread = np.tile(problem.costs.half_spread_bps[self.security], 2)
        hard = np.flatnonzero(~soft_rows(made))
        self.room = (made.upper - after_rows(made, sold, bought))[hard]
        rows, start = made.rows.tocsc()[hard], made.start
        signed = rows[:, self.security] @ sparse.diags(self.sign[: len(sides)].astype(float))
        buys = rows[:, start["buys"] + self.security] @ sparse.diags((self.sign[: len(sides)] > 0).astype(float))
        self.of_order, self.of_sale = signed + buys, rows[:, start["sales"] : start["buys"]]
        self.steps, self.lot = np.zeros(2 * len(sides), np.int64), np.zeros(2 * len(sides), int)
        for at in range(len(sides)):
            self._look(at)
        self._weigh()

    def breach(self) -> float:
        """By how much all limits together are breached."""
        return float(self._over(np.array(self.variance_now)) + np.maximum(0, -self.room).sum())

    def move(self, *, mends: bool) -> bool:
        """Make the best move there is; False when there is none."""
        moved = np.tile(self.to_weight, 2) * self.steps
        change = moved * self.sign
        slope = np.tile(self.loadings @ self.common + self.variance * self.active[self.security], 2)
        variance = self.variance_now + 2 * change * slope + change**2 * self.length
        effect, room = self.effect.data * moved[self.column], self.room[self.effect.indices]
        beyond = np.bincount(self.column, np.maximum(0, effect - room) - np.maximum(0, -room), moved.size)
        over = beyond + self._over(variance) - self._over(np.array(self.variance_now))
        cost = self.cost * moved + self.problem.risk_aversion * BPS * (variance - self.variance_now)
        best = float(over.min())
        can = (self.steps != 0) & ((over <= min(best / 2, -1e-15)) if mends else (over <= 0) & (cost < -BETTER))
        if not can.any():
            return False
        move = int(np.flatnonzero(can)[np.argmin(cost[can])])
        at = move % len(self.sides)
        self.amounts[at] += self.steps[move]
        self.active[self.security[at]] += change[move]
        self.common = self.common + self.loadings[at] * change[move]
        self.variance_now = float(variance[move])
        mine = slice(self.effect.indptr[move], self.effect.indptr[move + 1])
        self.room[self.effect.indices[mine]] -= effect[mine]
        here = [at, at + len(self.sides)]
        before = self.lot[here]
        self._look(at)
        if any(not self._are_alike(*pair) for pair in zip(before.tolist(), self.lot[here].tolist(), strict=True)):
            self._weigh()
        elif self.sides[at].sign < 0:
            self.cost[here] = self.spread[here] + self.lot_cost[self.lot[here]]
        return True

    def _are_alike(self, lot: int, other: int) -> bool:
        """Whether two lots count the same in every row."""
        rows, one, two = self.of_sale, *(slice(*self.of_sale.indptr[each : each + 2]) for each in (lot, other))
        return np.array_equal(rows.indices[one], rows.indices[two]) and np.array_equal(rows.data[one], rows.data[two])

    def _over(self, variance: np.ndarray) -> np.ndarray:
        if self.cap is None:
            return np.zeros(variance.shape)
        return np.maximum(0, np.sqrt(np.maximum(variance, 0)) - self.cap)

    def _look(self, at: int) -> None:
        """The next step up and down of an order, and the lots that they take from."""
        side, amount, step = self.sides[at], int(self.amounts[at]), self.problem.step
        up, down = min(side.unit, side.most - amount), min(side.unit, amount)
        if amount == side.most and amount % step:
            down = amount % step  # a closed position opens by its fraction
        elif up % step and amount + up < side.most:
            up = 0
        up = up if amount + up >= side.least else 0
        down = down if amount - down >= side.least else 0
        self.steps[[at, at + len(self.sides)]] = up, -down
        if side.sign < 0:
            found = np.searchsorted(side.ends, [amount, max(0, amount - 1)], "right")
            self.lot[[at, at + len(self.sides)]] = side.lots[np.minimum(found, side.lots.size - 1)]

    def _weigh(self) -> None:
        """What a unit of each move does to the rows and, but for risk, to the objective."""
        spread = self.spread
        if not self.of_sale.shape[1]:
            self.effect, self.cost = sparse.hstack([self.of_order, self.of_order], "csc"), spread.copy()
        else:
            is_sale = (self.sign < 0).astype(float)
            sales = self.of_sale[:, self.lot] @ sparse.diags(is_sale)
            self.effect = (sparse.hstack([self.of_order, self.of_order], "csc") + sales).tocsc()
            self.cost = spread + self.lot_cost[self.lot] * is_sale
        self.column = np.repeat(np.arange(spread.size), np.diff(self.effect.indptr))


def _lot_cost(problem: Problem, sold: np.ndarray) -> np.ndarray:
    """Tax on one more weight sold of each lot, this year's at the margin and later, in basis points."""
    gains, is_long, value = sold * problem.gain_rate, problem.lots.is_long.astype(bool), problem.value_usd
    short, long = (float(gains[mask].sum()) * value for mask in (~is_long, is_long))
    little, base = max(1.0, GRAIN * value), year_tax(problem, short, long)
    of_short, of_long = (
        (year_tax(problem, short + more, long + little - more) - base) * value / little for more in (little, 0.0)
    )
    return (
        BPS * problem.gain_rate * (np.where(is_long, of_long, of_short) - problem.taxes.later_rate * problem.lots.taxed)
    )
