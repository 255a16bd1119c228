"""What a plan must keep: one small class a constraint, and a name for each in `Problem.constraints`.

A constraint bars lots from being sold, bars securities from being bought, or gives rows of inequalities. Rows may
be soft: then each unit beyond the limit has a price and is shown as slack. Two are more than that: the cap on
tracking error is a cone, and the minimum trade is no convex set, so that a step around the convex core keeps it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from scipy import sparse

from transforms.index.problem import NotMeant, Problem


class Rows(NamedTuple):
    """weights @ (weight after - target) + sales @ sold + buys @ bought <= upper, all in fractions of the portfolio.

    Units    slack_rate is USD a USD beyond the limit; None: the limit is hard.
    """

    labels: tuple[str, ...]
    upper: np.ndarray
    weights: sparse.csr_matrix | None = None
    sales: sparse.csr_matrix | None = None
    buys: sparse.csr_matrix | None = None
    slack_rate: float | None = None


class Constraint:
    """One that asks for nothing."""

    def barred_sales(self, problem: Problem) -> np.ndarray:
        """Lots that must not be sold."""
        return np.zeros(len(problem.lots.lot_ids), bool)

    def barred_buys(self, problem: Problem) -> np.ndarray:
        """Securities that must not be bought."""
        return np.zeros(len(problem.securities), bool)

    def rows(self, problem: Problem) -> Rows | None:
        return None


@dataclass(frozen=True, slots=True)
class TrackingErrorCap(Constraint):
    """Predicted tracking error, a fraction a year, is never above it.

    Errors   NotMeant for a cap that is not above zero.
    """

    max_rate: float

    def __post_init__(self) -> None:
        if not self.max_rate > 0:
            raise NotMeant(f"a cap on tracking error of {self.max_rate:.2%}: it must be above zero")


@dataclass(frozen=True, slots=True)
class MinimumTrade(Constraint):
    """A purchase, or all sales of a security together, is worth so much, closes the position, or is not made."""

    min_usd: float


@dataclass(frozen=True, slots=True)
class WashWindows(Constraint):
    """What the household's accounts bought and sold in the last days (mart.cannot_buy_today, cannot_sell_at_a_loss_today).

    Law      26 USC 1091(a): a loss is disallowed if substantially identical stock is bought within 30 days before or after.

    `identical` names the group of a security that is not alone in its group; in a group in which a lot is sold at a loss
    nothing is bought the same day either (`transforms/index/optimizer.py`, one side).
    """

    no_purchase: frozenset[str] = frozenset()
    no_loss_sale: frozenset[str] = frozenset()
    identical: Mapping[str, str] = field(default_factory=dict)

    def barred_sales(self, problem: Problem) -> np.ndarray:
        return _any_of(problem, self.no_loss_sale)[problem.lots.security] & (problem.gain_rate < 0)

    def barred_buys(self, problem: Problem) -> np.ndarray:
        return _any_of(problem, self.no_purchase)


@dataclass(frozen=True, slots=True)
class DoNotSell(Constraint):
    securities: frozenset[str]

    def barred_sales(self, problem: Problem) -> np.ndarray:
        return _any_of(problem, self.securities)[problem.lots.security]


@dataclass(frozen=True, slots=True)
class DoNotBuy(Constraint):
    securities: frozenset[str]

    def barred_buys(self, problem: Problem) -> np.ndarray:
        return _any_of(problem, self.securities)


@dataclass(frozen=True, slots=True)
class HoldingTime(Constraint):
    """A lot is held for `min_days`; one with a gain that becomes long-term within `wait_days` is waited for."""

    min_days: int = 0
    wait_days: int = 0

    def barred_sales(self, problem: Problem) -> np.ndarray:
        lots = problem.lots
        is_near = ~lots.is_long & (lots.days_to_long <= self.wait_days) & (problem.gain_rate > 0)
        return (lots.days_held < self.min_days) | is_near


@dataclass(frozen=True, slots=True)
class Turnover(Constraint):
    """Half of all purchases and sales, as a fraction of the portfolio."""

    max_rate: float

    def rows(self, problem: Problem) -> Rows:
        sales, buys = np.full((1, len(problem.lots.lot_ids)), 0.5), np.full((1, len(problem.securities)), 0.5)
        return Rows(("",), np.array([self.max_rate]), sales=sparse.csr_matrix(sales), buys=sparse.csr_matrix(buys))


@dataclass(frozen=True, slots=True)
class GainBudget(Constraint):
    """Net gains that this plan's sales realise, by term; negative asks for so much loss. None: no limit.

    `is_gross`: the gains alone, whatever losses stand beside them.
    """

    max_short_usd: float | None = None
    max_long_usd: float | None = None
    is_gross: bool = False

    def rows(self, problem: Problem) -> Rows:
        is_long = problem.lots.is_long.astype(bool)
        terms = {"short": (self.max_short_usd, ~is_long), "long": (self.max_long_usd, is_long)}
        asked = {name: (most, mask) for name, (most, mask) in terms.items() if most is not None}
        gains = np.maximum(problem.gain_rate, 0) if self.is_gross else problem.gain_rate
        return Rows(
            tuple(asked),
            np.array([most / problem.value_usd for most, _ in asked.values()]),
            sales=sparse.csr_matrix(
                np.array([gains * mask for _, mask in asked.values()]).reshape(len(asked), is_long.size)
            ),
        )


@dataclass(frozen=True, slots=True)
class SectorLimit(Constraint):
    """A sector's weight is not further from the target's than so much. With a slack_rate it is a band that bends."""

    sectors: tuple[str, ...]
    max_active_weight: float
    slack_rate: float | None = None

    def rows(self, problem: Problem) -> Rows:
        names = tuple(sorted(set(self.sectors)))
        member = np.array([[sector == name for sector in self.sectors] for name in names], float)
        return _both_ways(names, member, np.full(len(names), self.max_active_weight), self.slack_rate)


@dataclass(frozen=True, slots=True)
class FactorLimit(Constraint):
    """The exposure to each factor is not further from the target's than so much.

    Shape    exposures (securities, factors), max_active_exposure (factors,).
    """

    factors: tuple[str, ...]
    exposures: np.ndarray
    max_active_exposure: np.ndarray
    slack_rate: float | None = None

    def rows(self, problem: Problem) -> Rows:
        return _both_ways(self.factors, self.exposures.T, self.max_active_exposure, self.slack_rate)


@dataclass(frozen=True, slots=True)
class PositionLimit(Constraint):
    """Each weight is not further from its target than so much. With a slack_rate it is a band that bends.

    Shape    max_active_weight (securities,) or one for all.
    """

    max_active_weight: float | np.ndarray
    slack_rate: float | None = None

    def rows(self, problem: Problem) -> Rows:
        count = len(problem.securities)
        most = np.broadcast_to(self.max_active_weight, (count,))
        return _both_ways(problem.securities, sparse.identity(count, format="csr"), most, self.slack_rate)


def _both_ways(
    names: tuple[str, ...], matrix: np.ndarray | sparse.csr_matrix, most: np.ndarray, slack_rate: float | None
) -> Rows:
    above = sparse.csr_matrix(matrix)
    labels = tuple(f"{name} {side}" for side in ("above", "below") for name in names)
    return Rows(
        labels, np.concatenate([most, most]), weights=sparse.vstack([above, -above], "csr"), slack_rate=slack_rate
    )


def _any_of(problem: Problem, names: frozenset[str]) -> np.ndarray:
    return np.array([name in names for name in problem.securities], bool)
