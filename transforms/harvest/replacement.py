"""What to hold instead: the same exposure, not substantially identical.

Law      26 USC 1091(a); Pub. 550: securities of different issuers are ordinarily not substantially identical.
Omits    funds: two funds of one index need the curated table of the work on the portfolio (nothing of it is guessed).
"""

from collections import defaultdict
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np


class Replacement(NamedTuple):
    security_id: str
    correlation: float
    beta: float


def replacements(
    returns: Mapping[str, np.ndarray],
    asset_class: Mapping[str, str],
    min_correlation: float,
    beta_range: tuple[float, float],
) -> dict[str, list[Replacement]]:
    """For every security those of the same sector that move alike, the closest first.

    Shape    returns: daily returns of equal length and dates for every security with a full history.
    Rows     correlation of at least `min_correlation`, beta to the sold security within `beta_range`.

    >>> r = {"A": np.array([0.01, -0.02, 0.01]), "B": np.array([0.02, -0.03, 0.01]), "C": np.array([0.01, -0.02, 0.01])}
    >>> sector = {"A": "Energy", "B": "Energy", "C": "Staples"}
    >>> [[found.security_id for found in alike] for alike in replacements(r, sector, 0.5, (0.5, 2.0)).values()]
    [['B'], ['A'], []]
    """
    sectors: dict[str | None, list[str]] = defaultdict(list)
    for name in returns:
        sectors[asset_class.get(name)].append(name)
    alike: dict[str, list[Replacement]] = {name: [] for name in returns}
    for names in sectors.values():
        if len(names) == 1:
            continue
        spread = np.cov(np.array([returns[name] for name in names]))
        moves = np.sqrt(np.diag(spread))
        scale = np.outer(moves, moves)
        correlation = np.divide(spread, scale, out=np.zeros_like(spread), where=scale > 0)
        beta = np.divide(spread, np.diag(spread)[:, None], out=np.zeros_like(spread), where=scale > 0)
        low, high = beta_range
        fits = (correlation >= min_correlation) & (beta >= low) & (beta <= high)
        np.fill_diagonal(fits, val=False)
        for row, name in enumerate(names):
            there = np.flatnonzero(fits[row])
            found = zip(there, correlation[row, there].tolist(), beta[row, there].tolist(), strict=True)
            alike[name] = sorted(
                (Replacement(names[other], *figures) for other, *figures in found),
                key=lambda one: (-one.correlation, one.security_id),
            )
    return alike
