"""Form 8949 in the form's own words, checked by hand."""

from datetime import date
from decimal import Decimal

import polars as pl
import pytest
from reported import agreed

from flows.documents.tables import write_csv
from transforms.tables import core
from transforms.tax.form_8949 import AMOUNTS, form_8949, totals
from warehouse.law import LawInvalid, law_date

SINCE = law_date("covered_since")

# trade, shares, security, acquired, sold, proceeds, basis, adjustment, gain, term
SALES = """
S-1   40     HD   2022-01-10  2022-06-01  10000.00  12000.00  500.00  -1500.00  short
S-2   12.5   XOM  2020-04-15  2022-06-08   3032.63   1017.00    0.00   2015.63  long
S-3  100     KO   2010-12-31  2022-03-01   6200.00   3280.50    0.00   2919.50  long
S-4  100     KO   2011-01-01  2022-03-01   6200.00   3280.50    0.00   2919.50  long
S-5    7     PEP  2022-02-01  2022-03-15   1100.00   1000.00    0.00    100.00  short
S-0   10     HD   2021-01-11  2021-12-31   4000.00   2700.00    0.00   1300.00  short
"""

GOLDEN = """\
part,box,description,date_acquired,date_sold,proceeds,cost,code,adjustment,gain
I,A,7 sh. PEP,2022-02-01,2022-03-15,1100.00,1000.00,,0.00,100.00
I,A,40 sh. HD,2022-01-10,2022-06-01,10000.00,12000.00,W,500.00,-1500.00
II,D,100 sh. KO,2011-01-01,2022-03-01,6200.00,3280.50,,0.00,2919.50
II,D,12.5 sh. XOM,2020-04-15,2022-06-08,3032.63,1017.00,,0.00,2015.63
II,E,100 sh. KO,2010-12-31,2022-03-01,6200.00,3280.50,,0.00,2919.50
"""


def disposals(text: str = SALES) -> pl.DataFrame:
    rows = []
    for line in text.strip().splitlines():
        trade, shares, security, acquired, sold, proceeds, basis, adjustment, gain, term = line.split()
        on, usd = date.fromisoformat, Decimal
        rows.append(
            (trade, f"L-{trade}", 1, "joint", security, usd(shares), on(acquired), on(acquired), on(sold), usd(proceeds),
             usd(basis), "W" if usd(adjustment) else "", usd(adjustment), usd(0), usd(gain), term, False)
        )  # fmt: skip
    return agreed(core("disposals", rows))


def test_the_form_is_the_golden_one(tmp_path):
    write_csv(form_8949(disposals(), 2022), tmp_path / "form.csv")
    assert (tmp_path / "form.csv").read_text() == GOLDEN


def test_only_sales_of_the_year_are_on_it():
    assert form_8949(disposals(), 2021)["description"].to_list() == ["10 sh. HD"]
    assert form_8949(disposals(), 2020).is_empty()


def test_stock_bought_before_2011_is_in_the_box_of_a_basis_that_the_broker_does_not_report():
    assert date(2011, 1, 1) == SINCE
    rows = form_8949(disposals(), 2022)
    boxes = dict(rows.select("date_acquired", "box").rows())
    assert (boxes[date(2010, 12, 31)], boxes[date(2011, 1, 1)]) == ("E", "D")
    short = disposals("S 1 GE 2010-12-31 2011-06-01 10.00 20.00 0.00 -10.00 short")
    assert form_8949(short, 2011)["box"].to_list() == ["B"]


def test_every_row_and_every_total_is_proceeds_less_cost_plus_adjustment():
    rows = form_8949(disposals(), 2022)
    for frame in (rows, totals(rows)):
        assert frame.filter(pl.col("gain") != pl.col("proceeds") - pl.col("cost") + pl.col("adjustment")).is_empty()


def test_the_totals_are_the_sums_of_their_rows_to_the_cent():
    rows = form_8949(disposals(), 2022)
    found = {row["box"]: row for row in totals(rows).to_dicts()}
    assert [(box, row["part"], row["sales"], str(row["gain"])) for box, row in found.items()] == [
        ("A", "I", 2, "-1400.00"), ("D", "II", 2, "4935.13"), ("E", "II", 1, "2919.50"),
    ]  # fmt: skip
    for name in AMOUNTS:
        assert sum(row[name] for row in found.values()) == sum(rows[name])


def test_the_order_does_not_depend_on_the_order_of_the_books():
    mixed = disposals().reverse()
    assert form_8949(mixed, 2022).equals(form_8949(disposals(), 2022))


@pytest.mark.parametrize(
    ("row", "why"),
    [("2011-01-01,,2011-13-01,date,x", "month must be in"), ("2011-01-01,,first,date,x", "not written as date")],
)
def test_a_date_of_the_law_that_is_none_stops(tmp_path, row, why):
    (tmp_path / "covered_since.csv").write_text(f"effective_from,filing_status,value,unit,citation\n{row}\n")
    with pytest.raises(LawInvalid, match=why):
        law_date("covered_since", tmp_path)


def test_a_table_of_the_law_without_its_date_is_named():
    with pytest.raises(LookupError, match=r"sql/law/wash_sale_window_days\.csv does not hold one date"):
        law_date("wash_sale_window_days")
