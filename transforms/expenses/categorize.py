"""Bank lines become lines of Schedule C, by the household's own rules and the law's lines of that year.

Rules are read from the top and the first that fits decides, so that the narrow one can stand before the wide
one (MEMORY CARDS before the shop they come from). A line that no rule fits is never guessed at: it waits for
a person.
"""

from collections.abc import Callable, Sequence
from decimal import ROUND_HALF_UP, Decimal
from functools import cache
from typing import Protocol

import polars as pl

from transforms.law import TaxYear
from transforms.tables import core

REVIEW, PERSONAL = "review", "personal"
LAW_NAMES = {"equipment": "equipment_over_safe_harbor"}  # the household's word -> the law's
OTHER_FORM = frozenset(("equipment", "equipment_over_safe_harbor", "vehicle", "home_office", "startup_amortization"))
_CENT = Decimal("0.01")


class Rule(Protocol):
    """What one kind of bank line is; flows.policy.ExpenseRule is one."""

    @property
    def match(self) -> str: ...
    @property
    def category(self) -> str: ...
    @property
    def business_share(self) -> Decimal: ...


class UnknownCategory(ValueError):
    """A rule puts lines into a category that Schedule C of that year does not have."""


def expenses(lines: pl.DataFrame, rules: Sequence[Rule], law: Callable[[int], TaxYear]) -> pl.DataFrame:
    """Every bank line with its category, its line of Schedule C and the amount that counts there.

    Law      26 USC 61(a)(1), 162(a), 274(n); Schedule C (Form 1040) of the year in which the line was posted.
    Order    posting date, bank, line; the first rule whose text is in the description, in any case, decides.
    Units    USD to the cent, half-up. Money in is positive on line 1, money out on every other line; a refund
             is negative there and reduces it.
    Rows     of stg.bank_lines (bank_id, bank_line_id, posted_on, description, amount_usd); of core.expenses.
    Errors   UnknownCategory names the rule; LawMissing for a year whose law is not there.
    Omits    what another form computes first: equipment over the safe harbor (Form 4562), vehicle,
             home_office (Form 8829), start-up costs. They stand on their line with nothing deducted.
             Accrual accounting; cost of goods sold; entertainment, which no rule may call a meal.
    """
    law = cache(law)
    rows = []
    columns = ("bank_id", "bank_line_id", "posted_on", "description", "amount_usd")
    for row in lines.select(columns).sort("posted_on", "bank_id", "bank_line_id").iter_rows():
        _, _, posted_on, description, amount_usd = row
        rule = next((rule for rule in rules if rule.match.casefold() in description.casefold()), None)
        rows.append((*row, *_placed(amount_usd, rule, posted_on.year, law)))
    return core("expenses", rows)


def _placed(
    amount_usd: Decimal, rule: Rule | None, year: int, law: Callable[[int], TaxYear]
) -> tuple[str, str, Decimal]:
    """category, line of the form, and the amount that counts on it."""
    if rule is None or rule.category in (REVIEW, PERSONAL):
        return (rule.category if rule else REVIEW), "", Decimal(0)
    year_law, name = law(year), LAW_NAMES.get(rule.category, rule.category)
    line = year_law.schedule_c_lines.get(name)
    if line is None:
        known = ", ".join(sorted({*year_law.schedule_c_lines, PERSONAL, REVIEW}))
        raise UnknownCategory(
            f"the rule for {rule.match!r} says category {rule.category!r}, which Schedule C of {year} does "
            f"not have; change it in portfolio.toml to one of {known}"
        )
    if name in OTHER_FORM:
        return rule.category, line, Decimal(0)
    if name == "gross_receipts":
        part = rule.business_share
    elif name == "returns_allowances":
        part = -rule.business_share
    else:
        part = -rule.business_share * year_law.schedule_c_deductible[name]
    return rule.category, line, (amount_usd * part).quantize(_CENT, ROUND_HALF_UP)
