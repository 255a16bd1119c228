"""An index in fewer names.

The problem. A small account cannot hold five hundred names: the smallest would be cents. Which hundred, and with which weights?

The choice. Names are taken away, a tenth at a time, those with the least weight, and the rest is weighed anew so that the predicted
tracking error is least (`sampled`); the last weights are exact for the names that remain. Taking the largest of each sector with the
sector's weight (`stratified`) needs no risk model; it is what the other is measured against, and what is left without a history.
`python -m bench index` measures both on real prices: docs/direct-indexing.md has the figures.
"""

from collections.abc import Sequence

import numpy as np

from transforms.index.risk_model import RiskModel

KEPT = 0.9  # of the names, each time that some go
BUDGET = 1e3  # how much more the sum of the weights matters than the fit, before it is brought to one


def sampled(weights: np.ndarray, model: RiskModel, count: int) -> np.ndarray:
    """At most `count` names with the weights that track `weights` best, none negative, as predicted by the model.

    Shape    weights as the model's securities, adding up to one; so does what comes back, zero where a name is left out.
    Errors   ValueError for less than one name.

    >>> model = RiskModel(("A", "B", "C"), np.array([[0.2], [0.2], [0.2]]), np.array([0.1, 0.1, 0.1]))
    >>> sampled(np.array([0.5, 0.3, 0.2]), model, 2).round(3).tolist()
    [0.6, 0.4, 0.0]
    """
    _countable(count)
    made = np.array(weights, dtype=float)
    here = np.flatnonzero(made > 0)
    while len(here) > count:
        least = max(count, int(KEPT * len(here)))
        here = np.sort(here[np.argsort(-made[here], kind="stable")[:least]])
        made = _fitted(weights, model, here)
        here = np.flatnonzero(made > 0)
    return made


def stratified(weights: np.ndarray, sectors: Sequence[str], count: int) -> np.ndarray:
    """The largest names of each sector, with the sector's weight; seats go to sectors by weight (largest remainders).

    Errors   ValueError for fewer names than sectors.

    >>> stratified(np.array([0.3, 0.2, 0.1, 0.4]), ["A", "A", "A", "B"], 2).round(3).tolist()
    [0.6, 0.0, 0.0, 0.4]
    """
    _countable(count)
    labels = np.array(sectors)
    held = sorted(set(labels[weights > 0].tolist()))
    if count < len(held):
        raise ValueError(f"{count} names cannot stand for {len(held)} sectors: give at least {len(held)}")
    shares = np.array([weights[labels == sector].sum() for sector in held]) / weights.sum() * count
    there = np.array([np.sum(weights[labels == sector] > 0) for sector in held])
    seats = np.minimum(np.maximum(np.floor(shares), 1), there).astype(int)
    while seats.sum() != min(count, there.sum()):
        step = 1 if seats.sum() < count else -1
        may = seats < there if step > 0 else seats > 1
        seats[np.argmax(np.where(may, step * (shares - seats), -np.inf))] += step
    made = np.zeros(len(weights))
    for sector, seat in zip(held, seats, strict=True):
        within = np.flatnonzero(labels == sector)
        kept = within[np.argsort(-weights[within], kind="stable")[:seat]]
        made[kept] = weights[kept] / weights[kept].sum() * weights[within].sum()
    return made


def _fitted(weights: np.ndarray, model: RiskModel, here: np.ndarray) -> np.ndarray:
    """Weights of these names, none negative, that add up to one and track best."""
    from scipy.linalg import cholesky, solve_triangular  # (loading it takes longer than most commands)
    from scipy.optimize import nnls

    near, own = model.exposures[here], model.specific[here] ** 2
    pull = near @ (model.exposures.T @ weights) + own * weights[here]
    lower = cholesky(near @ near.T + np.diag(own), lower=True)
    budget = BUDGET * float(np.sqrt(own.mean()))
    rows = np.vstack([lower.T, np.full((1, len(here)), budget)])
    found, _ = nnls(rows, np.append(solve_triangular(lower, pull, lower=True), budget * weights.sum()))
    made = np.zeros(len(weights))
    made[here] = found / found.sum() * weights.sum()
    return made


def _countable(count: int) -> None:
    if count < 1:
        raise ValueError(f"a sample of {count} names: expected at least one")
