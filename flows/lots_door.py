"""`thresher lots`: one CSV of trades in, disposals, open lots, wash sales and rejects out.

The standard library only, so that ten rows are answered at once.
"""

import csv
import sys
from collections.abc import Iterable, Iterator, Mapping
from datetime import date, datetime, time
from difflib import get_close_matches
from pathlib import Path
from typing import NamedTuple
from zoneinfo import ZoneInfo

from flows.csv_file import SURPLUS, Unreadable, csv_rows
from flows.lots_rows import COLUMNS, OPTIONAL, read_event, restated
from transforms.exact import shares_text, usd_text
from transforms.law import LawMissing
from transforms.lots.book import book
from transforms.lots.rules import Rules, Unasked
from transforms.lots.term import is_provisional
from transforms.model import Books, Event
from warehouse.law import wash_rules

NEW_YORK = ZoneInfo("America/New_York")
LARGE = 1_000_000  # bytes, 16,000 rows: one by one they take the second that the libraries for columns take to load
DISPOSALS = (
    "trade_id,lot_id,account_id,security_id,quantity,acquired_on,holding_since,sold_on,proceeds_usd,basis_usd,"
    "adjustment_code,adjustment_usd,permanent_usd,gain_usd,term,is_provisional"
)
OPEN_LOTS = "lot_id,account_id,security_id,quantity,acquired_on,holding_since,basis_usd"
WASH_SALES = "trade_id,sold_lot_id,replacement_lot_id,quantity,disallowed_usd,permanent_usd,citation"


class Reject(NamedTuple):
    line: int
    trade_id: str
    reason: str


def run(
    trades_path: Path,
    out: Path,
    identical: Path | None = None,
    as_of: date | None = None,
    strict: bool = False,
    policy: Mapping[str, str] | None = None,
) -> int:
    """Book one household's file and write the four tables; the exit code of `thresher lots`.

    `policy` answers open questions of law otherwise than sql/law/policy.csv does.

    Errors   1 the file cannot be read; 2 with `strict` when a row was rejected; else 0.
    """
    try:
        groups = read_identical(identical) if identical else {}
        done = None
        if trades_path.is_file() and trades_path.stat().st_size > LARGE:
            from flows.lots_columns import booked_in_columns

            done = booked_in_columns(trades_path, out, groups, as_of, policy)
        done = done or _booked(trades_path, out, groups, as_of, policy)
    except (Unreadable, LawMissing, Unasked, OSError) as wrong:
        print(f"thresher lots: {wrong}", file=sys.stderr)
        return 1
    for name, meant in _misspelt(trades_path):
        print(f"{trades_path}:1: the column {name!r} is not read; is it {meant}?", file=sys.stderr)
    for reject in done.rejects:
        print(f"{trades_path}:{reject.line}: {reject.trade_id or '(no id)'}: {reject.reason}", file=sys.stderr)
    print(
        f"{done.booked} trades to {done.as_of}, {len(done.rejects)} rejected, {done.later} later ones left out: "
        f"{done.disposals} disposals, {done.lots} open lots, {done.wash_sales} wash sales in {out}"
    )
    return 2 if strict and done.rejects else 0


def _misspelt(path: Path) -> Iterator[tuple[str, str]]:
    """Columns that nobody reads and whose names are nearly those of columns that are read."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        header = [name.strip() for name in next(csv.reader(file), [])]
    for name in header:
        if name not in (*COLUMNS, *OPTIONAL) and (meant := get_close_matches(name, OPTIONAL, 1, 0.75)):
            yield name, meant[0]


class Done(NamedTuple):
    """What a file came to: the rows that were rejected, and how many were booked, left out and written."""

    rejects: list[Reject]
    booked: int
    as_of: date
    later: int
    disposals: int
    lots: int
    wash_sales: int


def _booked(
    path: Path, out: Path, groups: Mapping[str, str], as_of: date | None, policy: Mapping[str, str] | None
) -> Done:
    file = read_trades(path, as_of, policy)
    books = book(file.trades, file.rules, groups)
    rejects = file.rejects + [Reject(file.lines[row.trade_id], row.trade_id, row.reason) for row in books.refused]
    rejects.sort()
    write_books(out, books, file.rules.window_days, file.as_of, path.name, rejects)
    return Done(
        rejects, len(file.trades) - len(books.refused), file.as_of, file.later,
        len(books.disposals), len(books.lots), len(books.wash_sales),
    )  # fmt: skip


class TradeFile(NamedTuple):
    """Events that are well formed, the rows that are not, the line of every trade_id, and how many rows are later."""

    trades: list[Event]
    rejects: list[Reject]
    lines: dict[str, int]
    as_of: date
    later: int
    rules: Rules


Dated = tuple[int, dict[str, str], tuple[date, time | None] | ValueError]
Accounts = dict[str, tuple[str, str, int]]  # account_id -> type, owner, the line that said so first


def read_trades(path: Path, as_of: date | None = None, policy: Mapping[str, str] | None = None) -> TradeFile:
    """Read a file up to `as_of`, by default its own last day; a later row is left out whatever else it says.

    Errors   Unreadable, LawMissing.
    """
    rows = [(line, row, when_of(row)) for line, row in csv_rows(path, list(COLUMNS))]
    rejects: list[Reject] = []
    lines: dict[str, int] = {}
    known = as_of or max((when[0] for _, _, when in rows if isinstance(when, tuple)), default=date.min)
    rules = wash_rules(known, policy) if rows else Rules()
    kept, later = [], 0
    for line, row, when in rows:
        trade_id = row["trade_id"].strip()
        if isinstance(when, tuple) and when[0] > known:
            later += 1
            lines.setdefault(trade_id, line)
        elif not trade_id:
            rejects.append(Reject(line, trade_id, "trade_id is empty"))
        elif trade_id in lines:
            rejects.append(again(line, trade_id, lines[trade_id]))
        else:
            lines[trade_id] = line
            kept.append((line, row, when))
    events: list[Event] = []
    accounts: Accounts = {}
    for line, row, when in corrected(kept, rejects, rules):
        try:
            if isinstance(when, ValueError):
                raise when
            if when[0] > known:  # a correction has moved it there
                later += 1
                continue
            events.append(event_of(row, when, line, accounts, rules))
        except ValueError as wrong:
            rejects.append(Reject(line, row["trade_id"].strip(), str(wrong)))
    return TradeFile(events, rejects, lines, known, later, rules)


def again(line: int, trade_id: str, first: int) -> Reject:
    return Reject(line, trade_id, f"trade_id {trade_id} stands on line {first} already; that row counts")


def event_of(row: dict[str, str], when: tuple[date, time | None], line: int, accounts: Accounts, rules: Rules) -> Event:
    """The event of a row; its accounts are entered in `accounts` when it is sound.

    Errors   ValueError, also when the row says something else of an account than an earlier one.
    """
    if SURPLUS in row:
        raise ValueError(f"the row has more fields than the header: {row[SURPLUS]!r}")
    said = [(row["account_id"].strip(), row["account_type"].strip(), row["owner"].strip())]
    if (row.get("kind") or "").strip() == "transfer":
        to = (row.get(column) or "" for column in ("to_account_id", "to_account_type", "to_owner"))
        said.append(tuple(text.strip() for text in to))  # type: ignore[arg-type]
    event = read_event(row, said[0][1], said[0][2], *when, rules)
    for account_id, account_type, owner in said:
        first_type, first_owner, first_line = accounts.get(account_id, (account_type, owner, line))
        if (first_type, first_owner) != (account_type, owner):
            raise ValueError(f"account {account_id} is {first_type} of {first_owner} on line {first_line}")
    for account_id, account_type, owner in said:
        accounts.setdefault(account_id, (account_type, owner, line))
    return event


def corrected(rows: list[Dated], rejects: list[Reject], rules: Rules) -> Iterator[Dated]:
    """The rows as their corrections restate them, in the order of the file; what a correction takes back is gone.

    A correction that would leave a row that cannot be read is rejected, and what it corrects stands.
    """
    by_id = {row["trade_id"].strip(): (line, row) for line, row, _ in rows}
    corrections: dict[str, str] = {}
    waiting: dict[str, int] = {}  # corrections that no row has led to yet, by trade_id: their line
    for line, row, _ in rows:
        if not _is_correction(row):
            continue
        trade_id, target = row["trade_id"].strip(), (row.get("corrects") or "").strip()
        if target not in by_id:
            rejects.append(
                Reject(line, trade_id, f"corrects {target!r}, which is no row of this file up to its last day")
            )
        elif target in corrections:
            reason = f"{corrections[target]} corrects {target} already; correct {corrections[target]}"
            rejects.append(Reject(line, trade_id, reason))
        else:
            corrections[target] = trade_id
            waiting[trade_id] = line
    for line, row, when in rows:
        if _is_correction(row):
            continue
        trade_id, is_there = row["trade_id"].strip(), True
        while trade_id in corrections:
            trade_id = corrections[trade_id]
            at, correction = by_id[trade_id]
            del waiting[trade_id]
            is_there = not _takes_back(correction)
            new = restated(row, correction) if is_there else row
            try:
                _readable(new, rules)
            except ValueError as wrong:
                rejects.append(Reject(at, trade_id, f"corrects {row['trade_id'].strip()}: {wrong}"))
                is_there = True
                break
            line, row, when = at, new, when_of(new)
        while trade_id in corrections:  # corrections of one that was rejected
            trade_id = corrections[trade_id]
            rejects.append(Reject(waiting.pop(trade_id), trade_id, "corrects a correction that was rejected"))
        if is_there:
            yield line, row, when
    for trade_id, line in waiting.items():
        rejects.append(Reject(line, trade_id, "corrects itself, or a row that corrects it or was rejected"))


def _is_correction(row: dict[str, str]) -> bool:
    return (row.get("kind") or "").strip() == "correction"


def _readable(row: dict[str, str], rules: Rules) -> None:
    """Errors   ValueError."""
    if isinstance(when := when_of(row), ValueError):
        raise when
    read_event(row, row["account_type"].strip(), row["owner"].strip(), *when, rules)


def _takes_back(correction: dict[str, str]) -> bool:
    """A correction to a quantity of zero: the trade was busted."""
    text = correction["quantity"].strip()
    return bool(text) and not text.strip("0.")


def when_of(row: dict[str, str]) -> tuple[date, time | None] | ValueError:
    try:
        return traded_when(row["traded_at"])
    except ValueError as wrong:
        return wrong


def read_identical(path: Path) -> dict[str, str]:
    """security_id to group_id.

    Errors   Unreadable, also when a security is said to be in two groups.
    """
    groups: dict[str, str] = {}
    for line, row in csv_rows(path, ["security_id", "group_id"]):
        security, group = row["security_id"].strip(), row["group_id"].strip()
        if groups.setdefault(security, group) != group:
            raise Unreadable(f"{path}:{line}: {security} is in the group {groups[security]} already; name it once")
    return groups


def traded_when(text: str) -> tuple[date, time | None]:
    """A date, or a timestamp: with an offset its New York date and time, without one it is New York time.

    >>> traded_when("2025-03-10"), traded_when("2025-01-01T02:00:00Z")
    ((datetime.date(2025, 3, 10), None), (datetime.date(2024, 12, 31), datetime.time(21, 0)))
    """
    text = text.strip()
    try:
        if len(text) == 10:
            return date.fromisoformat(text), None
        at = datetime.fromisoformat(text)
        if at.tzinfo is not None:
            at = at.astimezone(NEW_YORK)
    except (ValueError, OverflowError):
        raise ValueError(f"traded_at {text!r} is not a date like 2025-03-10 or an ISO timestamp") from None
    return at.date(), at.time()


def write_books(out: Path, books: Books, window_days: int, as_of: date, source: str, rejects: list[Reject]) -> None:
    """The four tables of the contract, each a CSV in `out`."""
    out.mkdir(parents=True, exist_ok=True)
    _write(
        out / "disposals.csv",
        DISPOSALS,
        (
            (
                row.trade_id, row.lot_id, row.account_id, row.security_id, shares_text(row.quantity), row.acquired_on,
                row.holding_since, row.sold_on, usd_text(row.proceeds), usd_text(row.basis),
                "W" if row.disallowed else "", usd_text(row.disallowed), usd_text(row.permanent), usd_text(row.gain),
                row.term, "true" if is_provisional(row.proceeds < row.basis, row.sold_on, window_days, as_of) else "false",
            )
            for row in books.disposals
        ),
    )  # fmt: skip
    _write(
        out / "open_lots.csv",
        OPEN_LOTS,
        (
            (
                lot.lot_id, lot.account_id, lot.security_id, shares_text(lot.quantity), lot.acquired_on,
                lot.holding_since, usd_text(lot.basis),
            )
            for lot in books.lots
        ),
    )  # fmt: skip
    _write(
        out / "wash_sales.csv",
        WASH_SALES,
        (
            (
                row.trade_id, row.sold_lot_id, row.replacement_lot_id, shares_text(row.quantity),
                usd_text(row.disallowed), usd_text(row.permanent), row.citation,
            )
            for row in books.wash_sales
        ),
    )  # fmt: skip
    write_rejects(out, source, rejects)


def write_rejects(out: Path, source: str, rejects: list[Reject]) -> None:
    rows = ((source, reject.line, reject.trade_id, reject.reason) for reject in rejects)
    _write(out / "rejects.csv", "file,line,trade_id,reason", rows)


def _write(path: Path, header: str, rows: Iterable[tuple]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header.split(","))
        writer.writerows(rows)
