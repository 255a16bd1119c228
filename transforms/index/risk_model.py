"""A factor model of risk: what a portfolio's tracking error will be, before it is known.

The problem. Five hundred names have 125,000 covariances, and two years of sessions do not tell them. The sample covariance
has directions almost without risk, and an optimizer finds just these: what it calls half a percent turns out to be two.

The choice. Returns are a few common factors and what is each name's own. The factors are the principal components of the
correlations (`statistical`), or sectors and styles, whose returns are regressed session by session (`fundamental`).

* Factors are counted by the Marchenko-Pastur law: among names that have nothing in common no eigenvalue of the correlations
  passes (1 + sqrt(names / sessions))^2, or what this becomes where sessions count unequally (`noise_edge`). Those above it
  are factors. The market is so large that it hides the sectors behind it, so what the first factors leave is standardised
  and looked at once more; a third look would find what the first two made.
* Sample eigenvalues are too large. Each is shrunk to the one of the population that would show it (Baik and Silverstein 2006,
  the spiked covariance model). What the factors lose stays with the name: its whole variance is what it was.
* Specific risk is drawn to its sector's mean, which counts as `prior_sessions` sessions: an optimizer likes best the name
  whose risk was underestimated most. It never lies below `specific_floor`.
* A name with a part of the history is neither dropped nor invented. Its exposures are its sector's, moved towards its own by
  as much as its sessions tell (a ridge regression on the factors, with the same prior); one listed yesterday is the mean of
  its sector; so is one whose price never moved, which is no price but a number (a money market fund, a halted stock).
  `borrowed` names them.
* Recent sessions count more, because volatility comes in spells: `half_life`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

SESSIONS_A_YEAR = 252
LEAST_SESSIONS, LEAST_SECURITIES = 60, 10
LOOKS = 2  # at the eigenvalues
NEARLY_ALL = 0.95  # of the sessions: a day's halt is no missing history
STILL = 1e-9  # returns that are nowhere further apart than this are none


@dataclass(frozen=True, slots=True)
class RiskModel:
    """Returns = exposures x factors that are uncorrelated and of variance one, and what is each security's own.

    Shape    exposures (securities, factors), specific (securities,).
    Units    annualised standard deviations: fractions a year.
    """

    securities: tuple[str, ...]
    exposures: np.ndarray
    specific: np.ndarray

    def tracking_error(self, active_weights: np.ndarray) -> float:
        """Predicted standard deviation of a year's difference to the benchmark.

        >>> model = RiskModel(("A", "B"), np.array([[0.2], [0.2]]), np.array([0.3, 0.4]))
        >>> round(model.tracking_error(np.array([0.1, -0.1])), 6)
        0.05
        """
        common, own = self.exposures.T @ active_weights, self.specific * active_weights
        return float(np.sqrt(common @ common + own @ own))

    def only(self, places: np.ndarray) -> "RiskModel":
        """The same of some of the securities, in their order.

        Shape    places (some,), where they stand.
        """
        names = tuple(self.securities[at] for at in places.tolist())
        return RiskModel(names, self.exposures[places], self.specific[places])


class Estimate(NamedTuple):
    """A risk model, and what of it was not measured."""

    model: RiskModel
    factors: int
    borrowed: Mapping[str, int]  # security -> its own sessions, too few to be a part of the factors
    floored: tuple[str, ...]  # securities whose specific risk was raised to the floor


def statistical(
    returns: np.ndarray,
    securities: Sequence[str],
    sectors: Sequence[str],
    *,
    half_life: float = 252,
    prior_sessions: float = 126,
    specific_floor: float = 0.05,
) -> Estimate:
    """Factors that the returns show by themselves.

    Shape    returns (sessions, securities), daily, newest last; NaN where a security has none.
    Units    half_life and prior_sessions in sessions; specific_floor a fraction a year.
    Errors   ValueError for infinite returns, less than 60 sessions, or less than 10 securities with nearly all of them.
    """
    had, whole = _checked(returns, securities, sectors)
    share = _shares(len(returns), half_life)
    told = 1 / float(share @ share)  # so many equally weighted sessions would tell as much
    moves = np.where(had, returns, 0.0)
    means = share @ moves[:, whole] / (share @ had[:, whole])
    kept = np.where(had[:, whole], moves[:, whole] - means, 0.0)
    variance = share @ kept**2 / (share @ had[:, whole])
    standard = np.sqrt(share)[:, None] * kept / np.sqrt(variance)
    values, left, right = _components(standard)
    count = factor_count(standard, share)
    noise = (len(variance) - float(values[:count].sum())) / (len(variance) - count)
    kept_part = noise * (_population(values[:count] / noise, len(variance) / told) - 1) / values[:count]
    raw = right[:, :count] * np.sqrt(
        values[:count] * variance[:, None]
    )  # a session's move for one deviation of the factor
    factors = left[:, :count] / np.sqrt(share)[:, None]

    exposures = np.zeros((len(securities), count))
    own = np.zeros(len(securities))
    exposures[whole] = raw
    own[whole] = np.maximum(variance - raw**2 @ kept_part, 0.0)
    prior = _means_by_sector(sectors, whole, np.column_stack([exposures, own]))
    sessions = np.where(whole, told, 0.0)
    for place in np.flatnonzero(~whole):
        exposures[place], own[place], sessions[place] = _borrowed(
            moves[:, place], factors, share * told * had[:, place], prior[place, :-1], prior_sessions
        )
    own[~whole] += exposures[~whole] ** 2 @ (1 - kept_part)
    own = (sessions * own + prior_sessions * prior[:, -1]) / (sessions + prior_sessions)
    return _estimate(securities, exposures * np.sqrt(kept_part), own, specific_floor, had, whole)


def fundamental(
    returns: np.ndarray,
    securities: Sequence[str],
    sectors: Sequence[str],
    styles: np.ndarray,
    capitalisation: np.ndarray,
    *,
    half_life: float = 252,
    prior_sessions: float = 126,
    specific_floor: float = 0.05,
) -> Estimate:
    """Sectors and styles as factors: every session's returns are regressed on what the names are today.

    A name's exposures need no history: one listed yesterday has its sector, and its styles where they are known.

    Shape    returns as in `statistical`; styles (securities, styles), z-scores, NaN where unknown (then 0: the mean).
    Rows     names weigh by the square root of their capitalisation.
    Omits    how styles moved over the window: today's exposures stand for all of it.
    Errors   as in `statistical`; ValueError for a capitalisation that is not positive.
    """
    had, whole = _checked(returns, securities, sectors)
    if not (capitalisation > 0).all():
        raise ValueError("capitalisation must be positive: a name without one cannot be weighed")
    share = _shares(len(returns), half_life)
    moves = np.where(had, returns, 0.0)
    known = np.array(sorted(set(sectors)))
    exposures = np.column_stack([np.array(sectors)[:, None] == known, np.where(np.isnan(styles), 0.0, styles)]).astype(
        float
    )
    root = np.sqrt(capitalisation)
    factors = np.empty((len(returns), exposures.shape[1]))
    for session, (row, here) in enumerate(zip(moves, had, strict=True)):
        weighted = exposures.T * (root * here)
        factors[session] = np.linalg.lstsq(weighted @ exposures, weighted @ row, rcond=1e-10)[
            0
        ]  # a sector without names: 0
    centred = factors - share @ factors
    values, vectors = np.linalg.eigh((centred.T * share) @ centred)
    residuals = np.where(had, moves - factors @ exposures.T, 0.0)
    counted = share @ had
    own = np.where(counted > 0, share @ residuals**2 / np.maximum(counted, 1e-12), 0.0)
    prior = _means_by_sector(sectors, whole, own[:, None])[:, 0]
    sessions = counted / float(share @ share)
    own = (sessions * own + prior_sessions * prior) / (sessions + prior_sessions)
    return _estimate(
        securities, exposures @ vectors * np.sqrt(np.maximum(values, 0.0)), own, specific_floor, had, whole
    )


def factor_count(standard: np.ndarray, share: np.ndarray) -> int:
    """How many principal components are more than noise.

    Shape    standard (sessions, names), each name's squares adding up to one; share (sessions,), what each counts for.

    >>> draw, share = np.random.default_rng(1), np.full(400, 1 / 400)
    >>> returns = draw.normal(size=(400, 1)) + draw.normal(size=(400, 50))
    >>> factor_count(returns / np.sqrt((returns**2).sum(axis=0)), share)
    1
    """
    count, rest = 0, standard
    values, left, right = _components(standard)
    for _ in range(LOOKS):
        unit = rest / np.sqrt(np.maximum((rest**2).sum(axis=0), 1e-12))
        above = np.sum(_components(unit)[0] > noise_edge(standard.shape[1], share, count))
        count = min(count + int(above), min(standard.shape) // 2)
        rest = standard - left[:, :count] * np.sqrt(values[:count]) @ right[:, :count].T
    return count


def noise_edge(names: int, share: np.ndarray, gone: int = 0) -> float:
    """The largest eigenvalue of correlations of names that have nothing in common, after `gone` components went.

    Silverstein's equation for the edge: with equal sessions it is (1 + sqrt(names / sessions))^2.

    >>> round(noise_edge(100, np.full(400, 1 / 400)), 4)
    2.25
    """
    left = len(share) / (len(share) - gone)
    spread = names * share * left
    at = -np.linspace(0.001, 0.999, 999)[:, None] / spread.max()
    return float(np.min(-1 / at[:, 0] + (spread / (1 + spread * at)).sum(axis=1) / (names * left)))


def _population(sample: np.ndarray, ratio: float) -> np.ndarray:
    """The eigenvalue that shows as this one, in units of the noise, with `ratio` names a session.

    >>> _population(np.array([2.0 + 0.25 * 2.0 / (2.0 - 1.0)]), 0.25).round(9).tolist()
    [2.0]
    """
    near = sample + 1 - ratio
    return (near + np.sqrt(np.maximum(near**2 - 4 * sample, 0.0))) / 2


def _components(standard: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Squared singular values, largest first, with their vectors: by the smaller of the two products."""
    if len(standard) <= standard.shape[1]:
        values, left = np.linalg.eigh(standard @ standard.T)
        values, left = values[::-1], left[:, ::-1]
        return values, left, standard.T @ left / np.sqrt(np.maximum(values, 1e-12))
    values, right = np.linalg.eigh(standard.T @ standard)
    values, right = values[::-1], right[:, ::-1]
    return values, standard @ right / np.sqrt(np.maximum(values, 1e-12)), right


def _borrowed(
    moves: np.ndarray, factors: np.ndarray, weights: np.ndarray, prior: np.ndarray, prior_sessions: float
) -> tuple[np.ndarray, float, float]:
    """Exposures between the sector's and its own, the variance around them, and how many sessions tell of it."""
    weighted = factors.T * weights
    curve = weighted @ factors + prior_sessions * np.eye(len(prior))
    exposures = prior + np.linalg.solve(curve, weighted @ (moves - factors @ prior))
    sessions = float(weights.sum())
    used = len(prior) - prior_sessions * float(np.trace(np.linalg.inv(curve)))
    return exposures, float(weights @ (moves - factors @ exposures) ** 2) / max(sessions - used, 1.0), sessions


def _means_by_sector(sectors: Sequence[str], whole: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """For each security the mean of its sector's rows, of those with a whole history; of all where the sector has none."""
    labels = np.array(sectors)
    means = np.broadcast_to(rows[whole].mean(axis=0), rows.shape).copy()
    for sector in set(sectors):
        if (within := whole & (labels == sector)).any():
            means[labels == sector] = rows[within].mean(axis=0)
    return means


def _estimate(
    securities: Sequence[str], exposures: np.ndarray, own: np.ndarray, floor: float, had: np.ndarray, whole: np.ndarray
) -> Estimate:
    specific = np.sqrt(own * SESSIONS_A_YEAR)
    model = RiskModel(tuple(securities), exposures * np.sqrt(SESSIONS_A_YEAR), np.maximum(specific, floor))
    counted = had.sum(axis=0)
    return Estimate(
        model, exposures.shape[1],
        {name: int(counted[i]) for i, name in enumerate(securities) if not whole[i]},
        tuple(name for name, risk in zip(securities, specific, strict=True) if risk < floor),
    )  # fmt: skip


def _checked(returns: np.ndarray, securities: Sequence[str], sectors: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Where returns are, and which securities have nearly all of them."""
    if returns.ndim != 2 or returns.shape[1] != len(securities) or len(securities) != len(sectors):
        raise ValueError(f"{returns.shape} returns, {len(securities)} securities and {len(sectors)} sectors do not fit")
    if np.isinf(returns).any():
        raise ValueError("a return is infinite: a price before it is zero")
    if len(returns) < LEAST_SESSIONS:
        raise ValueError(f"{len(returns)} sessions of returns are too few for a risk model: {LEAST_SESSIONS} at least")
    had = ~np.isnan(returns)
    apart = np.where(had, returns, -np.inf).max(axis=0) - np.where(had, returns, np.inf).min(axis=0)
    had &= apart > STILL
    whole = had.mean(axis=0) >= NEARLY_ALL
    if whole.sum() < LEAST_SECURITIES:
        raise ValueError(
            f"{whole.sum()} of {len(securities)} securities have returns in nearly all of {len(returns)} sessions: "
            f"{LEAST_SECURITIES} are needed to find what they have in common"
        )
    return had, whole


def _shares(sessions: int, half_life: float) -> np.ndarray:
    """The part that each session counts for."""
    share = 0.5 ** (np.arange(sessions)[::-1] / half_life)
    return share / share.sum()
