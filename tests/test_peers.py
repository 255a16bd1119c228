"""Where others who match wash sales were measured to be wrong: each fault a household on which Thresher is right."""

from __future__ import annotations

from collections import Counter
from datetime import date, timedelta
from decimal import Decimal

import pytest
from lots_cases import Books, TradeRow, comparable, door, trade_row

ACCOUNTS = {"broker": "taxable of self", "ira": "traditional_ira of self"}


def rows_of(*sentences: str) -> list[TradeRow]:
    return [trade_row(sentence, ACCOUNTS) for sentence in sentences]


def books_of(*sentences: str, identical: dict[str, str] | None = None) -> Books:
    got = door(rows_of(*sentences), identical, date(2026, 12, 31)).books
    assert not got.rejects
    return got


def gains(books: Books) -> dict[tuple[str, str], int]:
    """What each sale gained on each lot, in dollars."""
    found: Counter[tuple[str, str]] = Counter()
    for row in books.disposals:
        found[row["trade_id"], row["lot_id"]] += row["gain_usd"]
    return dict(found)


def test_a_lot_does_not_replace_itself() -> None:
    """net-alpha 0.81 flags a lot that is bought and sold whole within 30 days as a wash sale of itself."""
    books = books_of("2025-01-06 broker buys 100 XYZ at 10 as A", "2025-01-20 broker sells 100 XYZ at 8 as S")
    assert gains(books) == {("S", "A"): -200}


TWO_RECENT_LOTS = ("2025-01-06 broker buys 50 XYZ at 10 as A", "2025-01-13 broker buys 50 XYZ at 10 as B")


def test_two_recent_lots_sold_together_replace_nothing() -> None:
    """net-alpha, Valloric, adlr and capital-gains let each replace the other, though nobody bought anything again."""
    books = books_of(*TWO_RECENT_LOTS, "2025-01-20 broker sells 100 XYZ at 8 as S")
    assert gains(books) == {("S", "A"): -100, ("S", "B"): -100}
    assert not books.wash_sales


def test_two_recent_lots_sold_on_one_day_replace_nothing() -> None:
    """capital-gains does the same when the two are sold one after the other."""
    sales = ("2025-01-20 broker sells 50 XYZ at 8 as S1", "2025-01-20 broker sells 50 XYZ at 8 as S2")
    books = books_of(*TWO_RECENT_LOTS, *sales)
    assert gains(books) == {("S1", "A"): -100, ("S2", "B"): -100}
    assert not books.wash_sales


def test_first_in_first_out_goes_on_where_the_last_sale_ended() -> None:
    """net-alpha begins at the first purchase again with every sale."""
    books = books_of(
        "2024-01-08 broker buys 50 XYZ at 10 as A",
        "2024-02-05 broker buys 50 XYZ at 30 as B",
        "2025-01-20 broker sells 50 XYZ at 40 as S1",
        "2025-03-24 broker sells 50 XYZ at 40 as S2",
    )
    assert gains(books) == {("S1", "A"): 1500, ("S2", "B"): 500}


def test_the_disallowed_loss_comes_out_when_the_replacement_is_sold() -> None:
    """net-alpha writes the higher basis down and sells with the lower one."""
    books = books_of(
        "2025-01-06 broker buys 100 XYZ at 10 as A",
        "2025-03-03 broker sells 100 XYZ at 8 as S1",
        "2025-03-10 broker buys 100 XYZ at 8 as B",
        "2025-08-04 broker sells 100 XYZ at 11 as S2",
    )
    assert gains(books) == {("S1", "A"): 0, ("S2", "B"): 100}


def test_the_holding_period_goes_with_the_matched_shares_only() -> None:
    """net-alpha makes the whole lot older when a part of it has replaced a loss."""
    books = books_of(
        "2023-01-09 broker buys 40 XYZ at 10 as A",
        "2025-03-03 broker sells 40 XYZ at 8 as S1",
        "2025-03-10 broker buys 100 XYZ at 8 as B",
        "2025-08-04 broker sells 100 XYZ at 11 as S2",
    )
    assert {(row["quantity"], row["term"]) for row in books.disposals if row["lot_id"] == "B"} == {
        (40, "long"),
        (60, "short"),
    }


def test_a_thousand_washes_in_a_row_carry_the_loss_and_the_time_to_the_last_lot() -> None:
    """net-alpha ends in an OverflowError after some of them."""
    sentences = ["1990-01-01 broker buys 1 XYZ at 1000 as b0"]
    for number in range(1, 1001):
        day = date(1990, 1, 1) + timedelta(days=10 * number)
        sentences.append(f"{day}T10:00:00 broker sells 1 XYZ at 999 as s{number}")
        sentences.append(f"{day}T11:00:00 broker buys 1 XYZ at 999 as b{number}")
    books = books_of(*sentences)
    [last] = books.open_lots
    assert (last["basis_usd"], str(last["holding_since"])) == (Decimal(1000), "1990-01-01")
    assert set(gains(books).values()) == {0}
    assert len(books.wash_sales) == 1000


def test_a_share_replaces_one_loss() -> None:
    """Temple-Stuart and FinSight-AI (issue 1547) use a purchase again for the next loss."""
    books = books_of(
        "2024-01-08 broker buys 100 XYZ at 10 as A",
        "2024-01-09 broker buys 100 XYZ at 10 as B",
        "2025-03-03 broker sells 100 XYZ at 8 as S1",
        "2025-03-04 broker sells 100 XYZ at 8 as S2",
        "2025-03-10 broker buys 100 XYZ at 8 as C",
    )
    assert gains(books) == {("S1", "A"): 0, ("S2", "B"): -200}


@pytest.mark.parametrize(("bought_on", "gain"), [("2025-04-02", 0), ("2025-04-03", -200)])
def test_the_window_ends_after_the_thirtieth_day(bought_on: str, gain: int) -> None:
    """doublehq/oracle (an older copy) and CFO-Direct-Index buy again on day 30."""
    books = books_of(
        "2024-01-08 broker buys 100 XYZ at 10 as A",
        "2025-03-03 broker sells 100 XYZ at 8 as S",
        f"{bought_on} broker buys 100 XYZ at 8 as B",
    )
    assert gains(books) == {("S", "A"): gain}


def test_an_old_lot_is_washed_in_part_and_the_rest_of_its_loss_counts() -> None:
    """doublehq/oracle gives the whole lot up when a few of its shares were bought again."""
    books = books_of(
        "2024-01-08 broker buys 100 XYZ at 10 as A",
        "2025-02-24 broker buys 5 XYZ at 8 as B",
        "2025-03-03 broker sells 100 XYZ at 8 from A:100 as S",
    )
    assert gains(books) == {("S", "A"): -190}


def test_a_price_that_is_no_number_is_no_price() -> None:
    """doublehq/oracle goes on with NaN."""
    rows = rows_of("2025-01-06 broker buys 100 XYZ at 10 as A", "2025-01-07 broker buys 1 XYZ at 9 as B")
    got = door([rows[0], rows[1] | {"price_usd": "NaN"}])
    assert [(row["line"], row["trade_id"]) for row in got.books.rejects] == [(3, "B")]
    assert [row["lot_id"] for row in got.books.open_lots] == ["A"]


def test_a_sale_of_more_than_is_held_is_refused_and_said() -> None:
    """capital-gains ends in an IndexError, net-alpha in silence and with exit code 0."""
    rows = rows_of("2025-01-06 broker buys 100 XYZ at 10 as A", "2025-03-03 broker sells 101 XYZ at 8 as S")
    got = door(rows, strict=True)
    assert (got.code, [row["trade_id"] for row in got.books.rejects]) == (2, ["S"])
    assert "oversell" in got.said
    assert [(row["lot_id"], row["quantity"]) for row in got.books.open_lots] == [("A", 100)]


def test_a_purchase_cannot_be_sold_before_its_day_wherever_its_row_stands() -> None:
    """capital-gains takes the order of the rows for the order of the trades, and sells what is bought later."""
    rows = rows_of(
        "2025-06-02 broker buys 100 XYZ at 7 as B",
        "2025-01-06 broker buys 100 XYZ at 10 as A",
        "2025-03-03 broker sells 100 XYZ at 8 as S1",
        "2025-04-07 broker sells 100 XYZ at 8 as S2",
    )
    got = door(rows, as_of=date(2026, 12, 31)).books
    assert gains(got) == {("S1", "A"): -200}
    assert [row["trade_id"] for row in got.rejects] == ["S2"]
    turned = door(rows[::-1], as_of=date(2026, 12, 31)).books
    assert comparable(turned.disposals) == comparable(got.disposals)


def test_two_classes_of_one_issuer_are_matched_when_the_household_says_so() -> None:
    """net-alpha does not see that GOOGL replaces GOOG."""
    books = books_of(
        "2024-01-08 broker buys 100 GOOG at 10 as A",
        "2025-03-03 broker sells 100 GOOG at 8 as S",
        "2025-03-10 broker buys 100 GOOGL at 8 as B",
        identical={"GOOG": "Alphabet", "GOOGL": "Alphabet"},
    )
    assert gains(books) == {("S", "A"): 0}


def test_three_funds_of_one_index_replace_each_other_when_the_household_says_so() -> None:
    """doublehq/oracle ships SPY, IVV and VOO as examples of pairs that do not wash each other."""
    books = books_of(
        "2024-01-08 broker buys 100 SPY at 10 as A",
        "2025-03-03 broker sells 100 SPY at 8 as S",
        "2025-03-03 broker buys 40 IVV at 8 as B",
        "2025-03-03 ira buys 60 VOO at 8 as C",
        identical=dict.fromkeys(("SPY", "IVV", "VOO"), "S&P 500"),
    )
    assert gains(books) == {("S", "A"): 0}
    assert [(row["replacement_lot_id"], row["permanent_usd"]) for row in books.wash_sales] == [("B", 0), ("C", 120)]


def test_nothing_is_bought_that_a_loss_still_bars(finished) -> None:
    """What may not be bought is barred to the thirtieth day, that one included, and no harvest buys it instead."""
    barred = finished.ask("SELECT security_id, sold_on, until_on FROM mart.cannot_buy_today")
    assert barred
    assert {until_on - sold_on for _, sold_on, until_on in barred} == {timedelta(days=30)}
    bought = {name for (name,) in finished.ask("SELECT replacement_id FROM core.proposals WHERE NOT is_refused")}
    assert not bought & {name for name, _, _ in barred}


def test_no_harvest_waits_in_cash(finished) -> None:
    """The engine of harrodyuan sells and holds cash for 30 days, and ends behind buying and holding."""
    harvests = finished.ask(
        "SELECT security_id, replacement_id, value_usd, replacement_quantity * replacement_price_usd "
        "FROM core.proposals WHERE NOT is_refused"
    )
    assert harvests
    for security, replacement, sold, bought in harvests:
        assert replacement not in ("", security)
        assert Decimal("0.95") * sold <= bought <= sold
