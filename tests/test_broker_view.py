"""What a 1099-B will say, what is right, and what Form 8949 says of the difference: /reference cases by hand."""

from datetime import date, timedelta
from decimal import Decimal

from hypothesis import given, settings
from hypothesis import strategies as st

from transforms.lots.book import book
from transforms.lots.broker_view import broker_books
from transforms.lots.rules import Rules
from transforms.model import Move, Trade
from transforms.tax.reported import Piece, reported

NANO = 10**9


def trade(name: str, account: str, side: str, quantity: int, usd: int | str, on: str, **more) -> Trade:
    cents = int(Decimal(usd) * 100)
    return Trade(
        name, account, more.pop("security", "XYZ"), side == "buy", quantity * NANO, cents, date.fromisoformat(on), None,
        account.endswith("ira"), **more,
    )  # fmt: skip


def filed(*events, is_covered: bool = True) -> dict[str, list[Piece]]:
    """The pieces of every sale, as the household files them."""
    found: dict[str, list[Piece]] = {}
    own, theirs = book(events, Rules()).disposals, broker_books(events, Rules()).disposals
    for piece in reported(own, theirs, lambda row: is_covered):
        found.setdefault(piece.own.trade_id, []).append(piece)
    return found


def said(piece: Piece) -> tuple[str, int, int, int]:
    """Columns (e) to (h), in whole dollars."""
    return piece.code, piece.filed_basis // 100, piece.adjustment // 100, piece.gain // 100


def test_a_wash_sale_within_the_account_is_reported_as_the_household_has_it():
    [sold] = filed(
        trade("A", "joint", "buy", 100, 1000, "2025-01-06"), trade("S", "joint", "sell", 100, 750, "2025-03-10"),
        trade("B", "joint", "buy", 100, 800, "2025-03-25"),
    )["S"]  # fmt: skip
    assert said(sold) == ("W", 1000, 250, 0) and sold.broker_disallowed == 25000 and sold.note == ""


def test_w20_the_spouses_purchase_is_not_on_the_1099_b():
    [sold] = filed(
        trade("A", "joint", "buy", 50, 500, "2025-01-06"), trade("S", "joint", "sell", 50, 300, "2025-03-10"),
        trade("B", "spouse", "buy", 30, 180, "2025-03-20"),
    )["S"]  # fmt: skip
    assert said(sold) == ("W", 500, 120, -80)
    assert sold.broker_disallowed == 0
    assert (
        sold.note
        == "$120.00 of the loss is disallowed, the broker reports $0.00: purchases outside the account count too"
    )


def test_w08_a_loss_that_an_ira_takes_for_good_is_a_code_w_that_the_broker_does_not_have():
    [sold] = filed(
        trade("A", "joint", "buy", 100, 1000, "2007-01-06"), trade("S", "joint", "sell", 100, 600, "2007-12-20"),
        trade("B", "roth_ira", "buy", 100, 590, "2007-12-21"),
    )["S"]  # fmt: skip
    assert said(sold) == ("W", 1000, 400, 0) and sold.permanent == 40000


def test_a_replacement_whose_basis_lacks_the_other_accounts_loss_has_code_b_and_reported_less_right_in_column_g():
    found = filed(
        trade("A", "joint", "buy", 100, 1000, "2025-01-06"), trade("S", "joint", "sell", 100, 750, "2025-03-10"),
        trade("B", "spouse", "buy", 100, 800, "2025-03-25"), trade("T", "spouse", "sell", 100, 1100, "2025-06-02"),
    )  # fmt: skip
    [later] = found["T"]
    assert said(later) == ("B", 800, -250, 50), "1,100 less 800 less the 250 that the first sale could not deduct"
    assert (
        later.note
        == "the broker's basis is $800.00, the right one $1050.00: it does not see what a wash sale added or took"
    )


def test_a_basis_that_is_not_reported_is_filed_right_and_needs_no_code():
    found = filed(
        trade("A", "joint", "buy", 100, 1000, "2010-01-06"), trade("S", "joint", "sell", 100, 750, "2010-03-10"),
        trade("B", "spouse", "buy", 100, 800, "2010-03-25"), trade("T", "spouse", "sell", 100, 1100, "2010-06-02"),
        is_covered=False,
    )  # fmt: skip
    [later] = found["T"]
    assert said(later) == ("", 1050, 0, 50) and later.note == ""


def test_a_holding_period_that_another_account_gave_is_code_t_beside_b_in_alphabetical_order():
    found = filed(
        trade("A", "joint", "buy", 100, 1000, "2024-01-02"), trade("S", "joint", "sell", 100, 750, "2025-01-10"),
        trade("B", "spouse", "buy", 100, 800, "2025-01-20"), trade("T", "spouse", "sell", 100, 1100, "2025-06-02"),
    )  # fmt: skip
    [later] = found["T"]
    assert said(later) == ("BT", 800, -250, 50) and (later.own.term, later.theirs.term) == ("long", "short")
    assert later.note.endswith("the broker says short-term, it is long-term")


def test_a_loss_that_the_broker_disallows_and_the_law_does_not_is_code_w_with_zero_and_a_statement():
    found = filed(
        trade("A", "joint", "buy", 100, 1000, "2025-01-06"), trade("C", "self", "buy", 100, 1000, "2025-01-07"),
        trade("S", "joint", "sell", 100, 750, "2025-03-03"), trade("T", "self", "sell", 100, 700, "2025-03-10"),
        trade("B", "self", "buy", 100, 650, "2025-03-20"),
    )  # fmt: skip
    [first], [second] = found["S"], found["T"]
    assert said(first) == ("W", 1000, 250, 0), "the earlier loss takes the purchase (Treas. Reg. 1.1091-1(b))"
    assert said(second) == ("W", 1000, 0, -300) and second.broker_disallowed == 30000
    assert second.note == (
        "$0.00 of the loss is disallowed, the broker reports $300.00; attach a statement that says why it is less"
    )


def test_a_slice_is_cut_where_either_view_cuts_and_every_piece_foots():
    found = filed(
        trade("A", "joint", "buy", 100, 1000, "2025-01-06"), trade("S", "joint", "sell", 100, "750.01", "2025-03-10"),
        trade("B", "spouse", "buy", 60, "480.03", "2025-03-25"), trade("C", "spouse", "buy", 7, "56.01", "2025-03-26"),
        trade("T", "spouse", "sell", 67, "700.01", "2025-06-02"),
    )  # fmt: skip
    assert sum(piece.proceeds for piece in found["T"]) == 70001
    assert all(piece.gain == piece.proceeds - piece.basis + piece.disallowed for piece in found["T"])
    assert sum(piece.broker_basis for piece in found["T"]) == 48003 + 5601


def test_shares_that_were_transferred_in_take_no_part_in_the_brokers_wash_sales():
    move = Move("M", "joint", "XYZ", 100 * NANO, date(2025, 3, 3), None, False, "other", False)
    events = (
        trade("A", "joint", "buy", 100, 1000, "2025-01-06"), move, trade("S", "other", "sell", 100, 750, "2025-03-10"),
        trade("B", "other", "buy", 100, 800, "2025-03-25"),
    )  # fmt: skip
    [sold] = filed(*events)["S"]
    assert said(sold) == ("W", 1000, 250, 0) and sold.broker_disallowed == 0


def test_substantially_identical_securities_are_two_to_a_broker():
    events = [
        trade("A", "joint", "buy", 100, 1000, "2025-01-06", security="GOOG"),
        trade("S", "joint", "sell", 100, 750, "2025-03-10", security="GOOG"),
        trade("B", "joint", "buy", 100, 800, "2025-03-25", security="GOOGL"),
    ]
    groups = {"GOOG": "alphabet", "GOOGL": "alphabet"}
    assert book(events, Rules(), groups).disposals[0].disallowed == 25000
    assert broker_books(events, Rules()).disposals[0].disallowed == 0


def test_lots_identified_in_time_that_the_broker_did_not_relieve_stand_beside_those_it_did():
    bought = [trade("A", "self", "buy", 1, 100, "2025-01-06"), trade("B", "self", "buy", 1, 300, "2025-02-03")]
    sale = trade("S", "self", "sell", 1, 200, "2025-05-05")
    own = book([*bought, sale._replace(picks=(("B", NANO),))], Rules()).disposals
    [piece] = reported(own, broker_books([*bought, sale], Rules()).disposals, lambda row: True)
    assert said(piece) == ("B", 100, -200, -100)
    assert piece.note.startswith("the broker relieved lot A, the lot identified is B")


history = st.lists(
    st.tuples(
        st.integers(0, 200), st.sampled_from(["one", "two"]), st.booleans(), st.integers(1, 20), st.integers(1, 99_999)
    ),
    min_size=2,
    max_size=25,
)


@settings(max_examples=150, deadline=None)
@given(history)
def test_whatever_happened_what_is_filed_is_the_households_gain_and_the_brokers_proceeds(rows):
    start = date(2025, 1, 2)
    events = [
        Trade(f"T{n:02}", account, "XYZ", is_buy, quantity * NANO, cents, start + timedelta(days=day), None, False)
        for n, (day, account, is_buy, quantity, cents) in enumerate(rows)
    ]
    own, theirs = book(events, Rules()).disposals, broker_books(events, Rules()).disposals
    pieces = list(reported(own, theirs, lambda row: True))
    for sale in {row.trade_id for row in own}:
        mine = [row for row in own if row.trade_id == sale]
        other = [row for row in theirs if row.trade_id == sale]
        filed = [piece for piece in pieces if piece.own.trade_id == sale]
        assert sum(piece.gain for piece in filed) == sum(row.gain for row in mine)
        assert sum(piece.quantity for piece in filed) == sum(row.quantity for row in mine)
        assert sum(piece.proceeds for piece in filed) == sum(row.proceeds for row in other)
        assert sum(piece.filed_basis for piece in filed) == sum(row.basis for row in other)
        assert all("".join(sorted(piece.code)) == piece.code for piece in filed)


@settings(max_examples=100, deadline=None)
@given(history)
def test_a_household_with_one_account_and_no_identical_securities_agrees_with_its_broker(rows):
    events = [
        Trade(
            f"T{n:02}",
            "one",
            "XYZ",
            is_buy,
            quantity * NANO,
            cents,
            date(2025, 1, 2) + timedelta(days=day),
            None,
            False,
        )
        for n, (day, _, is_buy, quantity, cents) in enumerate(rows)
    ]
    assert book(events, Rules()) == broker_books(events, Rules())
