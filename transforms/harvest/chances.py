"""How likely it is that a loss is still there later.

The problem. A loss that is not taken today may be larger in a month, or gone.

The choice. A price moves as a geometric Brownian motion with the security's own realised volatility and, unless told
otherwise, no drift of the expected price: nobody knows one over weeks, and a guess would decide more than all the rest.
Everything has a closed form then.

Omits    jumps, volatility that changes, dividends.
"""

import math
from statistics import NormalDist
from typing import NamedTuple

_cdf = NormalDist().cdf


class Chances(NamedTuple):
    """Of a position after a while. Units: probabilities; `expected_loss` in USD, zero where there is a gain."""

    still_there: float  # that it is below its basis at the end
    as_large: float  # that the loss is at the end as large as today, or larger
    gone_between: float  # that it reaches its basis on some day until then
    expected_loss: float


def chances(value: float, basis: float, volatility: float, years: float, drift: float = 0.0) -> Chances:
    """What becomes of a loss, or of a gain, that is left alone for some time.

    Units    USD, USD; a year's volatility and drift as fractions.
    Errors   ValueError where value or basis is not above zero, or volatility or time is negative.

    A loss of 20 in 100, at a volatility of 30 %, in a month; and one of 2, which may well be gone:

    >>> [round(chance, 2) for chance in chances(80, 100, 0.30, 30 / 365)]
    [1.0, 0.52, 0.01, 20.01]
    >>> [round(chance, 2) for chance in chances(98, 100, 0.30, 30 / 365)]
    [0.61, 0.52, 0.81, 4.49]
    """
    if value <= 0 or basis <= 0 or volatility < 0 or years < 0:
        raise ValueError(
            f"value {value} and basis {basis} must be above zero, volatility {volatility} and time {years} not below"
        )
    spread = volatility * math.sqrt(years)
    forward = value * math.exp(drift * years)
    if spread == 0:
        return Chances(
            float(forward < basis),
            float(forward <= value),
            float(max(value, forward) >= basis),
            max(0.0, basis - forward),
        )
    below = _below(forward, basis, spread)
    expected = basis * below - forward * _cdf((math.log(basis / forward) - spread**2 / 2) / spread)
    return Chances(below, _below(forward, value, spread), _reaches(value, basis, spread, drift * years), expected)


def _below(forward: float, level: float, spread: float) -> float:
    """The chance that the price ends below a level."""
    return _cdf((math.log(level / forward) + spread**2 / 2) / spread)


def _reaches(value: float, level: float, spread: float, growth: float) -> float:
    """The chance that the price reaches a level from below on its way, by reflection."""
    if value >= level:
        return 1.0
    way, middle = math.log(level / value), growth - spread**2 / 2
    reflected = min(700.0, 2 * middle * way / spread**2)  # where it is more, the other factor is zero
    return min(1.0, _cdf((middle - way) / spread) + math.exp(reflected) * _cdf((-middle - way) / spread))
