"""What holding an asset class in a taxable account costs a year in tax: its tax-cost ratio.

The problem. Where a class should stand depends on what the household would pay on it, and that is made of parts taxed
by different rules: qualified and ordinary dividends, REIT dividends with their deduction, interest that the state or
the Union leaves alone, gains that a fund realises, and tax that another country took already.

The choice. One sum over those parts, each times its own rate, in decimals. `ASSUMED` is what an adviser would assume
of a broad fund of each class; a household says its own funds' yields in portfolio.toml.
"""

from decimal import Decimal
from typing import NamedTuple

from transforms.law import TaxYear, long_term_marginal_rate, niit_marginal_rate, ordinary_marginal_rate

ZERO, ONE = Decimal(0), Decimal(1)


class Taxes(NamedTuple):
    """The household's marginal rates, each tax by itself. Units: fractions."""

    ordinary_rate: Decimal  # federal
    long_rate: Decimal  # federal, of long-term gains and qualified dividends
    investment_rate: Decimal = ZERO  # the net investment income tax
    state_rate: Decimal = ZERO
    reit_deduction_rate: Decimal = ZERO  # of a REIT dividend
    credit_rate: Decimal | None = None  # of foreign dividends, that is credited at most; None: 26 USC 904(j), no limit
    qualified_part: Decimal = ONE  # of a foreign qualified dividend, that counts in this limit


class Yields(NamedTuple):
    """What a class pays and realises. Units: fractions of its value a year, but for the shares, turnover and the flag."""

    qualified_rate: Decimal = ZERO  # qualified dividends, before foreign tax
    ordinary_rate: Decimal = ZERO  # other dividends, before foreign tax
    reit_rate: Decimal = ZERO
    interest_rate: Decimal = ZERO
    treasury_rate: Decimal = ZERO  # interest that no state taxes; of TIPS with the growth of their principal
    muni_rate: Decimal = ZERO  # interest that is not federal income
    is_muni_of_state: bool = True  # of the household's own state, which leaves it alone too
    foreign_share: Decimal = ZERO  # the part of the dividends that comes from abroad
    withholding_rate: Decimal = ZERO  # foreign tax on that part
    turnover: Decimal = ZERO  # the part of the fund that is sold in a year, long-term
    embedded_gain_rate: Decimal = ZERO  # the gain in what it sells
    short_gain_rate: Decimal = ZERO
    growth_rate: Decimal = ZERO  # expected, beside what it pays and realises

    @property
    def dividends_rate(self) -> Decimal:
        return self.qualified_rate + self.ordinary_rate

    @property
    def withheld_rate(self) -> Decimal:
        """Foreign tax, in whatever account: an IRA has nothing to credit it against."""
        return self.dividends_rate * self.foreign_share * self.withholding_rate

    @property
    def return_rate(self) -> Decimal:
        paid = self.dividends_rate + self.reit_rate + self.interest_rate + self.treasury_rate + self.muni_rate
        return (
            paid
            + self.short_gain_rate
            + self.turnover * self.embedded_gain_rate
            + self.growth_rate
            - self.withheld_rate
        )


def _assumed(**said: str) -> Yields:
    return Yields(**{name: Decimal(value) for name, value in said.items()})  # type: ignore[arg-type]


# Yields of broad index funds in round numbers, as of 2026, and growth beside them: assumptions to be replaced by a
# fund's own figures (its yearly tax letter says the qualified part, the foreign part and the tax withheld).
ASSUMED = {
    "US stocks": _assumed(qualified_rate="0.01235", ordinary_rate="0.00065", growth_rate="0.05"),  # 95 % qualified
    "International stocks": _assumed(
        qualified_rate="0.0195", ordinary_rate="0.0105", foreign_share="1", withholding_rate="0.07", growth_rate="0.04"
    ),  # 65 % qualified; 7 % withheld
    "Bonds": _assumed(interest_rate="0.045"),
    "Treasuries": _assumed(treasury_rate="0.042"),
    "TIPS": _assumed(treasury_rate="0.043"),
    "Municipal bonds": _assumed(muni_rate="0.033"),
    "REITs": _assumed(reit_rate="0.04", growth_rate="0.02"),
}


def taxes(law: TaxYear, taxable_income_usd: Decimal, state_rate: Decimal) -> Taxes:
    """The household's marginal rates in a tax year, and its mean one, which limits the credit for foreign tax.

    Law      26 USC 1(h), 1(j), 199A(b)(1)(B), 1411(a); 904(a): the tax in the proportion of foreign to all taxable income.
             Deductions that belong to no income lie on both alike, so that it is the tax to the income before them.
    Omits    crossing into another bracket; the state's own rules (a flat rate on everything but Treasury interest);
             in the limit income and tax of the portfolio itself, and deductions other than the standard one.

    >>> from transforms.law import tax_year
    >>> from warehouse.law import law_rows
    >>> found = taxes(tax_year(law_rows(), 2025, "single"), Decimal(150000), Decimal("0.05"))
    >>> found[:4]
    (Decimal('0.24'), Decimal('0.15'), Decimal('0'), Decimal('0.05'))
    >>> f"{found.credit_rate:.4f}"  # 28,847 / (150,000 + 15,750)
    '0.1740'
    """
    gross_usd = taxable_income_usd + law.standard_deduction_usd
    return Taxes(
        ordinary_marginal_rate(law, taxable_income_usd),
        long_term_marginal_rate(law, taxable_income_usd),
        niit_marginal_rate(law, gross_usd),
        state_rate,
        law.reit_dividend_deduction_rate,
        ordinary_tax_usd(law, taxable_income_usd) / gross_usd if gross_usd > 0 else ZERO,
        preferential_part(law, taxable_income_usd),
    )


def ordinary_tax_usd(law: TaxYear, taxable_income_usd: Decimal) -> Decimal:
    """Federal tax on ordinary taxable income.

    Law      26 USC 1(j)(2).
    Omits    the Tax Table's steps, the alternative minimum tax, credits.

    >>> from transforms.law import tax_year
    >>> from warehouse.law import law_rows
    >>> ordinary_tax_usd(tax_year(law_rows(), 2026, "single"), Decimal(40000))  # 1,240 + 27,600 x 12 %
    Decimal('4552.00')
    """
    tax, below = ZERO, ZERO
    for over_usd, rate in law.ordinary_rates:
        tax += max(ZERO, taxable_income_usd - over_usd) * (rate - below)
        below = rate
    return tax


def preferential_part(law: TaxYear, taxable_income_usd: Decimal) -> Decimal:
    """The part of foreign qualified dividends that counts in the limit: their rate to the highest ordinary rate.

    Law      26 USC 904(b)(2)(B), (3)(D), 1(h)(11)(C)(iv); zero where they are not taxed.
    Omits    the election to leave the adjustment out (little such income, and a rate below 32 %).

    >>> from transforms.law import tax_year
    >>> from warehouse.law import law_rows
    >>> law = tax_year(law_rows(), 2025, "single")
    >>> [f"{preferential_part(law, Decimal(income)):.4f}" for income in (40000, 150000, 900000)]
    ['0.0000', '0.4054', '0.5405']
    """
    return long_term_marginal_rate(law, taxable_income_usd) / law.ordinary_rates[-1][1]


def tax_cost(yields: Yields, by: Taxes) -> Decimal:
    """Tax a year on a dollar of the class in a taxable account, beside what another country withheld.

    Law      26 USC 1(h)(11) qualified dividends; 199A(b)(1)(B), (e)(3) REIT dividends, deducted from federal ordinary income
             alone; 103(a), 1411(c) municipal interest, in neither; 31 USC 3124(a) Treasury interest, not by a state;
             901(a), 904(a), (b) the credit, at most the mean federal tax on the same dividends, or 904(j) all of it.
    Units    fractions of value a year; below zero where an unlimited credit is more than the tax on the dividends: it
             counts against the tax on other income.
    Omits    holding periods (more than 60 days of 121 for a qualified, more than 45 of 91 for a REIT dividend, 16 of 31 for the
             credit); 199A's own limit by taxable income; private-activity bonds under the alternative minimum tax; a
             carryover of unused credit, counted as worth nothing; a state's own credit.

    >>> household = Taxes(Decimal("0.24"), Decimal("0.15"), state_rate=Decimal("0.05"), reit_deduction_rate=Decimal("0.20"))
    >>> [f"{tax_cost(ASSUMED[name], household):.4%}" for name in ("Bonds", "REITs", "International stocks")]
    ['1.3050%', '0.9680%', '0.4845%']
    """
    credit = yields.withheld_rate
    if by.credit_rate is not None:
        counted = yields.qualified_rate * by.qualified_part + yields.ordinary_rate
        credit = min(credit, counted * yields.foreign_share * by.credit_rate)
    return tax_before_credit(yields, by) - credit


def tax_before_credit(yields: Yields, by: Taxes) -> Decimal:
    """The same without the credit for foreign tax.

    Law      as there.
    Omits    as there.
    """
    outside = by.investment_rate + by.state_rate
    ordinary, long = by.ordinary_rate + outside, by.long_rate + outside
    reit = by.ordinary_rate * (1 - by.reit_deduction_rate) + outside
    return (
        yields.qualified_rate * long
        + yields.ordinary_rate * ordinary
        + yields.reit_rate * reit
        + yields.interest_rate * ordinary
        + yields.treasury_rate * (by.ordinary_rate + by.investment_rate)
        + yields.muni_rate * (ZERO if yields.is_muni_of_state else by.state_rate)
        + yields.short_gain_rate * ordinary
        + yields.turnover * yields.embedded_gain_rate * long
    )


def deferred_cost(growth_rate: Decimal, tax_rate: Decimal, years: int) -> Decimal:
    """What the tax on a gain that is sold after so many years takes of its growth in each of them; nothing without a sale.

    Units    fractions of value a year; zero years: never sold (kept until death, or given to charity).

    At 5 % for 20 years a dollar is 2.6533; 15 % of the gain leaves 2.4053, as if it had grown by 4.4861 % a year.

    >>> f"{deferred_cost(Decimal('0.05'), Decimal('0.15'), 20):.4%}", deferred_cost(Decimal("0.05"), Decimal("0.15"), 0)
    ('0.5139%', Decimal('0'))
    """
    if not years or growth_rate <= 0:
        return ZERO
    grown = (1 + growth_rate) ** years
    kept = grown - tax_rate * (grown - 1)
    return 1 + growth_rate - kept ** (Decimal(1) / years)
