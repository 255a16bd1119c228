"""A CSV export and its column map -> a Statement.

The problem: exports have prose above and below, headers again in the middle, several tables, and damaged rows. The
choice: whatever stands outside of a table or alone in its line is prose, and prose may say the day, the account and the
currency; every other row is delivered (table_rows.py).
"""

import re
from collections import Counter
from collections.abc import Iterable
from datetime import date
from pathlib import Path

from flows.connectors import Unavailable
from flows.connectors.formats import Statement, statement
from flows.connectors.formats.column_map import HEADS, ColumnMap, folded
from flows.connectors.formats.numbers import day, read_day
from flows.connectors.formats.table_rows import ROW, Row, Seen, Table, printed_day
from flows.connectors.formats.text import LOOKED_AT, Record, records, text_of


class NoHeader(Unavailable):
    """No row of the file is the header of the table."""


def read(file: Path, form: ColumnMap) -> Statement:
    """The statement that a file of this format makes.

    Errors   Unavailable says why the file cannot be used.
    Omits    a row that the broker words anew gets another id: it is delivered beside the old one, which is gone from the
             file. Dates without a year.
    """
    text = text_of(file, form.encoding)
    found: dict[str, list[Row]] = {"activities": [], "positions": [], "bank_lines": []}
    prose: list[str] = []
    seen: Seen = Counter()
    table: Table | None = None
    for record in _records(text, form):
        cells = record.cells
        filled = [cell for cell in map(str.strip, cells) if cell]
        if not filled:
            continue
        if (header := _header(form, cells)) is not None:
            table = header
        elif (
            table is None or (len(filled) == 1 and not _is_dated(table.form, filled[0])) or _is_footer(form, filled[0])
        ):
            prose.append(" ".join(filled)[:LOOKED_AT])
        elif all(table.says(cells, table.form.rows)) and (row := ROW[table.form.kind](table, record, seen)):
            found[table.form.kind].append(row)
    if table is None:
        wanted = ", ".join(" or ".join(form.headers(name)) for name in HEADS if name in form.columns)
        raise NoHeader(f"{file} has no header with the columns {wanted}")
    _usable(file, form, found, prose)
    dates = form.stated_dates or form.dates
    said = [read_day(day(text, dates)) for text in _said(form.stated_on, prose)]
    numbers = _said(form.account, prose)
    for rows in found.values():
        for row in rows if len(set(numbers)) == 1 else ():
            row["account"] = row["account"] or numbers[0]
    stated_on = max((one for one in said if one), default=None)
    for row in found["positions"]:
        row["as_of"] = str(stated_on or _newest(found["activities"]) or "")
    return statement(stated_on, found["activities"], found["positions"], found["bank_lines"])


def likeness(text: str, form: ColumnMap) -> int:
    """How many columns of this format the best header in a text has; 0 without one."""
    found = (_header(form, record.cells) for record in _records(text, form))
    return max((len(one.form.heads) for one in found if one), default=0)


def _records(text: str, form: ColumnMap) -> Iterable[Record]:
    rows = (record for record in records(text, form.delimiter) if record.line > form.skip_top)
    return list(rows)[: -form.skip_bottom] if form.skip_bottom else rows


def _header(form: ColumnMap, cells: list[str]) -> Table | None:
    """The table that a row is the header of; of several the one that asks for most."""
    names = frozenset(map(folded, cells))
    if form.anchors.isdisjoint(names):
        return None
    found = [one for one in (form, *form.tables) if not any(head.isdisjoint(names) for head in one.heads)]
    return Table(max(found, key=lambda one: len(one.heads)), cells) if found else None


def _is_footer(form: ColumnMap, first: str) -> bool:
    return any(re.search(pattern, first[:LOOKED_AT], re.IGNORECASE) for pattern in form.footers)


def _is_dated(form: ColumnMap, text: str) -> bool:
    return read_day(printed_day(form, text)) is not None


def _said(pattern: str, prose: list[str]) -> list[str]:
    if not pattern:
        return []
    return [hit[1].strip() for line in prose if (hit := re.search(pattern, line, re.IGNORECASE))]


def _newest(rows: list[Row]) -> date | None:
    return max((found for row in rows if (found := read_day(str(row["at"])))), default=None)


def _usable(file: Path, form: ColumnMap, found: dict[str, list[Row]], prose: list[str]) -> None:
    """A file in another currency, or none of whose rows has a day, is not this format or of no use as a whole."""
    if other := next((said for said in _said(form.currency, prose) if said.upper() != "USD"), ""):
        raise Unavailable(f"{file} is in {other[:20]}, not in USD: amounts in other currencies cannot be booked")
    rows = [*found["activities"], *found["bank_lines"]]
    if rows and not any(read_day(str(row.get("at") or row.get("posted_on") or "")) for row in rows):
        like = " or ".join(form.dates)
        said = rows[0].get("at") or rows[0].get("posted_on") or "nothing"
        raise Unavailable(
            f"{file}:{rows[0]['line']}: no row of the file has a day like {like}; there stands {str(said)[:80]}"
        )
