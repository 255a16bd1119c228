"""What a harvest is worth when nothing but time is gained: the growth on a tax that is paid later.

The problem. A harvest is advertised by the tax that it saves this year. The replacement stands in the books at the lower
price, so its sale brings the same gain back: at one rate the saved tax is a loan without interest, and only its growth
is kept.

The choice. Three amounts that are never added up: the tax put off, what grows on it, and what is owed back. All are in
dollars of today, at the rate at which the household's money grows.
"""

from decimal import Decimal
from typing import NamedTuple

from transforms.harvest.benefit import Rates


class Deferral(NamedTuple):
    """A loss taken now and given back later. Units: USD; `value_rate` is `growth_usd` to what the shares are worth."""

    loss_usd: Decimal
    deferred_usd: Decimal
    growth_usd: Decimal
    owed_back_usd: Decimal
    value_rate: Decimal


def deferral(cost_usd: Decimal, value_usd: Decimal, rate: Decimal, growth_rate: Decimal, years: int) -> Deferral:
    """A loss taken at a rate and given back at the same rate after some years.

    Omits    the tax on the growth itself, when that is sold.

    Bought for 20,000 and worth 14,000, at 15 %; the saved tax grows at 8 % for a year. Not 900 was gained but 72:

    >>> found = deferral(Decimal(20000), Decimal(14000), Decimal("0.15"), Decimal("0.08"), 1)
    >>> found[:4]
    (Decimal('6000'), Decimal('900.00'), Decimal('72.00'), Decimal('900.00'))
    >>> f"{found.value_rate:.2%}"
    '0.51%'
    """
    loss = cost_usd - value_usd
    deferred = (loss * rate).quantize(Decimal("0.01"))
    growth = (deferred * ((1 + growth_rate) ** years - 1)).quantize(Decimal("0.01"))
    return Deferral(loss, deferred, growth, deferred, growth / value_usd)


def kept(
    saved: float, owed_back: float, growth: float, growth_tax: float, years: float, saved_after: float = 0
) -> float:
    """What is kept of a tax saved now, or after some years, and owed back after `years`, in dollars of today.

    Units    USD, USD, then fractions: a year's growth, and the tax on what grew.

    The saved tax grows from when it is saved, what grew is taxed, and what is owed is paid from it. The same 900 at 8 % for
    a year, the growth taxed at 15 %: 61.20 in a year, 56.67 today. Saved at 29 % and owed at 15 %, 840 of the difference
    stays besides; saved only when it is owed, nothing is kept:

    >>> round(kept(900, 900, 0.08, 0.15, 1), 2), round(kept(1740, 900, 0.08, 0.15, 1), 2), kept(900, 900, 0.08, 0.15, 1, 1)
    (56.67, 887.33, 0.0)
    """
    then, end = (1 + growth) ** -saved_after, (1 + growth) ** -years
    return saved * (then - growth_tax * (then - end)) - owed_back * end


def carried_saving(
    before: Decimal, after: Decimal, rates: Rates, later_rate: float, growth: float, years: int, away: int = 0
) -> float:
    """What is kept of what a loss that its year cannot use saves in later ones, in dollars of today.

    Law      26 USC 1211(b), 1212(b): so much a year against other income, the rest is carried on.
    Units    `before` and `after`: what is carried without this loss and with it, USD, positive; its year is `away` years on.
    Omits    gains of later years that use it sooner, other than the one that is owed back after `years`.

    Carried: 4,000 at 3,000 a year, 24 %; at no growth it is all of 960, and after a queue of 30,000 it meets only the gain that is
    given back ten years from now, at 15 %:

    >>> rates = Rates(Decimal(0), Decimal(0), Decimal("0.24"), Decimal(3000))
    >>> carried_saving(Decimal(0), Decimal(4000), rates, 0.15, 0.0, 10)
    960.0
    >>> round(carried_saving(Decimal(30000), Decimal(34000), rates, 0.15, 0.05, 10), 2), round(600 / 1.05**10, 2)
    (368.35, 368.35)
    """
    found, limit = 0.0, rates.loss_limit_usd
    for year in range(away + 1, years + 1):
        used = limit * (year - away - 1), limit * (year - away)
        first, last = (min(max(at, used[0]), used[1]) for at in (before, after))
        found += kept(float(last - first) * float(rates.ordinary), 0, growth, later_rate, years, year)
    end = limit * max(0, years - away)
    return found + kept(float(max(after, end) - max(before, end)) * later_rate, 0, growth, later_rate, years, years)
