"""What a loss saves this year: the tax without it less the tax with it."""

from decimal import Decimal
from typing import NamedTuple

from transforms.law import TaxYear, long_term_marginal_rate, niit_marginal_rate, ordinary_marginal_rate


class Rates(NamedTuple):
    """The household's rates on one more dollar, as fractions; the limit is USD a year."""

    short: Decimal
    long: Decimal
    ordinary: Decimal
    loss_limit_usd: Decimal


def rates(law: TaxYear, taxable_income_usd: Decimal, state_rate: Decimal) -> Rates:
    """Marginal rates from the brackets of the year.

    Law      26 USC 1(h), 1(j), 1211(b), 1411(a).
    Omits    crossing into another bracket; the state's own rules (a flat rate on everything).

    >>> from transforms.law import tax_year
    >>> from warehouse.law import law_rows
    >>> rates(tax_year(law_rows(), 2022, "mfj"), Decimal(210000), Decimal("0.05"))[:3]
    (Decimal('0.29'), Decimal('0.20'), Decimal('0.29'))
    """
    ordinary = ordinary_marginal_rate(law, taxable_income_usd)
    surtax = niit_marginal_rate(law, taxable_income_usd + law.standard_deduction_usd)
    return Rates(
        ordinary + surtax + state_rate,
        long_term_marginal_rate(law, taxable_income_usd) + surtax + state_rate,
        ordinary + state_rate,
        law.capital_loss_limit_usd,
    )


def tax_on(short_usd: Decimal, long_usd: Decimal, rate: Rates) -> Decimal:
    """Tax on a year's net short-term and long-term results; negative when a net loss saves tax on other income.

    Law      26 USC 1222(11), 1211(b): short and long are netted first, then against each other; a net loss counts
             against other income up to the limit, the rest is carried over and saves nothing this year.

    >>> rate = Rates(Decimal("0.29"), Decimal("0.20"), Decimal("0.29"), Decimal(3000))
    >>> tax_on(Decimal(3000), Decimal(1000), rate), tax_on(Decimal(-8000), Decimal(4000), rate)
    (Decimal('1070.00'), Decimal('-870.00'))
    """
    net = short_usd + long_usd
    if net < 0:
        return -min(-net, rate.loss_limit_usd) * rate.ordinary
    if short_usd < 0:
        return net * rate.long
    if long_usd < 0:
        return net * rate.short
    return short_usd * rate.short + long_usd * rate.long


def unused(short_usd: Decimal, long_usd: Decimal, rate: Rates) -> Decimal:
    """The part of a net loss that is carried into later years.

    >>> unused(Decimal(-8000), Decimal(4000), Rates(Decimal(0), Decimal(0), Decimal(0), Decimal(3000)))
    Decimal('1000')
    """
    return max(Decimal(0), -(short_usd + long_usd) - rate.loss_limit_usd)
