"""What an account that follows an index should hold: exclusions, then tilts, then the sample."""

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from transforms.index.risk_model import RiskModel
from transforms.index.sampling import sampled
from transforms.index.tilts import low_volatility, momentum, scores, size, tilted
from transforms.index.universe import Constituent, Exclusions, universe


class Target(NamedTuple):
    """The household's own weights, and what its choices cost of the cap.

    Shape    weights, and the scores of each factor, as the model's securities.
    Units    tracking_error of these weights to the index, a fraction a year. Scores are z-scores; what is no constituent
             that may be held has 0, the mean.
    """

    weights: np.ndarray
    tracking_error: float
    excluded: Mapping[str, str]
    not_found: tuple[str, ...]
    scores: Mapping[str, np.ndarray]


def target(
    names: Sequence[Constituent],
    exclusions: Exclusions,
    tilts: Mapping[str, float],
    count: int | None,
    model: RiskModel,
    prices: np.ndarray,
    *,
    sector_neutral: bool = True,
    factors: Collection[str] = (),
) -> Target:
    """The weights that a household wants, and how far they are from the index by themselves.

    Shape    prices (sessions, the model's securities), adjusted, newest last; NaN where there is none.
    Rows     the model has every constituent, one without prices by what its sector is like: left out, it counts in the
             tracking error all the same. `factors` are scored besides those of the tilts.
    Errors   UniverseError, TiltError; ValueError for a sample of no name.
    """
    made = universe(names, exclusions)
    place = {name: at for at, name in enumerate(model.securities)}
    kept = [one for one in names if one.symbol in made.wanted]
    columns = [place[one.symbol] for one in kept]
    sectors = [one.sector for one in kept]
    measures = {
        "momentum": lambda: momentum(prices[:, columns]),
        "low_volatility": lambda: low_volatility(prices[:, columns]),
        "size": lambda: size(np.array([one.weight for one in kept])),  # weights will do: the scale is taken out
        "value": lambda: _given([one.value for one in kept]),
        "quality": lambda: _given([one.quality for one in kept]),
    }
    scored = {
        name: scores(measures[name](), sectors, name, sector_neutral=sector_neutral)
        for name in sorted({*tilts, *factors})
    }
    wanted = np.array([made.wanted[one.symbol] for one in kept])
    weights, benchmark = np.zeros(len(place)), np.zeros(len(place))
    weights[columns] = tilted(wanted, scored, tilts, sectors, sector_neutral=sector_neutral)
    for name, weight in made.benchmark.items():
        benchmark[place[name]] = weight
    if count is not None:
        weights = sampled(weights, model, count)
    everywhere = {name: np.zeros(len(place)) for name in scored}
    for name, here in scored.items():
        everywhere[name][columns] = here
    error = model.tracking_error(weights - benchmark)
    return Target(weights, error, made.excluded, made.not_found, everywhere)


def _given(column: Sequence[float | None]) -> np.ndarray:
    return np.array([float("nan") if one is None else one for one in column])
