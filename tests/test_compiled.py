"""The compiled engine says what `book` says, to the cent and to the byte; what it cannot hold it says aloud.

`book` is held to the reference by test_lots_histories.py; here the columns are held to `book`. THRESHER_HISTORIES sets
how many random households are compared (default 300).
"""

from __future__ import annotations

import contextlib
import io
import itertools
import os
import random
import tempfile
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import NamedTuple

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lots_cases import TradeRow, write
from lots_histories import History, history
from test_lots import AROUND, BAD, ENDS_OF_THE_CALENDAR, GOOD, SALE

import flows.lots_columns
from flows import lots_door
from flows.lots_door import read_trades, run, traded_when
from transforms.exact import MOST_CENTS, MOST_NANO, NANO, apportioned, half_up
from transforms.lots.book import book
from transforms.lots.columns import PICKS, TRADES, FrameBooks, book_columns
from transforms.lots.compiled import _add, _drop, _next, members, share
from transforms.lots.rules import Rules
from transforms.model import Books, Trade

HISTORIES = int(os.environ.get("THRESHER_HISTORIES", "300"))
ALL_RULES = [
    Rules(same_time_taxable_first=first, presale_held_to_day_end=held, older_lot_replaces=older)
    for first, held, older in itertools.product((True, False), repeat=3)
]


def household(case: History) -> list[Trade]:
    with tempfile.TemporaryDirectory() as folder:
        trades, _ = write(Path(folder), case.rows)
        return read_trades(trades, case.as_of).trades  # type: ignore[return-value]


def booked_in_columns(trades: list[Trade], rules: Rules, identical: dict[str, str] | None = None) -> FrameBooks:
    frame = pl.DataFrame(
        [(*trade[: len(TRADES)], trade.replaces) for trade in trades], {**TRADES, "replaces": pl.Boolean}, orient="row"
    )
    picks = [(row, *pick) for row, trade in enumerate(trades) for pick in trade.picks]
    return book_columns(frame, rules, identical, pl.DataFrame(picks, PICKS, orient="row"))


def rows_of(books: Books | FrameBooks) -> list[list[tuple]]:
    return [table.rows() if isinstance(table, pl.DataFrame) else [tuple(row) for row in table] for table in books]


# The engine


@pytest.mark.parametrize("first", range(0, HISTORIES, 25))
def test_the_columns_say_what_the_book_says(first: int) -> None:
    """Row by row in the same order, under every answer to the open questions, with purchases that replace nothing."""
    for seed in range(first, min(first + 25, HISTORIES)):
        case, chance = history(seed), random.Random(seed)
        trades = household(case)
        for rules in ALL_RULES if seed % 5 == 0 else ALL_RULES[:1]:
            assert rows_of(booked_in_columns(trades, rules, case.identical)) == rows_of(
                book(trades, rules, case.identical)
            ), f"seed {seed}, {rules}"
        some = [trade._replace(replaces=chance.random() < 0.6) for trade in trades]
        assert rows_of(booked_in_columns(some, Rules())) == rows_of(book(some, Rules())), f"seed {seed}, replaces"


def test_the_order_of_the_rows_means_nothing_to_the_columns() -> None:
    for seed in range(20_000, 20_040):
        trades = household(history(seed))
        shuffled = random.Random(seed).sample(trades, len(trades))
        assert rows_of(booked_in_columns(shuffled, Rules())) == rows_of(booked_in_columns(trades, Rules()))


def test_no_trades_make_empty_books() -> None:
    assert rows_of(booked_in_columns([], Rules())) == [[], [], [], []]


def test_a_lot_used_up_is_refused_in_the_same_words_as_long_as_the_book_remembers_it() -> None:
    """Picks leave empty lots in the middle of a queue; the book throws them out when they are many."""
    bought = [buy(f"B{number:03}", day=1) for number in range(100)]
    sold = [
        sale(f"S{number:03}", f"B{number:03}", day=2 + number // 20)
        for number in random.Random(1).sample(range(1, 99), 40)
    ]
    again = [sale(f"T{number:03}", f"B{99 - number:03}", day=9) for number in range(100)]
    trades = [*bought, *sold, *again]
    books = booked_in_columns(trades, Rules())
    assert {reason.split(" ")[0] for _, reason in books.refused.rows()} == {"lot", "takes"}
    assert rows_of(books) == rows_of(book(trades, Rules()))


def buy(name: str, *, day: int, quantity: int = NANO, amount: int = 100_00, security: str = "XYZ") -> Trade:
    return Trade(name, "broker", security, True, quantity, amount, date(2025, 3, day), None, False)


def sale(name: str, lot: str = "", *, day: int, quantity: int = NANO, amount: int = 90_00) -> Trade:
    picks = ((lot, quantity),) if lot else ()
    return Trade(name, "broker", "XYZ", False, quantity, amount, date(2025, 3, day), None, False, picks)


# Whole numbers of 64 bits

AMOUNTS = st.integers(1 - MOST_CENTS, MOST_CENTS - 1)
WHOLES = st.integers(1, MOST_NANO - 1) | st.integers(1, 10**4) | st.integers(MOST_NANO - 10**4, MOST_NANO - 1)


@settings(max_examples=2000, deadline=None)
@given(AMOUNTS, WHOLES, st.data())
def test_a_share_of_an_amount_is_exact(amount: int, whole: int, data: st.DataObject) -> None:
    before, after = sorted(data.draw(st.tuples(st.integers(0, whole), st.integers(0, whole))))
    assert share(amount, after, whole) == half_up(amount * after, whole)
    assert share(amount, after, whole) - share(amount, before, whole) == apportioned(amount, before, after, whole)


@settings(max_examples=1000, deadline=None)
@given(st.integers(0, MOST_CENTS // 2 - 1), st.integers(1, MOST_NANO // 2 - 1))
def test_a_half_goes_away_from_zero_however_large_the_numbers(cents: int, half: int) -> None:
    """(2 cents + 1) / 2 is a half exactly."""
    assert share(2 * cents + 1, half, 2 * half) == cents + 1
    assert share(-2 * cents - 1, half, 2 * half) == -cents - 1


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 300_000), st.lists(st.tuples(st.booleans(), st.integers(0, 10**9)), max_size=60), st.integers(0))
def test_a_set_knows_its_next_member(size: int, changes: list[tuple[bool, int]], start: int) -> None:
    bits, starts = members(size)
    known: set[int] = set()
    for is_added, number in changes:
        number %= size
        (_add if is_added else _drop)(bits, starts, number)
        (known.add if is_added else known.discard)(number)
        for begin in (number, start % size, min(number + 1, size - 1), 0):
            assert _next(bits, starts, begin) == min((one for one in known if one >= begin), default=-1)


@pytest.mark.parametrize(
    "trades",
    [
        [buy("A", day=1, quantity=MOST_NANO)],
        [buy("A", day=1, amount=MOST_CENTS)],
        [buy("A", day=1), sale("S", day=2, amount=-MOST_CENTS)],
        [buy("A", day=1, quantity=MOST_NANO - 1), buy("B", day=1, quantity=MOST_NANO - 1)],
    ],
    ids=["a quantity", "a cost", "proceeds", "a holding"],
)
def test_what_is_too_large_raises(trades: list[Trade]) -> None:
    with pytest.raises(OverflowError):
        booked_in_columns(trades, Rules())


def test_a_basis_that_grows_too_large_raises_and_never_wraps() -> None:
    """Each wash carries nearly the whole loss on into the next lot, which costs as much again."""
    most = MOST_CENTS - 1
    trades = [buy("A", day=1, amount=most), sale("S", day=2, amount=0), buy("B", day=3, amount=most)]
    assert book(trades, Rules()).lots[0].basis == 2 * most
    with pytest.raises(OverflowError, match=r"^B: a basis"):
        booked_in_columns(trades, Rules())


def test_a_quantity_of_nothing_raises() -> None:
    with pytest.raises(ValueError, match="not above zero"):
        booked_in_columns([buy("A", day=1, quantity=0)], Rules())


def test_a_large_basis_below_the_limit_is_exact() -> None:
    third = MOST_CENTS // 3
    trades = [
        buy("A", day=1, quantity=MOST_NANO // 2 - 1, amount=third),
        sale("S", day=2, quantity=MOST_NANO // 4 + 7, amount=12_345),
        buy("B", day=3, quantity=MOST_NANO // 8 - 3, amount=third),
        sale("T", day=9, quantity=MOST_NANO // 16 + 1, amount=1),
    ]
    assert rows_of(booked_in_columns(trades, Rules())) == rows_of(book(trades, Rules()))


# The command


class Left(NamedTuple):
    """What a run leaves: exit code, standard error, standard output, the files."""

    code: int
    errors: str
    said: str
    files: dict[str, bytes]


@pytest.fixture
def both(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[Left, Left, bool]]:
    """Run one file row by row and in columns: what each left, and whether the columns took it."""
    took = []

    def columns(*arguments: object) -> object:
        done = booked(*arguments)  # type: ignore[arg-type]
        took.append(done is not None)
        return done

    booked = flows.lots_columns.booked_in_columns
    monkeypatch.setattr(flows.lots_columns, "booked_in_columns", columns)

    def left(trades: Path, groups: Path | None, as_of: date | None, large: int) -> Left:
        monkeypatch.setattr(lots_door, "LARGE", large)
        errors, said = io.StringIO(), io.StringIO()
        with contextlib.redirect_stderr(errors), contextlib.redirect_stdout(said):
            code = run(trades, tmp_path / "out", groups, as_of, strict=True)
        files = {file.name: file.read_bytes() for file in (tmp_path / "out").glob("*.csv")}
        return Left(code, errors.getvalue(), said.getvalue(), files)

    def runs(
        rows: list[TradeRow],
        identical: dict[str, str] | None = None,
        as_of: date | None = None,
        change=lambda text: text,
    ) -> tuple[Left, Left, bool]:
        trades, groups = write(tmp_path, rows, identical)
        trades.write_bytes(change(trades.read_bytes()))
        row_by_row = left(trades, groups, as_of, 10**12)
        return row_by_row, left(trades, groups, as_of, -1), took[-1]

    return runs


@pytest.mark.parametrize("first", range(0, HISTORIES, 50))
def test_both_paths_of_the_command_leave_the_same_bytes(first: int, both) -> None:
    for seed in range(first, min(first + 50, HISTORIES)):
        case = history(seed)
        row_by_row, columns, is_taken = both(case.rows, case.identical, case.as_of)
        assert columns == row_by_row, f"seed {seed}"
        assert is_taken


@pytest.mark.parametrize("name", BAD)
def test_a_bad_row_is_the_same_reject_on_both_paths(name: str, both) -> None:
    for rows in ([*AROUND, BAD[name]], [BAD[name], *AROUND], [*AROUND[:2], BAD[name], *AROUND[2:], BAD[name]]):
        row_by_row, columns, is_taken = both(rows)
        assert columns == row_by_row
        assert is_taken


def test_the_calendar_ends_where_it_does_on_both_paths(both) -> None:
    row_by_row, columns, took = both(ENDS_OF_THE_CALENDAR)
    assert took and columns == row_by_row


def test_all_bad_rows_together_are_the_same_rejects(both) -> None:
    rows = [
        row | {"trade_id": f"{row['trade_id']}{n}" if n % 3 else row["trade_id"]} for n, row in enumerate(BAD.values())
    ]
    row_by_row, columns, is_taken = both([*AROUND, *rows, *AROUND])
    assert columns == row_by_row
    assert is_taken
    assert row_by_row.errors.count("\n") > 30


UNTIDY = {
    "spaces around cells": lambda text: text.replace(b",", b" , "),
    "a byte order mark": lambda text: b"\xef\xbb\xbf" + text,
    "lines of Windows": lambda text: text.replace(b"\n", b"\r\n"),
    "no end of the last line": lambda text: text.rstrip(b"\n"),
    "empty lines": lambda text: text.replace(b"\n", b"\n\n"),
    "lines of commas": lambda text: text.replace(b"\n", b"\n,,,,,,,,,,,\n"),
    "rows that end early": lambda text: text.replace(b",,\n", b"\n"),
    "quoted cells": lambda text: text.replace(b"broker", b'"broker"'),
    "a quoted end of line": lambda text: text.replace(b"broker", b'"bro\nker"'),
    "a row with too many cells": lambda text: text + b"Z,broker,taxable,self,XYZ,buy,1,1,0,2025-01-06,,,,surplus\n",
    "a tab": lambda text: text.replace(b",10,", b",\t10,"),
    "cells that are no UTF-8": lambda text: text.replace(b"XYZ", b"X\xffZ"),
    "a column named twice": lambda text: text.replace(b"lots,kind", b"lots,lots"),
    "a column missing": lambda text: text.replace(b"fee_usd", b"fees"),
    "another column": lambda text: text.replace(b"lots,kind", b"lots,note").replace(b",,\n", b",,so\n"),
    "a header and nothing else": lambda text: text.partition(b"\n")[0] + b"\n",
    "nothing": lambda text: b"",
}


@pytest.mark.parametrize("name", UNTIDY)
def test_an_untidy_file_is_read_alike_on_both_paths(name: str, both) -> None:
    row_by_row, columns, _ = both([*AROUND, SALE | {"lots": "A:3;C:7", "price_usd": "9"}], None, None, UNTIDY[name])
    assert columns == row_by_row


NUMBERS = {
    "quantity": ["1", "0.5", "007", "1.", ".5", "+1", "1e2", "999999999.999999999", "4611686018", "0.0000000010", "٣"],
    "price_usd": ["0", "0.005", "33.335", "0.00499999999", "9999999.9999999999", "12345678", "1e-3", "-0", "1_0", "1 0"],
    "fee_usd": ["0", "0.01", "0.005", "4.95", "99999999999", "1."],
    "traded_at": [
        "2025-01-06", "2025-01-06T09:30:00", "2025-01-06T09:30", "2025-01-06 09:30:00", "2025-01-06T24:00:00",
        "2025-01-06T23:59:60", "2025-01-06T09:30:00.5", "2025-01-06T09:30:00.123456", "2025-01-06T09:30:00.1234567",
        "2025-01-06T09:30:00Z", "2025-01-06T02:30:00+09:00", "2025-07-06T02:30:00.25-11:30", "20250106", "2025-W02-1",
        "0999-01-06", "1850-01-06T09:30:00+00:00", "2025-1-6",
    ],
}  # fmt: skip


@pytest.mark.parametrize("column", NUMBERS)
def test_a_number_means_the_same_on_both_paths(column: str, both) -> None:
    rows = [GOOD | {"trade_id": f"B{n:02}", column: text} for n, text in enumerate(NUMBERS[column])]
    sold = [row | {"trade_id": f"S{row['trade_id']}", "side": "sell"} for row in rows]
    row_by_row, columns, is_taken = both([*AROUND, *rows, *sold], None, date(2025, 12, 31))
    assert columns == row_by_row
    assert is_taken


@settings(max_examples=300, deadline=None)
@given(
    st.integers(1, 10**18 - 1), st.integers(0, 10**17 - 1), st.integers(0, 10**6), st.booleans(),
    st.integers(0, 9), st.integers(0, 10),
)  # fmt: skip
def test_quantity_times_price_is_rounded_once(
    nano: int, price: int, fee: int, is_buy: bool, cut: int, short: int
) -> None:
    """Both of every length that the columns read; what they do not read is left to the rows."""
    quantity = f"{nano // 10**9}.{nano % 10**9:09d}"[: -cut or None].rstrip(".")
    price_usd = f"{price // 10**10}.{price % 10**10:010d}"[: -short or None].rstrip(".")
    row = GOOD | {
        "side": "buy" if is_buy else "sell",
        "quantity": quantity,
        "price_usd": price_usd,
        "fee_usd": f"{fee / 100:.2f}",
    }
    read = flows.lots_columns._plain(pl.DataFrame([{"line": 2, **row}]), set())
    try:
        event = lots_door.event_of(row, (date(2025, 1, 6), None), 2, {}, Rules())
    except ValueError:
        assert read["amount"].to_list() == [None]
    else:
        assert read.select("quantity", "amount").row(0) == (event.quantity, event.amount)


def test_a_timestamp_is_the_same_moment_on_both_paths() -> None:
    """Around both changes of the clock in every year."""
    texts = [
        f"{year}-{month:02}-{day:02}T{hour:02}:{minute}:00{offset}"
        for year in range(1988, 2034)
        for month, day in ((3, 8), (3, 13), (4, 1), (4, 5), (10, 26), (11, 1), (11, 6), (12, 31))
        for hour, minute in ((0, 30), (4, 59), (5, 30), (6, 30), (7, 15), (23, 59))
        for offset in ("", "Z", "+01:00", "-12:30")
    ]
    on, at = flows.lots_columns._moments(pl.Series(texts))
    read = [(text, day, clock) for text, day, clock in zip(texts, on, at, strict=True) if day is not None]
    assert len(read) > 0.8 * len(texts)
    assert [(day, clock) for _, day, clock in read] == [traded_when(text) for text, _, _ in read]


EVENTS = [
    {"kind": "split", "security_id": "SPL", "ratio": "3:2", "quantity": "", "price_usd": "", "fee_usd": ""},
    {"kind": "dividend_reinvested", "security_id": "AAA", "side": "buy"},
    {"kind": "gift", "security_id": "BBB", "side": "buy", "basis_usd": "50", "acquired_on": "2020-02-29"},
    {"kind": "transfer", "security_id": "AAA", "side": "sell", "quantity": "1", "to_account_id": "other",
     "to_account_type": "taxable", "to_owner": "self"},
    {"kind": "short_open", "security_id": "CCC", "side": "sell", "quantity": "1.5"},
    {"kind": "correction", "corrects": "A", "quantity": "3"},
    {"kind": "correction", "corrects": "NONE", "quantity": "3"},
    {"kind": "symbol_change", "security_id": "AAA", "new_security_id": "CCC"},
]  # fmt: skip


def test_other_events_are_booked_beside_the_columns(both) -> None:
    """The securities that they have to do with go through the book, the others through the columns: same bytes."""
    columns = sorted({column for event in EVENTS for column in event} - set(GOOD))
    for seed in range(max(40, HISTORIES // 4)):
        case, chance = history(seed), random.Random(seed)
        rows = [*case.rows, *AROUND]
        for number, event in enumerate(chance.sample(EVENTS, chance.randint(1, 3))):
            row = GOOD | {"trade_id": f"E{number}", "traded_at": chance.choice(rows)["traded_at"][:10]} | event
            rows.insert(chance.randrange(len(rows) + 1), row)
        text = "\n".join(
            [
                ",".join([*GOOD, *columns]),
                *(",".join(row.get(column, "") for column in [*GOOD, *columns]) for row in rows),
            ]
        )
        row_by_row, in_columns, is_taken = both(
            case.rows, case.identical, case.as_of, lambda _, text=text: text.encode()
        )
        assert in_columns == row_by_row, f"seed {seed}\n{text}"
        assert is_taken


def test_what_the_columns_cannot_hold_is_booked_row_by_row(both) -> None:
    most = {"quantity": "10000000", "price_usd": "1000000"}
    rows = [GOOD | most, SALE | most | {"price_usd": "0"}, GOOD | most | {"trade_id": "B", "traded_at": "2025-02-04"}]
    row_by_row, columns, is_taken = both(rows)
    assert columns == row_by_row
    assert not is_taken
