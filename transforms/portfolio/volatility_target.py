"""How much of the household is at risk: as much as keeps its predicted volatility at the target.

The problem. Volatility comes in spells. Fixed weights take most risk when markets are wildest.

The choice. The risky part is scaled as a whole, its mix stays; what is left is cash. Tomorrow's volatility is that of the
mix over the past sessions, weighted by a half-life: recent sessions say more, and one wild day moves it little. The policy
holds the scale between limits. Above one it borrows, which is for leverage.py to allow.
"""

from typing import NamedTuple

import numpy as np

from transforms.risk.measures import SESSIONS_A_YEAR


class Exposure(NamedTuple):
    """The part of the household in the risky mix, and what it would be without limits."""

    weight: float
    unlimited: float


def ewma_volatility(returns: np.ndarray, half_life: float) -> float:
    """Annualised volatility of daily returns around zero, a session's weight halving every `half_life` sessions.

    Shape    returns (sessions,), the newest last.
    Omits    the mean: over a day it is a hundredth of the volatility, and its estimate would only add noise.

    >>> round(ewma_volatility(np.array([0.01, -0.01, 0.01]), 20), 6), round(0.01 * 252**0.5, 6)
    (0.158745, 0.158745)
    >>> round(ewma_volatility(np.array([0.02, 0.01]), 1) ** 2 / 252, 6)  # (1/2 x 0.0004 + 1 x 0.0001) / 1.5
    0.0002
    """
    weights = 0.5 ** (np.arange(len(returns))[::-1] / half_life)
    return float(np.sqrt(weights @ returns**2 / weights.sum() * SESSIONS_A_YEAR))


def exposure(predicted: float, target: float, least: float, most: float) -> Exposure:
    """The part at risk that brings the predicted volatility to the target, between the limits.

    Errors   ValueError for a mix that is predicted not to move at all.

    >>> exposure(0.20, 0.10, 0.25, 1.0), exposure(0.08, 0.10, 0.25, 1.0).weight, exposure(0.80, 0.10, 0.25, 1.0).weight
    (Exposure(weight=0.5, unlimited=0.5), 1.0, 0.25)
    """
    if not predicted > 0:
        raise ValueError("the risky part is predicted not to move: there is nothing to scale")
    return Exposure(min(max(target / predicted, least), most), target / predicted)
