"""Factor tilts: more of what is cheap, rising, sound, small or calm, and of the index all the same.

The problem. A tilt is a bet against the index that the household chose; it must be mild where the data are thin, and must
not become a bet on sectors by accident (all cheap names are banks).

The choice. Each factor becomes a z-score over the universe, or over each sector (the default). Measures more than three
deviations off are drawn in to three, so that one strange name moves nobody. A weight is multiplied by exp(strength x score):
always positive, and two tilts multiply. Sector by sector the weights are brought back to what the sector had.
A score that is unknown is 0, the mean; a factor that less than half of the names have is refused.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from transforms.risk.measures import SESSIONS_A_YEAR

FACTORS = ("value", "momentum", "quality", "size", "low_volatility")
CUT = 3.0
NORMAL = 1.4826  # median deviations of a normal distribution in a standard deviation
SKIPPED = 21  # the last month is left out of momentum: it tends to reverse


class TiltError(ValueError):
    """A tilt cannot be made of these data: which, and what is missing."""


def momentum(prices: np.ndarray) -> np.ndarray:
    """The return of the twelve months before the last one; NaN without so much history.

    Shape    prices (sessions, securities), adjusted, newest last.

    >>> steady = np.full((253, 1), 100.0)
    >>> steady[-22:] = 120.0
    >>> momentum(steady).round(4).tolist()
    [0.2]
    """
    if len(prices) <= SESSIONS_A_YEAR:
        return np.full(prices.shape[1], np.nan)
    return prices[-1 - SKIPPED] / prices[-1 - SESSIONS_A_YEAR] - 1


def low_volatility(prices: np.ndarray) -> np.ndarray:
    """Less the volatility of the last year, annualised, so that more is calmer; NaN without so much history."""
    if len(prices) <= SESSIONS_A_YEAR:
        return np.full(prices.shape[1], np.nan)
    last = prices[-1 - SESSIONS_A_YEAR :]
    return -np.std(last[1:] / last[:-1] - 1, axis=0, ddof=1) * np.sqrt(SESSIONS_A_YEAR)


def size(capitalisation_usd: np.ndarray) -> np.ndarray:
    """Less the logarithm of the capitalisation, so that more is smaller."""
    return -np.log(capitalisation_usd)


def scores(measure: np.ndarray, sectors: Sequence[str], factor: str, *, sector_neutral: bool = True) -> np.ndarray:
    """z-scores, cut at three: mean 0 and deviation 1 over the universe, or over each sector.

    Rows     unknown is 0; so is a sector whose names do not differ.
    Errors   TiltError where less than half of the names have the measure.

    >>> scores(np.array([1.0, 3.0, 10.0, 30.0]), ["A", "A", "B", "B"], "value").tolist()
    [-1.0, 1.0, -1.0, 1.0]
    """
    known = np.isfinite(measure)
    if 2 * known.sum() < len(measure):
        where = "a column of the constituents file" if factor in ("value", "quality") else "prices and capitalisations"
        raise TiltError(
            f"the tilt {factor!r} needs {where}: {known.sum()} of {len(measure)} names have it, half is the least"
        )
    labels = np.array(sectors) if sector_neutral else np.zeros(len(measure), dtype=str)
    made = np.zeros(len(measure))
    for label in sorted(set(labels.tolist())):
        here = known & (labels == label)
        made[here] = _standard(measure[here])
    return made


def tilted(
    weights: np.ndarray,
    scored: Mapping[str, np.ndarray],
    strengths: Mapping[str, float],
    sectors: Sequence[str],
    *,
    sector_neutral: bool = True,
) -> np.ndarray:
    """Weights x exp(sum of strength x score), brought to one, or to what each sector had.

    Errors   TiltError for a factor without scores.

    >>> tilted(np.array([0.2, 0.2, 0.6]), {"value": np.array([1.0, -1.0, 0.0])}, {"value": 0.5}, ["A", "A", "B"]).round(3).tolist()
    [0.292, 0.108, 0.6]
    """
    if unknown := sorted(set(strengths) - set(scored)):
        raise TiltError(f"no scores for the tilt {unknown[0]!r}; a tilt is one of {', '.join(FACTORS)}")
    power = sum((strengths[factor] * scored[factor] for factor in sorted(strengths)), np.zeros(len(weights)))
    raw = weights * np.exp(power)
    if not sector_neutral:
        return raw / raw.sum() * weights.sum()
    labels = np.array(sectors)
    made = np.empty(len(weights))
    for label in sorted(set(sectors)):
        here = labels == label
        made[here] = raw[here] * (weights[here].sum() / raw[here].sum() if raw[here].any() else 0.0)
    return made


def _standard(measure: np.ndarray) -> np.ndarray:
    """Extremes are drawn in by median and median deviation first: by mean and deviation one of them would make all others alike."""
    if not len(measure):
        return measure
    middle = np.median(measure)
    spread = NORMAL * np.median(np.abs(measure - middle))
    if spread > 0:
        measure = np.clip(measure, middle - CUT * spread, middle + CUT * spread)
    deviation = measure.std()
    if deviation <= 1e-12 * (1 + np.abs(measure).max()):
        return np.zeros(len(measure))
    return np.clip((measure - measure.mean()) / deviation, -CUT, CUT)
