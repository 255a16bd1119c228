"""What the law says of wash sales on a day, and how the questions that it leaves open are answered.

The statute's numbers are rows of sql/law; the open questions are the flags of sql/law/policy.csv, each with its
sources, its default and whom the default favours. A household may answer them otherwise; the books say how.
"""

from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from typing import Any, NamedTuple

from transforms.exact import decimal
from transforms.law import LawMissing, Tables, value_on
from transforms.model import IRAS, TAXABLE


class Rules(NamedTuple):
    """Units: days; deep_put_moneyness is strike / price of the underlying. The flags are in sql/law/policy.csv."""

    window_days: int = 30
    digital_assets_from: date | None = None  # None while the rule does not reach them
    same_time_taxable_first: bool = True
    presale_held_to_day_end: bool = True
    older_lot_replaces: bool = True
    all_deferred_replace: bool = True
    deep_put_moneyness: Decimal = Decimal("1.20")
    same_index_washes: bool = False


class Unasked(ValueError):
    """An answer to a question that nobody asks, or one that cannot be read; the message names those there are."""


FLAGS = Rules._fields[2:]


def rules(law: Tables, flags: Mapping[str, str], on: date) -> Rules:
    """The rules in force on a day, from the rows of sql/law and the answers to the open questions.

    Law      26 USC 1091(a); the open questions with their sources: sql/law/policy.csv.
    Errors   LawMissing for a flag that is missing; Unasked for one that nobody knows or that cannot be read.
    Omits    two answers to one question at different times of one household.

    >>> from warehouse.law import law_rows, policy
    >>> rules(law_rows(), policy({"older_lot_replaces": "false"}), date(2025, 3, 1))[:5]
    (30, None, True, True, False)
    """
    for flag in FLAGS:
        if flag not in flags:
            raise LawMissing(f"sql/law/policy.csv has no row for {flag}: add it with its sources")
    for flag in flags:
        if flag not in FLAGS:
            raise Unasked(f"policy {flag!r} is not one of {', '.join(FLAGS)}")
    since = [row["effective_from"] for row in law["wash_sale_applies_to_digital_assets"] if row["value"] == "true"]
    return Rules(
        int(value_on(law, "wash_sale_window_days", on)),
        date.fromisoformat(min(since)) if since else None,
        *(_answer(flag, flags[flag]) for flag in FLAGS),
    )


def purchase_replaces(rules: Rules, account_type: str, owner: str) -> bool:
    """Is a purchase in such an account one that replaces the household's losses?

    Law      26 USC 1091(a); Rev. Rul. 2008-5 (the taxpayer's own IRA); the others by policy all_deferred_replace.
    Omits    an account of anyone else: a child, a parent (26 USC 267 is not modelled).

    >>> purchase_replaces(Rules(all_deferred_replace=False), "401k", "self")
    False
    """
    return rules.all_deferred_replace or account_type in TAXABLE or (owner == "self" and account_type in IRAS)


def _answer(flag: str, text: str) -> Any:
    if isinstance(Rules._field_defaults[flag], bool):
        if text not in ("true", "false"):
            raise Unasked(f"policy {flag} is true or false, not {text!r}")
        return text == "true"
    try:
        return decimal(text)
    except ValueError as wrong:
        raise Unasked(f"policy {flag}: {wrong}") from None
