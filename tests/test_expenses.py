"""Bank lines on Schedule C."""

import csv
from datetime import date
from decimal import Decimal

import polars as pl
import pytest

from flows.policy import ExpenseRule
from flows.settings import DEMO, read_portfolio
from transforms.expenses.categorize import UnknownCategory, expenses
from transforms.law import LawMissing, TaxYear, tax_year
from transforms.tables import USD
from warehouse.law import law_rows

ROWS = law_rows()
SCHEMA = {
    "bank_id": pl.String, "bank_line_id": pl.String, "posted_on": pl.Date, "description": pl.String, "amount_usd": USD,
}  # fmt: skip


def law(year: int) -> TaxYear:
    return tax_year(ROWS, year, "mfj")


def rule(match: str, category: str, share: str = "1") -> ExpenseRule:
    return ExpenseRule(match=match, category=category, business_share=Decimal(share))


def placed(description: str, usd: str, *rules: ExpenseRule, on: date = date(2025, 3, 4)) -> tuple[str, str, str]:
    """category, line and amount of one bank line."""
    lines = pl.DataFrame([("bank", "B-1", on, description, Decimal(usd))], schema=SCHEMA, orient="row")
    category, line, amount = expenses(lines, rules, law).select("category", "schedule_c_line", "deductible_usd").row(0)
    return category, line, str(amount.quantize(Decimal("0.01")))


def test_the_first_rule_that_fits_decides():
    narrow, wide = rule("memory cards", "supplies"), rule("B&H PHOTO", "equipment_de_minimis")
    assert placed("B&H PHOTO MEMORY CARDS", "-118.64", narrow, wide) == ("supplies", "22", "118.64")
    assert placed("B&H PHOTO MEMORY CARDS", "-118.64", wide, narrow) == ("equipment_de_minimis", "27b", "118.64")


def test_a_rule_ignores_case():
    assert placed("cloudHost Servers", "-48.00", rule("CLOUDHOST", "hosting")) == ("hosting", "27b", "48.00")


def test_other_expenses_stand_on_the_line_of_their_year():
    hosting = rule("CLOUDHOST", "hosting")
    assert placed("CLOUDHOST", "-48", hosting, on=date(2024, 12, 31))[1] == "27a"
    assert placed("CLOUDHOST", "-48", hosting, on=date(2025, 1, 1))[1] == "27b"


def test_a_line_that_no_rule_fits_waits_for_a_person():
    assert placed("CHECK 1043", "-380.00", rule("ADOBE", "hosting")) == ("review", "", "0.00")


def test_a_personal_line_is_on_no_line():
    assert placed("TRANSFER", "-3900.00", rule("TRANSFER", "personal", "0")) == ("personal", "", "0.00")


def test_the_business_share_counts_rounded_half_up_to_the_cent():
    assert placed("VERIZON", "-139.98", rule("VERIZON", "utilities_phone_internet", "0.6"))[2] == "83.99"
    assert placed("VERIZON", "-0.05", rule("VERIZON", "utilities_phone_internet", "0.5"))[2] == "0.03"
    assert placed("VERIZON", "0.05", rule("VERIZON", "utilities_phone_internet", "0.5"))[2] == "-0.03"


def test_half_of_a_restaurant_counts_but_all_of_it_in_2022():
    meals = rule("RESTAURANT", "meals_restaurant")
    assert placed("RESTAURANT", "-64.19", meals) == ("meals_restaurant", "24b", "32.10")
    assert placed("RESTAURANT", "-64.19", meals, on=date(2022, 5, 1))[2] == "64.19"


def test_a_refund_reduces_its_line():
    assert placed("ADOBE REFUND", "54.99", rule("ADOBE", "software_subscription"))[2] == "-54.99"


def test_income_is_positive_on_line_1_and_what_is_given_back_positive_on_line_2():
    assert placed("PATREON", "812.30", rule("PATREON", "gross_receipts")) == ("gross_receipts", "1", "812.30")
    assert placed("PATREON", "-12.30", rule("PATREON", "gross_receipts"))[2] == "-12.30"
    assert placed("REFUND TO FAN", "-5.00", rule("REFUND", "returns_allowances"))[1:] == ("2", "5.00")


@pytest.mark.parametrize(
    ("category", "line"),
    [("equipment", "13"), ("vehicle", "9"), ("home_office", "30"), ("startup_amortization", "27b")],
)
def test_what_another_form_computes_first_has_its_line_and_no_amount(category, line):
    assert placed("B&H CAMERA BODY", "-3498.00", rule("CAMERA", category)) == (category, line, "0.00")


def test_a_category_that_the_form_does_not_have_is_named_with_its_rule():
    with pytest.raises(UnknownCategory, match="the rule for 'TAXI' says category 'taxi', which Schedule C of 2025"):
        placed("TAXI 44", "-20.00", rule("TAXI", "taxi"))


def test_a_year_without_law_stops():
    with pytest.raises(LawMissing):
        placed("ADOBE", "-54.99", rule("ADOBE", "software_subscription"), on=date(2031, 1, 2))


def test_the_lines_come_in_order_whatever_the_order_of_the_bank():
    lines = pl.DataFrame(
        [("b", "2", date(2025, 1, 2), "x", Decimal(1)), ("b", "1", date(2025, 1, 2), "y", Decimal(2))],
        schema=SCHEMA, orient="row",
    )  # fmt: skip
    assert expenses(lines, (), law)["bank_line_id"].to_list() == ["1", "2"]


def test_the_demo_household_leaves_three_lines_to_a_person_and_every_other_has_its_category():
    rows = list(csv.DictReader((DEMO / "bank.csv").open()))
    lines = pl.DataFrame(
        [("bank", r["id"], date.fromisoformat(r["posted_on"]), r["description"], Decimal(r["amount_usd"])) for r in rows],
        schema=SCHEMA, orient="row",
    )  # fmt: skip
    found = expenses(lines, read_portfolio(DEMO / "portfolio.toml").expenses.rules, law)
    assert found.height == len(rows)
    assert found.filter(category="review")["description"].to_list() == [
        "CHECK 1043", "ACH CREDIT REF 88213", "POS PURCHASE 4471 MARKETPLACE",
    ]  # fmt: skip
    assert found.filter(category="utilities_phone_internet")["deductible_usd"].unique().to_list() == [Decimal("83.99")]
