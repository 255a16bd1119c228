"""One tax year's law, typed. The numbers are in sql/law/*.csv, each with its citation; none is here.

There are two kinds of table. An indexed one is adjusted yearly: its rows are in force for their own calendar
year, and a year without rows stops the run, because last year's brackets are close enough to look right.
Every other value stays in force from its date until a later row of the same key replaces it.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

FILING_STATUSES = ("single", "mfj", "mfs", "hoh", "qss")
INDEXED = ("long_term_rate", "ordinary_rate", "standard_deduction")  # a year without its own rows stops

Row = Mapping[str, str]
Tables = Mapping[str, Sequence[Row]]  # the file's name without .csv -> its rows
Rates = tuple[tuple[Decimal, Decimal], ...]  # (over_usd, rate), ascending from zero


class LawMissing(LookupError):
    """A table has no number for this year: add it with its citation; no retry helps."""


@dataclass(frozen=True, slots=True)
class TaxYear:
    """The law of one tax year for one filing status.

    Units    rates and the deductible part of an expense as fractions; a Schedule C line as printed.
    Omits    a deductible part for income and for what another form computes first (vehicle, home_office,
             startup_amortization, equipment_over_safe_harbor): they have a line only; looking it up raises.
    """

    year: int
    filing_status: str
    ordinary_rates: Rates
    long_term_rates: Rates
    standard_deduction_usd: Decimal
    niit_rate: Decimal
    niit_threshold_usd: Decimal
    capital_loss_limit_usd: Decimal
    wash_window_days: int
    foreign_tax_de_minimis_usd: Decimal
    reit_dividend_deduction_rate: Decimal
    digital_asset_wash_sales_from: date | None  # None while the wash-sale rule does not reach them
    schedule_c_lines: dict[str, str]  # category -> line
    schedule_c_deductible: dict[str, Decimal]  # category -> fraction


def tax_year(rows: Tables, year: int, filing_status: str) -> TaxYear:
    """The law in force for a calendar year and a filing status, from the rows of sql/law.

    Errors   LawMissing names the file to extend; ValueError for an unknown filing status, and for a value
             that changes inside the year, which one TaxYear cannot hold.

    >>> from warehouse.law import law_rows
    >>> law = tax_year(law_rows(), 2025, "mfs")
    >>> law.standard_deduction_usd, law.capital_loss_limit_usd, law.schedule_c_lines["hosting"]
    (Decimal('15750'), Decimal('1500'), '27b')
    >>> tax_year(law_rows(), 2031, "mfj")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    transforms.law.LawMissing: sql/law/ordinary_rate.csv has no rows for 2031 (mfj): add them ...
    """
    if filing_status not in FILING_STATUSES:
        raise ValueError(f"{filing_status!r} is not a filing status; one of {', '.join(FILING_STATUSES)}")

    def by(key: str, table: str) -> dict[str, str]:
        return {row[key]: row["value"] for row in _in_force(rows, table, year, filing_status)}

    def only(table: str) -> str:
        return [row["value"] for row in _in_force(rows, table, year, filing_status)][-1]

    def rates(table: str) -> Rates:
        steps = sorted((Decimal(over), Decimal(rate)) for over, rate in by("over_usd", table).items())
        if steps[0][0]:
            raise LawMissing(f"sql/law/{table}.csv for {year} ({filing_status}) has no row over 0: add it")
        return tuple(steps)

    return TaxYear(
        year=year,
        filing_status=filing_status,
        ordinary_rates=rates("ordinary_rate"),
        long_term_rates=rates("long_term_rate"),
        standard_deduction_usd=Decimal(only("standard_deduction")),
        niit_rate=Decimal(only("net_investment_income_tax_rate")),
        niit_threshold_usd=Decimal(only("net_investment_income_tax_threshold")),
        capital_loss_limit_usd=Decimal(only("capital_loss_limit")),
        wash_window_days=int(only("wash_sale_window_days")),
        foreign_tax_de_minimis_usd=Decimal(only("foreign_tax_de_minimis")),
        reit_dividend_deduction_rate=Decimal(only("reit_dividend_deduction_rate")),
        digital_asset_wash_sales_from=_true_since(rows, "wash_sale_applies_to_digital_assets", year),
        schedule_c_lines=by("category", "schedule_c_line"),
        schedule_c_deductible={
            category: Decimal(part) for category, part in by("category", "schedule_c_deductible_rate").items()
        },
    )


def value_on(rows: Tables, table: str, on: date) -> str:
    """The value of an open-ended table on a day.

    Errors   LawMissing.

    >>> from warehouse.law import law_rows
    >>> value_on(law_rows(), "wash_sale_window_days", date(1955, 1, 3))
    '30'
    """
    for starts_on, row in reversed(list(_dated(rows, table, on.year))):
        if starts_on <= on:
            return row["value"]
    raise LawMissing(f"sql/law/{table}.csv has no row in force on {on}: add it with its citation")


def ordinary_marginal_rate(law: TaxYear, taxable_income_usd: Decimal) -> Decimal:
    """The rate on the last dollar of ordinary taxable income; nothing is taxed at zero and below.

    Law      26 USC 1(j)(2): a bracket starts "over" its amount, so exactly that amount is still below it.
    Omits    the Tax Table's steps, the alternative minimum tax, and what phases in or out with income.

    >>> from warehouse.law import law_rows
    >>> law = tax_year(law_rows(), 2026, "single")
    >>> ordinary_marginal_rate(law, Decimal("50400")), ordinary_marginal_rate(law, Decimal("50400.01"))
    (Decimal('0.12'), Decimal('0.22'))
    >>> ordinary_marginal_rate(law, Decimal("0"))
    Decimal('0')
    """
    return _rate_at(law.ordinary_rates, taxable_income_usd)


def long_term_marginal_rate(law: TaxYear, taxable_income_usd: Decimal) -> Decimal:
    """The rate on the last dollar of net long-term gain or qualified dividend, which lies on top of the rest.

    Law      26 USC 1(h)(1), 1(j)(5): ordinary income fills the brackets first, so all taxable income counts.
    Omits    collectibles, unrecaptured section 1250 gain, section 1202 stock.

    A single filer's $40,000 of wages after deductions and $30,000 of gain: the gain's last dollar is at 15 %.

    >>> from warehouse.law import law_rows
    >>> law = tax_year(law_rows(), 2026, "single")
    >>> long_term_marginal_rate(law, Decimal("49450")), long_term_marginal_rate(law, Decimal("70000"))
    (Decimal('0.00'), Decimal('0.15'))
    """
    return _rate_at(law.long_term_rates, taxable_income_usd)


def niit_marginal_rate(law: TaxYear, modified_agi_usd: Decimal) -> Decimal:
    """The net investment income tax on the last dollar of investment income.

    Law      26 USC 1411(a)(1), (b).
    Omits    a dollar of other income, which bears the tax only while investment income exceeds the excess.

    >>> from warehouse.law import law_rows
    >>> law = tax_year(law_rows(), 2026, "mfj")
    >>> niit_marginal_rate(law, Decimal("250000")), niit_marginal_rate(law, Decimal("250001"))
    (Decimal('0'), Decimal('0.038'))
    """
    return law.niit_rate if modified_agi_usd > law.niit_threshold_usd else Decimal(0)


def _rate_at(rates: Rates, income_usd: Decimal) -> Decimal:
    return next((rate for over_usd, rate in reversed(rates) if over_usd < income_usd), Decimal(0))


def _in_force(rows: Tables, table: str, year: int, filing_status: str) -> list[Row]:
    """A table's rows for the year, oldest first, so that of two rows with one key the later is in force."""
    found = []
    for starts_on, row in _dated(rows, table, year):
        if row["filing_status"] not in ("", filing_status) or (table in INDEXED and starts_on.year < year):
            continue
        if starts_on > date(year, 1, 1):
            raise ValueError(f"sql/law/{table}.csv changes on {starts_on}: a TaxYear holds one value a year")
        found.append(row)
    if not found:
        raise _missing(table, f"{year} ({filing_status})")
    return found


def _true_since(rows: Tables, table: str, year: int) -> date | None:
    """The day a yes-or-no rule came into force, seen from the year's end; it may start inside a year."""
    since, known = None, False
    for starts_on, row in _dated(rows, table, year):
        since, known = (since or starts_on) if row["value"] == "true" else None, True
    if not known:
        raise _missing(table, str(year))
    return since


def _dated(rows: Tables, table: str, year: int) -> Iterator[tuple[date, Row]]:
    """A table's rows that start in or before the year, oldest first; a status of its own after "all"."""
    for row in sorted(rows.get(table, ()), key=lambda row: (row["effective_from"], row["filing_status"])):
        starts_on = date.fromisoformat(row["effective_from"])
        if starts_on.year <= year:
            yield starts_on, row


def _missing(table: str, what: str) -> LawMissing:
    return LawMissing(f"sql/law/{table}.csv has no rows for {what}: add them with their citation")
