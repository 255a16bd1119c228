"""How much loss a household can use this year.

The problem. A loss is worth its tax only where there is something to set it against: the gains of the year, and a little
other income. What is more is carried over; it costs a trade today and saves its tax some day.

The choice. The need is what the year's gains, realised and planned, come to after the losses carried into it, plus the
limit against other income. `[harvest] by = "need"` harvests until it is met.
"""

from decimal import Decimal

from transforms.harvest.benefit import Rates


def needed_usd(short_usd: Decimal, long_usd: Decimal, rates: Rates) -> Decimal:
    """The loss that would still be used this year; zero when the year has all that it can use.

    Law      26 USC 1211(b), 1212(b).
    Units    USD; results of the year so far, with what was carried into it as losses, signed.

    Gains of 4,000 and 2,000, and 5,000 of losses carried into the year: 1,000 is left, and 3,000 counts against income.

    >>> rates = Rates(Decimal("0.29"), Decimal("0.20"), Decimal("0.29"), Decimal(3000))
    >>> needed_usd(Decimal(4000) - Decimal(5000), Decimal(2000), rates), needed_usd(Decimal(-7000), Decimal(2000), rates)
    (Decimal('4000'), Decimal('0'))
    """
    return max(Decimal(0), short_usd + long_usd + rates.loss_limit_usd)
