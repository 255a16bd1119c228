"""`thresher lots`: one CSV of trades in, disposals, open lots, wash sales and rejects out.

The standard library only, so that ten rows are answered at once.
"""

import csv
import sys
from collections.abc import Callable, Iterable
from datetime import date, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple
from zoneinfo import ZoneInfo

from flows.csv_file import SURPLUS, Unreadable, csv_rows
from transforms.exact import decimal, nano_shares, shares_text, trade_cents, usd_text
from transforms.law import LawMissing
from transforms.lots.book import book
from transforms.lots.relief import read_picks
from transforms.lots.rules import Rules
from transforms.lots.term import is_provisional
from transforms.model import DEFERRED, OWNERS, TAXABLE, Books, Trade
from warehouse.law import wash_rules

NEW_YORK = ZoneInfo("America/New_York")
COLUMNS = (
    "trade_id", "account_id", "account_type", "owner", "security_id", "side", "quantity", "price_usd", "fee_usd",
    "traded_at", "lots",
)  # fmt: skip
OPTIONAL = ("lots",)


class Reject(NamedTuple):
    line: int
    trade_id: str
    reason: str


def run(
    trades_path: Path, out: Path, identical: Path | None = None, as_of: date | None = None, strict: bool = False
) -> int:
    """Book one household's file and write the four tables; the exit code of `thresher lots`.

    Errors   1 the file cannot be read; 2 with `strict` when a row was rejected; else 0.
    """
    try:
        groups = read_identical(identical) if identical else {}
        file = read_trades(trades_path, as_of)
        law = wash_rules(file.as_of) if file.trades else Rules()
        books = book(file.trades, law, groups)
        rejects = file.rejects + [Reject(file.lines[row.trade_id], row.trade_id, row.reason) for row in books.refused]
        rejects.sort()
        write_books(out, books, law.window_days, file.as_of, trades_path.name, rejects)
    except (Unreadable, LawMissing, OSError) as wrong:
        print(f"thresher lots: {wrong}", file=sys.stderr)
        return 1
    for reject in rejects:
        print(f"{trades_path}:{reject.line}: {reject.trade_id or '(no id)'}: {reject.reason}", file=sys.stderr)
    print(
        f"{len(file.trades) - len(books.refused)} trades to {file.as_of}, {len(rejects)} rejected, "
        f"{file.later} later ones left out: {len(books.disposals)} disposals, {len(books.lots)} open lots, "
        f"{len(books.wash_sales)} wash sales in {out}"
    )
    return 2 if strict and rejects else 0


class TradeFile(NamedTuple):
    """Trades that are well formed, the rows that are not, the line of every trade, and how many rows are later."""

    trades: list[Trade]
    rejects: list[Reject]
    lines: dict[str, int]
    as_of: date
    later: int


def read_trades(path: Path, as_of: date | None = None) -> TradeFile:
    """Read a file up to `as_of`, by default its own last day; a later row is left out whatever else it says.

    Errors   Unreadable.
    """
    dated: list[tuple[int, dict[str, str], tuple[date, time | None] | ValueError]] = []
    for line, row in csv_rows(path, [name for name in COLUMNS if name not in OPTIONAL]):
        try:
            dated.append((line, row, traded_when(row["traded_at"])))
        except ValueError as wrong:
            dated.append((line, row, wrong))
    as_of = as_of or max((when[0] for _, _, when in dated if isinstance(when, tuple)), default=date.min)
    trades: list[Trade] = []
    rejects: list[Reject] = []
    lines: dict[str, int] = {}
    accounts: dict[str, tuple[str, str, int]] = {}
    later = 0
    for line, row, when in dated:
        trade_id = row["trade_id"].strip()
        if isinstance(when, tuple) and when[0] > as_of:
            later += 1
            lines.setdefault(trade_id, line)
            continue
        try:
            if not trade_id:
                raise ValueError("trade_id is empty")
            if trade_id in lines:
                raise ValueError(f"trade_id {trade_id} stands on line {lines[trade_id]} already; that row counts")
            lines[trade_id] = line
            if isinstance(when, ValueError):
                raise when
            trades.append(_trade(row, when, line, accounts))
        except ValueError as wrong:
            rejects.append(Reject(line, trade_id, str(wrong)))
    return TradeFile(trades, rejects, lines, as_of, later)


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


def _trade(
    row: dict[str, str], when: tuple[date, time | None], line: int, accounts: dict[str, tuple[str, str, int]]
) -> Trade:
    if SURPLUS in row:
        raise ValueError(f"the row has more fields than the header: {row[SURPLUS]!r}")
    kind, side = row.get("kind", "").strip(), row["side"].strip()
    if kind and kind != side:
        raise ValueError(f"kind {kind!r} is not modelled; only buys and sells are")
    _one_of("side", side, ("buy", "sell"))
    account_id, security_id = _given("account_id", row), _given("security_id", row)
    account_type = _one_of("account_type", row["account_type"].strip(), TAXABLE | DEFERRED)
    owner = _one_of("owner", row["owner"].strip(), OWNERS)
    first_type, first_owner, first_line = accounts.get(account_id, (account_type, owner, line))
    if (first_type, first_owner) != (account_type, owner):
        raise ValueError(f"account {account_id} is {first_type} of {first_owner} on line {first_line}")
    quantity = nano_shares(_number("quantity", row, lambda q: q > 0, "above zero"))
    price = _number("price_usd", row, lambda p: p >= 0, "zero or more")
    fee = _number("fee_usd", row, lambda f: f >= 0, "zero or more")
    is_buy = side == "buy"
    amount = trade_cents(decimal(row["quantity"]), price, fee if is_buy else -fee)
    picks = read_picks(row.get("lots", ""))
    if is_buy and picks:
        raise ValueError("a buy names no lots; they are for the sale that takes them")
    accounts.setdefault(account_id, (account_type, owner, line))
    return Trade(
        row["trade_id"].strip(), account_id, security_id, is_buy, quantity, amount, *when,
        account_type in DEFERRED, picks,
    )  # fmt: skip


def _number(name: str, row: dict[str, str], is_right: Callable[[Decimal], bool], expected: str) -> Decimal:
    try:
        number = decimal(row[name])
    except ValueError as wrong:
        raise ValueError(f"{name}: {wrong}") from None
    if not is_right(number):
        raise ValueError(f"{name} {row[name].strip()} is not {expected}")
    return number


def _given(name: str, row: dict[str, str]) -> str:
    if not (text := row[name].strip()):
        raise ValueError(f"{name} is empty")
    return text


def _one_of(name: str, text: str, allowed: Iterable[str]) -> str:
    if text not in allowed:
        raise ValueError(f"{name} {text!r} is not one of {', '.join(sorted(allowed))}")
    return text


def write_books(out: Path, books: Books, window_days: int, as_of: date, source: str, rejects: list[Reject]) -> None:
    """The four tables of the contract, each a CSV in `out`."""
    out.mkdir(parents=True, exist_ok=True)
    _write(
        out / "disposals.csv",
        "trade_id,lot_id,account_id,security_id,quantity,acquired_on,holding_since,sold_on,proceeds_usd,basis_usd,"
        "adjustment_code,adjustment_usd,permanent_usd,gain_usd,term,is_provisional",
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
        "lot_id,account_id,security_id,quantity,acquired_on,holding_since,basis_usd",
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
        "trade_id,sold_lot_id,replacement_lot_id,quantity,disallowed_usd,permanent_usd,citation",
        (
            (
                row.trade_id, row.sold_lot_id, row.replacement_lot_id, shares_text(row.quantity),
                usd_text(row.disallowed), usd_text(row.permanent), row.citation,
            )
            for row in books.wash_sales
        ),
    )  # fmt: skip
    _write(
        out / "rejects.csv",
        "file,line,trade_id,reason",
        ((source, reject.line, reject.trade_id, reject.reason) for reject in rejects),
    )


def _write(path: Path, header: str, rows: Iterable[tuple]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header.split(","))
        writer.writerows(rows)
