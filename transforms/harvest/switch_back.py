"""Back to what was sold, after the window: only if it pays.

The problem. A harvest leaves the household with something else than it wanted. Going back after 30 days is allowed, and
realises whatever the replacement has gained since, most often short-term: the tax that was put off comes back at a worse
rate. Not going back costs no money, but risk: the replacement drifts from what was wanted.

The choice. Three plans are priced in dollars of today. Now: this year's tax on the sale (by the pre-trade check, after
wash sales), the losses that it uses up, and two spreads. Later: the drift until the gain is long-term, then tax at the
long-term rate and the spreads. Keep: the drift over the horizon, and then the tax at the end, or none where the shares
will pass to heirs. Now must be cheaper than both by a margin. What the drift costs is its risk: a tracking error t of a
part w of the household adds (w t)^2 to its variance, and a variance costs half the household's risk aversion times itself,
a year. A small position may drift far before that is worth any tax.

Omits    how the drift goes with what else is held (taken as independent), dividends of the two, a change of rates, and
         that the shares bought back might be harvested again.
"""

from decimal import ROUND_HALF_UP, Decimal
from math import log1p
from typing import NamedTuple

CENT = Decimal("0.01")


class Terms(NamedTuple):
    """The policy. Units: USD, fractions a year, years, fractions of value."""

    min_benefit_usd: Decimal
    risk_aversion: float
    discount_rate: float
    horizon_years: float
    is_taxed_at_the_end: bool
    spread_rate: Decimal


class Plans(NamedTuple):
    """What each plan costs in dollars of today; `later` is None where no gain would turn long-term."""

    now: Decimal
    later: Decimal | None
    keep: Decimal
    drift_a_year: Decimal

    @property
    def benefit(self) -> Decimal:
        """What switching now saves over the cheaper of the others."""
        return min(self.keep, self.keep if self.later is None else self.later) - self.now


def plans(
    value_usd: Decimal,
    household_usd: Decimal,
    tracking_error: float,
    tax_now_usd: Decimal,
    used_up_usd: Decimal,
    tax_later_usd: Decimal,
    years_to_long: float | None,
    terms: Terms,
) -> Plans:
    """The three plans for one replacement.

    Units    USD, signed: a tax below zero saves; `tax_later_usd` is the tax on today's gain at the long-term rate,
             `used_up_usd` what the losses would have saved later that the gain uses up.

    $10,000, a tenth of the household, drifts by 20 % a year: 3 / 2 x 0.1 x 0.04 x 10,000 = $60 a year. Its short-term gain of
    $1,000 costs $290 now, $200 in half a year, or $200 in ten years: it waits.

    >>> terms = Terms(Decimal(50), 3.0, 0.0, 10.0, True, Decimal("0.0005"))
    >>> given = Decimal(10000), Decimal(100000), 0.20, Decimal(290), Decimal(0), Decimal(200), 0.5, terms
    >>> found = plans(*given)
    >>> [str(cost) for cost in found], str(found.benefit)
    (['300.00', '240.00', '800.00', '60.00'], '-60.00')
    """
    weight = float(
        value_usd / max(household_usd, value_usd, CENT)
    )  # what is owed elsewhere makes no part more than all
    drift = 0.5 * terms.risk_aversion * weight * tracking_error**2 * float(value_usd)
    spread = 2 * terms.spread_rate * value_usd

    def cost(years: float, then: Decimal) -> Decimal:
        rate = terms.discount_rate
        worth = (1 + rate) ** -years
        paid = (1 - worth) / log1p(rate) if rate else years
        return _cents(Decimal(drift * paid) + then * Decimal(worth))

    return Plans(
        _cents(tax_now_usd + used_up_usd + spread),
        None if years_to_long is None else cost(years_to_long, tax_later_usd + spread),
        cost(terms.horizon_years, tax_later_usd if terms.is_taxed_at_the_end else Decimal(0)),
        _cents(Decimal(drift)),
    )


def _cents(amount: Decimal) -> Decimal:
    return amount.quantize(CENT, ROUND_HALF_UP)
