"""The minimum trade: a smaller one is raised to it, or not made.

The problem. Which of many small trades are made is a choice of yes or no for each, and every one that is dropped leaves its money
and its risk to the others.

The choice. Those of at least half the minimum are raised, the others dropped, until none is too small. Where that breaches a
limit, once more and slower: the smallest quarter goes, the rest grows, and nothing is raised while there is one to drop.
"""

import numpy as np

from transforms.index.core import Core, Fixed, optimum
from transforms.index.program import Program
from transforms.index.sides import DUST, one_sided
from transforms.index.tax_pieces import Piece

SLOWLY = 0.25  # of those that are dropped: so many at a time


def large_enough(made: Program, piece: Piece, core: Core, fixed: Fixed, least: float) -> tuple[Core, Fixed] | None:
    """The plan with no trade below `least`, a weight, but for positions that are closed; none where no way leads there."""
    return _kept(made, piece, core, fixed, least, 1.0) or _kept(made, piece, core, fixed, least, SLOWLY)


def _kept(
    made: Program, piece: Piece, core: Core, fixed: Fixed, least: float, part: float
) -> tuple[Core, Fixed] | None:
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
        drops, drops_buy = small_sale & ~lifts, small_buy & ~lifts_buy
        if part < 1 and (drops.any() or drops_buy.any()):
            traded = np.where(drops, sold, core.bought)
            most = np.quantile(traded[drops | drops_buy], part, method="lower")
            drops, drops_buy = drops & (traded <= most), drops_buy & (traded <= most)
            lifts = lifts_buy = np.zeros(count, bool)
        tried = fixed._replace(
            no_sale=fixed.no_sale | drops[lots.security],
            no_buy=fixed.no_buy | drops_buy,
            least_sale=np.where(lifts, least, fixed.least_sale),
            least_buy=np.where(lifts_buy, least, fixed.least_buy),
        )
        found = optimum(made, piece, tried)
        found_sides = one_sided(made, piece, tried, found, found.prices) if found else None
        if found_sides is not None:
            core, fixed = found_sides
        elif raises_all:
            return None
        else:
            raises_all = True  # dropping them leaves no plan
