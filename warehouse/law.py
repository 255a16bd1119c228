"""Reads sql/law/*.csv: every statutory number with its date, its unit and its citation.

A wrong law row is a wrong tax on every return, so nothing is set aside here: the first bad row stops the run
with its file and line. Standard library only, because the command line reads the law before anything heavy.
"""

import csv
import re
from collections.abc import Iterable, Mapping
from datetime import date
from hashlib import sha256
from pathlib import Path

from transforms.law import FILING_STATUSES, LawMissing
from transforms.lots.rules import Rules, rules

_DATE = r"[0-9]{4}-[0-9]{2}-[0-9]{2}"
_UNITS = {  # unit -> how its values are written
    "usd": r"[0-9]+(\.[0-9]{1,2})?",
    "rate": r"0(\.[0-9]+)?|1(\.0+)?",
    "days": r"[0-9]+",
    "line": r"[0-9]{1,2}[a-z]?",
    "bool": r"true|false",
    "date": _DATE,
    "ratio": r"[0-9]+(\.[0-9]+)?",
}
POLICY = "policy.csv"
_KEYS = {"over_usd": _UNITS["usd"], "category": r"[a-z][a-z0-9_]*"}


class LawInvalid(ValueError):
    """A row of sql/law that cannot be the law; the message starts with file and line."""


def law_folder() -> Path:
    """sql/law beside the package in a source checkout, inside it in the installed wheel."""
    package = Path(__file__).parent
    for folder in (package / "sql" / "law", package.parent / "sql" / "law"):
        if folder.is_dir():
            return folder
    raise FileNotFoundError(f"no sql/law beside or inside {package}")


def law_rows(folder: Path | None = None) -> dict[str, list[dict[str, str]]]:
    """Every table that the law of a tax year is made of: the file's name without .csv -> its rows, as text.

    Errors   LawInvalid at the first bad row: no citation, no such date, not a number of its unit, said twice.
    Omits    tables whose value is a date: that one is the same for every year, and law_date reads it.

    >>> law_rows()["wash_sale_window_days"][0]["value"]
    '30'
    """
    tables = {path.stem: _rows(path) for path in _files(folder) if path.name != POLICY}
    return {name: rows for name, rows in tables.items() if not any(row["unit"] == "date" for row in rows)}


def law_date(table: str, folder: Path | None = None) -> date:
    """The one date that a table of the law holds.

    Errors   LawMissing when there is no such table or it holds none; LawInvalid for a bad row.

    >>> law_date("covered_since")
    datetime.date(2011, 1, 1)
    """
    for path in _files(folder):
        if path.name != POLICY and path.stem == table and len(rows := _rows(path)) == 1 and rows[0]["unit"] == "date":
            return date.fromisoformat(rows[0]["value"])
    raise LawMissing(f"sql/law/{table}.csv does not hold one date: write it with its citation")


def policy(answers: Mapping[str, str] | None = None, folder: Path | None = None) -> dict[str, str]:
    """How the open questions of the law are answered: flag -> value, the defaults of policy.csv below `answers`.

    Errors   LawInvalid at a row without a value of its unit, without a side that it favours or without sources.

    >>> policy()["deep_put_moneyness"], policy({"deep_put_moneyness": "1.5"})["deep_put_moneyness"]
    ('1.20', '1.5')
    """
    path = (folder or law_folder()) / POLICY
    flags: dict[str, str] = {}
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file, strict=True)
        for row in reader:
            wrong = (
                "more or fewer fields than the heading" if None in row or None in row.values()
                else f"unit {row['unit']!r} is not bool or ratio" if row["unit"] not in ("bool", "ratio")
                else f"value {row['value']!r} is not written as {row['unit']}"
                if not re.fullmatch(_UNITS[row["unit"]], row["value"])
                else f"favours {row['favours']!r} is neither taxpayer nor IRS" if row["favours"] not in ("taxpayer", "IRS")
                else "no question or no citation" if not (row["question"].strip() and row["citation"].strip())
                else f"{row['flag']} is said twice" if row["flag"] in flags
                else ""
            )  # fmt: skip
            if wrong:
                raise LawInvalid(f"{path}:{reader.line_num}: {wrong}")
            flags[row["flag"]] = row["value"]
    return flags | dict(answers or {})


def wash_rules(on: date, answers: Mapping[str, str] | None = None) -> Rules:
    """The rules of wash sales on a day, as sql/law and a household's own answers say.

    Errors   LawMissing, LawInvalid; ValueError for an answer to a question that nobody asks.
    """
    return rules(law_rows(), policy(answers), on)


def law_hash(folder: Path | None = None) -> str:
    """sha256 over the files' bytes in the order of their names: a run records which law it used."""
    digest = sha256()
    for path in _files(folder):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _files(folder: Path | None) -> list[Path]:
    folder = folder or law_folder()
    files = sorted(folder.glob("*.csv"), key=lambda path: path.name)
    if not files:
        raise FileNotFoundError(f"no law in {folder}")
    return files


def _rows(path: Path) -> list[dict[str, str]]:
    rows: list[dict[str, str]] = []
    seen: set[tuple[str, ...]] = set()
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file, strict=True)
        try:
            key = _key(reader.fieldnames or ())
            for row in reader:
                _check(row, key)
                identity = (row["effective_from"], row["filing_status"], row[key] if key else "")
                if identity in seen:
                    raise ValueError("said twice for the same date, filing status and key")
                seen.add(identity)
                rows.append(row)
        except (ValueError, csv.Error) as error:
            raise LawInvalid(f"{path}:{reader.line_num}: {error}") from error
    return rows


def _key(columns: Iterable[str]) -> str | None:
    """The one column a table may have of its own, before the value."""
    before, after = ["effective_from", "filing_status"], ["value", "unit", "citation"]
    columns = list(columns)
    if columns == before + after:
        return None
    for key in _KEYS:
        if columns == [*before, key, *after]:
            return key
    raise ValueError(f"the columns are {', '.join(columns) or 'missing'}")


def _check(row: dict[str, str], key: str | None) -> None:
    if None in row or None in row.values():
        raise ValueError("more or fewer fields than the heading")
    if not re.fullmatch(_DATE, row["effective_from"]):
        raise ValueError(f"effective_from {row['effective_from']!r} is not a date like 2026-01-01")
    date.fromisoformat(row["effective_from"])
    if row["filing_status"] not in ("", *FILING_STATUSES):
        raise ValueError(f"{row['filing_status']!r} is not a filing status")
    if row["unit"] not in _UNITS:
        raise ValueError(f"unit {row['unit']!r} is not one of {', '.join(_UNITS)}")
    if not re.fullmatch(_UNITS[row["unit"]], row["value"]):
        raise ValueError(f"value {row['value']!r} is not written as {row['unit']}")
    if row["unit"] == "date":
        date.fromisoformat(row["value"])
    if key and not re.fullmatch(_KEYS[key], row[key]):
        raise ValueError(f"{key} {row[key]!r} is not written as {key}")
    if not row["citation"].strip():
        raise ValueError("no citation")
