"""`thresher lots` against the law's examples, and against files as people bring them.

Law cases are sentences in law/*.yaml. Random histories stand in test_lots_histories.py, what must always be so in
test_lots_properties.py, the faults of others in test_peers.py. THRESHER_TEST_DATA is the folder that holds
reference/wash-sale-examples.json (default: ../shared beside the project).
"""

from __future__ import annotations

import csv
import json
import os
import re
import subprocess
import sys
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
import yaml
from lots_cases import (
    DISPOSAL,
    HEADERS,
    OPEN_LOT,
    REJECT,
    TRADES,
    WASH_SALE,
    Books,
    TradeRow,
    as_expected,
    comparable,
    difference,
    door,
    engine_books,
    read_books,
    reference_books,
    trade_row,
    write,
)
from lots_histories import History, history

from flows.lots_door import run as lots_door

PROJECT = Path(__file__).parents[1]
LAW = Path(__file__).parent / "law"
TEST_DATA = Path(os.environ.get("THRESHER_TEST_DATA", PROJECT.parent / "shared"))
EXAMPLES = TEST_DATA / "reference" / "wash-sale-examples.json"


# Law cases


def law_cases() -> list[dict]:
    law = yaml.load((LAW / "wash_sales.yaml").read_text(encoding="utf-8"), yaml.BaseLoader)
    return [case | {"accounts": law["accounts"]} for case in law["cases"]]


LAW_CASES = law_cases()
BOTH = pytest.mark.parametrize("books", [engine_books, reference_books], ids=["engine", "reference"])


@BOTH
@pytest.mark.parametrize("case", LAW_CASES, ids=[case["id"] for case in LAW_CASES])
def test_law_case(case: dict, books) -> None:
    rows = [trade_row(sentence, case["accounts"]) for sentence in case["trades"]]
    last = max(date.fromisoformat(row["traded_at"][:10]) for row in rows)
    as_of = date.fromisoformat(case["as_of"]) if "as_of" in case else last + timedelta(days=60)
    got = books(rows, case.get("identical", {}), as_of)
    for name, pattern in zip(Books._fields, (DISPOSAL, OPEN_LOT, WASH_SALE, REJECT), strict=True):
        table, expected = as_expected(getattr(got, name), case.get(name, []), pattern)
        assert table == expected, f"{case['id']}: {case['says']} ({case['citation']}), {name}"


def test_every_law_case_is_cited_once() -> None:
    assert len({case["id"] for case in LAW_CASES}) == len(LAW_CASES)
    assert all(case["citation"] and case["says"] for case in LAW_CASES)
    required = {f"W{number:02}" for number in (1, 2, 3, 4, 6, 7, 8, 9, 10, 11, 15, 20, 21, 23, 25, 26)}
    assert required <= {case["id"].split()[0] for case in LAW_CASES}


def holding_periods() -> list[str]:
    return yaml.safe_load((LAW / "holding_periods.yaml").read_text(encoding="utf-8"))["cases"]


@BOTH
def test_holding_periods(books) -> None:
    """All in one household, each in a security of its own."""
    rows, expected = [], {}
    for number, sentence in enumerate(holding_periods()):
        acquired, sold, term = re.fullmatch(r"(\S+) to (\S+) is (short|long)", sentence).groups()
        for side, day in (("buy", acquired), ("sell", sold)):
            trade = f"{day} broker {side}s 1 N{number} at 10 as {side}{number}"
            rows.append(trade_row(trade, {"broker": "taxable of self"}))
        expected[f"sell{number}"] = (acquired, sold, term)
    got = books(rows, {}, date(2030, 1, 1))
    assert {
        row["trade_id"]: (str(row["acquired_on"]), str(row["sold_on"]), row["term"]) for row in got.disposals
    } == expected


# The published examples, where the folder is


def example_cases() -> list[dict]:
    return json.loads(EXAMPLES.read_text())["cases"] if EXAMPLES.exists() else []


def example_rows(case: dict) -> tuple[list[TradeRow], dict[str, str]]:
    rows = []
    for buy in case["acquisitions"]:
        quantity, cost = Decimal(str(buy["shares"])), Decimal(str(buy["cost"]))
        is_ira = buy["account"] == "ira"
        rows.append(
            {
                "trade_id": buy["id"],
                "account_id": buy["account"],
                "account_type": "roth_ira" if is_ira else "taxable",
                "owner": "self",
                # a call is another security, and the household's word that it replaces the stock
                "security_id": "XYZ call" if buy["kind"] == "call" else "XYZ",
                "side": "buy",
                "quantity": str(quantity),
                "price_usd": str(cost / quantity),
                "fee_usd": "0",
                "traded_at": buy["date"],
            }
        )
    for sale in case["sales"]:
        rows.append(
            {
                "trade_id": sale["id"],
                "account_id": "taxable",
                "account_type": "taxable",
                "owner": "self",
                "security_id": "XYZ",
                "side": "sell",
                "quantity": str(sum(Decimal(str(pick["shares"])) for pick in sale["picks"])),
                "price_usd": str(sale["price_per_share"]),
                "fee_usd": "0",
                "traded_at": sale["date"],
                "lots": ";".join(f"{pick['lot']}:{Decimal(str(pick['shares']))}" for pick in sale["picks"]),
            }
        )
    return rows, {"XYZ": "XYZ stock", "XYZ call": "XYZ stock"}


def plain(value: object) -> Decimal:
    return Decimal(str(value)).normalize()


@pytest.mark.skipif(not EXAMPLES.exists(), reason=f"{EXAMPLES} is not here (THRESHER_TEST_DATA)")
@BOTH
@pytest.mark.parametrize("case", example_cases(), ids=lambda case: case["id"])
def test_published_example(case: dict, books) -> None:
    rows, identical = example_rows(case)
    got = books(rows, identical, date(2030, 1, 1))
    expected = case["expected"]
    assert sorted(
        (
            r["trade_id"],
            r["lot_id"],
            plain(r["quantity"]),
            plain(r["proceeds_usd"] - r["basis_usd"]),
            plain(r["adjustment_usd"]),
            plain(r["permanent_usd"]),
            plain(r["gain_usd"]),
            r["term"],
        )
        for r in got.disposals
    ) == sorted(
        (
            r["sale"],
            r["lot"],
            plain(r["shares"]),
            plain(r["gain_before_wash"]),
            plain(r["disallowed"]),
            plain(r["permanent"]),
            plain(r["recognized"]),
            r["term"],
        )
        for r in expected["rows"]
    )
    assert sorted(
        (
            r["trade_id"],
            r["sold_lot_id"],
            r["replacement_lot_id"],
            plain(r["quantity"]),
            plain(r["disallowed_usd"]),
        )
        for r in got.wash_sales
    ) == sorted(
        (r["sale"], r["lot"], match["replacement"], plain(match["shares"]), plain(match["loss"]))
        for r in expected["rows"]
        for match in r["matches"]
    )
    assert sorted(
        (r["lot_id"], r["account_id"], plain(r["quantity"]), plain(r["basis_usd"]), str(r["holding_since"]))
        for r in got.open_lots
    ) == sorted(
        (r["lot"], r["account"], plain(r["shares"]), plain(r["total_basis"]), r["holding_start_excluded_day"])
        for r in expected["open_lots"]
    )
    assert not got.rejects


# Rows that cannot be booked

GOOD = {
    "trade_id": "A",
    "account_id": "broker",
    "account_type": "taxable",
    "owner": "self",
    "security_id": "XYZ",
    "side": "buy",
    "quantity": "10",
    "price_usd": "10",
    "fee_usd": "0",
    "traded_at": "2025-01-06",
    "lots": "",
    "kind": "",
}
SALE = GOOD | {"trade_id": "S", "side": "sell", "traded_at": "2025-02-03"}
BAD = {
    "a second row of one trade_id": GOOD | {"trade_id": "A", "price_usd": "7"},
    "no trade_id": GOOD | {"trade_id": ""},
    "quantity zero": GOOD | {"trade_id": "B", "quantity": "0"},
    "quantity below zero": GOOD | {"trade_id": "B", "quantity": "-1"},
    "quantity with 10 decimals": GOOD | {"trade_id": "B", "quantity": "1.0000000001"},
    "quantity that is no number": GOOD | {"trade_id": "B", "quantity": "ten"},
    "quantity NaN": GOOD | {"trade_id": "B", "quantity": "NaN"},
    "quantity infinite": GOOD | {"trade_id": "B", "quantity": "inf"},
    "quantity empty": GOOD | {"trade_id": "B", "quantity": ""},
    "price NaN": GOOD | {"trade_id": "B", "price_usd": "NaN"},
    "price infinite": GOOD | {"trade_id": "B", "price_usd": "Infinity"},
    "price below zero": GOOD | {"trade_id": "B", "price_usd": "-0.01"},
    "price empty": GOOD | {"trade_id": "B", "price_usd": ""},
    "fee below zero": GOOD | {"trade_id": "B", "fee_usd": "-0.01"},
    "fee NaN": GOOD | {"trade_id": "B", "fee_usd": "nan"},
    "a day that does not exist": GOOD | {"trade_id": "B", "traded_at": "2025-02-29"},
    "a date that is none": GOOD | {"trade_id": "B", "traded_at": "soon"},
    "a time beyond the calendar": GOOD | {"trade_id": "B", "traded_at": "9999-12-31T23:00:00-12:00"},
    "no date": GOOD | {"trade_id": "B", "traded_at": ""},
    "an unknown side": GOOD | {"trade_id": "B", "side": "hold"},
    "an unknown account_type": GOOD | {"trade_id": "B", "account_id": "x", "account_type": "casino"},
    "an unknown owner": GOOD | {"trade_id": "B", "account_id": "x", "owner": "neighbour"},
    "an account that changes its type": GOOD | {"trade_id": "B", "account_type": "roth_ira"},
    "an account that changes its owner": GOOD | {"trade_id": "B", "owner": "spouse"},
    "an oversell": SALE | {"quantity": "10.000000001"},
    "a sale of what was never bought": SALE | {"security_id": "ZZZ"},
    "picks that do not add up": SALE | {"lots": "A:4"},
    "picks above the sale": SALE | {"quantity": "4", "lots": "A:5"},
    "a pick of more than the lot has": SALE | {"quantity": "10", "lots": "C:7;A:3"},
    "a pick of no lot": SALE | {"quantity": "4", "lots": "NOPE:4"},
    "a pick from another account": SALE | {"quantity": "4", "lots": "O:4"},
    "a pick of another security": SALE | {"quantity": "4", "lots": "P:4"},
    "a pick of a later lot": SALE | {"quantity": "4", "lots": "L:4"},
    "a pick without a quantity": SALE | {"quantity": "4", "lots": "A"},
    "a pick of less than nothing": SALE | {"quantity": "4", "lots": "A:5;C:-1"},
    "a kind that nobody knows": GOOD | {"trade_id": "B", "kind": "tontine"},
}
AROUND = [
    GOOD,
    GOOD | {"trade_id": "C", "quantity": "6"},
    GOOD | {"trade_id": "O", "account_id": "second"},
    GOOD | {"trade_id": "P", "security_id": "YYY"},
    GOOD | {"trade_id": "L", "traded_at": "2025-02-04"},
]
OVERSOLD = {"an oversell"}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_row_is_set_aside_and_shown(name: str) -> None:
    around = [row for row in AROUND if row["trade_id"] != "C"] if name in OVERSOLD else AROUND
    got = door([*around, BAD[name]])
    line = len(around) + 2
    [reject] = got.books.rejects
    assert (reject["line"], reject["trade_id"]) == (line, BAD[name]["trade_id"])
    assert reject["reason"]
    assert reject["file"].endswith("trades.csv")
    assert re.search(rf"\b{line}\b", got.said)
    assert got.code == 0
    assert not difference(got.books, reference_books([*around, BAD[name]], {}, date(2025, 2, 4)))
    without = door(around, as_of=date(2025, 2, 4)).books
    assert comparable(got.books.open_lots) == comparable(without.open_lots)
    assert not got.books.disposals
    assert door([*around, BAD[name]], strict=True).code == 2


@pytest.mark.parametrize("name", sorted(BAD.keys() - {"a second row of one trade_id"}))
def test_the_reference_sets_it_aside_too(name: str) -> None:
    around = AROUND[:1] if name in OVERSOLD else AROUND
    books = reference_books([*around, BAD[name]], {}, date(2025, 2, 4))
    assert [row["trade_id"] for row in books.rejects] == [BAD[name]["trade_id"]]


MISSING = {
    "transfer": "side 'buy' of transfer is not sell",
    "gift": "basis_usd",
    "cash_in_lieu": "side 'buy' of cash_in_lieu is not sell",
    "split": "ratio is empty",
    "spin_off": "basis_rate",
    "merger": "ratio is empty",
    "symbol_change": "new_security_id is empty",
    "option_open": "right is empty",
    "option_close": "right is empty",
    "option_expire": "right is empty",
    "option_assign": "right is empty",
    "option_exercise": "right is empty",
    "short_open": "side 'buy' of short_open is not sell",
    "short_close": "oversell",
    "correction": "corrects ''",
}


@pytest.mark.parametrize("kind", MISSING)
def test_a_kind_without_what_it_needs_is_refused_by_name(kind: str) -> None:
    got = door([GOOD, GOOD | {"trade_id": "B", "kind": kind}])
    [reject] = got.books.rejects
    assert (reject["line"], reject["trade_id"]) == (3, "B")
    assert MISSING[kind] in reject["reason"]
    assert [row["lot_id"] for row in got.books.open_lots] == ["A"]


def test_a_price_may_have_any_length() -> None:
    """A third of a dollar with 60 decimals, and a half cent that only the 60th decimal decides."""
    below = "0.00" + "4" + "9" * 57
    rows = [GOOD | {"quantity": "3", "price_usd": "0." + "3" * 60}]
    rows.append(GOOD | {"trade_id": "B", "quantity": "1", "price_usd": below})
    rows.append(GOOD | {"trade_id": "C", "quantity": "1", "price_usd": "0.005" + "0" * 57})
    got = door(rows).books
    assert {row["lot_id"]: str(row["basis_usd"]) for row in got.open_lots} == {
        "A": "1.00",
        "B": "0.00",
        "C": "0.01",
    }


def test_a_loss_on_the_last_day_of_the_calendar() -> None:
    """A mistyped year is booked like any other: no addition of 30 days may run over the end."""
    got = door([GOOD, SALE | {"traded_at": "9999-12-31", "price_usd": "9"}]).books
    assert [(row["gain_usd"], row["is_provisional"]) for row in got.disposals] == [(-10, True)]


ENDS_OF_THE_CALENDAR = [
    GOOD | {"traded_at": "0001-01-01"},
    GOOD | {"trade_id": "B", "traded_at": "2024-02-25", "price_usd": "9"},
    SALE | {"traded_at": "2024-03-01", "price_usd": "8"},
    GOOD | {"trade_id": "C", "traded_at": "9999-12-31"},
    SALE | {"trade_id": "T", "traded_at": "9999-12-31", "lots": "C:10"},
]


def test_dates_at_both_ends_of_the_calendar() -> None:
    """An unknown date is often the first of the calendar, a mistyped one its last: they are booked like any other."""
    rows = ENDS_OF_THE_CALENDAR
    for books in (door(rows).books, reference_books(rows, {}, date(9999, 12, 31))):
        assert [(row["term"], row["adjustment_usd"]) for row in books.disposals] == [("long", 20), ("short", 0)]
        assert [str(row["holding_since"]) for row in books.open_lots] == ["0001-01-01"]


def test_of_a_duplicate_the_first_row_stands() -> None:
    rows = [GOOD, GOOD | {"price_usd": "7"}, GOOD | {"quantity": "1"}]
    got = door(rows).books
    assert [(row["quantity"], row["basis_usd"]) for row in got.open_lots] == [(10, 100)]
    assert [row["line"] for row in got.rejects] == [3, 4]


def test_picks_in_a_deferred_account_do_not_choose() -> None:
    ira = {"account_id": "ira", "account_type": "hsa"}
    rows = [GOOD | ira, GOOD | ira | {"trade_id": "B", "price_usd": "12"}, SALE | ira | {"lots": "B:10"}]
    got = door(rows).books
    assert [(row["lot_id"], row["basis_usd"]) for row in got.open_lots] == [("B", 120)]
    assert not got.disposals
    assert not got.rejects


def test_an_empty_household_has_empty_books() -> None:
    got = door([])
    assert got.code == 0
    assert got.books == Books([], [], [], [])


# The command


def command(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "flows.cli", "lots", *map(str, arguments)],
        check=False,
        cwd=PROJECT,
        env=os.environ | {"PYTHONPATH": str(PROJECT)},
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_the_command_writes_the_four_files(tmp_path: Path) -> None:
    case = History([*history(7).rows, *AROUND], {"AAA": "one", "BBB": "one"}, None)
    trades, groups = write(tmp_path, case.rows, case.identical)
    done = command(trades, "--out", tmp_path / "out", "--identical", groups, "--as-of", case.last_day)
    assert done.returncode == 0, done.stderr
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == sorted(f"{name}.csv" for name in HEADERS)
    books = read_books(tmp_path / "out")
    assert not difference(books, reference_books(case.rows, case.identical, case.last_day))
    for reject in books.rejects:
        assert re.search(rf"\b{reject['line']}\b", done.stderr)


def test_the_command_uses_the_groups_and_counts_the_later_rows(tmp_path: Path) -> None:
    rows = [
        GOOD | {"security_id": "GOOG"},
        SALE | {"security_id": "GOOG", "price_usd": "9"},
        GOOD | {"trade_id": "N", "security_id": "GOOGL", "traded_at": "2025-02-05"},
        *(GOOD | {"trade_id": f"late{n}", "traded_at": "2025-03-01"} for n in range(17)),
    ]
    trades, groups = write(tmp_path, rows, {"GOOG": "alphabet", "GOOGL": "alphabet"})
    done = command(trades, "--out", tmp_path / "out", "--identical", groups, "--as-of", "2025-02-28", "--strict")
    assert done.returncode == 0, done.stderr
    books = read_books(tmp_path / "out")
    assert [row["replacement_lot_id"] for row in books.wash_sales] == ["N"]
    assert [row["lot_id"] for row in books.open_lots] == ["N"]
    assert not books.rejects
    assert re.search(r"\b17\b", done.stdout + done.stderr)


def test_strict_ends_with_2_and_a_line_on_standard_error(tmp_path: Path) -> None:
    trades, _ = write(tmp_path, [GOOD, GOOD | {"trade_id": "B", "price_usd": "NaN"}])
    assert command(trades, "--out", tmp_path / "out").returncode == 0
    strict = command(trades, "--out", tmp_path / "out", "--strict")
    assert strict.returncode == 2
    assert re.search(r"\b3\b", strict.stderr)
    assert len(read_books(tmp_path / "out").open_lots) == 1


def test_a_file_that_cannot_be_read_ends_with_1(tmp_path: Path) -> None:
    done = command(tmp_path / "nowhere.csv", "--out", tmp_path / "out")
    assert done.returncode == 1
    assert "nowhere.csv" in done.stderr
    assert "Traceback" not in done.stderr


NO_TRADES = {"empty": b"", "columns missing": b"trade_id,side\nA,buy\n", "binary": b"\xff\xfe\x00\x01PK"}


@pytest.mark.parametrize("content", NO_TRADES)
def test_a_file_that_is_no_trades_file_ends_with_1(tmp_path: Path, content: str, capsys) -> None:
    (tmp_path / "trades.csv").write_bytes(NO_TRADES[content])
    assert lots_door(tmp_path / "trades.csv", tmp_path / "out") == 1
    assert "trades.csv" in capsys.readouterr().err


def test_a_column_whose_name_is_mistyped_is_said(tmp_path: Path, capsys) -> None:
    with (tmp_path / "trades.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, [*GOOD, "mehtod", "note"])
        writer.writeheader()
        writer.writerow(GOOD | {"mehtod": "lifo", "note": "best"})
    assert lots_door(tmp_path / "trades.csv", tmp_path / "out") == 0
    said = capsys.readouterr().err
    assert "the column 'mehtod' is not read; is it method?" in said and "note" not in said


def test_columns_may_stand_in_any_order_and_others_beside_them(tmp_path: Path) -> None:
    columns = [column for column in reversed(TRADES) if column != "kind"] + ["note"]
    with (tmp_path / "trades.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerow({column: GOOD[column] for column in columns[:-1]} | {"note": "first, best"})
    assert lots_door(tmp_path / "trades.csv", tmp_path / "out") == 0
    assert [row["lot_id"] for row in read_books(tmp_path / "out").open_lots] == ["A"]


def test_the_last_day_of_the_file_is_the_day_of_the_books() -> None:
    sold = datetime.fromisoformat(SALE["traded_at"]).date()
    loss = SALE | {"price_usd": "9"}
    for days, is_provisional in ((30, True), (31, False)):
        later = GOOD | {"trade_id": "Z", "security_id": "ZZZ", "traded_at": str(sold + timedelta(days=days))}
        [row] = door([GOOD, loss, later]).books.disposals
        assert row["is_provisional"] is is_provisional
