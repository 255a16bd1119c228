"""What to hold instead: the same exposure, not substantially identical.

The problem. What is sold at a loss is to be held on in another form for at least 30 days. The swap is dollar for dollar,
so what matters is how far the two drift apart in that time; and the law bars what is substantially identical.

The choice. A stock is replaced by one of another issuer in its sector. Both are described by two factors, the market (the
mean of all stocks with a full history) and the sector against the market; what may stand in has loadings near those of
what is sold, and moves with it; that with the smallest tracking error comes first. Two that move as one are not taken
for two companies: they are two share classes, or one company under two symbols. A fund is replaced by what a table of
pairs names, and by nothing else: funds are alike by what they follow, and to the data two funds on one index look like
the best replacement that there is.

Law      26 USC 1091(a); Pub. 550: securities of different issuers are ordinarily not substantially identical.
Omits    whether two funds on two indexes that hold nearly the same are substantially identical: nobody has ruled on it.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from transforms.risk.measures import SESSIONS_A_YEAR


class Replacement(NamedTuple):
    """How another security moves beside what is sold. Units: tracking_error is a fraction a year of what is swapped."""

    security_id: str
    correlation: float
    beta: float
    tracking_error: float = 0.0
    loading_gap: float = 0.0  # the larger difference of the two loadings; 0 for a listed pair


class _Limits(NamedTuple):
    min_correlation: float
    beta_range: tuple[float, float]
    max_correlation: float
    max_loading_gap: float


def replacements(
    returns: Mapping[str, np.ndarray],
    asset_class: Mapping[str, str],
    min_correlation: float,
    beta_range: tuple[float, float],
    *,
    max_correlation: float = 1.0,
    max_loading_gap: float = float("inf"),
    pairs: Mapping[str, Sequence[str]] | None = None,
) -> dict[str, list[Replacement]]:
    """For every security what could be held instead, the best first.

    Shape    returns: daily returns of equal length and dates for every security with a full history.
    Order    stocks by tracking error, the smallest first; a fund's by the table of pairs.
    Rows     correlation of at least `min_correlation` and at most `max_correlation`, beta to the sold security within
             `beta_range`, neither loading further off than `max_loading_gap`; of a fund (every name in `pairs`) only
             what the table names, where correlation and beta keep their limits; of a stock whose sector nobody says none.

    >>> r = {"A": np.array([0.01, -0.02, 0.01]), "B": np.array([0.02, -0.03, 0.01]), "C": np.array([0.01, -0.02, 0.01])}
    >>> sector = {"A": "Energy", "B": "Energy", "C": "Staples"}
    >>> [[found.security_id for found in alike] for alike in replacements(r, sector, 0.5, (0.5, 2.0)).values()]
    [['B'], ['A'], []]
    >>> funds = replacements(r, sector, 0.5, (0.5, 2.0), pairs={"A": ["C"]})
    >>> [[found.security_id for found in alike] for alike in funds.values()]
    [['C'], [], []]
    """
    listed, limits = pairs or {}, _Limits(min_correlation, beta_range, max_correlation, max_loading_gap)
    funds = {*listed, *(other for others in listed.values() for other in others)}
    alike: dict[str, list[Replacement]] = {name: [] for name in returns} | {
        name: [
            found for other in listed[name] if other in returns and _keeps(found := swap(returns, name, other), limits)
        ]
        for name in returns
        if name in listed
    }
    stocks = [name for name in returns if name not in funds]
    sectors: dict[str, list[str]] = defaultdict(list)
    for name in stocks:
        if name in asset_class:
            sectors[asset_class[name]].append(name)
    market = np.mean([returns[name] for name in stocks], axis=0) if stocks else np.zeros(0)
    for names in sectors.values():
        if len(names) > 1:
            alike |= _of_sector(names, np.array([returns[name] for name in names]), market, limits)
    return alike


def swap(returns: Mapping[str, np.ndarray], sold: str, bought: str) -> Replacement:
    """How what is bought moves beside what is sold, dollar for dollar.

    Units    tracking error: the annualised standard deviation of the difference of their returns.

    >>> swap({"A": np.array([0.01, -0.01, 0.01]), "B": np.array([0.02, -0.02, 0.02])}, "A", "B").beta
    2.0
    """
    x, y = returns[sold], returns[bought]
    spread = np.cov(x, y)
    scale = np.sqrt(spread[0, 0] * spread[1, 1])
    apart = float(np.std(y - x, ddof=1) * np.sqrt(SESSIONS_A_YEAR))
    if not scale:
        return Replacement(bought, 0.0, 0.0, apart)
    return Replacement(bought, float(spread[0, 1] / scale), float(spread[0, 1] / spread[0, 0]), apart)


def loadings(returns: np.ndarray, market: np.ndarray) -> np.ndarray:
    """Loadings of a sector's securities on the market and on the sector against the market, by least squares.

    Shape    returns (securities, sessions), market (sessions,); out (securities, 2). The sector is the mean of `returns`.

    >>> market = np.array([0.01, -0.02, 0.01, 0.00])
    >>> own = np.array([0.00, 0.01, 0.01, -0.02])
    >>> loadings(np.array([market + 2 * own, market]), market).round(6).tolist()
    [[1.0, 2.0], [1.0, 0.0]]
    """
    sector = returns.mean(axis=0) - market
    factors = np.column_stack([np.ones_like(market), market, sector])
    found, *_ = np.linalg.lstsq(factors, returns.T, rcond=None)
    return found[1:].T


def _of_sector(
    names: Sequence[str], returns: np.ndarray, market: np.ndarray, limits: _Limits
) -> dict[str, list[Replacement]]:
    spread = np.cov(returns)
    variance = np.diag(spread)
    scale = np.sqrt(np.outer(variance, variance))
    correlation = np.divide(spread, scale, out=np.zeros_like(spread), where=scale > 0)
    beta = np.divide(spread, variance[:, None], out=np.zeros_like(spread), where=scale > 0)
    apart = np.sqrt(np.maximum(variance[:, None] + variance - 2 * spread, 0) * SESSIONS_A_YEAR)
    loaded = loadings(returns, market)
    gap = np.abs(loaded[:, None, :] - loaded[None, :, :]).max(axis=2)
    low, high = limits.beta_range
    fits = (correlation >= limits.min_correlation) & (correlation <= limits.max_correlation)
    fits &= (beta >= low) & (beta <= high) & (gap <= limits.max_loading_gap)
    np.fill_diagonal(fits, val=False)
    return {
        name: sorted(
            (
                Replacement(names[other], *(float(figure[row, other]) for figure in (correlation, beta, apart, gap)))
                for other in np.flatnonzero(fits[row]).tolist()
            ),
            key=lambda one: (one.tracking_error, one.security_id),
        )
        for row, name in enumerate(names)
    }


def _keeps(one: Replacement, limits: _Limits) -> bool:
    low, high = limits.beta_range
    return one.correlation >= limits.min_correlation and low <= one.beta <= high
