"""From weights to whole steps: nearest first, then repaired until every limit is kept (`repair.py`).

The problem. Rounding hundreds of orders to whole shares spends cash that is not there and moves the tracking error
across its cap.

The choice. Every order goes to the nearest step (a position that is closed is closed to the last fraction), and is none
where it would be worth less than an order may be. Single steps are then undone or added. A limit that stays breached is named.
"""

import numpy as np

from transforms.exact import NANO
from transforms.index.constraints import MinimumTrade
from transforms.index.core import Core, Fixed
from transforms.index.problem import Problem
from transforms.index.program import Program, breaches
from transforms.index.repair import Side, Whole, mended, whole_of
from transforms.index.sides import DUST

CENT_USD = 0.01  # what closes a position brings at least
GRAIN = 1e-6  # of the portfolio: a move is at least so much, where a step is next to nothing


def rounded(made: Program, core: Core, fixed: Fixed) -> tuple[Whole, tuple[str, ...]]:
    """The plan in whole steps, and the hard limits that it breaches all the same: none, as a rule."""
    problem = made.problem
    sides = _sides(made, core, fixed)
    amounts = np.array([_nearest(problem, core, side) for side in sides], np.int64)
    amounts = mended(made, sides, amounts)
    whole = whole_of(problem, sides, amounts)
    return whole, tuple(breaches(made, *whole.weights(problem)))


def _sides(made: Program, core: Core, fixed: Fixed) -> list[Side]:
    problem = made.problem
    lots, count, step = problem.lots, len(problem.securities), problem.step
    sold = np.bincount(lots.security, core.sold, count)
    held = np.zeros(count, np.int64)
    np.add.at(held, lots.security, lots.quantity)  # whole numbers: floats end at nine million shares
    smallest = [one.min_usd for one in problem.constraints.values() if isinstance(one, MinimumTrade)]
    least_usd = max([*smallest, float(problem.least_order_usd)])
    # within a security those first that the plan sold most fully: at an optimum at most one is sold in part
    part_left = 1 - core.sold / (problem.lot_usd / problem.value_usd)
    order = np.lexsort((np.arange(lots.security.size), core.sale_price, part_left.round(6), lots.security))
    group = made.group
    is_bought = np.bincount(group, (core.bought > DUST) & (core.bought >= sold), count) > 0
    # where a step ends a lot the next may be one at a loss that the core left alone
    washed = (problem.gain_rate < 0) & is_bought[group[lots.security]]
    order = order[~(fixed.no_sale | washed)[order]]
    begins = np.searchsorted(lots.security[order], np.arange(count + 1))
    sides = []
    for at in np.flatnonzero((sold > DUST) | (core.bought > DUST)):
        price = problem.prices_usd[at]
        least = -int(-least_usd * NANO // price)
        least = -(-least // step) * step
        unit = step * max(1, int(GRAIN * problem.value_usd / price * NANO) // step)
        if core.bought[at] >= sold[at]:
            sides.append(Side(int(at), 1, least, 2**62, unit, order[:0], order[:0]))
            continue
        mine = order[begins[at] : begins[at + 1]]
        ends = np.cumsum(lots.quantity[mine])
        most = int(ends[-1]) if mine.size else 0
        closes = most == held[at] and most * price >= CENT_USD * NANO
        if not closes:
            most -= most % step
        if closes or most >= max(least, 1):
            sides.append(Side(int(at), -1, min(least, most), most, unit, mine, ends))
    return sides


def _nearest(problem: Problem, core: Core, side: Side) -> int:
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
