"""A household's trades as rows, the door and the reference called alike, books compared, and trades as sentences."""

from __future__ import annotations

import contextlib
import csv
import io
import re
import tempfile
from collections import Counter
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple

import lots_reference as reference

from flows.lots_door import run as lots_door

TRADES = [*reference.COLUMNS, "kind"]
HEADERS = {
    "disposals": "trade_id,lot_id,account_id,security_id,quantity,acquired_on,holding_since,sold_on,"
    "proceeds_usd,basis_usd,adjustment_code,adjustment_usd,permanent_usd,gain_usd,term,is_provisional",
    "open_lots": "lot_id,account_id,security_id,quantity,acquired_on,holding_since,basis_usd",
    "wash_sales": "trade_id,sold_lot_id,replacement_lot_id,quantity,disallowed_usd,permanent_usd,citation",
    "rejects": "file,line,trade_id,reason",
}
# What the reference does not word: the text of a citation and of a reason, and the file's name.
UNCOMPARED = {"citation", "reason", "file"}

TradeRow = dict[str, str]
Row = dict[str, object]


class Books(NamedTuple):
    disposals: list[Row]
    open_lots: list[Row]
    wash_sales: list[Row]
    rejects: list[Row]


class Door(NamedTuple):
    """What a call of the command left: exit code, the four files, what it said."""

    code: int
    books: Books
    said: str


# The door and the reference, called alike


def write(folder: Path, rows: list[TradeRow], identical: dict[str, str] | None = None) -> tuple[Path, Path | None]:
    trades = folder / "trades.csv"
    with trades.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, TRADES, restval="")
        writer.writeheader()
        writer.writerows(rows)
    if not identical:
        return trades, None
    groups = folder / "identical.csv"
    groups.write_text("security_id,group_id\n" + "".join(f"{k},{v}\n" for k, v in identical.items()))
    return trades, groups


def typed(column: str, text: str) -> object:
    if column.endswith("_usd") or column == "quantity":
        return Decimal(text)
    if column.endswith("_on") or column == "holding_since":
        return date.fromisoformat(text)
    if column.startswith("is_"):
        return {"true": True, "false": False}[text.lower()]
    return int(text) if column == "line" else text


def read_books(out: Path) -> Books:
    tables = []
    for name, header in HEADERS.items():
        with (out / f"{name}.csv").open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            assert list(reader.fieldnames or [])[: header.count(",") + 1] == header.split(","), name
            tables.append([{c: typed(c, row[c]) for c in header.split(",")} for row in reader])
    return Books(*tables)


def door(
    rows: list[TradeRow],
    identical: dict[str, str] | None = None,
    as_of: date | None = None,
    strict: bool = False,
    policy: dict[str, str] | None = None,
) -> Door:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        trades, groups = write(folder, rows, identical)
        said = io.StringIO()
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
            code = lots_door(trades, folder / "out", identical=groups, as_of=as_of, strict=strict, policy=policy)
        return Door(code, read_books(folder / "out"), said.getvalue())


def engine_books(rows: list[TradeRow], identical: dict[str, str], as_of: date) -> Books:
    return door(rows, identical, as_of).books


def reference_books(rows: list[TradeRow], identical: dict[str, str], as_of: date) -> Books:
    return Books(*reference.run(rows, identical, as_of))


def comparable(table: list[Row]) -> Counter[tuple[tuple[str, object], ...]]:
    """The rows as a bag: the contract names no order of rows."""
    return Counter(tuple((c, v) for c, v in row.items() if c not in UNCOMPARED) for row in table)


def difference(mine: Books, theirs: Books) -> str:
    lines = []
    for name, left, right in zip(Books._fields, mine, theirs, strict=True):
        a, b = comparable(left), comparable(right)
        lines += [f"{name}: only the engine: {show(row)}" for row in (a - b).elements()]
        lines += [f"{name}: only the reference: {show(row)}" for row in (b - a).elements()]
    return "\n".join(lines)


def show(row: tuple[tuple[str, object], ...]) -> str:
    return " ".join(f"{column}={value}" for column, value in row)


def csv_text(rows: list[TradeRow]) -> str:
    return "\n".join([",".join(TRADES), *(",".join(row.get(column, "") for column in TRADES) for row in rows)])


# Trades and books as sentences

TRADE = re.compile(
    r"(?P<traded_at>\S+) (?P<account_id>\S+) (?P<side>buy|sell)s (?P<quantity>\S+) (?P<security_id>\S+) "
    r"(at (?P<price_usd>\S+)|for (?P<total>\S+))( fee (?P<fee_usd>\S+))?( from (?P<lots>\S+))? "
    r"as (?P<trade_id>\S+)"
)
DISPOSAL = re.compile(
    r"(?P<trade_id>\S+) sells (?P<quantity>\S+) of (?P<lot_id>\S+) for (?P<proceeds_usd>\S+), "
    r"basis (?P<basis_usd>\S+)(, disallowed (?P<adjustment_usd>\S+))?(, permanent (?P<permanent_usd>\S+))?, "
    r"gain (?P<gain_usd>\S+), (?P<term>short|long)(, held since (?P<holding_since>\S+))?"
    r"(?P<is_provisional>, provisional)?"
)
OPEN_LOT = re.compile(
    r"(?P<quantity>\S+) of (?P<lot_id>\S+), basis (?P<basis_usd>\S+), held since (?P<holding_since>\S+)"
)
WASH_SALE = re.compile(
    r"(?P<trade_id>\S+) of (?P<sold_lot_id>\S+), (?P<quantity>\S+) replaced by (?P<replacement_lot_id>\S+), "
    r"(?P<disallowed_usd>\S+) disallowed(, (?P<permanent_usd>\S+) permanent)?"
)
REJECT = re.compile(r"line (?P<line>\d+) (?P<trade_id>\S+)")


def parse(pattern: re.Pattern[str], sentence: str) -> dict[str, str | None]:
    found = pattern.fullmatch(sentence)
    assert found, f"not a sentence of this grammar: {sentence}"
    return found.groupdict()


def trade_row(sentence: str, accounts: dict[str, str]) -> TradeRow:
    said = {column: text or "" for column, text in parse(TRADE, sentence).items()}
    said["account_type"], said["owner"] = accounts[said["account_id"]].split(" of ")
    total = said.pop("total")
    said["price_usd"] = said["price_usd"] or str(Decimal(total) / Decimal(said["quantity"]))
    return said | {"fee_usd": said["fee_usd"] or "0"}


def expected_row(pattern: re.Pattern[str], sentence: str) -> Row:
    said = parse(pattern, sentence)
    for column in ("adjustment_usd", "permanent_usd"):
        if column in said:
            said[column] = said[column] or "0"
    if "is_provisional" in said:
        said["is_provisional"] = "true" if said["is_provisional"] else "false"
    return {column: typed(column, text) for column, text in said.items() if text is not None}


def as_expected(table: list[Row], sentences: list[str], pattern: re.Pattern[str]) -> tuple[list[Row], list[Row]]:
    """The table and the sentences as rows of the same columns, in the same order."""
    expected = [expected_row(pattern, sentence) for sentence in sentences]
    if len(table) != len(expected):
        return table, expected
    keys = [column for column in pattern.groupindex if all(column in row for row in expected)]
    table = sorted(table, key=lambda row: [str(row[column]) for column in keys])
    expected = sorted(expected, key=lambda row: [str(row[column]) for column in keys])
    return [{c: row[c] for c in e} for row, e in zip(table, expected, strict=True)], expected
