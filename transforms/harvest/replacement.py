"""What to hold instead: the same exposure, not substantially identical.

Law      26 USC 1091(a); Pub. 550: securities of different issuers are ordinarily not substantially identical.
Omits    funds: two funds of one index need the curated table of the work on the portfolio (nothing of it is guessed).
"""

from collections.abc import Collection, Mapping
from typing import NamedTuple

import numpy as np

from transforms.risk.measures import correlation_and_beta


class Replacement(NamedTuple):
    security_id: str
    correlation: float
    beta: float


def replacements(
    security_id: str,
    returns: Mapping[str, np.ndarray],
    asset_class: Mapping[str, str],
    barred: Collection[str],
    min_correlation: float,
    beta_range: tuple[float, float],
) -> list[Replacement]:
    """Securities of the same sector that move alike, the closest first.

    Shape    returns: daily returns of equal length and dates for every security with a full history.
    Rows     correlation of at least `min_correlation`, beta to the sold security within `beta_range`.

    >>> r = {"A": np.array([0.01, -0.02, 0.01]), "B": np.array([0.02, -0.03, 0.01]), "C": np.array([0.01, -0.02, 0.01])}
    >>> sector = {"A": "Energy", "B": "Energy", "C": "Staples"}
    >>> [found.security_id for found in replacements("A", r, sector, (), 0.5, (0.5, 2.0))]
    ['B']
    >>> replacements("A", r, sector, {"B"}, 0.5, (0.5, 2.0))
    []
    """
    if security_id not in returns:
        return []
    found = []
    for other, series in returns.items():
        if other == security_id or other in barred or asset_class.get(other) != asset_class.get(security_id):
            continue
        correlation, beta = correlation_and_beta(returns[security_id], series)
        if correlation >= min_correlation and beta_range[0] <= beta <= beta_range[1]:
            found.append(Replacement(other, correlation, beta))
    return sorted(found, key=lambda one: (-one.correlation, one.security_id))
