"""The files of an account -> what they say together, once.

The problem: exports overlap, a file may hold several accounts, and the same row has to keep its id however it comes. The
choice: files are taken newest first, and a row whose id a newer file has is dropped; within one file nothing is. Ids of
exports are unique in an account at most, so they are led by the account's own id.
"""

import re
from collections.abc import Iterable, Mapping
from datetime import date
from glob import glob
from pathlib import Path
from typing import NamedTuple

import polars as pl

from flows.connectors import Unavailable
from flows.connectors.formats import Statement
from flows.connectors.formats.column_map import OWN, ColumnMap
from flows.connectors.formats.reading import read

UNIQUE_EVERYWHERE = (OWN, "flex")  # formats whose ids differ across accounts already
DAYS = {"activities": "at", "bank_lines": "posted_on"}


class Source(NamedTuple):
    """Where an account's statements are, and whose they are: the id is ours, the number the broker's (its end is enough)."""

    id: str
    files: Path  # a file, or a pattern
    format: str
    number: str
    own: Mapping[str, ColumnMap]


def gathered(source: Source, kind: str) -> list[Statement]:
    """The account's statements of all its files, oldest first.

    Errors   Unavailable when a file is missing or cannot be read: what it holds could be a purchase.
    """
    pattern = str(source.files)
    files = sorted(glob(pattern, recursive=True)) if re.search(r"[*?\[]", pattern) else [pattern]
    if not files:
        raise Unavailable(f"no file matches {pattern}: export the statements of {source.id} to it")
    found = [read(Path(file), source.format, source.own, kind) for file in files]
    ours = _number(source, [account for one in found for account in one.accounts])
    return sorted((_of(one, ours, kind) for one in found), key=lambda one: spoken_for(one, kind, date.max) or date.min)


def rows(source: Source, statements: list[Statement], kind: str) -> pl.DataFrame:
    """The rows of all statements, each once; the newest file that has a row counts."""
    kept: list[pl.DataFrame] = []
    seen: set[str] = set()
    for one in reversed(statements):
        frame: pl.DataFrame = getattr(one, kind)
        kept.append(frame.filter(~pl.col("id").str.strip_chars().is_in(seen)) if seen else frame)
        seen |= {name for name in frame["id"].str.strip_chars() if name}
    merged = kept[0] if len(kept) == 1 else _one_below_the_other(reversed(kept))
    if source.format not in UNIQUE_EVERYWHERE and kind == "activities":
        name = pl.when(pl.col("id") == "").then("id").otherwise(pl.concat_str(pl.lit(f"{source.id}:"), "id"))
        merged = merged.with_columns(id=name)
    return merged if source.format == OWN else merged.drop("account")


def through(statements: Iterable[Statement], kind: str, until: date, today: date) -> date | None:
    """The day, up to `until`, that the files speak for: their own word, or that of their newest row."""
    said = [found for one in statements if (found := spoken_for(one, kind, today))]
    return min(max(said), until) if said else None


def spoken_for(one: Statement, kind: str, today: date) -> date | None:
    if one.stated_on and one.stated_on <= today:
        return one.stated_on
    frame: pl.DataFrame = getattr(one, kind)
    days = frame[DAYS[kind]].str.slice(0, 10).str.to_date("%Y-%m-%d", strict=False)
    return days.filter(days <= today).max()  # type: ignore[return-value]


def _one_below_the_other(frames: Iterable[pl.DataFrame]) -> pl.DataFrame:
    merged = pl.concat(frames, how="diagonal").with_columns(pl.col(pl.String).fill_null(""))
    return merged.drop("line").with_row_index("line", offset=1).with_columns(pl.col("line").cast(pl.Int64))


def _number(source: Source, accounts: list[str]) -> str:
    """The account's number as its files write it; empty where they name none.

    Errors   Unavailable when it cannot be told which account is meant.
    """
    named = sorted(set(accounts))
    ours = [one for one in named if not source.number or _plain(one).endswith(_plain(source.number))]
    if len(ours) == 1 or not named:
        return ours[0] if ours else ""
    shown = ", ".join(f"…{one[-4:]}" for one in named)
    if ours:
        raise Unavailable(
            f"{source.files} speaks of several accounts ({shown}): say which is {source.id} with number, its last digits are enough"
        )
    raise Unavailable(f"{source.files} speaks of {shown} and not of the account that {source.id} names with number")


def _plain(number: str) -> str:
    return re.sub(r"[^0-9A-Za-z]", "", number).upper()


def _of(one: Statement, number: str, kind: str) -> Statement:
    """What a statement says of one account. A row that names none, in a file of several, is nobody's: it is set aside."""
    if not one.accounts:
        return one
    is_ours = pl.col("account").is_in([number, ""])
    frame, column = getattr(one, kind).filter(is_ours), "kind" if kind == "activities" else "amount_usd"
    if len(one.accounts) > 1:
        nobody = pl.format("{} of no account", column)
        frame = frame.with_columns(pl.when(pl.col("account") == "").then(nobody).otherwise(column).alias(column))
    return one._replace(**{kind: frame, "positions": one.positions.filter(pl.col("account") == number)})
