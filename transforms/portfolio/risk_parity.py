"""Weights by risk instead of by dollars: every asset class is to carry its part of the risk.

The problem. A household that is 60 % stocks by dollars is 90 % stocks by risk. Risk parity asks for the weights at which
each class contributes its budget (equal parts, or those that a policy names) to the variance of the whole.

The choice. The weights are the minimum of a convex function (F. Spinu 2013), x'Sx/2 - sum b_i ln x_i, scaled to one: at
its minimum x_i (Sx)_i = b_i, which is what was asked. It is self-concordant, so damped Newton steps reach it from anywhere
in a handful of steps, to the last bit and with the same bits every time. The library at hand estimates its covariance
from returns itself and costs seconds of import; a test holds its weights equal to ours. The covariance is the
library's: Ledoit and Wolf's shrinkage, of the correlations. Shrunk as it comes it would pull a bond's variance towards a
stock's, which is the very thing that is to be told apart.
"""

from collections.abc import Sequence

import numpy as np

from transforms.risk.measures import SESSIONS_A_YEAR

_STEPS = 200  # of Newton; it needs about ten


def risk_budget_weights(covariance: np.ndarray, budgets: Sequence[float] | np.ndarray | None = None) -> np.ndarray:
    """Long-only weights, adding up to one, whose parts of the variance are the budgets; equal parts without them.

    Shape    covariance (assets, assets) of anything, in any unit; out (assets,).
    Errors   ValueError for a budget that is not above zero, an asset that does not move, or what is no covariance.

    Maillard, Roncalli and Teiletche (2010): volatilities of 10, 20, 30 and 40 %, correlations of 0.8 and -0.5.

    >>> s = np.array([0.1, 0.2, 0.3, 0.4])
    >>> c = np.array([[1, 0.8, 0, 0], [0.8, 1, 0, 0], [0, 0, 1, -0.5], [0, 0, -0.5, 1]])
    >>> weights = risk_budget_weights(c * np.outer(s, s))
    >>> (100 * weights).round(2).tolist(), round(100 * float(np.sqrt(weights @ (c * np.outer(s, s)) @ weights)), 2)
    ([38.36, 19.18, 24.26, 18.2], 10.29)
    """
    wanted = np.ones(len(covariance)) if budgets is None else np.asarray(budgets, dtype=float)
    moves = np.sqrt(np.diag(covariance))
    if len(wanted) != len(covariance) or not np.all(wanted > 0):
        raise ValueError(f"risk budgets are one for each of the {len(covariance)} assets and above zero, not {budgets}")
    if not np.all(np.isfinite(covariance)) or not np.all(moves > 0):
        raise ValueError("an asset that does not move can carry no risk: leave it out")
    wanted = wanted / wanted.sum()
    correlation = covariance / np.outer(moves, moves)  # in units of volatility, where the scale is one
    x, decrement = np.sqrt(wanted), np.inf
    for _ in range(_STEPS):
        slope = correlation @ x - wanted / x
        curve = correlation + np.diag(wanted / x**2)
        step = np.linalg.solve(curve, slope)
        decrement = float(np.sqrt(max(slope @ step, 0.0) / wanted.min()))
        x -= step / (1 + decrement) if decrement > 0.25 else step
        if decrement < 1e-12:
            break
    if not decrement < 1e-6:
        raise ValueError("no weights carry these budgets: is the covariance one, and of full rank?")
    weights = x / moves
    return weights / weights.sum()


def risk_shares(weights: np.ndarray, covariance: np.ndarray) -> np.ndarray:
    """Each asset's part of the variance of the whole; they add up to one, and a hedge's is negative.

    >>> risk_shares(np.array([0.5, 0.5]), np.diag([0.04, 0.01])).round(12).tolist()
    [0.8, 0.2]
    """
    carried = weights * (covariance @ weights)
    return carried / carried.sum()


def shrunk_covariance(returns: np.ndarray) -> np.ndarray:
    """Annualised covariance: each asset's own volatility, and correlations shrunk towards none (Ledoit and Wolf 2004).

    Shape    returns (sessions, assets), daily; out (assets, assets).
    Errors   ValueError for an asset that does not move.

    >>> draw = np.random.default_rng(1).normal(0, 0.01, (400, 2))
    >>> bool(np.allclose(np.diag(shrunk_covariance(draw)), draw.var(axis=0, ddof=1) * 252))
    True
    """
    moves = returns.std(axis=0, ddof=1)
    if not np.all(moves > 0):
        raise ValueError("an asset that does not move has no correlation: leave it out")
    if returns.shape[1] == 1:
        return np.array([[moves[0] ** 2 * SESSIONS_A_YEAR]])
    from sklearn.covariance import ledoit_wolf  # seconds of import, for those only who ask for it

    shrunk, _ = ledoit_wolf((returns - returns.mean(axis=0)) / moves)
    scale = np.sqrt(np.diag(shrunk))
    return shrunk / np.outer(scale, scale) * np.outer(moves, moves) * SESSIONS_A_YEAR
