"""What the optimizer is asked: the holdings lot by lot, the target, risk, tax, cost and the named constraints.

One account's money is traded. What other accounts bought and sold comes in as constraints (`WashWindows`).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from transforms.exact import NANO
from transforms.harvest.benefit import Rates
from transforms.index.risk_model import RiskModel

if TYPE_CHECKING:
    from transforms.index.constraints import Constraint

BPS = 10_000.0


class NotMeant(ValueError):
    """A problem that cannot be meant: what of it."""


def later_rate(long_rate: float, years: float, discount_rate: float, taxed: float = 1.0) -> float:
    """What a rate on a gain that is not realised now is worth today: later, discounted, and only if it is ever taxed.

    A step-up in basis or a gift to charity makes `taxed` smaller: the chance that the gain is ever taxed.

    A loss of $6,000 that saves 15 % now and costs it back in a year is worth $66.67 today, $72 then at 8 %:

    >>> round(6000 * (0.15 - later_rate(0.15, 1, 0.08)), 2), round(6000 * (0.15 - later_rate(0.15, 1, 0.08)) * 1.08, 2)
    (66.67, 72.0)
    """
    return long_rate * taxed / (1 + discount_rate) ** years


@dataclass(frozen=True, slots=True)
class Lots:
    """The open lots of the account that is traded.

    Shape    all arrays (lots,); `security` is an index into the problem's securities.
    Units    quantity in nano-shares, basis in USD a share, days; `taxed` is the chance that its gain is ever taxed.
    """

    lot_ids: tuple[str, ...]
    security: np.ndarray
    quantity: np.ndarray
    basis_usd: np.ndarray
    is_long: np.ndarray
    days_held: np.ndarray
    days_to_long: np.ndarray
    taxed: np.ndarray


@dataclass(frozen=True, slots=True)
class Taxes:
    """Rates now, the year so far, and what later is worth.

    Units    rates are fractions. `short_usd` and `long_usd` are the year's net results so far with the carryovers that came into
             it, signed; `carried_rate` is what a dollar of loss beyond the year's limit is worth today; `later_rate` the
             function of that name for a lot whose gain is surely taxed one day.
    """

    rates: Rates
    short_usd: Decimal
    long_usd: Decimal
    carried_rate: float
    later_rate: float


@dataclass(frozen=True, slots=True)
class Costs:
    """What trading costs.

    Shape    each (securities,).
    Units    half_spread_bps of what is traded; impact_bps of what is traded when a whole day's volume is, and in
             proportion for less; volume_usd a day, which may be infinite where impact_bps is 0.
    """

    half_spread_bps: np.ndarray
    impact_bps: np.ndarray
    volume_usd: np.ndarray


@dataclass(frozen=True)
class Problem:
    """One account to be brought near its target.

    Shape    prices_usd, target (securities,). What is missing from the targets to 1 is cash.
    Units    `risk_aversion`: USD a USD held and unit of variance; at 10 a tracking error of 1 % costs 10 bps once.
             `threshold_bps` of the portfolio: what a plan must be better than a simpler one. `step` in nano-shares.
             An order of less than `least_order_usd` is dropped in rounding, but for one that closes a position.
    Errors   NotMeant: a price that is none, a lot of nothing, rates that run the wrong way, an account without value.
    """

    securities: tuple[str, ...]
    prices_usd: np.ndarray
    target: np.ndarray
    lots: Lots
    cash_usd: Decimal
    risk: RiskModel
    taxes: Taxes
    costs: Costs
    risk_aversion: float
    threshold_bps: float
    constraints: Mapping[str, "Constraint"] = field(default_factory=dict)
    cash_floor_usd: Decimal = Decimal(0)
    step: int = NANO
    least_order_usd: Decimal = Decimal(1)  # what a broker takes a part of a share for
    cushion_rate: float = 0.0  # of what is bought: kept in cash, for prices that rise until an order is filled

    def __post_init__(self) -> None:
        for said, is_wrong in self._faults():
            if is_wrong:
                raise NotMeant(said)

    def _faults(self) -> list[tuple[str, bool]]:
        """Looked at in this order; what comes later may rely on what came before."""
        count, lots, costs = len(self.securities), self.lots, self.costs
        rates, size = self.taxes.rates, len(self.lots.lot_ids)
        per_security = (self.prices_usd, self.target, costs.half_spread_bps, costs.impact_bps, costs.volume_usd)
        per_lot = (
            lots.security,
            lots.quantity,
            lots.basis_usd,
            lots.is_long,
            lots.days_held,
            lots.days_to_long,
            lots.taxed,
        )
        shapes = any(each.shape != (count,) for each in per_security) or any(each.shape != (size,) for each in per_lot)
        if shapes or self.risk.securities != self.securities:
            return [("prices, target, costs, risk model and lots are not of the same securities and lots", True)]
        bad = [name for name, price in zip(self.securities, self.prices_usd, strict=True) if not 0 < price < np.inf]
        return [
            (f"no price that can be traded at: {', '.join(bad[:5])}", bool(bad)),
            ("a security is there twice", len(set(self.securities)) < count),
            ("a lot's security is not one of the problem's", bool(np.any((lots.security < 0) | (lots.security >= count)))),
            ("a lot has no shares, or a basis that is no number",
             bool(np.any(lots.quantity <= 0)) or not np.all(np.isfinite(lots.basis_usd))),
            ("a lot's chance of being taxed is not between 0 and 1", not np.all((lots.taxed >= 0) & (lots.taxed <= 1))),
            ("target weights are negative, no numbers, or more than 1 together",
             not np.all(self.target >= 0) or not self.target.sum() <= 1 + 1e-9),
            ("risk, costs, aversion or threshold are negative or no numbers",
             not all(np.all(each >= 0) for each in (costs.half_spread_bps, costs.impact_bps, self.risk.specific))
             or not np.all(np.isfinite(self.risk.exposures)) or not min(self.risk_aversion, self.threshold_bps) >= 0),
            ("a volume is not above zero", not np.all(costs.volume_usd > 0)),
            ("a market impact needs a volume", not np.all(np.isfinite(costs.volume_usd) | (costs.impact_bps == 0))),
            ("the short-term rate is below the ordinary one, or a rate is negative",
             rates.short < rates.ordinary or min(rates[:3]) < 0),
            ("a loss carried over is worth more than one used now", not 0 <= self.taxes.carried_rate <= rates.ordinary),
            ("quantities need a step of at least one nano-share", self.step < 1),
            ("the least order is negative", not self.least_order_usd >= 0),
            ("the account has no value", not self.value_usd > 0),
        ]  # fmt: skip

    @cached_property
    def lot_usd(self) -> np.ndarray:
        return self.lots.quantity / NANO * self.prices_usd[self.lots.security]

    @cached_property
    def value_usd(self) -> float:
        """Of all lots and the cash."""
        return float(self.lot_usd.sum()) + float(self.cash_usd)

    @cached_property
    def held(self) -> np.ndarray:
        """Present weights.

        Shape    (securities,).
        """
        return np.bincount(self.lots.security, self.lot_usd, len(self.securities)) / self.value_usd

    @cached_property
    def gain_rate(self) -> np.ndarray:
        """Gain a dollar sold, signed, after the spread.

        Shape    (lots,).
        """
        prices = self.prices_usd[self.lots.security]
        return 1 - self.costs.half_spread_bps[self.lots.security] / BPS - self.lots.basis_usd / prices

    @property
    def named(self) -> dict[str, int]:
        """Where each security stands."""
        return {name: at for at, name in enumerate(self.securities)}
