"""`thresher lots` for large files: read, booked and written in columns.

The problem. A million rows as dictionaries of text take twenty seconds before the first trade is booked.

The choice. Rows that are plainly clean (a purchase or a sale, every cell written as one should be) are recognised and
read as columns; every other row goes one by one through the code that reads small files, which alone words a reject.
Both halves meet where one row can say something of another: duplicates, accounts, corrections. A file that is not
plain text of one row a line (quotes, stray control characters, a row with too many cells) is read row by row whole.
"""

from collections.abc import Iterator, Mapping
from datetime import date
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl

from flows.lots_door import (
    DISPOSALS,
    OPEN_LOTS,
    WASH_SALES,
    Accounts,
    Dated,
    Done,
    Reject,
    again,
    corrected,
    event_of,
    traded_when,
    when_of,
    write_rejects,
)  # fmt: skip
from flows.lots_rows import COLUMNS, OPTIONAL
from transforms.exact import MOST_CENTS, MOST_NANO, NANO
from transforms.lots.columns import TRADES, FrameBooks, book_columns, book_events
from transforms.lots.rules import Rules, purchase_replaces
from transforms.model import DEFERRED, OWNERS, RULES, TAXABLE, Event
from warehouse.law import wash_rules

LONGEST = 131_072  # bytes of a cell: csv.reader takes no more characters
QUANTITY, PRICE, FEE = (  # so written, quantity x price fits into 128 bits
    rf"^[0-9]{{1,{whole}}}(\.[0-9]{{1,{decimals}}})?$" for whole, decimals in ((9, 9), (7, 10), (9, 2))
)
PICKED = r"^[^:; ]+:[0-9]{1,9}(\.[0-9]{1,9})?(;[^:; ]+:[0-9]{1,9}(\.[0-9]{1,9})?)*$"
DAY = r"^[1-9][0-9]{3}-[0-9]{2}-[0-9]{2}"
CLOCK = r"T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\.[0-9]{1,6})?"
OFFSET = r"^(19[7-9]|20[0-2])[0-9]-[0-9]{2}-[0-9]{2}" + CLOCK + r"(Z|[+-](0[0-9]|1[0-2]):[0-5][0-9])$"
TYPES, PEOPLE = sorted(TAXABLE | DEFERRED), sorted(OWNERS)
ONE = 10**17  # quantity (9 decimals) x price (10) in cents


class ColumnFile(NamedTuple):
    """`TradeFile` in columns: plain trades with their `line` and picks, and the events of all other rows."""

    trades: pl.DataFrame
    picks: pl.DataFrame
    others: list[Event]
    rejects: list[Reject]
    lines: dict[str, int]  # of the others
    as_of: date
    later: int
    rules: Rules


def booked_in_columns(
    path: Path, out: Path, groups: Mapping[str, str], as_of: date | None, policy: Mapping[str, str] | None
) -> Done | None:
    """Read, book and write one household's file; None where that must be done row by row.

    Errors   as row by row.
    """
    rows = read_text(path)
    if rows is None:
        return None
    file = read_columns(rows, as_of, policy)
    try:
        books = book_events(file.trades, file.picks, file.others, file.rules, groups)
    except OverflowError:  # whole numbers of Python have no end
        return None
    refused = dict(books.refused.select("trade_id", "reason").iter_rows())
    at = file.trades.filter(pl.col("trade_id").is_in(list(refused))).select("trade_id", "line").iter_rows()
    lines = {**file.lines, **dict(at)}
    rejects = sorted(file.rejects + [Reject(lines[trade_id], trade_id, why) for trade_id, why in refused.items()])
    _write(out, books, file.rules.window_days, file.as_of)
    write_rejects(out, path.name, rejects)
    return Done(
        rejects, len(file.trades) + len(file.others) - len(refused), file.as_of, file.later,
        books.disposals.height, books.lots.height, books.wash_sales.height,
    )  # fmt: skip


def read_text(path: Path) -> pl.DataFrame | None:
    """The rows as text, each with its line; None where a line may be no row, or a comma not the end of a cell."""
    text = path.read_bytes().removeprefix(b"\xef\xbb\xbf")
    if b"\r" in text:
        text = text.replace(b"\r\n", b"\n")
    lines = text.count(b"\n")
    if b'"' in text or np.count_nonzero(np.frombuffer(text, np.uint8) < 32) != lines:
        return None
    try:
        names = [name.strip() for name in text.partition(b"\n")[0].decode().split(",")]
        if len(set(names)) < len(names) or not set(COLUMNS) <= set(names):
            return None
        rows = pl.read_csv(
            text, has_header=False, skip_lines=1, schema=dict.fromkeys(names, pl.String), quote_char=None,
            empty_string_is_null=False,
        )  # fmt: skip
    except (UnicodeDecodeError, pl.exceptions.PolarsError):
        return None
    if (
        len(rows) != lines - text.endswith(b"\n")
        or (rows.select(pl.all().str.len_bytes().max()).max_horizontal() > LONGEST).any()
    ):
        return None
    if b" " in text or not text.isascii():
        rows = rows.with_columns(pl.all().str.strip_chars())
    rows = rows.with_row_index("line", 2)
    if (nameless := rows.filter(pl.col("trade_id") == "")).height:
        empty = nameless.filter(pl.all_horizontal(pl.col(names) == ""))
        rows = rows.join(empty, on="line", how="anti", maintain_order="left")
    return rows.select("line", *(name for name in names if name in COLUMNS or name in OPTIONAL))


def read_columns(rows: pl.DataFrame, as_of: date | None, policy: Mapping[str, str] | None) -> ColumnFile:
    """Read rows up to `as_of`, by default the last day that they say: what `read_trades` does, in columns.

    Errors   LawMissing, Unasked.
    """
    corrects = set(rows["corrects"].unique()) - {""} if "corrects" in rows.columns else set()
    plain = _plain(rows, corrects)
    single = {line: (row, when_of(row)) for line, row in _dictionaries(rows, plain.filter(pl.col("amount").is_null()))}
    plain = plain.filter(pl.col("amount").is_not_null())
    days = [when[0] for _, when in single.values() if isinstance(when, tuple)]
    if (last := plain["traded_on"].max()) is not None:
        days.append(last)  # type: ignore[arg-type]
    known = as_of or max(days, default=date.min)
    rules = wash_rules(known, policy) if len(rows) else Rules()

    first_line = _first_lines(rows)
    trades = plain.filter(pl.col("traded_on") <= known)
    later = len(plain) - len(trades) + sum(isinstance(when, tuple) and when[0] > known for _, when in single.values())
    rejects: list[Reject] = []
    if first_line:
        is_again = pl.col("line").is_in(list(first_line))
        for line, trade_id in trades.filter(is_again).select("line", "trade_id").iter_rows():
            rejects.append(again(line, trade_id, first_line[line]))
        trades = trades.filter(~is_again)
    kept: list[Dated] = []
    for line, (row, when) in single.items():
        if isinstance(when, tuple) and when[0] > known:
            continue
        if not row["trade_id"]:
            rejects.append(Reject(line, "", "trade_id is empty"))
        elif line in first_line:
            rejects.append(again(line, row["trade_id"], first_line[line]))
        else:
            kept.append((line, row, when))

    lines = {row["trade_id"]: line for line, row, _ in kept}
    said = trades.group_by("account_id", "account_type", "owner").agg(pl.col("line").min()).sort("line").rows()
    accounts: Accounts = {}
    others: list[Event] = []
    for line, row, when in corrected(kept, rejects, rules):
        while said and said[0][3] < lines[row["trade_id"]]:  # an account is what its first sound row says
            _enter(accounts, said.pop(0))
        try:
            if isinstance(when, ValueError):
                raise when
            if when[0] > known:  # a correction has moved it there
                later += 1
                continue
            others.append(event_of(row, when, line, accounts, rules))
        except ValueError as wrong:
            rejects.append(Reject(line, row["trade_id"], str(wrong)))
    for one in said:
        _enter(accounts, one)
    trades, strays = _by_account(trades, accounts)
    for line, row in _dictionaries(rows, strays):
        try:
            event_of(row, traded_when(row["traded_at"]), line, accounts, rules)
        except ValueError as wrong:
            rejects.append(Reject(line, row["trade_id"], str(wrong)))
    return ColumnFile(_replacing(trades, rules), _picks(trades), others, rejects, lines, known, later, rules)


def _enter(accounts: Accounts, said: tuple[str, str, str, int]) -> None:
    account_id, account_type, owner, line = said
    accounts.setdefault(account_id, (account_type, owner, line))


def _by_account(trades: pl.DataFrame, accounts: Accounts) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The trades whose account is what its first row says, and the others."""
    names = ("account_id", "account_type", "owner")
    said = trades.select(names).unique()
    if all(accounts[account_id][:2] == (account_type, owner) for account_id, account_type, owner in said.rows()):
        return trades, trades.clear()
    sound = pl.DataFrame([(name, *what[:2]) for name, what in accounts.items()], said.schema, orient="row")
    return (
        trades.join(sound, on=names, how="semi", maintain_order="left"),
        trades.join(sound, on=names, how="anti", maintain_order="left"),
    )


def _plain(rows: pl.DataFrame, corrected_ids: set[str]) -> pl.DataFrame:
    """Every row as a trade; `amount` is null where the row is not plainly clean."""
    text = {name: pl.col(name) if name in rows.columns else pl.lit("") for name in (*COLUMNS, *OPTIONAL)}
    is_buy = text["side"] == "buy"
    quantity, price, fee = (
        text[name].cast(pl.Decimal(38, decimals), strict=False).to_physical()
        for name, decimals in (("quantity", 9), ("price_usd", 10), ("fee_usd", 2))
    )
    total = quantity * price + fee * pl.when(is_buy).then(ONE).otherwise(-ONE)
    amount = (2 * total.abs() + ONE) // (2 * ONE) * total.sign()
    traded_on, traded_at = _moments(rows["traded_at"])
    is_clean = pl.all_horizontal(
        is_buy | (text["side"] == "sell"),
        (text["kind"] == "") | (text["kind"] == text["side"]),
        *(text[name] == "" for name in OPTIONAL if name in rows.columns and name not in ("kind", "lots")),
        *(text[name] != "" for name in ("trade_id", "account_id", "security_id")),
        text["account_type"].is_in(TYPES),
        text["owner"].is_in(PEOPLE),
        text["quantity"].str.contains(QUANTITY),
        quantity.is_between(1, MOST_NANO - 1),
        text["price_usd"].str.contains(PRICE),
        text["fee_usd"].str.contains(FEE),
        amount.is_between(1 - MOST_CENTS, MOST_CENTS - 1),
        pl.col("traded_on").is_not_null(),
        (text["lots"] == "") | (~is_buy & text["lots"].str.contains(PICKED)),
        *([~text["trade_id"].is_in(list(corrected_ids))] if corrected_ids else []),
    )
    return rows.with_columns(traded_on, traded_at).select(
        "line",
        "trade_id",
        "account_id",
        text["account_type"].cast(pl.Enum(TYPES), strict=False),
        text["owner"].cast(pl.Enum(PEOPLE), strict=False),
        "security_id",
        is_buy.alias("is_buy"),
        quantity.cast(pl.Int64, strict=False).alias("quantity"),
        pl.when(is_clean).then(amount).cast(pl.Int64, strict=False).alias("amount"),
        "traded_on",
        "traded_at",
        text["account_type"].is_in(sorted(DEFERRED)).alias("is_deferred"),
        text["lots"].alias("lots"),
    )


def _moments(text: pl.Series) -> tuple[pl.Series, pl.Series]:
    """The day and the time of day of what is plainly a date or a timestamp, else null: `traded_when`, for many."""
    at = pl.col("at")
    days = text.to_frame("at").select(
        pl.when(at.str.contains(DAY + "$")).then(at).str.to_date("%Y-%m-%d", strict=False).alias("traded_on"),
        pl.lit(None, pl.Time).alias("traded_at"),
    )
    if days["traded_on"].null_count():
        local = pl.when(at.str.contains(DAY + CLOCK + "$")).then(at)
        zoned = pl.when(at.str.contains(OFFSET)).then(at)
        moment = pl.coalesce(
            local.str.to_datetime("%Y-%m-%dT%H:%M:%S%.f", time_unit="us", strict=False),
            zoned.str.to_datetime("%Y-%m-%dT%H:%M:%S%.f%#z", time_unit="us", time_zone="UTC", strict=False)
            .dt.convert_time_zone("America/New_York")
            .dt.replace_time_zone(None),
        )
        days = days.with_columns(text.alias("at")).select(
            pl.coalesce("traded_on", moment.dt.date()).alias("traded_on"), moment.dt.time().alias("traded_at")
        )
    return days["traded_on"], days["traded_at"]


def _dictionaries(rows: pl.DataFrame, which: pl.DataFrame) -> Iterator[tuple[int, dict[str, str]]]:
    """Rows one by one as `csv_rows` gives them, in the order of the file."""
    chosen = (
        rows.join(which.select("line"), on="line", how="semi", maintain_order="left") if len(which) else rows.clear()
    )
    for row in chosen.iter_rows(named=True):
        yield row.pop("line"), row


def _first_lines(rows: pl.DataFrame) -> dict[int, int]:
    """Of each row whose trade_id stands above already: its line, and the line of the first one."""
    ids = rows["trade_id"]
    if len(rows) < 2 or (ids.slice(1) > ids.slice(0, len(ids) - 1)).all():
        return {}
    again = rows.select("line", "trade_id").filter((pl.col("trade_id") != "") & ~pl.col("trade_id").is_first_distinct())
    first = rows.select("trade_id", first="line").join(again.select("trade_id"), on="trade_id", how="semi")
    first = first.group_by("trade_id").agg(pl.col("first").min())
    return dict(again.join(first, on="trade_id").select("line", "first").iter_rows())


def _replacing(trades: pl.DataFrame, rules: Rules) -> pl.DataFrame:
    """With `replaces`: does a purchase in such an account replace a loss?"""
    barred = [(type_, owner) for type_ in TYPES for owner in PEOPLE if not purchase_replaces(rules, type_, owner)]
    said = ((pl.col("account_type") == type_) & (pl.col("owner") == owner) for type_, owner in barred)
    is_barred = pl.any_horizontal(pl.lit(False), *said)
    return trades.select("line", *TRADES, (~is_barred).alias("replaces"))


def _picks(trades: pl.DataFrame) -> pl.DataFrame:
    """The picks of the sales, one a row."""
    picked = trades.with_row_index("trade").filter(pl.col("lots") != "")
    one = picked.select(pl.col("trade").cast(pl.Int64), pl.col("lots").str.split(";")).explode("lots")
    cell = pl.col("lots").str.split_exact(":", 1)
    nano = cell.struct.field("field_1").cast(pl.Decimal(38, 9)).to_physical().cast(pl.Int64)
    return one.select("trade", cell.struct.field("field_0").alias("lot_id"), nano.alias("quantity"))


def _write(out: Path, books: FrameBooks, window_days: int, as_of: date) -> None:
    """The three tables of the books; byte for byte what `write_books` writes."""
    out.mkdir(parents=True, exist_ok=True)
    is_loss = pl.col("proceeds") < pl.col("basis")
    days_since = (pl.lit(as_of) - pl.col("sold_on")).dt.total_days()
    _csv(
        out / "disposals.csv",
        DISPOSALS,
        books.disposals.lazy().select(
            "trade_id", "lot_id", "account_id", "security_id", _shares(books.disposals), "acquired_on", "holding_since",
            "sold_on", _usd("proceeds"), _usd("basis"),
            pl.when(pl.col("disallowed") != 0).then(pl.lit("W")).alias("code"), _usd("disallowed"), _usd("permanent"),
            _usd(pl.col("proceeds") - pl.col("basis") + pl.col("disallowed"), "gain"), "term",
            (is_loss & (days_since <= window_days)).alias("is_provisional"),
        ),
    )  # fmt: skip
    _csv(
        out / "open_lots.csv",
        OPEN_LOTS,
        books.lots.lazy().select(
            "lot_id", "account_id", "security_id", _shares(books.lots), "acquired_on", "holding_since", _usd("basis")
        ),
    )
    _csv(
        out / "wash_sales.csv",
        WASH_SALES,
        books.wash_sales.lazy().select(
            "trade_id", "sold_lot_id", "replacement_lot_id", _shares(books.wash_sales), _usd("disallowed"), _usd("permanent"),
            pl.col("rule").cast(pl.String).replace_strict(RULES),
        ),
    )  # fmt: skip


def _csv(path: Path, header: str, rows: pl.LazyFrame) -> None:
    with path.open("wb") as file:
        file.write(f"{header}\n".encode())
        rows.collect().write_csv(file, include_header=False)


def _usd(cents: str | pl.Expr, name: str = "") -> pl.Expr:
    """`usd_text`: cents as a decimal number of two places."""
    cents = pl.col(cents) if isinstance(cents, str) else cents.alias(name)
    return cents.cast(pl.Decimal(20, 2)) * pl.lit("0.01").cast(pl.Decimal(4, 2))


def _shares(rows: pl.DataFrame) -> pl.Expr:
    """`shares_text` of the quantities."""
    quantity = pl.col("quantity")
    whole, rest = quantity.abs() // NANO, quantity.abs() % NANO
    if not rows.select((rest != 0).any()).item():
        return quantity // NANO
    sign = pl.when(quantity < 0).then(pl.lit("-")).otherwise(pl.lit(""))
    decimals = pl.concat_str(pl.lit("."), rest.cast(pl.String).str.zfill(9).str.strip_chars_end("0"))
    point = pl.when(rest == 0).then(pl.lit("")).otherwise(decimals)
    return pl.concat_str(sign, whole.cast(pl.String), point).alias("quantity")


if __name__ == "__main__":  # `make setup`: compile the engine for this machine, so that no large file waits for it
    book_columns(pl.DataFrame(schema=TRADES), Rules())
