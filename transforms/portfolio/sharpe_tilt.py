"""Weights tilted towards what paid for its risk, as far as the past can be believed.

The problem. Past mean returns are mostly noise: over three years the error of a mean is about as large as the differences
between asset classes. An optimizer that believes them bets on what was lucky.

The choice. Twice careful. Means are shrunk towards their common mean by the James-Stein rule, which asks how large their
differences are beside their errors (those of the differences: what all classes did together cancels); with three or fewer
the rule says nothing and they are taken as equal. Then the ratio of excess return to volatility is raised only within
limits around the weights that the household chose, each up or down by at most a part of itself. With equal means the tilt
is towards less volatility. Where nothing within the limits is expected to earn more than cash, there is no tilt.

The ratio's maximum is a small quadratic program (the least variance for one unit of excess return, a change of variables
by Charnes and Cooper), solved by Clarabel.
"""

from typing import NamedTuple

import numpy as np

from transforms.risk.measures import SESSIONS_A_YEAR

LEAST_EXCESS = 1e-6  # a year; below it a ratio is noise, and its program is as good as infeasible


class Means(NamedTuple):
    """Expected returns a year, and by how much they were shrunk: 0 not at all, 1 to one common mean."""

    expected: np.ndarray
    shrinkage: float


def shrunk_means(returns: np.ndarray) -> Means:
    """Annualised means, shrunk towards their grand mean (James and Stein 1961, Efron and Morris 1973; never beyond it).

    Shape    returns (sessions, assets), daily.
    Order    shrinkage = (k - 3) s2 / S: S is the squared distance of the k means from the grand mean, s2 the mean squared
             error of such a distance, from the covariance of the means about their own mean.

    >>> days = np.tile(np.eye(5) - 0.2, (50, 1))  # five assets of one mean
    >>> shrunk_means(days).shrinkage
    1.0
    >>> shrunk_means(days + [0, 0, 0, 0, 1]).shrinkage < 0.01  # one stands out by far more than the error
    True
    """
    sessions, count = returns.shape
    means = returns.mean(axis=0)
    grand = means.mean()
    apart = float(((means - grand) ** 2).sum())
    if count <= 3 or apart <= 1e-24:
        return Means(np.full(count, grand * SESSIONS_A_YEAR), 1.0)
    differences = returns - returns.mean(axis=1, keepdims=True)
    error = float(differences.var(axis=0, ddof=1).sum() / ((count - 1) * sessions))
    shrinkage = min(1.0, (count - 3) * error / apart)
    return Means((grand + (1 - shrinkage) * (means - grand)) * SESSIONS_A_YEAR, shrinkage)


def sharpe_tilt(
    base: np.ndarray, expected: np.ndarray, covariance: np.ndarray, risk_free_rate: float, max_tilt: float
) -> np.ndarray:
    """The weights of the highest Sharpe ratio among those within `max_tilt` of each base weight; the same sum.

    Shape    all of one length; covariance and expected annualised.
    Rows     the base weights where none of these is expected to earn more than `risk_free_rate`.
    Errors   ValueError for base weights that are negative or add up to nothing, and when the solver gives up.

    >>> base, calm = np.array([0.5, 0.5]), np.diag([0.01, 0.04])
    >>> sharpe_tilt(base, np.array([0.06, 0.06]), calm, 0.02, 0.2).round(6).tolist()  # the calmer, to its limit
    [0.6, 0.4]
    >>> sharpe_tilt(base, np.array([0.06, 0.06]), calm, 0.10, 0.2).tolist()
    [0.5, 0.5]
    """
    total = float(base.sum())
    if np.any(base < 0) or total <= 0:
        raise ValueError("base weights are none of them negative, and add up to more than zero")
    low, high = base * (1 - max_tilt), base * (1 + max_tilt)
    excess = expected - risk_free_rate
    if max_tilt == 0 or _most(excess, low, high, total) < LEAST_EXCESS:
        return base
    weights = np.clip(_least_variance(excess, covariance, low, high, total), low, high)
    return _with_sum(weights, low, high, total)


def _most(excess: np.ndarray, low: np.ndarray, high: np.ndarray, total: float) -> float:
    """The highest excess return within the limits: what is left after the lower limits goes to the best first."""
    weights, left = low.copy(), total - float(low.sum())
    for place in np.argsort(-excess, kind="stable"):
        more = min(left, float(high[place] - low[place]))
        weights[place] += more
        left -= more
    return float(excess @ weights)


def _least_variance(
    excess: np.ndarray, covariance: np.ndarray, low: np.ndarray, high: np.ndarray, total: float
) -> np.ndarray:
    """min y'Sy with excess'y = 1, sum(y) = total t, low t <= y <= high t; the weights are y / t."""
    import clarabel
    from scipy import sparse

    count = len(excess)
    scale = float(np.trace(covariance)) / count
    reward = float(np.abs(excess).max())
    quadratic = sparse.csc_matrix(np.pad(np.triu(2 * covariance / scale), (0, 1)))
    unit = np.eye(count)
    rows = np.vstack(
        [
            np.append(excess / reward, 0),
            np.append(np.ones(count), -total),
            np.column_stack([-unit, low]),
            np.column_stack([unit, -high]),
        ]
    )
    right = np.zeros(len(rows))
    right[0] = 1
    settings = clarabel.DefaultSettings()
    settings.verbose = False
    settings.tol_gap_abs = settings.tol_gap_rel = settings.tol_feas = 1e-10
    cones = [clarabel.ZeroConeT(2), clarabel.NonnegativeConeT(2 * count)]
    solver = clarabel.DefaultSolver(quadratic, np.zeros(count + 1), sparse.csc_matrix(rows), right, cones, settings)
    found = solver.solve()
    if str(found.status) not in ("Solved", "AlmostSolved"):
        raise ValueError(f"the tilt was not found: the solver says {found.status}")
    solution = np.array(found.x)
    return solution[:count] / solution[count]


def _with_sum(weights: np.ndarray, low: np.ndarray, high: np.ndarray, total: float) -> np.ndarray:
    """The same weights with the solver's last digits put right: what is missing is spread over the room that is left."""
    missing = total - float(weights.sum())
    room = high - weights if missing > 0 else weights - low
    return weights + missing * room / room.sum() if missing and room.sum() > 0 else weights
