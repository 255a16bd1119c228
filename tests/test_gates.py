"""Every gate lets pass what is at its limit and refuses what is beyond; all refusals are shown; pairs go together."""

import inspect
import re
from collections.abc import Callable
from dataclasses import replace
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.policy import AccountGates, Gates, Risk
from transforms.law import LawMissing
from transforms.lots.check import Effect, Limits, Match, Party
from transforms.orders.day_trades import Execution, Rule, day_trades, rule_on
from transforms.orders.gates import (
    GATES,
    OF_THE_BATCH,
    WAITS,
    Account,
    Evidence,
    Line,
    Policy,
    Security,
    held_back,
    refusals,
)
from transforms.orders.options import RANK, strategy
from transforms.orders.settled import Flow, unpaid
from warehouse.law import law_rows

D = Decimal
MONDAY = date(2022, 10, 17)
NOON = datetime(2022, 10, 17, 16)
CENT, SECOND = D("0.01"), timedelta(seconds=1)
SELL = Line("b", 1, 1, "joint", MONDAY, "sell", "HD", D(10), D(100), "L-1:10", "auto")
BUY = Line("b", 2, 1, "joint", MONDAY, "buy", "BBY", D(50), D("19.60"), "", "auto")
LATE = SELL._replace(expires_at=NOON)
ASKED = SELL._replace(mode="approve")
ANY = SELL._replace(lots="")
CALL = SELL._replace(security_id="HD221118C00110000", quantity=D(1), price_usd=D(2), lots="")
JOINT = Account(
    NOON, MONDAY, cash_usd=D(980), held={"HD": D(10), "KO": D(100)}, worth_usd={"HD": D(1000), "KO": D(8020)}
)
CALM = Evidence(
    policy=Policy(
        D("0.10"), D("0.50"), D("0.01"), D("0.25"), D(1000), D(10_000), 1, 0.35, 0.20, Limits(5_000, D("0.02"), 3_000), frozenset()
    ),
    accounts={"joint": JOINT, "ira": Account(NOON, MONDAY, cash_usd=D(10_000))},
    securities={name: Security(0, 0.01) for name in ("HD", "BBY", "KO", CALL.security_id)},
)  # fmt: skip
PDT = Rule(4, 5, D("0.06"), D(25_000))


def did(sessions: int, *, other: int = 0) -> tuple[Execution, ...]:
    """So many day trades, one a session before Monday, and so many purchases besides."""
    days = [MONDAY - timedelta(days=n + 1) for n in range(sessions)]
    pairs = [Execution(day, time(10 + closes), "MSFT", not closes) for day in days for closes in (0, 1)]
    bought_now = Execution(MONDAY, time(10), "HD", True)
    return (*pairs, *[Execution(MONDAY - timedelta(days=1), time(10), f"S{n}", True) for n in range(other)], bought_now)


def washed(disallowed: int, permanent: int = 0, name: str = "b.1.1", loss: int = 100_000) -> Effect:
    sale = Party("b.1.1", "joint", "HD", "joint would sell 10 HD on 2022-10-17", "proposed")
    bought = Party("R-9", "ira", "HD", "ira bought 10 HD on 2022-09-26", "made")
    match = Match(sale, bought, 10**9, disallowed, permanent, -21, "deferred" if permanent else "purchase", "short")
    return Effect(name, disallowed - loss, 0, loss, 0, (match,), ())


def gain(short: int, long: int) -> dict:
    return {SELL.key: Effect("b.1.1", short, long, 0, 0, (), ())}


def otherwise(
    *, joint: dict[str, Any] | None = None, ira: dict[str, Any] | None = None, policy: dict[str, Any] | None = None,
    securities: dict[str, Security | None] | None = None, **evidence: Any,
) -> Evidence:  # fmt: skip
    """A calm day but for this."""
    accounts = {
        "joint": replace(JOINT, **(joint or {})),
        "ira": replace(CALM.accounts["ira"], **(ira or {})),
    }
    known = {name: one for name, one in {**CALM.securities, **(securities or {})}.items() if one}
    return replace(CALM, accounts=accounts, policy=CALM.policy._replace(**(policy or {})), securities=known, **evidence)


def reasons(line: Line, **different: Any) -> dict[str, str]:
    """What the gates say of a line when this much is different from a calm day."""
    return {row.gate: row.reason for row in refusals([line], otherwise(**different))}


def test_on_a_calm_day_no_gate_holds_anything_back():
    assert refusals([SELL, BUY], CALM) == []


def joint(**different: Any) -> dict:
    return {"joint": different}


def ira(**different: Any) -> dict:
    return {"ira": different}


def policy(**different: Any) -> dict:
    return {"policy": different}


def hd(*known: Any) -> dict:
    return {"securities": {"HD": Security(*known)}}


NEXT, BEFORE = MONDAY + timedelta(days=1), MONDAY - timedelta(days=3)
OWN_CALL = {CALL.security_id: D(1)}
LIMITS = [  # gate, line, what it lets pass, what it refuses, words of the refusal
    ("kill_switch", SELL, {"stopped": ""}, {"stopped": "the file STOP is there: remove it"}, ["STOP", "remove it"]),
    ("expired", SELL, ira(session_on=NEXT), joint(session_on=NEXT), ["2022-10-17", "2022-10-18"]),
    ("expired", SELL, {}, joint(session_on=BEFORE), ["2022-10-17", "2022-10-14"]),
    ("expired", LATE, joint(now=NOON - SECOND), joint(now=NOON), ["expired at 2022-10-17 16:00 UTC"]),
    ("market_closed", SELL, ira(is_open=False), joint(is_open=False), ["closed at 2022-10-17 16:00", "waits"]),
    ("not_approved", ASKED, {"approved": frozenset({"b"})}, {"approved": frozenset({"c"})}, ["approved b", "waits"]),
    ("account", SELL, ira(blocked="is_blocked"), joint(blocked="its broker says is_blocked"), ["is_blocked"]),
    ("do_not_trade", BUY, policy(do_not_trade=frozenset({"HD"})), policy(do_not_trade=frozenset({"BBY"})), ["BBY", "do-not-trade"]),
    (
        "do_not_trade", CALL, joint(held=OWN_CALL), {**joint(held=OWN_CALL), **policy(do_not_trade=frozenset({"HD"}))},
        ["HD", "do-not-trade"],
    ),
    ("source", SELL, ira(unsound="old"), joint(unsound="no statement"), ["no statement"]),
    ("books_differ", SELL, ira(broken="1 KO"), joint(broken="broker 1, ledger 2"), ["ledger 2"]),
    ("price", SELL, hd(1, 0), hd(2, 0), ["HD", "1 sessions"]),
    ("price", SELL, {"securities": {"BBY": None}}, {"securities": {"HD": None}}, ["no price of HD"]),
    ("price", SELL, hd(0, 0.35), hd(0, 0.3501), ["HD", "+35%"]),
    ("price", SELL, hd(0, -0.35), hd(0, -0.36), ["-36%", "not believed"]),
    ("price", SELL, {}, hd(0, float("nan")), ["HD moved +nan%"]),
    ("drawdown", BUY, {"drawdown": 0.20}, {"drawdown": 0.2001}, ["20.0% below its high", "nothing is bought"]),
    ("order_size", SELL, joint(cash_usd=D(980)), joint(cash_usd=D(980) - CENT), ["$1,000", "10% of the account ($1,000.00)"]),
    ("position", ANY, joint(held={"HD": D(10)}), joint(held={"HD": D("9.999999999")}), ["10 shares of HD", "0.000000001 more"]),
    ("position", ANY, joint(held={}, may_short=True, max_leverage=D(2)), joint(held={}, max_leverage=D(2)), ["may_short"]),
    (
        "concentration", BUY, ira(cash_usd=D(980), worth_usd={"BBY": D(9020)}),
        ira(cash_usd=D(980) - CENT, worth_usd={"BBY": D(9020) + CENT}),
        ["$10,000.01 of BBY", "50% of the household ($10,000.00)"],
    ),
    ("volume", SELL, hd(0, 0, D(100_000)), hd(0, 0, D(99_999)), ["$1,000.00 of HD", "1.0%", "$999.99"]),
    ("turnover", SELL, {"sent_usd": D(4000)}, {"sent_usd": D(4000) + CENT}, ["$5,000"]),
    ("gains", SELL, {"washed": gain(100_000, 1_000_000)}, {"washed": gain(100_001, 0)}, ["$1,000.01 of short-term", "$1,000.00"]),
    ("gains", SELL, {"washed": gain(100_000, 1_000_000)}, {"washed": gain(0, 1_000_001)}, ["$10,000.01 of long-term"]),
    (
        "gains", SELL, {"washed": gain(90_000, 0), "gained_usd": (D(100), D(0))},
        {"washed": gain(90_000, 0), "gained_usd": (D(100) + CENT, D(0))}, ["$1,000.01"],
    ),
    ("cash", BUY, {}, joint(cash_usd=D(980) - CENT, max_leverage=D(2)), ["$0.01", "cash", "is_margin"]),
    ("buying_power", BUY, joint(buying_power_usd=D(980)), joint(buying_power_usd=D(980) - CENT), ["$980.00", "$979.99"]),
    ("leverage", BUY, joint(max_leverage=D(1)), joint(max_leverage=D("0.9999")), ["$10,000.00 of exposure on $10,000.00"]),
    (
        "unsettled", SELL, joint(held={"HD": D(20)}, unpaid={"HD": {"L-2": D(10)}}),
        joint(held={"HD": D(20)}, unpaid={"HD": {"L-1": D(10)}}),
        ["lot L-1 of HD", "has not settled"],
    ),
    (
        "unsettled", ANY, joint(held={"HD": D(20)}, unpaid={"HD": {"L-2": D(10)}}),
        joint(held={"HD": D("19.9")}, unpaid={"HD": {"L-2": D(10)}}), ["10 shares of HD", "where 9.9 are paid for"],
    ),
    (
        "day_trade", SELL, joint(day_trade_rule=PDT, executions=did(2)), joint(day_trade_rule=PDT, executions=did(3)),
        ["day trade 4 in 5 sessions", "$25,000", "$10,000"],
    ),
    (
        "day_trade", SELL, joint(day_trade_rule=PDT, executions=did(2), day_trades_told=2),
        joint(day_trade_rule=PDT, executions=did(2), day_trades_told=3), ["day trade 4"],
    ),
    (
        "day_trade", SELL, joint(day_trade_rule=PDT, executions=did(3), worth_usd={"HD": D(24_020)}),
        joint(day_trade_rule=PDT, executions=did(3), worth_usd={"HD": D(24_020) - CENT}), ["day trade 4"],
    ),
    (
        "day_trade", SELL, joint(day_trade_rule=PDT, executions=did(3, other=59)),  # 4 of 67 trades are 6 %
        joint(day_trade_rule=PDT, executions=did(3, other=58)), ["day trade 4"],
    ),
    (
        "options_level", CALL, joint(held={"HD": D(100)}, options_level=1), joint(held={"HD": D(100)}, options_level=0),
        [CALL.security_id, "covered", "level 1", "it has level 0"],
    ),
    ("options_level", CALL, joint(held={"HD": D(99)}, options_level=4), joint(held={"HD": D(99)}, options_level=3), ["naked", "level 4"]),
    ("options_level", CALL, joint(held=OWN_CALL), joint(held={"HD": D(100)}), ["its broker says none"]),
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
    ("wash_sale", SELL, {"unseen": {"BBY": "who knows"}}, {"unseen": {"HD": "who knows"}}, ["who knows"]),
    ("wash_sale", SELL, {"washed_in_part": {BUY.key: "a part"}}, {"washed_in_part": {SELL.key: "a part"}}, ["a part"]),
]  # fmt: skip


@pytest.mark.parametrize(("gate", "line", "within", "beyond", "words"), LIMITS)
def test_a_gate_lets_pass_what_is_at_its_limit_and_refuses_what_is_beyond(gate, line, within, beyond, words):
    assert reasons(line, **within) == {}
    refused = reasons(line, **beyond)
    assert list(refused) == [gate]
    assert all(word in refused[gate] for word in words), refused[gate]


def test_every_gate_of_the_list_has_its_limit_tested():
    assert {gate.__name__ for gate in GATES} == {row[0] for row in LIMITS}


def test_an_account_that_nobody_describes_trades_nothing():
    assert "no account old" in reasons(SELL._replace(account_id="old"))["account"]


@pytest.mark.parametrize("wrong", [{"quantity": D(0)}, {"quantity": D(-1)}, {"price_usd": D(0)}])
def test_an_order_is_of_more_than_nothing(wrong):
    assert "above zero" in reasons(SELL._replace(**wrong))["price"]


# What is free of a limit ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("gate", "different"),
    [
        ("cash", {"joint": {"cash_usd": D(-5000), "max_leverage": D(3)}}),
        ("buying_power", {"joint": {"buying_power_usd": D(0)}}),
        ("leverage", {"joint": {"max_leverage": D("0.5")}}),
        ("concentration", {"policy": {"max_position_weight": D(0)}}),
        ("drawdown", {"drawdown": 0.9}),
    ],
)
def test_a_sale_of_what_is_held_is_free_of_what_limits_purchases(gate, different):
    assert gate not in reasons(SELL, **different)
    assert gate in reasons(BUY, **different)


def test_after_a_drawdown_a_replacement_still_goes_with_its_sale_and_nothing_is_added():
    seen = otherwise(drawdown=0.5)
    assert refusals([SELL, BUY], seen) == []
    more = BUY._replace(quantity=D(52))
    assert [row.gate for row in refusals([SELL, more], seen)] == ["drawdown", "order_size", "pair"]
    assert refusals([BUY], replace(seen, pair_usd={("b", 1): D(-1000)})) == [], "its sale went out before"


def test_the_calls_that_shares_cover_are_counted_over_the_batch():
    held = {"joint": {"held": {"HD": D(100)}, "options_level": 1, "max_leverage": D(2)}}
    two = [CALL, CALL._replace(line=2, pair=2)]
    assert [(row.line, row.gate) for row in refusals(two, otherwise(**held))] == [(2, "options_level")]


@pytest.mark.parametrize(
    ("said", "side", "symbol", "held", "cash"),
    [
        ("long", "buy", "HD221118C00110000", {}, 0),
        ("close", "buy", "HD221118C00110000", {"HD221118C00110000": -1}, 0),
        ("close", "sell", "HD221118C00110000", {"HD221118C00110000": 1}, 0),
        ("covered", "sell", "HD221118C00110000", {"HD": 100}, 0),
        ("naked", "sell", "HD221118C00110000", {"HD": 100, "HD221216C00120000": -1}, 0),
        ("spread", "sell", "HD221118C00110000", {"HD221216C00120000": 1}, 0),
        ("naked", "sell", "HD221118C00110000", {"HD221021C00120000": 1}, 0),
        ("naked", "sell", "HD221118C00110000", {"BBY": 100}, 0),
        ("covered", "sell", "HD221118P00110000", {}, 11_000),
        ("naked", "sell", "HD221118P00110000", {}, 10_999),
        ("naked", "sell", "HD221118P00110000", {"HD221216P00100000": -1}, 20_999),
        ("", "sell", "HD", {}, 0),
        ("", "sell", "HD221399C00110000", {}, 0),
    ],
)
def test_what_an_option_order_is_follows_from_what_stands_beside_it(said, side, symbol, held, cash):
    assert strategy(side, symbol, D(1), {name: D(n) for name, n in held.items()}, [], D(cash)) == said
    assert said in {*RANK, ""}


def test_an_option_is_worth_a_hundred_times_its_price():
    assert CALL.value_usd == 200 and CALL._replace(security_id="HD").value_usd == 2


def test_where_nobody_tells_a_volume_the_gate_of_volume_is_silent():
    assert reasons(SELL, securities={"HD": Security(0, 0, None)}) == {}


def test_a_dry_run_is_shown_whether_the_exchange_is_open_or_not():
    assert reasons(SELL._replace(mode="dry_run"), joint={"is_open": False}) == {}


def test_orders_of_one_security_add_up_over_the_accounts():
    seen = otherwise(
        securities={"HD": Security(0, 0, D(150_000))}, ira={"held": {"HD": D(10)}, "worth_usd": {"HD": D(1000)}}
    )
    both = [SELL, SELL._replace(batch_id="c", pair=2, account_id="ira")]
    assert [(row.batch_id, row.gate) for row in refusals(both, seen)] == [("c", "volume")]


def test_two_sales_together_are_no_more_than_is_held():
    two = [ANY, ANY._replace(line=2, pair=2, quantity=D("0.5"))]
    assert [(row.line, row.gate) for row in refusals(two, CALM)] == [(2, "position")]
    assert "10.5 shares of HD would be sold, 0.5 more" in refusals(two, CALM)[0].reason


def test_purchases_that_the_cash_is_there_for_pass_and_the_rest_does_not():
    second = BUY._replace(line=3, pair=2, quantity=D(1))
    assert [(row.line, row.gate) for row in refusals([BUY, second], CALM)] == [(3, "cash"), (3, "leverage")]


def test_only_what_is_traded_twice_in_a_day_is_a_day_trade():
    joint = {"day_trade_rule": PDT, "executions": did(3), "held": {"HD": D(10), "KO": D(100)}}
    other = SELL._replace(security_id="KO", price_usd=D(10))
    assert reasons(other, joint=joint) == {}, "bought on another day"
    both = [other, BUY._replace(security_id="KO", pair=2, quantity=D(10), price_usd=D(10))]
    assert {row.gate for row in refusals(both, otherwise(joint=joint))} == {"day_trade"}


# All gates, pairs, and what is counted ----------------------------------------------------------------


def test_all_gates_are_asked_and_all_their_refusals_are_shown():
    line = BUY._replace(mode="approve")
    found = refusals(
        [line],
        otherwise(
            stopped="STOP",
            drawdown=0.9,
            securities={"BBY": None},
            washed={BUY.key: washed(100_000)},
            joint={
                "is_open": False, "unsound": "old", "broken": "differs", "blocked": "blocked", "session_on": date(2022, 10, 18),
                "cash_usd": D(-20_000), "buying_power_usd": D(0),
            },
            ira={"cash_usd": D(0)},
            policy={"do_not_trade": frozenset({"BBY"})},
        ),
    )  # fmt: skip
    of_sales = {"position", "gains", "unsettled", "options_level", "day_trade", "volume"}
    assert [row.gate for row in found] == [gate.__name__ for gate in GATES if gate.__name__ not in of_sales]
    assert all(row.reason and row.key == BUY.key for row in found)


def test_a_pair_goes_together_and_other_pairs_go_on():
    other = SELL._replace(line=3, pair=2, security_id="KO", quantity=D(100), price_usd=D(10), lots="")
    elsewhere = BUY._replace(batch_id="c", pair=3, account_id="ira", security_id="HD")
    seen = otherwise(policy={"do_not_trade": frozenset({"BBY"})})
    found = refusals([SELL, BUY, other, elsewhere], seen)
    assert [(*row.key, row.gate) for row in found] == [("b", 2, "do_not_trade"), ("b", 1, "pair")]
    assert "buy BBY" in found[1].reason


def test_a_pair_that_stands_in_two_accounts_goes_together_and_one_of_another_kind_goes_on():
    there = BUY._replace(batch_id="c", account_id="ira", security_id="HD")
    by_hand = there._replace(batch_id="d", kind="hand")
    found = refusals([SELL, there, by_hand], otherwise(policy={"do_not_trade": frozenset({"BBY"})}))
    assert not found
    found = refusals([SELL, BUY, there, by_hand], otherwise(policy={"do_not_trade": frozenset({"BBY"})}))
    assert {(*row.key, row.gate) for row in found} == {("b", 2, "do_not_trade"), ("b", 1, "pair"), ("c", 2, "pair")}
    assert next(row.reason for row in found if row.batch_id == "c") == "its pair, buy BBY in joint, is held back"


def test_a_held_back_sale_holds_back_its_replacement():
    found = refusals([SELL, BUY], otherwise(washed={SELL.key: washed(10_000)}))
    assert [(row.line, row.gate) for row in found] == [(1, "wash_sale"), (2, "pair")]
    assert "sell HD" in found[1].reason


def test_both_halves_of_a_pair_keep_their_own_reasons():
    found = refusals([SELL, BUY], otherwise(policy={"do_not_trade": frozenset({"HD", "BBY"})}))
    assert [(row.line, row.gate) for row in found] == [(1, "do_not_trade"), (2, "do_not_trade")]


def test_a_half_that_waits_makes_the_other_wait_and_not_fall():
    found = refusals([SELL, BUY._replace(mode="approve")], CALM)
    assert [(row.line, row.gate, row.waits) for row in found] == [(2, "not_approved", True), (1, "not_approved", True)]


def test_a_half_that_waits_falls_with_one_that_is_refused_for_good():
    seen = otherwise(policy={"do_not_trade": frozenset({"HD"})})
    found = {(row.line, row.gate) for row in refusals([SELL, BUY._replace(mode="approve")], seen)}
    assert found == {(1, "do_not_trade"), (2, "not_approved"), (2, "pair")}


def test_a_line_that_is_refused_eats_neither_the_turnover_nor_the_cash_of_another():
    refused, sound = BUY._replace(security_id="KO"), BUY._replace(line=3, pair=2)
    seen = otherwise(policy={"do_not_trade": frozenset({"KO"}), "max_daily_turnover": D("0.05")})
    assert {row.gate for row in refusals([refused, sound], seen) if row.line == 3} == {"turnover", "cash", "leverage"}
    asked: list[int] = []

    def look(lines):
        asked.append(len(lines))
        return seen

    assert [(row.line, row.gate) for row in held_back([refused, sound], look)] == [(2, "do_not_trade")]
    assert asked == [2, 1], "what is left is looked at by itself"


def test_of_pairs_that_add_up_to_too_much_those_go_that_fit_one_after_another():
    """$1,000 may be traded: the first pair is $1,980 by itself, the second $614."""
    small = SELL._replace(line=3, pair=2, security_id="KO", quantity=D(4), price_usd=D(80), lots="")
    instead = BUY._replace(line=4, pair=2, quantity=D(15))
    found = held_back([SELL, small, BUY, instead], lambda _: otherwise(policy={"max_daily_turnover": D("0.05")}))
    assert {(row.line, row.gate) for row in found} == {(1, "pair"), (2, "turnover")}


def test_a_purchase_falls_when_the_sale_that_pays_for_it_does():
    sale = ANY._replace(pair=1, quantity=D("9.5"))
    spends = BUY._replace(pair=2, quantity=D(51))
    found = held_back(
        [sale, spends], lambda _: otherwise(policy={"max_daily_turnover": D("0.05"), "max_order_weight": D("0.2")})
    )
    assert [(row.line, row.gate) for row in found] == [(2, "turnover")]
    found = held_back([sale, spends], lambda _: otherwise(joint={"held": {"HD": D(1)}}))
    assert [(row.line, row.gate) for row in found] == [(1, "position"), (2, "cash"), (2, "leverage")]


LINE = st.builds(
    lambda n, pair, account, side, security, quantity, price, mode: Line(
        f"b-{account}", n, pair, account, MONDAY, side, security, D(quantity), D(price), "", mode
    ),
    st.just(0), st.integers(1, 3), st.sampled_from(("joint", "ira")), st.sampled_from(("sell", "buy")),
    st.sampled_from(("HD", "BBY", "KO")), st.integers(1, 40), st.integers(10, 60), st.sampled_from(("auto", "approve")),
)  # fmt: skip
LINES = st.lists(LINE, min_size=1, max_size=7).map(lambda lines: [x._replace(line=n) for n, x in enumerate(lines)])
TIGHTER: dict[str, Callable[[Evidence], Evidence]] = {
    "stopped": lambda seen: replace(seen, stopped="stop"),
    "do_not_trade": lambda seen: replace(seen, policy=seen.policy._replace(do_not_trade=frozenset({"KO"}))),
    "order": lambda seen: replace(seen, policy=seen.policy._replace(max_order_weight=D("0.05"))),
    "turnover": lambda seen: replace(seen, policy=seen.policy._replace(max_daily_turnover=D("0.05"))),
    "concentration": lambda seen: replace(seen, policy=seen.policy._replace(max_position_weight=D("0.1"))),
    "sent": lambda seen: replace(seen, sent_usd=D(3000)),
    "price": lambda seen: replace(seen, securities={**seen.securities, "BBY": Security(5, 0)}),
    "volume": lambda seen: replace(seen, securities={**seen.securities, "HD": Security(0, 0, D(50_000))}),
    "drawdown": lambda seen: replace(seen, drawdown=0.5),
    "wash": lambda seen: replace(seen, washed={("b-joint", 1): washed(100_000), ("b-ira", 2): washed(100_000)}),
    **{
        name: lambda seen, name=name, value=value: replace(  # type: ignore[misc]
            seen, accounts={**seen.accounts, "joint": replace(seen.accounts["joint"], **{name: value})}
        )
        for name, value in {
            "cash_usd": D(10), "held": {"HD": D(1)}, "unsound": "old", "broken": "differs", "blocked": "blocked", "is_open": False,
            "buying_power_usd": D(100), "max_leverage": D("0.5"), "unpaid": {"HD": {"L": D(9)}}, "now": NOON + 9 * SECOND,
        }.items()
    },
}  # fmt: skip
RICH = otherwise(approved=frozenset({"b-joint"}), joint={"cash_usd": D(5000)}, ira={"held": {"HD": D(50)}})


def passing(lines: list[Line], rows: list) -> set:
    return {line.key for line in lines} - {row.key for row in rows}


@given(LINES, st.lists(st.sampled_from(sorted(TIGHTER)), max_size=4), st.sampled_from(sorted(TIGHTER)))
def test_one_more_thing_that_is_wrong_never_lets_more_pass(lines, wrong, one_more):
    seen = RICH
    for name in wrong:
        seen = TIGHTER[name](seen)
    assert passing(lines, refusals(lines, TIGHTER[one_more](seen))) <= passing(lines, refusals(lines, seen))


@given(LINES, st.lists(st.sampled_from(sorted(TIGHTER)), max_size=4))
def test_pairs_go_together_or_not_at_all_and_what_goes_passes_every_gate_by_itself(lines, wrong):
    seen = RICH
    for name in wrong:
        seen = TIGHTER[name](seen)
    rows = held_back(lines, lambda _: seen)
    going = [line for line in lines if line.key in passing(lines, rows)]
    assert refusals(going, seen) == []
    pairs = {(line.batch_id, line.pair) for line in going}
    assert going == [line for line in lines if (line.batch_id, line.pair) in pairs]
    assert {row.key for row in refusals(lines, seen) if row.gate not in {*OF_THE_BATCH, "pair"}} <= {
        row.key for row in rows
    }


# The law ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("on", "adopted_on", "counts"),
    [
        (date(2026, 6, 3), None, True),
        (date(2026, 6, 3), date(2026, 6, 1), True),  # before any broker could
        (date(2026, 6, 4), date(2026, 6, 4), False),
        (date(2026, 9, 1), date(2026, 10, 1), True),
        (date(2027, 10, 19), None, True),
        (date(2027, 10, 20), None, False),
        (date(2001, 9, 27), None, False),
    ],
)
def test_day_trades_are_counted_until_the_accounts_broker_changes_over(on, adopted_on, counts):
    assert (rule_on(law_rows(), on, adopted_on) == PDT) is counts


def test_without_its_law_nobody_counts_day_trades_silently():
    with pytest.raises(LawMissing, match="day_trading"):
        rule_on({}, MONDAY, None)


def test_where_times_are_missing_as_many_day_trades_are_counted_as_there_can_have_been():
    at = [Execution(MONDAY, None, "HD", opens) for opens in (True, True, False, False)]
    assert day_trades(at) == 2
    assert day_trades([*at[:3], Execution(MONDAY, None, "KO", False)]) == 1


def test_purchases_of_another_day_are_paid_for_by_that_days_settled_cash():
    """Two sessions to settle: Monday's sale pays on Wednesday. What Tuesday bought with it waits until Thursday."""
    sale = Flow("S-1", "HD", "sell", D(1), D(900), date(2022, 10, 17))
    deposit = Flow("D-1", "", "", D(0), D(100), date(2022, 10, 19))
    buys = [Flow(f"B-{n}", "KO", "buy", D(n), D(-n), date(2022, 10, n)) for n in (18, 19)]

    def of(day: int, cash: int) -> set[str]:
        found = unpaid([sale, deposit, *buys], D(cash), date(2022, 10, day), lambda on: on + timedelta(days=2))
        return set(found.get("KO", {}))

    rest = 900 + 100 - 18 - 19
    assert of(19, rest) == {"B-18"}, "by Wednesday the proceeds have settled, and pay for Wednesday's purchase"
    assert of(20, rest) == of(20, 0) == set(), "and are there for it to the last dollar"
    assert of(19, rest + 17) == {"B-18"} and of(19, rest + 18) == set(), "to the dollar"


# What is written down ---------------------------------------------------------------------------------


def test_every_gate_and_every_limit_is_in_the_docs():
    text = (Path(__file__).parents[1] / "docs" / "gates.md").read_text()
    named = set(re.findall(r"`(\w+)[^`]*`", text))
    assert {gate.__name__ for gate in GATES} | WAITS | {"pair"} <= named
    assert set(Gates.model_fields) | set(AccountGates.model_fields) <= named
    table = [line for line in text.splitlines() if line.startswith("| `")]
    defaults = re.findall(r"`(max_\w+) = ([\d.]+)`", "".join(table))
    known = {**Gates.model_fields, **AccountGates.model_fields, **Risk.model_fields}
    assert {(name, float(number)) for name, number in defaults} == {
        (name, float(known[name].default)) for name in known if name.startswith("max_")
    }
    assert [line.split("`")[1] for line in table] == [gate.__name__ for gate in GATES], "in the order they are asked in"


def test_a_gate_that_waits_is_a_gate():
    assert {gate.__name__ for gate in GATES} >= WAITS | OF_THE_BATCH
    assert all(list(inspect.signature(gate).parameters) == ["line", "seen", "at"] for gate in GATES)
