"""Schedule D and the loss that a year leaves to the next, against the worksheet done by hand."""

from datetime import date
from decimal import Decimal

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from reported import agreed

from transforms.law import LawMissing, TaxYear, tax_year
from transforms.tables import core
from transforms.tax.schedule_d import TEXT, carryovers, schedule_d
from warehouse.law import law_rows

ROWS = law_rows()
AMPLE = Decimal(210_000)
cents = st.integers(-10_000_000, 10_000_000).map(lambda n: Decimal(n).scaleb(-2))


def law(filing_status: str = "mfj"):
    def of(year: int) -> TaxYear:
        return tax_year(ROWS, year, filing_status)

    return of


def disposals(*sales: tuple[int, str, int], acquired: date = date(2015, 5, 4)) -> pl.DataFrame:
    """(year sold, term, gain) as sales."""
    usd = Decimal
    return agreed(core("disposals", [
        (f"S{n}", f"L{n}", 1, "joint", "HD", usd(1), acquired, acquired, date(year, 6, 1), usd(50_000 + gain), usd(50_000),
         "", usd(0), usd(0), usd(gain), term, False)
        for n, (year, term, gain) in enumerate(sales)
    ]))  # fmt: skip


def lines(frame: pl.DataFrame, year: int) -> dict[str, int]:
    return {line: int(usd) for line, usd in frame.filter(year=year).select("line", "amount_usd").rows()}


def test_a_loss_beyond_the_limit_goes_to_the_next_year_with_its_term():
    found = schedule_d(disposals((2021, "short", -10_000), (2021, "long", 4_000)), law(), AMPLE)
    assert lines(found, 2021) == {
        "1b": -10_000, "2": 0, "3": 0, "6": 0, "7": -10_000, "8b": 4_000, "9": 0, "10": 0, "14": 0, "15": 4_000, "16": -6_000,
        "21": -3_000, "carryover_short": -3_000, "carryover_long": 0,
    }  # fmt: skip


def test_a_short_loss_is_used_before_a_long_one():
    found = lines(schedule_d(disposals((2021, "short", -2_000), (2021, "long", -9_000)), law(), AMPLE), 2021)
    assert (found["21"], found["carryover_short"], found["carryover_long"]) == (-3_000, 0, -8_000)


def test_a_loss_that_taxable_income_cannot_use_is_not_used_up():
    found = lines(schedule_d(disposals((2021, "short", -5_000)), law(), Decimal(500)), 2021)
    assert (found["21"], found["carryover_short"]) == (-3_000, -4_500)


def test_a_household_without_income_keeps_the_whole_loss():
    assert carryovers(Decimal(-5_000), Decimal(0), Decimal(3_000), Decimal(-100)) == (5_000, 0)


def test_carryovers_pass_through_a_year_without_sales_into_a_year_with_gains():
    found = schedule_d(disposals((2021, "short", -10_000), (2023, "long", 9_000)), law(), AMPLE)
    quiet, last = lines(found, 2022), lines(found, 2023)
    assert (quiet["6"], quiet["7"], quiet["21"], quiet["carryover_short"]) == (-7_000, -7_000, -3_000, -4_000)
    assert (last["6"], last["15"], last["16"], last["21"], last["carryover_short"]) == (-4_000, 9_000, 5_000, 0, 0)


def test_married_people_who_file_separately_may_use_half():
    assert lines(schedule_d(disposals((2021, "long", -9_000)), law("mfs"), AMPLE), 2021)["21"] == -1_500


def test_a_basis_that_is_not_reported_stands_on_its_own_lines():
    old = disposals((2022, "long", 700), (2022, "short", 300), acquired=date(2010, 5, 4))
    found = lines(schedule_d(old, law(), AMPLE), 2022)
    assert (found["1b"], found["2"], found["8b"], found["9"], found["16"]) == (0, 300, 0, 700, 1_000)


def test_the_lines_of_every_year_stand_in_the_order_of_the_form():
    found = schedule_d(disposals((2021, "short", 1), (2022, "short", 1)), law(), AMPLE)
    assert found.select("year", "line").rows() == [(year, line) for year in (2021, 2022) for line in TEXT]


def test_nothing_sold_gives_no_lines():
    assert schedule_d(core("reported_sales", []), law(), AMPLE).is_empty()


def test_a_year_without_law_stops():
    with pytest.raises(LawMissing, match="2027"):
        schedule_d(disposals((2026, "short", -1), (2027, "short", -1)), law(), AMPLE)


@given(short=cents, long=cents, limit=st.sampled_from([Decimal(1_500), Decimal(3_000)]))
def test_with_ample_income_no_cent_of_a_loss_is_lost_or_used_twice(short, long, limit):
    allowed = min(limit, max(Decimal(0), -(short + long)))
    next_short, next_long = carryovers(short, long, allowed, AMPLE)
    assert next_short + next_long + allowed == max(Decimal(0), -(short + long))
    assert next_short <= max(Decimal(0), -short)
    assert next_long <= max(Decimal(0), -long)
