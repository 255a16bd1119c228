"""The foreign tax credit: how much of it there is, and whether it puts international stock into a taxable account.

The problem. "International belongs in the taxable account, because only there is foreign tax credited" is a rule of
thumb. What an IRA loses is the tax withheld; what it saves is the tax on a higher yield of which less is qualified.

The choice. The withholding at which the two are equal is computed: tax on the international yield before the credit,
less that on the domestic one, a dollar of international dividends. Below it the domestic fund is the better taxable one.
"""

from decimal import ROUND_HALF_UP, Decimal
from typing import NamedTuple

from transforms.portfolio.tax_cost import Taxes, Yields, tax_before_credit, tax_cost

CENT = Decimal("0.01")


class BreakEven(NamedTuple):
    """Which of two classes belongs in the taxable account. Units: fractions of value a year, but for the first two."""

    break_even_rate: Decimal  # withholding, of the dividends, from which on international does
    withholding_rate: Decimal  # what is withheld, of the dividends
    international_rate: Decimal  # tax cost in a taxable account, beside what was withheld
    domestic_rate: Decimal
    lost_rate: Decimal  # foreign tax that an IRA cannot credit

    @property
    def is_international(self) -> bool:
        return self.international_rate <= self.domestic_rate


class Credit(NamedTuple):
    """A year's credit, and what is left of the foreign tax for other years. Units: USD."""

    credit_usd: Decimal
    carryover_usd: Decimal


def break_even(international: Yields, domestic: Yields, by: Taxes) -> BreakEven:
    """The withholding that international dividends must bear before they belong in the taxable account.

    Law      26 USC 901(a), 904(a).
    Errors   ValueError for an international class without dividends.
    Omits    as in `tax_cost`: above all the 16 days of 31 that a share is to be held for its credit, 26 USC 901(k)(1); growth,
             which is taken to be the same.

    The credit can be limited before the break-even is reached; then none is enough, and `is_international` says so.

    >>> from transforms.portfolio.tax_cost import ASSUMED
    >>> household = Taxes(Decimal("0.24"), Decimal("0.15"))
    >>> found = break_even(ASSUMED["International stocks"], ASSUMED["US stocks"], household)
    >>> f"{found.break_even_rate:.3%} against {found.withholding_rate:.0%}", found.is_international
    ('11.455% against 7%', False)
    """
    dividends = international.dividends_rate
    if not dividends:
        raise ValueError("no withholding breaks even: the international class pays no dividends")
    at_home = tax_cost(domestic, by)
    return BreakEven(
        (tax_before_credit(international, by) - at_home) / dividends,
        international.withheld_rate / dividends,
        tax_cost(international, by),
        at_home,
        international.withheld_rate,
    )


def foreign_taxable_income(
    foreign_usd: Decimal, gross_usd: Decimal, deductions_usd: Decimal, unit_usd: Decimal = CENT
) -> Decimal:
    """Foreign income less its part of the deductions that belong to no income.

    Law      26 USC 904(a), 862(b), 863(b); Form 1116 lines 3a to 7.
    Units    USD, rounded to `unit_usd`: the cent, or the dollar as forms may be filed.
    Omits    deductions that belong to the foreign income, interest expense, high-taxed income.

    >>> foreign_taxable_income(Decimal(620), Decimal(21620), Decimal(4400), Decimal(1))
    Decimal('494')
    """
    return foreign_usd - _to(deductions_usd * foreign_usd / gross_usd, unit_usd)


def foreign_tax_credit(
    paid_usd: Decimal,
    foreign_income_usd: Decimal,
    taxable_income_usd: Decimal,
    tax_usd: Decimal,
    unit_usd: Decimal = CENT,
) -> Credit:
    """The credit for a year's foreign tax on passive income, limited to the domestic tax on the same income.

    Law      26 USC 901(a), 904(a), (c), (d); Form 1116.
    Units    USD, rounded to `unit_usd`.
    Errors   ValueError where there is foreign income and no taxable income to compare it with.
    Omits    where the carryover goes (one year back, ten forward); other categories of income.

    Pub. 514 (2000): 494 / 17,220 of a tax of 2,164 is 62 of the 93 paid.

    >>> foreign_tax_credit(*map(Decimal, (93, 494, 17220, 2164, 1)))
    Credit(credit_usd=Decimal('62'), carryover_usd=Decimal('31'))
    """
    if foreign_income_usd > 0 >= taxable_income_usd:
        raise ValueError(f"${foreign_income_usd} of foreign income in a taxable income of ${taxable_income_usd}")
    part = (
        min(max(foreign_income_usd, Decimal(0)) / taxable_income_usd, Decimal(1))
        if taxable_income_usd > 0
        else Decimal(0)
    )
    credit = min(paid_usd, _to(tax_usd * part, unit_usd))
    return Credit(credit, paid_usd - credit)


def elected_credit(paid_usd: Decimal, tax_usd: Decimal, de_minimis_usd: Decimal) -> Credit:
    """The credit without a limit, for those who elect it: all of it, with nothing carried into or out of the year.

    Law      26 USC 904(j): passive income on payee statements, and no more foreign tax than the amount.
    Units    USD.
    Errors   ValueError for more foreign tax than that.
    Omits    income that is not passive or not on a payee statement, which rules the election out.

    >>> elected_credit(Decimal(93), Decimal(2164), Decimal(300))
    Credit(credit_usd=Decimal('93'), carryover_usd=Decimal('0'))
    """
    if paid_usd > de_minimis_usd:
        raise ValueError(
            f"${paid_usd} of foreign tax is more than the ${de_minimis_usd} up to which the election is open"
        )
    return Credit(min(paid_usd, tax_usd), Decimal(0))


def _to(amount: Decimal, unit: Decimal) -> Decimal:
    return (amount / unit).quantize(Decimal(1), ROUND_HALF_UP) * unit
