"""What Alpaca's activities become in the ledger's words, and what keeps Alpaca's own."""

import json

import pytest
from alpaca_answers import fill, nta

from flows.connectors.alpaca import exactly
from flows.connectors.brokers.alpaca_rows import COLUMNS, FIELDS, activity_rows
from transforms import tables


def made(*activities: dict) -> list[dict[str, str]]:
    """The rows of activities, without what Alpaca said and what is empty."""
    read = exactly(json.dumps(activities))
    return [
        {name: text for name, text in row.items() if text and not name.startswith("alpaca_")}
        for row in activity_rows(read)
    ]


def only(*activities: dict) -> dict[str, str]:
    (row,) = made(*activities)
    return {name: text for name, text in row.items() if name not in ("id", "at")}


def test_a_row_is_the_same_row_whatever_comes_with_it():
    alone = activity_rows([fill(1)])
    assert (
        activity_rows([fill(1), nta(2, "DIV", net_amount="1", symbol="T"), nta(3, "CSD", net_amount="5")])[2:] == alone
    )
    assert set(alone[0]) == {*COLUMNS, *(f"alpaca_{name}" for name in FIELDS)}


PAID = [
    ("DIV", "1.02", "dividend"),
    ("DIVCGL", "3", "dividend"),
    ("DIVCGS", "3", "dividend"),
    ("DIVTXEX", "3", "dividend"),
    ("DIVNRA", "-0.30", "fee"),
    ("DIVFT", "-0.30", "fee"),
    ("DIVTW", "-0.30", "fee"),
    ("DIVFEE", "-0.30", "fee"),
    ("INT", "0.07", "interest"),
    ("INT", "-3.01", "interest"),
    ("INTNRA", "-0.01", "fee"),
    ("FEE", "-0.01", "fee"),
    ("CFEE", "-0.25", "fee"),
    ("PTC", "-0.01", "fee"),
    ("PTR", "0.01", "fee"),
    ("CSD", "100", "deposit"),
    ("CSW", "-100", "withdrawal"),
    ("JNLC", "5", "deposit"),
    ("JNLC", "-5", "withdrawal"),
    ("ACATC", "118.79", "deposit"),
    ("ACATC", "-5", "withdrawal"),
]


@pytest.mark.parametrize(("said", "amount", "kind"), PAID)
def test_money_is_what_it_is_paid_for(said, amount, kind):
    assert only(nta(1, said, net_amount=amount)) == {"kind": kind, "amount_usd": amount}


def test_a_return_of_capital_is_one_by_either_name():
    expected = {"kind": "return_of_capital", "symbol": "VG", "price_usd": "0.25", "amount_usd": "28.25"}
    paid = {"symbol": "VG", "qty": "113", "per_share_amount": "0.25", "net_amount": "28.25"}
    assert only(nta(1, "DIVROC", **paid)) == only(nta(1, "DIV", activity_sub_type="ROC", **paid)) == expected


@pytest.mark.parametrize(("a_share", "ratio"), [("1.12", "1.12:1"), ("0.12", "1.12:1")])
def test_a_stock_dividend_is_a_split(a_share, ratio):
    words = f"Stock DIV @ {a_share}, Pos QTY: 1, Rec Date: 2026-11-19"
    came = {"symbol": "ICNP", "qty": "0.12", "net_amount": "0", "per_share_amount": a_share, "description": words}
    expected = {"kind": "split", "symbol": "ICNP", "ratio": ratio, "amount_usd": "0"}
    assert only(nta(1, "DIV", activity_sub_type="SDIV", **came)) == expected


def legs(kind, *each, **common):
    return [nta(n, kind, **common, **leg) for n, leg in enumerate(each, 1)]


EVENTS = {
    "a forward split": (
        legs(
            "SPLIT",
            {"qty": "-10", "price": "100", "description": "REMOVE, From QTY:10"},
            {"qty": "30", "price": "33.33"},
            symbol="HD",
        ),
        {"kind": "split", "symbol": "HD", "ratio": "3:1", "amount_usd": "0"},
    ),
    "a reverse split to a fraction": (
        legs("SSP", {"qty": "1.666666667"}, {"qty": "-25"}, symbol="HD"),
        {"kind": "split", "symbol": "HD", "ratio": "1:15", "amount_usd": "0"},
    ),
    "a new symbol": (
        legs(
            "NC",
            {"symbol": "YTEN", "qty": "-1.25"},
            {"symbol": "YTENQ", "qty": "1.25"},
            description="Name Change from YTEN to YTENQ",
        ),
        {"kind": "symbol_change", "symbol": "YTEN", "new_security_id": "YTENQ", "amount_usd": "0"},
    ),
    "a symbol change by its group": (
        legs("SC", {"symbol": "FB", "qty": "-2"}, {"symbol": "META", "qty": "2"}, group_id="g"),
        {"kind": "symbol_change", "symbol": "FB", "new_security_id": "META", "amount_usd": "0"},
    ),
    "a merger for shares": (
        legs(
            "MA",
            {"symbol": "MRO", "qty": "-0.716836558", "price": "24.1617"},
            {"symbol": "COP", "qty": "0.182793322", "price": "94.7518"},
            description="Stock Merger 0.255 COP for 1 MRO",
        ),
        {"kind": "merger", "symbol": "MRO", "new_security_id": "COP", "ratio": "0.255:1", "amount_usd": "0"},
    ),
    "a merger for cash, which is a sale": (
        legs(
            "MA",
            {"qty": "-2"},
            {"qty": "0", "net_amount": "25.27"},
            symbol="HIE",
            description="Cash Merger $12.6341694 per share",
        ),
        {
            "kind": "trade",
            "side": "sell",
            "symbol": "HIE",
            "quantity": "2",
            "price_usd": "12.6341694",
            "fee_usd": "0",
            "amount_usd": "25.27",
        },
    ),
    "a spin-off with its basis": (
        legs(
            "SPIN",
            {
                "symbol": "CON",
                "qty": "0.054339042",
                "description": "Target Symbol: CON, Initiating Symbol: SEM, 0.806971 CON for each 1 SEM",
            },
            {"symbol": "SEM", "qty": "0.067337044", "price": "11.9203"},
            {"symbol": "SEM", "qty": "-0.067337044", "price": "22.276"},
        ),
        {
            "kind": "spin_off",
            "symbol": "SEM",
            "new_security_id": "CON",
            "ratio": "0.806971:1",
            "basis_rate": "0.464881",
            "amount_usd": "0",
        },
    ),
    "cash for a fraction": (
        legs("CIL", {"symbol": "HD", "qty": "0.4", "net_amount": "8.39"}),
        {
            "kind": "cash_in_lieu",
            "side": "sell",
            "symbol": "HD",
            "quantity": "0.4",
            "price_usd": "20.975000000",
            "fee_usd": "0",
            "amount_usd": "8.39",
        },
    ),
    "a bought option that expires": (
        legs("OPEXP", {"symbol": "AAPL261120C00150000", "qty": "-2", "net_amount": "0"}),
        {
            "kind": "option_expire",
            "side": "sell",
            "symbol": "AAPL261120C00150000",
            "quantity": "2",
            "amount_usd": "0",
            "underlying_id": "AAPL",
            "right": "call",
            "strike_usd": "150",
            "multiplier": "100",
        },
    ),
    "a written option that expires": (
        legs("OPEXP", {"symbol": "AAPL261120P00150500", "qty": "1", "net_amount": "0"}),
        {
            "kind": "option_expire",
            "side": "buy",
            "symbol": "AAPL261120P00150500",
            "quantity": "1",
            "amount_usd": "0",
            "underlying_id": "AAPL",
            "right": "put",
            "strike_usd": "150.5",
            "multiplier": "100",
        },
    ),
    "an exercise with its trade in the shares": (
        [
            nta(2, "OPTRD", symbol="AAPL", qty="200", price="150", net_amount="-30000"),
            nta(1, "OPEXC", symbol="AAPL261120C00150000", qty="-2", net_amount="0"),
        ],
        {
            "kind": "option_exercise",
            "symbol": "AAPL261120C00150000",
            "quantity": "2",
            "fee_usd": "0",
            "amount_usd": "-30000",
            "underlying_id": "AAPL",
            "right": "call",
            "strike_usd": "150",
            "multiplier": "100",
        },
    ),
    "an assignment with its trade in the shares": (
        [
            nta(1, "OPASN", symbol="AAPL261120C00150000", qty="2"),
            nta(2, "OPTRD", symbol="AAPL", qty="-200", net_amount="30000"),
        ],
        {
            "kind": "option_assign",
            "symbol": "AAPL261120C00150000",
            "quantity": "2",
            "fee_usd": "0",
            "amount_usd": "30000",
            "underlying_id": "AAPL",
            "right": "call",
            "strike_usd": "150",
            "multiplier": "100",
        },
    ),
    "a payment that was taken back": (
        legs("DIV", {"net_amount": "5", "symbol": "T", "status": "canceled"}),
        {"kind": "bust", "symbol": "T", "amount_usd": "5"},
    ),
}


@pytest.mark.parametrize("event", EVENTS)
def test_the_legs_of_an_event_become_one_row(event):
    told, expected = EVENTS[event]
    assert only(*told) == expected


def test_two_alike_exercises_of_a_day_are_two_rows_with_a_trade_each():
    one = [
        nta(1, "OPEXC", symbol="AAPL261120C00150000", qty="-1"),
        nta(2, "OPTRD", symbol="AAPL", qty="100", net_amount="-15000"),
    ]
    two = [leg | {"id": leg["id"] + "b"} for leg in one]
    assert [(row["kind"], row["amount_usd"]) for row in made(*one, *two)] == [("option_exercise", "-15000")] * 2


UNSAFE = {
    "shares that came without a basis": legs(
        "ACATS", {"symbol": "NVDA", "qty": "6", "price": "135.34", "net_amount": "0"}
    ),
    "shares from another account": legs("JNLS", {"symbol": "TSLA", "qty": "-0.5", "price": "993", "net_amount": "0"}),
    "a split that paid a fraction in cash": legs(
        "SPLIT", {"qty": "-25", "price": "8"}, {"qty": "1", "price": "120"}, symbol="HD"
    ),
    "half a split": legs("SPLIT", {"qty": "-25"}, symbol="HD"),
    "a spin-off without its basis": legs("SPIN", {"symbol": "CON", "qty": "1", "description": "1 CON for each 1 SEM"}),
    "a merger for shares and cash": legs(
        "MA",
        {"symbol": "A", "qty": "-6"},
        {"symbol": "B", "qty": "6"},
        {"symbol": "A", "qty": "0", "net_amount": "58.7"},
        group_id="g",
    ),
    "a fee in a coin": legs("CFEE", {"symbol": "BTCUSD", "qty": "-0.0001", "net_amount": "0"}),
    "a trade of an option event alone": legs("OPTRD", {"symbol": "AAPL", "qty": "100", "net_amount": "-15000"}),
    "an exercise whose money is not the strike": [
        nta(1, "OPEXC", symbol="AAPL261120C00150000", qty="-1", group_id="g"),
        nta(2, "OPTRD", symbol="AAPL", qty="100", net_amount="-14000", group_id="g"),
    ],
    "an adjusted option": legs("OPEXP", {"symbol": "AAPL1261120C00150000", "qty": "-1"}),
    "a stock dividend whose shares are others": legs(
        "DIV",
        {"symbol": "A", "qty": "0.2", "net_amount": "0", "per_share_amount": "1.12", "description": "Pos QTY: 1"},
        activity_sub_type="SDIV",
    ),
    "a right": legs("VOF", {"symbol": "067RGT019", "qty": "2650"}),
    "a worthless removal": legs("REORG", {"symbol": "SRV.RT", "qty": "-8"}),
    "money that is still on its way": legs("JNLC", {"net_amount": "-0.29", "status": "pending"}),
    "other money than dollars": legs("CSD", {"net_amount": "10", "currency": "EUR"}),
    "a number that is none": legs("SPLIT", {"qty": "-1O"}, {"qty": "20"}, symbol="HD"),
    "a word that nobody knows": legs("NEWTYPE", {"net_amount": "3"}),
}


@pytest.mark.parametrize("event", UNSAFE)
def test_what_cannot_be_said_safely_keeps_alpacas_word_and_its_payload(event):
    rows = activity_rows(UNSAFE[event])
    told = json.dumps(UNSAFE[event][0]["activity_type"])[1:-1]
    assert rows and not any(row["kind"] in tables.KINDS for row in rows)
    assert told in " ".join(row["kind"] + row["alpaca_legs"] for row in rows)


def test_what_opens_an_option_and_what_closes_it_follows_from_what_is_held():
    call = "AAPL261218C00200000"
    told = made(
        fill(1, symbol=call, side="buy", qty="2", price="1.10"),
        fill(2, symbol=call, side="sell", qty="2", price="1.20"),
        fill(3, symbol=call, side="sell", qty="1", price="1.30"),
        fill(4, symbol=call, side="buy", qty="1", price="1.00"),
    )
    assert [(row["kind"], row["side"], row["amount_usd"]) for row in told] == [
        ("option_open", "buy", "-220.00"),
        ("option_close", "sell", "240.00"),
        ("option_open", "sell", "130.00"),
        ("option_close", "buy", "-100.00"),
    ]
    assert told[0]["underlying_id"] == "AAPL" and told[0]["strike_usd"] == "200"


def test_an_option_bought_on_its_last_day_is_opened_before_it_expires():
    call = "AAPL261120C00200000"
    told = made(fill(2, symbol=call, qty="1"), nta(1, "OPEXP", symbol=call, qty="-1") | {"id": "20261120000000000::1"})
    assert [row["kind"] for row in told] == ["option_open", "option_expire"]


def test_a_short_sale_is_opened_and_closed():
    told = made(fill(1, side="sell_short", qty="5"), fill(2, side="buy", qty="5"), fill(3, side="buy", qty="1"))
    assert [row["kind"] for row in told] == ["short_open", "short_close", "trade"]


def test_a_fill_that_would_turn_a_position_around_is_set_aside():
    call = "AAPL261218C00200000"
    assert [row["kind"] for row in made(fill(1, symbol=call, qty="1"), fill(2, symbol=call, side="sell", qty="3"))] == [
        "option_open",
        "FILL",
    ]
