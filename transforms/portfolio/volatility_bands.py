"""Bands that follow volatility: wide where and when a class moves much, tight where it hardly moves.

The problem. The same band is left every month by a class that moves a lot, and never by one that does not; the first is
traded for noise, the second is never corrected. And a month of panic drives every class out of a band that suits a quiet year.

The choice. A class's band is scaled by its realised volatility of the last quarter over what is usual: the mean of the household
over a longer time, weighted by the targets. So every class strays as often, and all bands widen when everything moves and
tighten when nothing does, between limits. A class without a price history keeps its band.
"""

from collections.abc import Mapping

import numpy as np

from transforms.risk.measures import SESSIONS_A_YEAR, volatility

RECENT_SESSIONS = 63  # a quarter


def scales(
    recent: Mapping[str, float], usual: Mapping[str, float], targets: Mapping[str, float], low: float, high: float
) -> dict[str, float]:
    """The factor of each class's band.

    Units    volatilities as fractions a year, of the last quarter and of the longer time; `low` and `high` limit the factor.
    Rows     the classes with a volatility; 1 for all of them where no target has one.

    >>> usual, targets = {"Stocks": 0.18, "Bonds": 0.06, "Bills": 0.01}, {"Stocks": 0.5, "Bonds": 0.5}
    >>> scales(usual, usual, targets, 0.5, 2.0)
    {'Stocks': 1.5, 'Bonds': 0.5, 'Bills': 0.5}
    >>> scales({"Stocks": 0.36, "Bonds": 0.12, "Bills": 0.02}, usual, targets, 0.5, 2.0)
    {'Stocks': 2.0, 'Bonds': 1.0, 'Bills': 0.5}
    """
    known = {name: weight for name, weight in targets.items() if weight > 0 and name in usual}
    whole = sum(known.values())
    mean = sum(weight * usual[name] for name, weight in known.items()) / whole if whole else 0.0
    return {name: round(min(high, max(low, moves / mean)), 12) if mean else 1.0 for name, moves in recent.items()}


def class_returns(
    returns: Mapping[str, np.ndarray], values: Mapping[str, float], class_of: Mapping[str, str]
) -> dict[str, np.ndarray]:
    """Returns of each class: of its securities at the weights of tonight.

    Shape    returns by security, all of one length; values are what is held of each; out by class.
    Rows     a class none of whose securities is held with a history has none.

    >>> of = {"VTI": "Stocks", "VXUS": "Stocks"}
    >>> moves = class_returns({"VTI": np.array([0.02]), "VXUS": np.array([0.01])}, {"VTI": 3.0, "VXUS": 1.0}, of)
    >>> moves["Stocks"].round(6).tolist()
    [0.0175]
    """
    found: dict[str, np.ndarray] = {}
    weight: dict[str, float] = {}
    for name, moves in sorted(returns.items()):
        if (value := values.get(name, 0.0)) > 0 and name in class_of:
            its = class_of[name]
            found[its] = found.get(its, np.zeros(len(moves))) + value * moves
            weight[its] = weight.get(its, 0.0) + value
    return {name: found[name] / weight[name] for name in found}


def volatilities(returns: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Annualised volatility of every class with at least two returns."""
    return {name: volatility(moves) for name, moves in returns.items() if len(moves) > 1}


def recent(returns: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The returns of the last quarter."""
    return {name: moves[-RECENT_SESSIONS:] for name, moves in returns.items()}


def covariance(returns: Mapping[str, np.ndarray]) -> tuple[list[str], np.ndarray]:
    """The classes in order and the covariance of their returns, annualised.

    >>> classes, spread = covariance({"B": np.array([0.01, -0.01]), "A": np.array([0.02, 0.02])})
    >>> classes, spread.round(4).tolist()
    (['A', 'B'], [[0.0, 0.0], [0.0, 0.0504]])
    """
    classes = sorted(returns)
    if not classes or len(returns[classes[0]]) < 2:
        return [], np.zeros((0, 0))
    return classes, np.atleast_2d(np.cov(np.array([returns[name] for name in classes]))) * SESSIONS_A_YEAR
