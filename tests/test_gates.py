"""Every gate lets pass what is at its limit and refuses what is beyond; all refusals are shown; pairs go together."""

from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pytest

from transforms.lots.check import Effect, Limits, Match, Party
from transforms.orders.gates import GATES, Evidence, Line, refusals

MONDAY = date(2022, 10, 17)
SELL = Line("b", 1, 1, "joint", MONDAY, "sell", "HD", Decimal(10), Decimal(100), "L-1:10", "auto")
BUY = Line("b", 2, 1, "joint", MONDAY, "buy", "BBY", Decimal(50), Decimal("19.60"), "", "auto")
CALM = Evidence(
    session_on=MONDAY,
    is_stopped=False,
    do_not_trade=frozenset(),
    unsound={},
    broken={},
    price_age={"HD": 0, "BBY": 0},
    price_move={"HD": 0.01, "BBY": -0.02},
    max_price_age=1,
    max_price_move=0.35,
    account_value={"joint": Decimal(10_000)},
    household_value=Decimal(20_000),
    max_order_weight=0.10,
    max_daily_turnover=0.25,
    cash_after={"joint": Decimal(20)},
    washed={},
    wash_limits=Limits(5_000, Decimal("0.02"), 3_000),
)


def washed(disallowed: int, permanent: int = 0, name: str = "b.1.1", loss: int = 100_000) -> Effect:
    sale = Party("b.1.1", "joint", "HD", "joint would sell 10 HD on 2022-10-17", "proposed")
    bought = Party("R-9", "ira", "HD", "ira bought 10 HD on 2022-09-26", "made")
    match = Match(sale, bought, 10**9, disallowed, permanent, -21, "deferred" if permanent else "purchase", "short")
    return Effect(name, disallowed - loss, 0, loss, 0, (match,), ())


def reasons(line: Line = SELL, **seen: Any) -> dict[str, str]:
    """What the gates say of a line when this much is different from a calm day."""
    return {row.gate: row.reason for row in refusals([line], replace(CALM, **seen))}


def test_on_a_calm_day_no_gate_holds_anything_back():
    assert refusals([SELL, BUY], CALM) == []


LIMITS = [  # gate, line, what it lets pass, what it refuses, words of the refusal
    ("kill_switch", SELL, {"is_stopped": False}, {"is_stopped": True}, ["STOP", "remove it"]),
    ("expired", SELL, {"session_on": MONDAY}, {"session_on": MONDAY + timedelta(days=1)}, ["2022-10-17", "2022-10-18"]),
    ("expired", SELL, {"session_on": MONDAY}, {"session_on": MONDAY - timedelta(days=3)}, ["2022-10-17", "2022-10-14"]),
    ("do_not_trade", BUY, {"do_not_trade": {"HD"}}, {"do_not_trade": {"BBY"}}, ["BBY", "do-not-trade"]),
    ("source", SELL, {"unsound": {"ira": "old"}}, {"unsound": {"joint": "no statement"}}, ["no statement"]),
    ("books_differ", SELL, {"broken": {"ira": "1 KO"}}, {"broken": {"joint": "broker 1, ledger 2"}}, ["ledger 2"]),
    ("price", SELL, {"price_age": {"HD": 1}}, {"price_age": {"HD": 2}}, ["HD", "1 sessions"]),
    ("price", SELL, {"price_age": {"HD": 1}}, {"price_age": {"BBY": 0}}, ["no price of HD"]),
    ("price", SELL, {"price_move": {"HD": 0.35}}, {"price_move": {"HD": 0.3501}}, ["HD", "+35%"]),
    ("price", SELL, {"price_move": {"HD": -0.35}}, {"price_move": {"HD": -0.36}}, ["HD", "-36%", "not believed"]),
    (
        "order_size", SELL, {"account_value": {"joint": Decimal(10_000)}},
        {"account_value": {"joint": Decimal("9999.99")}}, ["$1,000", "10%"],
    ),
    ("order_size", SELL, {}, {"account_value": {}}, ["$1,000", "$0"]),
    (
        "turnover", SELL, {"turnover_before": {SELL.key: Decimal(4000)}},
        {"turnover_before": {SELL.key: Decimal("4000.01")}}, ["$5,000"],
    ),
    (
        "turnover", SELL, {"household_value": Decimal(4000)}, {"household_value": Decimal("3999.99")},
        ["$1,000", "the limit"],
    ),
    ("cash", BUY, {"cash_after": {"joint": Decimal(0)}}, {"cash_after": {"joint": Decimal("-0.01")}}, ["$0.01", "cash"]),
    (
        "wash_sale", SELL, {"washed": {SELL.key: washed(5_000)}}, {"washed": {SELL.key: washed(5_001)}},
        ["$50.01", "ira bought 10 HD on 2022-09-26", "21 days before", "26 USC 1091(a)", "the limit is $50.00"],
    ),
    (
        "wash_sale", SELL, {"washed": {SELL.key: washed(20_000, loss=1_000_000)}},
        {"washed": {SELL.key: washed(20_001, loss=1_000_000)}}, ["$200.01", "the limit is $200.00"],
    ),
    (
        "wash_sale", BUY, {"washed": {BUY.key: washed(5_000, 3_000, "R-9")}},
        {"washed": {BUY.key: washed(5_000, 3_001, "R-9")}},
        ["$30.01 of it for good", "joint would sell 10 HD", "at most $30.00 may be lost for good"],
    ),
]  # fmt: skip


@pytest.mark.parametrize(("gate", "line", "within", "beyond", "words"), LIMITS)
def test_a_gate_lets_pass_what_is_at_its_limit_and_refuses_what_is_beyond(gate, line, within, beyond, words):
    assert reasons(line, **within) == {}
    refused = reasons(line, **beyond)
    assert list(refused) == [gate]
    assert all(word in refused[gate] for word in words), refused[gate]


def test_every_gate_of_the_list_has_its_limit_tested():
    assert {gate.__name__ for gate in GATES} == {row[0] for row in LIMITS}


def test_a_sale_needs_no_cash():
    assert reasons(SELL, cash_after={"joint": Decimal(-5000)}) == {}


def test_all_gates_are_asked_and_all_their_refusals_are_shown():
    trouble = {key: value for row in LIMITS if row[1] is BUY for key, value in row[3].items()}
    worst = replace(
        CALM,
        **trouble,
        is_stopped=True,
        session_on=MONDAY + timedelta(days=1),
        unsound={"joint": "old"},
        broken={"joint": "differs"},
        price_age={},
        account_value={},
        household_value=Decimal(0),
    )
    found = refusals([BUY], worst)
    assert [row.gate for row in found] == [gate.__name__ for gate in GATES]
    assert all(row.reason and (row.batch_id, row.line) == BUY.key for row in found)


def test_a_pair_goes_together_and_other_pairs_go_on():
    other = SELL._replace(line=3, pair=2, security_id="HD")
    elsewhere = BUY._replace(batch_id="c", line=2, security_id="BBY", account_id="ira")
    seen = replace(
        CALM, do_not_trade=frozenset({"BBY"}), account_value={"joint": Decimal(10_000), "ira": Decimal(10_000)}
    )
    found = refusals([SELL, BUY, other, elsewhere._replace(security_id="HD")], seen)
    assert [(row.batch_id, row.line, row.gate) for row in found] == [("b", 2, "do_not_trade"), ("b", 1, "pair")]
    assert "buy BBY" in found[1].reason


def test_a_held_back_sale_holds_back_its_replacement():
    found = refusals([SELL, BUY], replace(CALM, washed={SELL.key: washed(10_000)}))
    assert [(row.line, row.gate) for row in found] == [(1, "wash_sale"), (2, "pair")]
    assert "sell HD" in found[1].reason


def test_both_halves_of_a_pair_keep_their_own_reasons():
    found = refusals([SELL, BUY], replace(CALM, do_not_trade=frozenset({"HD", "BBY"})))
    assert [(row.line, row.gate) for row in found] == [(1, "do_not_trade"), (2, "do_not_trade")]
