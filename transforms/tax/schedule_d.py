"""Schedule D of every year in a row, because a loss that a year cannot use goes to the next one.

The rows are computed from Form 8949's totals and from nothing else, so that the two always agree.
"""

from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from typing import NamedTuple

import polars as pl

from transforms.law import TaxYear
from transforms.tables import core
from transforms.tax.form_8949 import form_8949, totals

TEXT = {
    "1b": "Short-term totals of Form 8949, boxes A and G",
    "2": "Short-term totals of Form 8949, boxes B and H",
    "3": "Short-term totals of Form 8949, boxes C and I",
    "6": "Short-term capital loss carryover from the year before",
    "7": "Net short-term capital gain or loss",
    "8b": "Long-term totals of Form 8949, boxes D and J",
    "9": "Long-term totals of Form 8949, boxes E and K",
    "10": "Long-term totals of Form 8949, boxes F and L",
    "14": "Long-term capital loss carryover from the year before",
    "15": "Net long-term capital gain or loss",
    "16": "Lines 7 and 15 together",
    "21": "Loss allowed this year; zero if line 16 is not a loss",
    "carryover_short": "Short-term capital loss carried to the next year",
    "carryover_long": "Long-term capital loss carried to the next year",
}
_ZERO = Decimal(0)


class Carried(NamedTuple):
    """The losses that a year's return begins with, as the household states them. Units: USD, positive."""

    year: int
    short_usd: Decimal
    long_usd: Decimal


def schedule_d(
    sales: pl.DataFrame, law: Callable[[int], TaxYear], taxable_income_usd: Decimal, carried: Carried | None = None
) -> pl.DataFrame:
    """The lines of Schedule D from the first to the last year with disposals.

    Law      26 USC 1211(b), 1212(b), 1222; Schedule D (Form 1040), column (h), and its Capital Loss Carryover
             Worksheet.
    Units    USD, signed: a loss is negative on every line, and so is a carryover, as it stands on next year's
             lines 6 and 14.
    Rows     from core.reported_sales, of core.schedule_d, by year and in the form's order; a line without an amount is zero.
    Errors   LawMissing for a year whose law is not there.
    Omits    a carryover from before the first year that nobody states in `carried`, which stands in place of what
             the years before it left; lines 1a, 4, 5, 8a, 11 to 13 (options and futures, K-1,
             capital gain distributions), 17 to 20 and 22. `taxable_income_usd` is one year's taxable income
             before the capital loss, and is taken for every year: it matters only below the loss allowed.
    """
    years = sorted({*sales["sold_on"].dt.year(), *([carried.year] if carried else ())})
    rows: list[tuple[int, str, str, Decimal]] = []
    short, long = _ZERO, _ZERO
    for year in range(years[0], years[-1] + 1) if years else ():
        if carried and carried.year == year:
            short, long = -carried.short_usd, -carried.long_usd
        boxes = dict(totals(form_8949(sales, year)).select("box", "gain").iter_rows())
        lines = dict(_lines(boxes, short, long, law(year).capital_loss_limit_usd, taxable_income_usd))
        rows += [(year, line, text, lines[line]) for line, text in TEXT.items()]
        short, long = lines["carryover_short"], lines["carryover_long"]
    return core("schedule_d", rows)


def carried_into(
    year: int,
    results: Mapping[int, tuple[Decimal, Decimal]],
    law: Callable[[int], TaxYear],
    taxable_income_usd: Decimal,
    carried: Carried | None = None,
) -> tuple[Decimal, Decimal]:
    """The short-term and the long-term loss that a year begins with, by the books or as stated.

    Law      26 USC 1211(b), 1212(b).
    Units    USD; `results` by year: net short-term and long-term, signed; losses out, positive.
    Errors   LawMissing for a year from the first one on whose law is not there.
    Omits    as in `schedule_d`, whose lines 6 and 14 these are.

    A loss of 10,000 in 2021 and nothing since: 3,000 of it counted in 2021, 3,000 in 2022. Stated for 2022, that counts.

    >>> from transforms.law import tax_year
    >>> from warehouse.law import law_rows
    >>> law = lambda year: tax_year(law_rows(), year, "mfj")
    >>> results = {2021: (Decimal(-10000), Decimal(0))}
    >>> carried_into(2023, results, law, Decimal(210000))
    (Decimal('4000'), Decimal('0'))
    >>> carried_into(2023, results, law, Decimal(210000), Carried(2022, Decimal(0), Decimal(5000)))
    (Decimal('0'), Decimal('2000'))
    """
    short, long = _ZERO, _ZERO
    for each in range(min((*results, carried.year if carried else year)), year + 1):
        if carried and carried.year == each:
            short, long = carried.short_usd, carried.long_usd
        if each == year:
            break
        net_short, net_long = results.get(each, (_ZERO, _ZERO))
        net_short, net_long = net_short - short, net_long - long
        allowed_usd = min(law(each).capital_loss_limit_usd, max(_ZERO, -net_short - net_long))
        short, long = carryovers(net_short, net_long, allowed_usd, taxable_income_usd)
    return short, long


def carryovers(
    short_usd: Decimal, long_usd: Decimal, allowed_usd: Decimal, taxable_income_usd: Decimal
) -> tuple[Decimal, Decimal]:
    """The short-term and the long-term loss that next year starts with.

    Law      26 USC 1212(b); Schedule D's Capital Loss Carryover Worksheet, whose lines are the numbers below.
    Units    USD; short_usd and long_usd are lines 7 and 15, signed; allowed_usd is line 21 and the results
             are losses, positive.
    Omits    what a spouse who died or a change of filing status leaves behind.

    A short loss of 10,000 beside a long gain of 4,000; 3,000 of it is allowed:

    >>> usd = Decimal
    >>> carryovers(usd(-10000), usd(4000), usd(3000), usd(210000))
    (Decimal('3000'), Decimal('0'))

    Losses of both kinds: the short one is used first.

    >>> carryovers(usd(-2000), usd(-9000), usd(3000), usd(210000))
    (Decimal('0'), Decimal('8000'))

    Taxable income of 500 before the loss, -2,500 after it: only 500 of the loss was of use.

    >>> carryovers(usd(-5000), usd(0), usd(3000), usd(500))
    (Decimal('4500'), Decimal('0'))
    """
    line_1 = taxable_income_usd - allowed_usd
    line_4 = min(allowed_usd, max(_ZERO, line_1 + allowed_usd))
    line_5, line_6 = max(_ZERO, -short_usd), max(_ZERO, long_usd)
    line_8 = max(_ZERO, line_5 - (line_4 + line_6))
    line_9, line_10 = max(_ZERO, -long_usd), max(_ZERO, short_usd)
    line_11 = max(_ZERO, line_4 - line_5)
    line_13 = max(_ZERO, line_9 - (line_10 + line_11))
    return line_8, line_13


def _lines(
    boxes: dict[str, Decimal], short: Decimal, long: Decimal, limit_usd: Decimal, taxable_income_usd: Decimal
) -> Iterator[tuple[str, Decimal]]:
    """One year's lines from Form 8949's gains by box and the carryovers that came in."""
    line_1b, line_2, line_3, line_8b, line_9, line_10 = (
        sum((boxes.get(box, _ZERO) for box in pair), _ZERO) for pair in ("AG", "BH", "CI", "DJ", "EK", "FL")
    )
    line_7 = line_1b + line_2 + line_3 + short
    line_15 = line_8b + line_9 + line_10 + long
    line_16 = line_7 + line_15
    allowed_usd = min(limit_usd, max(_ZERO, -line_16))
    next_short, next_long = carryovers(line_7, line_15, allowed_usd, taxable_income_usd)
    yield from (("1b", line_1b), ("2", line_2), ("3", line_3), ("6", short), ("7", line_7))
    yield from (("8b", line_8b), ("9", line_9), ("10", line_10), ("14", long), ("15", line_15))
    yield from (("16", line_16), ("21", -allowed_usd))
    yield from (("carryover_short", -next_short), ("carryover_long", -next_long))
