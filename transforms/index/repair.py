"""A plan in whole steps, mended step by step until every limit is kept, then until nothing betters it.

The choice. As long as a limit is breached, of the steps that mend at least half of what the best one mends, the one that costs
the objective least; then those that better it and breach nothing. An order that is too small for one is made or dropped as a
whole. What a step does to risk, tax, cost, rows and cash is exact; bands that bend do not count.
"""

from typing import NamedTuple

import numpy as np
from scipy import sparse

from transforms.exact import NANO
from transforms.index.problem import BPS, Problem
from transforms.index.program import Program, after_rows, soft_rows, tracking_cap, weights_after
from transforms.index.tax_pieces import year_taxes

MOVES, POLISH = 2_000, 200  # at most, to mend and to better
BETTER = 1e-6  # basis points: what a polishing move must better
NO_LOTS, NO_PARTS = np.zeros(0, int), np.zeros(0)


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


class Side(NamedTuple):
    """The orders that may be moved: security, +1 to buy or -1 to sell, and what bounds them. Units: nano-shares."""

    security: int
    sign: int
    least: int
    most: int
    unit: int
    lots: np.ndarray  # of a sale, in the order in which they are sold
    ends: np.ndarray  # and how much has been sold when each is gone


def whole_of(problem: Problem, sides: list[Side], amounts: np.ndarray) -> Whole:
    sold = np.zeros(len(problem.lots.lot_ids), np.int64)
    bought = np.zeros(len(problem.securities), np.int64)
    for side, amount in zip(sides, amounts.tolist(), strict=True):
        if side.sign > 0:
            bought[side.security] = amount
        else:
            begins = side.ends - problem.lots.quantity[side.lots]
            sold[side.lots] = np.clip(amount - begins, 0, problem.lots.quantity[side.lots])
    return Whole(sold, bought)


def mended(made: Program, sides: list[Side], amounts: np.ndarray) -> np.ndarray:
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
    """A plan in steps with what each further step would change; the moves are all steps up, then all steps down.

    A step may take the end of one lot and the beginning of the next: `taken` are the lots of each, with the part of each.
    """

    def __init__(self, made: Program, sides: list[Side], amounts: np.ndarray) -> None:
        self.sides, self.problem, problem = sides, made.problem, made.problem
        self.amounts = amounts.copy()
        self.security = np.array([side.security for side in sides])
        self.sign = np.tile([side.sign for side in sides], 2)
        self.to_weight = problem.prices_usd[self.security] / NANO / problem.value_usd
        sold, bought = whole_of(problem, sides, self.amounts).weights(problem)
        self.active = weights_after(problem, sold, bought) - problem.target
        self.common = problem.risk.exposures.T @ self.active
        self.loadings = problem.risk.exposures[self.security]
        self.variance = (problem.risk.specific**2)[self.security]
        self.length = np.tile((self.loadings**2).sum(axis=1) + self.variance, 2)
        self.variance_now = float(self.common @ self.common + (problem.risk.specific**2 * self.active) @ self.active)
        cap = tracking_cap(problem)
        self.cap = None if cap is None else cap[1]
        gains, is_long = problem.gain_rate, problem.lots.is_long.astype(bool)
        later = -BPS * gains * problem.taxes.later_rate * problem.lots.taxed
        self.of_lot = np.stack([later, np.where(is_long, 0.0, gains), np.where(is_long, gains, 0.0)])
        self.result = self.of_lot[1:] @ sold  # short and long, so far in this plan
        costs = problem.costs
        self.spread = np.tile(costs.half_spread_bps[self.security], 2)
        volume = np.where(costs.impact_bps > 0, costs.volume_usd, 1.0)
        self.impact = np.tile((costs.impact_bps * problem.value_usd / volume)[self.security], 2)
        hard = np.flatnonzero(~soft_rows(made))
        self.room = (made.upper - after_rows(made, sold, bought))[hard]
        rows, start = made.rows.tocsc()[hard], made.start
        signed = rows[:, self.security] @ sparse.diags(self.sign[: len(sides)].astype(float))
        buys = rows[:, start["buys"] + self.security] @ sparse.diags((self.sign[: len(sides)] > 0).astype(float))
        self.of_order, self.of_sale = signed + buys, rows[:, start["sales"] : start["buys"]].tocsc()
        self.kind = _kinds(self.of_sale)
        self.steps = np.zeros(2 * len(sides), np.int64)
        self.taken: list[tuple[np.ndarray, np.ndarray]] = [(NO_LOTS, NO_PARTS)] * (2 * len(sides))
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
        tax = year_taxes(self.problem, *self.result) - year_taxes(
            self.problem, *(self.result[:, None] + self.gains * moved)
        )
        risk = self.problem.risk_aversion * (variance - self.variance_now)
        traded = np.tile(self.to_weight * self.amounts, 2)
        impact = self.impact * ((traded + moved) ** 2 - traded**2)
        cost = self.cost * moved + impact + BPS * (risk - tax)
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
        self.result = self.result + self.gains[:, move] * moved[move]
        mine = slice(self.effect.indptr[move], self.effect.indptr[move + 1])
        self.room[self.effect.indices[mine]] -= effect[mine]
        here = [at, at + len(self.sides)]
        before = [self._kinds_of(each) for each in here]
        self._look(at)
        if before != [self._kinds_of(each) for each in here]:
            self._weigh()
        else:
            for each in here:
                lots, part = self.taken[each]
                self.cost[each], self.gains[:, each] = self._priced(each, self.of_lot[:, lots] @ part)
        return True

    def _kinds_of(self, move: int) -> list[tuple[int, float]]:
        """What a move does to the rows by the lots that it takes: one kind of lot is alike in all parts."""
        lots, part = self.taken[move]
        kinds = self.kind[lots]
        if kinds.size and (kinds == kinds[0]).all():
            return [(int(kinds[0]), 1.0)]
        return list(zip(kinds.tolist(), part.tolist(), strict=True))

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
        if amount + up < side.least:
            up = side.least - amount
        if amount - down < side.least:
            down = amount
        self.steps[[at, at + len(self.sides)]] = up, -down
        if side.sign < 0:
            self.taken[at] = self._between(side, amount, amount + up)
            self.taken[at + len(self.sides)] = self._between(side, amount - down, amount)

    def _priced(self, moves: int | slice, of_lots: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """What a unit of weight costs without risk and this year's tax, and its short and long result."""
        return self.spread[moves] + of_lots[0], of_lots[1:]

    def _between(self, side: Side, low: int, high: int) -> tuple[np.ndarray, np.ndarray]:
        """The lots between two amounts sold, and which part of the shares between is each one's."""
        if low == high:
            return NO_LOTS, NO_PARTS
        first, last = np.searchsorted(side.ends, [low, high - 1], "right")
        lots, ends = side.lots[first : last + 1], np.minimum(side.ends[first : last + 1], high)
        return lots, np.diff(ends, prepend=low) / (high - low)

    def _weigh(self) -> None:
        """What a unit of each move does to the rows and, but for risk, to the objective."""
        moves = np.repeat(np.arange(len(self.taken)), [lots.size for lots, _ in self.taken])
        lots = np.concatenate([lots for lots, _ in self.taken])
        shape = self.of_sale.shape[1], len(self.taken)
        taken = sparse.csc_matrix((np.concatenate([part for _, part in self.taken]), (lots, moves)), shape)
        self.effect = (sparse.hstack([self.of_order, self.of_order], "csc") + self.of_sale @ taken).tocsc()
        self.cost, self.gains = self._priced(slice(None), self.of_lot @ taken)
        self.column = np.repeat(np.arange(len(self.taken)), np.diff(self.effect.indptr))


def _kinds(of_sale: sparse.csc_matrix) -> np.ndarray:
    """A number for every lot, the same for those that count the same in every row."""
    seen: dict[bytes, int] = {}
    pointers, rows, values = of_sale.indptr, of_sale.indices, of_sale.data
    columns = [slice(*pointers[at : at + 2]) for at in range(of_sale.shape[1])]
    return np.array([seen.setdefault(rows[at].tobytes() + values[at].tobytes(), len(seen)) for at in columns], int)
