"""What must be so when something happens to a random household that changes no dollar.

A split, a new symbol, a move of everything to another account, a correction: each is put into a random history
(lots_histories.py), what follows is told in its terms, and the books must be those of the untouched history.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import date, timedelta
from decimal import Decimal
from itertools import pairwise
from pathlib import Path

import pytest
from lots_cases import Books, Row, TradeRow
from lots_histories import History, history
from lots_reference import TAXABLE, when
from test_kinds import books_of

SEEDS = range(20_000, 20_060)
CENT = Decimal("0.02")  # what a split rounds once more


def households() -> Iterator[tuple[History, date]]:
    """Random households, each with a day in its middle on which nothing else happens."""
    for seed in SEEDS:
        case = history(seed)
        days = sorted({when(row["traded_at"])[0] for row in case.rows})
        gaps = [a for a, b in pairwise(days) if (b - a).days > 1]
        if gaps:
            yield case, gaps[len(gaps) // 2] + timedelta(days=1)


def later(row: TradeRow, on: date) -> bool:
    return when(row["traded_at"])[0] > on


def picks(row: TradeRow, change: Callable[[Decimal], Decimal]) -> str:
    pairs = [pick.rpartition(":") for pick in row["lots"].split(";") if pick]
    return ";".join(f"{lot}:{change(Decimal(quantity)):f}" for lot, _, quantity in pairs)


def event(kind: str, on: date, row: TradeRow, **more: str) -> TradeRow:
    said = {
        "trade_id": f"{kind} {row['security_id']} {row['account_id']}",
        "kind": kind,
        "traded_at": str(on),
        "side": "",
    }
    return row | {"quantity": "", "price_usd": "", "fee_usd": "0", "lots": ""} | said | more


def both(folder: Path, case: History, changed: list[TradeRow], identical: dict[str, str]) -> tuple[Books, Books]:
    return (
        books_of(case.rows, folder, case.day, case.identical, {}),
        books_of(changed, folder, case.day, identical, {}),
    )


def by_slice(books: Books, *leaving: str) -> dict[str, list[tuple]]:
    """Every table without its dollars and without some columns, sorted."""
    return {
        name: sorted(
            tuple(str(value) for column, value in row.items() if column not in leaving and not column.endswith("_usd"))
            for row in table
        )
        for name, table in zip(Books._fields[:3], books[:3], strict=True)
    }


def dollars(table: list[Row], column: str) -> Decimal:
    return sum((Decimal(str(row[column])) for row in table), Decimal(0))


def is_near(mine: Books, theirs: Books) -> bool:
    slices = len(mine.disposals) + len(mine.open_lots)
    return all(
        abs(dollars(table, column) - dollars(other, column)) <= CENT * slices
        for table, other, columns in (
            (
                mine.disposals,
                theirs.disposals,
                ("proceeds_usd", "basis_usd", "adjustment_usd", "permanent_usd", "gain_usd"),
            ),
            (mine.open_lots, theirs.open_lots, ("basis_usd",)),
        )
        for column in columns
    )


def test_a_split_changes_no_dollar(tmp_path: Path) -> None:
    """Twice the shares at half the price from then on: the same rows, with quantities after the split doubled.

    All securities of an identity group split at once: a share of one counts for a share of another.
    """
    washed = 0
    for case, on in households():
        group = {row["security_id"]: case.identical.get(row["security_id"], row["security_id"]) for row in case.rows}
        for one in set(group.values()):
            changed = [
                row
                | {
                    "quantity": f"{Decimal(row['quantity']) * 2:f}",
                    "price_usd": f"{Decimal(row['price_usd']) / 2:f}",
                    "lots": picks(row, lambda quantity: quantity * 2),
                }
                if later(row, on) and group[row["security_id"]] == one
                else row
                for row in case.rows
            ]
            splits = [
                event("split", on, case.rows[0] | {"security_id": security}, ratio="2:1")
                for security, its in group.items()
                if its == one
            ]
            mine, theirs = both(tmp_path, case, changed + splits, case.identical)
            assert by_slice(mine, "quantity") == by_slice(theirs, "quantity"), (case, on, one)
            assert is_near(mine, theirs)
            assert len(mine.rejects) == len(theirs.rejects)
            days = {row["trade_id"]: when(row["traded_at"])[0] for row in case.rows}
            washed += sum(
                days[str(row["trade_id"])] < on < days[str(row["replacement_lot_id"])]
                and group[str(next(r for r in case.rows if r["trade_id"] == row["trade_id"])["security_id"])] == one
                for row in mine.wash_sales
            )
    assert washed >= 5  # losses before the split that a purchase after it replaced


def test_a_new_symbol_changes_nothing(tmp_path: Path) -> None:
    for case, on in households():
        for security in {row["security_id"] for row in case.rows}:
            changed = [
                row | {"security_id": "NEW"} if later(row, on) and row["security_id"] == security else row
                for row in case.rows
            ]
            first = next(row for row in case.rows if row["security_id"] == security)
            told = [*changed, event("symbol_change", on, first, new_security_id="NEW")]
            mine, theirs = both(tmp_path, case, told, case.identical)
            assert by_slice(mine, "security_id") == by_slice(theirs, "security_id")
            assert is_near(mine, theirs)


def test_a_move_to_another_account_changes_no_dollar(tmp_path: Path) -> None:
    """Everything that a taxable account holds of a security moves, and what it does later the other one does."""
    moved = 0
    for case, on in households():
        for account in sorted({row["account_id"] for row in case.rows if row["account_type"] in TAXABLE}):
            held = books_of(case.rows, tmp_path, on, case.identical, {}).open_lots if on <= case.day else []
            shares: dict[str, Decimal] = {}
            for row in held:
                if row["account_id"] == account:
                    security = str(row["security_id"])
                    shares[security] = shares.get(security, Decimal(0)) + Decimal(str(row["quantity"]))
            own = next(row for row in case.rows if row["account_id"] == account)
            to = {"to_account_id": "new", "to_account_type": own["account_type"], "to_owner": own["owner"]}
            changed = [
                row | {"account_id": "new"} if later(row, on) and row["account_id"] == account else row
                for row in case.rows
            ]
            moves = [
                event("transfer", on, own | {"security_id": security}, side="sell", quantity=f"{count:f}", **to)
                for security, count in shares.items()
            ]
            mine, theirs = both(tmp_path, case, [*changed, *moves], case.identical)
            assert by_slice(mine, "account_id") == by_slice(theirs, "account_id"), (case, on, account)
            assert is_near(mine, theirs)
            moved += bool(moves)
    assert moved >= 20


@pytest.mark.parametrize("column", ["price_usd", "quantity", "traded_at"])
def test_a_corrected_row_is_the_row_that_should_have_been(column: str, tmp_path: Path) -> None:
    for case, _ in households():
        right = case.rows[len(case.rows) // 2]
        if [row["trade_id"] for row in case.rows].count(right["trade_id"]) > 1 or later(right, case.day):
            continue
        wrong = right | {column: {"price_usd": "999", "quantity": "1", "traded_at": str(case.day)}[column]}
        correction = dict.fromkeys(right, "") | {
            "trade_id": "fix",
            "kind": "correction",
            "corrects": right["trade_id"],
            "traded_at": right["traded_at"],
            column: right[column],
        }
        told = [*(wrong if row is right else row for row in case.rows), correction]
        mine, theirs = both(tmp_path, case, told, case.identical)
        assert mine[:3] == theirs[:3]
