"""How likely it is that a loss is still there later, and how large it is expected to be.

The problem. A loss that is not taken today may be larger in a month, or gone.

The choice. A price moves as a geometric Brownian motion with the security's own realised volatility and, unless told
otherwise, no drift of the expected price: nobody knows one over weeks, and a guess would decide more than all the rest.
Both have a closed form then.

Omits    jumps, volatility that changes, dividends.
"""

import math
from statistics import NormalDist
from typing import NamedTuple

_cdf = NormalDist().cdf


class Chances(NamedTuple):
    """Of a position after a while. Units: a probability; USD, zero where there is a gain."""

    still_there: float  # that it is below its basis then
    expected_loss: float


def chances(value: float, basis: float, volatility: float, years: float, drift: float = 0.0) -> Chances:
    """What becomes of a loss, or of a gain, that is left alone for some time.

    Units    USD, USD; a year's volatility and drift as fractions.
    Errors   ValueError where value or basis is not above zero, or volatility or time is negative.

    A loss of 20 in 100, at a volatility of 30 %, in a month; and one of 2, which may well be gone:

    >>> [round(figure, 2) for figure in chances(80, 100, 0.30, 30 / 365)]
    [1.0, 20.01]
    >>> [round(figure, 2) for figure in chances(98, 100, 0.30, 30 / 365)]
    [0.61, 4.49]
    """
    if value <= 0 or basis <= 0 or volatility < 0 or years < 0:
        raise ValueError(
            f"value {value} and basis {basis} must be above zero, volatility {volatility} and time {years} not below"
        )
    spread = volatility * math.sqrt(years)
    forward = value * math.exp(drift * years)
    if spread == 0:
        return Chances(float(forward < basis), max(0.0, basis - forward))
    below = (math.log(basis / forward) + spread**2 / 2) / spread
    return Chances(_cdf(below), basis * _cdf(below) - forward * _cdf(below - spread))
