"""The law tables against taxcalc's parameters, and what happens when a number is missing or wrong."""

import ast
import shutil
import subprocess
import sys
from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest

import transforms.law
import warehouse.law
from transforms.law import (
    FILING_STATUSES,
    INDEXED,
    LawMissing,
    long_term_marginal_rate,
    niit_marginal_rate,
    ordinary_marginal_rate,
    tax_year,
)
from warehouse.law import LawInvalid, law_folder, law_hash, law_rows

YEARS = range(2019, 2027)
ROWS = law_rows()
OF_A_DAY = (
    "settlement_days",
    "own_books_identify_digital_assets",
    "day_trading",
    "margin_requirement",
)  # asked for the day of a sale, not for a tax year
PARAMETERS = (
    *(f"II_brk{step}" for step in range(1, 7)),
    *(f"II_rt{step}" for step in range(1, 8)),
    *(f"CG_brk{step}" for step in range(1, 3)),
    *(f"CG_rt{step}" for step in range(1, 4)),
    *("STD", "NIIT_rt", "NIIT_thd", "Capital_loss_limitation"),
)

# (year, filing status, taxcalc's parameter): (what taxcalc 6.8.0 says, what the law says, why)
KNOWN = {
    (2023, "mfs", "II_brk6"): (
        Decimal(578125),
        Decimal(346875),
        "taxcalc repeats the single amount; 26 USC 1(j)(2) puts it at half of the joint 693,750",
    ),
}


@pytest.fixture(scope="module")
def taxcalc_says():
    """(year, filing status, parameter) -> taxcalc's number; its statuses are in our order."""
    policy = pytest.importorskip("taxcalc").Policy()
    says = {}
    for year in YEARS:
        policy.set_year(year)
        for parameter in PARAMETERS:
            value = getattr(policy, parameter)[0]  # one number, or one for each status
            for status, number in zip(FILING_STATUSES, [*value] if value.shape else [value] * 5, strict=True):
                says[year, status, parameter] = Decimal(str(number))
    return says


@pytest.mark.parametrize("filing_status", FILING_STATUSES)
@pytest.mark.parametrize("year", YEARS)
def test_every_number_is_taxcalcs(taxcalc_says, year, filing_status):
    def expected(parameter):
        says = taxcalc_says[year, filing_status, parameter]
        wrong, right, _ = KNOWN.get((year, filing_status, parameter), (says, says, ""))
        assert says == wrong, f"taxcalc changed {parameter}: is the exception still needed?"
        return right

    def rates(bracket, rate, steps):
        overs = [Decimal(0), *(expected(f"{bracket}{step}") for step in range(1, steps))]
        return tuple((over, expected(f"{rate}{step}")) for step, over in enumerate(overs, start=1))

    law = tax_year(ROWS, year, filing_status)
    assert law.ordinary_rates == rates("II_brk", "II_rt", 7)
    assert law.long_term_rates == rates("CG_brk", "CG_rt", 3)
    assert law.standard_deduction_usd == expected("STD")
    assert law.niit_rate == expected("NIIT_rt")
    assert law.niit_threshold_usd == expected("NIIT_thd")
    assert law.capital_loss_limit_usd == expected("Capital_loss_limitation")


@pytest.mark.parametrize("year", YEARS)
def test_the_top_bracket_of_a_separate_return_starts_at_half_of_the_joint_one(year):
    """26 USC 1(j)(2)(A) and (D): $600,000 and $300,000, indexed alike. Long-term rates differ."""
    joint, separate = (tax_year(ROWS, year, status).ordinary_rates[-1] for status in ("mfj", "mfs"))
    assert separate[0] * 2 == joint[0]


def test_no_status_is_derived_from_another():
    assert tax_year(ROWS, 2025, "mfs").long_term_rates[-1][0] == 300_000  # half of the joint 600,050 is 300,025
    assert tax_year(ROWS, 2026, "mfs").ordinary_rates[4][0] == 201_775
    assert tax_year(ROWS, 2026, "hoh").ordinary_rates[4][0] == 201_750


def test_the_2025_standard_deduction_is_the_one_of_the_2025_act():
    assert tax_year(ROWS, 2025, "single").standard_deduction_usd == 15_750  # not the 15,000 of Rev. Proc. 2024-40


@pytest.mark.parametrize("table", ROWS)
def test_every_row_has_a_citation(table):
    assert ROWS[table]
    for row in ROWS[table]:
        assert row["citation"].split()[0] in ("17", "26", "Treas.", "Schedule", "2025", "2026", "FINRA"), row


@pytest.mark.parametrize("table", INDEXED)
@pytest.mark.parametrize("filing_status", FILING_STATUSES)
def test_an_indexed_table_has_every_year_and_no_other(table, filing_status):
    found = {row["effective_from"] for row in ROWS[table] if row["filing_status"] == filing_status}
    assert found == {f"{year}-01-01" for year in YEARS}


@pytest.mark.parametrize("year", [2018, 2027, 2031])
def test_a_year_without_numbers_stops(year):
    with pytest.raises(LawMissing) as stopped:
        tax_year(ROWS, year, "mfj")
    assert str(stopped.value) == (
        f"sql/law/ordinary_rate.csv has no rows for {year} (mfj): add them with their citation"
    )


@pytest.mark.parametrize("table", INDEXED)
def test_last_years_numbers_are_never_used(table):
    without = ROWS | {table: [row for row in ROWS[table] if row["effective_from"] != "2026-01-01"]}
    with pytest.raises(LawMissing, match=rf"sql/law/{table}\.csv has no rows for 2026 \(hoh\)"):
        tax_year(without, 2026, "hoh")
    assert tax_year(without, 2025, "hoh") == tax_year(ROWS, 2025, "hoh")


@pytest.mark.parametrize("table", [name for name in ROWS if name not in OF_A_DAY])
def test_a_table_that_is_gone_is_named(table):
    with pytest.raises(LawMissing, match=rf"sql/law/{table}\.csv"):
        tax_year({name: rows for name, rows in ROWS.items() if name != table}, 2026, "single")


def test_a_schedule_without_its_first_bracket_stops():
    without = [row for row in ROWS["ordinary_rate"] if row["over_usd"] != "0"]
    with pytest.raises(LawMissing, match="no row over 0"):
        tax_year(ROWS | {"ordinary_rate": without}, 2026, "single")


def test_an_unknown_filing_status_is_refused():
    with pytest.raises(ValueError, match="'married' is not a filing status"):
        tax_year(ROWS, 2026, "married")


def test_other_expenses_move_from_line_27a_to_27b_in_2025():
    for year in YEARS:
        lines = tax_year(ROWS, year, "single").schedule_c_lines
        assert {lines[category] for category in ("hosting", "software_subscription", "bank_fees")} == {
            "27a" if year < 2025 else "27b"
        }
        assert lines["interest_other"] == ("16b" if year < 2026 else "16c")
        assert (lines["gross_receipts"], lines["advertising"], lines["meals"]) == ("1", "8", "24b")


def test_meals_are_half_deductible_but_for_restaurants_in_2021_and_2022():
    for year in YEARS:
        part = tax_year(ROWS, year, "single").schedule_c_deductible
        assert part["meals"] == Decimal("0.5")
        assert part["meals_restaurant"] == (1 if year in (2021, 2022) else Decimal("0.5"))
        assert {part[category] for category in part if not category.startswith("meals")} == {1}


def test_only_what_another_form_computes_and_income_have_no_deductible_part():
    law = tax_year(ROWS, 2026, "single")
    assert set(law.schedule_c_deductible) <= set(law.schedule_c_lines)
    assert set(law.schedule_c_lines) - set(law.schedule_c_deductible) == {
        "gross_receipts", "returns_allowances",
        "vehicle", "equipment_over_safe_harbor", "home_office", "startup_amortization",
    }  # fmt: skip


def test_wash_sales_do_not_reach_digital_assets_until_a_dated_row_says_so():
    table = "wash_sale_applies_to_digital_assets"
    assert {tax_year(ROWS, year, "single").digital_asset_wash_sales_from for year in YEARS} == {None}
    changed = ROWS | {table: [*ROWS[table], ROWS[table][0] | {"effective_from": "2026-06-08", "value": "true"}]}
    assert tax_year(changed, 2025, "single").digital_asset_wash_sales_from is None
    assert tax_year(changed, 2026, "single").digital_asset_wash_sales_from == date(2026, 6, 8)


def test_any_other_change_inside_a_year_stops():
    row = ROWS["capital_loss_limit"][0] | {"effective_from": "2026-07-01", "value": "5000"}
    changed = ROWS | {"capital_loss_limit": [*ROWS["capital_loss_limit"], row]}
    with pytest.raises(ValueError, match=r"capital_loss_limit\.csv changes on 2026-07-01"):
        tax_year(changed, 2026, "single")
    assert tax_year(changed, 2025, "single").capital_loss_limit_usd == 3000


@pytest.mark.parametrize("filing_status", FILING_STATUSES)
def test_a_marginal_rate_changes_one_cent_above_each_threshold(filing_status):
    law, cent = tax_year(ROWS, 2026, filing_status), Decimal("0.01")
    for rates, rate_of in (
        (law.ordinary_rates, ordinary_marginal_rate),
        (law.long_term_rates, long_term_marginal_rate),
    ):
        below = Decimal(0)
        for over_usd, rate in rates:
            assert (rate_of(law, over_usd), rate_of(law, over_usd + cent)) == (below, rate)
            below = rate
    assert niit_marginal_rate(law, law.niit_threshold_usd) == 0
    assert niit_marginal_rate(law, law.niit_threshold_usd + cent) == law.niit_rate


GOOD = "effective_from,filing_status,value,unit,citation\n2019-01-01,,30,days,26 USC 1091(a)\n"


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ("2019-01-02,,30,days,", "no citation"),
        ("2019-02-30,,30,days,x", "day is out of range"),
        ("1/2/2019,,30,days,x", "not a date like"),
        ("2019-01-02,married,30,days,x", "'married' is not a filing status"),
        ("2019-01-02,,30,weeks,x", "unit 'weeks'"),
        ("2019-01-02,,thirty,days,x", "not written as days"),
        ("2019-01-02,,NaN,usd,x", "not written as usd"),
        ("2019-01-02,,37,rate,x", "not written as rate"),
        ("2019-01-02,,yes,bool,x", "not written as bool"),
        ("2019-01-02,,30,days", "fewer fields"),
        ("2019-01-02,,30,days,x, y", "more or fewer fields"),
        ("2019-01-01,,31,days,x", "said twice"),
    ],
)
def test_a_bad_row_stops_with_file_and_line(tmp_path, row, why):
    (tmp_path / "wash_sale_window_days.csv").write_text(GOOD + row + "\n")
    with pytest.raises(LawInvalid, match=rf"wash_sale_window_days\.csv:3: .*{why}"):
        law_rows(tmp_path)


@pytest.mark.parametrize("heading", ["", "effective_from,value,unit,citation", "effective_from,filing_status,x,value"])
def test_a_strange_heading_stops(tmp_path, heading):
    (tmp_path / "a.csv").write_text(heading + "\n")
    with pytest.raises(LawInvalid, match=r"a\.csv:\d+: the columns are"):
        law_rows(tmp_path)


def test_a_folder_without_law_stops(tmp_path):
    with pytest.raises(FileNotFoundError, match="no law in"):
        law_rows(tmp_path)


def test_the_hash_is_over_every_byte_and_nothing_else(tmp_path):
    copy = Path(shutil.copytree(law_folder(), tmp_path / "law"))
    assert law_hash(copy) == law_hash()
    with (copy / "wash_sale_window_days.csv").open("a") as file:
        file.write("\n")
    assert law_hash(copy) != law_hash()


def test_the_law_is_found_in_an_installed_wheel(tmp_path, monkeypatch):
    installed = tmp_path / "warehouse" / "sql" / "law"
    installed.mkdir(parents=True)
    monkeypatch.setattr(warehouse.law, "__file__", str(tmp_path / "warehouse" / "law.py"))
    assert law_folder() == installed


def test_reading_the_law_imports_nothing_heavy():
    heavy = "{'polars', 'duckdb', 'prefect', 'numpy', 'pandera'}"
    subprocess.run(
        [sys.executable, "-c", f"import sys, warehouse.law; assert not {heavy} & set(sys.modules)"],
        check=True,
        cwd=Path(__file__).parents[1],
    )


def test_there_is_no_number_of_law_in_the_code():
    for module in (transforms.law, warehouse.law):
        numbers = {
            node.value
            for node in ast.walk(ast.parse(Path(module.__file__).read_text()))
            if isinstance(node, ast.Constant) and isinstance(node.value, int | float)
        }
        assert numbers <= {0, 1}, module.__name__
