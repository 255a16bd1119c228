"""One side: a security is bought or sold, and where a lot is sold at a loss nothing identical is bought the same day.

The problem. The core sells a loss and buys the same back at once, for that costs no tracking error. A wash sale is no loss
(26 USC 1091), and which of the two to give up is a choice of yes or no for each security.

The choice. Where the core does both, one side is barred: the purchase when going without costs less in variance than the
harvest is worth, else the sale. Decided again at the prices that come out, as long as it gets better. The estimate looks at one
security at a time and holds the others still, which among few securities is wrong: there each is put on its other side
once, and stays where that is better.
"""

import numpy as np

from transforms.index.core import IDLE, Core, Fixed, Prices, optimum
from transforms.index.problem import BPS
from transforms.index.program import Program
from transforms.index.tax_pieces import Piece

TRIES, BETTER = 4, 0.1  # of deciding the sides, as long as one is better by so many basis points
FEW = 30  # securities of which each is tried on its other side, the largest first,
EFFORT = 6_000  # as long as the tries times the lots are no more: a try is a solve
DUST = 1e-7  # a weight that is none: what the solver leaves where nothing is traded


def best_sides(made: Program, piece: Piece, fixed: Fixed, relaxed: Core) -> tuple[Core, Fixed] | None:
    """The sides by the estimate, of few securities by trying too; none where nothing was found that keeps the limits."""
    found = _estimated(made, piece, fixed, relaxed)
    return found and _tried(made, piece, fixed, relaxed, found)


def _tried(made: Program, piece: Piece, fixed: Fixed, relaxed: Core, best: tuple[Core, Fixed]) -> tuple[Core, Fixed]:
    """Each group that the relaxed plan has on both sides put on its other one, while that is better."""
    group, count = made.group, len(made.problem.securities)
    of_lot = group[made.problem.lots.security]
    is_open = (np.bincount(of_lot, relaxed.sold, count) > DUST) & (np.bincount(group, relaxed.bought, count) > DUST)
    if is_open.sum() > FEW:
        return best
    sells = np.bincount(of_lot, best[0].sold, count) > DUST
    largest = np.argsort(-np.bincount(of_lot, relaxed.sold, count), kind="stable")
    left = (2 * [at for at in largest.tolist() if is_open[at]])[: EFFORT // max(1, of_lot.size)]
    while left and best[0].objective_bps > relaxed.objective_bps + BETTER:
        at, other = left.pop(0), sells.copy()
        other[at] = not sells[at]
        tried = fixed._replace(
            no_sale=fixed.no_sale | (is_open & ~other)[of_lot], no_buy=fixed.no_buy | (is_open & other)[group]
        )
        core = optimum(made, piece, tried, relaxed.sale_price > IDLE)
        found = one_sided(made, piece, tried, core, core.prices) if core else None
        if found and found[0].objective_bps < best[0].objective_bps - BETTER:
            best, sells = found, other
    return best


def _estimated(made: Program, piece: Piece, fixed: Fixed, relaxed: Core) -> tuple[Core, Fixed] | None:
    """Sides decided at the relaxed plan's prices, then between those and the ones that came out, while it gets better."""
    prices: Prices | None = relaxed.prices
    best = None
    sides: tuple[np.ndarray, np.ndarray] | None = None
    for tried in range(TRIES):
        before_that, sides = sides, _barred_sides(made, relaxed, prices)
        if before_that and sides and all(map(np.array_equal, before_that, sides)):
            return best  # decided as the last time
        found = one_sided(made, piece, fixed, relaxed, prices)
        if found is None and tried == 0:
            found = one_sided(made, piece, fixed, relaxed, None)
        if found is None or found[0] is relaxed:
            return found or best
        if best is not None and found[0].objective_bps > best[0].objective_bps - BETTER:
            return min(best, found, key=lambda one: one[0].objective_bps)
        best, came = found, found[0].prices
        before = prices or relaxed.prices
        prices = (float(np.sqrt(before[0] * came[0])), (before[1] + came[1]) / 2, (before[2] + came[2]) / 2)
    return best


def one_sided(
    made: Program, piece: Piece, fixed: Fixed, core: Core, prices: Prices | None
) -> tuple[Core, Fixed] | None:
    """Bar one side wherever both are traded; where that moves others to both sides, everyone keeps the side that it is on."""
    idle, is_first = core.sale_price > IDLE, True
    while (
        barred := _barred_sides(made, core, prices if is_first else core.prices, prices is None, not is_first)
    ) is not None:
        no_sale, no_buy = fixed.no_sale | barred[0], fixed.no_buy | barred[1]
        if np.any(no_buy & (fixed.least_buy > 0)):
            return None
        fixed, is_first = fixed._replace(no_sale=no_sale, no_buy=no_buy), False
        found = optimum(made, piece, fixed, idle)
        if found is None:
            return None
        core = found
    return core, fixed


def _barred_sides(
    made: Program, core: Core, prices: Prices | None, by_net: bool = False, all_settle: bool = False
) -> tuple[np.ndarray, np.ndarray] | None:
    """Which sales and purchases are barred where both stand against each other; none when they do nowhere.

    The estimate holds everything else still: without the purchase of b of a security of variance v the portfolio carries
    price x v x b^2 more, or gives up a part of the harvest instead; without the sales their worth is lost. `by_net`: each
    goes on in the direction in which it goes on balance, which changes no weight and so keeps every limit on weights.
    """
    problem = made.problem
    lots, count, group = problem.lots, len(problem.securities), made.group
    of_lot = group[lots.security]
    is_loss, sold, bought = problem.gain_rate < 0, core.sold > DUST, core.bought > DUST

    def by_group(amounts: np.ndarray, index: np.ndarray) -> np.ndarray:
        return np.bincount(index, amounts, count)

    loss_is_sold = by_group(sold & is_loss, of_lot) > 0
    against = bought & ((by_group(sold, lots.security) > 0) | loss_is_sold[group])
    if not against.any():
        return None
    lots_against = sold & (against[lots.security] | (is_loss & (by_group(bought, group) > 0)[of_lot]))
    amount = by_group(core.sold * lots_against, of_lot)
    unmatched = np.maximum(0, amount - by_group(core.bought * against, group))
    keeps_sale = unmatched > 0
    if not by_net:
        variance, short, long = prices or core.prices
        dearer = np.where(lots.is_long, long - core.prices[2], short - core.prices[1])
        worth = np.maximum(0, -core.sale_price - BPS * problem.gain_rate * dearer) * core.sold * lots_against
        harvest, curve = by_group(worth, of_lot), variance * problem.risk.specific**2
        rate = np.divide(harvest, amount, out=np.zeros(count), where=amount > 0)[group]
        gap = np.divide(rate, 2 * curve, out=np.full(count, np.inf), where=curve > 0)  # that the harvest is worth
        left = np.minimum(core.bought, gap)
        no_buy_costs = by_group((curve * left**2 + rate * (core.bought - left)) * against, group)
        keeps_sale = no_buy_costs < harvest + by_group(curve * against, group) * unmatched**2
    is_open = by_group(against, group) > 0
    settles, keeps_sale = is_open | all_settle, keeps_sale & is_open
    no_buy = settles[group] & (keeps_sale[group] | ~bought)
    no_sale = (settles & ~keeps_sale)[of_lot] & (
        bought[lots.security] | (is_loss & (by_group(bought, group) > 0)[of_lot])
    )
    return no_sale, no_buy
