"""A year's tax as the core can have it: on pieces on which it is convex.

The problem. A year's tax is not convex in its short and long result: a long loss that has used up the long gains goes
against short ones, which are taxed higher, and the first dollar of a net loss is worth the ordinary rate, where the last
dollar of net gain saved the long one. In the few dollars of income where the 12 % bracket reaches above the 0 % one of long
gains, a short gain is taxed less than a long one, and there it bends the wrong way once more.

The choice. It is convex on each of three pieces, there on each of four. Every piece that the sales could reach is solved, and
the best of them is the exact optimum. Nothing is lost here. The limit on losses is a convex kink.
"""

from decimal import Decimal
from typing import NamedTuple

import numpy as np

from transforms.harvest.benefit import tax_on, unused
from transforms.index.problem import Problem

Affine = tuple[float, float, float]  # of (net short, net long, 1), as fractions of the portfolio


class Piece(NamedTuple):
    """Where tax is convex: `within` <= 0 says where, and the tax is the largest of `tax`."""

    within: tuple[Affine, ...]
    tax: tuple[Affine, ...]


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
    both_gains = Piece(((-1, 0, 0), (0, -1, 0)), ((short, long, 0),))
    short_loss = Piece(((1, 0, 0), (-1, -1, 0)), ((long, long, 0),))
    long_loss = Piece(((0, 1, 0),), ((short, short, 0), used, beyond))
    net_loss = Piece(((1, 1, 0),), (used, beyond))
    sold = np.where(no_sale, 0.0, problem.gain_rate * problem.lot_usd / value)
    is_long = problem.lots.is_long.astype(bool)
    least_short, most_short = _range(float(problem.taxes.short_usd) / value, sold[~is_long])
    least_long, most_long = _range(float(problem.taxes.long_usd) / value, sold[is_long])
    least_net, most_net = least_short + least_long, most_short + most_long
    is_plain = short >= long
    reached = [
        (gains, is_plain and most_long >= 0 and most_net >= 0),
        (both_gains, not is_plain and most_short >= 0 and most_long >= 0),
        (short_loss, not is_plain and least_short < 0 and most_net >= 0),
        (long_loss, least_long < 0 and (most_net > 0 or most_long < 0)),
        (net_loss, least_net < 0 and most_long >= 0),
    ]
    return [piece for piece, is_reached in reached if is_reached]


def _range(so_far: float, gains: np.ndarray) -> tuple[float, float]:
    """The least and the most that a result can come to, whichever lots are sold."""
    return so_far + float(np.minimum(0, gains).sum()), so_far + float(np.maximum(0, gains).sum())


def is_inside(problem: Problem, piece: Piece, sold: np.ndarray) -> bool:
    """Whether the year's result after a plan lies inside a piece, off its borders."""
    gains, is_long = sold * problem.gain_rate, problem.lots.is_long.astype(bool)
    short, long = (
        float(so_far) / problem.value_usd + float(gains[mask].sum())
        for so_far, mask in ((problem.taxes.short_usd, ~is_long), (problem.taxes.long_usd, is_long))
    )
    return all(a * short + b * long + c < -1e-7 for a, b, c in piece.within)


def reaches(problem: Problem, piece: Piece, out: np.ndarray) -> bool:
    """Whether sales of the lots that are not out could bring the year's result to a piece at all."""
    gains, is_long = problem.gain_rate * problem.lot_usd / problem.value_usd * ~out, problem.lots.is_long.astype(bool)
    so_far = (float(problem.taxes.short_usd) / problem.value_usd, float(problem.taxes.long_usd) / problem.value_usd)
    return all(
        a * so_far[0] + b * so_far[1] + c + np.minimum(0, np.where(is_long, b, a) * gains).sum() <= 1e-12
        for a, b, c in piece.within
    )


def year_tax(problem: Problem, short_usd: float, long_usd: float) -> float:
    """Tax on the year's results with these besides, less what the loss left over is worth, as a fraction of the portfolio."""
    taxes = problem.taxes
    short, long = taxes.short_usd + Decimal(short_usd), taxes.long_usd + Decimal(long_usd)
    left = float(unused(short, long, taxes.rates))
    return (float(tax_on(short, long, taxes.rates)) - left * taxes.carried_rate) / problem.value_usd


def year_taxes(problem: Problem, short: np.ndarray, long: np.ndarray) -> np.ndarray:
    """`year_tax` of many results at once; all in fractions of the portfolio.

    Law      26 USC 1211(b), 1222.
    """
    rates, value, carried = problem.taxes.rates, problem.value_usd, problem.taxes.carried_rate
    of_short, of_long, ordinary, limit = *(float(rate) for rate in rates[:3]), float(rates.loss_limit_usd) / value
    short, long = short + float(problem.taxes.short_usd) / value, long + float(problem.taxes.long_usd) / value
    net = short + long
    saved = np.minimum(-net, limit) * ordinary + np.maximum(0, -net - limit) * carried
    netted = np.where(short < 0, net * of_long, np.where(long < 0, net * of_short, short * of_short + long * of_long))
    return np.where(net < 0, -saved, netted)
