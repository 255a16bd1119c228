"""What must be so of every household's books, whatever it traded.

Hypothesis makes the households and shrinks the one that breaks a sentence. THRESHER_HISTORIES gives it more of them.
"""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Iterator
from datetime import date, timedelta
from decimal import Decimal
from fractions import Fraction

import lots_reference as reference
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from lots_cases import Books, Row, TradeRow, comparable, difference, door, reference_books
from lots_histories import (
    ACCOUNTS,
    CLOCKS,
    FEES,
    GROUPS,
    PRICES,
    QUANTITIES,
    WASHED_BY,
    History,
    part,
    sell_what_is_held,
    the_law_read_once,
    traits,
    whole_part,
)

EXAMPLES = max(50, int(os.environ.get("THRESHER_HISTORIES", "300")) // 6)
WINDOW = timedelta(days=30)


def of_every_household(function):
    """The same households in every run, so that what passed once passes again."""
    unhurried = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]
    return settings(
        max_examples=EXAMPLES, deadline=None, derandomize=True, database=None, suppress_health_check=unhurried
    )(function)


@pytest.fixture(scope="module", autouse=True)
def _one_law() -> Iterator[None]:
    with the_law_read_once():
        yield


# Households

DAYS = st.sampled_from([0, 1, 2, 29, 30, 31, 32, 59, 60, 61, 366, 397]) | st.integers(0, 100)


@st.composite
def households(draw: st.DrawFn, is_whole: bool = False) -> History:
    """A few accounts that buy, and sell what they hold; around a new year, often at the ends of the window.

    Whole ones trade whole shares at whole cents a share, fees included, so that no amount is ever rounded.
    """
    accounts = draw(st.lists(st.sampled_from(list(ACCOUNTS)), min_size=1, max_size=3, unique=True))
    days = draw(st.lists(DAYS, min_size=1, max_size=8))
    trade = st.fixed_dictionaries(
        {
            "account_id": st.sampled_from(accounts),
            "security_id": st.sampled_from(["AAA", "AAA", "BBB"]),
            "side": st.sampled_from(["buy", "sell"]),
            "quantity": st.integers(1, 40).map(str) | (st.nothing() if is_whole else st.sampled_from(QUANTITIES)),
            "price_usd": st.sampled_from(["10", "9", "8", "7.25", "4.01"] if is_whole else PRICES),
            "fee_usd": st.sampled_from(["0", "0.02"] if is_whole else FEES),
            "traded_at": st.tuples(st.sampled_from(days), st.just("") | st.sampled_from(CLOCKS)),
        }
    )
    trades = [row for some in draw(st.tuples(*[st.lists(trade, max_size=10)] * 4)) for row in some]
    assume(trades)
    rows = []
    for number, row in enumerate(trades):
        days, clock = row["traded_at"]
        kind, owner = ACCOUNTS[row["account_id"]]
        moment = f"{date(2023, 12, 10) + timedelta(days)}{clock}"
        named = {"trade_id": f"t{number}", "account_type": kind, "owner": owner, "lots": ""}
        rows.append(row | named | {"traded_at": moment})
    rows = sell_what_is_held(rows, draw(st.randoms(use_true_random=False)), whole_part if is_whole else part)
    if is_whole:  # without what was oversold by half a share; and so far the fee is that of a share
        rows = [
            row | {"fee_usd": str(Decimal(row["fee_usd"]) * int(row["quantity"]))}
            for row in rows
            if row["quantity"].isdigit()
        ]
        assume(rows)
    return History(rows, draw(st.sampled_from(GROUPS)), None)


def booked(case: History) -> tuple[Books, dict[str, reference.Trade]]:
    """The engine's books of a household, and the trades that it accepted."""
    books = door(case.rows, case.identical, case.as_of).books
    bad = {row["line"] for row in books.rejects}
    trades = [reference.read(row, line) for line, row in enumerate(case.rows, 2) if line not in bad]
    return books, {trade.trade_id: trade for trade in trades}


def total(rows: list[Row], column: str) -> Decimal:
    return sum((row[column] for row in rows), Decimal(0))


def test_the_households_have_what_can_go_wrong() -> None:
    seen: Counter[str] = Counter()

    @of_every_household
    @given(households())
    def look(case: History) -> None:
        seen.update(traits(case, booked(case)[0]))

    look()
    assert [name for name in WASHED_BY if seen[name] < EXAMPLES // 20] == []


# One set of books


@of_every_household
@given(households())
def test_the_reference_books_the_same(case: History) -> None:
    books, _ = booked(case)
    assert not difference(books, reference_books(case.rows, case.identical, case.day))


@of_every_household
@given(households())
def test_shares_are_conserved(case: History) -> None:
    books, trades = booked(case)
    deferred_sold = sum(t.quantity for t in trades.values() if t.is_deferred and t.side == "sell")
    bought = sum(trade.quantity for trade in trades.values() if trade.side == "buy")
    out = Fraction(total(books.disposals, "quantity")) + deferred_sold
    assert bought == out + Fraction(total(books.open_lots, "quantity"))
    for trade in trades.values():
        of_lot = [row for row in books.disposals + books.open_lots if row["lot_id"] == trade.trade_id]
        if trade.side == "buy" and not trade.is_deferred:
            assert Fraction(total(of_lot, "quantity")) == trade.quantity
        if trade.side == "sell":
            sold = [row for row in books.disposals if row["trade_id"] == trade.trade_id]
            assert Fraction(total(sold, "quantity")) == (0 if trade.is_deferred else trade.quantity)


@of_every_household
@given(households())
def test_what_is_not_taxed_now_is_carried_or_lost_for_good(case: History) -> None:
    """Gain less what is permanent, and the basis still carried, are what was received and what was spent."""
    books, trades = booked(case)
    taxable = [trade for trade in trades.values() if not trade.is_deferred]
    spent = sum(trade.cents for trade in taxable if trade.side == "buy")
    received = sum(trade.cents for trade in taxable if trade.side == "sell")
    deferred = {trade.account_id for trade in trades.values() if trade.is_deferred}
    carried = total([row for row in books.open_lots if row["account_id"] not in deferred], "basis_usd")
    gain = total(books.disposals, "gain_usd") - total(books.disposals, "permanent_usd")
    assert gain * 100 == received - spent + carried * 100


@of_every_household
@given(households())
def test_a_deferred_account_keeps_its_own_cost(case: History) -> None:
    books, trades = booked(case)
    for lot in books.open_lots:
        trade = trades[lot["lot_id"]]
        if trade.is_deferred:
            assert lot["holding_since"] == lot["acquired_on"]
            if Fraction(lot["quantity"]) == trade.quantity:
                assert lot["basis_usd"] * 100 == trade.cents


@of_every_household
@given(households())
def test_rows_foot_to_their_trade(case: History) -> None:
    books, trades = booked(case)
    for trade in trades.values():
        if trade.side == "sell" and not trade.is_deferred:
            sold = [row for row in books.disposals if row["trade_id"] == trade.trade_id]
            assert total(sold, "proceeds_usd") * 100 == trade.cents
    for row in books.disposals:
        assert row["gain_usd"] == row["proceeds_usd"] - row["basis_usd"] + row["adjustment_usd"]
        assert row["adjustment_code"] == ("W" if row["adjustment_usd"] else "")


@of_every_household
@given(households())
def test_the_wash_sales_foot_to_the_disposals(case: History) -> None:
    books, trades = booked(case)
    for column, washed in (("adjustment_usd", "disallowed_usd"), ("permanent_usd", "permanent_usd")):
        by_disposal: Counter[tuple] = Counter()
        by_match: Counter[tuple] = Counter()
        for row in books.disposals:
            by_disposal[row["trade_id"], row["lot_id"]] += row[column]
        for row in books.wash_sales:
            by_match[row["trade_id"], row["sold_lot_id"]] += row[washed]
        assert +by_disposal == +by_match
    for row in books.wash_sales:
        is_deferred = trades[row["replacement_lot_id"]].is_deferred
        assert row["permanent_usd"] == (row["disallowed_usd"] if is_deferred else 0)
        assert row["citation"]


@of_every_household
@given(households())
def test_no_more_is_disallowed_than_was_lost(case: History) -> None:
    for row in booked(case)[0].disposals:
        assert 0 <= row["adjustment_usd"] <= max(Decimal(0), row["basis_usd"] - row["proceeds_usd"])
        assert 0 <= row["permanent_usd"] <= row["adjustment_usd"]


@of_every_household
@given(households())
def test_no_share_replaces_twice(case: History) -> None:
    """No more shares of a lot replace than were bought, and no more of a slice sold are replaced than were sold."""
    books, trades = booked(case)
    replaced: Counter[str] = Counter()
    washed: Counter[tuple] = Counter()
    sold: Counter[tuple] = Counter()
    for row in books.wash_sales:
        replaced[row["replacement_lot_id"]] += row["quantity"]
        washed[row["trade_id"], row["sold_lot_id"]] += row["quantity"]
    for row in books.disposals:
        sold[row["trade_id"], row["lot_id"]] += row["quantity"]
    assert all(Fraction(quantity) <= trades[lot_id].quantity for lot_id, quantity in replaced.items())
    assert washed <= sold


@of_every_household
@given(households())
def test_only_purchases_in_the_window_replace(case: History) -> None:
    books, trades = booked(case)
    for row in books.wash_sales:
        sale, buy = trades[row["trade_id"]], trades[row["replacement_lot_id"]]
        groups = {case.identical.get(trade.security_id, trade.security_id) for trade in (sale, buy)}
        assert buy.side == "buy"
        assert abs(buy.day - sale.day) <= WINDOW
        assert row["replacement_lot_id"] != row["sold_lot_id"]
        assert len(groups) == 1
        if buy.order < sale.order and not buy.is_deferred:
            gone = [
                sold
                for sold in books.disposals
                if sold["lot_id"] == row["replacement_lot_id"] and sold["sold_on"] <= sale.day
            ]
            assert Fraction(row["quantity"]) <= buy.quantity - Fraction(total(gone, "quantity"))


# The same household told otherwise


@of_every_household
@given(households(), st.data())
def test_the_order_of_the_rows_means_nothing(case: History, data: st.DataObject) -> None:
    books, _ = booked(case)
    shuffled, _ = booked(case._replace(rows=data.draw(st.permutations(case.rows))))
    for name in ("disposals", "open_lots", "wash_sales"):
        assert comparable(getattr(shuffled, name)) == comparable(getattr(books, name))
    assert {row["trade_id"] for row in shuffled.rejects} == {row["trade_id"] for row in books.rejects}


@of_every_household
@given(households())
def test_each_identity_group_may_have_a_file_of_its_own(case: History) -> None:
    books, _ = booked(case)
    files: dict[str, list[TradeRow]] = defaultdict(list)
    for row in case.rows:
        files[case.identical.get(row["security_id"], row["security_id"])].append(row)
    parts = [door(rows, case.identical, case.day).books for rows in files.values()]
    for name in ("disposals", "open_lots", "wash_sales"):
        apart = [row for part in parts for row in getattr(part, name)]
        assert comparable(apart) == comparable(getattr(books, name))
    assert {row["trade_id"] for part in parts for row in part.rejects} == {row["trade_id"] for row in books.rejects}


@of_every_household
@given(households(is_whole=True), st.data())
def test_a_sale_may_come_in_fills(case: History, data: st.DataObject) -> None:
    """Two fills of a sale give the rows of the whole, summed, but where a loss of it is replaced by a lot it sells of.

    The whole sale chooses its shares before any of its losses is matched. When it sells an older lot at a loss and
    a part of a recent one, the rest of the recent lot may replace that loss. In two fills the loss of the first is
    matched already when the second sells of the recent lot, and matched shares leave first: the second takes the
    shares that have just become dearer. So a sale is cut here only if none of its losses is replaced like that.
    """
    books, trades = booked(case)
    sells_of = defaultdict(set)
    for row in books.disposals:
        sells_of[row["trade_id"]].add(row["lot_id"])
    entangled = {row["trade_id"] for row in books.wash_sales if row["replacement_lot_id"] in sells_of[row["trade_id"]]}
    sales = [t for t in trades.values() if t.side == "sell" and t.quantity > 1 and t.trade_id not in entangled]
    assume(sales)
    sale = data.draw(st.sampled_from(sales))
    first = data.draw(st.integers(1, int(sale.quantity) - 1))
    assert summed(told_in_two(case, sale, first, trades)) == summed(books)


@of_every_household
@given(households(is_whole=True), st.data())
def test_a_purchase_may_come_in_fills(case: History, data: st.DataObject) -> None:
    """Two fills of a purchase are two lots; they give the rows of the whole if none is sold within the window.

    A lot never replaces its own loss, its unsold rest included, but the rest of another lot may: of 200 shares
    bought at once, 100 sold at a loss three weeks later are no wash sale, and of 100 and 100 they are one. That is
    why the purchases cut here are those that nothing is sold of for 30 days (in a deferred account: any, for its
    sales have no losses), and that no sale picks by name.
    """
    books, trades = booked(case)
    sold_soon = {row["lot_id"] for row in books.disposals if row["sold_on"] - row["acquired_on"] <= WINDOW}
    picked = {lot_id for trade in trades.values() for lot_id, _ in trade.picks}
    buys = [t for t in trades.values() if t.side == "buy" and t.quantity > 1 and t.trade_id not in sold_soon | picked]
    assume(buys)
    buy = data.draw(st.sampled_from(buys))
    first = data.draw(st.integers(1, int(buy.quantity) - 1))
    assert summed(told_in_two(case, buy, first, trades)) == summed(books)


def told_in_two(case: History, trade: reference.Trade, first: int, trades: dict[str, reference.Trade]) -> Books:
    """The books when one trade is told as two fills, the first of so many shares; picks go to the first before."""
    [whole] = [row for row in case.rows if row["trade_id"] == trade.trade_id]
    fills, left = [], {lot_id: int(quantity) for lot_id, quantity in trade.picks}
    by_acquisition = sorted(left, key=lambda lot_id: (trades[lot_id].day, lot_id))
    for number, quantity in enumerate((first, int(trade.quantity) - first), start=1):
        picks, need = [], quantity
        for lot_id in by_acquisition:
            taken = min(need, left[lot_id])
            left[lot_id], need = left[lot_id] - taken, need - taken
            picks += [f"{lot_id}:{taken}"] if taken else []
        fee = Decimal(whole["fee_usd"]) * quantity / Decimal(whole["quantity"])
        said = {"quantity": str(quantity), "fee_usd": str(fee), "lots": ";".join(picks)}
        fills.append(whole | said | {"trade_id": f"{trade.trade_id}/{number}"})
    rows = [row for row in case.rows if row is not whole] + fills
    return door(rows, case.identical, case.day).books


def summed(books: Books) -> list[dict[tuple, list[Decimal]]]:
    """The tables with the rows of one order, one lot and one holding period added up."""
    tables = []
    for table in (books.disposals, books.open_lots, books.wash_sales):
        sums: dict[tuple, list[Decimal]] = {}
        for row in table:
            key = tuple(
                str(value).split("/")[0]
                for column, value in row.items()
                if not isinstance(value, Decimal) and column not in ("citation", "adjustment_code")
            )
            amounts = [value for value in row.values() if isinstance(value, Decimal)]
            sums[key] = [a + b for a, b in zip(sums.get(key, [Decimal(0)] * len(amounts)), amounts, strict=True)]
        tables.append(sums)
    return tables


# Time


@of_every_household
@given(households())
def test_what_was_final_stays(case: History) -> None:
    """On every day before, the books say what they say at the end, but for losses that were provisional then.

    A later purchase may take more of such a loss, and nothing else changes: not what was sold, not at which basis.
    """
    books, _ = booked(case)
    wash_free = ("trade_id", "lot_id", "quantity", "holding_since", "proceeds_usd", "basis_usd", "term")
    for day in sorted({reference.when(row["traded_at"])[0] for row in case.rows})[:-1]:
        then = door(case.rows, case.identical, day).books
        now = [row for row in books.disposals if row["sold_on"] <= day]
        assert Counter(tuple(row[c] for c in wash_free) for row in now) == Counter(
            tuple(row[c] for c in wash_free) for row in then.disposals
        )
        final = [row for row in then.disposals if not row["is_provisional"]]
        assert not comparable(final) - comparable(now)
        assert all(row["is_provisional"] == (day - row["sold_on"] <= WINDOW and is_loss(row)) for row in then.disposals)
        assert not comparable(then.wash_sales) - comparable(books.wash_sales)
        days = {row["trade_id"]: row["sold_on"] for row in books.disposals}
        new = comparable(books.wash_sales) - comparable(then.wash_sales)
        assert all(days[dict(row)["trade_id"]] >= day - WINDOW for row in new)


def is_loss(row: Row) -> bool:
    return row["proceeds_usd"] < row["basis_usd"]
