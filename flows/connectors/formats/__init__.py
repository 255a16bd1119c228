"""Whose export a statement is: one reader a format, each `read(file) -> Statement`.

A reader translates names and units and judges nothing: a row that it cannot translate stays, under the source's own
word for its kind, and the contract of activities sets it aside with what it said.
"""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import NamedTuple

import polars as pl

from flows.csv_file import SURPLUS

ACTIVITY_COLUMNS = ("id", "at", "kind", "side", "symbol", "quantity", "price_usd", "fee_usd", "amount_usd", "lots")
OPTION_COLUMNS = ("underlying_id", "right", "strike_usd", "multiplier")
POSITION_COLUMNS = ("symbol", "quantity", "as_of")
BANK_COLUMNS = ("id", "posted_on", "description", "amount_usd")


class Statement(NamedTuple):
    """What one file says. Every value is text; `line` is where a row stands in the file, or its number.

    `accounts` are the broker's own account numbers; rows carry theirs in the column `account`.
    """

    stated_on: date | None  # the last day that it speaks for
    accounts: tuple[str, ...]
    activities: pl.DataFrame  # line, ACTIVITY_COLUMNS, the columns that a kind needs besides, account
    positions: pl.DataFrame  # line, symbol, quantity, cost_usd, as_of, account
    bank_lines: pl.DataFrame  # line, id, posted_on, description, amount_usd, account


Row = Mapping[str, str | int]


def statement(
    stated_on: date | None,
    activities: Sequence[Row] = (),
    positions: Sequence[Row] = (),
    bank_lines: Sequence[Row] = (),
    accounts: Sequence[str] = (),
) -> Statement:
    """The rows of a file as a Statement, always with the same columns; `accounts` are those that may have no rows.

    Rows     `note` says why a row could not be translated, `said` what stood there.
    """
    named = [str(row["account"]) for rows in (activities, positions, bank_lines) for row in rows]
    return Statement(
        stated_on,
        tuple(account for account in dict.fromkeys((*accounts, *named)) if account),
        _frame(activities, (*ACTIVITY_COLUMNS, "ratio", *OPTION_COLUMNS, "note", "said", "account")),
        _frame(positions, (*POSITION_COLUMNS, "cost_usd", "account")),
        _frame(bank_lines, (*BANK_COLUMNS, "said", "account")),
    )


def _frame(rows: Sequence[Row], columns: tuple[str, ...]) -> pl.DataFrame:
    if any(row.get(SURPLUS) for row in rows):
        columns = (*columns, SURPLUS)
    made = {name: pl.Series([row.get(name, "") for row in rows], dtype=pl.String) for name in columns}
    return pl.DataFrame({"line": pl.Series([row["line"] for row in rows], dtype=pl.Int64), **made})
